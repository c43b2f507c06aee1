public import IPC

// Work queues of `Codable` values.

extension WorkQueue.Producer where Message: CodableMessage {
    /// Sends a value, encoded by the queue's coder. The first free worker gets it.
    ///
    /// - Parameters:
    ///   - value: The message.
    ///   - options: A delay, or a time to live.
    ///   - deadline: How long to wait while the log is full of unfinished jobs.
    /// - Throws: ``/IPC/IPCError/Code/invalidArgument`` with the coder's error; ``/IPC/IPCError/Code/timedOut``, and the message
    ///   was not sent; ``/IPC/IPCError/Code/messageTooLarge``; ``/IPC/IPCError/Code/limitReached`` if too many delayed messages
    ///   are waiting.
    public mutating func send(
        _ value: Message.Value, _ options: JobOptions = JobOptions(), until deadline: Deadline = .never
    ) throws(IPCError) {
        let bytes = try Message.Coder.bytes(of: value, writer.memory.name)
        guard try unsafe put(bytes.span.bytes, options, until: deadline) else { throw timedOut }
    }

    /// Sends a value, encoded by the queue's coder, if there is room now.
    ///
    /// - Returns: False if there is none.
    public mutating func trySend(
        _ value: Message.Value
    ) throws(IPCError) -> Bool {
        let bytes = try Message.Coder.bytes(of: value, writer.memory.name)
        return try unsafe put(bytes.span.bytes, JobOptions(), until: .immediate)
    }

    /// Sends a value, encoded by the queue's coder, suspended while the log is full of unfinished jobs.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and the message was not sent.
    public nonisolated(nonsending) mutating func send(
        _ value: Message.Value, _ options: JobOptions = JobOptions(), until deadline: Deadline = .never
    ) async throws(IPCError) {
        let bytes = try Message.Coder.bytes(of: value, writer.memory.name)
        while try unsafe !put(bytes.span.bytes, options, until: .immediate) {
            try await waitForRoom(bytes.count, until: deadline)
        }
    }
}

extension WorkQueue.Worker where Message: CodableMessage {
    /// Takes the next job, waiting for it. Acknowledges it when `body` returns, or rejects it if `body` throws.
    ///
    /// A message that the coder refuses becomes a dead letter, and the next job is taken instead.
    ///
    /// - Returns: What `body` returned.
    /// - Throws: What `body` throws; ``/IPC/IPCError/Code/timedOut`` if no job came until the deadline.
    @discardableResult
    public mutating func workNext<Result>(
        until deadline: Deadline = .never, _ body: (Message.Value) throws -> Result
    ) throws -> Result {
        while true {
            let (work, payload) = try unsafe takeLent(until: deadline)
            let bytes = unsafe [UInt8](payload)
            guard let value: Message.Value = try? Message.Coder.decode(Message.Value.self, from: bytes) else {
                taker.moveInvalid(work)
                continue
            }
            return try lend(work) { try body(value) }.get()
        }
    }
}

extension WorkQueue.Job where Message: CodableMessage {
    /// The message, decoded by the queue's coder.
    ///
    /// - Throws: ``/IPC/IPCError/Code/corrupted`` with the coder's error; reject the job then.
    public var message: Message.Value {
        get throws(IPCError) {
            try checkInheritance()
            let bytes = unsafe [UInt8](UnsafeRawBufferPointer(start: payload, count: byteCount))
            return try Message.Coder.value(of: bytes, channelName)
        }
    }
}

extension WorkQueue.SharedJob where Message: CodableMessage {
    /// The message, decoded by the queue's coder.
    ///
    /// - Throws: ``/IPC/IPCError/Code/corrupted`` with the coder's error; ``/IPC/IPCError/Code/invalidArgument`` if the job was
    ///   finished before.
    public var message: Message.Value {
        get throws(IPCError) { try lend { (job) throws(IPCError) in try job.message } }
    }
}

extension WorkQueue.BrowsedJob where Message: CodableMessage {
    /// The message, decoded by the queue's coder.
    ///
    /// - Throws: ``/IPC/IPCError/Code/corrupted`` with the coder's error.
    public var message: Message.Value {
        get throws(IPCError) { try Message.Coder.value(of: bytes, queue) }
    }
}
