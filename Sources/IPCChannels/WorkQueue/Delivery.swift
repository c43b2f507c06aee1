public import IPC

/// A job as an element of a sequence. Letting go of it rejects it.
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
/// One thread at a time may use it.
public final class Delivery<Message>: @unchecked Sendable {
    // `@unchecked`: the job is one thread's at a time.
    private var job: Job<Message>?
    /// How often it was handed out, this time included.
    public let attempt: Int

    package init(_ job: consuming Job<Message>) {
        attempt = job.attempt
        self.job = consume job
    }

    /// Reports that the work is done: nobody gets it again.
    ///
    /// - Throws: ``IPC/IPCError/Code/invalidArgument`` if it was acknowledged or rejected before.
    public func acknowledge() throws(IPCError) {
        guard let job = job.take() else { throw isFinished }
        try job.acknowledge()
    }

    /// Gives the work back: it goes to another worker, or to this one again, with its attempt counted.
    public func reject() { _ = job.take() }

    private var isFinished: IPCError {
        IPCError(
            .invalidArgument, "job", String(describing: Message.self),
            advice: "it was acknowledged or rejected before; use what it carries first")
    }

    fileprivate func lend<Result>(
        _ body: (borrowing Job<Message>) throws(IPCError) -> Result
    ) throws(IPCError) -> Result {
        guard job != nil else { throw isFinished }
        return try body(job!)
    }
}

extension Delivery where Message: BitwiseCopyable {
    /// The message.
    ///
    /// - Precondition: It was not acknowledged or rejected yet.
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
    /// Works until its task is cancelled: then no more jobs are taken, those under way see their own tasks cancelled, and are
    /// waited for.
    ///
    /// - Parameters:
    ///   - concurrency: How many jobs are worked at a time.
    ///   - handler: Runs in a task of its own for each job, which is acknowledged when it returns, and rejected if it throws,
    ///     unless it has done so itself.
    /// - Throws: When the queue is corrupted, or no worker may join.
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
        ) { (delivery: Delivery<Message>) in
            do {
                try await handler(delivery)
                try? delivery.acknowledge()
            } catch {
                delivery.reject()
            }
        }
    }
}
