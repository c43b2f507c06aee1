public import IPC

/// A call that is under way. Going out of scope cancels it: its server is told, and its reply is dropped.
///
/// It keeps its client's place in the service. Any thread may wait for it, one at a time.
public struct PendingCall<Reply, Failure: Error & BitwiseCopyable>: ~Copyable, @unchecked Sendable {
    // `@unchecked`: the frame's reply is this caller's alone once the state tells of it.
    let membership: Membership
    let call: SentCall
    var isEnded = false

    init(_ membership: Membership, _ call: SentCall) {
        self.membership = membership
        self.call = call
    }

    deinit { if !isEnded { membership.end(call) } }

    /// Whether there is an outcome: then waiting does not wait.
    public var isFinished: Bool {
        if call.isFinished { return true }
        // One that only polls looks now and then whether its server is dead. What goes wrong there, whoever waits is told.
        if membership.memory.isLookDue() { try? membership.memory.lookAfterTheDead() }
        return call.isFinished
    }

    /// Gives the call up. A server that has it can see so.
    public consuming func cancel() {}

    nonisolated(nonsending) borrowing func waitForOutcome() async throws(IPCError) -> Work.State {
        // Whatever its deadline is by now.
        if call.isFinished { return call.state }
        let (readiness, call) = (try readiness(), call)
        let isSettled = try await Permits.lending { () async throws(IPCError) in
            try await readiness.wait(until: call.deadline, spins: call.spins, "call")
        }
        let state = call.state
        guard isSettled else { throw membership.timedOut(state) }
        return state
    }

    /// The outcome.
    ///
    /// - Throws: ``IPC/IPCError/Code/corrupted``.
    public func readiness() throws(IPCError) -> ChannelReadiness {
        let call = call
        let place = try membership.memory.sleepingCaller(UInt32(membership.slot))
        return ChannelReadiness(membership: membership, place: place) { call.isFinished }
    }
}

extension PendingCall where Reply: BitwiseCopyable {
    /// Waits for the outcome, until the call's deadline.
    ///
    /// - Throws: As ``Client/call(_:until:retries:)``.
    public consuming func wait() throws(IPCError) -> Result<Reply, Failure> {
        let state = try membership.waitForOutcome(of: call)
        try membership.collect(call, state)
        return try membership.outcome(of: call, state)
    }

    /// Waits for the outcome, until the call's deadline, suspended meanwhile.
    ///
    /// - Throws: As the blocking call; ``IPC/IPCError/Code/cancelled``, and the server is told.
    public nonisolated(nonsending) consuming func wait() async throws(IPCError) -> Result<Reply, Failure> {
        let state = try await waitForOutcome()
        try membership.collect(call, state)
        return try membership.outcome(of: call, state)
    }
}

extension PendingCall where Reply == RawBytes {
    /// Waits for the outcome, until the call's deadline, and lends the reply where it lies in the log.
    ///
    /// - Throws: ``IPC/IPCError/Code/timedOut``; ``IPC/IPCError/Code/brokenPipe`` if its server died, or let go of it;
    ///   ``IPC/IPCError/Code/messageTooLarge``; what `body` throws.
    public consuming func wait<Value>(
        _ body: (RawSpan) throws(IPCError) -> Value
    ) throws(IPCError) -> Result<Value, Failure> {
        let state = try membership.waitForOutcome(of: call)
        try membership.collect(call, state)
        return try membership.outcome(of: call, state, body)
    }

    /// Waits for the outcome, until the call's deadline, suspended meanwhile, and lends the reply.
    public nonisolated(nonsending) consuming func wait<Value>(
        _ body: (RawSpan) throws(IPCError) -> Value
    ) async throws(IPCError) -> Result<Value, Failure> {
        let state = try await waitForOutcome()
        try membership.collect(call, state)
        return try membership.outcome(of: call, state, body)
    }
}
