import CIPCShims
import Glibc
public import IPC
public import SystemPackage

/// The folder that holds all channels, each a folder of its own: `/dev/shm/swift-ipc.UID`, or what `IPC_ROOT` says.
///
/// The folder has to be one that not everybody can write to: whoever can, could put a channel of its own in another's place, and
/// read what is published. `/dev/shm` is everybody's, so the default folder is used only if it belongs to this user, and nobody
/// else may write to it. A folder that is named, by `IPC_ROOT` or in the program, may also belong to another user, or be
/// writable for a group: whoever names it trusts its owner, and the group. A folder of this user's own, of this user's own group,
/// is a group's only if it has the set-group-ID bit: where the umask is 002, every folder is writable for that group, and nobody has
/// asked for it. A symbolic link in the place of either folder is followed if it belongs to this user or the superuser, and where it
/// leads is looked at in the same way. Anything else is refused (``IPC/IPCError/Code/permissionDenied``), with what to do.
///
/// **For a group**, make the folder with `install -d -m 2770 -g GROUP FOLDER`, and name it in `IPC_ROOT`. Each member can create
/// channels there, and join and remove those whose ``ChannelOptions/permissions`` let the group in (0660).
///
/// A channel is made under another name and then renamed, so that nobody meets a half-made one. Who makes or takes away
/// holds the root's lock; what the lock's next holder finds under such a name is from a process that died, and goes.
public struct ChannelRoot: Hashable, Sendable {
    /// Its path.
    public let path: String

    /// The folder at `path`, which is made when the first channel is. For a durable channel it should be on a disk.
    public init(_ path: FilePath) { self.path = path.string }

    /// The folder where channels are if nothing is said. A program that runs with more rights than its caller has (set-user-ID)
    /// does not look at `IPC_ROOT`.
    public static var current: ChannelRoot {
        if let raw = unsafe ipc_secure_getenv("IPC_ROOT") {
            let given = unsafe String(cString: raw)
            if !given.isEmpty { return ChannelRoot(FilePath(given)) }
        }
        return ChannelRoot(FilePath(defaultPath))
    }

    /// Files belong to the effective user.
    private static var defaultPath: String { "/dev/shm/swift-ipc.\(geteuid())" }

    /// Whether it is the one that is used if nothing is said.
    var isDefault: Bool { path == Self.defaultPath }

    /// Removes the folder, with what the dead have left in it, if no channel is in it. Nobody may begin to use it meanwhile.
    ///
    /// - Throws: ``IPC/IPCError/Code/system`` with `ENOTEMPTY` if there is one, or somebody waits there.
    package func removeIfUnused() throws(IPCError) {
        guard try RootFolder.open(self) != nil else { return }
        try withLock { (folder) throws(IPCError) in
            try Bell.removeDead(folder)
            unsafe unlinkat(folder.descriptor, RootFolder.lockName, 0)
            _ = try systemCall { unsafe rmdir(path) }.orThrow("rmdir", path)
        }
    }

    /// A channel's own folder.
    package func folder(_ name: ChannelName) -> String { path + "/" + name.folder }

    /// The names of all channels, in alphabetical order.
    ///
    /// - Throws: ``IPC/IPCError/Code/permissionDenied`` if the folder is not to be trusted, or not to be looked into.
    public func names() throws(IPCError) -> [ChannelName] {
        guard let folder = try RootFolder.open(self) else { return [] }
        return try folder.entries().compactMap { ChannelName(folder: $0) }.sorted { $0.description < $1.description }
    }

    /// Runs `body` while no other process makes or takes away a channel. The folder is made if there is none.
    func withLock<Value: ~Copyable>(_ body: (RootFolder) throws(IPCError) -> Value) throws(IPCError) -> Value {
        let patience = Deadline.after(.seconds(10))
        while true {
            let folder = try RootFolder.make(self)
            // Nil if somebody takes the folder away at this moment.
            if let lock = try folder.lock() {
                try folder.removeLeftovers()
                let value = try body(folder)
                _ = consume lock
                return value
            }
            guard !patience.hasPassed else {
                throw IPCError(.timedOut, "lock", path, advice: "somebody removes this folder all the time; stop that")
            }
        }
    }
}

/// Where a channel's files are.
enum ChannelPlace: Sendable {
    /// In a folder of this root.
    case root(ChannelRoot)
    /// Nowhere by name: open on these descriptors of this process.
    case descriptors(control: CInt, log: CInt)
}
