import CIPCShims
import Glibc
import IPC
import SystemPackage

/// An open root that was found to be trusted. Everything in it is reached through its descriptor, so that replacing it by another
/// folder or a link has no effect.
final class RootFolder: Sendable {
    /// The path by which it was opened; for messages.
    let path: String
    private let directory: OwnedDescriptor
    private let identity: [UInt64]

    /// Only for looking up names in it (`O_PATH`), which needs no read permission.
    var descriptor: CInt { directory.rawValue }

    private init(_ path: String, _ directory: consuming OwnedDescriptor, _ identity: [UInt64]) {
        self.path = path
        self.directory = directory
        self.identity = identity
    }

    // MARK: Opening

    /// The open roots: each is opened once per process, for all its channels.
    private static let known = KnownFolders()

    /// Opens a root and checks whether it is trusted.
    ///
    /// - Returns: Nil if there is none.
    /// - Throws: ``/IPC/IPCError/Code/permissionDenied`` if it is not trusted; ``/IPC/IPCError/Code/wrongType`` if it is not a
    ///   folder; ``/IPC/IPCError/Code/notFound`` if it is a symbolic link to nothing.
    static func open(_ root: ChannelRoot) throws(IPCError) -> RootFolder? {
        let flags = IPC_O_PATH | O_NOFOLLOW | O_CLOEXEC
        guard let raw = try openIfThere(root.path, flags) else { return nil }
        var directory = OwnedDescriptor(adopting: raw)
        var status = try FileStatus(of: raw, root.path)
        if status.isSymbolicLink {
            try RootTrust.checkLink(status, root)
            guard let target = try openIfThere(root.path, flags & ~O_NOFOLLOW) else {
                throw IPCError(
                    .notFound, "open", root.path, advice: "it is a dangling symbolic link; create its target")
            }
            directory = OwnedDescriptor(adopting: target)
            status = try FileStatus(of: target, root.path)
        }
        try RootTrust.check(status, root)
        return known.shared(RootFolder(root.path, directory, status.identity))
    }

    private static func openIfThere(_ path: String, _ flags: CInt) throws(IPCError) -> CInt? {
        switch retryingInterrupts({ unsafe ipc_open_path(path, flags, 0) }) {
        case .success(let raw): return raw
        case .failure(.noSuchFileOrDirectory): return nil
        case .failure(let errno): throw IPCError("open", path, errno)
        }
    }

    /// Opens it, or creates it for this user alone.
    static func make(_ root: ChannelRoot) throws(IPCError) -> RootFolder {
        while true {
            if let folder = try open(root) { return folder }
            let result = systemCall { unsafe mkdir(root.path, 0o700) }
            // Another process may have created it first; then it is checked like any other.
            guard case .failure(let errno) = result, errno != .fileExists else { continue }
            throw IPCError("mkdir", root.path, errno)
        }
    }

    // MARK: What is in it

    func entries() throws(IPCError) -> [String] { try namesInFolder(descriptor, path) }

    func status() throws(IPCError) -> FileStatus { try FileStatus(of: descriptor, path) }

    /// Nil if there is none of this name.
    func status(of name: String) throws(IPCError) -> FileStatus? {
        try FileStatus(of: name, in: descriptor, path + "/" + name)
    }

    /// Opens a folder in it, for looking up names.
    ///
    /// - Returns: Nil if there is none of this name.
    func openFolder(_ name: String) throws(IPCError) -> OwnedDescriptor? {
        let flags = IPC_O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
        switch retryingInterrupts({ unsafe ipc_openat(descriptor, name, flags, 0) }) {
        case .success(let raw): return OwnedDescriptor(adopting: raw)
        case .failure(.noSuchFileOrDirectory): return nil
        case .failure(.notDirectory), .failure(.tooManySymbolicLinkLevels):
            let kind = try status(of: name)?.kind ?? "something else"
            throw IPCError(
                .wrongType, "open", path + "/" + name,
                advice: "it is \(kind), not a channel's folder; remove it (ipc rm), or choose another name")
        case .failure(let errno):
            throw IPCError("open", path + "/" + name, errno, advice: try RootTrust.denial(errno, status(), path))
        }
    }

    /// The content of a channel's file; nil if there is none of this name.
    ///
    /// - Parameter limit: The maximum size in bytes.
    /// - Throws: ``/IPC/IPCError/Code/corrupted`` if it is no file, or larger.
    func content(of file: String, in name: ChannelName, limit: Int) throws(IPCError) -> [UInt8]? {
        guard let folder = try openFolder(name.folder) else { return nil }
        let path = "\(self.path)/\(name.folder)/\(file)"
        // `O_NONBLOCK`: a FIFO in its place does not block the open.
        let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC
        let opened: OwnedDescriptor
        switch retryingInterrupts({ unsafe ipc_openat(folder.rawValue, file, flags, 0) }) {
        case .success(let raw): opened = OwnedDescriptor(adopting: raw)
        case .failure(.noSuchFileOrDirectory): return nil
        case .failure(let errno): throw IPCError("open", path, errno)
        }
        guard try FileStatus(of: opened.rawValue, path).isRegularFile else {
            throw IPCError(.corrupted, "open", path, advice: "it is not a channel's file; remove the channel (ipc rm)")
        }
        var content: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 16_384)
        while true {
            let raw = opened.rawValue
            let count = try retryingInterrupts { unsafe read(raw, &part, part.count) }.orThrow("read", path)
            if count == 0 { return content }
            content += part[..<Int(count)]
            guard content.count <= limit else {
                throw IPCError(
                    .corrupted, "read", path, advice: "it has more than \(limit) bytes; remove the channel (ipc rm)")
            }
        }
    }

    /// Identifies a channel by its file `control`; nil if there is no such channel.
    func identity(of name: ChannelName) throws(IPCError) -> [UInt64]? {
        guard let folder = try openFolder(name.folder) else { return nil }
        return try FileStatus(of: "control", in: folder.rawValue, name.description)?.identity
    }

    /// One object for each folder, while it is in use.
    private final class KnownFolders: @unchecked Sendable {
        // `@unchecked`: the lock guards all mutable state.
        private struct Entry { weak var folder: RootFolder? }

        private let lock = PrivateLock()
        private var entries: [[UInt64]: Entry] = [:]

        /// The object that is open already for the same folder; otherwise this one.
        func shared(_ folder: RootFolder) -> RootFolder {
            lock.withLock {
                if let known = entries[folder.identity]?.folder { return known }
                entries = entries.filter { $0.value.folder != nil }
                entries[folder.identity] = Entry(folder: folder)
                return folder
            }
        }
    }
}

/// Decides which folders are trusted as a root, and explains a refusal.
enum RootTrust {
    static func check(_ status: FileStatus, _ root: ChannelRoot) throws(IPCError) {
        guard status.isFolder else {
            throw IPCError(.wrongType, "open", root.path, advice: "it is not a folder; \(remedy(root))")
        }
        let (owner, mode) = (status.owner, status.mode.rawValue)
        if root.isDefault, owner != geteuid() {
            throw refusal(
                root,
                "it belongs to \(user(owner)), not to \(user(geteuid())): its owner could read and change all messages")
        }
        guard mode & 0o022 != 0, mode & 0o002 != 0 || root.isDefault || !isAskedFor(status) else { return }
        let who = mode & 0o002 != 0 ? "every user" : "the group \(UserName.ofGroup(status.group))"
        let reason =
            "\(who) can write to it (mode \(status.mode.octal), owner \(user(owner))), and so replace channels"
        guard mode & 0o002 == 0, owner == geteuid() else { throw refusal(root, reason) }
        let narrower = "remove that permission (chmod g-w \(root.path))"
        throw refusal(
            root, reason,
            root.isDefault ? narrower : "\(narrower), or mark the folder as the group's (chmod g+s \(root.path))")
    }

    /// Whether a folder that a group may write to is meant for that group. One that this user made, with this user's own group, is
    /// not: with a umask of 002 all folders are like that. The set-group-ID bit says that it is meant for the group. With another
    /// group, or in another user's folder, somebody has decided so before.
    private static func isAskedFor(_ status: FileStatus) -> Bool {
        status.mode.rawValue & 0o2000 != 0 || status.owner != geteuid() || status.group != getegid()
    }

    static func checkLink(_ status: FileStatus, _ root: ChannelRoot) throws(IPCError) {
        guard status.owner == geteuid() || status.owner == 0 else {
            throw refusal(root, "it is a symbolic link that belongs to \(user(status.owner))")
        }
    }

    private static func refusal(_ root: ChannelRoot, _ reason: String, _ wayOut: String? = nil) -> IPCError {
        IPCError(.permissionDenied, "open", root.path, advice: "\(reason); \(wayOut ?? remedy(root))")
    }

    private static func remedy(_ root: ChannelRoot) -> String {
        root.isDefault
            ? "have it removed, or set IPC_ROOT to a folder of your own"
            : "choose a folder that only its owner, or a group, can write to"
    }

    /// Explains a refusal by the kernel: whose the folder is. Nil for another error.
    static func denial(_ errno: Errno, _ status: FileStatus, _ path: String) -> String? {
        guard errno == .permissionDenied || errno == .notPermitted else { return nil }
        let isFolder = status.isFolder
        if status.owner == geteuid(), status.mode.rawValue & 0o600 != 0o600 {
            return
                "permission denied; \(path) belongs to this user, but has mode \(status.mode.octal): run chmod u+rw\(isFolder ? "x" : "") \(path), or remove it"
        }
        return
            "permission denied; \(path) belongs to \(user(status.owner)) and the group \(UserName.ofGroup(status.group)), with mode \(status.mode.octal): run as a user that it admits, or have its permissions widened"
    }

    static func user(_ identifier: uid_t) -> String {
        let name = UserName.of(identifier)
        return name == "\(identifier)" ? "user \(identifier)" : name
    }
}
