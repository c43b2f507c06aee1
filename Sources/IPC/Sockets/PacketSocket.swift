import CIPCShims
import Glibc
public import SystemPackage

/// A connected Unix socket that keeps messages whole and in order (`SOCK_SEQPACKET`).
///
/// What a stream lacks (the borders of messages) and a datagram socket lacks (a connection whose end is noticed).
public struct PacketSocket: ~Copyable, Sendable {
    let handle: SocketHandle

    init(_ handle: consuming SocketHandle) { self.handle = handle }

    /// Takes over a connected packet socket, such as an inherited one.
    public init(adopting descriptor: consuming OwnedDescriptor) throws(IPCError) {
        self.handle = try SocketHandle(adopting: descriptor, requiring: .sequencedPacket)
    }

    /// Connects to a ``PacketListener``. Errors as those of ``StreamSocket``.
    public static func connect(to endpoint: Endpoint, until deadline: Deadline = .never) throws(IPCError)
        -> PacketSocket
    {
        try requireLocal(endpoint)
        let handle = try SocketHandle.make(AF_UNIX, .sequencedPacket, "\(endpoint)")
        try handle.connect(to: try RawSocketAddress(unix: endpoint), until: deadline)
        return PacketSocket(handle)
    }

    static func requireLocal(_ endpoint: Endpoint) throws(IPCError) {
        switch endpoint {
        case .unix, .unixAbstract: return
        case .tcp, .udp:
            throw IPCError(
                .wrongType, "packet socket", "\(endpoint)",
                advice: "sequenced packets need a Unix socket; use unix:///path")
        }
    }

    /// The two descriptors of a connected pair. The C function is `socketpair`.
    public static func makePair() throws(IPCError) -> PacketSocketPair {
        let ends = try SocketHandle.makePair(.sequencedPacket)
        return PacketSocketPair(
            first: PacketSocket(SocketHandle(adopting: ends.first)),
            second: PacketSocket(
                SocketHandle(adopting: ends.second)))
    }

    /// The descriptor, lent.
    public var descriptor: FileDescriptor { handle.owned.descriptor }

    /// Sends one message, waiting for room.
    ///
    /// - Parameters:
    ///   - bytes: At least one: an empty message looks like the end to the receiver.
    ///   - descriptors: File descriptors that go with it (`SCM_RIGHTS`), up to 253.
    ///   - deadline: When to give up.
    /// - Throws: ``IPCError/Code/messageTooLarge`` above the send buffer; ``IPCError/Code/brokenPipe``;
    ///   ``IPCError/Code/timedOut``. Then nothing was sent.
    public borrowing func send(_ bytes: RawSpan, descriptors: [FileDescriptor] = [], until deadline: Deadline = .never)
        throws(IPCError)
    {
        if descriptors.isEmpty {
            try refuseEmpty(bytes)
            _ = try handle.send(bytes, until: deadline)
        } else {
            _ = try handle.send(bytes, descriptors: descriptors, until: deadline)
        }
    }

    /// Sends one message if there is room; false if not.
    public borrowing func trySend(_ bytes: RawSpan) throws(IPCError) -> Bool {
        try refuseEmpty(bytes)
        return try handle.send(bytes, flags: IPC_MSG_DONTWAIT) != nil
    }

    private borrowing func refuseEmpty(_ bytes: RawSpan) throws(IPCError) {
        guard bytes.byteCount > 0 else {
            throw IPCError(
                .invalidArgument, "send", handle.name,
                advice: "the receiver cannot tell an empty packet from the end; send at least one byte")
        }
    }

    /// Receives one message.
    ///
    /// - Returns: Its length; 0 when the peer has gone.
    /// - Throws: ``IPCError/Code/messageTooLarge`` if it is longer than `buffer`: its rest is lost;
    ///   ``IPCError/Code/timedOut``.
    public borrowing func receive(into buffer: inout MutableRawSpan, until deadline: Deadline = .never) throws(IPCError)
        -> Int
    {
        // With MSG_TRUNC, the kernel returns the whole length however much fits.
        try whole(handle.receive(into: &buffer, flags: IPC_MSG_TRUNC, until: deadline), buffer.byteCount)
    }

    /// Receives one message if there is one; nil otherwise.
    public borrowing func tryReceive(into buffer: inout MutableRawSpan) throws(IPCError) -> Int? {
        let flags = IPC_MSG_TRUNC | IPC_MSG_DONTWAIT
        guard let count = try handle.tryReceive(into: &buffer, flags: flags) else { return nil }
        return try whole(count, buffer.byteCount)
    }

    /// Receives one message and the descriptors that came with it; see ``StreamSocket/receive(into:descriptors:maximumDescriptors:until:)``.
    public borrowing func receive(
        into buffer: inout MutableRawSpan, descriptors: inout ReceivedDescriptors, maximumDescriptors: Int = 16,
        until deadline: Deadline = .never
    ) throws(IPCError) -> Int {
        let received = try handle.receive(into: &buffer, maximumDescriptors: maximumDescriptors, until: deadline)
        descriptors = received.descriptors.open()
        guard !received.isTruncated else {
            throw .truncated(handle.name, "a message", capacity: buffer.byteCount)
        }
        return received.byteCount
    }

    private borrowing func whole(_ count: Int, _ capacity: Int) throws(IPCError) -> Int {
        guard count <= capacity else {
            throw .truncated(handle.name, "a message of \(count) bytes", capacity: capacity)
        }
        return count
    }

    /// Who connected, or was connected to, on the kernel's word.
    public var peerCredentials: PeerCredentials { get throws(IPCError) { try handle.peerCredentials() } }

    /// The process that connected, without the race of its number being used again (Linux 6.5).
    public borrowing func peerProcess() throws(IPCError) -> ProcessHandle { try handle.peerProcess() }

    /// Bytes that the kernel keeps for sending: the longest message is a little less.
    public borrowing func setSendBufferSize(_ bytes: Int) throws(IPCError) {
        try handle.setOption(SOL_SOCKET, SO_SNDBUF, CInt(clamping: bytes))
    }

    /// Closes the socket and reports the error that `deinit` cannot.
    public consuming func close() throws(IPCError) { try handle.owned.close() }

    /// Gives the descriptor away: the caller closes it from now on.
    public consuming func release() -> FileDescriptor { handle.owned.release() }
}

extension IPCError {
    static func truncated(_ name: String, _ what: String, capacity: Int) -> IPCError {
        IPCError(
            .messageTooLarge, "receive", name,
            advice: "\(what) exceeds the buffer of \(capacity); the rest is lost: use a larger buffer",
            transferred: capacity)
    }
}

/// Two packet sockets that are connected to each other.
@frozen
public struct PacketSocketPair: ~Copyable, Sendable {
    public let first: PacketSocket
    public let second: PacketSocket

    init(first: consuming PacketSocket, second: consuming PacketSocket) {
        self.first = first
        self.second = second
    }

    /// Keeps the first and closes the other, as a parent does once its child has the second.
    public consuming func closingSecond() -> PacketSocket { first }
}

/// A server's socket that accepts ``PacketSocket`` connections. Its socket file is handled as ``StreamListener`` does.
public struct PacketListener: ~Copyable, Sendable {
    let socket: ListeningSocket

    /// Binds and listens; see ``StreamListener/init(_:backlog:permissions:until:)``.
    public init(
        _ endpoint: Endpoint, backlog: Int = 128, permissions: FilePermissions = .ownerReadWrite,
        until deadline: Deadline = .after(.seconds(5))
    ) throws(IPCError) {
        try PacketSocket.requireLocal(endpoint)
        socket = try ListeningSocket(
            endpoint, .sequencedPacket, backlog: backlog, permissions: permissions, until: deadline)
    }

    /// Takes over a listening socket, such as one from ``SocketActivation``. Its file is not removed.
    public init(adopting descriptor: consuming OwnedDescriptor) throws(IPCError) {
        socket = try ListeningSocket(adopting: descriptor, requiring: .sequencedPacket)
    }

    /// The descriptor, lent.
    public var descriptor: FileDescriptor { socket.handle.owned.descriptor }

    /// Waits for a connection; see ``StreamListener``.
    public borrowing func accept(until deadline: Deadline = .never) throws(IPCError) -> PacketSocket {
        PacketSocket(try socket.accept(until: deadline))
    }

    /// Accepts a connection if one waits; nil otherwise.
    public borrowing func tryAccept() throws(IPCError) -> PacketSocket? {
        guard let raw = try socket.tryAccept() else { return nil }
        return PacketSocket(
            SocketHandle(adopting: OwnedDescriptor(adopting: raw), name: "\(socket.handle.name) (accepted)"))
    }

    /// Stops listening, and removes the socket file that it made.
    public consuming func close() {}
}
