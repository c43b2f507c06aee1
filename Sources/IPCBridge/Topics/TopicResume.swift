#if NATS
    import IPCChannels

    /// Where the export of a topic goes on, from what the server and this machine know.
    struct ExportResume: Equatable, Sendable {
        /// Messages that end at this position or before it are carried already; nil if nothing of this incarnation is.
        var position: UInt64?
        /// The sequence of the stream's last message.
        var sequence: UInt64

        /// - Parameters:
        ///   - incarnation: Of the local channel.
        ///   - lastSequence: The stream's.
        ///   - last: Of the last message that the stream still has: the incarnation, where its last record ends, and whether that is only
        ///     the beginning of a large message.
        ///   - checkpoint: What this machine noted: its incarnation, position and sequence.
        init(
            _ incarnation: UInt64, lastSequence: UInt64, last: (incarnation: UInt64, end: UInt64, isIncomplete: Bool)?,
            checkpoint: (incarnation: UInt64, position: UInt64, sequence: UInt64)
        ) {
            sequence = lastSequence
            if let last, last.incarnation == incarnation {
                // An incomplete message is sent again, from its first part on. The one before it ends earlier.
                position = last.isIncomplete ? last.end - 1 : last.end
            }
            // Of a stream that was made anew, nothing counts as carried but what it has.
            if checkpoint.incarnation == incarnation, checkpoint.sequence <= lastSequence,
                checkpoint.position > position ?? 0
            {
                position = checkpoint.position
            }
        }
    }

    /// Where the import of a topic goes on.
    struct ImportResume: Equatable, Sendable {
        enum First: Equatable, Sendable {
            case sequence(UInt64)
            case time(Int64)
        }

        /// The first batch to read.
        var first: First
        /// Of this incarnation of the origin's channel, messages up to this position are here already.
        var incarnation: UInt64 = 0
        var position: UInt64 = 0

        /// - Parameters:
        ///   - newest: The newest origin of that machine in the local log.
        ///   - checkpoint: What this machine noted, nil if nothing.
        ///   - isOther: Whether the two name sequences of another stream than the one that there is now.
        ///   - sequences: From the stream's first to the one that the next batch will have.
        ///   - start: The rule's, for a machine that has read nothing.
        ///   - isNew: Whether the stream was made while this machine was there already, so that all of it is new.
        init(
            newest: MessageOrigin?, checkpoint: (incarnation: UInt64, position: UInt64, sequence: UInt64)?,
            isOther: Bool = false, sequences: ClosedRange<UInt64>, start: ChannelRule.Start, isNew: Bool
        ) {
            // What comes twice is known by its position. A number beyond the stream's last is of another stream.
            func resumed(_ sequence: UInt64) -> First {
                .sequence(isOther || sequence > sequences.upperBound ? 1 : max(sequence, 1))
            }
            if let newest {
                // The note is behind the log, or says that the stream is another one since.
                first = resumed(min(newest.sequence, checkpoint?.sequence ?? .max))
                (incarnation, position) = (newest.channel, newest.position)
                return
            }
            if let checkpoint {
                first = resumed(checkpoint.sequence)
                (incarnation, position) = (checkpoint.incarnation, checkpoint.position)
                return
            }
            first =
                switch start {
                case .next: .sequence(isNew ? 1 : sequences.upperBound)
                case .oldest: .sequence(max(sequences.lowerBound, 1))
                case .time(let time): .time(time)
                }
        }

        /// Whether a message is here already.
        func isKnown(_ incarnation: UInt64, _ position: UInt64) -> Bool {
            incarnation == self.incarnation && position <= self.position
        }
    }
#endif
