import CIPCShims
import Glibc
import SystemPackage

/// What `fstat` and `stat` tell that this library asks for.
package struct FileStatus {
    private let raw: Glibc.stat

    package init(of descriptor: CInt, _ resource: String) throws(IPCError) {
        var raw = Glibc.stat()
        _ = try systemCall { unsafe fstat(descriptor, &raw) }.orThrow("fstat", resource)
        self.raw = raw
    }

    /// The status of what lies at `path`, not following a symbolic link if it is one.
    package init(at path: String, followingLinks: Bool = true) throws(IPCError) {
        var raw = Glibc.stat()
        _ = try systemCall { unsafe followingLinks ? stat(path, &raw) : lstat(path, &raw) }.orThrow("stat", path)
        self.raw = raw
    }

    /// The same of a path, whose bytes need not be text.
    package init(at path: FilePath, followingLinks: Bool = true) throws(IPCError) {
        var raw = Glibc.stat()
        _ = try systemCall {
            unsafe path.withPlatformString { unsafe followingLinks ? stat($0, &raw) : lstat($0, &raw) }
        }.orThrow("stat", path.string)
        self.raw = raw
    }

    /// The status of a name in an open folder, not following a symbolic link if it is one; nil if there is no such name.
    package init?(of name: String, in folder: CInt, _ resource: String) throws(IPCError) {
        var raw = Glibc.stat()
        switch systemCall({ unsafe fstatat(folder, name, &raw, AT_SYMLINK_NOFOLLOW) }) {
        case .success: self.raw = raw
        case .failure(.noSuchFileOrDirectory): return nil
        case .failure(let errno): throw IPCError("stat", resource, errno)
        }
    }

    package var size: Int { Int(raw.st_size) }
    /// The bytes that it takes of its file system.
    package var allocated: Int { min(max(Int(raw.st_blocks), 0), Int.max / 512) * 512 }
    package var mode: FilePermissions { FilePermissions(rawValue: raw.st_mode & 0o7777) }
    /// How many names it has: 0 once it was removed.
    package var linkCount: Int { Int(raw.st_nlink) }
    package var owner: uid_t { raw.st_uid }
    package var group: gid_t { raw.st_gid }
    package var identity: [UInt64] { [UInt64(raw.st_dev), UInt64(raw.st_ino)] }

    /// Whether users other than its owner and root may write to it; of a folder, whether they may put something into it.
    package var isWritableByOthers: Bool { raw.st_mode & 0o022 != 0 || (raw.st_uid != 0 && raw.st_uid != geteuid()) }
    package var isSticky: Bool { raw.st_mode & S_ISVTX != 0 }
    package var isRegularFile: Bool { raw.st_mode & S_IFMT == S_IFREG }
    package var isFolder: Bool { raw.st_mode & S_IFMT == S_IFDIR }
    package var isSymbolicLink: Bool { raw.st_mode & S_IFMT == S_IFLNK }
    /// What it is, for messages.
    package var kind: String {
        switch raw.st_mode & S_IFMT {
        case S_IFREG: "a regular file"
        case S_IFDIR: "a folder"
        case S_IFLNK: "a symbolic link"
        case S_IFIFO: "a FIFO"
        case S_IFSOCK: "a socket"
        case S_IFCHR, S_IFBLK: "a device"
        default: "of an unknown kind"
        }
    }
    package var isFIFO: Bool { raw.st_mode & S_IFMT == S_IFIFO }
    package var isSocket: Bool { raw.st_mode & S_IFMT == S_IFSOCK }
}

extension FilePermissions {
    /// Such as `0644`.
    package var octal: String {
        let digits = String(rawValue, radix: 8)
        return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }
}
