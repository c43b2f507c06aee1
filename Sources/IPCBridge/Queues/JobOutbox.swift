#if NATS
    import IPC
    import IPCChannels

    /// The jobs that leave this machine, in the order in which they are stored elsewhere: a topic that is kept, with the bridge as its
    /// only writer, `bridge/PREFIX/MACHINE/outbox/CHANNEL`.
    ///
    /// Each entry has the sequence that its job gets in the stream, in a ``JobEra``. An entry is written before its job is acknowledged on
    /// this machine, and the job is acknowledged before the entry is sent. So after a crash the last sequence of the era says which entries
    /// were sent; of those after it, the state of the job in the queue says whether it was acknowledged for this entry. Where another era
    /// has to begin, a note beside the channels says up to which entry everything was stored, and the others are entered again.
    final class JobOutbox: @unchecked Sendable {
        // `@unchecked`: the writer belongs to the task that sends, and the keeper to the one that follows what is stored.
        private var writer: ChannelWriter
        /// Stays at the first entry that is not stored: nothing from there on is overwritten.
        private var keeper: ChannelReader
        private let isDurable: Bool
        private let note: JobNote
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
            note = try JobNote(
                context.names.stream(.queue, of: context.machine, context.name) + ".outbox", in: context.root)
            writer = try channel.makeWriter()
            keeper = try channel.makeReader(from: .oldest)
            var reader = try channel.makeReader(from: .oldest)
            var found: [JobEntry] = []
            while let bytes = try reader.tryReceive() { found.append(try JobEntry(reading: bytes)) }
            self.found = found
        }

        /// The era of the entries that may have been sent; 0 if there was none, or if the note was lost.
        var era: UInt64 { note.era }

        /// What was found and is not known to be stored.
        var unstored: [JobEntry] {
            guard note.era != 0 else {
                // It is not known how far they were stored. Nothing may be lost.
                return found.filter { $0.era == found.last?.era }
            }
            return found.filter { $0.era == note.era && $0.sequence > note.stored }
        }

        /// Waits for room and writes an entry. It is there when this returns, and on the disk if the queue is durable.
        func append(_ entry: JobEntry) async throws(IPCError) {
            let bytes = entry.bytes
            try await writer.write(bytes.span.bytes, until: .never)
            if isDurable { try writer.sync() }
        }

        /// Gives up all entries before one, of whatever era; all if that is nil.
        func release(before entry: JobEntry?) throws {
            while let message = try keeper.tryBorrow() {
                if let entry, JobEntry.isEntry(message.bytes, of: entry.era, after: entry.sequence - 1) { return }
                try keeper.advance()
            }
        }

        /// Begins an era: what is to be sent in it was entered, and only that is sent from now on.
        func begin(_ era: UInt64, after sequence: UInt64) throws {
            note.begin(era, storedUpTo: sequence)
            try release(upTo: sequence)
        }

        /// Gives up the entries of this era up to a sequence, which are stored, and all of other eras.
        func release(upTo sequence: UInt64) throws {
            note.advance(storedUpTo: sequence)
            while let message = try keeper.tryBorrow() {
                guard JobEntry.isEntry(message.bytes, of: note.era, after: sequence) else {
                    try keeper.advance()
                    continue
                }
                return
            }
        }
    }

    /// Up to which sequence of which era everything is stored, in a small file beside the channels.
    private struct JobNote: Sendable {
        private let file: NoteFile

        init(_ name: String, in root: ChannelRoot) throws(IPCError) { file = try NoteFile(name, in: root) }

        /// There are two pairs, so that a process that is killed leaves one of them: which one counts is one store.
        private var place: Int { file[0] == 0 ? 1 : 3 }

        var era: UInt64 { file[place] }
        var stored: UInt64 { file[place + 1] }

        func begin(_ era: UInt64, storedUpTo sequence: UInt64) {
            let isFirst = file[0] == 0
            let other = isFirst ? 3 : 1
            file[other] = era
            file[other + 1] = sequence
            file[0] = isFirst ? 1 : 0
        }

        func advance(storedUpTo sequence: UInt64) {
            if sequence > stored { file[place + 1] = sequence }
        }
    }

    /// A job on its way from this machine.
    struct JobEntry: Hashable, Sendable {
        let era: UInt64
        let sequence: UInt64
        /// Where the job was, and which delivery it was in which it was taken for this entry.
        let position: ChannelPosition
        let attempt: Int
        /// How often workers have failed to do it, on this machine and on those where it was before.
        let failures: Int
        let job: [UInt8]

        private static let headerSize = 48

        init(
            era: UInt64, sequence: UInt64, position: ChannelPosition, attempt: Int, failures: Int, job: [UInt8]
        ) {
            (self.era, self.sequence, self.position, self.attempt, self.failures, self.job) = (
                era, sequence, position, attempt, failures, job
            )
        }

        /// The same job in another era.
        func moved(to era: UInt64, _ sequence: UInt64) -> JobEntry {
            JobEntry(
                era: era, sequence: sequence, position: position, attempt: attempt, failures: failures, job: job)
        }

        var bytes: [UInt8] {
            var bytes: [UInt8] = []
            bytes.reserveCapacity(Self.headerSize + job.count)
            for number in [era, sequence, position.channel, position.offset, UInt64(attempt), UInt64(failures)] {
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
            era = number(0)
            sequence = number(1)
            position = ChannelPosition(channel: number(2), offset: number(3))
            attempt = Int(clamping: number(4))
            failures = Int(clamping: number(5))
            job = Array(bytes[Self.headerSize...])
        }

        /// Whether these are the bytes of an entry of an era with a sequence after that.
        static func isEntry(_ bytes: RawSpan, of era: UInt64, after sequence: UInt64) -> Bool {
            bytes.byteCount >= headerSize && bytes.number(at: 0) == era && bytes.number(at: 8) > sequence
        }
    }
#endif
