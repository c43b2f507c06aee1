public import IPC

/// A call in progress. Dropping it cancels the call: its server is notified and its reply is discarded.
///
/// It keeps its client's membership. Any thread may wait for it, one at a time.
public struct PendingCall<Reply, Failure: Error & BitwiseCopyable>: ~Copyable, @unchecked Sendable {
    // `@unchecked`: the reply in the frame belongs to this caller alone once the state publishes it.
    let membership: Membership
    let call: SentCall
    var isEnded = false

    init(_ membership: Membership, _ call: SentCall) {
        self.membership = membership
        self.call = call
    }

    deinit { if !isEnded { membership.end(call) } }

    /// Whether there is an outcome, so that `wait` returns at once.
    public var isFinished: Bool {
        if call.isFinished { return true }
        // A caller that only polls checks now and then whether the server is dead. Errors of that check are thrown to callers
        // that wait.
        if membership.memory.isDeathCheckDue() { try? membership.memory.recoverDeadParticipants() }
        return call.isFinished
    }

    /// Cancels the call. A server that has it can see that.
    public consuming func cancel() {}

    nonisolated(nonsending) borrowing func waitForOutcome() async throws(IPCError) -> Work.State {
        // Even if the deadline has passed by now.
        if call.isFinished { return call.state }
        let (readiness, call) = (try readiness(), call)
        let isSettled = try await Permits.lending { () async throws(IPCError) in
            try await readiness.wait(until: call.deadline, spins: call.spins, "call")
        }
        let state = call.state
        guard isSettled else { throw membership.callTimedOut(state) }
        return state
    }

    /// The readiness of the outcome.
    ///
    /// - Throws: ``/IPC/IPCError/Code/corrupted``.
    public func readiness() throws(IPCError) -> ChannelReadiness {
        let call = call
        let place = try membership.memory.waitingCaller(UInt32(membership.slot))
        return ChannelReadiness(membership: membership, place: place) { call.isFinished }
    }
}

extension PendingCall where Reply: BitwiseCopyable {
    /// Waits for the outcome, until the call's deadline.
    ///
    /// - Throws: As `call(_:until:retries:)` of ``ServiceChannel/Client``.
    public consuming func wait() throws(IPCError) -> Result<Reply, Failure> {
        let state = try membership.waitForOutcome(of: call)
        try membership.collect(call, state)
        return try membership.outcome(of: call, state)
    }

    /// Waits for the outcome, until the call's deadline, suspended meanwhile.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and the server is notified.
    public nonisolated(nonsending) consuming func wait() async throws(IPCError) -> Result<Reply, Failure> {
        let state = try await waitForOutcome()
        try membership.collect(call, state)
        return try membership.outcome(of: call, state)
    }
}

extension PendingCall where Reply == RawBytes {
    /// Waits for the outcome, until the call's deadline, and borrows the reply in the log.
    ///
    /// - Throws: ``/IPC/IPCError/Code/timedOut``; ``/IPC/IPCError/Code/brokenPipe`` if its server died or dropped the call;
    ///   ``/IPC/IPCError/Code/messageTooLarge``; what `body` throws.
    public consuming func wait<Value>(
        _ body: (RawSpan) throws(IPCError) -> Value
    ) throws(IPCError) -> Result<Value, Failure> {
        let state = try membership.waitForOutcome(of: call)
        try membership.collect(call, state)
        return try membership.outcome(of: call, state, body)
    }

    /// Waits for the outcome, until the call's deadline, suspended meanwhile, and borrows the reply.
    public nonisolated(nonsending) consuming func wait<Value>(
        _ body: (RawSpan) throws(IPCError) -> Value
    ) async throws(IPCError) -> Result<Value, Failure> {
        let state = try await waitForOutcome()
        try membership.collect(call, state)
        return try membership.outcome(of: call, state, body)
    }
}
