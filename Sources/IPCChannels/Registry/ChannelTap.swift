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
        /// A copy of the payload; of a call, the request.
        public let bytes: [UInt8]
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
        position = try isWork ? memory.workHead.published : start.refined(start.position(in: memory), memory)
        overrun = OverrunGuard(memory, isAlwaysCopied: true)
        self.memory = memory
    }

    /// Whether somebody took the channel away: it will bring nothing more.
    public var isRemoved: Bool { memory.isRemoved }

    /// The next message; nil if there is none yet.
    public mutating func next() throws(IPCError) -> Message? {
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
                unsafe overrun.take(frame + LogLayout.Frame.headerSize, header, at: here)
            else {
                if skipOverwritten() { continue }
                throw memory.corrupted("the frame at \(here) is larger than the log allows")
            }
            position &+= header.size
            if header.kind == LogLayout.Kind.message { return message(header, at: here) }
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

    private func message(_ header: FrameHeader, at position: UInt64) -> Message {
        var bytes = unsafe Array(UnsafeRawBufferPointer(start: overrun.copy, count: Int(header.length)))
        var progress: Message.Progress?
        if memory.carriesWork, bytes.count >= Work.prefixSize {
            let state = Work.State(word: unsafe overrun.copy.load(as: UInt64.self))
            let stage: Message.Progress.Stage =
                switch state.stage {
                case Work.Stage.available: .waiting
                case Work.Stage.taken: .taken
                default: .done
                }
            progress = Message.Progress(stage: stage, attempts: state.attempts)
            var count = bytes.count - Work.prefixSize
            if memory.pattern == .service {
                let request = unsafe overrun.copy.load(fromByteOffset: CallFrame.requestCount, as: UInt32.self)
                count = min(count, Int(request))
            }
            bytes = Array(bytes[Work.prefixSize...].prefix(count))
        }
        return Message(
            position: position, writer: Int(header.writer), sequence: header.sequence, bytes: bytes, work: progress)
    }
}
