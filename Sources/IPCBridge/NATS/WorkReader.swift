#if NATS
    import IPCChannels

    /// A job as a work queue gave it. One of the calls of its reader ends it; else it is given again after the acknowledgement wait.
    struct WorkMessage: Sendable {
        /// Nil for a job that an earlier process was given.
        let message: NATSMessage?
        let sequence: UInt64
        /// The number of this delivery among all of the consumer.
        let consumerSequence: UInt64
        /// How often it was given, this time included.
        let deliveries: Int
        fileprivate let reply: String

        fileprivate init(_ message: NATSMessage, _ delivery: Delivery, reply: String) {
            self.message = message
            (sequence, consumerSequence) = (delivery.streamSequence, delivery.consumerSequence)
            (deliveries, self.reply) = (delivery.deliveries, reply)
        }

        /// A job that an earlier process was given, to be ended by this one.
        init(stream: String, consumer: String, sequence: UInt64, consumerSequence: UInt64, deliveries: Int) {
            message = nil
            (self.sequence, self.consumerSequence, self.deliveries) = (sequence, consumerSequence, deliveries)
            reply = "$JS.ACK.\(stream).\(consumer).\(deliveries).\(sequence).\(consumerSequence).0.0"
        }
    }

    /// Takes jobs from a work queue: a durable consumer of this stream, which any number of readers on any machine share.
    ///
    /// One task takes; the other calls may be made from any.
    final class WorkReader: @unchecked Sendable {
        let stream: String
        let consumer: String
        private let connection: NATSConnection
        private let settings: JSONValue
        /// When the stream was made; nil for whatever stream has the name.
        private let created: String?
        // Of the task that takes.
        private var puller: Puller?

        /// - Parameters:
        ///   - created: When the stream was made, as its state says it: jobs of another stream of the same name are not taken.
        ///   - acknowledgementWait: When a job that was neither ended nor told to be in progress is given again.
        ///   - maximumDeliveries: How often a job is given; then it stays in the stream. Nil for no limit.
        ///   - maximumPending: How many jobs may be given and not ended, of all readers together.
        init(
            _ connection: NATSConnection, stream: String, created: String? = nil, consumer: String = "workers",
            acknowledgementWait: Duration = .seconds(30), maximumDeliveries: Int? = nil, maximumPending: Int = 65_536
        ) {
            self.connection = connection
            self.stream = stream
            self.consumer = consumer
            self.created = created
            settings = .members([
                ("durable_name", .string(consumer)), ("name", .string(consumer)), ("ack_policy", .string("explicit")),
                ("deliver_policy", .string("all")), ("replay_policy", .string("instant")),
                ("ack_wait", .integer(acknowledgementWait.nanoseconds)),
                ("max_deliver", .integer(maximumDeliveries ?? -1)), ("max_ack_pending", .integer(maximumPending)),
            ])
        }

        /// The next job.
        /// - Parameters:
        ///   - credit: How many jobs may be on their way to here, this one included. What was asked for with more credit before may
        ///     still come: give it back. 0 asks for none, and takes what comes.
        ///   - timeout: How long to wait; nil for as long as it takes.
        /// - Returns: Nil if none came in time.
        /// - Throws: `.refused` if there is no such stream, or only another one of the same name; `.cancelled`, `.closed`.
        func next(credit: Int = 1, timeout: Duration? = nil) async throws(BridgeError) -> WorkMessage? {
            let deadline = timeout.map { ContinuousClock.now + $0 }
            while true {
                guard let puller else {
                    if try await !makeConsumer(until: deadline) { return nil }
                    continue
                }
                switch try await puller.next(wanted: credit, exactly: true, until: deadline) {
                case .nothing: return nil
                case .gone, .quiet: self.puller = nil
                case .message(let message, let delivery):
                    guard let reply = message.reply else { continue }
                    return WorkMessage(message, delivery, reply: reply)
                }
            }
        }

        /// Whether the consumer is there, as far as is known.
        var isReady: Bool { puller != nil }

        /// Makes the consumer if it is not there.
        /// - Returns: False if there was no time.
        func prepare(for time: Duration) async throws(BridgeError) -> Bool {
            if puller != nil { return true }
            return try await makeConsumer(until: .now + time)
        }

        /// Whether `next` would return at once, or throw.
        var hasNews: Bool { puller?.mailbox.hasNews ?? false }

        /// - Returns: False if there was no time.
        private func makeConsumer(until deadline: ContinuousClock.Instant?) async throws(BridgeError) -> Bool {
            let body = JSONValue.members([("stream_name", .string(stream)), ("config", settings)])
            while true {
                do throws(BridgeError) {
                    if !connection.isConnected {
                        guard let deadline else {
                            try await connection.waitUntilConnected()
                            continue
                        }
                        try await connection.waitUntilConnected(for: deadline - .now)
                    }
                    _ = try await connection.api(
                        "CONSUMER.DURABLE.CREATE.\(stream).\(consumer)", body,
                        what: "to take jobs from the stream \(stream)",
                        timeout: deadline.map { min(.seconds(5), max($0 - .now, .milliseconds(1))) } ?? .seconds(5))
                    // The sequences of another stream are those of other jobs.
                    if let created, try await connection.streamState(stream, for: .seconds(5))?.created != created {
                        throw .refused(
                            what: "to take jobs from the stream \(stream)", code: 404, error: 0,
                            description: "it was made anew")
                    }
                    break
                } catch {
                    guard error.mayPass else { throw error }
                }
                if let deadline, deadline <= .now { return false }
                try await pause(.milliseconds(100))
            }
            puller = Puller(connection, stream: stream, consumer: consumer, isShared: true, maximumBytes: 0)
            return true
        }

        /// Ends a job: it is removed. Asked again until the server confirms it.
        /// - Throws: `.timedOut` or another reason when the time is over: it may be done or not.
        func acknowledge(_ work: WorkMessage, for time: Duration = .seconds(60)) async throws(BridgeError) {
            try await end(work, "+ACK", time)
        }

        /// Begins to end a job: the server's confirmation is sent to a subject.
        /// - Throws: What `publish` throws.
        func beginAcknowledging(_ work: WorkMessage, confirmTo subject: String) throws(BridgeError) {
            try connection.publish(work.reply, reply: subject, Array("+ACK".utf8))
        }

        /// Ends a job that nobody can do: it is not given again.
        func terminate(
            _ work: WorkMessage, reason: String = "", for time: Duration = .seconds(60)
        ) async throws(BridgeError) {
            try await end(work, reason.isEmpty ? "+TERM" : "+TERM \(reason)", time)
        }

        private func end(_ work: WorkMessage, _ word: String, _ time: Duration) async throws(BridgeError) {
            try await connection.retrying(for: time) { () throws(BridgeError) in
                do throws(BridgeError) {
                    _ = try await connection.request(work.reply, Array(word.utf8), timeout: .seconds(1))
                    return
                } catch {
                    guard case .timedOut = error else { throw error }
                }
                // A server that was killed may have forgotten that it gave this job: it takes no acknowledgement then, and would
                // give the job again. What counts is that the job is gone.
                if let created, try await connection.streamState(stream, for: .seconds(5))?.created != created {
                    return
                }
                let what = "to remove the job \(work.sequence) of the stream \(stream)"
                do throws(BridgeError) {
                    _ = try await connection.api(
                        "STREAM.MSG.DELETE.\(stream)",
                        .members([("seq", .integer(work.sequence)), ("no_erase", .bool(true))]), what: what)
                } catch {
                    guard case .refused = error, !error.mayPass,
                        try await connection.message(of: stream, work.sequence, for: .seconds(5)) == nil
                    else { throw error }
                }
            }
        }

        /// Gives a job back, to be given again at once or after a time. If it is lost on the way, the acknowledgement wait does it.
        func giveBack(_ work: WorkMessage, after delay: Duration = .zero) throws(BridgeError) {
            let text = delay > .zero ? "-NAK {\"delay\":\(delay.nanoseconds)}" : "-NAK"
            try connection.publish(work.reply, Array(text.utf8))
        }

        /// Says that a job is still worked on: the acknowledgement wait begins anew.
        func inProgress(_ work: WorkMessage) throws(BridgeError) {
            try connection.publish(work.reply, Array("+WPI".utf8))
        }

        /// How many jobs wait, how many are given and not ended, and how many of these were given more than once.
        func state(
            for time: Duration = .seconds(30)
        ) async throws(BridgeError) -> (waiting: UInt64, given: UInt64, redelivered: UInt64) {
            let json = try await connection.retrying(for: time) { () throws(BridgeError) -> JSONValue in
                try await connection.api(
                    "CONSUMER.INFO.\(stream).\(consumer)", what: "the state of the work queue \(stream)")
            }
            return (
                json.unsigned("num_pending") ?? 0, json.unsigned("num_ack_pending") ?? 0,
                json.unsigned("num_redelivered") ?? 0
            )
        }

        /// Takes nothing more. The durable consumer stays, and jobs that were not ended are given to others after their wait.
        func close() { puller = nil }
    }
#endif
