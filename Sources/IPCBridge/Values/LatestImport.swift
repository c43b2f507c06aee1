#if NATS
    import IPC
    import IPCChannels

    /// Carries the newest value of all machines to this one.
    ///
    /// The order in which the server stored values is that of all machines: a value is set here unless the newest value here is later
    /// in it. So after the last value was stored, all machines have it.
    struct LatestImport: Carrier {
        let context: CarrierContext

        func run() async throws {
            let channel = try context.openChannel()
            let incarnation = try channel.incarnation
            try await context.connection.waitUntilConnected()
            let bucket = try await LatestCarrying.bucket(context)
            let note = try LatestNote(context)
            var newest = NewestValue(try channel.makeReader(), incarnation)
            var writer = try channel.makeWriter()
            let watch = bucket.watch(context.names.key(context.name))
            defer { watch.close() }
            context.status.set(.carrying)
            while true {
                guard case .entry(let entry) = try await watch.next(), let body = entry.value else { continue }
                let envelope: Envelope
                do throws(EnvelopeError) { envelope = try Envelope(reading: body.span.bytes) } catch {
                    context.logger.warning("a value was ignored", metadata: ["reason": "\(error)"])
                    continue
                }
                guard envelope.header.kind == .value, let record = envelope.records.first else { continue }
                let header = envelope.header
                let isOwn = header.machine == context.machine.hash
                if try newest.isLater(than: entry.revision, isOwn: isOwn, note) { continue }
                let origin = MessageOrigin(
                    machine: header.machine, channel: header.incarnation, position: record.position,
                    sequence: entry.revision)
                let bytes = body.span.bytes.extracting(record.range)
                do throws(IPCError) { try await writer.write(bytes, origin: origin) } catch {
                    guard error.code == .invalidArgument || error.code == .messageTooLarge else { throw error }
                    throw Refusal("a value of \(context.name) cannot be set on \(context.machine): \(error)")
                }
                if !isOwn { context.status.addCarried(1, bytes: record.range.count) }
            }
        }
    }

    /// What is known of the newest value on this machine.
    private struct NewestValue: ~Copyable, @unchecked Sendable {
        // `@unchecked`: ownership limits it to one task at a time.
        private var reader: ChannelReader
        private let incarnation: UInt64
        private var hasValue = false

        init(_ reader: consuming ChannelReader, _ incarnation: UInt64) {
            self.reader = reader
            self.incarnation = incarnation
        }

        /// Whether the newest value here is the one that the server stored with this revision, or will be stored later than it.
        ///
        /// - Parameter isOwn: Whether that one was set on this machine.
        mutating func isLater(than revision: UInt64, isOwn: Bool, _ note: LatestNote) throws(IPCError) -> Bool {
            if try reader.tryReceive() != nil { hasValue = true }
            guard hasValue else { return false }
            if let origin = reader.origin { return origin.sequence >= revision }
            // It was set here. Of this machine's own values it is the newest.
            if isOwn { return true }
            guard let position = reader.position?.offset else { return false }
            return switch note.state(of: incarnation, position) {
            case .stored(let stored): stored >= revision
            case .new, .sent: false
            }
        }
    }
#endif
