import CIPCShims
import Glibc
import IPC
import SystemPackage

/// A channel's folder, open, so that all of its files are those of one channel, whatever is renamed meanwhile.
struct ChannelOpening: ~Copyable {
    private let name: ChannelName
    private let place: ChannelPlace
    /// Nil for one without a name.
    let root: RootFolder?
    private let folder: OwnedDescriptor

    /// - Throws: ``IPC/IPCError/Code/notFound`` if there is none.
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
            // Never used for names: those files are opened by their paths in `/proc`.
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
            // No FIFO that nobody writes to holds us up.
            return switch place {
            case .root:
                try WithheldDescriptor(
                    "control", in: folder.rawValue, flags | O_NOFOLLOW | O_NONBLOCK, "open channel", name.description)
            // Opened anew by this path, for an open file description, and so a lock, of one's own.
            case .descriptors(let control, _):
                try WithheldDescriptor("/proc/self/fd/\(control)", flags, "open channel", name.description)
            }
        } catch {
            throw try explained(error)
        }
    }

    /// The file whose bytes are locked, for an open file description, and so for locks, of one's own.
    ///
    /// - Parameter control: The status of `control`. If the channel was copied, and this file was not, it is made now.
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
        guard try FileStatus(of: raw, path).owner == geteuid() else { return made }  // another was quicker
        let permissions = ChannelFiles.lockPermissions(control.mode)
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
                retryingInterrupts { unsafe ipc_open("/proc/self/fd/\(log)", flags, 0) }
            }
        do throws(IPCError) {
            return OwnedDescriptor(adopting: try result.orThrow("open channel", name.description))
        } catch {
            throw try explained(error)
        }
    }

    /// Nothing else is opened: a device does something then, and a link leads elsewhere. What is exchanged since then is found when
    /// it is open.
    private func checkIsFile(_ file: String) throws(IPCError) {
        guard root != nil, let status = try FileStatus(of: file, in: folder.rawValue, path), !status.isRegularFile
        else { return }
        throw IPCError(
            .corrupted, "open channel", name.description,
            advice:
                "\(path)/\(file) is \(status.kind), and not a channel's file; remove the channel (ipc rm \(name)), and create it again"
        )
    }

    private func explained(_ error: IPCError) throws(IPCError) -> IPCError {
        guard root != nil, let errno = error.errno else { return error }
        if errno == .noSuchFileOrDirectory { return try isStillThere() ? lacksFiles : Self.notFound(name) }
        var status = try FileStatus(of: folder.rawValue, path)
        // Who may not look into the folder is told of the folder.
        if let file = try? FileStatus(of: "control", in: folder.rawValue, path) { status = file }
        return IPCError(
            "open channel", name.description, errno, advice: RootTrust.denial(errno, status, path))
    }

    /// Whether the folder has its name: one that is being removed loses that first.
    private func isStillThere() throws(IPCError) -> Bool {
        guard let root, let named = try root.status(of: name.folder) else { return false }
        return try named.identity == FileStatus(of: folder.rawValue, path).identity
    }

    private var lacksFiles: IPCError {
        IPCError(
            .corrupted, "open channel", name.description,
            advice:
                "\(path) is no channel's folder, or lacks its files; remove it (ipc rm \(name)), or choose another name"
        )
    }

    private static func notFound(_ name: ChannelName) -> IPCError {
        IPCError(
            .notFound, "open channel", name.description, errno: .noSuchFileOrDirectory,
            advice: "there is no such channel; create it first")
    }
}
