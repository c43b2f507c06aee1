public import SystemPackage

/// A server's socket that accepts stream connections: TCP or Unix domain.
///
/// ```swift
/// let listener = try StreamListener(Endpoint("unix:///run/app.sock"))
/// while true {
///     let connection = try listener.accept()
///     try connection.write("hello\n".utf8.span.bytes)
/// }
/// ```
///
/// The socket file of a dead server is replaced, a live server's never; it is removed when the listener goes. Several
/// threads or processes may accept from one listener.
public struct StreamListener: ~Copyable, Sendable {
    let socket: ListeningSocket

    /// Binds and listens. The C functions are `socket`, `bind` and `listen`.
    ///
    /// Of a host name, the first address is used that this machine has. A relative path is made absolute if that fits into the
    /// ``Endpoint/maximumPathBytes``; else clients in another folder do not find it. The file is removed whatever folder this
    /// process works in by then.
    /// - Parameters:
    ///   - endpoint: `tcp://127.0.0.1:0` for a free port: see ``localEndpoint``.
    ///   - backlog: How many connections may wait to be accepted.
    ///   - permissions: Who may connect to a socket file. Abstract names have no permissions.
    ///   - deadline: How long to wait if another server is binding in the same folder at this moment, and for a host name
    ///     to be looked up.
    /// - Throws: ``IPCError/Code/addressInUse``, ``IPCError/Code/invalidName``, ``IPCError/Code/permissionDenied``.
    public init(
        _ endpoint: Endpoint, backlog: Int = 128, permissions: FilePermissions = .ownerReadWrite,
        until deadline: Deadline = .after(.seconds(5))
    ) throws(IPCError) {
        if case .udp = endpoint {
            throw IPCError(.wrongType, "listen", "\(endpoint)", advice: "UDP has no connections; use a DatagramSocket")
        }
        socket = try ListeningSocket(endpoint, .stream, backlog: backlog, permissions: permissions, until: deadline)
    }

    /// Takes over a listening socket, such as one from ``SocketActivation``. Its file is not removed.
    public init(adopting descriptor: consuming OwnedDescriptor) throws(IPCError) {
        socket = try ListeningSocket(adopting: descriptor, requiring: .stream)
    }

    /// The descriptor, lent.
    public var descriptor: FileDescriptor { socket.handle.owned.descriptor }

    /// Where it listens, with the port that was chosen.
    public var localEndpoint: Endpoint? {
        get throws(IPCError) { try socket.handle.localAddress().endpoint(isDatagram: false) }
    }

    /// Waits for a connection. The C function is `accept4`.
    ///
    /// - Throws: ``IPCError/Code/timedOut``; ``IPCError/Code/limitReached`` without a free descriptor: the connection stays
    ///   in the backlog, so free one before the next try, or the loop spins.
    public borrowing func accept(until deadline: Deadline = .never) throws(IPCError) -> StreamSocket {
        StreamSocket(try socket.accept(until: deadline))
    }

    /// Accepts a connection if one waits; nil otherwise.
    public borrowing func tryAccept() throws(IPCError) -> StreamSocket? {
        guard let raw = try socket.tryAccept() else { return nil }
        return StreamSocket(
            SocketHandle(adopting: OwnedDescriptor(adopting: raw), name: "\(socket.handle.name) (accepted)"))
    }

    /// Stops listening, and removes the socket file that it made.
    public consuming func close() {}
}
