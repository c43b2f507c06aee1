public import IPC

// The asynchronous calls. They behave like the blocking calls of the same name, but block no thread.

extension Topic.Subscription {
    @usableFromInline
    nonisolated(nonsending) mutating func waitForMessage(until deadline: Deadline) async throws(IPCError) {
        guard try await reader.wait(until: deadline, spins: spins) else { try failTimedOut() }
    }
}

extension Topic.Subscription where Message: BitwiseCopyable {
    /// Receives the next message, suspended until there is one. If one is there already, the call neither suspends nor
    /// allocates.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and no message was taken.
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

    /// The messages as an asynchronous sequence: `for try await quote in try topic.makeSubscription().messages()`.
    ///
    /// One loop at a time. A loop ends when its task is cancelled; no message is lost to a later loop.
    public consuming func messages() -> ChannelSequence<Message> {
        let box = Box(self)
        return ChannelSequence { () async throws(IPCError) in try await box.value.receive() }
    }
}

extension Topic.Subscription where Message == RawBytes {
    /// Borrows the next message, suspended until there is one.
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

    /// Copies of the messages as an asynchronous sequence. One loop at a time.
    public consuming func messages() -> ChannelSequence<[UInt8]> {
        let box = Box(self)
        return ChannelSequence { () async throws(IPCError) in
            try await box.value.receive { $0.array }
        }
    }
}

extension RawSpan {
    /// A copy of the bytes.
    package var array: [UInt8] { unsafe withUnsafeBytes { unsafe Array($0) } }
}
