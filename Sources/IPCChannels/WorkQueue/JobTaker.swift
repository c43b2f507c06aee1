import IPC

/// Takes jobs for one worker, and moves those that are not to be delivered to the dead letters. Not generic: a worker would
/// otherwise look up its types for each job.
struct JobTaker: ~Copyable {
    private var taker: WorkTaker
    private var deadLetters: DeadLetters
    /// The size of each message in bytes; nil if it varies.
    private let messageSize: Int?
    private let maximumAttempts: Int
    var membership: Membership { taker.membership }

    init(_ membership: Membership, _ channel: Channel, _ waiting: WaitStrategy) {
        taker = WorkTaker(membership, waiting)
        messageSize = channel.type.stride == 0 ? nil : channel.type.size
        maximumAttempts = membership.memory.retryPolicy.maximumAttempts
        deadLetters = DeadLetters(channel, membership)
    }

    /// Takes the next job, waiting for it.
    ///
    /// - Throws: ``/IPC/IPCError/Code/timedOut`` if there was none until the deadline.
    mutating func take(until deadline: Deadline) throws(IPCError) -> TakenWork {
        while let work = try taker.take(until: deadline) {
            if isDue(work) { return work }
        }
        throw timedOut
    }

    /// Takes the next job, suspended until there is one.
    ///
    /// - Returns: Nil if there was none until the deadline, or the worker is to stop.
    nonisolated(nonsending) mutating func take(
        until deadline: Deadline, unless stopping: Stopping? = nil
    ) async throws(IPCError) -> TakenWork? {
        while let work = try await taker.take(until: deadline, unless: stopping) {
            if isDue(work) { return work }
        }
        return nil
    }

    /// Takes the next job; nil if there is none.
    mutating func poll() throws(IPCError) -> TakenWork? {
        while let work = try taker.poll() {
            if isDue(work) { return work }
        }
        return nil
    }

    func readiness() -> ChannelReadiness { taker.readiness() }

    /// - Returns: False if it became a dead letter instead.
    @inline(__always)
    private mutating func isDue(_ work: TakenWork) -> Bool {
        let isExpired = unsafe JobHeader.hasExpired(membership.header(of: work))
        let hasRightSize = messageSize == nil || work.byteCount == messageSize
        guard work.state.attempts <= maximumAttempts, !isExpired, hasRightSize, !deadLetters.isWaiting else {
            return isDueNow(work, isExpired: isExpired, hasRightSize: hasRightSize)
        }
        return true
    }

    @inline(never)
    private mutating func isDueNow(_ work: TakenWork, isExpired: Bool, hasRightSize: Bool) -> Bool {
        guard work.state.attempts <= maximumAttempts else {
            deadLetters.move(work)
            return false
        }
        if isExpired {
            deadLetters.move(work, .expired)
            return false
        }
        deadLetters.retryIfDue()
        if !hasRightSize { moveInvalid(work) }
        return hasRightSize
    }

    /// An invalid message would be just as invalid at the next attempt.
    @inline(never)
    mutating func moveInvalid(_ work: TakenWork) {
        // A dead letter cannot be moved on. It stays taken by this worker, and so blocks no other, until the worker leaves.
        // Then it is available again.
        if !deadLetters.areTheirOwn { deadLetters.move(work, .invalid) }
    }

    var timedOut: IPCError {
        IPCError(
            .timedOut, "next job", membership.memory.name.description,
            advice: "no job arrived before the deadline; check that a producer is running, or allow more time")
    }
}
