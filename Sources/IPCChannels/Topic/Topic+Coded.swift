public import IPC

// Topics of `Codable` values.

extension Topic.Publisher where Message: CodableMessage {
    /// Publishes a value, encoded by the topic's coder.
    ///
    /// - Throws: ``/IPC/IPCError/Code/invalidArgument`` with the coder's error; ``/IPC/IPCError/Code/messageTooLarge``;
    ///   ``/IPC/IPCError/Code/timedOut``, and the message was not published.
    public mutating func publish(
        _ value: Message.Value, until deadline: Deadline = .never
    ) throws(IPCError) {
        guard try put(Message.Coder.bytes(of: value, writer.memory.name), until: deadline) else { try failTimedOut() }
    }

    /// Publishes a value, encoded by the topic's coder, if there is room now.
    ///
    /// - Returns: False if there is none.
    public mutating func tryPublish(
        _ value: Message.Value
    ) throws(IPCError) -> Bool {
        try put(Message.Coder.bytes(of: value, writer.memory.name), until: .immediate)
    }

    /// Publishes a value, encoded by the topic's coder, suspended while a subscriber is a whole log behind.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and the message was not published.
    public nonisolated(nonsending) mutating func publish(
        _ value: Message.Value, until deadline: Deadline = .never
    ) async throws(IPCError) {
        let bytes = try Message.Coder.bytes(of: value, writer.memory.name)
        while try !put(bytes, until: .immediate) { try await waitForRoom(bytes.count, until: deadline) }
    }

    mutating func put(_ bytes: [UInt8], until deadline: Deadline) throws(IPCError) -> Bool {
        guard let payload = try unsafe writer.claim(bytes.count, until: deadline) else { return false }
        unsafe payload.copyBytes(of: bytes.span.bytes)
        try writer.deliver(bytes.count)
        return true
    }
}

extension Topic.Subscription where Message: CodableMessage {
    /// Receives the next value, waiting for it.
    ///
    /// - Throws: ``/IPC/IPCError/Code/corrupted`` with the coder's error; the message is skipped.
    ///   ``/IPC/IPCError/Code/timedOut``.
    public mutating func receive(
        until deadline: Deadline = .never
    ) throws(IPCError) -> Message.Value {
        let bytes = try take(until: deadline) { (_, payload) throws(IPCError) in payload.array }
        return try Message.Coder.value(of: bytes, reader.memory.name)
    }

    /// Receives the next value; nil if there is none.
    ///
    /// - Throws: As `receive(until:)`, except ``/IPC/IPCError/Code/timedOut``.
    public mutating func tryReceive() throws(IPCError) -> Message.Value? {
        guard let bytes = try take({ (_, payload) throws(IPCError) in payload.array }) else {
            try reader.checkLiveness()
            return nil
        }
        return try Message.Coder.value(of: bytes, reader.memory.name) as Message.Value
    }

    /// Receives the next value, suspended until there is one.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and no message was taken.
    public nonisolated(nonsending) mutating func receive(
        until deadline: Deadline = .never
    ) async throws(IPCError) -> Message.Value {
        var hasLooked = false
        while true {
            if let bytes = try take({ (_, payload) throws(IPCError) in payload.array }) {
                return try Message.Coder.value(of: bytes, reader.memory.name)
            }
            if reader.look(spins, unless: &hasLooked) { continue }
            try await waitForMessage(until: deadline)
        }
    }

    /// The values as an asynchronous sequence. One loop at a time.
    public consuming func messages() -> ChannelSequence<Message.Value> {
        let box = Box(self)
        return ChannelSequence { () async throws(IPCError) in try await box.value.receive() }
    }
}

extension Topic.Observer where Message: CodableMessage {
    /// Receives the next value, waiting for it: as `receive(until:)` of ``Topic/Subscription``.
    public mutating func receive(
        until deadline: Deadline = .never
    ) throws(IPCError) -> Message.Value {
        try subscription.receive(until: deadline)
    }

    /// Receives the next value, suspended until there is one.
    public nonisolated(nonsending) mutating func receive(
        until deadline: Deadline = .never
    ) async throws(IPCError) -> Message.Value {
        try await subscription.receive(until: deadline)
    }

    /// Receives the next value; nil if there is none.
    public mutating func tryReceive() throws(IPCError) -> Message.Value? { try subscription.tryReceive() }

    /// The values as an asynchronous sequence. One loop at a time.
    public consuming func messages() -> ChannelSequence<Message.Value> where Message.Value: Sendable {
        subscription.messages()
    }
}
