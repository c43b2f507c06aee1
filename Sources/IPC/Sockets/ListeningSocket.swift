import CIPCShims
import Glibc
import SystemPackage

/// What the listeners for streams and for packets have in common: bind, listen, accept, and the socket file.
struct ListeningSocket: ~Copyable, Sendable {
    let handle: SocketHandle
    private let file: UnixSocketFile?

    init(
        _ endpoint: Endpoint, _ type: SocketType, backlog: Int, permissions: FilePermissions, until deadline: Deadline
    ) throws(IPCError) {
        let name = "\(endpoint)"
        func listen(_ handle: borrowing SocketHandle) throws(IPCError) {
            let raw = handle.rawValue
            _ = try systemCall { Glibc.listen(raw, CInt(clamping: backlog)) }.orThrow("listen", name)
        }
        if case .unix(let path) = endpoint {
            let handle = try SocketHandle.make(AF_UNIX, type, name)
            try handle.setNonBlocking(true)
            file = try UnixSocketFile.bind(
                handle, to: path, permissions: permissions, until: deadline, thenListen: listen)
            self.handle = handle
            return
        }
        let addresses = try HostLookup.addresses(of: endpoint, until: deadline)
        let handle = try SocketHandle.bound(to: addresses, type, name) { (handle, address) throws(IPCError) in
            // A restarted server gets its port although connections of the old one linger.
            if address.family != AF_UNIX { try handle.setOption(SOL_SOCKET, SO_REUSEADDR, CInt(1)) }
            try handle.bind(to: address)
        }
        // `accept` has no flag for the call. Another acceptor may be faster between readiness and the call, so the listening
        // socket itself must not block. The accepted ones do not inherit that.
        try handle.setNonBlocking(true)
        try listen(handle)
        self.handle = handle
        self.file = nil
    }

    /// Takes over a socket that somebody else bound: its file is not ours to remove.
    init(adopting descriptor: consuming OwnedDescriptor, requiring type: SocketType) throws(IPCError) {
        let handle = try SocketHandle(adopting: descriptor, requiring: type)
        guard try handle.option(SOL_SOCKET, SO_ACCEPTCONN) != 0 else {
            throw IPCError(
                .wrongType, "adopt", handle.name, advice: "this socket does not listen; pass a listening socket")
        }
        try handle.setNonBlocking(true)
        self.handle = handle
        self.file = nil
    }

    deinit { file?.remove() }

    borrowing func accept(until deadline: Deadline) throws(IPCError) -> SocketHandle {
        while true {
            if let raw = try tryAccept() {
                return SocketHandle(adopting: OwnedDescriptor(adopting: raw), name: "\(handle.name) (accepted)")
            }
            guard try Readiness.readable.wait(for: handle.rawValue, until: deadline) else {
                throw .timedOut("accept", handle.name)
            }
        }
    }

    /// Nil if nobody waits. A connection that was given up while it waited is passed over.
    borrowing func tryAccept() throws(IPCError) -> CInt? {
        let raw = handle.rawValue
        while true {
            switch retryingInterrupts({ ipc_accept4(raw, IPC_SOCK_CLOEXEC) }) {
            case .success(let descriptor): return descriptor
            case .failure(.resourceTemporarilyUnavailable): return nil
            case .failure(.connectionAbort), .failure(.protocolError): continue
            // Thrown, not tried again at once: the connection stays in the backlog, and a loop would spin.
            case .failure(let errno): throw IPCError("accept", handle.name, errno)
            }
        }
    }
}
