#if NATS
    import IPC
    import IPCChannels
    import Logging

    /// Carries the newest value of all machines to this one: ``LatestCarrying``.
    ///
    /// The order in which the server stored values is that of all machines. A value is set here unless the newest value here is later in
    /// it. So after the last value was stored, all machines have it.
    struct LatestImport: Carrier {
        let context: CarrierContext

        func run() async throws {
            let channel = try context.openChannel()
            try await LatestCarrying.carry(context) { try await carry(channel, $0, $1) }
        }

        private func carry(_ channel: AnyChannel, _ bucket: Bucket, _ identity: UInt64) async throws {
            let incarnation = try channel.incarnation
            let note = try LatestNote(context)
            var newest = NewestValue(
                try channel.makeReader(), incarnation, identity, note, isExported: context.rule.direction.isOut)
            var writer = try channel.makeWriter()
            let watch = bucket.watch(context.names.key(context.name))
            defer { watch.close() }
            while true {
                try Task.checkCancellation()
                guard case .entry(let entry) = try await watch.next(), let body = entry.value else { continue }
                let envelope: Envelope
                do throws(EnvelopeError) { envelope = try Envelope(reading: body.span.bytes) } catch {
                    context.logger.warning("a value was ignored", metadata: ["reason": "\(error)"])
                    continue
                }
                guard envelope.header.kind == .value, let record = envelope.records.first else { continue }
                let header = envelope.header
                let isOwn = header.machine == context.machine.hash && header.incarnation == incarnation
                let origin = MessageOrigin(
                    machine: header.machine, channel: header.incarnation, position: record.position,
                    sequence: LatestRevision(entry.revision, in: identity).sequence)
                var decision = try newest.decide(about: origin, isOwn: isOwn)
                while decision == .wait {
                    try await Task.sleep(for: .milliseconds(5))
                    decision = try newest.decide(about: origin, isOwn: isOwn)
                }
                if decision == .leave { continue }
                let bytes = body.span.bytes.extracting(record.range)
                do throws(IPCError) { try await writer.write(bytes, origin: origin) } catch {
                    guard error.code == .invalidArgument || error.code == .messageTooLarge else { throw error }
                    refuse(error)
                    continue
                }
                note.imported = LatestRevision(origin.sequence)
                context.status.set(.carrying)
                if !isOwn { context.status.addCarried(1, bytes: record.range.count) }
            }
        }

        private func refuse(_ error: IPCError) {
            let reason = "a value of \(context.name) cannot be set on \(context.machine): \(error)"
            context.status.addDropped(1)
            if context.status.refuse(reason) {
                context.logger.error("a value is not carried", metadata: ["reason": "\(reason)"])
            }
        }
    }

    /// What is known of the newest value on this machine.
    private struct NewestValue: ~Copyable, @unchecked Sendable {
        // `@unchecked`: ownership limits it to one task at a time.
        private var reader: ChannelReader
        private let incarnation: UInt64
        private let bucket: UInt64
        private let note: LatestNote
        private let isExported: Bool
        private var hasValue = false

        enum Decision {
            case set
            /// It is the newest already, or what is here is newer.
            case leave
            /// What is here was set on this machine, and the export has not compared it yet.
            case wait
        }

        init(
            _ reader: consuming ChannelReader, _ incarnation: UInt64, _ bucket: UInt64, _ note: LatestNote,
            isExported: Bool
        ) {
            self.reader = reader
            self.incarnation = incarnation
            self.bucket = bucket
            self.note = note
            self.isExported = isExported
        }

        /// Whether what the server has belongs here.
        ///
        /// - Parameter isOwn: Whether that was set in this channel.
        mutating func decide(about origin: MessageOrigin, isOwn: Bool) throws(IPCError) -> Decision {
            let there = LatestRevision(origin.sequence)
            if try reader.tryReceive() != nil { hasValue = true }
            guard hasValue else { return .set }
            if let present = reader.origin {
                if present.machine == origin.machine, present.channel == origin.channel,
                    present.position == origin.position
                {
                    return .leave
                }
                let here = LatestRevision(present.sequence)
                return here.isOf(bucket) && here.revision >= there.revision ? .leave : .set
            }
            // It was set here. Of this machine's own values it is the newest.
            if isOwn { return .leave }
            guard let position = reader.position?.offset else { return .set }
            switch note.state(of: incarnation, position, in: bucket) {
            case .decided(let revision): return revision >= there.revision ? .leave : .set
            case .new:
                if isExported { return .wait }
                let imported = note.imported
                return imported.isOf(bucket) && imported.revision >= there.revision ? .leave : .set
            }
        }
    }
#endif
