import CIPCShims
import Glibc
import SystemPackage

// The calls that wait without a thread. Each is the call of the same name, in an asynchronous function.

extension StreamSocket {
    /// Connects to a server, suspended meanwhile.
    ///
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``.
    public nonisolated(nonsending) static func connect(
        to endpoint: Endpoint, until deadline: Deadline = .never
    ) async throws(IPCError) -> StreamSocket {
        if case .udp = endpoint {
            throw IPCError(.wrongType, "connect", "\(endpoint)", advice: "UDP has no streams; use a DatagramSocket")
        }
        let addresses = try await HostLookup.addressesWithoutBlocking(of: endpoint, until: deadline)
        return StreamSocket(
            try await SocketHandle.connectedWithoutBlocking(to: addresses, "\(endpoint)", until: deadline))
    }

    /// Reads what there is, suspended until there is at least one byte.
    ///
    /// - Returns: The number of bytes; 0 when the peer has finished writing.
    /// - Throws: ``IPCError/Code/timedOut`` or ``IPCError/Code/cancelled``, with nothing read;
    ///   ``IPCError/Code/brokenPipe`` if the connection was reset.
    public nonisolated(nonsending) borrowing func read(
        into buffer: inout MutableRawSpan, until deadline: Deadline = .never
    ) async throws(IPCError) -> Int {
        while true {
            if let count = try tryRead(into: &buffer) { return count }
            try await Reactor.wait(for: .readable, of: handle.rawValue, until: deadline, "read", handle.name)
        }
    }

    /// Fills the buffer, suspended for bytes as often as needed.
    ///
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``. ``IPCError/transferred`` says how many bytes came before.
    public nonisolated(nonsending) borrowing func readExactly(
        into buffer: inout MutableRawSpan, until deadline: Deadline = .never
    ) async throws(IPCError) {
        try await Reactor.fill(&buffer, from: handle.rawValue, until: deadline, handle.name) {
            (rest) throws(IPCError) in
            try tryRead(into: &rest)
        }
    }

    /// Writes all of `bytes`, suspended for room as often as needed.
    ///
    /// - Throws: ``IPCError/Code/brokenPipe`` if the peer has gone; ``IPCError/Code/timedOut`` or
    ///   ``IPCError/Code/cancelled``. ``IPCError/transferred`` says how many bytes went out before.
    public nonisolated(nonsending) borrowing func write(
        _ bytes: RawSpan, until deadline: Deadline = .never
    ) async throws(IPCError) {
        try await Reactor.drain(bytes, to: handle.rawValue, until: deadline, handle.name) {
            (rest) throws(IPCError) in
            try tryWrite(rest)
        }
    }
}

extension SocketHandle {
    nonisolated(nonsending) borrowing func connect(
        to address: RawSocketAddress, until deadline: Deadline
    ) async throws(IPCError) {
        var pause = Duration.milliseconds(1)
        while true {
            do throws(IPCError) {
                if try startConnecting(to: address) { return }
                try await Reactor.wait(for: .writable, of: rawValue, until: deadline, "connect", name)
                return try finishConnecting()
            } catch  where error.errno == .resourceTemporarilyUnavailable && address.family == AF_UNIX {
                // A Unix server's backlog is full (of TCP it means that this machine lacks something); nothing tells when it is not. Looked at less and less often.
                guard !deadline.hasPassed else { throw isFull }
                if case .cancelled = try await Reactor.park(until: min(deadline, .after(pause)), { _ in true }) {
                    throw .cancelled("connect", name)
                }
                pause = min(pause * 2, .milliseconds(20))
            }
        }
    }
}

extension StreamListener {
    /// Waits for a connection, suspended meanwhile.
    ///
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``.
    public nonisolated(nonsending) borrowing func accept(
        until deadline: Deadline = .never
    ) async throws(IPCError) -> StreamSocket {
        try await Reactor.attempting(
            .readable, of: descriptor.rawValue, until: deadline, "accept", socket.handle.name
        ) { () throws(IPCError) in try tryAccept() }
    }

    /// The connections as they come: `for try await connection in try listener.connections()`.
    ///
    /// It has a descriptor of its own, so it may outlive the listener; the socket file goes with the listener. Several loops
    /// share the connections out. A loop whose task is cancelled ends, and no connection is lost.
    public borrowing func connections() throws(IPCError) -> Connections {
        Connections(listener: SharedReference(try StreamListener(adopting: socket.handle.owned.duplicate())))
    }

    /// Connections as they come; see ``connections()``.
    public struct Connections: AsyncSequence, Sendable {
        fileprivate let listener: SharedReference<StreamListener>

        public struct Iterator: AsyncIteratorProtocol {
            fileprivate let listener: SharedReference<StreamListener>

            public mutating func next() async throws(IPCError) -> SharedReference<StreamSocket>? {
                try await next(isolation: nil)
            }

            public mutating func next(
                isolation actor: isolated (any Actor)?
            ) async throws(IPCError) -> SharedReference<StreamSocket>? {
                let listener = listener
                return try await endingWhenCancelled { () async throws(IPCError) in
                    SharedReference(try await listener.value.accept())
                }
            }
        }

        public func makeAsyncIterator() -> Iterator { Iterator(listener: listener) }
    }
}

extension PacketListener {
    /// Waits for a connection, suspended meanwhile.
    ///
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``.
    public nonisolated(nonsending) borrowing func accept(
        until deadline: Deadline = .never
    ) async throws(IPCError) -> PacketSocket {
        try await Reactor.attempting(
            .readable, of: descriptor.rawValue, until: deadline, "accept", socket.handle.name
        ) { () throws(IPCError) in try tryAccept() }
    }
}

extension PacketSocket {
    /// Sends one message, suspended for room.
    ///
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``. Then nothing was sent.
    public nonisolated(nonsending) borrowing func send(
        _ bytes: RawSpan, until deadline: Deadline = .never
    ) async throws(IPCError) {
        while try !trySend(bytes) {
            try await Reactor.wait(for: .writable, of: handle.rawValue, until: deadline, "send", handle.name)
        }
    }

    /// Receives one message, suspended until there is one.
    ///
    /// - Returns: Its length; 0 when the peer has gone.
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``.
    public nonisolated(nonsending) borrowing func receive(
        into buffer: inout MutableRawSpan, until deadline: Deadline = .never
    ) async throws(IPCError) -> Int {
        while true {
            if let count = try tryReceive(into: &buffer) { return count }
            try await Reactor.wait(for: .readable, of: handle.rawValue, until: deadline, "receive", handle.name)
        }
    }
}

extension DatagramSocket {
    /// Sends a message to the address that it is connected to, suspended for room.
    ///
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``. Then nothing was sent.
    public nonisolated(nonsending) borrowing func send(
        _ bytes: RawSpan, until deadline: Deadline = .never
    ) async throws(IPCError) {
        while try !trySend(bytes) {
            try await Reactor.wait(for: .writable, of: handle.rawValue, until: deadline, "send", handle.name)
        }
    }

    /// Sends a message to `endpoint`, suspended for room.
    public nonisolated(nonsending) borrowing func send(
        _ bytes: RawSpan, to endpoint: Endpoint, until deadline: Deadline = .never
    ) async throws(IPCError) {
        let address = try choice(of: await HostLookup.addressesWithoutBlocking(of: endpoint, until: deadline))
        while try !trySend(bytes, toAddress: address) {
            try await Reactor.wait(for: .writable, of: handle.rawValue, until: deadline, "send", "\(endpoint)")
            guard endpoint.isUnix else { continue }
            let room = try ReceiverRoom(of: address, "\(endpoint)")
            try await Reactor.wait(for: .writable, of: room.descriptor, until: deadline, "send", "\(endpoint)")
        }
    }

    /// Receives a message, suspended until there is one, without asking who sent it.
    ///
    /// - Returns: Its length.
    public nonisolated(nonsending) borrowing func receiveBytes(
        into buffer: inout MutableRawSpan, until deadline: Deadline = .never
    ) async throws(IPCError) -> Int {
        while true {
            if let count = try tryReceiveBytes(into: &buffer) { return count }
            try await Reactor.wait(for: .readable, of: handle.rawValue, until: deadline, "receive", handle.name)
        }
    }

    /// Receives a message and its sender, suspended until there is one.
    ///
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``.
    public nonisolated(nonsending) borrowing func receive(
        into buffer: inout MutableRawSpan, until deadline: Deadline = .never
    ) async throws(IPCError) -> Received {
        while true {
            if let received = try tryReceive(into: &buffer) { return received }
            try await Reactor.wait(for: .readable, of: handle.rawValue, until: deadline, "receive", handle.name)
        }
    }
}
