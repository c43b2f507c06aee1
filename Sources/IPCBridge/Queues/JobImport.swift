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
            let connection = context.connection
            try await connection.waitUntilConnected()
            let stream = context.names.stream(.queue, of: origin, context.name)
            guard let state = try await connection.streamState(stream) else {
                throw StartAnew("\(origin) has not made the stream \(stream) yet")
            }
            try CarriedSchema.check(channel, context.machine, against: state.metadata, of: origin, context.name)
            try await JobImporter(context, channel, origin, state, stream).run()
        }
    }

    private final class JobImporter: @unchecked Sendable {
        // `@unchecked`: one task uses it; others end jobs by the reader.
        private let context: CarrierContext
        private let readers: LocalReaders
        private let origin: Machine
        private let reader: WorkReader
        private var writer: ChannelWriter
        /// The jobs that are here and not acknowledged there, by sequence.
        private var flights: [UInt64: Flight] = [:]
        private var table: FlightTable
        /// Where the server confirms acknowledgements, by sequence.
        private let confirmations: Mailbox
        /// Sequences of acknowledgements that had to be repeated.
        private let repeated = Repeated()
        private var window = CreditWindow()
        /// Up to when pauses of this process are dealt with.
        private var heeded = ContinuousClock.now
        private var lastChange = ContinuousClock.now
        private var behind = 0
        private var isCarrying = false
        /// When the stream was made.
        private let created: String
        /// That of the last job that came.
        private var subject: String?
        /// Jobs that this machine's queue cannot have, by sequence.
        private var unfit: Set<UInt64> = []

        private struct Flight {
            let slot: Int
            let position: ChannelPosition
            var work: WorkMessage
            /// When the server was told that it is done.
            var told: ContinuousClock.Instant?
            /// Whether another task tells it.
            var isRepeated = false
            var nextSign: ContinuousClock.Instant
        }

        private final class Repeated: Sendable {
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
            _ context: CarrierContext, _ channel: AnyChannel, _ origin: Machine, _ state: StreamState, _ stream: String
        ) throws {
            (self.context, self.origin, created) = (context, origin, state.created)
            readers = try LocalReaders(channel)
            reader = WorkReader(
                context.connection, stream: stream, created: state.created,
                acknowledgementWait: context.rule.acknowledgementWait)
            confirmations = context.connection.makeMailbox(tellsOfLosses: false)
            writer = try channel.makeWriter()
            table = try FlightTable(stream + ".flights", of: state.identity, in: context.root)
            if !table.isOfOtherStream { try findFlights(try channel.incarnation) }
        }

        /// What a predecessor has written is here already.
        private func findFlights(_ incarnation: UInt64) throws {
            let written = Dictionary(
                try writer.messages(from: origin.hash).map { ($0.origin.sequence, $0.position) },
                uniquingKeysWith: { $0.offset > $1.offset ? $0 : $1 })
            for entry in table.found {
                guard let position = entry.position ?? written[entry.sequence], flights[entry.sequence] == nil else {
                    table.end(entry.slot)
                    continue
                }
                // What became of it went with that queue. It may be done again; it is not lost.
                guard position.channel == incarnation else {
                    table.end(entry.slot)
                    giveBack(
                        WorkMessage(
                            stream: reader.stream, consumer: reader.consumer, sequence: entry.sequence,
                            consumerSequence: entry.consumerSequence, deliveries: entry.deliveries))
                    continue
                }
                table.note(entry.slot, position)
                add(entry.slot, position, entry.sequence, entry.consumerSequence, entry.deliveries)
            }
            // If the table was lost.
            for (sequence, position) in written where flights[sequence] == nil {
                switch try writer.jobState(at: position) {
                case .acknowledged, .movedToDeadLetters, .gone: continue
                case .waiting, .taken: break
                }
                let work = WorkMessage(
                    stream: reader.stream, consumer: reader.consumer, sequence: sequence, consumerSequence: 0,
                    deliveries: 1)
                guard let slot = table.begin(work) else { continue }
                table.note(slot, position)
                add(slot, position, sequence, 0, 1)
            }
        }

        private func add(
            _ slot: Int, _ position: ChannelPosition, _ sequence: UInt64, _ consumerSequence: UInt64, _ deliveries: Int
        ) {
            let work = WorkMessage(
                stream: reader.stream, consumer: reader.consumer, sequence: sequence,
                consumerSequence: consumerSequence,
                deliveries: deliveries)
            flights[sequence] = Flight(slot: slot, position: position, work: work, nextSign: .now)
        }

        /// How often the server is told that a job is still worked on. The bridge that started last says how long the server waits, and others
        /// may have been told otherwise: often enough for the shortest wait that there may be, within reason.
        private var sign: Duration { min(context.rule.acknowledgementWait / 3, .seconds(1)) }

        func run() async throws {
            Stalls.shared.begin()
            // The tasks that end jobs on the server are finished when this is.
            try await withThrowingDiscardingTaskGroup { group in
                while true { try await step(&group) }
            }
        }

        private func step(_ group: inout ThrowingDiscardingTaskGroup<any Error>) async throws {
            try Task.checkCancellation()
            let workers = try readers.count
            try look(hasWorkers: workers > 0, &group)
            if behind != flights.count {
                behind = flights.count
                context.status.setBehind(UInt64(behind))
            }
            if workers == 0, flights.isEmpty, !reader.hasNews {
                context.status.set(.waiting("no worker has joined on this machine"))
                isCarrying = false
                let (readers, reader) = (readers, reader)
                // What was asked for may still come.
                return try await Ticker.shared.wait { reader.hasNews || ((try? readers.count) ?? 1) > 0 }
            }
            var credit = credit(workers)
            if workers > 0, !isCarrying { context.status.set(.carrying) }
            isCarrying = workers > 0
            guard reader.isReady || credit > 0 else { return try await Task.sleep(for: pause(isIdle: false)) }
            guard try await reader.prepare(for: .seconds(2)) else { return }
            var timeout = workers == 0 && flights.isEmpty ? Duration.zero : pause(isIdle: flights.isEmpty && credit > 0)
            var left = FlightTable.count
            while left > 0, let work = try await reader.next(credit: credit, timeout: timeout) {
                guard try await !forgetsWhatCame() else { return }
                try await checkStream(work)
                try receive(work, hasRoom: credit > 0, &group)
                credit = max(0, credit - 1)
                timeout = .zero
                left -= 1
            }
        }

        private func credit(_ workers: Int) -> Int {
            guard workers > 0 else { return 0 }
            let load = readers.load(limit: FlightTable.count)
            return window.credit(workers: workers, busy: load.waiting + load.taken)
        }

        /// How long to wait for a job before it is looked again what became of those that are here.
        private func pause(isIdle: Bool) -> Duration {
            if isIdle { return .seconds(30) }
            let age = ContinuousClock.now - lastChange
            return age < .milliseconds(200)
                ? .milliseconds(1) : age < .seconds(5) ? .milliseconds(5) : .milliseconds(20)
        }

        /// Whether this process was held up for so long that what came meanwhile may be with another machine by now. Then it is dropped:
        /// if nobody has it, the server gives it again after the acknowledgement wait.
        private func forgetsWhatCame() async throws -> Bool {
            let wait = context.rule.acknowledgementWait
            guard Stalls.shared.wasHeldUp(longerThan: wait / 2, since: heeded) else { return false }
            reader.close()
            // What was sent before this comes before its answer.
            _ = try await context.connection.roundTrip()
            heeded = .now
            return true
        }

        /// A stream that was deleted and made anew gives other jobs the sequences of those that are here. They come with another subject, as
        /// those of a new era do.
        private func checkStream(_ work: WorkMessage) async throws {
            guard let subject = work.message?.subject, subject != self.subject else { return }
            guard try await context.connection.streamState(reader.stream)?.created == created else {
                throw StartAnew("the stream \(reader.stream) was made anew")
            }
            self.subject = subject
        }

        // MARK: What comes

        private func receive(
            _ work: WorkMessage, hasRoom: Bool, _ group: inout ThrowingDiscardingTaskGroup<any Error>
        ) throws {
            if work.deliveries > 1 { context.status.addRedelivered(1) }
            if flights[work.sequence] != nil {
                // It is here already. The newer delivery is the one to be acknowledged.
                flights[work.sequence]!.work = work
                flights[work.sequence]!.nextSign = .now + sign
                return
            }
            guard let message = work.message else { return }
            let envelope: Envelope
            do throws(EnvelopeError) { envelope = try self.envelope(of: message) } catch {
                context.logger.warning("a message was ignored", metadata: ["reason": "\(error)"])
                // Another machine's bridge may be able to read it.
                if error.isOtherVersion { return giveBack(work, after: .seconds(5)) }
                context.status.addDropped(1)
                return end(work, &group)
            }
            guard envelope.header.kind == .job else { return end(work, &group) }
            guard hasRoom, let slot = table.begin(work) else { return giveBack(work) }
            KillPoint.reach(.flightBegun)
            let bytes = message.withBytes { Array($0[envelope.records[0].range]) }
            let mark = MessageOrigin(
                machine: origin.hash, channel: envelope.header.incarnation, position: envelope.header.missed,
                sequence: work.sequence)
            let position: ChannelPosition?
            do throws(IPCError) { position = try writer.tryWrite(bytes.span.bytes, origin: mark) } catch {
                table.end(slot)
                giveBack(work, after: .seconds(5))
                return try refuse(work, error)
            }
            guard let position else {
                // The queue is full.
                table.end(slot)
                return giveBack(work, after: .milliseconds(100))
            }
            KillPoint.reach(.flightWritten)
            table.note(slot, position)
            KillPoint.reach(.flightNoted)
            flights[work.sequence] = Flight(slot: slot, position: position, work: work, nextSign: .now + sign)
            lastChange = .now
            context.status.addCarried(1, bytes: bytes.count)
        }

        /// If it does not arrive, the acknowledgement wait does it.
        private func giveBack(_ work: WorkMessage, after time: Duration = .zero) {
            try? reader.giveBack(work, after: time)
        }

        /// Passes by a job that this machine's queue cannot have, so that it does not hold up those that follow. Another machine may take it.
        private func refuse(_ work: WorkMessage, _ error: IPCError) throws(IPCError) {
            guard error.code == .messageTooLarge || error.code == .invalidArgument else { throw error }
            // It may come again and again: each is told once.
            if unfit.count == 1024 { unfit = [] }
            guard unfit.insert(work.sequence).inserted else { return }
            context.logger.error(
                "a job cannot be written on this machine, and waits for another one",
                metadata: ["from": "\(origin)", "sequence": "\(work.sequence)", "reason": "\(error)"])
            context.status.addDropped(1)
        }

        /// - Throws: If a message is not one of that machine's bridge.
        private func envelope(of message: NATSMessage) throws(EnvelopeError) -> Envelope {
            let envelope = try message.withSpan { (body) throws(EnvelopeError) in try Envelope(reading: body) }
            guard envelope.header.machine == origin.hash, envelope.records.count == 1,
                envelope.header.kind == .job || envelope.header.kind == .void
            else { throw EnvelopeError(reason: "it is not a job of \(origin)") }
            return envelope
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
            takeConfirmations()
            var (done, waiting) = (0, 0)
            for (sequence, flight) in flights {
                if let told = flight.told {
                    // A confirmation that did not come is asked for again.
                    if !flight.isRepeated, told + .seconds(1) <= .now {
                        repeatAcknowledging(sequence, flight.work, &group)
                    }
                    continue
                }
                switch try writer.jobState(at: flight.position) {
                case .acknowledged, .movedToDeadLetters, .gone:
                    done += 1
                    tellDone(sequence, flight.work)
                case .taken: goOn(sequence, flight)
                case .waiting:
                    waiting += 1
                    // With no worker it is not in progress; where this bridge also carries out, it leaves again.
                    if hasWorkers || !context.rule.direction.isOut { goOn(sequence, flight) }
                }
            }
            if done > 0 { lastChange = .now }
            window.adapt(done: done, waiting: waiting)
        }

        private func tellDone(_ sequence: UInt64, _ work: WorkMessage) {
            KillPoint.reach(.flightDone)
            do throws(BridgeError) {
                try reader.beginAcknowledging(work, confirmTo: "\(confirmations.subject).\(sequence)")
                flights[sequence]!.told = .now
            } catch {
                // There is no connection: at the next look.
            }
        }

        private func takeConfirmations() {
            while let message = confirmations.tryNext() {
                // 503: nobody took it, as there is no majority.
                guard message.status == nil, let token = message.subject.split(separator: ".").last,
                    let sequence = UInt64(token), flights[sequence]?.isRepeated == false
                else { continue }
                forget(sequence)
            }
            for (sequence, isDone) in repeated.take() {
                if isDone {
                    forget(sequence)
                } else {
                    flights[sequence]?.told = nil
                    flights[sequence]?.isRepeated = false
                }
            }
        }

        private func forget(_ sequence: UInt64) {
            KillPoint.reach(.flightAcknowledged)
            if let flight = flights.removeValue(forKey: sequence) { table.end(flight.slot) }
            lastChange = .now
        }

        private func repeatAcknowledging(
            _ sequence: UInt64, _ work: WorkMessage, _ group: inout ThrowingDiscardingTaskGroup<any Error>
        ) {
            flights[sequence]!.isRepeated = true
            let (reader, repeated) = (reader, repeated)
            group.addTask {
                do {
                    try await reader.acknowledge(work, for: .seconds(10))
                    repeated.add(sequence, true)
                } catch { repeated.add(sequence, false) }
            }
        }

        private func goOn(_ sequence: UInt64, _ flight: Flight) {
            guard flight.nextSign <= .now else { return }
            flights[sequence]!.nextSign = .now + sign
            // If it cannot be said, it is said again with the next connection.
            try? reader.inProgress(flight.work)
        }
    }
#endif
