#if NATS
    import IPC
    import IPCChannels

    /// The jobs that leave this machine, in the order in which they are stored elsewhere: a topic that is kept, with the bridge as its
    /// only writer, `bridge/PREFIX/MACHINE/outbox/CHANNEL`.
    ///
    /// Each entry has the sequence that its job gets in the stream. An entry is written before its job is acknowledged on this machine,
    /// and the job is acknowledged before the entry is sent. So after a crash the last sequence of the stream says which entries were
    /// sent; of those after it, the state of the job in the queue says whether it was acknowledged for this entry.
    final class JobOutbox: @unchecked Sendable {
        // `@unchecked`: the writer belongs to the task that sends, and the keeper to the one that follows what is stored.
        private var writer: ChannelWriter
        /// Stays at the first entry that is not stored: nothing from there on is overwritten.
        private var keeper: ChannelReader
        private let isDurable: Bool
        /// What was there at the beginning, oldest first.
        let found: [JobEntry]
        /// How many bytes of entries may be on their way, so that there is room for one more, however large.
        let room: Int

        init(_ context: CarrierContext, for queue: AnyChannel) throws {
            let name = "bridge/\(context.names.prefix)/\(context.machine)/outbox/\(context.name)"
            let attributes = try queue.attributes
            isDurable = attributes.durability != .none
            // An entry is larger than its job.
            let capacity = max(attributes.capacity * 2, 1 << 20)
            room = capacity / 4
            let channel = try AnyChannel.openOrCreate(
                .topic, name, in: context.root,
                ChannelOptions(writers: .exclusive, overflow: .block, lifetime: .kept),
                defaults: ChannelOptions(
                    durability: isDurable ? .syncedWhenAsked : ChannelOptions.Durability.none, capacity: capacity))
            writer = try channel.makeWriter()
            keeper = try channel.makeReader(from: .oldest)
            var reader = try channel.makeReader(from: .oldest)
            var found: [JobEntry] = []
            while let bytes = try reader.tryReceive() { found.append(try JobEntry(reading: bytes)) }
            self.found = found
        }

        /// Waits for room and writes an entry. It is there when this returns, and on the disk if the queue is durable.
        func append(_ entry: JobEntry) async throws(IPCError) {
            let bytes = entry.bytes
            try await writer.write(bytes.span.bytes, until: .never)
            if isDurable { try writer.sync() }
        }

        /// Gives up the entries up to a sequence: they are stored.
        func release(upTo sequence: UInt64) throws {
            while let message = try keeper.tryBorrow() {
                guard JobEntry.sequence(of: message.bytes) <= sequence else { return }
                try keeper.advance()
            }
        }
    }

    /// A job on its way from this machine.
    struct JobEntry: Hashable, Sendable {
        let sequence: UInt64
        /// Where the job was, and which delivery it was in which it was taken for this entry.
        let position: ChannelPosition
        let attempt: Int
        /// How often workers have failed to do it, on this machine and on those where it was before.
        let failures: Int
        let job: [UInt8]

        private static let headerSize = 40

        init(sequence: UInt64, position: ChannelPosition, attempt: Int, failures: Int, job: [UInt8]) {
            (self.sequence, self.position, self.attempt, self.failures, self.job) = (
                sequence, position, attempt, failures, job
            )
        }

        var bytes: [UInt8] {
            var bytes: [UInt8] = []
            bytes.reserveCapacity(Self.headerSize + job.count)
            for number in [sequence, position.channel, position.offset, UInt64(attempt), UInt64(failures)] {
                bytes.append(littleEndian: number)
            }
            return bytes + job
        }

        init(reading bytes: [UInt8]) throws {
            guard bytes.count >= Self.headerSize else {
                throw StartAnew(
                    "an entry of the outbox has \(bytes.count) bytes: somebody else wrote it; remove the outbox with ipc rm"
                )
            }
            func number(_ index: Int) -> UInt64 { bytes.span.bytes.number(at: index * 8) }
            sequence = number(0)
            position = ChannelPosition(channel: number(1), offset: number(2))
            attempt = Int(clamping: number(3))
            failures = Int(clamping: number(4))
            job = Array(bytes[Self.headerSize...])
        }

        static func sequence(of bytes: RawSpan) -> UInt64 { bytes.byteCount >= headerSize ? bytes.number(at: 0) : 0 }
    }
#endif
