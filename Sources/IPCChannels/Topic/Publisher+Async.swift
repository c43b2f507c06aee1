public import IPC

// The asynchronous calls. They behave like the blocking calls of the same name, but back-pressure suspends the task and blocks
// no thread.

extension Topic.Publisher {
    @usableFromInline
    nonisolated(nonsending) mutating func waitForRoom(_ count: Int, until deadline: Deadline) async throws(IPCError) {
        guard try await writer.waitForRoom(count, until: deadline) else { try failTimedOut() }
    }
}

extension Topic.Publisher where Message: BitwiseCopyable {
    /// Publishes a value, suspended while a subscriber is a whole log behind.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and the message was not published.
    @inlinable @inline(__always)
    public nonisolated(nonsending) mutating func publish(
        _ message: Message, until deadline: Deadline = .never
    ) async throws(IPCError) {
        while try !tryPublish(message) { try await waitForRoom(MemoryLayout<Message>.size, until: deadline) }
    }
}

extension Topic.Publisher where Message == RawBytes {
    /// Publishes a copy of the bytes, suspended while a subscriber is a whole log behind.
    @inlinable @inline(__always)
    public nonisolated(nonsending) mutating func publish(
        _ bytes: RawSpan, until deadline: Deadline = .never
    ) async throws(IPCError) {
        while try !tryPublish(bytes) { try await waitForRoom(bytes.byteCount, until: deadline) }
    }

    /// Publishes what `fill` writes directly into the log, suspended while a subscriber is a whole log behind.
    @inlinable @inline(__always)
    public nonisolated(nonsending) mutating func publish(
        upTo byteCount: Int, until deadline: Deadline = .never,
        _ fill: (inout OutputRawSpan) throws(IPCError) -> Void
    ) async throws(IPCError) {
        while try !tryPublish(upTo: byteCount, fill) { try await waitForRoom(byteCount, until: deadline) }
    }
}
