public import IPC

/// A look at the messages of a channel as they pass, without taking part: it takes no slot, holds nobody back, wakes nobody,
/// and nobody knows of it. For people who debug.
///
/// ```swift
/// var tap = try ChannelTap("market/quotes")
/// while let message = try tap.next() { print(message.sequence, message.bytes) }
/// ```
///
/// It never waits, since it cannot be woken: ask again in a while. What is overwritten before it is read is counted. One
/// thread at a time may use it.
public struct ChannelTap: ~Copyable {
    private var reader: LogReader
    private var memory: ChannelMemory { reader.memory }
    /// How many bytes of the log were overwritten before they were read.
    public var missedBytes: UInt64 { reader.overrun.missedBytes }

    /// A message that passed.
    public struct Message: Sendable {
        /// Where it is in the log.
        public let position: ChannelPosition
        /// The slot of its writer, and how many messages that slot had before.
        public let writer: Int
        public let sequence: UInt64
        /// A copy of the payload, or of its beginning; of a call, the request.
        public let bytes: [UInt8]
        /// How many bytes the payload has.
        public let byteCount: Int
        /// Of a work queue and a service: how often it was handed out, and whether somebody has it or has finished it.
        public let work: Progress?

        public struct Progress: Sendable {
            public enum Stage: String, Sendable { case waiting, taken, done }

            public let stage: Stage
            public let attempts: Int
        }
    }

    /// - Parameter start: Which message is the first.
    /// - Throws: ``IPC/IPCError/Code/notFound``; ``IPC/IPCError/Code/permissionDenied`` if this user may not read the channel.
    public init(
        _ name: String, in root: ChannelRoot = .current, from start: SubscriptionStart = .next
    ) throws(IPCError) {
        let memory = try ChannelMemory.opened(ChannelName(name), in: root)
        // What is done does not matter any more.
        guard memory.carriesWork, start == .oldest else {
            let position = try start.refined(start.position(in: memory), memory)
            reader = try LogReader(observing: memory, at: position)
            return
        }
        // Aligned, whatever a peer stored there.
        reader = try LogReader(observing: memory, at: LogLayout.Frame.aligned(memory.workHead.published))
    }

    /// Whether the channel was taken away, or its files: what has passed by then is all that there is.
    public var isRemoved: Bool { get throws(IPCError) { try memory.isGone } }

    /// The next message; nil if there is none yet.
    ///
    /// - Parameter limit: How many bytes of it are wanted at most: no more are copied.
    public mutating func next(limit: Int = .max) throws(IPCError) -> Message? {
        let limit = max(limit, 0)
        // Before the payload of work, its state.
        let copied = memory.carriesWork ? limit.addingReportingOverflow(Work.prefixSize) : (limit, false)
        guard let (header, position) = try reader.takeCopy(limit: copied.1 ? .max : copied.0) else {
            if memory.isLookDue() { try reader.recoverClaim() }
            return nil
        }
        return message(header, at: position, limit)
    }

    private func message(_ header: FrameHeader, at position: UInt64, _ limit: Int) -> Message {
        var (start, byteCount) = (0, Int(header.length))
        var progress: Message.Progress?
        if memory.carriesWork, byteCount >= Work.prefixSize {
            let state = Work.State(word: unsafe reader.overrun.copy.load(as: UInt64.self))
            let stage: Message.Progress.Stage =
                switch state.stage {
                case Work.Stage.available: .waiting
                case Work.Stage.taken: .taken
                default: .done
                }
            progress = Message.Progress(stage: stage, attempts: state.attempts)
            (start, byteCount) = (Work.prefixSize, byteCount - Work.prefixSize)
            if memory.pattern == .service {
                let request = unsafe reader.overrun.copy.load(fromByteOffset: CallFrame.requestCount, as: UInt32.self)
                byteCount = min(byteCount, Int(request))
            }
        }
        let copy = unsafe UnsafeRawBufferPointer(start: reader.overrun.copy + start, count: min(byteCount, limit))
        return Message(
            position: ChannelPosition(channel: reader.memory.key, offset: position), writer: Int(header.writer),
            sequence: header.sequence, bytes: unsafe Array(copy),
            byteCount: byteCount, work: progress)
    }
}
