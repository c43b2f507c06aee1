import Glibc

/// A wait for room at the receiver of datagrams that are sent to an address.
///
/// The sender's own socket shows only the room in its own buffer: while a Unix receiver's queue is full, it is writable all the
/// time. A socket that is connected to that receiver is writable when both have room; so one of its own waits here.
struct ReceiverRoom: ~Copyable {
    private let endpoint: Endpoint
    /// Nil where the sender's own socket shows it, as on UDP.
    private let probe: SocketHandle?
    /// The descriptor of the probe; -1 without one.
    private let probeDescriptor: CInt

    init(_ endpoint: Endpoint) throws(IPCError) {
        self.endpoint = endpoint
        guard endpoint.isUnix else {
            probe = nil
            probeDescriptor = -1
            return
        }
        let address = try RawSocketAddress(endpoint)
        let probe = try SocketHandle.make(AF_UNIX, .datagram, "\(endpoint)")
        let raw = probe.rawValue
        let result = retryingInterrupts { unsafe address.withPointer { unsafe Glibc.connect(raw, $0, $1) } }
        if case .failure(let errno) = result { throw probe.connectError(errno) }
        self.probe = consume probe
        probeDescriptor = raw
    }

    /// - Parameter sender: The socket that sends.
    /// - Returns: False if the deadline passed first.
    borrowing func wait(_ sender: CInt, until deadline: Deadline) throws(IPCError) -> Bool {
        guard try Readiness.writable.wait(for: sender, until: deadline) else { return false }
        guard probeDescriptor >= 0 else { return true }
        return try Readiness.writable.wait(for: probeDescriptor, until: deadline)
    }

    /// The same, suspended meanwhile.
    ///
    /// - Throws: ``IPCError/Code/timedOut``, ``IPCError/Code/cancelled``.
    nonisolated(nonsending) borrowing func wait(_ sender: CInt, until deadline: Deadline) async throws(IPCError) {
        try await Reactor.wait(for: .writable, of: sender, until: deadline, "send", "\(endpoint)")
        guard probeDescriptor >= 0 else { return }
        try await Reactor.wait(for: .writable, of: probeDescriptor, until: deadline, "send", "\(endpoint)")
    }
}
