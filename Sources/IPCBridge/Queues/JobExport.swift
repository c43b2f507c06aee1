#if NATS
    import IPC
    import IPCChannels
    import Logging
    import Synchronization

    /// Carries jobs from this machine to a stream from which any machine takes them: all jobs while no worker is here, and those that
    /// wait too long while there are some.
    ///
    /// A job that came from another machine and finds no worker here any more leaves in the same way.
    struct JobExport: Carrier {
        let context: CarrierContext

        func run() async throws {
            let channel = try context.openChannel()
            try await JobExporter(context, channel).run()
        }
    }

    private final class JobExporter: @unchecked Sendable {
        // `@unchecked`: one task sends, and one follows; what both use is in `pending`.
        private let context: CarrierContext
        private let channel: AnyChannel
        private let outbox: JobOutbox
        private let readers: LocalReaders
        private let others: OtherWorkers
        private let era: JobEra
        private let incarnation: UInt64
        private let pending: Mutex<Pending>
        /// The jobs that are too large for the server, by position: each is told once. Of the task that sends.
        private var tooLarge: Set<UInt64> = []

        /// What is not known to be stored, in the order of the sequences.
        private struct Pending {
            /// The sequence of the last one that is stored.
            var stored: UInt64
            var messages: [[UInt8]] = []
            var bytes = 0
            var next: UInt64 { stored + UInt64(messages.count) + 1 }
        }

        init(_ context: CarrierContext, _ channel: AnyChannel) async throws {
            (self.context, self.channel) = (context, channel)
            incarnation = try channel.incarnation
            readers = try LocalReaders(channel)
            others = OtherWorkers(context)
            outbox = try JobOutbox(context, for: channel)
            try await context.connection.waitUntilConnected()
            try context.connection.checkPayload()
            var (era, left) = (try await JobEra.enter(context, channel, known: outbox.era), outbox.unstored)
            if !era.isNew, let entered = left.last, era.last > entered.sequence {
                // Of what is on its way, nobody can know what is stored. Nothing may be lost.
                context.logger.error(
                    "a stranger has stored messages in the stream of this machine's jobs; those on their way are sent again",
                    metadata: [
                        "stream": "\(era.stream)", "entered up to": "\(entered.sequence)", "last": "\(era.last)",
                    ])
                era = try await JobEra.enter(context, channel, known: 0)
            } else if !era.isNew {
                left = outbox.found.filter { $0.era == era.number && $0.sequence > era.last }
                if let first = left.first, first.sequence != era.last + 1 {
                    context.logger.error(
                        "the server has lost jobs that it had stored",
                        metadata: ["stream": "\(era.stream)", "after": "\(era.last)", "before": "\(first.sequence)"])
                    era = try await JobEra.enter(context, channel, known: 0)
                }
            }
            self.era = era
            pending = Mutex(Pending(stored: era.last))
            if era.isNew {
                if era.isTakenBack, context.status.figures.restarts == 0 {
                    context.logger.warning(
                        "another process has written jobs of this machine; is another bridge running for it?",
                        metadata: ["stream": "\(era.stream)"])
                }
                try await enter(left)
            } else {
                for entry in left { add(entry, isVoid: try !isOurs(entry)) }
                // What is stored would take the room of what comes.
                try outbox.release(upTo: era.last)
            }
        }

        /// Enters in this era what was not stored in the one before.
        private func enter(_ left: [JobEntry]) async throws {
            // What is stored would take the room.
            try outbox.release(before: left.first)
            for old in left where try isOurs(old) {
                let entry = old.moved(to: era.number, pending.withLock { $0.next })
                try await outbox.append(entry)
                add(entry, isVoid: false)
            }
            try outbox.begin(era.number, after: era.last)
        }

        /// Whether the job of an entry, written perhaps just before this bridge's predecessor died, was acknowledged for it.
        private func isOurs(_ entry: JobEntry) throws -> Bool {
            switch try channel.jobState(at: entry.position) {
            case .acknowledged(let attempts), .movedToDeadLetters(let attempts): attempts == entry.attempt
            // Somebody here has it, or will: it was not acknowledged for this entry.
            case .waiting, .taken: false
            // Long ago: a bridge acknowledges right after it has written the entry.
            case .gone: true
            }
        }

        private func add(_ entry: JobEntry, isVoid: Bool) {
            var writer = EnvelopeWriter(
                Envelope.Header(kind: isVoid ? .void : .job, machine: context.machine.hash, incarnation: incarnation))
            // Of a job: how often it was tried.
            writer.header.missed = UInt64(entry.failures)
            let payload = isVoid ? [] : entry.job
            writer.append(position: entry.position.offset + 1, payload.span.bytes)
            let message = writer.finish()
            pending.withLock { pending in
                pending.messages.append(message)
                pending.bytes += message.count
            }
        }

        func run() async throws {
            try await exportToStream(
                context, era.stream, era.subject, after: pending.withLock { $0.stored },
                send: { try await self.send(with: $0) }, follow: { try await self.follow($0) }, settle: settle)
        }

        // MARK: What is stored

        private func follow(_ writer: StreamWriter) async throws {
            // What was acknowledged is stored, whatever happens to the rest.
            defer { try? release(upTo: writer.acknowledged) }
            while true {
                try await writer.waitForAcknowledgement(of: pending.withLock { $0.stored } + 1)
                try release(upTo: writer.acknowledged)
            }
        }

        private func release(upTo sequence: UInt64) throws {
            let (count, bytes, left) = pending.withLock { pending in
                let count = min(Int(clamping: sequence - min(pending.stored, sequence)), pending.messages.count)
                let bytes = pending.messages.prefix(count).reduce(0) { $0 + $1.count }
                pending.messages.removeFirst(count)
                pending.bytes -= bytes
                pending.stored = max(pending.stored, sequence)
                return (count, bytes, pending.messages.count)
            }
            try outbox.release(upTo: sequence)
            KillPoint.reach(.outboxStored)
            context.status.addCarried(count, bytes: bytes)
            context.status.setBehind(UInt64(left))
        }

        /// After a doubt: what is stored?
        private func settle() async throws -> UInt64 {
            try await context.connection.waitUntilConnected()
            let state = try era.check(try await context.connection.streamState(era.stream), context.machine)
            let (stored, next) = pending.withLock { ($0.stored, $0.next) }
            guard state.lastSequence >= stored, state.lastSequence < next else {
                throw StartAnew(
                    "the stream \(era.stream) ends at \(state.lastSequence), but this bridge has stored \(stored) jobs and sent up to \(next - 1)"
                )
            }
            try release(upTo: state.lastSequence)
            let again = pending.withLock { $0.messages.count }
            if again > 0 { context.status.addRedelivered(again) }
            return state.lastSequence
        }

        // MARK: What is sent

        private func send(with writer: StreamWriter) async throws {
            for message in pending.withLock({ $0.messages }) { _ = try await writer.send(message) }
            while true {
                if !others.areThere {
                    // Until then they stay where `ipc queue` shows them.
                    context.status.set(.waiting("no other machine takes jobs of this queue"))
                    try await others.wait()
                }
                if try readers.count == 0 {
                    context.status.set(.carrying)
                    try await sendAll(with: writer)
                } else {
                    context.status.set(.waiting("workers of this machine take the jobs"))
                    try await sendOverdue(with: writer)
                }
            }
        }

        /// Waits until what is taken next can leave: what has left the queue and not reached the server is with nobody.
        private func waitForRoom() async throws {
            if !context.connection.isConnected { try await context.connection.waitUntilConnected() }
            while pending.withLock({ $0.bytes }) > outbox.room { try await Task.sleep(for: .milliseconds(1)) }
        }

        /// Sends all jobs until a worker joins on this machine.
        private func sendAll(with writer: StreamWriter) async throws {
            var worker = try channel.makeReader()
            // Nobody else would get what comes after them. They are given back with the end of this.
            var held: [HeldJob] = []
            while true {
                try await waitForRoom()
                guard let job = try await Self.take(&worker, isHolding: !held.isEmpty) else {
                    guard try readers.count == 0 else { return }
                    continue
                }
                guard try readers.count == 0 else { return Self.giveBack(job) }
                let bytes = try job.bytes
                if isTooLarge(bytes.count, job.position) {
                    held.append(HeldJob(job))
                } else {
                    try await send(job, bytes, with: writer)
                }
            }
        }

        /// - Returns: Nil if it holds some, and there is no other one for a time.
        private static func take(
            _ worker: inout ChannelReader, isHolding: Bool
        ) async throws(IPCError) -> TakenMessage? {
            guard isHolding else { return try await worker.take() }
            do throws(IPCError) { return try await worker.take(until: .after(.milliseconds(200))) } catch {
                guard error.code == .timedOut else { throw error }
                return nil
            }
        }

        /// Whether a job stays on this machine, as the server takes none of that size.
        private func isTooLarge(_ count: Int, _ position: ChannelPosition?) -> Bool {
            let limit = context.connection.singleLimit
            guard count > limit else { return false }
            if let position, tooLarge.insert(position.offset).inserted {
                context.logger.error(
                    "a job is too large for the server, and waits for a worker of this machine; raise max_payload of the server",
                    metadata: ["bytes": "\(count)", "limit": "\(limit)"])
            }
            return true
        }

        /// How many jobs are looked at together.
        private static let round = 1024

        /// While there are workers: sends the jobs that have waited for longer than they should. Returns when no worker is left.
        private func sendOverdue(with writer: StreamWriter) async throws {
            while true {
                try await readers.waitForWaitingJob()
                guard try readers.count > 0 else { return }
                let end = try readers.end
                try await waitWhileWorkersStay(max(context.rule.after, .milliseconds(10)))
                // What was sent before and waits still has waited that long.
                while try readers.count > 0, readers.load(limit: Self.round, before: end).waiting > 0 {
                    guard try await sendRound(before: end, with: writer) else { break }
                }
            }
        }

        private func waitWhileWorkersStay(_ time: Duration) async throws {
            guard time > Ticker.interval else { return try await Task.sleep(for: time) }
            let deadline = ContinuousClock.now + time
            let readers = readers
            try await Ticker.shared.wait { ContinuousClock.now >= deadline || ((try? readers.count) ?? 0) == 0 }
        }

        /// - Returns: Whether one was sent.
        private func sendRound(before end: UInt64, with writer: StreamWriter) async throws -> Bool {
            var worker = try channel.makeReader()
            var held: [HeldJob] = []
            var count = 0
            while count < Self.round {
                try await waitForRoom()
                guard let job = try worker.tryTake() else { break }
                guard let position = job.position, position.offset < end else {
                    Self.giveBack(job)
                    break
                }
                let bytes = try job.bytes
                if isTooLarge(bytes.count, job.position) {
                    held.append(HeldJob(job))
                    continue
                }
                try await send(job, bytes, with: writer)
                count += 1
            }
            return count > 0
        }

        private func send(
            _ job: consuming TakenMessage, _ bytes: [UInt8], with writer: StreamWriter
        ) async throws {
            guard let position = job.position else { return }
            // This delivery is no attempt.
            let failures = Int(UInt32(clamping: job.origin?.position ?? 0)) + job.attempt - 1
            // It was tried often enough, if on several machines: rejected often enough, it becomes a dead letter here.
            guard failures < readers.maximumAttempts else { return job.reject(after: .zero) }
            let entry = JobEntry(
                era: era.number, sequence: pending.withLock { $0.next }, position: position, attempt: job.attempt,
                failures: failures,
                job: bytes)
            // Until the entry is there the job is this machine's: if this is cancelled, it is given back.
            if let failure = await failure(of: entry) {
                Self.giveBack(job)
                throw failure
            }
            KillPoint.reach(.outboxWritten)
            // Where somebody else has it, the entry is for nothing.
            add(entry, isVoid: !Self.acknowledge(job))
            KillPoint.reach(.outboxAcknowledged)
            guard let message = pending.withLock({ $0.messages.last }) else { return }
            _ = try await writer.send(message)
            KillPoint.reach(.outboxSent)
        }

        private func failure(of entry: JobEntry) async -> IPCError? {
            do throws(IPCError) {
                try await outbox.append(entry)
                return nil
            } catch { return error }
        }

        private static func giveBack(_ job: consuming TakenMessage) { try? job.release() }

        private static func acknowledge(_ job: consuming TakenMessage) -> Bool { (try? job.acknowledge()) != nil }
    }

    /// A job that this machine keeps. It is given back when this is forgotten.
    private final class HeldJob {
        private var job: TakenMessage?

        init(_ job: consuming TakenMessage) { self.job = consume job }

        deinit { if let job = job.take() { try? job.release() } }
    }

    /// Whether other machines take jobs of a queue.
    private final class OtherWorkers: Sendable {
        private let context: CarrierContext
        /// What the directory said when it had changed that often.
        private let known = Mutex((changes: -1, areThere: false))

        init(_ context: CarrierContext) { self.context = context }

        var areThere: Bool {
            let changes = context.directory.changes
            return known.withLock { known in
                if known.changes != changes {
                    known = (
                        changes, context.directory.others(context.name).contains { $0.isIn && $0.pattern == .workQueue }
                    )
                }
                return known.areThere
            }
        }

        func wait() async throws { try await Ticker.shared.wait { self.areThere } }
    }
#endif
