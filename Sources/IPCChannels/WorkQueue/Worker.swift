public import IPC

/// One worker of a ``WorkQueue``. One thread at a time may use it; its jobs may be finished on any.
public struct Worker<Message>: ~Copyable, @unchecked Sendable {
    // `@unchecked`: it is one thread's at a time by its ownership; the memory is shared by atomics.
    var taker: WorkTaker
    private let queue: WorkQueue<Message>

    init(_ membership: Membership, _ queue: WorkQueue<Message>, _ waiting: Waiting) {
        taker = WorkTaker(membership, waiting)
        self.queue = queue
    }

    /// Takes the next job, waiting for it.
    ///
    /// - Throws: ``IPC/IPCError/Code/timedOut``.
    public mutating func next(until deadline: Deadline = .never) throws(IPCError) -> Job<Message> {
        while let work = try taker.take(until: deadline) {
            if let job = try job(work) { return job }
        }
        throw timedOut
    }

    /// Takes the next job, suspended until there is one.
    ///
    /// - Throws: As the blocking call; ``IPC/IPCError/Code/cancelled``, and no job was taken.
    public nonisolated(nonsending) mutating func next(
        until deadline: Deadline = .never
    ) async throws(IPCError) -> Job<Message> {
        while let work = try await taker.take(until: deadline) {
            if let job = try job(work) { return job }
        }
        throw timedOut
    }

    /// - Returns: nil if it is to stop.
    nonisolated(nonsending) mutating func next(unless stopping: Stopping?) async throws(IPCError) -> Job<Message>? {
        while let work = try await taker.take(until: .never, unless: stopping) {
            if let job = try job(work) { return job }
        }
        return nil
    }

    private var timedOut: IPCError {
        IPCError(
            .timedOut, "next job", queue.name.description,
            advice: "no work came before the deadline; check that a producer lives, or allow more time")
    }

    /// Takes the next job if there is one.
    public mutating func tryNext() throws(IPCError) -> Job<Message>? {
        while let work = try taker.tryTake() {
            if let job = try job(work) { return job }
        }
        return nil
    }

    /// - Returns: nil if it went to the dead letters instead.
    private func job(_ work: TakenWork) throws(IPCError) -> Job<Message>? {
        let job = Job<Message>(taker.membership, work)
        if let size = queue.messageSize, job.byteCount != size {
            throw taker.membership.memory.corrupted("a message has \(job.byteCount) bytes instead of \(size)")
        }
        if job.attempt <= queue.maximumAttempts { return job }
        try bury(job)
        return nil
    }

    /// Sends a job that failed too often to the dead letters.
    @inline(never)
    private func bury(_ job: consuming Job<Message>) throws(IPCError) {
        // Sent before it is acknowledged: if we die between, it is among the dead letters twice, but never lost.
        var letters = try queue.deadLetters().makeProducer()
        let isSent = try unsafe letters.put(job.byteCount, until: .after(.seconds(1))) { target in
            unsafe target.copyMemory(from: job.payload, byteCount: job.byteCount)
        }
        guard isSent else { throw letters.timedOut }
        ChannelLog.deadLetter(queue.name, attempts: job.attempt)
        try job.acknowledge()
    }

    /// Leaves the queue, once its jobs are finished.
    public consuming func close() {}
}

/// A message that a worker has, until it acknowledges or rejects it. Going out of scope rejects it.
///
/// It keeps its worker's place in the queue: a worker that went out of scope leaves when its last job is finished.
public struct Job<Message>: ~Copyable, @unchecked Sendable {
    // `@unchecked`: the frame is this job's alone until it is finished.
    private let membership: Membership
    private let work: TakenWork
    private var isFinished = false

    init(_ membership: Membership, _ work: TakenWork) {
        self.membership = membership
        self.work = work
    }

    /// How often it was handed out, this time included.
    public var attempt: Int { work.state.attempts }
    /// Bytes of the message.
    public var byteCount: Int { Int(work.header.length) - Work.prefixSize }

    // The length was checked, and the frame is not overwritten while it is not done.
    fileprivate var payload: UnsafeMutableRawPointer {
        let memory = membership.memory
        let offset = LogLayout.Frame.headerSize + Work.prefixSize
        return unsafe memory.log + Int(truncatingIfNeeded: work.position & memory.mask) + offset
    }

    deinit {
        if !isFinished, finish(work.state.returned) { membership.tellOfReturns() }
    }

    /// Reports that the work is done: nobody gets it again.
    public consuming func acknowledge() throws(IPCError) {
        isFinished = true
        _ = finish(work.state.at(Work.Stage.done))
        KillPoint.reach(.workDone)
        try membership.tellOfDone()
    }

    /// Gives the work back: it goes to another worker, or to this one again, with its attempt counted.
    public consuming func reject() {}

    private borrowing func finish(_ state: Work.State) -> Bool {
        membership.memory.workState(at: work.position).exchange(work.state.word, for: state.word).exchanged
    }
}

extension Job where Message: BitwiseCopyable {
    /// The message.
    public var message: Message { unsafe payload.loadUnaligned(as: Message.self) }
}

extension Job where Message == RawBytes {
    /// Lends the message where it lies in the log.
    public borrowing func withBytes<Result>(
        _ body: (RawSpan) throws(IPCError) -> Result
    ) throws(IPCError) -> Result {
        try unsafe body(RawSpan(_unsafeStart: payload, byteCount: byteCount))
    }
}
