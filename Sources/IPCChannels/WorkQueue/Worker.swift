public import IPC

extension WorkQueue {
    /// A worker of a ``WorkQueue``. One thread at a time may use it; its jobs may be finished on any thread.
    public struct Worker: ~Copyable, @unchecked Sendable {
        // `@unchecked`: ownership limits it to one thread at a time; shared memory is accessed through atomics.
        var taker: JobTaker
        @usableFromInline let checks: MessageChecks?

        init(_ membership: Membership, _ queue: WorkQueue<Message>, _ waiting: WaitStrategy) {
            taker = JobTaker(membership, queue.channel, waiting)
            checks = queue.channel.type.checks
        }

        /// Takes the next job, waiting for it. Blocks the thread.
        ///
        /// An invalid message is not delivered. It becomes a dead letter at once, with the reason ``DeadLetter/Reason/invalid``,
        /// and the next job is taken instead.
        ///
        /// - Parameter deadline: How long to wait for a job.
        /// - Throws: ``/IPC/IPCError/Code/timedOut``; ``/IPC/IPCError/Code/corrupted`` if the log itself is damaged.
        public mutating func next(until deadline: Deadline = .never) throws(IPCError) -> WorkQueue<Message>.Job {
            while true {
                if let job = job(try taker.take(until: deadline)) { return job }
            }
        }

        /// Takes the next job, suspended until there is one.
        ///
        /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and no job was taken.
        public nonisolated(nonsending) mutating func next(
            until deadline: Deadline = .never
        ) async throws(IPCError) -> WorkQueue<Message>.Job {
            while true {
                guard let work = try await taker.take(until: deadline) else { throw taker.timedOut }
                if let job = job(work) { return job }
            }
        }

        /// - Returns: Nil if the worker is to stop.
        nonisolated(nonsending) mutating func next(unless stopping: Stopping?) async throws(IPCError) -> WorkQueue<
            Message
        >.Job? {
            while let work = try await taker.take(until: .never, unless: stopping) {
                if let job = job(work) { return job }
            }
            return nil
        }

        /// Takes the next job; nil if there is none.
        public mutating func tryNext() throws(IPCError) -> WorkQueue<Message>.Job? {
            while let work = try taker.poll() {
                if let job = job(work) { return job }
            }
            return nil
        }

        /// - Returns: Nil if it became a dead letter instead.
        @inline(__always)
        private mutating func job(_ work: TakenWork) -> WorkQueue<Message>.Job? {
            checks == nil ? Job(taker.membership, work) : checkedJob(work)
        }

        @inline(never)
        private mutating func checkedJob(_ work: TakenWork) -> WorkQueue<Message>.Job? {
            guard let checks else { return Job(taker.membership, work) }
            do throws(MessageChecks.Invalid) {
                let copy = try unsafe checks.copy(taker.membership.payload(of: work), byteCount: work.byteCount)
                return unsafe Job(taker.membership, work, copy)
            } catch {
                taker.moveInvalid(work)
                return nil
            }
        }

        // For jobs whose message is borrowed. The generic part is inlined: otherwise Swift would look up the result types for each
        // job.

        @usableFromInline
        mutating func takeLent(until deadline: Deadline) throws(IPCError) -> (
            work: TakenWork, payload: UnsafeRawBufferPointer
        ) {
            let work = try taker.take(until: deadline)
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
}

extension WorkQueue {
    /// A message that a worker has until it acknowledges, rejects or releases it. Dropping the job rejects it, or releases it in a
    /// cancelled task.
    ///
    /// A job keeps its worker's membership: a worker that went out of scope leaves the queue when its last job is finished.
    @safe
    public struct Job: ~Copyable, @unchecked Sendable {
        // `@unchecked`: the frame belongs to this job alone until it is finished.
        private let membership: Membership
        private let work: TakenWork
        /// For a type that has checks: a copy of the checked message, which no other process can change.
        private let copy: UnsafeMutableRawPointer?
        private var isFinished = false
        /// Whether the attempt counts; nil if not specified.
        private var isCounted: Bool?
        /// The delay until redelivery; nil if not specified.
        private var delay: Duration?

        init(_ membership: Membership, _ work: TakenWork) {
            self.membership = membership
            self.work = work
            unsafe copy = nil
        }

        /// - Parameter copy: Deallocated with the job.
        init(_ membership: Membership, _ work: TakenWork, _ copy: UnsafeMutableRawPointer) {
            self.membership = membership
            self.work = work
            unsafe self.copy = copy
        }

        /// The number of this delivery, starting at 1.
        public var attempt: Int { work.state.attempts }
        /// The size of the message in bytes.
        public var byteCount: Int { work.byteCount }

        var payload: UnsafeMutableRawPointer { unsafe copy ?? membership.payload(of: work) }

        var channelName: ChannelName { membership.memory.name }
        var position: ChannelPosition { ChannelPosition(channel: membership.memory.key, offset: work.position) }
        /// Where it comes from; nil if it was sent on this machine, and in a child process of fork.
        var origin: MessageOrigin? { membership.origin(of: work) }
        /// Throws in a child process that was forked while this process had the job.
        func checkInheritance() throws(IPCError) {
            if membership.memory.isInherited { throw membership.memory.isInheritedError }
        }

        deinit {
            unsafe copy?.deallocate()
            // A job dropped because of a cancellation was not attempted.
            if !isFinished { membership.giveBack(work, isCounted: isCounted ?? !Task.isCancelled, after: delay) }
        }

        /// Acknowledges the job: it is done and is never delivered again.
        ///
        /// - Throws: ``/IPC/IPCError/Code/leaseLost`` if this worker no longer has it.
        public consuming func acknowledge() throws(IPCError) {
            isFinished = true
            try membership.acknowledge(work)
        }

        /// Why it is a dead letter; nil if it is not one.
        public var deadLetter: DeadLetter? { unsafe JobHeader.letter(membership.header(of: work)) }

        /// Rejects the job: it is delivered again, to any worker, and the attempt counts.
        ///
        /// - Parameter delay: The minimum time until redelivery; nil for the queue's backoff.
        public consuming func reject(after delay: Duration? = nil) {
            isCounted = true
            self.delay = delay
        }

        /// Releases the job as if it had never been delivered, for example at shutdown, or because it is meant for another worker:
        /// the attempt does not count.
        public consuming func release() { isCounted = false }
    }
}

extension WorkQueue.Worker where Message: BitwiseCopyable {
    /// Takes the next job, waiting for it. Acknowledges it when `body` returns, or rejects it if `body` throws. Unlike
    /// `next(until:)`, it does no reference counting: the job cannot outlive the worker.
    ///
    /// ```swift
    /// struct Order: BitwiseCopyable { var number: UInt32 }
    /// var worker = try WorkQueue<Order>.openOrCreate("orders").makeWorker()
    /// try worker.workNext(until: .after(.seconds(1))) { order in print(order.number) }
    /// ```
    ///
    /// An invalid message becomes a dead letter, as in `next(until:)`.
    ///
    /// - Returns: What `body` returned.
    /// - Throws: What `body` throws; ``/IPC/IPCError/Code/timedOut`` if no job came until the deadline; ``/IPC/IPCError/Code/corrupted`` if the log
    ///   itself is damaged.
    @discardableResult @inlinable
    public mutating func workNext<Value>(
        until deadline: Deadline = .never, _ body: (Message) throws(IPCError) -> Value
    ) throws(IPCError) -> Value {
        let (work, message) = try takeMessage(until: deadline)
        return try lend(work) { () throws(IPCError) in try body(message) }.get()
    }

    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload @discardableResult @inlinable
    public mutating func workNext<Value>(
        until deadline: Deadline = .never, _ body: (Message) throws -> Value
    ) throws -> Value {
        let (work, message) = try takeMessage(until: deadline)
        return try lend(work) { try body(message) }.get()
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
            // A type of size 0 has no checks, so the buffer has a base address.
            if let message: Message = try? unsafe checks.value(at: payload.baseAddress!) { return (work, message) }
            taker.moveInvalid(work)
        }
    }
}

extension WorkQueue.Worker where Message == RawBytes {
    /// Takes the next job, waiting for it, and borrows its message in the log, without a copy. Acknowledges it when `body`
    /// returns, or rejects it if `body` throws.
    @discardableResult @inlinable
    public mutating func workNext<Value>(
        until deadline: Deadline = .never, _ body: (RawSpan) throws(IPCError) -> Value
    ) throws(IPCError) -> Value {
        let (work, payload) = try unsafe takeLent(until: deadline)
        return try lend(work) { () throws(IPCError) in try body(unsafe payload.bytes) }.get()
    }

    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload @discardableResult @inlinable
    public mutating func workNext<Value>(
        until deadline: Deadline = .never, _ body: (RawSpan) throws -> Value
    ) throws -> Value {
        let (work, payload) = try unsafe takeLent(until: deadline)
        return try lend(work) { try body(unsafe payload.bytes) }.get()
    }
}

extension WorkQueue.Job where Message: BitwiseCopyable {
    /// The message.
    public var message: Message { unsafe payload.loadUnaligned(as: Message.self) }
}

extension WorkQueue.Job where Message == RawBytes {
    /// Borrows the message in the log, without a copy.
    public borrowing func withBytes<Result>(
        _ body: (RawSpan) throws(IPCError) -> Result
    ) throws(IPCError) -> Result {
        try checkInheritance()
        return try unsafe body(RawSpan(_unsafeStart: payload, byteCount: byteCount))
    }
}

extension WorkQueue.Worker: ChannelSource {
    public mutating func readiness() -> ChannelReadiness { taker.readiness() }
}
