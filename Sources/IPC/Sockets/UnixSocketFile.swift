import CIPCShims
import Glibc
import SystemPackage

/// The file that a Unix socket is bound to: made safely, replaced when its server is dead, removed by its owner only.
package struct UnixSocketFile: Sendable {
    /// Absolute: this process may work in another folder when the file is removed.
    private let path: FilePath
    private let identity: [UInt64]

    /// Binds `socket` to a path, and runs `thenListen` before another server can look.
    ///
    /// A file that is left of a dead server is replaced; a live server's never. Two servers that start at once are kept apart
    /// by a lock on the folder, which is let go by the kernel however its holder ends.
    /// - Throws: ``IPCError/Code/addressInUse`` if a live server has the path, or something that is not a socket;
    ///   ``IPCError/Code/timedOut`` if another process keeps the folder locked.
    static func bind(
        _ socket: borrowing SocketHandle, to given: FilePath, permissions: FilePermissions, until deadline: Deadline,
        thenListen: (borrowing SocketHandle) throws(IPCError) -> Void
    ) throws(IPCError) -> UnixSocketFile {
        try Endpoint.unix(given).checkUnixName()
        let path = try given.madeAbsolute()
        // What clients are told. A short relative path may be all that fits.
        let address = try RawSocketAddress(unix: .unix(path.length <= Endpoint.maximumPathBytes ? path : given))
        let folder = try FolderLock(path, until: deadline)
        if let status = try status(of: path) {
            guard status.isSocket else {
                throw IPCError(
                    .addressInUse, "bind", path.string,
                    advice: "a file that is not a socket has this path; choose another path")
            }
            guard try !isServed(address, path) else {
                throw IPCError(
                    .addressInUse, "bind", path.string,
                    advice: "a running server uses it; stop that server, or choose another path")
            }
            try unlink(path)
        }
        // The kernel makes the file with the socket's own mode less the umask: set before, so that it is never wider.
        let raw = socket.rawValue
        _ = try systemCall { fchmod(raw, permissions.rawValue) }.orThrow("fchmod", path.string)
        try socket.bind(to: address)
        let identity: [UInt64]
        do throws(IPCError) {
            identity = try FileStatus(at: path, followingLinks: false).identity
        } catch {
            // Made by the call before, and nobody else makes one here under the lock.
            try? unlink(path)
            throw error
        }
        let file = UnixSocketFile(path: path, identity: identity)
        do throws(IPCError) {
            try file.widen(to: permissions)
            try thenListen(socket)
        } catch {
            file.removeIfOurs()
            throw error
        }
        _ = consume folder
        return file
    }

    /// Gives the file the permissions that were asked for by name, if the umask took some away.
    ///
    /// By a descriptor, and after a look at what it is of: in a folder that others may write to, the name may have come to mean
    /// something else, which `chmod` by path would change.
    private func widen(to permissions: FilePermissions) throws(IPCError) {
        let raw = try retryingInterrupts {
            unsafe path.withPlatformString { unsafe ipc_open_path($0, IPC_O_PATH | O_NOFOLLOW | O_CLOEXEC, 0) }
        }.orThrow("open", path.string)
        let descriptor = OwnedDescriptor(adopting: raw)
        let status = try FileStatus(of: descriptor.rawValue, path.string)
        // The name was looked up twice since it was made, and another user may have been faster than both.
        guard status.isSocket, status.identity == identity, status.owner == geteuid(), status.linkCount == 1 else {
            throw exchanged
        }
        guard status.mode != permissions else { return }
        _ = try systemCall { unsafe chmod(SystemPaths.descriptor(raw).string, permissions.rawValue) }
            .orThrow("chmod", path.string) { errno in
                errno == .noSuchFileOrDirectory
                    ? "its permissions are set through /proc, which is not mounted; mount it, or set the umask"
                    : nil
            }
    }

    private var exchanged: IPCError {
        IPCError(
            .permissionDenied, "bind", path.string,
            advice: "another user has replaced the socket; use a folder of your own")
    }

    /// Removes the file, unless another server has replaced it.
    func remove() {
        // Keeps out a server that replaces it at this moment. Who holds the lock for longer is not waited for.
        let folder = try? FolderLock(path, until: .after(.milliseconds(200)))
        removeIfOurs()
        _ = consume folder
    }

    private func removeIfOurs() {
        guard (try? FileStatus(at: path, followingLinks: false))?.identity == identity else { return }
        _ = unsafe path.withPlatformString { unsafe Glibc.unlink($0) }
    }

    private static func unlink(_ path: FilePath) throws(IPCError) {
        _ = try retryingInterrupts { unsafe path.withPlatformString { unsafe Glibc.unlink($0) } }
            .orThrow("unlink", path.string)
    }

    private static func status(of path: FilePath) throws(IPCError) -> FileStatus? {
        do throws(IPCError) {
            return try FileStatus(at: path, followingLinks: false)
        } catch  where error.errno == .noSuchFileOrDirectory {
            return nil
        }
    }
}

extension UnixSocketFile {
    /// Whether a process has a socket that is bound to this file. Its server does not notice.
    ///
    /// - Throws: ``IPCError/Code/notFound``; ``IPCError/Code/wrongType`` if it is no socket file;
    ///   ``IPCError/Code/permissionDenied`` if this user may not know.
    package static func isServed(_ path: FilePath) throws(IPCError) -> Bool {
        let status = try FileStatus(at: path, followingLinks: false)
        guard status.isSocket else {
            throw IPCError(
                .wrongType, "look at", path.string, advice: "this is not a socket file; give the path of one")
        }
        switch probe(try RawSocketAddress(unix: .unix(path)), path) {
        case .success(let isServed): return isServed
        case .failure(let errno): throw IPCError("look at", path.string, errno)
        }
    }

    /// Removes a socket file if nobody serves it, looking and removing under the lock of its folder.
    ///
    /// - Returns: Whether it was removed.
    package static func removeIfDead(_ path: FilePath, until deadline: Deadline) throws(IPCError) -> Bool {
        let folder = try FolderLock(path, until: deadline)
        guard try !isServed(path) else { return false }
        try unlink(path)
        _ = consume folder
        return true
    }

    /// What may not be known counts as served.
    private static func isServed(_ address: RawSocketAddress, _ path: FilePath) throws(IPCError) -> Bool {
        switch probe(address, path) {
        case .success(let isServed): return isServed
        case .failure(.tooManyOpenFiles), .failure(.tooManyOpenFilesInSystem), .failure(.noMemory):
            throw IPCError("look at", path.string, .tooManyOpenFiles)
        case .failure: return true
        }
    }

    /// Asks by a datagram socket that is connected to it. A server of streams or packets refuses the kind, and is not told of it;
    /// one of datagrams is not told either. To a file that no socket is bound to, there is no connection.
    private static func probe(_ address: RawSocketAddress, _ path: FilePath) -> Result<Bool, Errno> {
        systemCall { ipc_socket(AF_UNIX, IPC_SOCK_DGRAM | IPC_SOCK_CLOEXEC) }.flatMap { raw in
            let socket = OwnedDescriptor(adopting: raw)
            let result = retryingInterrupts {
                unsafe address.withPointer { unsafe Glibc.connect(socket.rawValue, $0, $1) }
            }
            switch result {
            case .success, .failure(.protocolWrongTypeForSocket), .failure(.notPermitted): return .success(true)
            case .failure(.connectionRefused): return .success(false)
            case .failure(let errno): return .failure(errno)
            }
        }
    }
}

/// A lock on the folder of a socket file, for as long as a server looks and binds.
private struct FolderLock: ~Copyable {
    private let folder: OwnedDescriptor

    init(_ path: FilePath, until deadline: Deadline) throws(IPCError) {
        let parent = path.removingLastComponent()
        let name: FilePath = parent.isEmpty ? "." : parent
        let opened = retryingInterrupts {
            unsafe name.withPlatformString { unsafe ipc_open_path($0, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0) }
        }
        let folder = OwnedDescriptor(adopting: try opened.orThrow("open", name.string))
        let raw = folder.rawValue
        // Held for some system calls only, so a look every few milliseconds is enough. flock knows no deadline.
        while true {
            switch retryingInterrupts({ ipc_flock(raw, LOCK_EX | LOCK_NB) }) {
            case .success:
                self.folder = folder
                return
            case .failure(.resourceTemporarilyUnavailable):
                guard !deadline.hasPassed else {
                    throw IPCError(
                        .timedOut, "flock", name.string,
                        advice: LockHolders.told(raw, name.string) + "; or use a folder of your own")
                }
                usleep(2000)
            case .failure(let errno): throw IPCError("flock", name.string, errno)
            }
        }
    }
}
