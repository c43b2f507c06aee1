public import IPC

/// One writer of a ``WorkQueue``. One thread at a time may use it.
public struct Producer<Message>: ~Copyable, @unchecked Sendable {
    // `@unchecked`: it is one thread's at a time by its ownership; the memory is shared by atomics.
    var writer: LogWriter

    init(_ writer: consuming LogWriter) { self.writer = writer }

    /// Sends what `fill` writes: exactly `count` bytes.
    ///
    /// - Returns: False if there was no room until the deadline.
    mutating func put(
        _ count: Int, until deadline: Deadline, _ fill: (UnsafeMutableRawPointer) -> Void
    ) throws(IPCError) -> Bool {
        let total = Work.prefixSize + count
        guard let payload = try unsafe writer.claim(total, until: deadline) else { return false }
        unsafe SharedWord(payload).relaxed = Work.State(lap: writer.memory.workLap(at: writer.position)).word
        unsafe fill(payload + Work.prefixSize)
        try writer.deliver(total)
        return true
    }

    fileprivate nonisolated(nonsending) mutating func waitForRoom(
        _ count: Int, until deadline: Deadline
    ) async throws(IPCError) {
        guard try await writer.waitForRoom(Work.prefixSize + count, until: deadline) else { throw timedOut }
    }

    var timedOut: IPCError {
        let memory = writer.memory
        let holder = memory.holderOfOldest.map { "process \($0) has the oldest" } ?? "none of its work is taken"
        return IPCError(
            .timedOut, "send", memory.name.description,
            advice:
                "the queue is full of work that is not done, and \(holder); add workers, allow more time, or enlarge its log"
        )
    }

    /// Waits until all that was sent or acknowledged before this call, by whomever, is on the disk: `msync`.
    ///
    /// - Parameter deadline: How long to wait for messages that others have begun before, and not finished. The disk itself takes
    ///   the time that it takes.
    /// - Throws: ``IPC/IPCError/Code/unsupported`` where the queue is not durable; ``IPC/IPCError/Code/timedOut``; what `msync`
    ///   says. Blocks the thread.
    public mutating func sync(until deadline: Deadline = .never) throws(IPCError) { try writer.sync(until: deadline) }

    /// Leaves the queue; what was sent stays.
    public consuming func close() {}
}

extension Producer where Message: BitwiseCopyable {
    /// Sends a message to whichever worker is free first.
    ///
    /// - Parameter deadline: How long to wait while the log is full of work that is not done.
    /// - Throws: ``IPC/IPCError/Code/timedOut``, and it was not sent.
    public mutating func send(_ message: Message, until deadline: Deadline = .never) throws(IPCError) {
        guard try put(message, until: deadline) else { throw timedOut }
    }

    /// Sends a message if there is room now.
    public mutating func trySend(_ message: Message) throws(IPCError) -> Bool { try put(message, until: .immediate) }

    private mutating func put(_ message: Message, until deadline: Deadline) throws(IPCError) -> Bool {
        try unsafe put(MemoryLayout<Message>.size, until: deadline) { target in
            unsafe target.storeBytes(of: message, as: Message.self)
        }
    }

    /// Sends a message, suspended while the log is full of work that is not done.
    ///
    /// - Throws: As the blocking call; ``IPC/IPCError/Code/cancelled``. Then it was not sent.
    public nonisolated(nonsending) mutating func send(
        _ message: Message, until deadline: Deadline = .never
    ) async throws(IPCError) {
        while try !trySend(message) { try await waitForRoom(MemoryLayout<Message>.size, until: deadline) }
    }
}

extension Producer where Message == RawBytes {
    /// Sends a copy of the bytes to whichever worker is free first.
    ///
    /// - Parameter deadline: How long to wait while the log is full of work that is not done.
    /// - Throws: ``IPC/IPCError/Code/timedOut``, and it was not sent; ``IPC/IPCError/Code/messageTooLarge``.
    public mutating func send(_ bytes: RawSpan, until deadline: Deadline = .never) throws(IPCError) {
        guard try put(bytes, until: deadline) else { throw timedOut }
    }

    /// Sends a copy of the bytes if there is room now.
    public mutating func trySend(_ bytes: RawSpan) throws(IPCError) -> Bool { try put(bytes, until: .immediate) }

    private mutating func put(_ bytes: RawSpan, until deadline: Deadline) throws(IPCError) -> Bool {
        try unsafe put(bytes.byteCount, until: deadline) { target in unsafe target.copyBytes(of: bytes) }
    }

    /// Sends a copy of the bytes, suspended while the log is full of work that is not done.
    public nonisolated(nonsending) mutating func send(
        _ bytes: RawSpan, until deadline: Deadline = .never
    ) async throws(IPCError) {
        while try !trySend(bytes) { try await waitForRoom(bytes.byteCount, until: deadline) }
    }
}
