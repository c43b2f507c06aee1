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

    package var size: Int { Int(raw.st_size) }
    package var mode: FilePermissions { FilePermissions(rawValue: raw.st_mode & 0o7777) }
    /// How many names it has: 0 once it was removed.
    package var linkCount: Int { Int(raw.st_nlink) }
    package var owner: uid_t { raw.st_uid }
    package var identity: [UInt64] { [UInt64(raw.st_dev), UInt64(raw.st_ino)] }

    package var isRegularFile: Bool { raw.st_mode & S_IFMT == S_IFREG }
    package var isLink: Bool { raw.st_mode & S_IFMT == S_IFLNK }
    package var isFIFO: Bool { raw.st_mode & S_IFMT == S_IFIFO }
    package var isSocket: Bool { raw.st_mode & S_IFMT == S_IFSOCK }
}
