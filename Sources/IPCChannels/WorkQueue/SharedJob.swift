public import IPC

extension WorkQueue {
    /// A job as an element of a sequence. Dropping its last reference rejects it, or releases it in a cancelled task.
    ///
    /// ```swift
    /// struct Order: BitwiseCopyable { var number: UInt32 }
    /// let orders = try WorkQueue<Order>.openOrCreate("orders")
    /// for try await delivery in try orders.makeWorker().jobs() {
    ///     print(delivery.message.number)
    ///     try delivery.acknowledge()
    /// }
    /// ```
    ///
    /// Safe from any thread or task. The first one to finish the job succeeds; the others get an error.
    public final class SharedJob: @unchecked Sendable {
        // `@unchecked`: the lock guards all mutable state.
        private let lock = PrivateLock()
        private var job: WorkQueue<Message>.Job?
        /// The number of calls that borrow the job now, and how to return it when the last of them ends.
        private var lenders = 0
        private var isGivenBack = false
        private var isCounted = true
        private var delay: Duration?
        /// The number of this delivery, starting at 1.
        public let attempt: Int

        package init(_ job: consuming WorkQueue<Message>.Job) {
            attempt = job.attempt
            self.job = consume job
        }

        /// Acknowledges the job: it is done and is never delivered again.
        ///
        /// - Throws: ``/IPC/IPCError/Code/invalidArgument`` if it was finished before, or its bytes are borrowed now;
        ///   ``/IPC/IPCError/Code/leaseLost`` if this worker no longer has it.
        public func acknowledge() throws(IPCError) {
            guard let job = try take() else { throw isFinishedError }
            try job.acknowledge()
        }

        private func take() throws(IPCError) -> WorkQueue<Message>.Job? {
            try lock.withLock { () throws(IPCError) in
                guard lenders == 0 else {
                    throw IPCError(
                        .invalidArgument, "acknowledge job", String(describing: Message.self),
                        advice: "its bytes are borrowed now; acknowledge it after that")
                }
                return job.take()
            }
        }

        /// Rejects the job: it is delivered again, to any worker, and the attempt counts. Does nothing if the job was finished
        /// before.
        ///
        /// - Parameter delay: The minimum time until redelivery; nil for the queue's backoff.
        public func reject(after delay: Duration? = nil) { giveBack(isCounted: true, delay) }

        /// Why it is a dead letter; nil if it is not one, and once the job is finished.
        public var deadLetter: DeadLetter? { (try? lend { $0.deadLetter }) ?? nil }

        /// Releases the job as if it had never been delivered, for example at shutdown: the attempt does not count. Does nothing if
        /// the job was finished before.
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

        /// Called with the lock held.
        private func finishGivingBack() {
            guard lenders == 0, isGivenBack, let job = job.take() else { return }
            if isCounted { job.reject(after: delay) } else { job.release() }
        }

        /// Whether it was acknowledged, rejected or released.
        var isFinished: Bool { lock.withLock { job == nil || isGivenBack } }

        private var isFinishedError: IPCError {
            IPCError(
                .invalidArgument, "job", String(describing: Message.self),
                advice: "it was already acknowledged, rejected or released; use its message before that")
        }

        func lend<Result>(
            _ body: (borrowing WorkQueue<Message>.Job) throws(IPCError) -> Result
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
}

extension WorkQueue.SharedJob where Message: BitwiseCopyable {
    /// The message.
    ///
    /// - Precondition: The job was not acknowledged, rejected or released yet.
    public var message: Message {
        guard let message = try? lend({ $0.message }) else { preconditionFailure("the job is already finished") }
        return message
    }
}

extension WorkQueue.SharedJob where Message == RawBytes {
    /// Borrows the message in the log, without a copy.
    public func withBytes<Result>(_ body: (RawSpan) throws(IPCError) -> Result) throws(IPCError) -> Result {
        try lend { (job) throws(IPCError) in try job.withBytes(body) }
    }
}

extension WorkQueue.Worker {
    /// The jobs as an asynchronous sequence. One loop at a time; several jobs may be in progress.
    public consuming func jobs() -> ChannelSequence<WorkQueue<Message>.SharedJob> {
        let box = Box(self)
        return ChannelSequence { () async throws(IPCError) in WorkQueue.SharedJob(try await box.value.next()) }
    }
}

extension WorkQueue {
    /// Runs a worker until its task is cancelled. After that it takes no more jobs and starts no handler. The tasks of running
    /// handlers are cancelled and awaited. Jobs that they do not finish are released, so the attempt does not count.
    ///
    /// - Parameters:
    ///   - concurrency: The maximum number of jobs in progress.
    ///   - handler: Runs in its own task for each job. The job is acknowledged when it returns, and rejected if it throws,
    ///     unless the handler finished the job itself.
    /// - Throws: An error if the queue is corrupted or no worker may join; ``/IPC/IPCError/Code/leaseLost``.
    public nonisolated(nonsending) func work(
        concurrency: Int = 1, _ handler: @escaping @Sendable (WorkQueue<Message>.SharedJob) async throws -> Void
    ) async throws(IPCError) {
        try await work(concurrency: concurrency, until: nil, handler)
    }

    nonisolated(nonsending) func work(
        concurrency: Int, until stopping: Stopping?,
        _ handler: @escaping @Sendable (WorkQueue<Message>.SharedJob) async throws -> Void
    ) async throws(IPCError) {
        let worker = Box(try makeWorker())
        stopping?.add(worker.value.taker.membership)
        try await runConcurrently(
            concurrency,
            taking: { () async throws(IPCError) in
                guard let job = try await worker.value.next(unless: stopping) else { return nil }
                return SharedJob(job)
            }
        ) { (delivery: WorkQueue<Message>.SharedJob) throws(IPCError) in
            // Taken, then cancelled before its handler started.
            guard !Task.isCancelled else { return delivery.release() }
            do { try await handler(delivery) } catch {
                return Task.isCancelled ? delivery.release() : delivery.reject()
            }
            if !delivery.isFinished { try delivery.acknowledge() }
        }
    }
}
