import CIPCShims
import Glibc
public import IPC
public import SystemPackage

/// The folder that holds all channels, each a folder of its own: `/dev/shm/swift-ipc.UID`, or what `IPC_ROOT` says.
///
/// A channel is made under another name and then renamed, so that nobody meets a half-made one. Who makes or takes away
/// holds the root's lock; what the lock's next holder finds under such a name is from a process that died, and goes.
public struct ChannelRoot: Hashable, Sendable {
    /// Its path.
    public let path: String

    /// The folder at `path`, which is made when the first channel is. For a durable channel it should be on a disk.
    public init(_ path: FilePath) { self.path = path.string }

    /// The folder where channels are if nothing is said.
    public static var current: ChannelRoot {
        if let raw = unsafe getenv("IPC_ROOT") {
            let given = unsafe String(cString: raw)
            if !given.isEmpty { return ChannelRoot(FilePath(given)) }
        }
        return ChannelRoot(FilePath("/dev/shm/swift-ipc.\(getuid())"))
    }

    /// Removes the folder, with what the dead have left in it, if no channel is in it. Nobody may begin to use it meanwhile.
    ///
    /// - Throws: ``IPC/IPCError/Code/system`` with `ENOTEMPTY` if there is one, or somebody waits there.
    package func removeIfUnused() throws(IPCError) {
        guard unsafe access(path, F_OK) == 0 else { return }
        try withLock { () throws(IPCError) in
            try Bell.removeDead(self)
            unsafe unlink(path + "/.lock")
            _ = try systemCall { unsafe rmdir(path) }.orThrow("rmdir", path)
        }
    }

    /// A channel's own folder.
    package func folder(_ name: ChannelName) -> String { path + "/" + name.folder }

    /// The names of all channels, in alphabetical order.
    public func names() throws(IPCError) -> [ChannelName] {
        try entries().compactMap { ChannelName(folder: $0) }.sorted { $0.description < $1.description }
    }

    func entries() throws(IPCError) -> [String] {
        do throws(IPCError) { return try namesInFolder(path) } catch {
            guard error.code == .notFound else { throw error }
            return []
        }
    }

    /// Runs `body` while no other process makes or takes away a channel.
    func withLock<Value: ~Copyable>(_ body: () throws(IPCError) -> Value) throws(IPCError) -> Value {
        if unsafe mkdir(path, 0o700) != 0, errno != EEXIST { throw IPCError("mkdir", path, Errno(rawValue: errno)) }
        // Withheld: a child that is forked meanwhile would keep the lock.
        let lock = try WithheldDescriptor(path + "/.lock", O_RDWR | O_CREAT, mode: 0o600)
        let raw = lock.rawValue
        try ByteLock.wait(path, until: .after(.seconds(10))) { () throws(IPCError) in
            try ByteLock.tryTake(raw, LogLayout.LockByte.gate, path)
        }
        for name in try entries() where name.hasPrefix(".new-") || name.hasPrefix(".old-") {
            try Self.delete(path + "/" + name)
        }
        let value = try body()
        _ = consume lock
        return value
    }

    /// Makes a folder with what `fill` puts there, or finds that the channel exists.
    ///
    /// - Returns: False if it exists.
    func publish(_ name: ChannelName, permissions: FilePermissions, _ fill: (String) throws(IPCError) -> Void)
        throws(IPCError) -> Bool
    {
        try withLock { () throws(IPCError) in
            guard unsafe access(folder(name), F_OK) != 0 else { return false }
            let temporary = path + "/.new-" + name.folder
            // Who may read the files may also look into the folder.
            let search = (permissions.rawValue & 0o444) >> 2
            _ = try systemCall { unsafe mkdir(temporary, permissions.rawValue | search) }.orThrow("mkdir", temporary)
            do throws(IPCError) {
                try fill(temporary)
                _ = try systemCall { unsafe ipc_rename_new(temporary, folder(name)) }.orThrow("rename", folder(name))
            } catch {
                try? Self.delete(temporary)
                throw error
            }
            return true
        }
    }

    /// Waits until the names of a channel's files are on the disk.
    func sync(_ name: ChannelName) throws(IPCError) {
        for folder in [folder(name), path] {
            let raw = try retryingInterrupts { unsafe ipc_open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0) }
                .orThrow("open", folder)
            let file = OwnedDescriptor(adopting: FileDescriptor(rawValue: raw))
            _ = try retryingInterrupts { fsync(file.descriptor.rawValue) }.orThrow("fsync", folder)
        }
    }

    /// Takes a channel's folder away. `isStill` looks, under the lock, whether it is the one that is meant.
    func remove(_ name: ChannelName, if isStill: () throws(IPCError) -> Bool) throws(IPCError) {
        try withLock { () throws(IPCError) in
            guard try isStill() else { return }
            let temporary = path + "/.old-" + name.folder
            switch systemCall({ unsafe ipc_rename_new(folder(name), temporary) }) {
            case .success: try Self.delete(temporary)
            case .failure(.noSuchFileOrDirectory): return
            case .failure(let errno): throw IPCError("rename", folder(name), errno)
            }
        }
    }

    private static func delete(_ folder: String) throws(IPCError) {
        for file in ["control", "log"] { unsafe unlink(folder + "/" + file) }
        if unsafe rmdir(folder) != 0, errno != ENOENT { throw IPCError("rmdir", folder, Errno(rawValue: errno)) }
    }
}

/// Where a channel's files are.
enum ChannelPlace: Sendable {
    /// In a folder of this root.
    case root(ChannelRoot)
    /// Nowhere by name: open on these descriptors of this process.
    case descriptors(control: CInt, log: CInt)

    func control(_ name: ChannelName) -> String {
        switch self {
        case .root(let root): root.folder(name) + "/control"
        // Opened anew by this path, for an open file description, and so a lock, of one's own.
        case .descriptors(let control, _): "/proc/self/fd/\(control)"
        }
    }

    func log(_ name: ChannelName) -> String {
        switch self {
        case .root(let root): root.folder(name) + "/log"
        case .descriptors(_, let log): "/proc/self/fd/\(log)"
        }
    }
}

/// Locks of single bytes, held by an open file description: the kernel's word on who lives.
enum ByteLock {
    /// Takes the lock, unless another has it.
    static func tryTake(_ descriptor: CInt, _ byte: Int64, _ name: String) throws(IPCError) -> Bool {
        switch retryingInterrupts({ ipc_byte_lock(descriptor, off_t(byte)) }) {
        case .success: return true
        case .failure(.resourceTemporarilyUnavailable), .failure(.permissionDenied): return false
        case .failure(let errno): throw IPCError("fcntl F_OFD_SETLK", name, errno)
        }
    }

    static func release(_ descriptor: CInt, _ byte: Int64) {
        _ = retryingInterrupts { ipc_byte_unlock(descriptor, off_t(byte)) }
    }

    /// Whether another open file description has it, or one of the `count` from it on.
    static func isTaken(
        _ descriptor: CInt, _ byte: Int64, count: Int64 = 1, _ name: String
    ) throws(IPCError) -> Bool {
        try retryingInterrupts { ipc_bytes_are_locked(descriptor, off_t(byte), off_t(count)) }
            .orThrow("fcntl F_OFD_GETLK", name) != 0
    }

    /// Takes a lock by repeated attempts, until the deadline. Holders need it for microseconds.
    static func wait(
        _ name: String, until deadline: Deadline, _ tryTake: () throws(IPCError) -> Bool
    ) throws(IPCError) {
        while try !tryTake() {
            guard !deadline.hasPassed else {
                throw IPCError(
                    .timedOut, "lock", name,
                    advice: "another process holds its gate; if one was stopped there, let it go on or end it")
            }
            usleep(200)
        }
    }
}
