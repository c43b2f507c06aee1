#if NATS
    import IPCChannels
    import Synchronization

    /// A message of a stream.
    struct StreamMessage: Sendable {
        let message: NATSMessage
        let sequence: UInt64
        /// How many messages between the one before and this one the stream no longer has.
        let missed: UInt64
        /// When it was stored, in nanoseconds since 1970.
        let time: Int64
        /// How many come after it now.
        let pending: UInt64
    }

    /// Reads a stream in order and without acknowledgements: its owner keeps the sequence where it goes on.
    ///
    /// It has a consumer of its own on the server, in memory only. After a lost connection, a new leader, a heartbeat that did not
    /// come or a gap it makes another one after the last message: nobody sees a message twice, out of order, or not at all; what the
    /// limits of the stream dropped is told by `missed`. Of one task at a time; `nudge` is for any.
    final class StreamReader: @unchecked Sendable {
        enum Start: Sendable, Equatable {
            /// This sequence, or the first after it that the stream still has.
            case sequence(UInt64)
            /// What was stored at this time or later, in nanoseconds since 1970.
            case time(nanoseconds: Int64)
            /// What is stored from now on.
            case new
            /// The last message, and what follows.
            case last
            /// The last message of each subject, and what follows.
            case lastPerSubject
        }

        let stream: String
        private let created: String?
        private let connection: NATSConnection
        private let start: Start
        private let filter: String?
        private let window: Int
        private let windowBytes: Int
        private var consumer: (name: String, puller: Puller, sequence: UInt64)?
        /// The sequence of the message that was returned last; nil before the first.
        private(set) var lastSequence: UInt64?
        /// The sequence before the first one, as the server found it for `new`, `last` or a time: a later consumer begins there too.
        private var base: UInt64?
        /// How often a consumer was made: once, and again after each fault.
        private(set) var consumersMade = 0
        /// Whether nothing came after the last message when it was sent, or nothing was there when the consumer was made.
        private(set) var isAtEnd = false
        private let isHinted: Bool
        private let mailbox = Mutex<Mailbox?>(nil)
        /// The last sequence that the stream is known to have, if the consumer was asked for it; otherwise 0.
        private let hinted = Atomic<UInt64>(0)
        /// `lastSequence`, for other threads.
        private let taken = Atomic<UInt64>(0)

        /// - Parameters:
        ///   - created: The stream's ``StreamState/created``: another one of this name is not read. Nil to read any.
        ///   - filter: Only messages of this subject, which may have wildcards; `missed` then counts the others too.
        ///   - window: How many messages, and bytes, are asked for at once; up to twice of them wait here.
        ///   - isHinted: Whether somebody calls `nudge` when there is something in a stream that was idle. The server may say less often then that
        ///     the consumer is still there.
        init(
            _ connection: NATSConnection, stream: String, created: String? = nil, from start: Start,
            filter: String? = nil, window: Int = 1024,
            windowBytes: Int = 4 << 20, isHinted: Bool = false
        ) {
            self.connection = connection
            self.isHinted = isHinted
            self.stream = stream
            self.created = created
            self.start = start
            self.filter = filter
            self.window = window
            self.windowBytes = windowBytes
            if isHinted { connection.router.add(reader: self, of: stream) }
        }

        deinit {
            if isHinted { connection.router.removeReader(of: stream) }
            close()
        }

        /// The next message. Waits through lost connections and leaders.
        /// - Parameter timeout: How long; nil for as long as it takes.
        /// - Returns: Nil if none came in time.
        /// - Throws: `.refused` if there is no such stream, `.madeAnew`, `.cancelled`, `.closed`.
        func next(timeout: Duration? = nil) async throws(BridgeError) -> StreamMessage? {
            let deadline = timeout.map { ContinuousClock.now + $0 }
            while true {
                guard let (_, puller, sequence) = consumer else {
                    if try await !makeConsumer(until: deadline) { return nil }
                    continue
                }
                switch try await puller.next(wanted: window, exactly: false, until: deadline) {
                case .nothing: return nil
                case .gone: drop()
                case .quiet:
                    // What was hinted at may have come before the hint.
                    let hint = hinted.exchange(0, ordering: .relaxed)
                    if hint == 0 || hint > lastSequence ?? 0 { drop() }
                case .message(let message, let delivery):
                    guard delivery.consumerSequence == sequence + 1 else {
                        // One was lost on the way.
                        drop()
                        continue
                    }
                    consumer!.sequence += 1
                    return taken(message, delivery)
                }
            }
        }

        /// Makes the consumer, so that `isAtEnd` is known and `new` begins now.
        /// - Returns: False if there was no time.
        func prepare(timeout: Duration? = nil) async throws(BridgeError) -> Bool {
            if consumer != nil { return true }
            return try await makeConsumer(until: timeout.map { .now + $0 })
        }

        private func taken(_ message: NATSMessage, _ delivery: Delivery) -> StreamMessage {
            let expected: UInt64
            if let lastSequence {
                expected = lastSequence + 1
            } else if case .sequence(let first) = start {
                expected = max(first, 1)
            } else {
                expected = delivery.streamSequence
            }
            lastSequence = delivery.streamSequence
            taken.store(delivery.streamSequence, ordering: .relaxed)
            isAtEnd = delivery.pending == 0
            let missed = delivery.streamSequence > expected ? delivery.streamSequence - expected : 0
            return StreamMessage(
                message: message, sequence: delivery.streamSequence, missed: missed, time: delivery.time,
                pending: delivery.pending)
        }

        /// Says that the stream has this sequence: if it does not come within a second, the consumer is made anew.
        func nudge(knownSequence sequence: UInt64) {
            guard taken.load(ordering: .relaxed) < sequence else { return }
            hinted.store(sequence, ordering: .relaxed)
            mailbox.withLock { $0 }?.interrupt()
        }

        /// Takes the consumer from the server. `next` may be called again: it goes on after the last message.
        func close() { drop() }

        private func drop() {
            guard let consumer else { return }
            self.consumer = nil
            mailbox.withLock { $0 = nil }
            delete(consumer.name)
        }

        /// A consumer would also vanish by itself. The answer goes to nobody.
        private func delete(_ consumer: String) {
            try? connection.publish(
                "$JS.API.CONSUMER.DELETE.\(stream).\(consumer)",
                reply: connection.router.prefix + connection.router.makeToken(), [])
        }

        /// - Returns: False if there was no time.
        private func makeConsumer(until deadline: ContinuousClock.Instant?) async throws(BridgeError) -> Bool {
            var patience = Duration.seconds(1)
            while true {
                do throws(BridgeError) {
                    if !connection.isConnected {
                        guard let deadline else {
                            try await connection.waitUntilConnected()
                            continue
                        }
                        try await connection.waitUntilConnected(for: deadline - .now)
                    }
                    try await askForConsumer(
                        timeout: deadline.map { min(patience, max($0 - .now, .milliseconds(1))) } ?? patience)
                    return true
                } catch {
                    guard error.mayPass else { throw error }
                }
                if let deadline, deadline <= .now { return false }
                // With some spread: after a fault, all readers ask together.
                patience = min(patience * Double.random(in: 1.5...2.5), .seconds(10))
                try await pause(.milliseconds(100))
            }
        }

        /// Asks once, for a consumer of a new name.
        ///
        /// A cluster gives each consumer to one of its servers, for a minute or two also to one that was killed. Under its old name it would
        /// stay there; under another one it may be given to a server that lives.
        private func askForConsumer(timeout: Duration) async throws(BridgeError) {
            let name = "r" + connection.router.makeToken() + "-" + String(UInt64.random(in: 0 ... .max), radix: 36)
            let puller = Puller(
                connection, stream: stream, consumer: name, isShared: false, maximumBytes: windowBytes,
                idleHeartbeat: isHinted ? .seconds(280) : .seconds(30))
            let body = JSONValue.members([
                ("stream_name", .string(stream)), ("action", .string("create")), ("config", configuration(name)),
            ])
            do throws(BridgeError) {
                let json = try await connection.api(
                    "CONSUMER.CREATE.\(stream).\(name)", body, what: "to read the stream \(stream)", timeout: timeout)
                // After it, since the consumer is of the stream that there was then.
                if let created, try await connection.streamState(stream)?.created != created {
                    throw .madeAnew(stream: stream)
                }
                isAtEnd = json.unsigned("num_pending") == 0
                if base == nil, start != .lastPerSubject { base = json["delivered"]?.unsigned("stream_seq") }
            } catch {
                delete(name)
                throw error
            }
            consumersMade += 1
            consumer = (name, puller, 0)
            mailbox.withLock { $0 = puller.mailbox }
        }

        private func configuration(_ name: String) -> JSONValue {
            var policy = "by_start_sequence"
            var sequence: UInt64?
            var time: String?
            switch (lastSequence, start) {
            case (let last?, _): sequence = last + 1
            case (nil, _) where base != nil: sequence = base! + 1
            case (nil, .sequence(let first)): sequence = max(first, 1)
            case (nil, .time(let nanoseconds)):
                policy = "by_start_time"
                time = text(ofTime: nanoseconds)
            case (nil, .new): policy = "new"
            case (nil, .last): policy = "last"
            case (nil, .lastPerSubject): policy = "last_per_subject"
            }
            return .members([
                ("name", .string(name)), ("deliver_policy", .string(policy)),
                ("opt_start_seq", sequence.map { .integer($0) }), ("opt_start_time", time.map { .string($0) }),
                ("filter_subject", (filter ?? (policy == "last_per_subject" ? ">" : nil)).map { .string($0) }),
                ("ack_policy", .string("none")), ("replay_policy", .string("instant")), ("max_deliver", .integer(-1)),
                ("mem_storage", .bool(true)), ("inactive_threshold", .integer(Duration.seconds(60).nanoseconds)),
            ])
        }
    }

    /// A time in nanoseconds since 1970 as RFC 3339 writes it, in UTC.
    func text(ofTime nanoseconds: Int64) -> String {
        func padded(_ number: Int64, _ width: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        let (days, within) = nanoseconds.floorDivided(by: 86_400_000_000_000)
        // Days of eras of 400 years that begin in March (Hinnant, "chrono-compatible low-level date algorithms").
        let (era, day) = (days + 719_468).floorDivided(by: 146_097)
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365
        let dayOfYear = day - (365 * year + year / 4 - year / 100)
        let month = (5 * dayOfYear + 2) / 153
        let dayOfMonth = dayOfYear - (153 * month + 2) / 5 + 1
        let civilMonth = month < 10 ? month + 3 : month - 9
        let civilYear = year + era * 400 + (civilMonth <= 2 ? 1 : 0)
        let seconds = within / 1_000_000_000
        return padded(civilYear, 4) + "-" + padded(civilMonth, 2) + "-" + padded(dayOfMonth, 2) + "T"
            + padded(seconds / 3600, 2) + ":" + padded(seconds / 60 % 60, 2) + ":" + padded(seconds % 60, 2) + "."
            + padded(within % 1_000_000_000, 9) + "Z"
    }

    extension Int64 {
        fileprivate func floorDivided(by divisor: Int64) -> (Int64, Int64) {
            let quotient = self >= 0 ? self / divisor : (self - divisor + 1) / divisor
            return (quotient, self - quotient * divisor)
        }
    }
#endif
