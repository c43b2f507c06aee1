#if NATS
    import IPC
    import IPCChannels
    import Logging
    import Synchronization

    /// Carries jobs of one machine, perhaps of this one, from its stream to the workers of this machine: as many as they can take.
    struct JobImport: Carrier {
        let context: CarrierContext
        let origin: Machine

        func run() async throws {
            let channel = try context.openChannel()
            guard channel.pattern == .workQueue else {
                throw Refusal(
                    "\(context.name) is \(channel.pattern) on \(context.machine), and a work queue on \(origin); give one of them another name"
                )
            }
            let connection = context.connection
            try await connection.waitUntilConnected()
            let stream = context.names.stream(.queue, of: origin, context.name)
            guard let state = try await connection.streamState(stream) else {
                throw StartAnew("\(origin) has not made the stream \(stream) yet")
            }
            try TopicSchema.check(channel, context.machine, against: state.metadata, of: origin, context.name)
            try await JobImporter(context, channel, origin, stream).run()
        }
    }

    private final class JobImporter: @unchecked Sendable {
        // `@unchecked`: one task uses it; others end jobs by the reader.
        private let context: CarrierContext
        private let channel: AnyChannel
        private let origin: Machine
        private let reader: WorkReader
        private var writer: ChannelWriter
        /// The jobs that are here and not acknowledged there, by sequence.
        private var flights: [UInt64: Flight] = [:]
        /// Sequences of acknowledgements that the server has confirmed.
        private let confirmed = Confirmed()
        private var window = CreditWindow()

        private struct Flight {
            let position: ChannelPosition
            var work: WorkMessage
            var isEnding = false
            var nextSign: ContinuousClock.Instant
        }

        private final class Confirmed: Sendable {
            private let sequences = Mutex<[(UInt64, Bool)]>([])
            func add(_ sequence: UInt64, _ isDone: Bool) { sequences.withLock { $0.append((sequence, isDone)) } }
            func take() -> [(UInt64, Bool)] {
                sequences.withLock { sequences in
                    defer { sequences = [] }
                    return sequences
                }
            }
        }

        init(
            _ context: CarrierContext, _ channel: AnyChannel, _ origin: Machine, _ stream: String
        ) throws(IPCError) {
            (self.context, self.channel, self.origin) = (context, channel, origin)
            reader = WorkReader(
                context.connection, stream: stream, acknowledgementWait: context.rule.acknowledgementWait)
            writer = try channel.makeWriter()
            // What a predecessor has written is here already.
            for message in try writer.messages(from: origin.hash) {
                let sequence = message.origin.sequence
                let work = WorkMessage(
                    stream: stream, consumer: reader.consumer, sequence: sequence, consumerSequence: message.origin.position >> 16,
                    deliveries: Int(message.origin.position & 0xffff))
                flights[sequence] = Flight(position: message.position, work: work, nextSign: .now)
            }
        }

        private var sign: Duration { context.rule.acknowledgementWait / 3 }
        /// How often it is looked what became of jobs.
        private static let look = Duration.milliseconds(1)

        func run() async throws {
            var workers = 0
            var nextCount = ContinuousClock.now
            // The tasks that end jobs on the server are finished when this is.
            try await withThrowingDiscardingTaskGroup { group in
                while true {
                    if nextCount <= .now {
                        workers = try LocalReaders.count(channel)
                        nextCount = .now + (flights.isEmpty && workers == 0 ? LocalReaders.interval : .milliseconds(100))
                    }
                    try look(hasWorkers: workers > 0, &group)
                    context.status.setBehind(UInt64(flights.count))
                    let credit = window.credit(workers: workers, open: flights.count)
                    if credit == 0, flights.isEmpty {
                        context.status.set(.waiting("no worker has joined on this machine"))
                        try await Task.sleep(for: LocalReaders.interval)
                        continue
                    }
                    context.status.set(.carrying)
                    // Idle, it is only looked whether there are still workers.
                    let timeout = flights.isEmpty ? Duration.seconds(5) : Self.look
                    if flights.isEmpty { nextCount = .now }
                    guard let work = try await reader.next(credit: credit, timeout: timeout) else { continue }
                    try await receive(work, &group)
                    // What else has come already.
                    var more = credit - 1
                    while more > 0, let work = try await reader.next(credit: more, timeout: .zero) {
                        try await receive(work, &group)
                        more -= 1
                    }
                }
            }
        }

        // MARK: What comes

        private func receive(
            _ work: WorkMessage, _ group: inout ThrowingDiscardingTaskGroup<any Error>
        ) async throws {
            if work.deliveries > 1 { context.status.addRedelivered(1) }
            if flights[work.sequence] != nil {
                // It is here already. The newer delivery is the one to be acknowledged.
                flights[work.sequence]!.work = work
                flights[work.sequence]!.nextSign = .now + sign
                return
            }
            guard let message = work.message else { return }
            guard let envelope = envelope(of: message), envelope.header.kind == .job else { return end(work, &group) }
            let bytes = message.withBytes { Array($0[envelope.records[0].range]) }
            let mark = MessageOrigin(
                machine: origin.hash, channel: envelope.header.incarnation,
                position: work.consumerSequence << 16 | UInt64(min(work.deliveries, 0xffff)), sequence: work.sequence)
            let position: ChannelPosition
            do {
                position = try await writer.write(bytes.span.bytes, origin: mark, until: .after(.seconds(1)))
            } catch {
                // The queue is full, or the job does not fit into it.
                let isFull = error.code == .timedOut
                try? reader.giveBack(work, after: isFull ? .milliseconds(100) : .seconds(1))
                if isFull { return }
                throw refusal(error)
            }
            flights[work.sequence] = Flight(position: position, work: work, nextSign: .now + sign)
            context.status.addCarried(1, bytes: bytes.count)
        }

        private func refusal(_ error: IPCError) -> any Error {
            guard error.code == .messageTooLarge || error.code == .invalidArgument else { return error }
            return Refusal("a job of \(context.name) from \(origin) cannot be written on \(context.machine): \(error)")
        }

        /// Nil if a message is not one of that machine's bridge.
        private func envelope(of message: NATSMessage) -> Envelope? {
            do throws(EnvelopeError) {
                let envelope = try message.withSpan { (body) throws(EnvelopeError) in try Envelope(reading: body) }
                if envelope.header.machine == origin.hash, envelope.records.count == 1,
                    envelope.header.kind == .job || envelope.header.kind == .void
                {
                    return envelope
                }
                throw EnvelopeError(reason: "it is not a job of \(origin)")
            } catch {
                context.logger.warning(
                    "a message was ignored", metadata: ["channel": "\(context.name)", "reason": "\(error)"])
                context.status.addDropped(1)
                return nil
            }
        }

        /// Ends what is not a job here.
        private func end(_ work: WorkMessage, _ group: inout ThrowingDiscardingTaskGroup<any Error>) {
            let reader = reader
            group.addTask { try? await reader.acknowledge(work) }
        }

        // MARK: What becomes of it

        private func look(
            hasWorkers: Bool, _ group: inout ThrowingDiscardingTaskGroup<any Error>
        ) throws(IPCError) {
            for (sequence, isDone) in confirmed.take() {
                // What is not confirmed is asked for again.
                if isDone { flights[sequence] = nil } else { flights[sequence]?.isEnding = false }
            }
            var (done, open) = (0, 0)
            for (sequence, flight) in flights where !flight.isEnding {
                switch try writer.jobState(at: flight.position) {
                case .acknowledged, .movedToDeadLetters, .gone:
                    done += 1
                    flights[sequence]!.isEnding = true
                    let (reader, confirmed, work) = (reader, confirmed, flight.work)
                    group.addTask {
                        do {
                            try await reader.acknowledge(work, for: .seconds(10))
                            confirmed.add(sequence, true)
                        } catch { confirmed.add(sequence, false) }
                    }
                case .taken: try goOn(sequence, flight)
                case .waiting:
                    open += 1
                    // With no worker it is not in progress; where this bridge also carries out, it leaves again.
                    if hasWorkers || !context.rule.direction.isOut { try goOn(sequence, flight) }
                }
            }
            window.adapt(done: done, open: open)
        }

        private func goOn(_ sequence: UInt64, _ flight: Flight) throws(IPCError) {
            guard flight.nextSign <= .now else { return }
            flights[sequence]!.nextSign = .now + sign
            // If it cannot be said, it is said again with the next connection.
            try? reader.inProgress(flight.work)
        }
    }

    /// How many jobs may be here that no worker has finished: grows while the workers are faster, and falls while jobs wait.
    struct CreditWindow {
        private var size = 0
        private static let most = 1024

        func credit(workers: Int, open: Int) -> Int {
            workers == 0 ? 0 : max(0, max(size, workers * 2) - open)
        }

        /// - Parameters:
        ///   - done: The jobs that were finished since the last look.
        ///   - open: The jobs that no worker has taken yet.
        mutating func adapt(done: Int, open: Int) {
            if done > 0, open <= done { size = min(max(size * 2, done * 2), Self.most) } else if open > 0, done == 0 { size /= 2 }
        }
    }
#endif
