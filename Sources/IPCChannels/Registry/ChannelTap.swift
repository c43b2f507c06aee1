public import IPC
import Synchronization

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
    private let memory: ChannelMemory
    private var position: UInt64
    private var overrun: OverrunGuard
    /// How many bytes of the log were overwritten before they were read.
    public private(set) var missedBytes: UInt64 = 0

    /// A message that passed.
    public struct Message: Sendable {
        /// Where it is in the log.
        public let position: UInt64
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
    /// - Throws: ``IPC/IPCError/Code/notFound``.
    public init(
        _ name: String, in root: ChannelRoot = .current, from start: SubscriptionStart = .next
    ) throws(IPCError) {
        let memory = try ChannelMemory(ChannelName(name), in: .root(root), logAccess: .readOnly)
        // What is done does not matter any more.
        let isWork = memory.carriesWork && start == .oldest
        // Aligned, whatever a peer stored there.
        position =
            try isWork
            ? LogLayout.Frame.aligned(memory.workHead.published) : start.refined(start.position(in: memory), memory)
        overrun = OverrunGuard(memory, isAlwaysCopied: true)
        self.memory = memory
    }

    /// Whether somebody took the channel away: it will bring nothing more.
    public var isRemoved: Bool { memory.isRemoved }

    /// The next message; nil if there is none yet.
    ///
    /// - Parameter limit: How many bytes of it are wanted at most: no more are copied.
    public mutating func next(limit: Int = .max) throws(IPCError) -> Message? {
        let limit = max(limit, 0)
        // Before the payload of work, its state.
        let copied = memory.carriesWork ? limit.addingReportingOverflow(Work.prefixSize) : (limit, false)
        for _ in 0..<memory.frameLimit {
            guard memory.isCommitted(position) else {
                if skipOverwritten() { continue }
                // What a dead writer has claimed hides what comes after it, and there may be nobody else who looks.
                if memory.isLookDue(), memory.hasSharedWriters, memory.tail.published > position {
                    try Recovery.tryRun(memory)
                }
                return nil
            }
            let frame = unsafe memory.log + Int(truncatingIfNeeded: position & memory.mask)
            let header = unsafe FrameHeader(frame)
            let here = position
            guard header.isValid(upTo: memory.maximumFrame),
                unsafe overrun.take(
                    frame + LogLayout.Frame.headerSize, header, at: here, limit: copied.1 ? .max : copied.0)
            else {
                if skipOverwritten() { continue }
                throw memory.corrupted("the frame at \(here) is larger than the log allows")
            }
            position &+= header.size
            if header.kind == LogLayout.Kind.message { return message(header, at: here, limit) }
        }
        return nil
    }

    private mutating func skipOverwritten() -> Bool {
        guard memory.mayBeOverwritten(position) else { return false }
        let oldest = memory.oldestSafe
        let next = max(LogPositions.first(memory, from: oldest), oldest)
        missedBytes &+= next &- position
        position = next
        return true
    }

    private func message(_ header: FrameHeader, at position: UInt64, _ limit: Int) -> Message {
        var (start, byteCount) = (0, Int(header.length))
        var progress: Message.Progress?
        if memory.carriesWork, byteCount >= Work.prefixSize {
            let state = Work.State(word: unsafe overrun.copy.load(as: UInt64.self))
            let stage: Message.Progress.Stage =
                switch state.stage {
                case Work.Stage.available: .waiting
                case Work.Stage.taken: .taken
                default: .done
                }
            progress = Message.Progress(stage: stage, attempts: state.attempts)
            (start, byteCount) = (Work.prefixSize, byteCount - Work.prefixSize)
            if memory.pattern == .service {
                let request = unsafe overrun.copy.load(fromByteOffset: CallFrame.requestCount, as: UInt32.self)
                byteCount = min(byteCount, Int(request))
            }
        }
        let copy = unsafe UnsafeRawBufferPointer(start: overrun.copy + start, count: min(byteCount, limit))
        return Message(
            position: position, writer: Int(header.writer), sequence: header.sequence, bytes: unsafe Array(copy),
            byteCount: byteCount, work: progress)
    }
}
