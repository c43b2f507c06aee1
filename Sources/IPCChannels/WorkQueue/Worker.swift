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
    /// - Throws: ``IPC/IPCError/Code/timedOut``; ``IPC/IPCError/Code/corrupted`` if a producer that is not of this library sent
    ///   what cannot be a message, such as a number in the place of an enumeration that is none of its cases: that is given
    ///   back, and goes to the dead letters after as many attempts as any other.
    public mutating func next(until deadline: Deadline = .never) throws(IPCError) -> Job<Message> {
        try job(take(until: deadline))
    }

    private mutating func take(until deadline: Deadline) throws(IPCError) -> TakenWork {
        while let work = try taker.take(until: deadline) {
            if try isDue(work) { return work }
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
            if try isDue(work) { return try job(work) }
        }
        throw timedOut
    }

    /// - Returns: nil if it is to stop.
    nonisolated(nonsending) mutating func next(unless stopping: Stopping?) async throws(IPCError) -> Job<Message>? {
        while let work = try await taker.take(until: .never, unless: stopping) {
            if try isDue(work) { return try job(work) }
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
            if try isDue(work) { return try job(work) }
        }
        return nil
    }

    /// - Returns: False if it went to the dead letters instead.
    private mutating func isDue(_ work: TakenWork) throws(IPCError) -> Bool {
        // First, so that what cannot be a message does not come again and again for ever.
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
            taker.membership.giveBack(work, .invalid)
            throw taker.membership.memory.corrupted("a message has \(work.byteCount) bytes instead of \(size)")
        }
        return true
    }

    /// A job of work that is due.
    @inline(__always)
    private mutating func job(_ work: TakenWork) throws(IPCError) -> Job<Message> {
        checks == nil ? Job(taker.membership, work) : try checkedJob(work)
    }

    @inline(never)
    private mutating func checkedJob(_ work: TakenWork) throws(IPCError) -> Job<Message> {
        guard let checks else { return Job(taker.membership, work) }
        do throws(MessageChecks.Invalid) {
            let copy = try unsafe checks.copy(taker.membership.payload(of: work), byteCount: work.byteCount)
            return unsafe Job(taker.membership, work, copy)
        } catch {
            throw giveBack(work, error, checks)
        }
    }

    private mutating func giveBack(
        _ work: TakenWork, _ invalid: MessageChecks.Invalid, _ checks: MessageChecks
    ) -> IPCError {
        taker.membership.giveBack(work, .invalid)
        return checks.error(invalid, "next job", queue.name)
    }

    // For jobs that are lent. What is generic is inlined: Swift would look up the types of its results for each job.

    @usableFromInline
    mutating func takeLent(until deadline: Deadline) throws(IPCError) -> (
        work: TakenWork, payload: UnsafeRawBufferPointer
    ) {
        let work = try take(until: deadline)
        return unsafe (
            work, UnsafeRawBufferPointer(start: taker.membership.payload(of: work), count: work.byteCount)
        )
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
    /// - Throws: ``IPC/IPCError/Code/timedOut`` if no work came until the deadline; ``IPC/IPCError/Code/corrupted`` as
    ///   ``next(until:)``.
    @discardableResult @inlinable
    public mutating func workNext<Value, Failure>(
        until deadline: Deadline = .never, _ body: (Message) throws(Failure) -> Value
    ) throws(IPCError) -> Result<Value, Failure> {
        let (work, payload) = try unsafe takeLent(until: deadline)
        let message = unsafe checks == nil ? payload.loadUnaligned(as: Message.self) : try checked(work)
        return try lend(work) { () throws(Failure) in try body(message) }
    }

    @usableFromInline @inline(never)
    mutating func checked(_ work: TakenWork) throws(IPCError) -> Message {
        guard let checks else { return unsafe taker.membership.payload(of: work).loadUnaligned(as: Message.self) }
        do throws(MessageChecks.Invalid) {
            return try unsafe checks.value(at: taker.membership.payload(of: work))
        } catch {
            throw giveBack(work, error, checks)
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
