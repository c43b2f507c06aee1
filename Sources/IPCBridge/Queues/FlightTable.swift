#if NATS
    import IPC
    import IPCChannels

    /// The jobs of one stream that are on this machine and not acknowledged there, in a small file beside the channels: it outlives the
    /// bridge's process, and tells of a job also when that is done and its place in the queue was used again.
    ///
    /// A job is entered before it is written into the queue, so that one of which the table knows no place is found in the log, if it
    /// was written at all.
    struct FlightTable {
        struct Entry {
            let slot: Int
            let sequence: UInt64
            let consumerSequence: UInt64
            let deliveries: Int
            /// Nil if that was not noted any more.
            let position: ChannelPosition?
        }

        /// How many jobs may be entered.
        static let count = 256
        private static let stride = 5
        private static let unknown = UInt64.max

        private let file: NoteFile
        private var free: [Int] = []
        /// What a predecessor has left.
        private(set) var found: [Entry] = []
        /// Whether it belongs to an earlier stream of the same name.
        let isOfOtherStream: Bool

        /// - Parameters:
        ///   - name: One that no other stream has.
        ///   - stream: Which stream of that name: not 0.
        init(_ name: String, of stream: UInt64, in root: ChannelRoot) throws(IPCError) {
            file = try NoteFile(name, count: 1 + Self.count * Self.stride, in: root)
            isOfOtherStream = file[0] != 0 && file[0] != stream
            for slot in (0..<Self.count).reversed() {
                let start = 1 + slot * Self.stride
                if isOfOtherStream { file[start] = 0 }
                guard file[start] != 0 else {
                    free.append(slot)
                    continue
                }
                let offset = file[start + 2]
                found.append(
                    Entry(
                        slot: slot, sequence: file[start], consumerSequence: file[start + 3],
                        deliveries: Int(clamping: file[start + 4]),
                        position: offset == Self.unknown
                            ? nil : ChannelPosition(channel: file[start + 1], offset: offset)))
            }
            file[0] = stream
        }

        /// Enters a job that will be written now.
        ///
        /// - Returns: Nil if the table is full.
        mutating func begin(_ work: WorkMessage) -> Int? {
            guard let slot = free.popLast() else { return nil }
            let start = 1 + slot * Self.stride
            file[start + 2] = Self.unknown
            file[start + 3] = work.consumerSequence
            file[start + 4] = UInt64(work.deliveries)
            // It is an entry from here on.
            file[start] = work.sequence
            return slot
        }

        /// Notes where a job is.
        func note(_ slot: Int, _ position: ChannelPosition) {
            let start = 1 + slot * Self.stride
            file[start + 1] = position.channel
            file[start + 2] = position.offset
        }

        /// Removes an entry.
        mutating func end(_ slot: Int) {
            file[1 + slot * Self.stride] = 0
            free.append(slot)
        }
    }
#endif
