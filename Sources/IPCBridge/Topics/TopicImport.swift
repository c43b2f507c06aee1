#if NATS
    import IPC
    import IPCChannels

    /// Carries a topic of another machine from the server to this machine's channel.
    ///
    /// Each message is written together with its origin, in one store. After a restart, the newest origin in the log says where to go on;
    /// if the log keeps none any more, the checkpoint does.
    struct TopicImport: Carrier {
        let context: CarrierContext
        /// The machine whose messages it carries.
        let origin: Machine

        func run() async throws {
            let channel = try context.openChannel()
            // A channel that syncs may block where it writes.
            guard context.isUrgent, try channel.attributes.durability == .none else { return try await read(channel) }
            try await withTaskExecutorPreference(DeliveryExecutor.shared) { try await read(channel) }
        }

        private func read(_ channel: AnyChannel) async throws {
            switch context.rule.delivery {
            case .stored: try await readStream(channel)
            case .bestEffort: try await readSubject(channel)
            }
        }

        // MARK: Stored

        private func readStream(_ channel: AnyChannel) async throws {
            let connection = context.connection
            try await connection.waitUntilConnected()
            let stream = context.names.stream(.topic, of: origin, context.name)
            guard let state = try await connection.streamState(stream) else {
                throw StartAnew("\(origin) has not made the stream \(stream) yet")
            }
            try CarriedSchema.check(channel, context.machine, against: state.metadata, of: origin, context.name)
            let checkpoint = try TopicCheckpoint(stream + ".in", in: context.root)
            var injector = TopicInjector(try channel.makeWriter(), origin, checkpoint)
            let isOther = checkpoint.stream != 0 && checkpoint.stream != state.identity
            if isOther {
                context.logger.warning(
                    "the server has another stream of this channel than before; it is read from its beginning",
                    metadata: ["stream": "\(stream)", "created": "\(state.created)"])
            }
            let resume = ImportResume(
                newest: try injector.newestOrigin(),
                checkpoint: checkpoint.isBegun
                    ? (checkpoint.incarnation, checkpoint.position, checkpoint.sequence) : nil,
                isOther: isOther,
                sequences: state.firstSequence...max(state.firstSequence, state.lastSequence + 1),
                start: context.rule.start, isNew: TopicHistory(context.names, in: context.root).isNew(stream))
            injector.resume(resume)
            let start: StreamReader.Start
            switch resume.first {
            case .sequence(let sequence):
                if !checkpoint.isBegun { checkpoint.begin(at: sequence) }
                if isOther { checkpoint.change(to: state.identity, sequence: sequence) }
                start = .sequence(sequence)
            case .time(let time): start = .time(nanoseconds: time)
            }
            checkpoint.change(to: state.identity, sequence: nil)
            let reader = StreamReader(connection, stream: stream, created: state.created, from: start, isHinted: true)
            context.status.set(.carrying)
            // Where reading goes on, there is the batch that was read last: that it is gone is no loss.
            var known: UInt64 = resume.position > 0 ? 1 : 0
            while true {
                try Task.checkCancellation()
                guard let next = try await reader.next() else { continue }
                // Of batches that the stream's limits dropped, the server knows no more than how many there were.
                try await tellLost(next.missed > known ? next.missed - known : 0, &injector)
                known = 0
                try await carry(next.message, next.sequence, &injector)
            }
        }

        // MARK: Best effort

        /// How many bytes may wait while subscribers of this machine are behind. What comes then is dropped.
        private static let mostWaiting = 64 << 20

        private func readSubject(_ channel: AnyChannel) async throws {
            let status = context.status
            let mailbox = context.connection.subscribe(
                context.names.subject(.bestEffort, of: origin, context.name),
                limit: MailboxLimit(bytes: Self.mostWaiting) { message in
                    status.addDropped(message.withSpan { Envelope.recordCount(in: $0) })
                })
            defer { mailbox.close() }
            var injector = TopicInjector(try channel.makeWriter(), origin, nil)
            context.status.set(.carrying)
            while true {
                try Task.checkCancellation()
                guard let message = try await mailbox.next() else { continue }
                try await carry(message, 0, &injector)
            }
        }

        /// Says that messages were lost: to whoever looks at the status, and to the subscribers.
        private func tellLost(_ count: UInt64, _ injector: inout TopicInjector) async throws {
            guard count > 0 else { return }
            context.status.addDropped(count)
            while try !injector.tryTellLost(count) { try await Task.sleep(for: .milliseconds(5)) }
        }

        /// Whoever may publish there can send anything. It is not a message of the topic, and the next one may be.
        private func ignore(_ message: NATSMessage, _ error: EnvelopeError) {
            context.logger.warning(
                "a message was ignored",
                metadata: ["channel": "\(context.name)", "subject": "\(message.subject)", "reason": "\(error)"])
            context.status.addDropped(1)
        }

        private func carry(_ message: NATSMessage, _ sequence: UInt64, _ injector: inout TopicInjector) async throws {
            let envelope: Envelope
            do throws(EnvelopeError) {
                envelope = try message.withSpan { (body) throws(EnvelopeError) in try Envelope(reading: body) }
            } catch {
                if error.isOtherVersion, sequence > 0 {
                    throw Refusal("message \(sequence) of the stream of \(origin) cannot be read: \(error.reason)")
                }
                return ignore(message, error)
            }
            guard envelope.header.machine == origin.hash else { return context.status.addDropped(1) }
            try await tellLost(envelope.header.missed, &injector)
            let before = injector.figures
            do { try await injector.inject(envelope, message, sequence) } catch let error as EnvelopeError {
                ignore(message, error)
            }
            let after = injector.figures
            if let reason = injector.takeRefusal() {
                context.logger.error(
                    "messages were dropped that this machine's channel cannot have",
                    metadata: ["count": "\(after.refused - before.refused)", "reason": "\(reason)"])
                context.status.addDropped(UInt64(after.refused - before.refused))
            }
            context.status.addCarried(after.count - before.count, bytes: after.bytes - before.bytes)
            if after.known != before.known { context.status.addRedelivered(after.known - before.known) }
        }
    }

    /// Writes the messages of one other machine to the local channel.
    struct TopicInjector: ~Copyable, @unchecked Sendable {
        // `@unchecked`: ownership limits it to one task at a time.
        private var writer: ChannelWriter
        private let origin: Machine
        private let checkpoint: TopicCheckpoint?
        private var parts = TopicParts()
        /// Messages of this incarnation up to this position are here.
        private var (incarnation, position): (UInt64, UInt64) = (0, 0)
        private(set) var figures = Figures()
        private var refusal: IPCError?

        struct Figures {
            /// Messages that were written, and their bytes.
            var (count, bytes) = (0, 0)
            /// Messages that were here already.
            var known = 0
            /// Messages that the channel cannot have: they are too large for its log, or not of its size.
            var refused = 0
        }

        init(_ writer: consuming ChannelWriter, _ origin: Machine, _ checkpoint: TopicCheckpoint?) {
            self.writer = writer
            self.origin = origin
            self.checkpoint = checkpoint
        }

        /// The newest origin of that machine in the local log.
        func newestOrigin() throws(IPCError) -> MessageOrigin? {
            try writer.newestOrigins().first { $0.machine == origin.hash }
        }

        mutating func resume(_ resume: ImportResume) { (incarnation, position) = (resume.incarnation, resume.position) }

        /// - Returns: False if there is no room now: subscribers are behind.
        mutating func tryTellLost(_ count: UInt64) throws(IPCError) -> Bool { try writer.tryTellLost(count) }

        /// Writes the messages of an envelope that are not here yet, suspended while there is no room.
        mutating func inject(_ envelope: Envelope, _ message: NATSMessage, _ sequence: UInt64) async throws {
            let incarnation = envelope.header.incarnation
            if incarnation != self.incarnation { (self.incarnation, position) = (incarnation, 0) }
            switch envelope.header.kind {
            case .batch:
                var left = envelope.records[...]
                while true {
                    do throws(IPCError) {
                        try message.withSpan { (body) throws(IPCError) in try injectAtOnce(&left, body, sequence) }
                    } catch {
                        try refuse(left.removeFirst().position, error)
                        continue
                    }
                    guard let record = left.popFirst() else { return }
                    try await inject(message.withBytes { Array($0[record.range]) }, record.position, sequence)
                }
            case .part:
                guard let position = envelope.records.first?.position else {
                    throw EnvelopeError(reason: "it is a piece of a message, and has none")
                }
                let isWhole = try message.withSpan { (body) throws(EnvelopeError) in
                    let (index, count, range) = try envelope.part(in: body)
                    return parts.add(body.extracting(range), index: index, of: count, position: position)
                }
                guard isWhole else { return }
                let bytes = parts.bytes
                parts.clear()
                if position <= self.position { figures.known += 1 } else { try await inject(bytes, position, sequence) }
            default: throw EnvelopeError(reason: "its kind is \(envelope.header.kind), and this is a topic")
            }
        }

        /// Writes one message, suspended while there is no room: subscribers are behind.
        private mutating func inject(_ bytes: [UInt8], _ position: UInt64, _ sequence: UInt64) async throws(IPCError) {
            do throws(IPCError) {
                try await writer.write(bytes.span.bytes, origin: messageOrigin(position, sequence))
                note(position, sequence, bytes.count)
            } catch {
                try refuse(position, error)
            }
        }

        /// Passes by a message that the channel cannot have, so that it does not hold up all that follow.
        private mutating func refuse(_ position: UInt64, _ error: IPCError) throws(IPCError) {
            guard error.code == .messageTooLarge || error.code == .invalidArgument else { throw error }
            self.position = position
            refusal = error
            figures.refused += 1
        }

        /// Why messages were dropped since the previous call; nil if none were.
        mutating func takeRefusal() -> IPCError? { refusal.take() }

        /// Writes what there is room for.
        private mutating func injectAtOnce(
            _ records: inout ArraySlice<Envelope.Record>, _ body: RawSpan, _ sequence: UInt64
        ) throws(IPCError) {
            var index = records.startIndex
            defer { records = records[index...] }
            while index < records.endIndex {
                let record = records[index]
                if record.position <= position {
                    figures.known += 1
                } else {
                    let origin = messageOrigin(record.position, sequence)
                    guard try writer.tryWrite(body.extracting(record.range), origin: origin) != nil else { return }
                    note(record.position, sequence, record.range.count)
                }
                index += 1
            }
        }

        private func messageOrigin(_ position: UInt64, _ sequence: UInt64) -> MessageOrigin {
            MessageOrigin(machine: origin.hash, channel: incarnation, position: position, sequence: sequence)
        }

        private mutating func note(_ position: UInt64, _ sequence: UInt64, _ byteCount: Int) {
            self.position = position
            checkpoint?.advance(incarnation, position, sequence: sequence)
            figures.count += 1
            figures.bytes += byteCount
        }
    }
#endif
