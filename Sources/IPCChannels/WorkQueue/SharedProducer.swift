public import IPC

extension WorkQueue {
    /// A producer that threads and tasks use at the same time: one slot for all of them.
    ///
    /// A lock is held while a message is copied into the log, and nobody waits for room under it. Those who wait get room in their
    /// order. A ``Producer`` has no lock, and belongs to one thread at a time.
    public final class SharedProducer: Sendable {
        let shared: SharedWriter<Producer>

        init(_ producer: consuming Producer) throws(IPCError) { shared = try SharedWriter(producer) }

        /// Waits until everything sent or acknowledged before this call, by any process, is on disk (`msync`). Blocks the thread.
        ///
        /// - Parameter deadline: How long to wait for earlier messages that other producers have begun and not finished. It
        ///   does not limit the time that the disk takes.
        /// - Throws: As ``WorkQueue/Producer/sync(until:)``.
        public func sync(until deadline: Deadline = .never) throws(IPCError) { try shared.sync(until: deadline) }

        fileprivate func send(
            _ count: Int, until deadline: Deadline, _ attempt: (inout Producer) throws(IPCError) -> Bool
        ) throws(IPCError) {
            guard try shared.write(Work.prefixSize + count, until: deadline, attempt) else { throw try timedOut }
        }

        fileprivate nonisolated(nonsending) func send(
            _ count: Int, until deadline: Deadline, _ attempt: (inout Producer) throws(IPCError) -> Bool
        ) async throws(IPCError) {
            guard try await shared.write(Work.prefixSize + count, until: deadline, "send", attempt) else {
                throw try timedOut
            }
        }

        private var timedOut: IPCError {
            get throws(IPCError) { try shared.withWriter { (producer) throws(IPCError) in producer.timedOut } }
        }
    }

    /// Joins as a producer that threads and tasks share.
    ///
    /// - Throws: As ``makeProducer()``; ``/IPC/IPCError/Code/unsupported`` for a queue that is synced by itself.
    public func makeSharedProducer() throws(IPCError) -> SharedProducer { try SharedProducer(makeProducer()) }
}

extension WorkQueue.Producer: LogWriting {}

extension WorkQueue.SharedProducer where Message: BitwiseCopyable {
    /// Sends a message. Blocks the thread while the log is full of unfinished jobs.
    ///
    /// - Parameters:
    ///   - message: The value.
    ///   - options: A delay, or a time to live.
    ///   - deadline: How long to wait for room.
    /// - Throws: ``/IPC/IPCError/Code/timedOut``, and the message was not sent; ``/IPC/IPCError/Code/limitReached`` if too many
    ///   delayed messages are waiting.
    public func send(
        _ message: Message, _ options: JobOptions = JobOptions(), until deadline: Deadline = .never
    ) throws(IPCError) {
        try send(MemoryLayout<Message>.size, until: deadline) { (producer) throws(IPCError) in
            try producer.put(message, options, until: .immediate)
        }
    }

    /// Sends a message, suspended while the log is full of unfinished jobs.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and the message was not sent.
    public nonisolated(nonsending) func send(
        _ message: Message, _ options: JobOptions = JobOptions(), until deadline: Deadline = .never
    ) async throws(IPCError) {
        try await send(MemoryLayout<Message>.size, until: deadline) { (producer) throws(IPCError) in
            try producer.put(message, options, until: .immediate)
        }
    }

    /// Sends a message if there is room now.
    ///
    /// - Returns: False if there is none.
    public func trySend(_ message: Message) throws(IPCError) -> Bool {
        try shared.tryWrite { (producer) throws(IPCError) in try producer.trySend(message) }
    }
}

extension WorkQueue.SharedProducer where Message == RawBytes {
    /// Sends a copy of the bytes. Blocks the thread while the log is full of unfinished jobs.
    public func send(
        _ bytes: RawSpan, _ options: JobOptions = JobOptions(), until deadline: Deadline = .never
    ) throws(IPCError) {
        try send(bytes.byteCount, until: deadline) { (producer) throws(IPCError) in
            try producer.put(bytes, options, until: .immediate)
        }
    }

    /// Sends a copy of the bytes, suspended while the log is full of unfinished jobs.
    public nonisolated(nonsending) func send(
        _ bytes: RawSpan, _ options: JobOptions = JobOptions(), until deadline: Deadline = .never
    ) async throws(IPCError) {
        try await send(bytes.byteCount, until: deadline) { (producer) throws(IPCError) in
            try producer.put(bytes, options, until: .immediate)
        }
    }

    /// Sends a copy of the bytes if there is room now.
    ///
    /// - Returns: False if there is none.
    public func trySend(_ bytes: RawSpan) throws(IPCError) -> Bool {
        try shared.tryWrite { (producer) throws(IPCError) in try producer.trySend(bytes) }
    }
}

extension WorkQueue.SharedProducer where Message: CodableMessage {
    /// Sends a value, encoded by the queue's coder. Blocks the thread while the log is full of unfinished jobs.
    public func send(
        _ value: Message.Value, _ options: JobOptions = JobOptions(), until deadline: Deadline = .never
    ) throws(IPCError) {
        let bytes = try Message.Coder.bytes(of: value, shared.memory.name)
        try send(bytes.count, until: deadline) { (producer) throws(IPCError) in
            try unsafe producer.put(bytes.span.bytes, options, until: .immediate)
        }
    }

    /// Sends a value, encoded by the queue's coder, suspended while the log is full of unfinished jobs.
    public nonisolated(nonsending) func send(
        _ value: Message.Value, _ options: JobOptions = JobOptions(), until deadline: Deadline = .never
    ) async throws(IPCError) {
        let bytes = try Message.Coder.bytes(of: value, shared.memory.name)
        try await send(bytes.count, until: deadline) { (producer) throws(IPCError) in
            try unsafe producer.put(bytes.span.bytes, options, until: .immediate)
        }
    }

    /// Sends a value, encoded by the queue's coder, if there is room now.
    ///
    /// - Returns: False if there is none.
    public func trySend(_ value: Message.Value) throws(IPCError) -> Bool {
        let bytes = try Message.Coder.bytes(of: value, shared.memory.name)
        return try shared.tryWrite { (producer) throws(IPCError) in
            try unsafe producer.put(bytes.span.bytes, JobOptions(), until: .immediate)
        }
    }
}
