import CIPCShims
import Glibc
import SystemPackage

/// Opens a file, close-on-exec and above the standard descriptors, without being led elsewhere by somebody else's symbolic link.
///
/// A link as the last part of the path is followed only if nobody but this user and root can have put it there: in a folder
/// that others may write to, it has to be this user's own or root's, and the folder has to be sticky, so that nobody can
/// exchange it. (`fs.protected_symlinks` is the same rule, where it is on.)
///
/// - Returns: ``IPCError/errno`` `ELOOP` for a link that is not followed; see ``refusedLinkAdvice(_:)``.
package func openFile(_ path: FilePath, _ flags: CInt, mode: mode_t = 0) -> Result<CInt, Errno> {
    func open(_ more: CInt) -> Result<CInt, Errno> {
        retryingInterrupts {
            unsafe path.withPlatformString { unsafe ipc_open_path($0, flags | O_CLOEXEC | more, mode) }
        }
    }
    let result = open(O_NOFOLLOW)
    guard case .failure(.tooManySymbolicLinkLevels) = result, isLinkTrusted(path) else { return result }
    return open(0)
}

private func isLinkTrusted(_ path: FilePath) -> Bool {
    var folderPath = path.removingLastComponent()
    if folderPath.isEmpty { folderPath = "." }
    guard let folder = try? FileStatus(at: folderPath), let link = try? FileStatus(at: path, followingLinks: false)
    else { return false }
    if !folder.isWritableByOthers { return true }
    return folder.isSticky && (link.owner == geteuid() || link.owner == 0)
}

/// For the error of a link that ``openFile(_:_:mode:)`` does not follow.
package func refusedLinkAdvice(_ errno: Errno) -> String? {
    errno == .tooManySymbolicLinkLevels
        ? "it is a symbolic link in a folder that other users can write to; give the path of its target" : nil
}
