import CIPCShims
import Glibc
package import SystemPackage

/// The file that a Unix socket is bound to: made safely, replaced when its server is dead, removed by its owner only.
package struct UnixSocketFile: Sendable {
    let path: String
    private let identity: [UInt64]

    /// Binds `socket` to a path, and runs `thenListen` before another server can look.
    ///
    /// A file that is left of a dead server is replaced; a live server's never. Whether it lives is asked by connecting.
    /// Two servers that start at once are kept apart by a lock on the folder, which is let go by the kernel however its
    /// holder ends.
    /// - Throws: ``IPCError/Code/addressInUse`` if a live server has the path, or something that is not a socket;
    ///   ``IPCError/Code/timedOut`` if another process keeps the folder locked.
    static func bind(
        _ socket: borrowing SocketHandle, _ type: SocketType, to path: FilePath, permissions: FilePermissions,
        until deadline: Deadline, thenListen: () throws(IPCError) -> Void
    ) throws(IPCError) -> UnixSocketFile {
        let address = try RawSocketAddress(.unix(path))
        let folder = try FolderLock(path, until: deadline)
        if let status = try? FileStatus(at: path.string, followingLinks: false) {
            guard status.isSocket else {
                throw IPCError(
                    .addressInUse, "bind", path.string,
                    advice: "a file that is not a socket is there; choose another path")
            }
            guard try isDead(address, type, path) else {
                throw IPCError(
                    .addressInUse, "bind", path.string,
                    advice: "a live server has it; stop that one, or choose another path")
            }
            _ = try retryingInterrupts { unsafe unlink(path.string) }.orThrow("unlink", path.string)
        }
        // The kernel makes the file with the socket's own mode less the umask: set before, so that it is never wider.
        let raw = socket.rawValue
        _ = try systemCall { fchmod(raw, permissions.rawValue) }.orThrow("fchmod", path.string)
        try socket.bind(to: address)
        let file = UnixSocketFile(
            path: path.string, identity: try FileStatus(at: path.string, followingLinks: false).identity)
        do throws(IPCError) {
            // Wider than the umask was asked for by name.
            _ = try systemCall { unsafe chmod(path.string, permissions.rawValue) }.orThrow("chmod", path.string)
            try thenListen()
        } catch {
            file.remove()
            throw error
        }
        _ = consume folder
        return file
    }

    /// Removes the file, unless another server has replaced it.
    func remove() {
        guard (try? FileStatus(at: path, followingLinks: false))?.identity == identity else { return }
        unsafe unlink(path)
    }

    /// Removes a file if no socket is bound to it, under the lock that servers bind under: one that has started is seen.
    ///
    /// - Returns: False if there is a server, or no socket file.
    package static func removeIfDead(_ path: FilePath, until deadline: Deadline) throws(IPCError) -> Bool {
        let address = try RawSocketAddress(.unix(path))
        let folder = try FolderLock(path, until: deadline)
        guard let status = try? FileStatus(at: path.string, followingLinks: false), status.isSocket,
            try isDead(address, .stream, path)
        else { return false }
        _ = try retryingInterrupts { unsafe unlink(path.string) }.orThrow("unlink", path.string)
        _ = consume folder
        return true
    }

    private static func isDead(_ address: RawSocketAddress, _ type: SocketType, _ path: FilePath) throws(IPCError)
        -> Bool
    {
        let probe = try SocketHandle.make(AF_UNIX, type, path.string)
        let raw = probe.rawValue
        let flags = try systemCall { ipc_fcntl_int(raw, F_GETFL, 0) }.orThrow("fcntl", path.string)
        _ = try systemCall { ipc_fcntl_int(raw, F_SETFL, flags | O_NONBLOCK) }.orThrow("fcntl", path.string)
        // Anything but a refusal means that a socket of a live process has it, if perhaps of another kind, or a full one.
        return systemCall { unsafe address.withPointer { unsafe Glibc.connect(raw, $0, $1) } }
            == .failure(.connectionRefused)
    }
}

/// A lock on the folder of a socket file, for as long as a server looks and binds.
private struct FolderLock: ~Copyable {
    private let folder: OwnedDescriptor

    init(_ path: FilePath, until deadline: Deadline) throws(IPCError) {
        let parent = path.removingLastComponent().string
        let name = parent.isEmpty ? "." : parent
        let folder = OwnedDescriptor(
            adopting: try retryingInterrupts { unsafe ipc_open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0) }.orThrow(
                "open", name))
        let raw = folder.rawValue
        // Held for some system calls only, so a look every millisecond is enough. flock knows no deadline.
        while true {
            switch retryingInterrupts({ ipc_flock(raw, LOCK_EX | LOCK_NB) }) {
            case .success:
                self.folder = folder
                return
            case .failure(.resourceTemporarilyUnavailable):
                guard !deadline.hasPassed else {
                    throw IPCError(
                        .timedOut, "flock", name,
                        advice: "another process keeps this folder locked; use a folder of your own")
                }
                usleep(1000)
            case .failure(let errno): throw IPCError("flock", name, errno)
            }
        }
    }
}
