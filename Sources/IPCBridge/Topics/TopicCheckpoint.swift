#if NATS
    import IPC
    import IPCChannels

    /// How far a topic was carried, in a small file beside the channels: it outlives the bridge's process, and is lost with the channels'
    /// memory.
    ///
    /// Each field is stored by itself, in such an order that a process killed between two of them leaves what is still true.
    struct TopicCheckpoint: Sendable {
        private let file: NoteFile

        /// - Parameter name: A name of ``ServerNames``, which no other channel and no other direction has.
        init(_ name: String, in root: ChannelRoot) throws(IPCError) { file = try NoteFile(name, in: root) }

        /// The incarnation of the channel at the origin.
        private(set) var incarnation: UInt64 {
            get { file[0] }
            nonmutating set { file[0] = newValue }
        }
        /// The position after the last message that was carried, in the log of the origin.
        private(set) var position: UInt64 {
            get { file[1] }
            nonmutating set { file[1] = newValue }
        }
        /// The sequence in the stream of the batch that this message is in.
        private(set) var sequence: UInt64 {
            get { file[2] }
            nonmutating set { file[2] = newValue }
        }
        /// Which stream that is, ``StreamState/identity``; 0 for none yet.
        private(set) var stream: UInt64 {
            get { file[4] }
            nonmutating set { file[4] = newValue }
        }
        /// Whether it was decided where to begin: 1 if so.
        private var mark: UInt64 {
            get { file[3] }
            nonmutating set { file[3] = newValue }
        }
        var isBegun: Bool { mark != 0 }

        /// Nothing counts as carried any more.
        func forget() { position = 0 }

        /// Says which stream the sequences are of from now on.
        ///
        /// - Parameter sequence: Where it is read from; nil where it is written.
        func change(to stream: UInt64, sequence: UInt64?) {
            if let sequence { self.sequence = sequence }
            self.stream = stream
        }

        /// Says where reading begins.
        ///
        /// - Parameter sequence: Of the first batch.
        func begin(at sequence: UInt64) {
            (incarnation, position) = (0, 0)
            self.sequence = sequence
            mark = 1
        }

        /// Says that all messages up to a position are carried.
        func advance(_ incarnation: UInt64, _ position: UInt64, sequence: UInt64) {
            if self.incarnation != incarnation {
                // Between these stores nothing of the new incarnation counts as carried.
                self.position = 0
                self.incarnation = incarnation
            }
            self.position = position
            self.sequence = sequence
            mark = 1
        }
    }
#endif
