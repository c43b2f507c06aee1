public import IPC

/// A job as an element of a sequence. Letting go of it rejects it; in a task that was cancelled, it releases it.
///
/// ```swift
/// struct Order: BitwiseCopyable { var number: UInt32 }
/// let orders = try WorkQueue<Order>.create("orders")
/// for try await delivery in try orders.makeWorker().jobs() {
///     print(delivery.message.number)
///     try delivery.acknowledge()
/// }
/// ```
///
/// Safe from any thread or task: the first of them that finishes it does so, and the others get an error.
public final class Delivery<Message>: @unchecked Sendable {
    // `@unchecked`: the lock guards all that changes.
    private let lock = PrivateLock()
    private var job: Job<Message>?
    /// How many have it lent at this moment, and how it is to be given back when the last of them is through.
    private var lenders = 0
    private var isGivenBack = false
    private var isCounted = true
    private var delay: Duration?
    /// How often it was handed out, this time included.
    public let attempt: Int

    package init(_ job: consuming Job<Message>) {
        attempt = job.attempt
        self.job = consume job
    }

    /// Reports that the work is done: nobody gets it again.
    ///
    /// - Throws: ``IPC/IPCError/Code/invalidArgument`` if it was finished before, or its bytes are lent at this moment;
    ///   ``IPC/IPCError/Code/leaseLost`` if this worker does not have it any more.
    public func acknowledge() throws(IPCError) {
        guard let job = try take() else { throw isFinishedError }
        try job.acknowledge()
    }

    private func take() throws(IPCError) -> Job<Message>? {
        try lock.withLock { () throws(IPCError) in
            guard lenders == 0 else {
                throw IPCError(
                    .invalidArgument, "acknowledge job", String(describing: Message.self),
                    advice: "its bytes are lent at this moment; acknowledge it after that")
            }
            return job.take()
        }
    }

    /// Gives the work back: it goes to another worker, or to this one again, with its attempt counted. Nothing happens if it was
    /// finished before.
    ///
    /// - Parameter delay: Not before so long; nil for what the queue's backoff says.
    public func reject(after delay: Duration? = nil) { giveBack(isCounted: true, delay) }

    /// Why it is among the dead letters; nil of a job of another queue, and once it is finished.
    public var deadLetter: DeadLetter? { (try? lend { $0.deadLetter }) ?? nil }

    /// Gives the work back as if it had never been handed out, such as at a shutdown: the attempt does not count. Nothing happens
    /// if it was finished before.
    public func release() { giveBack(isCounted: false) }

    private func giveBack(isCounted: Bool, _ delay: Duration? = nil) {
        lock.withLock {
            guard job != nil, !isGivenBack else { return }
            isGivenBack = true
            self.isCounted = isCounted
            self.delay = delay
            finishGivingBack()
        }
    }

    /// Under the lock.
    private func finishGivingBack() {
        guard lenders == 0, isGivenBack, let job = job.take() else { return }
        if isCounted { job.reject(after: delay) } else { job.release() }
    }

    /// Whether it was acknowledged, rejected or released.
    var isFinished: Bool { lock.withLock { job == nil || isGivenBack } }

    private var isFinishedError: IPCError {
        IPCError(
            .invalidArgument, "job", String(describing: Message.self),
            advice: "it was acknowledged, rejected or released before; use what it carries first")
    }

    fileprivate func lend<Result>(
        _ body: (borrowing Job<Message>) throws(IPCError) -> Result
    ) throws(IPCError) -> Result {
        try lock.withLock { () throws(IPCError) in
            guard job != nil, !isGivenBack else { throw isFinishedError }
            lenders += 1
        }
        defer {
            lock.withLock {
                lenders -= 1
                finishGivingBack()
            }
        }
        return try body(job!)
    }
}

extension Delivery where Message: BitwiseCopyable {
    /// The message.
    ///
    /// - Precondition: It was not acknowledged, rejected or released yet.
    public var message: Message {
        guard let message = try? lend({ $0.message }) else { preconditionFailure("the job was finished before") }
        return message
    }
}

extension Delivery where Message == RawBytes {
    /// Lends the message where it lies in the log.
    public func withBytes<Result>(_ body: (RawSpan) throws(IPCError) -> Result) throws(IPCError) -> Result {
        try lend { (job) throws(IPCError) in try job.withBytes(body) }
    }
}

extension Worker {
    /// The jobs as they come. One loop at a time; several may be under way.
    public consuming func jobs() -> ChannelSequence<Delivery<Message>> {
        let held = Held(self)
        return ChannelSequence { () async throws(IPCError) in Delivery(try await held.participant.next()) }
    }
}

extension WorkQueue {
    /// Works until its task is cancelled: then no more jobs are taken, and no handler is started. Those under way see their own
    /// tasks cancelled, and are waited for; what they do not finish is released, and so does not count as an attempt.
    ///
    /// - Parameters:
    ///   - concurrency: How many jobs are worked at a time.
    ///   - handler: Runs in a task of its own for each job, which is acknowledged when it returns, and rejected if it throws,
    ///     unless it has done so itself.
    /// - Throws: When the queue is corrupted, or no worker may join; ``IPC/IPCError/Code/leaseLost``.
    public nonisolated(nonsending) func work(
        concurrency: Int = 1, _ handler: @escaping @Sendable (Delivery<Message>) async throws -> Void
    ) async throws(IPCError) {
        try await work(concurrency: concurrency, until: nil, handler)
    }

    nonisolated(nonsending) func work(
        concurrency: Int, until stopping: Stopping?,
        _ handler: @escaping @Sendable (Delivery<Message>) async throws -> Void
    ) async throws(IPCError) {
        let worker = Held(try makeWorker())
        stopping?.add(worker.participant.taker.membership)
        try await runConcurrently(
            concurrency,
            taking: { () async throws(IPCError) in
                guard let job = try await worker.participant.next(unless: stopping) else { return nil }
                return Delivery(job)
            }
        ) { (delivery: Delivery<Message>) throws(IPCError) in
            // Taken, and then cancelled before its turn came.
            guard !Task.isCancelled else { return delivery.release() }
            do { try await handler(delivery) } catch {
                return Task.isCancelled ? delivery.release() : delivery.reject()
            }
            if !delivery.isFinished { try delivery.acknowledge() }
        }
    }
}
