#if NATS
    import IPCChannels

    /// Collects messages of a topic for one message of NATS: a batch.
    struct TopicBatch: Sendable {
        /// The maximum size of a batch in bytes, where the server takes as much: four messages of 64 KiB. The larger, the less the server has to do
        /// for a byte.
        private static let largest = 264 << 10
        /// What is larger, in bytes, travels alone.
        private static let largestInBatch = 128 << 10
        /// A batch of so many bytes gains little from more, and does not wait for it.
        private static let enough = 60 << 10

        /// The maximum size of the body of a message of NATS in bytes.
        var bodyLimit: Int
        private let usualLimit: Int
        private var writer: EnvelopeWriter
        /// The position after its last message, in the log of its origin.
        private var end: UInt64 = 0
        /// The messages that were lost before this batch.
        var missed: UInt64 = 0

        var isEmpty: Bool { writer.isEmpty }

        /// Whether it is large enough to be sent at once, if there is nothing more.
        var hasEnough: Bool { writer.byteCount >= Self.enough }

        /// - Parameters:
        ///   - bodyLimit: The maximum size of the body of a message of NATS in bytes.
        ///   - kept: How many bytes the server keeps; nil for many. It drops whole batches: of a little, they should not be much.
        init(machine: Machine, incarnation: UInt64, bodyLimit: Int, kept: Int? = nil) {
            self.bodyLimit = bodyLimit
            usualLimit = min(Self.largest, max((kept ?? .max) / 16, 4096))
            writer = EnvelopeWriter(Envelope.Header(kind: .batch, machine: machine.hash, incarnation: incarnation))
        }

        private var limit: Int { min(usualLimit, bodyLimit) }

        /// Whether a message of this size can travel in a batch with others.
        func canCarry(_ byteCount: Int) -> Bool {
            byteCount <= Self.largestInBatch && Envelope.headerSize + EnvelopeWriter.size(of: byteCount) <= limit
        }

        /// Whether a message of this size goes into this one.
        func hasRoom(_ byteCount: Int) -> Bool {
            writer.byteCount + EnvelopeWriter.size(of: byteCount) <= limit
                && writer.count < Envelope.maximumCount
        }

        /// Adds a message.
        ///
        /// - Parameters:
        ///   - message: There is room for it.
        ///   - end: The position after it.
        mutating func append(_ message: RawSpan, end: UInt64) {
            writer.append(position: end, message)
            self.end = end
        }

        /// The batch as the body of a message of NATS, after which it is empty.
        mutating func take() -> SentBatch {
            let count = writer.count
            writer.header.missed = missed
            defer { missed = 0 }
            return SentBatch(bytes: writer.finish(), end: end, count: Int(count), missed: missed)
        }

        /// A message that is too large for a batch, in one message of NATS or in parts. Before this call, the batch has to be taken.
        ///
        /// - Parameters:
        ///   - message: The message.
        ///   - start: The position before it, or an earlier one.
        ///   - end: The position after it.
        mutating func takeAlone(_ message: RawSpan, from start: UInt64, to end: UInt64) -> [SentBatch] {
            guard Envelope.headerSize + EnvelopeWriter.size(of: message.byteCount) > bodyLimit else {
                append(message, end: end)
                return [take()]
            }
            let size = max(bodyLimit - Envelope.headerSize - EnvelopeWriter.size(of: TopicParts.prefixSize), 1)
            let total = (message.byteCount + size - 1) / size
            var parts = EnvelopeWriter(writer.header)
            parts.header.kind = .part
            return (0..<total).map { index in
                let piece = message.extracting(index * size..<min((index + 1) * size, message.byteCount))
                let missed = index == 0 ? self.missed : 0
                self.missed = 0
                parts.header.missed = missed
                parts.appendPart(index, of: total, position: end, piece)
                // Until the last part is stored, the message is still needed.
                let isLast = index == total - 1
                return SentBatch(
                    bytes: parts.finish(), end: isLast ? end : start, count: isLast ? 1 : 0, missed: missed)
            }
        }
    }

    /// A message of NATS that was made, and is kept until it is stored.
    struct SentBatch: Sendable {
        let bytes: [UInt8]
        /// Once it is stored, messages before this position of the log are no longer needed.
        let end: UInt64
        /// The messages that end in it.
        let count: Int
        let missed: UInt64
    }

    /// Puts the parts of large messages together.
    struct TopicParts {
        /// What stands before a piece of a message: its index, and how many there are.
        static let prefixSize = 8

        private var position: UInt64 = 0
        private var next = 0
        private(set) var bytes: [UInt8] = []

        /// Adds a part. Parts begin anew where a bridge was restarted between them.
        ///
        /// - Returns: Whether the message is complete, in ``bytes``. False also for a part whose predecessors are missing.
        mutating func add(_ piece: RawSpan, index: Int, of count: Int, position: UInt64) -> Bool {
            if index == 0 {
                (self.position, next) = (position, 0)
                bytes.removeAll()
            }
            guard index == next, position == self.position else { return false }
            piece.withUnsafeBytes { bytes.append(contentsOf: $0) }
            next += 1
            return next == count
        }

        /// Frees the memory.
        mutating func clear() { self = TopicParts() }
    }
#endif
