import CIPCShims
import Glibc
public import SystemPackage

/// A connected stream of bytes in both directions: TCP or Unix domain.
///
/// ```swift
/// let socket = try StreamSocket.connect(to: Endpoint("unix:///run/app.sock"), until: .after(.seconds(2)))
/// try socket.write("hello\n".utf8.span.bytes)
/// try socket.finishWriting()
/// let answer = try socket.readToEnd()
/// ```
///
/// Reads may bring less than was written at once: frame your messages, or use a ``PacketSocket``. One thread may read
/// while another writes. A peer that has gone is ``IPCError/Code/brokenPipe``, never a SIGPIPE.
public struct StreamSocket: ~Copyable, Sendable {
    let handle: SocketHandle

    init(_ handle: consuming SocketHandle) { self.handle = handle }

    /// Takes over a connected stream socket, such as an inherited one.
    ///
    /// - Throws: ``IPCError/Code/wrongType`` if it is not one.
    public init(adopting descriptor: consuming OwnedDescriptor) throws(IPCError) {
        self.handle = try SocketHandle(adopting: descriptor, requiring: .stream)
    }

    /// Connects to a server. The C functions are `socket` and `connect`.
    ///
    /// Of a host name all addresses are tried, the next one when one has failed or has not answered for a quarter of a second:
    /// whichever is connected first is used.
    /// - Throws: ``IPCError/Code/connectionRefused``, ``IPCError/Code/notFound`` (no such socket file),
    ///   ``IPCError/Code/timedOut``, ``IPCError/Code/wrongType`` (a Unix socket of another kind).
    public static func connect(to endpoint: Endpoint, until deadline: Deadline = .never) throws(IPCError)
        -> StreamSocket
    {
        if case .udp = endpoint {
            throw IPCError(.wrongType, "connect", "\(endpoint)", advice: "UDP has no streams; use a DatagramSocket")
        }
        let addresses = try HostLookup.addresses(of: endpoint, until: deadline)
        return StreamSocket(try SocketHandle.connected(to: addresses, "\(endpoint)", until: deadline))
    }

    /// Two connected Unix sockets without a name, one of which to give to a child. The C function is `socketpair`.
    public static func makePair() throws(IPCError) -> SocketPair {
        let ends = try SocketHandle.makePair(.stream)
        return SocketPair(
            first: StreamSocket(SocketHandle(adopting: ends.first)),
            second: StreamSocket(
                SocketHandle(adopting: ends.second)))
    }

    /// The descriptor, lent.
    public var descriptor: FileDescriptor { handle.owned.descriptor }

    /// Reads what there is, waiting for at least one byte. The C function is `recv`.
    ///
    /// - Returns: The number of bytes; 0 when the peer has finished writing.
    /// - Throws: ``IPCError/Code/timedOut``; ``IPCError/Code/brokenPipe`` if the connection was reset.
    public borrowing func read(into buffer: inout MutableRawSpan, until deadline: Deadline = .never) throws(IPCError)
        -> Int
    {
        try handle.receive(into: &buffer, until: deadline)
    }

    /// Reads what there is without waiting; nil if nothing is there yet, 0 at the end.
    public borrowing func tryRead(into buffer: inout MutableRawSpan) throws(IPCError) -> Int? {
        try handle.tryReceive(into: &buffer, flags: IPC_MSG_DONTWAIT)
    }

    /// Reads exactly as many bytes as `buffer` holds.
    ///
    /// - Throws: ``IPCError/Code/endOfFile`` or ``IPCError/Code/timedOut`` if fewer came; ``IPCError/transferred`` says
    ///   how many, and they are in `buffer`.
    public borrowing func readExactly(into buffer: inout MutableRawSpan, until deadline: Deadline = .never)
        throws(IPCError)
    {
        try fill(&buffer, "read", handle.name) { (rest) throws(IPCError) in try read(into: &rest, until: deadline) }
    }

    /// Reads until the peer has finished writing, for convenience: allocates.
    public borrowing func readToEnd(limit: Int = .max, until deadline: Deadline = .never) throws(IPCError) -> [UInt8] {
        try collect(limit, handle.name) { (chunk) throws(IPCError) in try read(into: &chunk, until: deadline) }
    }

    /// Writes all of `bytes`, waiting for room as often as needed. The C function is `send`.
    ///
    /// - Throws: ``IPCError/Code/brokenPipe`` if the peer has gone; ``IPCError/Code/timedOut``.
    ///   ``IPCError/transferred`` says how many bytes went out before.
    public borrowing func write(_ bytes: RawSpan, until deadline: Deadline = .never) throws(IPCError) {
        let count = try handle.send(bytes, until: deadline)
        guard count < bytes.byteCount else { return }
        try drain(bytes.extracting(droppingFirst: count), after: count) { (rest) throws(IPCError) in
            try handle.send(rest, until: deadline)
        }
    }

    /// Writes what there is room for; nil if there is none.
    public borrowing func tryWrite(_ bytes: RawSpan) throws(IPCError) -> Int? {
        try handle.send(bytes, flags: IPC_MSG_DONTWAIT)
    }

    /// Says that no more comes from here; reading goes on. The C function is `shutdown` with `SHUT_WR`.
    public borrowing func finishWriting() throws(IPCError) {
        let raw = handle.rawValue
        _ = try systemCall { shutdown(raw, CInt(SHUT_WR)) }.orThrow("shutdown", handle.name)
    }

    /// Closes the socket and reports the error that `deinit` cannot.
    public consuming func close() throws(IPCError) { try handle.owned.close() }

    /// Gives the descriptor away: the caller closes it from now on.
    public consuming func release() -> FileDescriptor { handle.owned.release() }
}

/// Two sockets that are connected to each other.
@frozen
public struct SocketPair: ~Copyable, Sendable {
    public let first: StreamSocket
    public let second: StreamSocket

    init(first: consuming StreamSocket, second: consuming StreamSocket) {
        self.first = first
        self.second = second
    }

    /// Keeps the first and closes the other, as a parent does once its child has the second.
    public consuming func closingSecond() -> StreamSocket { first }
}

// MARK: - Unix sockets

extension StreamSocket {
    /// Sends file descriptors along with bytes (`SCM_RIGHTS`). The receiver gets descriptors of its own.
    ///
    /// - Parameters:
    ///   - bytes: At least one; at the receiver, the descriptors come with the first of them.
    ///   - descriptors: Up to 253. They are lent; close yours when you like.
    ///   - deadline: When to give up.
    /// - Throws: ``IPCError/Code/invalidArgument``; ``IPCError/Code/unsupported`` on TCP; otherwise as `write(_:until:)`.
    public borrowing func send(_ bytes: RawSpan, descriptors: [FileDescriptor], until deadline: Deadline = .never)
        throws(IPCError)
    {
        try requireLocal("pass descriptors")
        let count = try handle.send(bytes, descriptors: descriptors, until: deadline)
        if count < bytes.byteCount { try write(bytes.extracting(droppingFirst: count), until: deadline) }
    }

    /// Reads what there is, and the file descriptors that came with it.
    ///
    /// - Parameters:
    ///   - buffer: Where the bytes go, from its start.
    ///   - descriptors: Gets those that came, close-on-exec; what it held before is closed.
    ///   - maximumDescriptors: How many this process wants at most.
    ///   - deadline: When to give up.
    /// - Returns: The number of bytes; 0 when the peer has finished writing.
    /// - Throws: ``IPCError/Code/descriptorsTruncated`` if some were lost: the others are closed, nothing leaks, and the
    ///   bytes are in `buffer`.
    public borrowing func receive(
        into buffer: inout MutableRawSpan, descriptors: inout ReceivedDescriptors, maximumDescriptors: Int = 16,
        until deadline: Deadline = .never
    ) throws(IPCError) -> Int {
        let received = try handle.receive(into: &buffer, maximumDescriptors: maximumDescriptors, until: deadline)
        descriptors = received.descriptors.open()
        return received.byteCount
    }

    /// Who connected, or was connected to, on the kernel's word.
    ///
    /// - Throws: ``IPCError/Code/unsupported`` on TCP.
    public var peerCredentials: PeerCredentials { get throws(IPCError) { try handle.peerCredentials() } }

    /// The process that connected, without the race of its number being used again (Linux 6.5).
    public borrowing func peerProcess() throws(IPCError) -> ProcessHandle { try handle.peerProcess() }

    private borrowing func requireLocal(_ operation: String) throws(IPCError) {
        guard try handle.localAddress().family == AF_UNIX else {
            throw IPCError(
                .unsupported, operation, handle.name, advice: "only Unix sockets support this; use a unix:// endpoint")
        }
    }
}

// MARK: - Addresses and options

extension StreamSocket {
    /// This end; nil for an unnamed Unix socket.
    public var localEndpoint: Endpoint? {
        get throws(IPCError) { try handle.localAddress().endpoint(isDatagram: false) }
    }

    /// The other end; nil for an unnamed Unix socket.
    public var remoteEndpoint: Endpoint? {
        get throws(IPCError) { try handle.remoteAddress().endpoint(isDatagram: false) }
    }

    /// TCP: send small writes at once (`TCP_NODELAY`) instead of waiting to fill a packet.
    public borrowing func setNoDelay(_ isOn: Bool) throws(IPCError) {
        try handle.setOption(CInt(IPPROTO_TCP), TCP_NODELAY, CInt(isOn ? 1 : 0))
    }

    /// Bytes that the kernel keeps for sending. It doubles what is asked for, up to `net.core.wmem_max`.
    public var sendBufferSize: Int { get throws(IPCError) { Int(try handle.option(SOL_SOCKET, SO_SNDBUF)) } }
    public borrowing func setSendBufferSize(_ bytes: Int) throws(IPCError) {
        try handle.setOption(SOL_SOCKET, SO_SNDBUF, CInt(clamping: bytes))
    }

    /// Bytes that the kernel keeps for reading. It doubles what is asked for, up to `net.core.rmem_max`.
    public var receiveBufferSize: Int { get throws(IPCError) { Int(try handle.option(SOL_SOCKET, SO_RCVBUF)) } }
    public borrowing func setReceiveBufferSize(_ bytes: Int) throws(IPCError) {
        try handle.setOption(SOL_SOCKET, SO_RCVBUF, CInt(clamping: bytes))
    }
}
