import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

@testable import IPCChannels

/// Which folder is used for channels, and that nobody leads what is done there astray.
@Suite(.timeLimit(.minutes(5))) struct RootTrustTests {
    /// A root that was named, of this test alone.
    private static func folder(mode: mode_t = 0o700) -> String {
        let path = "/dev/shm/" + uniqueName()
        mkdir(path, 0o700)
        chmod(path, mode)
        return path
    }

    private static let name = "trust/topic"

    @Test(.enabled(if: OtherUser.isPossible, .init(stringLiteral: OtherUser.reason)))
    func aDefaultFolderThatAnotherUserMadeIsRefused() throws {
        let (victim, stranger) = (OtherUser.any(), OtherUser(65_534))
        let path = "/dev/shm/swift-ipc.\(victim.user)"
        let elsewhere = "/dev/shm/" + uniqueName()
        defer {
            removeAll(path)
            removeAll(elsewhere)
        }
        let preparations: [(String, String)] = [
            ("mkdir -m 0777 \(path)", "nobody"), ("mkdir -m 0700 \(path)", "nobody"),
            ("mkdir -m 0777 \(elsewhere); ln -s \(elsewhere) \(path)", "nobody"), ("touch \(path)", "not a folder"),
            ("mkfifo \(path)", "not a folder"),
        ]
        for (preparation, reason) in preparations {
            #expect(try stranger.run("sh", "-c", preparation, root: nil).status == .exited(0))
            let (status, text) = try victim.run(product("ChannelPeer"), "create-at-once", Self.name, root: nil)
            #expect(status == .exited(1) && text.contains(path) && text.contains(reason), "\(preparation): \(text)")
            #expect(text.contains("IPC_ROOT"), "\(text)")
            // Nothing was put there.
            #expect(
                try Peer("sh", ["-c", "find -L \(path) -mindepth 1; find \(elsewhere) -mindepth 1 2>&-"]).finish().text
                    == "")
            removeAll(path)
            removeAll(elsewhere)
        }
    }

    @Test(.enabled(if: OtherUser.isPossible, .init(stringLiteral: OtherUser.reason)))
    func aDefaultFolderThatOthersMayWriteToIsRefused() throws {
        let victim = OtherUser.any()
        let path = "/dev/shm/swift-ipc.\(victim.user)"
        defer { removeAll(path) }
        for (mode, who) in [("0777", "every user"), ("1777", "every user"), ("0770", "group")] {
            #expect(try victim.run("mkdir", "-m", mode, path, root: nil).status == .exited(0))
            let (status, text) = try victim.run(product("ChannelPeer"), "create-at-once", Self.name, root: nil)
            #expect(status == .exited(1) && text.contains(who) && text.contains(mode), "\(text)")
            removeAll(path)
        }
        for preparation in ["true", "mkdir -m 0755 \(path)"] {
            #expect(try victim.run("sh", "-c", preparation, root: nil).status == .exited(0))
            let (status, text) = try victim.run(product("ChannelPeer"), "create-at-once", Self.name, root: nil)
            #expect(status == .exited(0), "\(text)")
            #expect(try FileStatus(at: path).owner == victim.user)
            #expect(try ChannelRoot(FilePath(path)).names().map(\.description) == [Self.name])
            removeAll(path)
        }
    }

    @Test(.enabled(if: OtherUser.isPossible, .init(stringLiteral: OtherUser.reason)))
    func aFolderThatIsNamedMayBeAnothersButNotEverybodys() throws {
        let (owner, other) = (OtherUser.any(), OtherUser.any())
        let path = Self.folder(mode: 0o755)
        let link = "/dev/shm/" + uniqueName()
        defer {
            removeAll(path)
            removeAll(link)
        }
        chown(path, owner.user, owner.user)
        #expect(try owner.run(product("ChannelPeer"), "create-at-once", Self.name, root: path).status == .exited(0))
        // The other one is let in as far as the permissions go.
        let (status, text) = try other.run(product("ChannelPeer"), "create-at-once", Self.name, root: path)
        #expect(status == .exited(1) && text.contains("permission denied"), "\(text)")
        #expect(text.contains("\(owner.user)"), "\(text)")
        // A link to it, if it is one's own, or the superuser's.
        symlink(path, link)
        #expect(try owner.run(product("ChannelPeer"), "create-at-once", Self.name, root: link).status == .exited(0))
        lchown(link, other.user, other.user)
        let led = try owner.run(product("ChannelPeer"), "create-at-once", Self.name, root: link)
        #expect(led.status == .exited(1) && led.text.contains("symbolic link"), "\(led.text)")
        chmod(path, 0o1777)
        let everybodys = try owner.run(product("ChannelPeer"), "create-at-once", Self.name, root: path)
        #expect(everybodys.status == .exited(1) && everybodys.text.contains("every user"), "\(everybodys.text)")
    }

    /// A link in the place of the default folder, and one that is named: ours and the superuser's lead somewhere, a stranger's does
    /// not.
    @Test(.enabled(if: OtherUser.isPossible, .init(stringLiteral: OtherUser.reason)))
    func aLinkOfOnesOwnIsFollowedAndAStrangersIsNot() throws {
        let (user, stranger) = (OtherUser.any(), OtherUser.any())
        let (target, named) = ("/dev/shm/" + uniqueName(), "/dev/shm/" + uniqueName())
        let standard = "/dev/shm/swift-ipc.\(user.user)"
        defer { for path in [target, named, standard] { removeAll(path) } }
        #expect(try user.run("mkdir", "-m", "0700", target, root: nil).status == .exited(0))
        for (link, root) in [(standard, nil), (named, named)] as [(String, String?)] {
            for (owner, isFollowed) in [(user.user, true), (0, true), (stranger.user, false)] {
                symlink(target, link)
                lchown(link, owner, owner)
                let (status, text) = try user.run(product("ChannelPeer"), "create-at-once", Self.name, root: root)
                if isFollowed {
                    #expect(status == .exited(0), "\(link) of \(owner): \(text)")
                    #expect(try ChannelRoot(FilePath(target)).names().map(\.description) == [Self.name])
                    removeAll(target + "/trust:topic")
                } else {
                    #expect(status == .exited(1), "\(link) of \(owner)")
                    #expect(text.contains("symbolic link") && text.contains("\(owner)"), "\(text)")
                    #expect(try ChannelRoot(FilePath(target)).names().isEmpty)
                }
                unlink(link)
            }
        }
        // Where it leads has to be what the folder itself would have to be.
        for (mode, owner, reason) in [
            (0o770, user.user, "group"), (0o777, user.user, "every user"), (0o700, stranger.user, "belongs to"),
        ] as [(mode_t, uid_t, String)] {
            chown(target, owner, owner)
            chmod(target, mode)
            symlink(target, standard)
            lchown(standard, user.user, user.user)
            let (status, text) = try user.run(product("ChannelPeer"), "create-at-once", Self.name, root: nil)
            #expect(status == .exited(1) && text.contains(reason), "\(text)")
            unlink(standard)
        }
    }

    /// As a umask of 002 makes it, which many systems have: nobody asked for a group.
    @Test(.enabled(if: OtherUser.isPossible, .init(stringLiteral: OtherUser.reason)))
    func aFolderOfOnesOwnThatItsOwnGroupMayWriteToNamesBothWaysOut() throws {
        let group = gid_t.random(in: 30_000..<60_000)
        let user = OtherUser.any(groups: [group])
        let standard = "/dev/shm/swift-ipc.\(user.user)"
        let named = "/dev/shm/" + uniqueName()
        defer { for path in [named, standard] { removeAll(path) } }
        for (path, root) in [(standard, nil), (named, named)] as [(String, String?)] {
            for mode in ["0775", "0770"] {
                #expect(
                    try user.run("mkdir", "-m", mode, path, root: nil, umask: "002").status == .exited(0))
                let (status, text) = try user.run(product("ChannelPeer"), "create-at-once", Self.name, root: root)
                #expect(status == .exited(1) && text.contains("chmod g-w \(path)"), "\(text)")
                // A folder that is named may be a group's.
                #expect(text.contains("chmod g+s \(path)") == (root != nil), "\(text)")
                #expect(try user.run("chmod", "g-w", path, root: nil).status == .exited(0))
                let after = try user.run(product("ChannelPeer"), "create-at-once", Self.name, root: root)
                #expect(after.status == .exited(0), "\(after.text)")
                removeAll(path)
            }
        }
        // Asked for: by the bit that gives files to the group, or by another group than everything of this user's has.
        for (mode, owningGroup) in [(0o2770, gid_t(user.user)), (0o2775, gid_t(user.user)), (0o770, group)] {
            mkdir(named, 0o700)
            chown(named, user.user, owningGroup)
            chmod(named, mode_t(mode))
            let (status, text) = try user.run(product("ChannelPeer"), "create-at-once", Self.name, root: named)
            #expect(status == .exited(0), "\(text)")
            removeAll(named)
        }
        // Of another owner, whose folder it is to arrange.
        mkdir(named, 0o700)
        chown(named, 0, group)
        chmod(named, 0o770)
        let (status, text) = try user.run(product("ChannelPeer"), "create-at-once", Self.name, root: named)
        #expect(status == .exited(0), "\(text)")
    }

    @Test func linksInTheFolderAreNotFollowed() throws {
        let (path, target) = (Self.folder(), "/dev/shm/" + uniqueName())
        defer {
            removeAll(path)
            removeAll(target)
        }
        let root = ChannelRoot(FilePath(path))
        func create() -> IPCError? {
            failure { () throws(IPCError) in
                _ = try Topic<UInt8>.openOrCreate(Self.name, in: root, ChannelOptions(lifetime: .kept))
            }
        }
        #expect(symlink(target, path + "/.lock") == 0)
        #expect(create() != nil && access(target, F_OK) != 0)
        unlink(path + "/.lock")
        #expect(create() == nil)
        // A channel's folder, and its files.
        let folder = root.folder(try ChannelName(Self.name))
        rename(folder, target)
        symlink(target, folder)
        let error = failure { () throws(IPCError) in _ = try Topic<UInt8>.open(Self.name, in: root) }
        #expect(error?.code == .wrongType, "\(String(describing: error))")
        unlink(folder)
        rename(target, folder)
        func join() -> IPCError? {
            failure { () throws(IPCError) in _ = try Topic<UInt8>.open(Self.name, in: root).makeSubscription() }
        }
        for file in ["control", "log", "locks"] {
            rename(folder + "/" + file, target)
            symlink(target, folder + "/" + file)
            #expect(join() != nil)
            unlink(folder + "/" + file)
            // One to which nobody writes would hold an opening up.
            mkfifo(folder + "/" + file, 0o600)
            #expect(join()?.code == .corrupted, "\(file)")
            unlink(folder + "/" + file)
            rename(target, folder + "/" + file)
        }
        #expect(join() == nil)
    }

    @Test func aFolderThatTakesTheRootsPlaceChangesNothing() async throws {
        let (path, moved) = (Self.folder(), "/dev/shm/" + uniqueName())
        defer {
            removeAll(path)
            removeAll(moved)
        }
        let root = ChannelRoot(FilePath(path))
        do {
            let topic = try Topic<UInt64>.openOrCreate(Self.name, in: root)
            let publisher = Box(try topic.makePublisher())
            var subscription = try topic.makeSubscription()
            rename(path, moved)
            // As a stranger would put it there.
            mkdir(path, 0o700)
            mkdir(root.folder(topic.name), 0o700)
            creat(root.folder(topic.name) + "/control", 0o600)
            // Who waits without a thread is woken by a FIFO in the root: the true one.
            let sender = Task.detached {
                while try !namesInFolder(moved).contains(where: { $0.hasPrefix(".wake-") }) { await Task.yield() }
                try await publisher.value.publish(7)
            }
            #expect(try await subscription.receive(until: .after(.seconds(20))) == 7)
            try await sender.value
            let entries = try namesInFolder(path)
            let folder = root.folder(topic.name).split(separator: "/").last.map { String($0) }
            #expect(folder != nil && entries.first == folder && entries.count == 1)
        }
        // The last participant has taken its channel away, and nothing else.
        #expect(try ChannelRoot(FilePath(moved)).names().isEmpty)
        #expect(access(root.folder(try ChannelName(Self.name)) + "/control", F_OK) == 0)
    }

    private final class Box<Value: ~Copyable>: @unchecked Sendable {
        var value: Value
        init(_ value: consuming Value) { self.value = value }
    }
}
