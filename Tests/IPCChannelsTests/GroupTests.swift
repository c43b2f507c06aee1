import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

@testable import IPCChannels

/// A root for a group: what its members do there, and what others do not.
@Suite(
    .timeLimit(.minutes(5)), .enabled(if: OtherUser.isPossible, .init(stringLiteral: OtherUser.reason)))
struct GroupTests {
    private let group = gid_t.random(in: 30_000..<60_000)

    private func makeRoot(_ mode: mode_t, owner: uid_t = 0) -> String {
        let path = "/dev/shm/" + uniqueName()
        mkdir(path, 0o700)
        chown(path, owner, group)
        chmod(path, mode)
        return path
    }

    @Test(arguments: [0o2770, 0o770] as [mode_t])
    func eachMemberMakesJoinsAndRemovesWhateverTheUmaskIs(_ mode: mode_t) throws {
        let (first, second) = (OtherUser.any(groups: [group]), OtherUser.any(groups: [group]))
        let root = makeRoot(mode, owner: first.user)
        defer { removeAll(root) }
        for (maker, user) in [(first, second), (second, first)] {
            for (member, role, answer) in [
                (maker, "make-all", "made\n"), (user, "use-all", "used\n"), (maker, "use-all", "used\n"),
                (user, "remove-all", "removed\n"),
            ] {
                let (status, text) = try member.run(product("ChannelPeer"), role, "group", root: root, umask: "077")
                #expect(status == .exited(0) && text == answer, "\(role): \(text)")
            }
        }
        // Bells of processes that have ended are removed by the next one that makes a wake-up pipe.
        let left = try namesInFolder(root).filter { $0 != ".lock" && !$0.hasPrefix(".wake-") }
        #expect(left == [], "\(left)")
    }

    @Test func permissionsAreThoseThatWereAskedFor() throws {
        let member = OtherUser.any(groups: [group])
        let root = makeRoot(0o2770)
        defer { removeAll(root) }
        #expect(
            try member.run(product("ChannelPeer"), "make-all", "group", root: root, umask: "0777").status == .exited(0))
        for kind in ["topic", "queue", "latest", "event", "service"] {
            let folder = ChannelRoot(FilePath(root)).folder(try ChannelName("group/" + kind))
            let files = ["/control", "/log", "/locks"].map { (folder + $0, 0o660) }
            for (path, mode) in [(folder, 0o2770)] + files {
                let status = try FileStatus(at: path)
                #expect(status.mode.rawValue == mode_t(mode) && status.group == group, "\(path)")
            }
        }
        #expect(try FileStatus(at: root + "/.lock").mode.rawValue == 0o660)
    }

    @Test func aStrangerAndWhatIsPrivateAreKeptApart() throws {
        let (member, other) = (OtherUser.any(groups: [group]), OtherUser.any(groups: [group]))
        let stranger = OtherUser.any()
        let root = makeRoot(0o2770)
        defer { removeAll(root) }
        #expect(try member.run(product("ChannelPeer"), "make-all", "group", root: root).status == .exited(0))
        let refused = try stranger.run(product("ChannelPeer"), "use-all", "group", root: root)
        #expect(refused.status == .exited(1) && refused.text.contains("permission denied"), "\(refused.text)")
        // A member's own channel, of mode 0600: another can neither open it nor take it away.
        #expect(try member.run(product("ChannelPeer"), "create-at-once", "own", root: root).status == .exited(0))
        for role in ["create-at-once", "remove"] {
            let (status, text) = try other.run(product("ChannelPeer"), role, "own", root: root)
            #expect(status == .exited(1) && text.contains("permission denied"), "\(role): \(text)")
            #expect(text.contains("\(member.user)"), "\(text)")
        }
        #expect(try member.run(product("ChannelPeer"), "create-at-once", "own", root: root).status == .exited(0))
    }

    @Test func whatADeadMemberLeftIsInNobodysWay() throws {
        let (member, other) = (OtherUser.any(groups: [group]), OtherUser.any(groups: [group]))
        let root = makeRoot(0o2770)
        defer { removeAll(root) }
        // As of one that was killed while it made a channel for itself alone.
        let half = root + "/.new-half"
        #expect(
            try member.run("sh", "-c", "mkdir -m 0700 \(half) && touch \(half)/control", root: nil).status == .exited(0)
        )
        let (status, text) = try other.run(product("ChannelPeer"), "make-all", "group", root: root)
        #expect(status == .exited(0), "\(text)")
        #expect(try member.run(product("ChannelPeer"), "remove-all", "nothing", root: root).status == .exited(1))
        #expect(access(half, F_OK) != 0, "its owner's next process removes it")
    }

    @Test func aFolderThatBecomesAGroupsGetsAnotherLock() throws {
        let (owner, member) = (OtherUser.any(groups: [group]), OtherUser.any(groups: [group]))
        let root = makeRoot(0o700, owner: owner.user)
        defer { removeAll(root) }
        #expect(try owner.run(product("ChannelPeer"), "make-all", "before", root: root).status == .exited(0))
        #expect(try FileStatus(at: root + "/.lock").mode.rawValue == 0o600)
        chmod(root, 0o2770)
        let early = try member.run(product("ChannelPeer"), "make-all", "after", root: root)
        #expect(early.status == .exited(1) && early.text.contains(".lock"), "\(early.text)")
        #expect(try owner.run(product("ChannelPeer"), "remove-all", "nothing", root: root).status == .exited(1))
        #expect(try member.run(product("ChannelPeer"), "make-all", "after", root: root).status == .exited(0))
    }

    @Test func whoMayNotRemoveAChannelLeavesItToTheOthers() throws {
        let (owner, guest) = (OtherUser.any(), OtherUser.any())
        let root = makeRoot(0o755, owner: owner.user)
        defer { removeAll(root) }
        let holder = try owner.start(product("ChannelPeer"), ["hold-open", "open", "666"], root: root)
        #expect(try holder.said() == "ready\n")
        let visit = try guest.start(product("ChannelPeer"), ["hold-publisher", "open"], root: root)
        #expect(try visit.said() == "ready\n")
        // The owner dies, and the guest is the last to leave.
        try holder.kill()
        try visit.child.handle.send(.terminate)
        let left = try visit.finish()
        #expect(left.status == .exited(0), "\(left.text)")
        #expect(try guest.run(product("ChannelPeer"), "remove", "open", root: root).text.contains("permission denied"))
        // It is still whole.
        #expect(try guest.run(product("ChannelPeer"), "publish-once", "open", root: root).text == "published\n")
        #expect(try owner.run(product("ChannelPeer"), "publish-once", "open", root: root).text == "published\n")
        // Its owner was the last that time.
        #expect(try namesInFolder(root) == [".lock"])
    }
}
