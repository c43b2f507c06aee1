import CIPCShims
import Glibc
import IPC
import SystemPackage

/// A folder of this user's that nobody else can change, nor make this program take another for it.
///
/// It is opened name by name. A symbolic link is followed only if it is root's or this user's, and each folder on the way is
/// root's or this user's, and closed to the writing of others (or sticky, as `/tmp` is): so nobody else can exchange what was
/// looked at.
struct PrivateFolder: ~Copyable {
    private let descriptor: OwnedDescriptor
    let path: String

    /// That of this program's caches: below `$XDG_CACHE_HOME`, or `$HOME/.cache`.
    static func openCache(creating: Bool) throws(IPCError) -> PrivateFolder {
        func variable(_ name: String) -> String? {
            // Others than absolute ones are no use, says the XDG specification.
            unsafe getenv(name).map { unsafe String(cString: $0) }.flatMap { $0.hasPrefix("/") ? $0 : nil }
        }
        guard let folder = variable("XDG_CACHE_HOME") ?? variable("HOME").map({ $0 + "/.cache" }) else {
            throw IPCError(
                .notFound, "open", "cache",
                advice: "neither XDG_CACHE_HOME nor HOME is an absolute path; set one of them")
        }
        return try PrivateFolder(folder + "/swift-ipc", creating: creating)
    }

    /// - Parameter creating: Make what is missing of it, for this user alone.
    init(_ path: String, creating: Bool) throws(IPCError) {
        var links = 0
        let folder = try Self.walk(from: Self.openRoot(), path, path, creating, &links)
        let status = try FileStatus(of: folder.descriptor.rawValue, path)
        guard status.owner == geteuid(), status.mode.rawValue & 0o022 == 0 else {
            throw Self.refusal(path, status.owner)
        }
        descriptor = folder
        self.path = path
    }

    private static func openRoot() throws(IPCError) -> OwnedDescriptor {
        OwnedDescriptor(
            adopting: FileDescriptor(
                rawValue: try systemCall { unsafe ipc_open_path("/", IPC_O_PATH | O_DIRECTORY | O_CLOEXEC, 0) }
                    .orThrow("open", "/")))
    }

    private static func walk(
        from start: consuming OwnedDescriptor, _ rest: String, _ path: String, _ creating: Bool, _ links: inout Int
    ) throws(IPCError) -> OwnedDescriptor {
        var folder = start
        for name in rest.split(separator: "/") where name != "." {
            let name = String(name)
            try checkTrust(folder, path)
            let raw = folder.descriptor.rawValue
            let found = try open(name, in: raw, path, creating)
            let status = try FileStatus(of: found.descriptor.rawValue, path)
            guard status.isSymbolicLink else {
                folder = found
                continue
            }
            links += 1
            guard status.owner == 0 || status.owner == geteuid(), links <= 16 else {
                throw refusal(path, status.owner)
            }
            let target = try readLink(found.descriptor.rawValue, path)
            folder = try walk(from: target.hasPrefix("/") ? openRoot() : folder, target, path, creating, &links)
        }
        try checkTrust(folder, path)
        return folder
    }

    private static func open(
        _ name: String, in folder: CInt, _ path: String, _ creating: Bool
    ) throws(IPCError) -> OwnedDescriptor {
        let flags = IPC_O_PATH | O_NOFOLLOW | O_CLOEXEC
        var result = systemCall { unsafe ipc_openat(folder, name, flags, 0) }
        if creating, case .failure(.noSuchFileOrDirectory) = result {
            // Another may be making it at the same time.
            if unsafe mkdirat(folder, name, 0o700) != 0, errno != EEXIST {
                throw IPCError("mkdir", path, Errno(rawValue: errno))
            }
            result = systemCall { unsafe ipc_openat(folder, name, flags, 0) }
        }
        return OwnedDescriptor(adopting: FileDescriptor(rawValue: try result.orThrow("open", path)))
    }

    private static func readLink(_ link: CInt, _ path: String) throws(IPCError) -> String {
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = unsafe bytes.withUnsafeMutableBytes { buffer in
            unsafe readlinkat(link, "", buffer.baseAddress!.assumingMemoryBound(to: CChar.self), buffer.count)
        }
        guard count > 0, let target = String(validating: bytes[..<count], as: UTF8.self) else {
            throw IPCError(
                .invalidName, "read link", path, advice: "a link in its path has no target; choose another folder")
        }
        return target
    }

    /// That nobody else can exchange what is in it.
    private static func checkTrust(_ folder: borrowing OwnedDescriptor, _ path: String) throws(IPCError) {
        let status = try FileStatus(of: folder.descriptor.rawValue, path)
        let mode = status.mode.rawValue
        guard status.owner == 0 || status.owner == geteuid(), mode & 0o022 == 0 || mode & 0o1000 != 0 else {
            throw refusal(path, status.owner)
        }
    }

    private static func refusal(_ path: String, _ owner: uid_t) -> IPCError {
        IPCError(
            .permissionDenied, "open", path,
            advice:
                "it, or a folder or link in its path, belongs to user \(owner) or others can write to it; "
                + "choose another folder with XDG_CACHE_HOME"
        )
    }
}

extension PrivateFolder {
    /// What a file of this user's has.
    ///
    /// - Throws: Also for what is no regular file, or has more than `limit` bytes. Never waits.
    borrowing func read(_ name: String, limit: Int) throws(IPCError) -> [UInt8] {
        let folder = descriptor.descriptor.rawValue
        let full = path + "/" + name
        let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC
        let file = OwnedDescriptor(
            adopting: FileDescriptor(
                rawValue: try systemCall { unsafe ipc_openat(folder, name, flags, 0) }.orThrow("open", full)))
        let status = try FileStatus(of: file.descriptor.rawValue, full)
        guard status.isRegularFile, status.owner == geteuid(), status.size <= limit else {
            throw IPCError(
                .corrupted, "read", full,
                advice: "it is not a regular file of this user of at most \(limit) bytes; remove it")
        }
        let raw = file.descriptor.rawValue
        var bytes = [UInt8](repeating: 0, count: limit)
        let count = try retryingInterrupts { unsafe pread(raw, &bytes, limit, 0) }.orThrow("read", full)
        return Array(bytes[..<count])
    }

    /// Puts a file in the place of another, at once.
    borrowing func replace(_ name: String, with bytes: [UInt8]) throws(IPCError) {
        let folder = descriptor.descriptor.rawValue
        let temporary = "\(name).\(getpid())"
        unsafe unlinkat(folder, temporary, 0)
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
        let file = OwnedDescriptor(
            adopting: FileDescriptor(
                rawValue: try systemCall { unsafe ipc_openat(folder, temporary, flags, 0o600) }
                    .orThrow("open", path + "/" + temporary)))
        do {
            try file.descriptor.writeAll(bytes)
        } catch {
            unsafe unlinkat(folder, temporary, 0)
            throw IPCError("write", path + "/" + temporary, error as? Errno ?? .ioError)
        }
        guard unsafe renameat(folder, temporary, folder, name) == 0 else {
            let errno = Errno(rawValue: Glibc.errno)
            unsafe unlinkat(folder, temporary, 0)
            throw IPCError("rename", path + "/" + name, errno)
        }
    }
}
