#if NATS
    import Synchronization

    /// How much may wait in a mailbox. One message always may.
    struct MailboxLimit: Sendable {
        let bytes: Int
        /// Called with each message for which there is no room, on a thread of the library.
        let drop: @Sendable (NATSMessage) -> Void
    }

    /// Where messages wait for one task that takes them.
    final class Mailbox: MessageReceiver, TimerTarget {
        private typealias Answer = Result<NATSMessage?, BridgeError>
        private typealias Continuation = CheckedContinuation<Answer, Never>
        private struct State {
            var messages: [NATSMessage] = []
            var head = 0
            /// Of the messages that wait.
            var bytes = 0
            /// What `next` throws once when no message is left.
            var notice: BridgeError?
            var isClosed = false
            /// When it was made, or asked to look whether its consumer is still there.
            var looked = ContinuousClock.now
            var lastHeartbeat = ContinuousClock.now
            var waiter: (continuation: Continuation, deadline: ContinuousClock.Instant?)?
            var armed: ContinuousClock.Instant?
        }
        private let state = Mutex(State())
        private let timers: Timers
        private let tellsOfLosses: Bool
        private let limit: MailboxLimit?
        private let end: @Sendable () -> Void
        /// Where to send what shall arrive here.
        let subject: String

        /// The consumer whose messages come here.
        private let source: (stream: String, consumer: String, isShared: Bool)?

        /// - Parameters:
        ///   - tellsOfLosses: Whether `next` throws `.connectionLost` once after each loss of the connection.
        ///   - limit: How much may wait; nil for no limit, where no more is sent than was asked for.
        ///   - source: A new leader of this stream or consumer is a loss as well.
        ///   - end: Called once when the mailbox is closed or forgotten.
        init(
            subject: String, timers: Timers, tellsOfLosses: Bool, limit: MailboxLimit? = nil,
            source: (stream: String, consumer: String, isShared: Bool)? = nil,
            end: @escaping @Sendable () -> Void
        ) {
            self.subject = subject
            self.timers = timers
            self.tellsOfLosses = tellsOfLosses
            self.limit = limit
            self.source = source
            self.end = end
        }

        deinit { close() }

        /// The next message, in the order of arrival.
        /// - Parameter timeout: How long to wait for it; nil for as long as it takes.
        /// - Returns: Nil if none came in time.
        /// - Throws: `.closed`, `.cancelled`, `.connectionLost` (what had arrived before is given first).
        func next(timeout: Duration? = nil) async throws(BridgeError) -> NATSMessage? {
            try await next(until: timeout.map { .now + $0 })
        }

        /// As `next(timeout:)`, until a time.
        func next(until deadline: ContinuousClock.Instant?) async throws(BridgeError) -> NATSMessage? {
            if let answer = state.withLock({ take(&$0) }) { return try answer.get() }
            let answer = await withTaskCancellationHandler {
                await withCheckedContinuation { (continuation: Continuation) in
                    let answer = state.withLock { state -> Answer? in
                        if let answer = take(&state) { return answer }
                        if Task.isCancelled { return .failure(.cancelled) }
                        if let deadline, deadline <= .now { return .success(nil) }
                        precondition(state.waiter == nil, "a mailbox has one consumer")
                        state.waiter = (continuation, deadline)
                        if let deadline, state.armed.map({ deadline < $0 }) ?? true {
                            state.armed = deadline
                            timers.arm(self, at: deadline)
                        }
                        return nil
                    }
                    if let answer { continuation.resume(returning: answer) }
                }
            } onCancel: {
                resume { _ in .failure(.cancelled) }
            }
            return try answer.get()
        }

        /// The next message if there is one already.
        func tryNext() -> NATSMessage? { state.withLock { takeMessage(&$0) } }

        /// Whether there is a message, or something to be thrown.
        var hasNews: Bool {
            state.withLock { $0.head < $0.messages.count || $0.notice != nil || $0.isClosed }
        }

        /// What comes later is dropped; a waiting `next` throws `.closed`.
        func close() {
            let isFirst = state.withLock { state in
                defer { state.isClosed = true }
                return !state.isClosed
            }
            guard isFirst else { return }
            end()
            resume { _ in .failure(.closed) }
        }

        private func takeMessage(_ state: inout State) -> NATSMessage? {
            guard state.head < state.messages.count else { return nil }
            let message = state.messages[state.head]
            state.head += 1
            state.bytes -= message.weight
            if state.head == state.messages.count {
                state.messages.removeAll(keepingCapacity: state.head <= 1024)
                state.head = 0
            } else if state.head >= 1024 {
                state.messages.removeSubrange(..<state.head)
                state.head = 0
            }
            return message
        }

        private func take(_ state: inout State) -> Answer? {
            if let message = takeMessage(&state) { return .success(message) }
            if state.isClosed { return .failure(.closed) }
            guard let notice = state.notice else { return nil }
            state.notice = nil
            return .failure(notice)
        }

        /// Resumes the task that waits, if there is one and something for it.
        private func resume(_ answer: (inout State) -> Answer?) {
            let resumed = state.withLock { state -> (waiter: Continuation, answer: Answer)? in
                guard let waiter = state.waiter, let answer = answer(&state) else { return nil }
                state.waiter = nil
                return (waiter.continuation, answer)
            }
            if let resumed { resumed.waiter.resume(returning: resumed.answer) }
        }

        /// When the consumer said last that it is there, or the mailbox was made.
        var lastHeartbeat: ContinuousClock.Instant { state.withLock { $0.lastHeartbeat } }

        func receive(_ message: NATSMessage) {
            // With a thousand consumers that have nothing, no task runs for these.
            if source != nil, message.status == 100 { return state.withLock { $0.lastHeartbeat = .now } }
            let isTaken = state.withLock { state in
                if let limit, state.bytes + message.weight > limit.bytes, state.bytes > 0 { return false }
                guard !state.isClosed else { return true }
                state.messages.append(message)
                state.bytes += message.weight
                return true
            }
            if !isTaken { limit?.drop(message) }
            resume { take(&$0) }
        }

        func connectionWasLost() {
            guard tellsOfLosses else { return }
            state.withLock { $0.notice = .connectionLost }
            resume { take(&$0) }
        }

        func leaderChanged(stream: String, consumer: String?) {
            guard let source else { return }
            // A consumer that was just made has its first leader. When streams of others have new ones, a server may be gone, and
            // our consumer with it: it is looked after, but not for each of many streams. A shared one tells of its own leader.
            let isOurs = stream == source.stream && consumer.map { $0 == source.consumer } ?? true
            let isDue = state.withLock { state in
                let now = ContinuousClock.now
                guard state.looked + (isOurs ? .seconds(2) : .seconds(10)) <= now else { return false }
                if isOurs || consumer == nil { state.looked = now }
                return true
            }
            guard isDue else { return }
            if isOurs { connectionWasLost() } else if consumer == nil, !source.isShared { interrupt() }
        }

        /// The server forbids what would arrive here: `next` throws that once.
        func refuse(_ error: BridgeError) {
            state.withLock { $0.notice = error }
            resume { take(&$0) }
        }

        /// A waiting `next`, or the next one that has no message, throws `.interrupted`.
        func interrupt() {
            state.withLock { if $0.notice == nil { $0.notice = .interrupted } }
            resume { take(&$0) }
        }

        func connectionWasClosed() { close() }

        func timerFired(armed time: ContinuousClock.Instant) -> ContinuousClock.Instant? {
            var late: Continuation?
            let next = state.withLock { state -> ContinuousClock.Instant? in
                guard state.armed == time else { return nil }
                state.armed = nil
                guard let waiter = state.waiter, let deadline = waiter.deadline else { return nil }
                if deadline <= .now {
                    late = waiter.continuation
                    state.waiter = nil
                } else {
                    state.armed = deadline
                }
                return state.armed
            }
            late?.resume(returning: .success(nil))
            return next
        }
    }
#endif
