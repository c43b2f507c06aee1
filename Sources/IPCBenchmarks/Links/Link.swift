import CBaselines
import IPC

/// One process's side of a mechanism, in Swift: the twin of `cb_link`.
///
/// To send, the payload is filled with words that count up from an index; to receive, all of them are read.
protocol Link: ~Copyable, SendableMetatype {
    /// Fills and sends a message.
    mutating func send(_ index: UInt64) throws(IPCError)

    /// Receives and reads a message.
    ///
    /// - Returns: Its index; `UInt64.max` if it is not what was sent; nil for the mark that ends a lossy stream.
    mutating func receive() throws(IPCError) -> UInt64?

    /// The same, by the asynchronous calls.
    nonisolated(nonsending) mutating func send(_ index: UInt64) async throws(IPCError)
    nonisolated(nonsending) mutating func receive() async throws(IPCError) -> UInt64?
    /// Runs the loop of a round by them.
    nonisolated(nonsending) mutating func run(_ round: AsyncRound) async throws(IPCError) -> AsyncRound.Outcome

    /// How many messages went each way since the link was made, for links whose position depends on that, and what more
    /// the implementations share.
    var progress: LinkProgress { get set }

    /// Called by the sender after a stream: sends the mark that ends a lossy one, often enough that one arrives.
    mutating func endStream() throws(IPCError)

    /// Called by the receiver before a stream or round trips: throws away what an earlier stream may have left.
    mutating func prepare(forStream: Bool) throws(IPCError)
}

/// Handed over between the implementations.
struct LinkProgress {
    var sent: UInt64 = 0
    var received: UInt64 = 0
    /// The other side's counters of a ring, as of the last look.
    var seenHead: UInt32 = 0
    var seenTail: UInt32 = 0
}

extension Link where Self: ~Copyable {
    /// Most links lose nothing.
    mutating func endStream() throws(IPCError) {}
    mutating func prepare(forStream: Bool) throws(IPCError) {}
}

/// Memory for one message, aligned to pages, for mechanisms that copy.
@safe
struct MessageBuffer: ~Copyable {
    let base: UnsafeMutableRawPointer
    let byteCount: Int

    init(byteCount: Int) {
        self.byteCount = byteCount
        unsafe self.base = .allocate(byteCount: max(byteCount, 64), alignment: 4096)
        unsafe base.initializeMemory(as: UInt8.self, repeating: 0, count: max(byteCount, 64))
    }

    deinit { unsafe base.deallocate() }

    /// Fills the payload and lends it for sending.
    @inline(__always)
    borrowing func filled(_ index: UInt64, _ send: (RawSpan) throws(IPCError) -> Void) throws(IPCError) {
        unsafe cb_fill(base, byteCount, index)
        // The buffer lives as long as this value, which is borrowed for the call.
        try unsafe send(RawSpan(_unsafeStart: base, byteCount: byteCount))
    }

    /// Lends the memory for receiving.
    @inline(__always)
    borrowing func receiving<Value>(_ receive: (inout MutableRawSpan) throws(IPCError) -> Value) throws(IPCError)
        -> Value
    {
        var span = unsafe MutableRawSpan(_unsafeStart: base, byteCount: byteCount)
        return try receive(&span)
    }

    /// The same for calls that suspend.
    nonisolated(nonsending) borrowing func filled(
        _ index: UInt64, _ send: nonisolated(nonsending) (RawSpan) async throws(IPCError) -> Void
    ) async throws(IPCError) {
        unsafe cb_fill(base, byteCount, index)
        try unsafe await send(RawSpan(_unsafeStart: base, byteCount: byteCount))
    }

    nonisolated(nonsending) borrowing func receiving<Value>(
        _ receive: nonisolated(nonsending) (inout MutableRawSpan) async throws(IPCError) -> Value
    ) async throws(IPCError) -> Value {
        var span = unsafe MutableRawSpan(_unsafeStart: base, byteCount: byteCount)
        return try await receive(&span)
    }

    /// The index of the payload that was received, after reading all of it.
    var index: UInt64 { unsafe cb_check(base, byteCount) }
}
