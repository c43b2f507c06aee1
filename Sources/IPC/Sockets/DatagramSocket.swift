import CIPCShims
import Glibc
public import SystemPackage

/// A socket for single messages without a connection: UDP or Unix domain.
///
/// ```swift
/// let server = try DatagramSocket(Endpoint("udp://127.0.0.1:9000"))
/// let datagram = try server.receive(into: &buffer)
/// try server.send(answer, to: datagram.source!)
/// ```
///
/// UDP loses messages, also on loopback, when the receiver's buffer is full. A Unix datagram socket makes the sender wait
/// instead. Messages stay whole. May be used by several threads; each message goes to one receiver.
public struct DatagramSocket: ~Copyable, Sendable {
    /// A message that was received.
    public struct Received: Hashable, Sendable {
        public let byteCount: Int
        /// Whom to answer; nil if the sender is a Unix socket without a name.
        public let source: Endpoint?
    }

    let handle: SocketHandle
    private let file: UnixSocketFile?

    /// Binds a socket, to receive at an address. A stale socket file is handled as ``StreamListener`` does.
    ///
    /// - Throws: ``IPCError/Code/addressInUse``, ``IPCError/Code/invalidName``, ``IPCError/Code/permissionDenied``.
    public init(
        _ endpoint: Endpoint, permissions: FilePermissions = .ownerReadWrite,
        until deadline: Deadline = .after(.seconds(5))
    ) throws(IPCError) {
        try Self.requireDatagrams(endpoint)
        let name = "\(endpoint)"
        if case .unix(let path) = endpoint {
            let handle = try SocketHandle.make(AF_UNIX, .datagram, name)
            file = try UnixSocketFile.bind(
                handle, to: path, permissions: permissions, until: deadline, thenListen: { _ in })
            self.handle = handle
            return
        }
        let addresses = try HostLookup.addresses(of: endpoint, until: deadline)
        handle = try SocketHandle.bound(to: addresses, .datagram, name) { (handle, address) throws(IPCError) in
            try handle.bind(to: address)
        }
        file = nil
    }

    private init(connecting handle: consuming SocketHandle) {
        self.handle = handle
        self.file = nil
    }

    /// Takes over a datagram socket, such as one from ``SocketActivation``. Its file is not removed.
    public init(adopting descriptor: consuming OwnedDescriptor) throws(IPCError) {
        self.handle = try SocketHandle(adopting: descriptor, requiring: .datagram)
        self.file = nil
    }

    /// A socket that sends to one address, and receives from that one only.
    ///
    /// - Throws: ``IPCError/Code/notFound`` or ``IPCError/Code/connectionRefused`` for a Unix socket without a server. UDP
    ///   notices that at a later call, if at all.
    public static func connect(to endpoint: Endpoint, until deadline: Deadline = .never) throws(IPCError)
        -> DatagramSocket
    {
        try requireDatagrams(endpoint)
        let addresses = try HostLookup.addresses(of: endpoint, until: deadline)
        // A connection of datagrams is a note in this machine: it fails if there is no way to the address.
        let handle = try SocketHandle.bound(to: addresses, .datagram, "\(endpoint)") {
            (handle, address) throws(IPCError) in try handle.connect(to: address, until: deadline)
        }
        return DatagramSocket(connecting: handle)
    }

    /// Connects this bound socket: from now on it sends to one address, and receives from that one only.
    public borrowing func connect(to endpoint: Endpoint, until deadline: Deadline = .never) throws(IPCError) {
        try Self.requireDatagrams(endpoint)
        try handle.connect(to: try address(of: endpoint, until: deadline), until: deadline)
    }

    /// Two connected Unix datagram sockets without a name. The C function is `socketpair`.
    public static func makePair() throws(IPCError) -> DatagramSocketPair {
        let ends = try SocketHandle.makePair(.datagram)
        return DatagramSocketPair(
            first: DatagramSocket(connecting: SocketHandle(adopting: ends.first)),
            second: DatagramSocket(connecting: SocketHandle(adopting: ends.second)))
    }

    private static func requireDatagrams(_ endpoint: Endpoint) throws(IPCError) {
        if case .tcp = endpoint {
            throw IPCError(
                .wrongType, "datagram socket", "\(endpoint)", advice: "TCP has no datagrams; use udp:// or unix://")
        }
    }

    deinit { file?.remove() }

    /// The descriptor, lent.
    public var descriptor: FileDescriptor { handle.owned.descriptor }

    /// Where it receives, with the port that was chosen; nil for an unnamed Unix socket.
    public var localEndpoint: Endpoint? {
        get throws(IPCError) { try handle.localAddress().endpoint(isDatagram: true) }
    }

    /// Sends a message to the address that it is connected to.
    ///
    /// - Throws: ``IPCError/Code/messageTooLarge`` (above 65507 bytes on UDP, or the send buffer on Unix);
    ///   ``IPCError/Code/connectionRefused`` if an earlier message found nobody; ``IPCError/Code/timedOut``.
    public borrowing func send(_ bytes: RawSpan, until deadline: Deadline = .never) throws(IPCError) {
        _ = try handle.send(bytes, until: deadline)
    }

    /// Sends a message if there is room; false if not.
    public borrowing func trySend(_ bytes: RawSpan) throws(IPCError) -> Bool {
        try handle.send(bytes, flags: IPC_MSG_DONTWAIT) != nil
    }

    /// Sends a message to an address. The C function is `sendto`.
    public borrowing func send(_ bytes: RawSpan, to endpoint: Endpoint, until deadline: Deadline = .never)
        throws(IPCError)
    {
        let address = try address(of: endpoint, until: deadline)
        while try !trySend(bytes, toAddress: address) {
            guard !deadline.hasPassed, try Readiness.writable.wait(for: handle.rawValue, until: deadline) else {
                throw .timedOut("send", "\(endpoint)")
            }
            guard endpoint.isUnix else { continue }
            // A full *receiver* does not make this socket unready.
            // Made anew each time: another receiver may have taken the place of the last one.
            let room = try ReceiverRoom(of: address, "\(endpoint)")
            guard try Readiness.writable.wait(for: room.descriptor, until: deadline) else {
                throw .timedOut("send", "\(endpoint)")
            }
        }
    }

    private borrowing func address(of endpoint: Endpoint, until deadline: Deadline) throws(IPCError) -> RawSocketAddress
    {
        try choice(of: HostLookup.addresses(of: endpoint, until: deadline))
    }

    /// The first address of the family that this socket is of.
    borrowing func choice(of addresses: [RawSocketAddress]) throws(IPCError) -> RawSocketAddress {
        guard addresses.count > 1 else { return addresses[0] }
        let family = try handle.localAddress().family
        return addresses.first { $0.family == family } ?? addresses[0]
    }

    /// Sends a message to an address if there is room; false if not. Never waits, and so looks up no host name.
    ///
    /// - Throws: ``IPCError/Code/invalidArgument`` for a host name: give a literal address, or use `send(_:to:until:)`.
    public borrowing func trySend(_ bytes: RawSpan, to endpoint: Endpoint) throws(IPCError) -> Bool {
        try trySend(bytes, toAddress: try choice(of: HostLookup.addressesAtOnce(of: endpoint)))
    }

    borrowing func trySend(_ bytes: RawSpan, toAddress address: RawSocketAddress) throws(IPCError) -> Bool {
        let raw = handle.rawValue
        let flags = IPC_MSG_NOSIGNAL | IPC_MSG_DONTWAIT
        let result = unsafe bytes.withUnsafeBytes { buffer in
            retryingInterrupts {
                unsafe address.withPointer { unsafe sendto(raw, buffer.baseAddress, buffer.count, flags, $0, $1) }
            }
        }
        switch result {
        case .success: return true
        case .failure(.resourceTemporarilyUnavailable): return false
        case .failure(let errno): throw handle.sendError(errno, bytes.byteCount)
        }
    }

    /// Receives a message into `buffer`, without asking who sent it. The C function is `recv`.
    ///
    /// - Returns: Its length.
    /// - Throws: ``IPCError/Code/messageTooLarge`` if it is longer than `buffer`: its rest is lost;
    ///   ``IPCError/Code/timedOut``.
    public borrowing func receiveBytes(into buffer: inout MutableRawSpan, until deadline: Deadline = .never)
        throws(IPCError)
        -> Int
    {
        try whole(handle.receive(into: &buffer, flags: IPC_MSG_TRUNC, until: deadline), buffer.byteCount)
    }

    /// Receives a message if there is one; nil otherwise.
    public borrowing func tryReceiveBytes(into buffer: inout MutableRawSpan) throws(IPCError) -> Int? {
        let flags = IPC_MSG_TRUNC | IPC_MSG_DONTWAIT
        guard let count = try handle.tryReceive(into: &buffer, flags: flags) else { return nil }
        return try whole(count, buffer.byteCount)
    }

    /// Receives a message and its sender. The C function is `recvfrom`.
    ///
    /// - Throws: As `receiveBytes(into:until:)`.
    public borrowing func receive(into buffer: inout MutableRawSpan, until deadline: Deadline = .never) throws(IPCError)
        -> Received
    {
        while true {
            if let received = try tryReceive(into: &buffer) { return received }
            guard try Readiness.readable.wait(for: handle.rawValue, until: deadline) else {
                throw .timedOut("receive", handle.name)
            }
        }
    }

    /// Receives a message and its sender if there is one; nil otherwise.
    public borrowing func tryReceive(into buffer: inout MutableRawSpan) throws(IPCError) -> Received? {
        let raw = handle.rawValue
        let flags = IPC_MSG_TRUNC | IPC_MSG_DONTWAIT
        var address = RawSocketAddress()
        let result = unsafe buffer.withUnsafeMutableBytes { bytes in
            retryingInterrupts {
                unsafe address.withMutablePointer {
                    unsafe recvfrom(raw, bytes.baseAddress, bytes.count, flags, $0, $1)
                }
            }
        }
        switch result {
        case .success(let count):
            return Received(
                byteCount: try whole(count, buffer.byteCount), source: address.endpoint(isDatagram: true))
        case .failure(.resourceTemporarilyUnavailable): return nil
        case .failure(let errno): throw IPCError("receive", handle.name, errno)
        }
    }

    private borrowing func whole(_ count: Int, _ capacity: Int) throws(IPCError) -> Int {
        guard count <= capacity else {
            throw .truncated(handle.name, "a message of \(count) bytes", capacity: capacity)
        }
        return count
    }

    /// Bytes that the kernel keeps for receiving. It doubles what is asked for, up to `net.core.rmem_max`. UDP drops what
    /// does not fit.
    public var receiveBufferSize: Int { get throws(IPCError) { Int(try handle.option(SOL_SOCKET, SO_RCVBUF)) } }
    public borrowing func setReceiveBufferSize(_ bytes: Int) throws(IPCError) {
        try handle.setOption(SOL_SOCKET, SO_RCVBUF, CInt(clamping: bytes))
    }

    /// Bytes that the kernel keeps for sending: on Unix, the longest message is a little less.
    public var sendBufferSize: Int { get throws(IPCError) { Int(try handle.option(SOL_SOCKET, SO_SNDBUF)) } }
    public borrowing func setSendBufferSize(_ bytes: Int) throws(IPCError) {
        try handle.setOption(SOL_SOCKET, SO_SNDBUF, CInt(clamping: bytes))
    }

    /// A second descriptor for the same socket, close-on-exec like the first.
    public borrowing func duplicate() throws(IPCError) -> OwnedDescriptor { try handle.owned.duplicate() }

    /// Closes the socket, and removes the socket file that it made.
    public consuming func close() {}
}

/// Two datagram sockets that are connected to each other.
@frozen
public struct DatagramSocketPair: ~Copyable, Sendable {
    public let first: DatagramSocket
    public let second: DatagramSocket

    init(first: consuming DatagramSocket, second: consuming DatagramSocket) {
        self.first = first
        self.second = second
    }
}
