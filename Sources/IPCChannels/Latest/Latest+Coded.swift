public import IPC

// Latest values that are `Codable`.

extension Latest.Setter where Value: CodableMessage {
    /// Sets the value, encoded by the channel's coder.
    ///
    /// - Throws: ``/IPC/IPCError/Code/invalidArgument`` with the coder's error; ``/IPC/IPCError/Code/messageTooLarge`` for more
    ///   than half the log.
    public mutating func set(_ value: Value.Value) throws(IPCError) {
        try publisher.publish(value)
    }
}

extension Latest.Getter where Value: CodableMessage {
    /// Returns the newest value, decoded by the channel's coder, at least as new as this call; nil before the first. Does not
    /// block.
    ///
    /// - Throws: ``/IPC/IPCError/Code/corrupted`` with the coder's error, until the next value is set.
    public mutating func get() throws(IPCError) -> Value.Value? {
        guard let bytes = try lendNewest({ (bytes) throws(IPCError) in bytes.array }) else { return nil }
        return try Value.Coder.value(of: bytes, name) as Value.Value
    }

    /// Waits for a value newer than the previous one, and returns the newest.
    ///
    /// - Throws: ``/IPC/IPCError/Code/timedOut``; ``/IPC/IPCError/Code/corrupted`` with the coder's error.
    public mutating func next(
        until deadline: Deadline = .never
    ) throws(IPCError) -> Value.Value {
        try Value.Coder.value(of: lendNext(until: deadline) { (bytes) throws(IPCError) in bytes.array }, name)
    }

    /// Waits for a value newer than the previous one, suspended meanwhile, and returns the newest.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``.
    public nonisolated(nonsending) mutating func next(
        until deadline: Deadline = .never
    ) async throws(IPCError) -> Value.Value {
        let bytes = try await lendNext(until: deadline) { (bytes) throws(IPCError) in bytes.array }
        return try Value.Coder.value(of: bytes, name)
    }

    /// The newest value, each time there is a newer one, as an asynchronous sequence. One loop at a time.
    public consuming func values() -> ChannelSequence<Value.Value> where Value.Value: Sendable {
        let box = Box(self)
        return ChannelSequence { () async throws(IPCError) in try await box.value.next() }
    }

    private var name: ChannelName { subscription.reader.memory.name }
}

extension Latest.Observer where Value: CodableMessage {
    /// Returns the newest value, decoded by the channel's coder, at least as new as this call; nil before the first. Does not
    /// block.
    public mutating func get() throws(IPCError) -> Value.Value? { try getter.get() }

    /// Waits for a value newer than the previous one, and returns the newest.
    public mutating func next(until deadline: Deadline = .never) throws(IPCError) -> Value.Value {
        try getter.next(until: deadline)
    }

    /// Waits for a value newer than the previous one, suspended meanwhile, and returns the newest.
    public nonisolated(nonsending) mutating func next(
        until deadline: Deadline = .never
    ) async throws(IPCError) -> Value.Value {
        try await getter.next(until: deadline)
    }
}
