public import IPC

/// One worker of a ``WorkQueue``. One thread at a time may use it; its jobs may be finished on any.
public struct Worker<Message>: ~Copyable, @unchecked Sendable {
    // `@unchecked`: it is one thread's at a time by its ownership; the memory is shared by atomics.
    var taker: WorkTaker
    private let queue: WorkQueue<Message>
    // Copies, and `isDue` is mutating, though it is not: else each job would have the type of `queue` looked up, and us copied.
    private let messageSize: Int?
    @usableFromInline let checks: MessageChecks?
    private let maximumAttempts: Int
    private var deadLetters: DeadLetters<Message>

    init(_ membership: Membership, _ queue: WorkQueue<Message>, _ waiting: Waiting) {
        taker = WorkTaker(membership, waiting)
        self.queue = queue
        messageSize = queue.messageSize
        checks = queue.checks
        maximumAttempts = membership.memory.retryPolicy.maximumAttempts
        deadLetters = DeadLetters(queue, membership)
    }

    /// Takes the next job, waiting for it.
    ///
    /// What cannot be a message is not handed out: it becomes a dead letter at once, with the reason ``DeadLetter/Reason/invalid``, and
    /// the job after it comes.
    ///
    /// - Parameter deadline: How long to wait for a job. Blocks the thread.
    /// - Throws: ``IPC/IPCError/Code/timedOut``; ``IPC/IPCError/Code/corrupted`` if the log itself is damaged.
    public mutating func next(until deadline: Deadline = .never) throws(IPCError) -> Job<Message> {
        while let work = try taker.take(until: deadline) {
            if let job = job(work) { return job }
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
            if let job = job(work) { return job }
        }
        throw timedOut
    }

    /// - Returns: nil if it is to stop.
    nonisolated(nonsending) mutating func next(unless stopping: Stopping?) async throws(IPCError) -> Job<Message>? {
        while let work = try await taker.take(until: .never, unless: stopping) {
            if let job = job(work) { return job }
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
        while let work = try taker.poll() {
            if let job = job(work) { return job }
        }
        return nil
    }

    /// - Returns: False if it went to the dead letters instead.
    private mutating func isDue(_ work: TakenWork) -> Bool {
        guard work.state.attempts <= maximumAttempts else {
            deadLetters.bury(work)
            return false
        }
        if unsafe JobHeader.hasExpired(taker.membership.header(of: work)) {
            deadLetters.bury(work, .expired)
            return false
        }
        if deadLetters.isDue { deadLetters.retry() }
        if let size = messageSize, work.byteCount != size {
            buryInvalid(work)
            return false
        }
        return true
    }

    /// - Returns: nil if it went to the dead letters instead.
    @inline(__always)
    private mutating func job(_ work: TakenWork) -> Job<Message>? {
        guard isDue(work) else { return nil }
        return checks == nil ? Job(taker.membership, work) : checkedJob(work)
    }

    @inline(never)
    private mutating func checkedJob(_ work: TakenWork) -> Job<Message>? {
        guard let checks else { return Job(taker.membership, work) }
        do throws(MessageChecks.Invalid) {
            let copy = try unsafe checks.copy(taker.membership.payload(of: work), byteCount: work.byteCount)
            return unsafe Job(taker.membership, work, copy)
        } catch {
            buryInvalid(work)
            return nil
        }
    }

    /// What cannot be a message will not be one at the next attempt.
    @inline(never)
    private mutating func buryInvalid(_ work: TakenWork) {
        // A letter has nowhere to go. It stays this worker's, and so in nobody's way, until it leaves: then the letter is there again.
        if !queue.isOfDeadLetters { deadLetters.bury(work, .invalid) }
    }

    // For jobs that are lent. What is generic is inlined: Swift would look up the types of its results for each job.

    @usableFromInline
    mutating func takeLent(until deadline: Deadline) throws(IPCError) -> (
        work: TakenWork, payload: UnsafeRawBufferPointer
    ) {
        while let work = try taker.take(until: deadline) {
            guard isDue(work) else { continue }
            return unsafe (
                work, UnsafeRawBufferPointer(start: taker.membership.payload(of: work), count: work.byteCount)
            )
        }
        throw timedOut
    }

    @inlinable @inline(__always)
    mutating func lend<Value, Failure>(
        _ work: TakenWork, _ body: () throws(Failure) -> Value
    ) throws(IPCError) -> Result<Value, Failure> {
        let result: Result<Value, Failure>
        do throws(Failure) { result = .success(try body()) } catch { result = .failure(error) }
        if case .success = result { try finish(work, isDone: true) } else { try finish(work, isDone: false) }
        return result
    }

    @usableFromInline
    mutating func finish(_ work: TakenWork, isDone: Bool) throws(IPCError) {
        if isDone { try taker.membership.acknowledge(work) } else { taker.membership.giveBack(work) }
    }

    /// Leaves the queue, once its jobs are finished.
    public consuming func close() {}
}

/// A message that a worker has, until it acknowledges, rejects or releases it. Going out of scope rejects it; in a task that was
/// cancelled, it releases it.
///
/// It keeps its worker's place in the queue: a worker that went out of scope leaves when its last job is finished.
@safe
public struct Job<Message>: ~Copyable, @unchecked Sendable {
    // `@unchecked`: the frame is this job's alone until it is finished.
    private let membership: Membership
    private let work: TakenWork
    /// Of a type that has checks: what was checked, which nobody can change any more.
    private let copy: UnsafeMutableRawPointer?
    private var isFinished = false
    /// Whether its attempt counts, where that was said.
    private var isCounted: Bool?
    /// When it comes again, where that was said.
    private var delay: Duration?

    init(_ membership: Membership, _ work: TakenWork) {
        self.membership = membership
        self.work = work
        unsafe copy = nil
    }

    /// - Parameter copy: To be deallocated with it.
    init(_ membership: Membership, _ work: TakenWork, _ copy: UnsafeMutableRawPointer) {
        self.membership = membership
        self.work = work
        unsafe self.copy = copy
    }

    /// How often it was handed out, this time included.
    public var attempt: Int { work.state.attempts }
    /// Bytes of the message.
    public var byteCount: Int { work.byteCount }

    fileprivate var payload: UnsafeMutableRawPointer { unsafe copy ?? membership.payload(of: work) }

    deinit {
        unsafe copy?.deallocate()
        // Let go of because of a cancellation, it was not tried.
        if !isFinished { membership.giveBack(work, isCounted: isCounted ?? !Task.isCancelled, after: delay) }
    }

    /// Reports that the work is done: nobody gets it again.
    ///
    /// - Throws: ``IPC/IPCError/Code/leaseLost`` if this worker does not have it any more.
    public consuming func acknowledge() throws(IPCError) {
        isFinished = true
        try membership.acknowledge(work)
    }

    /// Why it is among the dead letters; nil of a job of another queue.
    public var deadLetter: DeadLetter? { unsafe JobHeader.letter(membership.header(of: work)) }

    /// Gives the work back: it goes to another worker, or to this one again, with its attempt counted.
    ///
    /// - Parameter delay: Not before so long; nil for what the queue's backoff says.
    public consuming func reject(after delay: Duration? = nil) {
        isCounted = true
        self.delay = delay
    }

    /// Gives the work back as if it had never been handed out, such as at a shutdown, or because it is another worker's: the attempt
    /// does not count.
    public consuming func release() { isCounted = false }
}

extension Worker where Message: BitwiseCopyable {
    /// Takes the next job, waiting for it, and acknowledges it when `body` returns, or rejects it if `body` throws. Unlike
    /// ``next(until:)`` it counts no references: the job cannot outlive the worker.
    ///
    /// ```swift
    /// struct Order: BitwiseCopyable { var number: UInt32 }
    /// var worker = try WorkQueue<Order>.create("orders").makeWorker()
    /// try worker.workNext(until: .after(.seconds(1))) { order in print(order.number) }
    /// ```
    ///
    /// - Returns: What `body` returned or threw.
    /// What cannot be a message becomes a dead letter, as in ``next(until:)``.
    ///
    /// - Throws: ``IPC/IPCError/Code/timedOut`` if no work came until the deadline; ``IPC/IPCError/Code/corrupted`` if the log itself is
    ///   damaged.
    @discardableResult @inlinable
    public mutating func workNext<Value, Failure>(
        until deadline: Deadline = .never, _ body: (Message) throws(Failure) -> Value
    ) throws(IPCError) -> Result<Value, Failure> {
        let (work, message) = try takeMessage(until: deadline)
        return try lend(work) { () throws(Failure) in try body(message) }
    }

    @inlinable @inline(__always)
    mutating func takeMessage(until deadline: Deadline) throws(IPCError) -> (TakenWork, Message) {
        if let checks { return try takeChecked(until: deadline, checks) }
        let (work, payload) = try unsafe takeLent(until: deadline)
        return unsafe (work, payload.loadUnaligned(as: Message.self))
    }

    @usableFromInline @inline(never)
    mutating func takeChecked(until deadline: Deadline, _ checks: MessageChecks) throws(IPCError) -> (
        TakenWork, Message
    ) {
        while true {
            let (work, payload) = try unsafe takeLent(until: deadline)
            // A size of 0 has no checks, so the buffer begins somewhere.
            if let message: Message = try? unsafe checks.value(at: payload.baseAddress!) { return (work, message) }
            buryInvalid(work)
        }
    }
}

extension Worker where Message == RawBytes {
    /// Takes the next job, waiting for it, lends its message where it lies in the log, and acknowledges it when `body` returns,
    /// or rejects it if `body` throws.
    @discardableResult @inlinable
    public mutating func workNext<Value, Failure>(
        until deadline: Deadline = .never, _ body: (RawSpan) throws(Failure) -> Value
    ) throws(IPCError) -> Result<Value, Failure> {
        let (work, payload) = try unsafe takeLent(until: deadline)
        return try lend(work) { () throws(Failure) in try body(unsafe payload.bytes) }
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
        guard !membership.memory.isInherited else { throw membership.memory.isInheritedError }
        return try unsafe body(RawSpan(_unsafeStart: payload, byteCount: byteCount))
    }
}
