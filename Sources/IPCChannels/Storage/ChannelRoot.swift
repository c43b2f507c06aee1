import CIPCShims
import Glibc
public import IPC
public import SystemPackage

/// The folder that holds all channels, each in a folder of its own: `/dev/shm/swift-ipc.UID`, or the value of `IPC_ROOT`.
///
/// The folder must not be writable for everyone: anyone who can write there could replace a channel with one of their own and read
/// what is published. `/dev/shm` is writable for everyone, so the default folder is used only if it belongs to this user and nobody
/// else may write to it. A folder named by `IPC_ROOT` or in the program may also belong to another user or be writable for a group:
/// naming it means trusting its owner and the group. But a group-writable folder of this user's, with this user's own group, is
/// accepted only if it has the set-group-ID bit: with a umask of 002 every folder is group-writable, without anyone having asked
/// for it. A symbolic link in the place of either folder is followed if it belongs to this user or the superuser, and its target is
/// checked in the same way. Anything else is refused (``/IPC/IPCError/Code/permissionDenied``); the error says what to do.
///
/// **For a group**, make the folder with `install -d -m 2770 -g GROUP FOLDER`, and name it in `IPC_ROOT`. Each member can create
/// channels there, and can join and remove those whose ``ChannelOptions/permissions`` include the group (0660).
///
/// A channel is created under a temporary name and then renamed, so that no process finds an incomplete one. A process that creates
/// or removes a channel holds the root's lock. The next holder of the lock removes what it finds under a temporary name: a process
/// that died left it.
public struct ChannelRoot: Hashable, Sendable {
    /// Its path.
    public let path: String

    /// The folder at `path`, created together with the first channel. For a durable channel it should be on a disk.
    public init(_ path: FilePath) { self.path = path.string }

    /// The default root. A program that runs with more rights than its caller (set-user-ID) ignores `IPC_ROOT`.
    public static var current: ChannelRoot {
        if let raw = unsafe ipc_secure_getenv("IPC_ROOT") {
            let given = unsafe String(cString: raw)
            if !given.isEmpty { return ChannelRoot(FilePath(given)) }
        }
        return ChannelRoot(FilePath(defaultPath))
    }

    /// By the effective user, to whom new files belong.
    private static var defaultPath: String { "/dev/shm/swift-ipc.\(geteuid())" }

    /// Whether this is the default path.
    var isDefault: Bool { path == Self.defaultPath }

    /// The path of a channel's folder.
    package func folder(_ name: ChannelName) -> String { path + "/" + name.folder }

    /// The names of all channels, in alphabetical order.
    ///
    /// - Throws: ``/IPC/IPCError/Code/permissionDenied`` if the folder is not trusted or may not be read.
    public func names() throws(IPCError) -> [ChannelName] {
        guard let folder = try RootFolder.open(self) else { return [] }
        return try folder.entries().compactMap { ChannelName(folder: $0) }.sorted { $0.description < $1.description }
    }

    /// Runs `body` while no other process creates or removes a channel. Creates the folder if there is none.
    func withLock<Value: ~Copyable>(_ body: (RootFolder) throws(IPCError) -> Value) throws(IPCError) -> Value {
        let patience = Deadline.after(.seconds(10))
        while true {
            let folder = try RootFolder.make(self)
            // Nil if another process removes the folder at this moment.
            if let lock = try folder.lock() {
                try folder.removeLeftovers()
                let value = try body(folder)
                _ = consume lock
                return value
            }
            guard !patience.hasPassed else {
                throw IPCError(
                    .timedOut, "lock", path, advice: "another process keeps removing this folder; stop that process")
            }
        }
    }
}

/// Where a channel's files are.
enum ChannelPlace: Sendable {
    /// In a folder of this root.
    case root(ChannelRoot)
    /// Without a name: open on these descriptors of this process.
    case descriptors(control: CInt, log: CInt)
}
