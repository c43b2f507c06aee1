import CIPCShims
import Glibc
import IPC
import SystemPackage

/// A channel's folder, held open, so that all files opened through it belong to the same channel, whatever is renamed meanwhile.
struct ChannelOpening: ~Copyable {
    private let name: ChannelName
    private let place: ChannelPlace
    /// Nil for a channel without a name.
    let root: RootFolder?
    private let folder: OwnedDescriptor

    /// - Throws: ``/IPC/IPCError/Code/notFound`` if there is no such channel.
    init(_ name: ChannelName, in place: ChannelPlace) throws(IPCError) {
        let root: RootFolder? = if case .root(let root) = place { try RootFolder.open(root) } else { nil }
        self.init(name, place, root, try Self.openFolder(name, in: place, root))
    }

    private init(
        _ name: ChannelName, _ place: ChannelPlace, _ root: RootFolder?, _ folder: consuming OwnedDescriptor
    ) {
        self.name = name
        self.place = place
        self.root = root
        self.folder = folder
    }

    private static func openFolder(
        _ name: ChannelName, in place: ChannelPlace, _ root: RootFolder?
    ) throws(IPCError) -> OwnedDescriptor {
        if case .descriptors(let control, _) = place {
            // Never used to look up names: those files are opened by their paths in `/proc`.
            return try OwnedDescriptor(
                adopting: systemCall { ipc_fcntl_int(control, F_DUPFD_CLOEXEC, 3) }
                    .orThrow("open channel", name.description))
        }
        guard let root, let folder = try root.openFolder(name.folder) else { throw notFound(name) }
        return folder
    }

    /// For messages.
    var path: String { if let root { root.path + "/" + name.folder } else { name.description } }

    func control(_ access: MemoryAccess) throws(IPCError) -> WithheldDescriptor {
        let flags = access == .readOnly ? O_RDONLY : O_RDWR
        do throws(IPCError) {
            try checkIsFile("control")
            // `O_NONBLOCK`: a FIFO in its place does not block the open.
            return switch place {
            case .root:
                try WithheldDescriptor(
                    "control", in: folder.rawValue, flags | O_NOFOLLOW | O_NONBLOCK, "open channel", name.description)
            // Opened again by this path, for an open file description of its own, and so for locks of its own.
            case .descriptors(let control, _):
                try WithheldDescriptor("/proc/self/fd/\(control)", flags, "open channel", name.description)
            }
        } catch {
            throw try explained(error)
        }
    }

    /// The file whose bytes are locked, opened for an open file description of its own, and so for locks of its own.
    ///
    /// - Parameter control: The status of `control`. If the channel was copied without this file, the file is created with
    ///   permissions derived from it.
    func locks(_ control: FileStatus) throws(IPCError) -> WithheldDescriptor {
        guard root != nil else { return try self.control(.readWrite) }
        let flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK
        do throws(IPCError) {
            try checkIsFile("locks")
            let file = try WithheldDescriptor("locks", in: folder.rawValue, flags, "open channel", name.description)
            guard try FileStatus(of: file.rawValue, path).isRegularFile else { throw lacksFiles }
            return file
        } catch {
            guard error.errno == .noSuchFileOrDirectory, try isStillThere() else { throw try explained(error) }
        }
        let made = try WithheldDescriptor(
            "locks", in: folder.rawValue, flags | O_CREAT, mode: 0o600, "open channel", name.description)
        let raw = made.rawValue
        guard try FileStatus(of: raw, path).owner == geteuid() else { return made }  // another process created it first
        let permissions = control.mode.ofLockFile
        _ = try systemCall { fchown(raw, uid_t.max, control.group) }.orThrow("fchown", path + "/locks")
        _ = try systemCall { fchmod(raw, permissions.rawValue) }.orThrow("fchmod", path + "/locks")
        return made
    }

    /// The FIFO whose bytes guests lock.
    func subscribers() throws(IPCError) -> WithheldDescriptor {
        do throws(IPCError) {
            let file = try WithheldDescriptor(
                "subscribers", in: folder.rawValue, O_RDWR | O_NOFOLLOW | O_NONBLOCK, "open channel", name.description)
            guard try FileStatus(of: file.rawValue, path).isFIFO else { throw lacksFiles }
            return file
        } catch {
            throw try explained(error)
        }
    }

    /// The status of one of its files, without opening it; nil if there is none of this name.
    func status(of file: String) throws(IPCError) -> FileStatus? {
        try FileStatus(of: file, in: folder.rawValue, path + "/" + file)
    }

    func log(_ access: MemoryAccess) throws(IPCError) -> OwnedDescriptor {
        let flags = (access == .readOnly ? O_RDONLY : O_RDWR) | O_CLOEXEC
        try checkIsFile("log")
        let result =
            switch place {
            case .root:
                retryingInterrupts {
                    unsafe ipc_openat(folder.rawValue, "log", flags | O_NOFOLLOW | O_NONBLOCK, 0)
                }
            case .descriptors(_, let log):
                retryingInterrupts { unsafe ipc_open_path("/proc/self/fd/\(log)", flags, 0) }
            }
        do throws(IPCError) {
            return OwnedDescriptor(adopting: try result.orThrow("open channel", name.description))
        } catch {
            throw try explained(error)
        }
    }

    /// Rejects anything that is not a regular file before it is opened: opening a device has effects, and a link leads elsewhere. A
    /// replacement after this check is found once the file is open.
    private func checkIsFile(_ file: String) throws(IPCError) {
        guard root != nil, let status = try FileStatus(of: file, in: folder.rawValue, path), !status.isRegularFile
        else { return }
        throw IPCError(
            .corrupted, "open channel", name.description,
            advice:
                "\(path)/\(file) is \(status.kind), not a channel's file; \(wayToStrays)remove the channel (ipc rm \(name)), and create it again"
        )
    }

    /// What has to be done before the channel can be removed; usually nothing.
    private var wayToStrays: String {
        let strays = RootFolder.strays(in: folder.rawValue)
        return strays.isEmpty ? "" : "move \(strays.joined(separator: ", ")) away, "
    }

    private func explained(_ error: IPCError) throws(IPCError) -> IPCError {
        guard root != nil, let errno = error.errno else { return error }
        if errno == .noSuchFileOrDirectory { return try isStillThere() ? lacksFiles : Self.notFound(name) }
        var status = try FileStatus(of: folder.rawValue, path)
        // A user that may not look into the folder is told about the folder.
        if let file = try? FileStatus(of: "control", in: folder.rawValue, path) { status = file }
        return IPCError(
            "open channel", name.description, errno, advice: RootTrust.denial(errno, status, path))
    }

    /// Whether the folder still has its name: a channel that is being removed loses its name first.
    private func isStillThere() throws(IPCError) -> Bool {
        guard let root, let named = try root.status(of: name.folder) else { return false }
        return try named.identity == FileStatus(of: folder.rawValue, path).identity
    }

    private var lacksFiles: IPCError {
        IPCError(
            .corrupted, "open channel", name.description,
            advice:
                "\(path) is not a channel's folder, or lacks some of its files; \(wayToStrays)remove it (ipc rm \(name)), or choose another name"
        )
    }

    static func notFound(_ name: ChannelName) -> IPCError {
        IPCError(
            .notFound, "open channel", name.description, errno: .noSuchFileOrDirectory,
            advice: "there is no such channel; create it first")
    }
}

extension FilePermissions {
    /// The permissions of the locked file: only for those who may write to the channel. A read lock needs only read permission and
    /// would block all others.
    var ofLockFile: FilePermissions {
        let writes = rawValue & 0o222
        return FilePermissions(rawValue: writes | writes << 1)
    }

    /// Read and write permission for each class that has either.
    var readingAndWriting: FilePermissions {
        let reads = rawValue & 0o444 | (rawValue & 0o222) << 1
        return FilePermissions(rawValue: reads | reads >> 1)
    }
}
