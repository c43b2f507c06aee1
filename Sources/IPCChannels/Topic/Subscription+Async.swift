public import IPC

// The calls that wait without a thread. Each is the call of the same name, in an asynchronous function.

extension Subscription {
    @usableFromInline
    nonisolated(nonsending) mutating func waitForMessage(until deadline: Deadline) async throws(IPCError) {
        guard try await reader.wait(until: deadline, spins: spins) else { try failTimedOut() }
    }
}

extension Subscription where Message: BitwiseCopyable {
    /// Receives the next message, suspended until there is one. If one is there, it neither suspends nor allocates.
    ///
    /// - Throws: As the blocking call; ``IPC/IPCError/Code/cancelled``, and no message was taken.
    @inlinable @inline(__always)
    public nonisolated(nonsending) mutating func receive(
        until deadline: Deadline = .never
    ) async throws(IPCError) -> Message {
        var hasLooked = false
        while true {
            if let message = try takeValue() { return message }
            if reader.look(spins, unless: &hasLooked) { continue }
            try await waitForMessage(until: deadline)
        }
    }

    /// The messages as they come: `for try await quote in try topic.subscribe().messages()`.
    ///
    /// One loop at a time. A loop whose task is cancelled ends, and no message is lost to a later one.
    public consuming func messages() -> ChannelSequence<Message> {
        let held = Held(self)
        return ChannelSequence { () async throws(IPCError) in try await held.participant.receive() }
    }
}

extension Subscription where Message == RawBytes {
    /// Lends the next message, suspended until there is one.
    @inlinable @inline(__always)
    public nonisolated(nonsending) mutating func receive<Result>(
        until deadline: Deadline = .never, _ body: (RawSpan) throws(IPCError) -> Result
    ) async throws(IPCError) -> Result {
        var hasLooked = false
        while true {
            if let result = try take({ (_, payload) throws(IPCError) in try body(payload) }) { return result }
            if reader.look(spins, unless: &hasLooked) { continue }
            try await waitForMessage(until: deadline)
        }
    }

    /// Copies of the messages as they come. One loop at a time.
    public consuming func messages() -> ChannelSequence<[UInt8]> {
        let held = Held(self)
        return ChannelSequence { () async throws(IPCError) in
            try await held.participant.receive { $0.array }
        }
    }
}

extension Subscription {
    /// Receives the next value, suspended until there is one.
    public nonisolated(nonsending) mutating func receive<Value>(
        with coder: some MessageCoder, until deadline: Deadline = .never
    ) async throws(IPCError) -> Value where Message == Coded<Value> {
        var hasLooked = false
        while true {
            if let bytes = try take({ (_, payload) throws(IPCError) in payload.array }) {
                return try decode(bytes, with: coder)
            }
            if reader.look(spins, unless: &hasLooked) { continue }
            try await waitForMessage(until: deadline)
        }
    }
}

extension RawSpan {
    /// A copy.
    package var array: [UInt8] { unsafe withUnsafeBytes { unsafe Array($0) } }
}
