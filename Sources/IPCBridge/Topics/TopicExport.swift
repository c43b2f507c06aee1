#if NATS
    import IPC
    import IPCChannels
    import Synchronization

    /// Carries a topic from this machine to the server.
    final class TopicExport: Carrier {
        let context: CarrierContext
        /// Stays where it is while the carrier begins anew, so that publishers do not overwrite what is not stored.
        private let keeper = Mutex<TopicKeeper?>(nil)

        init(context: CarrierContext) { self.context = context }

        func run() async throws {
            let channel = try context.openChannel()
            guard context.isUrgent else { return try await carry(channel, mayBlock: false) }
            try await UrgentThreads.run { try await carry(channel, mayBlock: $0) }
        }

        private func carry(_ channel: AnyChannel, mayBlock: Bool) async throws {
            switch context.rule.delivery {
            case .stored:
                try await StoredTopicExport(context, channel, keeper(of: channel), mayBlock: mayBlock).run()
            case .bestEffort: try await BestEffortTopicExport(context, channel, mayBlock: mayBlock).run()
            }
        }

        /// The keeper of a topic that blocks. It joins before there is a connection: what is published from now on is stored.
        private func keeper(of channel: AnyChannel) throws(IPCError) -> TopicKeeper? {
            let incarnation = try channel.incarnation
            let present = keeper.withLock { $0 }
            if let present, present.incarnation == incarnation { return present }
            let new = try channel.attributes.overflow == .block ? TopicKeeper(channel) : nil
            keeper.withLock { $0 = new }
            return new
        }
    }

    /// Carries a topic to a stream that has this one writer.
    ///
    /// What was sent is kept until the server has acknowledged it. After any doubt, the stream's last sequence says what is stored, and the
    /// rest is sent again as it was. After a restart of the bridge, the position in the stream's last message says where to go on in the log.
    ///
    /// Where the topic blocks, a second subscription, the keeper, stays at what the server has acknowledged. Once the log is full beyond it,
    /// publishers wait: nothing that is not stored is overwritten while this bridge runs.
    final class StoredTopicExport: @unchecked Sendable {
        // `@unchecked`: the pump and its reader belong to one task at a time.
        private let context: CarrierContext
        private let incarnation: UInt64
        private let stream: String
        private let subject: String
        private let checkpoint: TopicCheckpoint
        private var pump: TopicPump
        private let keeper: TopicKeeper?
        private let sent: Mutex<Sent>

        /// What is not acknowledged.
        private struct Sent {
            /// The sequence before that of the first batch.
            var acknowledged: UInt64
            var batches: [SentBatch] = []
            /// The first of them that is not acknowledged.
            var first = 0
            /// When something was stored last.
            var lastStored: ContinuousClock.Instant?
            /// Everything before this position of the log is acknowledged, in the batches, or not to be carried.
            var passed: UInt64 = 0

            var pending: ArraySlice<SentBatch> { batches[first...] }

            /// Removes what is stored up to a sequence.
            mutating func removeStored(upTo sequence: UInt64) -> ArraySlice<SentBatch> {
                let count = min(Int(sequence &- acknowledged), batches.count - first)
                let removed = batches[first..<first + count]
                acknowledged += UInt64(count)
                first += count
                if first == batches.count {
                    batches.removeAll(keepingCapacity: batches.count <= 512)
                    first = 0
                } else if first >= 16, first * 2 >= batches.count {
                    batches.removeFirst(first)
                    first = 0
                }
                return removed
            }
        }

        private let connection: NATSConnection
        private let last: UInt64

        init(
            _ context: CarrierContext, _ channel: AnyChannel, _ keeper: TopicKeeper?, mayBlock: Bool
        ) async throws {
            (self.context, self.keeper, connection) = (context, keeper, context.connection)
            stream = context.names.stream(.topic, of: context.machine, context.name)
            subject = context.names.subject(.topic, of: context.machine, context.name)
            checkpoint = try TopicCheckpoint(stream + ".out", in: context.root)
            incarnation = try channel.incarnation
            try await connection.waitUntilConnected()
            try connection.checkPayload()
            let state = try await Self.caughtUp(
                connection.ensureStream(Self.settings(context, channel, stream, subject)), stream, checkpoint,
                connection)
            try CarriedSchema.check(
                channel, context.machine, against: state.metadata, of: context.machine, context.name)
            let stored = try await connection.lastMessage(of: stream, subject: nil)
            if let stored, stored.sequence > state.lastSequence {
                throw StartAnew("the stream \(stream) grows: what was on its way to it arrives")
            }
            // Of another stream than before, nothing counts as carried but what it has.
            if checkpoint.stream != state.identity, checkpoint.stream != 0 { checkpoint.forget() }
            checkpoint.change(to: state.identity, sequence: nil)
            let resume = ExportResume(
                incarnation, lastSequence: state.lastSequence,
                last: try stored.flatMap { try Self.end(of: $0.bytes, context) },
                checkpoint: (checkpoint.incarnation, checkpoint.position, checkpoint.sequence))
            last = resume.sequence
            pump = try TopicPump(channel, incarnation, context, after: resume.position, mayBlock: mayBlock)
            let passed = pump.passed
            keeper?.move(to: passed)
            sent = Mutex(Sent(acknowledged: last, passed: passed))
        }

        /// A new leader may answer before it has applied all that was acknowledged. It is asked again for a while.
        private static func caughtUp(
            _ state: StreamState, _ stream: String, _ checkpoint: TopicCheckpoint, _ connection: NATSConnection
        ) async throws -> StreamState {
            var state = state
            let deadline = ContinuousClock.now + .seconds(15)
            while checkpoint.stream == state.identity, checkpoint.sequence > state.lastSequence, .now < deadline {
                try await Task.sleep(for: .milliseconds(200))
                guard let newer = try await connection.streamState(stream) else { break }
                state = newer
            }
            return state
        }

        private static func settings(
            _ context: CarrierContext, _ channel: AnyChannel, _ stream: String, _ subject: String
        ) throws(IPCError) -> StreamSettings {
            let keep = context.rule.keep
            let byteCount =
                if let byteCount = keep.byteCount { byteCount } else {
                    max(16 * (try channel.attributes.capacity), 64 << 20)
                }
            return StreamSettings(
                name: stream, subjects: [subject], retention: .limits, maximumBytes: Int64(byteCount),
                maximumMessages: keep.batchCount.map { Int64($0) }, maximumAge: keep.age,
                replicas: context.rule.replicas,
                metadata: CarriedSchema.metadata(channel, context.machine, context.name))
        }

        /// Where the last message of the stream ends.
        private static func end(
            of bytes: [UInt8], _ context: CarrierContext
        ) throws -> (incarnation: UInt64, end: UInt64, isIncomplete: Bool)? {
            let envelope: Envelope
            let isIncomplete: Bool
            do throws(EnvelopeError) {
                envelope = try Envelope(reading: bytes.span.bytes)
                let part = envelope.header.kind == .part ? try envelope.part(in: bytes.span.bytes) : nil
                isIncomplete = part.map { $0.index + 1 < $0.count } ?? false
            } catch {
                if error.isOtherVersion {
                    throw Refusal(
                        "what the stream of \(context.name) of \(context.machine) has last cannot be read: \(error.reason)"
                    )
                }
                // Somebody else's; what this bridge noted of its own says where to go on.
                context.logger.warning(
                    "the last message of the stream is none of a bridge",
                    metadata: ["channel": "\(context.name)", "reason": "\(error)"])
                return nil
            }
            guard envelope.header.machine == context.machine.hash else {
                throw Refusal(
                    "the stream of \(context.name) of \(context.machine) has messages of another machine; give each machine a name of its own"
                )
            }
            guard let end = envelope.records.last?.position, end > 0 else { return nil }
            return (envelope.header.incarnation, end, isIncomplete)
        }

        // MARK: Carrying

        func run() async throws {
            try await exportToStream(
                context, stream, subject, after: last, send: { try await self.send(with: $0) },
                follow: { try await self.follow($0) }, settle: settle)
        }

        /// Sends what is not known to be stored, and then what is published.
        private func send(with writer: StreamWriter) async throws {
            let pending = sent.withLock { Array($0.pending) }
            for batch in pending { _ = try await writer.send(batch.bytes) }
            while true {
                let batches = try await pump.next()
                if batches.isEmpty {
                    if let fault = writer.fault { throw fault }
                    passBy()
                } else {
                    try await send(batches, with: writer)
                }
                // Others may be on the same thread.
                if context.isUrgent { await Task.yield() }
            }
        }

        private func send(_ batches: [SentBatch], with writer: StreamWriter) async throws {
            sent.withLock {
                $0.batches += batches
                $0.passed = batches.last!.end
            }
            tellBehind()
            for batch in batches {
                context.status.addDropped(batch.missed)
                _ = try await writer.send(batch.bytes)
            }
        }

        /// Follows what the server acknowledges.
        private func follow(_ writer: StreamWriter) async throws {
            while true {
                // Not of each one while many are on their way.
                let next = sent.withLock { $0.acknowledged } + 1
                let pending = writer.sent > next ? writer.sent - next : 0
                try await writer.waitForAcknowledgement(of: next + pending / 4)
                release(upTo: writer.acknowledged)
            }
        }

        /// Moves the keeper past messages of other machines, which are not carried, where nothing before them is pending.
        private func passBy() {
            let passed = pump.passed
            let isFree = sent.withLock {
                $0.passed = passed
                return $0.pending.isEmpty
            }
            if isFree { note(passed) }
        }

        private func release(upTo sequence: UInt64) {
            let (removed, end, wasIdle) = sent.withLock {
                let removed = $0.removeStored(upTo: sequence)
                let now = ContinuousClock.now
                let wasIdle = $0.lastStored.map { $0 + Self.idleTime < now } ?? true
                if !removed.isEmpty { $0.lastStored = now }
                return (removed, $0.pending.isEmpty ? $0.passed : removed.last?.end, wasIdle)
            }
            guard let end, !removed.isEmpty else { return }
            note(end)
            // A reader whose consumer a server has lost meanwhile learns of it. If this is lost, it learns of it later.
            if wasIdle {
                try? connection.publish(context.names.subject(.hint, stream), Array(String(sequence).utf8))
            }
            var (count, bytes) = (0, 0)
            for batch in removed { (count, bytes) = (count + batch.count, bytes + batch.bytes.count) }
            context.status.addCarried(count, bytes: bytes)
            tellBehind()
        }

        /// After that long without a message, readers are told that there is one.
        private static let idleTime = Duration.seconds(10)

        private func tellBehind() {
            let behind = sent.withLock { $0.pending.reduce(0) { $0 + $1.count } }
            context.status.setBehind(UInt64(behind))
        }

        /// Everything before this position is stored.
        private func note(_ position: UInt64) {
            checkpoint.advance(incarnation, position, sequence: sent.withLock { $0.acknowledged })
            keeper?.move(to: position)
        }

        /// After a doubt: what is stored?
        ///
        /// - Returns: The sequence of the last batch that is stored, after which the rest is sent again.
        private func settle() async throws -> UInt64 {
            try await connection.waitUntilConnected()
            guard let state = try await connection.streamState(stream) else {
                throw StartAnew("the stream \(stream) was deleted; it is made anew")
            }
            let (acknowledged, pending) = sent.withLock { ($0.acknowledged, Array($0.pending)) }
            guard state.lastSequence >= acknowledged, state.lastSequence - acknowledged <= UInt64(pending.count) else {
                throw StartAnew(
                    "the stream \(stream) ends at \(state.lastSequence), but this bridge has stored \(acknowledged) batches and sent \(pending.count) more; is another bridge running for \(context.machine)?"
                )
            }
            let count = Int(state.lastSequence - acknowledged)
            if count > 0 {
                // An earlier process of this machine may have sent something that arrived only now.
                guard let stored = try await connection.lastMessage(of: stream, subject: nil),
                    stored.sequence == state.lastSequence, stored.bytes == pending[count - 1].bytes
                else {
                    throw StartAnew("the stream \(stream) ends with what another process sent; it is read again")
                }
                release(upTo: state.lastSequence)
            }
            context.status.addRedelivered(pending.dropFirst(count).reduce(0) { $0 + $1.count })
            return state.lastSequence
        }
    }
#endif
