#if NATS
    import Synchronization

    /// Publishes to a stream that has this one writer: many messages on their way at once, each stored exactly once and in order.
    ///
    /// Each message says which sequence the stream must have before it, so that one that was sent twice, or after a lost one, is
    /// refused by the server. After any doubt (no acknowledgement in time, the connection lost, a refusal, a hole) the writer is
    /// broken for good and says so by `.doubt`: its owner asks the stream for its last message and makes a new writer after it.
    ///
    /// One task sends; any may wait.
    final class StreamWriter: MessageReceiver, TimerTarget {
        private typealias Continuation = CheckedContinuation<BridgeError?, Never>
        private struct Waiter {
            let number: Int
            /// Nil: waits for room.
            let sequence: UInt64?
            let continuation: Continuation
        }
        private struct State {
            var acknowledged: UInt64
            var sent: UInt64
            let window: Int
            let windowBytes: Int
            /// Size and time of each message on its way, the oldest at `head`.
            var pending: [(bytes: Int, sent: ContinuousClock.Instant)] = []
            var head = 0
            var pendingBytes = 0
            /// When the server acknowledged something last.
            var heard = ContinuousClock.now
            var fault: BridgeError?
            var waiters: [Waiter] = []
            var issued = 0
            var armed: ContinuousClock.Instant?

            func hasRoom(_ bytes: Int) -> Bool {
                let count = pending.count - head
                return count == 0 || count < window && pendingBytes + bytes <= windowBytes
            }

            /// When the next acknowledgement is due. A slow network takes long for a full window, and acknowledges all the time.
            func deadline(_ timeout: Duration) -> ContinuousClock.Instant { max(pending[head].sent, heard) + timeout }

            /// Whether to wake who waits for room: not for each message.
            var isHalfEmpty: Bool { (pending.count - head) * 2 <= window && pendingBytes * 2 <= windowBytes }
        }
        private let state: Mutex<State>
        private let connection: NATSConnection
        private let token: String
        private let reply: String
        private let timeout: Duration
        private let mayBlock: Bool
        let stream: String
        let subject: String

        /// - Parameters:
        ///   - lastSequence: The last sequence that the stream has now: nothing else may be stored in it from here on.
        ///   - window: How many messages, and how many bytes, may be on their way; one message always may.
        ///   - timeout: How long it may take from one acknowledgement to the next. A new leader takes some seconds.
        ///   - mayBlock: As that of ``NATSConnection/publish(_:reply:headers:copying:mayBlock:)``.
        init(
            _ connection: NATSConnection, stream: String, subject: String, after lastSequence: UInt64,
            window: Int = 256, windowBytes: Int = 4 << 20, timeout: Duration = .seconds(5),
            mayBlock: Bool = false
        ) {
            self.connection = connection
            self.mayBlock = mayBlock
            self.stream = stream
            self.subject = subject
            self.timeout = timeout
            state = Mutex(
                State(
                    acknowledged: lastSequence, sent: lastSequence, window: max(window, 1), windowBytes: windowBytes))
            token = connection.router.makeToken()
            reply = connection.router.prefix + token + "."
            connection.router.add(self, for: token)
        }

        deinit { connection.router.remove(token) }

        /// All messages up to this sequence are stored.
        var acknowledged: UInt64 { state.withLock { $0.acknowledged } }

        /// The sequence of the message that was sent last.
        var sent: UInt64 { state.withLock { $0.sent } }

        /// Why the writer can no longer be used; nil if it can.
        var fault: BridgeError? { state.withLock { $0.fault } }

        /// Sends a message, and waits while the window is full.
        /// - Returns: The sequence that it will have once it is acknowledged.
        /// - Throws: `.doubt` for good; `.tooLarge`, `.cancelled` and `.closed` without having sent it.
        func send(_ bytes: [UInt8], headers: [(String, String)] = []) async throws(BridgeError) -> UInt64 {
            if !(try hasRoom(bytes.count)) { try await wait(for: nil) { $0.hasRoom(bytes.count) } }
            let sequence = state.withLock { state in
                state.sent += 1
                state.pending.append((bytes.count, .now))
                state.pendingBytes += bytes.count
                return state.sent
            }
            do throws(BridgeError) {
                try connection.publish(
                    subject, reply: reply + String(sequence),
                    headers: headers + [("Nats-Expected-Last-Sequence", String(sequence - 1))],
                    copying: bytes.span.bytes, mayBlock: mayBlock)
            } catch {
                if case .tooLarge = error {
                    state.withLock { state in
                        state.sent -= 1
                        state.pending.removeLast()
                        state.pendingBytes -= bytes.count
                    }
                    throw error
                }
                fail(error.description)
                throw .doubt(stream: stream, reason: error.description)
            }
            arm()
            return sequence
        }

        /// Waits until all messages up to this sequence are stored.
        func waitForAcknowledgement(of sequence: UInt64) async throws(BridgeError) {
            try await wait(for: sequence) { $0.acknowledged >= sequence }
        }

        private func hasRoom(_ bytes: Int) throws(BridgeError) -> Bool {
            let (fault, hasRoom) = state.withLock { ($0.fault, $0.hasRoom(bytes)) }
            if let fault { throw fault }
            return hasRoom
        }

        private func wait(
            for sequence: UInt64?, until isDone: @escaping @Sendable (borrowing State) -> Bool
        ) async throws(BridgeError) {
            while true {
                let number = state.withLock { state in
                    state.issued += 1
                    return state.issued
                }
                let fault = await withTaskCancellationHandler {
                    await withCheckedContinuation { (continuation: Continuation) in
                        let answer = state.withLock { state -> BridgeError?? in
                            if isDone(state) { return .some(nil) }
                            if let fault = state.fault { return fault }
                            if Task.isCancelled { return .cancelled }
                            state.waiters.append(Waiter(number: number, sequence: sequence, continuation: continuation))
                            return nil
                        }
                        if let answer { continuation.resume(returning: answer) }
                    }
                } onCancel: {
                    let waiter = state.withLock { state in
                        let index = state.waiters.firstIndex { $0.number == number }
                        return index.map { state.waiters.remove(at: $0) }
                    }
                    waiter?.continuation.resume(returning: .cancelled)
                }
                if let fault { throw fault }
                if state.withLock({ isDone($0) }) { return }
            }
        }

        private func arm() {
            state.withLock { state in
                guard state.armed == nil, state.head < state.pending.count else { return }
                let deadline = state.deadline(timeout)
                state.armed = deadline
                connection.timers.arm(self, at: deadline)
            }
        }

        /// The writer is broken from here on.
        private func fail(_ reason: String) {
            let waiters = state.withLock { state in
                if state.fault == nil { state.fault = .doubt(stream: stream, reason: reason) }
                defer { state.waiters = [] }
                return state.waiters
            }
            let fault = fault
            for waiter in waiters { waiter.continuation.resume(returning: fault) }
        }

        // MARK: Of the library's threads

        func receive(_ message: NATSMessage) {
            let sequence = message.subject.utf8.dropFirst(reply.utf8.count)
            guard let sequence = UInt64(Substring(sequence)) else { return }
            if message.status == 503 {
                return fail("nobody takes what is sent to \(subject): the stream was deleted or has no majority")
            }
            // The sequence in a refusal is no acknowledgement: it comes with the error in the same text.
            let acknowledgement = message.withBytes { Acknowledgement($0) }
            guard let acknowledgement, !acknowledgement.isError, acknowledgement.sequence == sequence else {
                return fail("the server refused a message: \(String(decoding: message.bytes, as: UTF8.self))")
            }
            let (isNext, ready) = state.withLock { state -> (Bool, [Waiter]) in
                guard state.fault == nil else { return (true, []) }
                guard sequence == state.acknowledged + 1, sequence <= state.sent else { return (false, []) }
                state.acknowledged = sequence
                state.heard = .now
                state.pendingBytes -= state.pending[state.head].bytes
                state.head += 1
                if state.head == state.pending.count || state.head >= 1024 {
                    state.pending.removeSubrange(..<state.head)
                    state.head = 0
                }
                guard !state.waiters.isEmpty else { return (true, []) }
                let isHalfEmpty = state.isHalfEmpty
                let isReady = { (waiter: Waiter) in waiter.sequence.map { $0 <= sequence } ?? isHalfEmpty }
                let ready = state.waiters.filter(isReady)
                state.waiters.removeAll(where: isReady)
                return (true, ready)
            }
            for waiter in ready { waiter.continuation.resume(returning: nil) }
            if !isNext { fail("the acknowledgement of sequence \(sequence) came out of order") }
        }

        static let connectionLost = "the connection was lost"

        func connectionWasLost() { fail(Self.connectionLost) }

        func connectionWasClosed() { fail("the connection was closed") }

        func timerFired(armed time: ContinuousClock.Instant) -> ContinuousClock.Instant? {
            let (isLate, next) = state.withLock { state -> (Bool, ContinuousClock.Instant?) in
                guard state.armed == time else { return (false, nil) }
                state.armed = nil
                guard state.fault == nil, state.head < state.pending.count else { return (false, nil) }
                let deadline = state.deadline(timeout)
                if deadline <= .now { return (true, nil) }
                state.armed = deadline
                return (false, deadline)
            }
            if isLate { fail("no acknowledgement came within \(timeout)") }
            return next
        }
    }

    /// What JetStream answers to a publication, `{"stream":"…","seq":7}`: read without the parser, as it comes with each message.
    struct Acknowledgement {
        let sequence: UInt64
        let isError: Bool

        init?(_ text: UnsafeRawBufferPointer) {
            guard let first = text.first, first == UInt8(ascii: "{") else { return nil }
            isError = Self.end(of: "\"error\":", in: text) != nil
            guard let start = Self.end(of: "\"seq\":", in: text) else {
                guard isError else { return nil }
                sequence = 0
                return
            }
            var number: UInt64 = 0
            var index = start
            while index < text.count, text[index] == UInt8(ascii: " ") { index += 1 }
            while index < text.count, case let digit = text[index] &- UInt8(ascii: "0"), digit < 10 {
                let (product, overflow) = number.multipliedReportingOverflow(by: 10)
                guard !overflow else { return nil }
                number = product &+ UInt64(digit)
                index += 1
            }
            guard index > start else { return nil }
            sequence = number
        }

        private static func end(of word: StaticString, in text: UnsafeRawBufferPointer) -> Int? {
            let length = word.utf8CodeUnitCount
            guard text.count >= length else { return nil }
            let pattern = UnsafeRawBufferPointer(start: word.utf8Start, count: length)
            for start in 0...(text.count - length)
            where text[start] == pattern[0] && text[start..<start + length].elementsEqual(pattern) {
                return start + length
            }
            return nil
        }
    }
#endif
