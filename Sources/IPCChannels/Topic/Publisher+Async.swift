public import IPC

// The calls that wait without a thread. Each is the call of the same name, in an asynchronous function: back-pressure
// suspends the publisher.

extension Publisher {
    @usableFromInline
    nonisolated(nonsending) mutating func waitForRoom(_ count: Int, until deadline: Deadline) async throws(IPCError) {
        guard try await writer.waitForRoom(count, until: deadline) else { try failTimedOut() }
    }
}

extension Publisher where Message: BitwiseCopyable {
    /// Publishes a value, suspended while subscribers are a log behind.
    ///
    /// - Throws: As the blocking call; ``IPC/IPCError/Code/cancelled``. Then the message was not published.
    @inlinable @inline(__always)
    public nonisolated(nonsending) mutating func publish(
        _ message: Message, until deadline: Deadline = .never
    ) async throws(IPCError) {
        while try !tryPublish(message) { try await waitForRoom(MemoryLayout<Message>.size, until: deadline) }
    }
}

extension Publisher where Message == RawBytes {
    /// Publishes a copy of the bytes, suspended while subscribers are a log behind.
    @inlinable @inline(__always)
    public nonisolated(nonsending) mutating func publish(
        _ bytes: RawSpan, until deadline: Deadline = .never
    ) async throws(IPCError) {
        while try !tryPublish(bytes) { try await waitForRoom(bytes.byteCount, until: deadline) }
    }

    /// Publishes what `fill` writes into the log itself, suspended while subscribers are a log behind.
    @inlinable @inline(__always)
    public nonisolated(nonsending) mutating func publish(
        upTo byteCount: Int, until deadline: Deadline = .never,
        _ fill: (inout OutputRawSpan) throws(IPCError) -> Void
    ) async throws(IPCError) {
        while try !tryPublish(upTo: byteCount, fill) { try await waitForRoom(byteCount, until: deadline) }
    }
}

extension Publisher {
    /// Publishes a value as the bytes that `coder` makes of it, suspended while subscribers are a log behind.
    public nonisolated(nonsending) mutating func publish<Value>(
        _ value: Value, with coder: some MessageCoder, until deadline: Deadline = .never
    ) async throws(IPCError) where Message == Coded<Value> {
        let bytes = try encode(value, with: coder)
        while try !put(bytes, until: .immediate) { try await waitForRoom(bytes.count, until: deadline) }
    }
}
