public import IPC

/// Reads the messages of a channel as they pass, without joining, for debugging. It takes no slot, causes no back-pressure and
/// wakes no process; participants do not know about it.
///
/// ```swift
/// var tap = try ChannelTap("market/quotes")
/// while let message = try tap.next() { print(message.sequence, message.bytes) }
/// ```
///
/// It never waits, since nothing wakes it: poll it. What is overwritten before it is read is counted. One thread at a time may
/// use it.
public struct ChannelTap: ~Copyable {
    private var reader: LogReader
    private var memory: ChannelMemory { reader.memory }
    /// The bytes of the log that were overwritten before they were read.
    public var missedBytes: UInt64 { reader.overrun.missedBytes }

    /// A message of the channel.
    public struct Message: Sendable {
        /// Its position in the log.
        public let position: ChannelPosition
        /// The slot of its writer, and the number of messages of that slot before it.
        public let writer: Int
        public let sequence: UInt64
        /// A copy of the payload, or of its beginning; for a call, the request.
        public let bytes: [UInt8]
        /// The size of the payload in bytes.
        public let byteCount: Int
        /// Where it comes from; nil if it was written on this machine.
        public let origin: MessageOrigin?
        /// For a work queue or a service: how often it was delivered, and whether it is taken or done.
        public let work: Progress?

        public struct Progress: Sendable {
            public enum Stage: String, Sendable { case waiting, taken, done }

            public let stage: Stage
            public let attempts: Int
        }
    }

    /// - Parameters:
    ///   - name: Such as `market/quotes`.
    ///   - root: The folder of channels.
    ///   - start: The first message to read.
    /// - Throws: ``/IPC/IPCError/Code/notFound``; ``/IPC/IPCError/Code/permissionDenied`` if this user may not read the
    ///   channel.
    public init(
        _ name: String, in root: ChannelRoot = .current, from start: SubscriptionStart = .next
    ) throws(IPCError) {
        let memory = try ChannelMemory.opened(ChannelName(name), in: root)
        // Of work, only what is not done matters: the oldest is at the head.
        guard memory.carriesWork, start == .oldest else {
            let position = try start.refined(start.position(in: memory), memory)
            reader = try LogReader(observing: memory, at: position)
            return
        }
        // Aligned, whatever a peer stored there.
        reader = try LogReader(observing: memory, at: LogLayout.Frame.aligned(memory.workHead.published))
    }

    /// Whether the channel or its files were removed: no more messages will come.
    public var isRemoved: Bool { get throws(IPCError) { try memory.isGone } }

    /// The next message; nil if there is none yet.
    ///
    /// - Parameter limit: The maximum number of bytes to copy.
    public mutating func next(limit: Int = .max) throws(IPCError) -> Message? {
        let limit = max(limit, 0)
        // The payload of work begins with its header.
        let copied = memory.carriesWork ? limit.addingReportingOverflow(Work.prefixSize) : (limit, false)
        guard let (header, position) = try reader.takeCopy(limit: copied.1 ? .max : copied.0) else {
            if memory.isDeathCheckDue() { try reader.recoverClaim() }
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
            if memory.hasAnswers {
                let request = unsafe reader.overrun.copy.load(fromByteOffset: CallFrame.requestCount, as: UInt32.self)
                byteCount = min(byteCount, Int(request))
            }
        }
        let copy = unsafe UnsafeRawBufferPointer(start: reader.overrun.copy + start, count: min(byteCount, limit))
        return Message(
            position: ChannelPosition(channel: reader.memory.key, offset: position), writer: Int(header.writer),
            sequence: header.sequence, bytes: unsafe Array(copy),
            byteCount: byteCount, origin: reader.origin, work: progress)
    }
}
