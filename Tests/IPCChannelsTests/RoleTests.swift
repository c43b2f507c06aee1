import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

@testable import IPCChannels

/// The table of `Documentation/roles.md`: each cell is tried by a process of another user.
@Suite(.timeLimit(.minutes(5)), .enabled(if: OtherUser.isPossible, .init(stringLiteral: OtherUser.reason)))
struct RoleTests {
    /// A row: who tries.
    struct Role: Sendable, CustomTestStringConvertible {
        let name: String
        /// Permissions of the root and of the channels, which belong to ``Place/owner``.
        let root: mode_t
        let files: mode_t
        /// Who may be a guest.
        var guests: mode_t = 0
        /// Whom of the place's users it is.
        let user: @Sendable (Place) -> OtherUser
        /// What it can do; nothing else.
        let abilities: Set<String>

        var testDescription: String { name }
    }

    /// The columns, in an order in which none spoils the next.
    static let columns = [
        "observe", "tap", "subscribe", "wait", "publish", "create", "hold-back", "lock", "forge", "remove",
    ]

    static let roles = [
        Role(name: "the owner", root: 0o700, files: 0o600, user: \.owner, abilities: Set(columns)),
        Role(name: "the superuser", root: 0o700, files: 0o600, user: { _ in OtherUser(0) }, abilities: Set(columns)),
        Role(
            name: "reads and writes files and root", root: 0o2770, files: 0o660, user: \.member, abilities: Set(columns)
        ),
        Role(
            name: "the same, in a sticky root", root: 0o3770, files: 0o660, user: \.member,
            abilities: Set(columns).subtracting(["remove"])),
        Role(
            name: "reads and writes the files", root: 0o755, files: 0o666, user: \.stranger,
            abilities: Set(columns).subtracting(["wait", "create", "remove"])),
        Role(
            name: "reads the files", root: 0o755, files: 0o644, user: \.stranger, abilities: ["observe", "tap"]),
        Role(
            name: "reads the files by its group", root: 0o2750, files: 0o640, user: \.member,
            abilities: ["observe", "tap"]),
        Role(
            name: "is a guest", root: 0o755, files: 0o600, guests: 0o006, user: \.stranger,
            abilities: ["observe", "tap", "subscribe", "wait", "hold-back"]),
        Role(
            name: "is a guest by its group", root: 0o2750, files: 0o640, guests: 0o060, user: \.member,
            abilities: ["observe", "tap", "subscribe", "wait", "hold-back"]),
        Role(
            name: "is no guest, where the group is", root: 0o755, files: 0o644, guests: 0o060, user: \.stranger,
            abilities: ["observe", "tap"]),
        Role(name: "sees the root", root: 0o755, files: 0o600, user: \.stranger, abilities: []),
        Role(name: "anybody else", root: 0o700, files: 0o666, user: \.stranger, abilities: []),
    ]

    /// A root with a topic and a latest value of one user.
    final class Place: Sendable {
        let path = "/dev/shm/" + uniqueName()
        let owner: OtherUser
        let member: OtherUser
        let stranger = OtherUser.any()
        var root: ChannelRoot { ChannelRoot(FilePath(path)) }

        init(_ role: Role) throws {
            let group = gid_t.random(in: 30_000..<60_000)
            (owner, member) = (OtherUser.any(groups: [group]), OtherUser.any(groups: [group]))
            mkdir(path, 0o700)
            chown(path, owner.user, group)
            chmod(path, role.root)
            let made = try owner.run(
                product("ChannelPeer"), "make-for-roles", "role", String(role.files, radix: 8),
                String(role.guests, radix: 8), root: path)
            #expect(made.status == .exited(0) && made.text == "made\n", "\(made.text)")
        }

        deinit { removeAll(path) }

        var topic: ChannelName { get throws { try ChannelName("role/topic") } }
    }

    @Test(arguments: roles)
    func eachCanDoWhatTheTableSaysAndNoMore(role: Role) throws {
        let place = try Place(role)
        let user = role.user(place)
        let hosts = role.guests == 0 ? nil : try Hosts(place.root)
        defer { _ = hosts }
        for ability in Self.columns {
            let can =
                switch ability {
                case "hold-back": try holdsBack(place, user)
                case "lock": try keepsOut(place, user)
                default: try did(ability, place, user)
                }
            #expect(can == role.abilities.contains(ability), "\(role.name): \(ability)")
        }
    }

    /// Participants, without whom there are no guests.
    private final class Hosts {
        private let topics: [Box<Topic<UInt64>.Publisher>]
        private let latest: Box<Latest<UInt64>.Getter>

        init(_ root: ChannelRoot) throws {
            topics = try ["role/topic", "role/held"].map {
                Box(try Topic<UInt64>.open($0, in: root).makePublisher())
            }
            latest = Box(try Latest<UInt64>.open("role/latest", in: root).makeGetter())
        }
    }

    /// What became of the channel, and not only what was said.
    private func did(_ ability: String, _ place: Place, _ user: OtherUser) throws -> Bool {
        let (status, text) = try user.run(product("ChannelPeer"), "role", ability, "role", root: place.path)
        #expect(status == .exited(0), "\(ability): \(text)")
        let said = text == "yes\n"
        #expect(said || text.hasPrefix("no: ") && text.lowercased().contains("permission"), "\(ability): \(text)")
        switch ability {
        case "forge": #expect(try firstMessage(place) == (said ? 9 : 1))
        case "remove": #expect(try place.root.names().contains(place.topic) != said)
        default: #expect(try firstMessage(place) == 1, "\(ability)")
        }
        return said
    }

    private func firstMessage(_ place: Place) throws -> UInt64 {
        var observer = try Topic<UInt64>.open("role/topic", in: place.root).makeObserver(from: .oldest)
        return try observer.receive(until: .immediate)
    }

    /// Whether writers run into one that reads nothing.
    private func holdsBack(_ place: Place, _ user: OtherUser) throws -> Bool {
        let peer = try user.start(product("ChannelPeer"), ["role", "hold-back", "role"], root: place.path)
        let said = try peer.said()
        let topic = try Topic<UInt64>.open("role/held", in: place.root)
        var publisher = try topic.makePublisher()
        // Half of what the log holds.
        for _ in 0..<500 { #expect(try publisher.tryPublish(1)) }
        guard said == "in place\n" else {
            #expect(said.hasPrefix("no: "), "\(said)")
            _ = try peer.finish()
            return false
        }
        // As much as fits only if nobody has to read it.
        var isHeld = false
        for _ in 0..<5000 where !isHeld { isHeld = try !publisher.tryPublish(1) }
        try peer.kill()
        return isHeld
    }

    /// Whether its lock keeps others from joining.
    private func keepsOut(_ place: Place, _ user: OtherUser) throws -> Bool {
        let peer = try user.start(product("ChannelPeer"), ["role", "lock", "role"], root: place.path)
        let said = try peer.said()
        let memory = try ChannelMemory(place.topic, in: .root(place.root), logAccess: .readOnly)
        let isOpen = try memory.tryLockMembership()
        if isOpen { memory.unlockMembership() }
        if said == "in place\n" { try peer.kill() } else { _ = try peer.finish() }
        return !isOpen
    }

    /// Services of one user, of a group, and of everybody; who calls; and whether the kernel's word of its user is certain.
    @Test(arguments: [(0o700, 0o600, true), (0o2770, 0o660, false), (0o755, 0o666, false)] as [(mode_t, mode_t, Bool)])
    func theUserOfACallerIsTheKernelsWord(root: mode_t, files: mode_t, isCertain: Bool) throws {
        let place = try Place(Role(name: "", root: root, files: 0o600, user: \.owner, abilities: []))
        let caller = isCertain ? place.owner : root == 0o755 ? place.stranger : place.member
        // The channel is its owner's; this process is the superuser's.
        let name = "role/numbers"
        let made = try place.owner.run(
            product("ChannelPeer"), "make-service", name, String(files, radix: 8), root: place.path)
        #expect(made.text == "made\n", "\(made.text)")
        let memory = try ChannelMemory(ChannelName(name), in: .root(place.root), logAccess: .readWrite)
        var server = try ServiceChannel<UInt64, UInt64, Errno>.open(name, in: place.root).makeServer()
        let peer = try caller.start(product("ChannelPeer"), ["begin-call", name], root: place.path)
        #expect(try peer.said() == "called\n")
        let call = try server.next(until: .after(.seconds(10)))
        let identity = try call.identifyCaller()
        #expect(identity.process == peer.child.handle.identifier && identity.user == caller.user)
        #expect(identity.group == caller.groups[0] && identity.isCertain == isCertain)
        // What a hostile caller can say: that it is another process. Then the user is that one's, and not certain.
        memory.process(.writer, 0).relaxed = UInt32(getpid())
        let claimed = try call.identifyCaller()
        #expect(claimed.process == getpid() && claimed.user == 0 && !claimed.isCertain)
        // One that does not exist.
        memory.process(.writer, 0).relaxed = 0x7fff_ffff
        #expect(failure { () throws(IPCError) in _ = try call.identifyCaller() }?.code == .unsupported)
        memory.namespace(.writer, 0).relaxed ^= 1
        let elsewhere = failure { () throws(IPCError) in _ = try call.identifyCaller() }
        #expect(elsewhere?.code == .unsupported && elsewhere?.advice.contains("namespace") == true)
        try peer.kill()
        #expect(failure { () throws(IPCError) in _ = try call.identifyCaller() }?.code == .unsupported)
        memory.namespace(.writer, 0).relaxed ^= 1
        #expect(failure { () throws(IPCError) in _ = try call.identifyCaller() }?.code == .notFound)
    }

    /// A folder that was copied without the file that is locked gets it from whoever joins, for those who may write.
    @Test func locksThatAreMissingAreMadeForWhoeverMayWrite() throws {
        for (files, locks) in [(0o644, 0o600), (0o664, 0o660), (0o666, 0o666), (0o600, 0o600)] as [(mode_t, mode_t)] {
            let place = try Place(Role(name: "", root: 0o755, files: files, user: \.owner, abilities: []))
            let path = place.root.folder(try place.topic) + "/locks"
            #expect(try FileStatus(at: path).mode.rawValue == locks)
            unlink(path)
            for user in [place.stranger, place.owner] {
                let (_, text) = try user.run(product("ChannelPeer"), "role", "publish", "role", root: place.path)
                // A stranger may not make a file in the folder.
                #expect((text == "yes\n") == (user.user == place.owner.user), "\(text)")
            }
            let status = try FileStatus(at: path)
            #expect(status.mode.rawValue == locks && status.owner == place.owner.user)
        }
    }

    /// The last participant takes a channel away, unless it may not; whoever may does it after that.
    @Test func inAStickyRootOnlyItsCreatorTakesAChannelAway() throws {
        let place = try Place(
            Role(name: "", root: 0o3770, files: 0o660, user: \.member, abilities: []))
        let (owner, member) = (place.owner, place.member)
        let holder = try owner.start(product("ChannelPeer"), ["hold-open", "used", "660"], root: place.path)
        #expect(try holder.said() == "ready\n")
        let visitor = try member.start(product("ChannelPeer"), ["hold-publisher", "used"], root: place.path)
        #expect(try visitor.said() == "ready\n")
        try holder.kill()
        try visitor.child.handle.send(.terminate)
        #expect(try visitor.finish().status == .exited(0))
        #expect(try place.root.names().map(\.description).contains("used"))
        #expect(try member.run(product("ChannelPeer"), "remove", "used", root: place.path).status == .exited(1))
        #expect(try owner.run(product("ChannelPeer"), "remove", "used", root: place.path).status == .exited(0))
        // What the member has made is its own to remove, and the root's owner's.
        for remover in [member, owner] {
            let made = try member.run(product("ChannelPeer"), "make-for-roles", "mine", "660", root: place.path)
            #expect(made.status == .exited(0), "\(made.text)")
            for kind in ["topic", "held", "latest"] {
                let (status, text) = try remover.run(
                    product("ChannelPeer"), "remove", "mine/" + kind, root: place.path)
                #expect(status == .exited(0), "\(text)")
            }
        }
    }

    /// Whoever starts a program that has more rights than itself does not choose where it makes its channels.
    @Test func aSetUserIDProgramDoesNotLookAtTheRootThatItsCallerNames() throws {
        let (owner, caller) = (OtherUser.any(), OtherUser.any())
        let folder = "/tmp/" + uniqueName()
        let (program, named) = (folder + "/ChannelPeer", folder + "/named")
        let own = "/dev/shm/swift-ipc.\(owner.user)"
        defer {
            removeAll(folder)
            removeAll(own)
        }
        mkdir(folder, 0o755)
        chmod(folder, 0o755)
        // One that everybody could use it from, if it did.
        mkdir(named, 0o700)
        chown(named, owner.user, owner.user)
        _ = try Peer("cp", [product("ChannelPeer"), program]).finish()
        chown(program, owner.user, owner.user)
        chmod(program, 0o4755)
        let (status, text) = try caller.run(program, "create-at-once", "trust/topic", root: named)
        #expect(status == .exited(0), "\(text)")
        #expect(try namesInFolder(named) == [])
        #expect(try ChannelRoot(FilePath(own)).names().map(\.description) == ["trust/topic"])
        // The same program without the bit does look at it.
        chmod(program, 0o755)
        #expect(try owner.run(program, "create-at-once", "trust/topic", root: named).status == .exited(0))
        #expect(try ChannelRoot(FilePath(named)).names().map(\.description) == ["trust/topic"])
    }
}

private final class Box<Value: ~Copyable> {
    private let value: Value
    init(_ value: consuming Value) { self.value = value }
}
