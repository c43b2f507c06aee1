#if NATS
    import IPC
    import IPCChannels
    import Synchronization

    /// A subscription of a topic that blocks, which stays where everything before it is stored elsewhere. Publishers wait when the log is
    /// full beyond it.
    final class TopicKeeper: Sendable {
        private let reader: Mutex<ChannelReader>
        /// Of the channel that it has joined.
        let incarnation: UInt64

        /// Begins with the oldest message.
        init(_ channel: AnyChannel) throws(IPCError) {
            let reader = try channel.makeReader(from: .oldest)
            incarnation = reader.position?.channel ?? 0
            self.reader = Mutex(reader)
        }

        /// Moves on to a position between two messages. Never blocks. Safe from several threads.
        func move(to position: UInt64) {
            reader.withLock { reader in
                // These messages were read before: whatever is wrong with the log was told then.
                while reader.endPosition < position, (try? reader.tryBorrow()) != nil { try? reader.advance() }
                // Publishers that wait for room learn of it.
                _ = reader.readiness()
            }
        }
    }
#endif
