#if NATS
    import IPC
    import IPCChannels

    /// Reads a topic's messages that were written on this machine, and makes batches of them.
    struct TopicPump: ~Copyable, @unchecked Sendable {
        // `@unchecked`: ownership limits it to one task at a time.
        private var reader: ChannelReader
        private var batch: TopicBatch
        private let delay: Duration
        /// Whether the thread is its own.
        private let mayBlock: Bool
        private let connection: NATSConnection
        /// Messages that end here or before are not to be carried.
        private var skipped: UInt64
        /// The messages before this position were returned, or are not to be carried.
        private(set) var passed: UInt64

        /// Begins after what is carried already.
        ///
        /// - Parameters:
        ///   - position: Messages up to here are carried; nil to begin with the oldest.
        ///   - mayBlock: Whether the thread belongs to this task alone.
        init(
            _ channel: AnyChannel, _ incarnation: UInt64, _ context: CarrierContext, after position: UInt64?,
            mayBlock: Bool
        ) throws(IPCError) {
            try self.init(Self.reader(channel, incarnation, after: position), channel, incarnation, context, mayBlock)
            guard let position else { return }
            skipped = position
            guard passed > position else { return }
            batch.missed = 1
            context.logger.warning(
                "messages were overwritten before a bridge read them",
                metadata: ["channel": "\(context.name)", "bytes": "\(passed - position)"])
        }

        /// Begins with the next message.
        init(
            _ channel: AnyChannel, _ incarnation: UInt64, _ context: CarrierContext, mayBlock: Bool
        ) throws(IPCError) {
            try self.init(channel.makeReader(from: .next), channel, incarnation, context, mayBlock)
        }

        private init(
            _ reader: consuming ChannelReader, _ channel: AnyChannel, _ incarnation: UInt64, _ context: CarrierContext,
            _ mayBlock: Bool
        ) throws(IPCError) {
            guard let position = reader.position, position.channel == incarnation else {
                throw IPCError(
                    .notFound, "carry", channel.name.description,
                    advice: "it was created anew meanwhile; it is opened again")
            }
            self.reader = reader
            passed = position.offset
            skipped = 0
            connection = context.connection
            batch = TopicBatch(
                machine: context.machine, incarnation: incarnation, bodyLimit: connection.bodyLimit,
                kept: context.rule.keep.byteCount)
            delay = context.rule.delay
            self.mayBlock = mayBlock
        }

        private static func reader(
            _ channel: AnyChannel, _ incarnation: UInt64, after position: UInt64?
        ) throws(IPCError) -> ChannelReader {
            guard let position else { return try channel.makeReader(from: .oldest) }
            do throws(IPCError) {
                return try channel.makeReader(from: .position(ChannelPosition(channel: incarnation, offset: position)))
            } catch {
                // It is no longer kept, or a publisher is writing there at this moment, or it is within a message. What follows shows it.
                guard error.code == .invalidArgument else { throw error }
                return try channel.makeReader(from: .oldest)
            }
        }

        /// Counts messages as lost: the next batch tells so.
        mutating func lose(_ count: UInt64) { batch.missed += count }

        /// Waits for messages, and for more of them as long as the delay allows.
        ///
        /// - Returns: Batches; nothing if all that was read is of other machines.
        mutating func next() async throws -> [SentBatch] {
            try Task.checkCancellation()
            if batch.isEmpty {
                if try await !isFoundByBlocking() { _ = try await reader.borrow(until: .never) }
                // Another server may take less, or more.
                batch.bodyLimit = connection.bodyLimit
            }
            var mayWait = delay > .zero
            while true {
                switch try fill() {
                case .full: return [take()]
                case .large(let batches): return batches
                case .empty:
                    guard !batch.isEmpty else { return [] }
                    guard mayWait, !batch.hasEnough else { return [take()] }
                    mayWait = false
                    // If it is cancelled, the batch stays, and is the beginning of the next one: after a doubt, this pump goes on.
                    try await Task.sleep(for: delay, tolerance: .zero)
                }
            }
        }

        /// How long after a message the thread blocks for the next one. A thread that blocks is woken sooner than a task that waits, but looks
        /// for itself again and again, too.
        private static let blockingTime = Duration.seconds(1)
        private static let blockingStep = Duration.milliseconds(20)

        /// - Returns: Whether there is a message.
        private mutating func isFoundByBlocking() async throws -> Bool {
            guard mayBlock else { return false }
            let end = ContinuousClock.now + Self.blockingTime
            repeat {
                if try isFoundWithinStep() { return true }
                // Whoever follows this task may have something to tell it.
                await Task.yield()
                try Task.checkCancellation()
            } while .now < end
            return false
        }

        private mutating func isFoundWithinStep() throws(IPCError) -> Bool {
            do throws(IPCError) { _ = try reader.borrow(until: .after(Self.blockingStep)) } catch {
                guard error.code == .timedOut else { throw error }
                return false
            }
            return true
        }

        private mutating func take() -> SentBatch {
            batch.missed += reader.takeMissedHere()
            let taken = batch.take()
            passed = taken.end
            return taken
        }

        private enum Outcome {
            /// There is no more message, or a part of the log was passed in which none is to be carried.
            case empty
            case full
            case large([SentBatch])
        }

        /// Adds what there is to the batch.
        private mutating func fill() throws(IPCError) -> Outcome {
            // So that the keeper is moved on now and then.
            var left = 4096
            while let message = try reader.tryBorrow() {
                let end = reader.endPosition
                guard reader.origin == nil, end > skipped else {
                    try reader.advance()
                    guard batch.isEmpty else { continue }
                    passed = end
                    left -= 1
                    if left > 0 { continue }
                    return .empty
                }
                guard batch.canCarry(message.count) else {
                    guard batch.isEmpty else { return .full }
                    batch.missed += reader.takeMissedHere()
                    let batches = batch.takeAlone(message.bytes, from: passed, to: end)
                    try reader.advance()
                    passed = end
                    return .large(batches)
                }
                guard batch.hasRoom(message.count) else { return .full }
                batch.append(message.bytes, end: end)
                try reader.advance()
            }
            return .empty
        }
    }
#endif
