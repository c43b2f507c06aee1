public import IPC

/// What a channel is like, and who takes part in it: read without joining it.
///
/// ```swift
/// for name in try ChannelRoot.current.names() {
///     let channel = try ChannelDescription(name)
///     print(channel.name, channel.pattern, channel.messageType, channel.participants.count)
/// }
/// ```
///
/// It is a look at memory that others change meanwhile: each figure was true at some moment of the call.
public struct ChannelDescription: Sendable {
    public let name: ChannelName
    public let pattern: ChannelPattern
    /// The full name of the messages' type, such as `MarketData.Quote`, or `bytes`; of a service, all three of its types.
    public let messageType: String
    /// Bytes of each message; nil if they vary.
    public let messageSize: Int?
    /// What its creator chose.
    public let options: ChannelOptions
    /// Bytes that were claimed in the log since the channel was made.
    public let position: UInt64
    /// Messages that were published since the channel was made, with those that were given up.
    public let publishedCount: UInt64
    /// How often somebody who slept was woken.
    public let wakeUpCount: UInt64
    /// Of a work queue and a service: how often something was given back.
    public let redeliveryCount: UInt64
    /// How often what a dead participant had left was recovered.
    public let recoveryCount: UInt64
    /// Messages that are in the log: of a topic and a latest value, those that are kept; of a queue and a service, those
    /// that are not done.
    public let messageCount: Int
    /// Of a work queue and a service: how many of the messages somebody has taken.
    public let takenCount: Int
    /// Of a work queue and a service: how many are set aside. They were given back, wait for their time, or are held while others
    /// behind them are done; they keep nobody from room.
    public let asideCount: Int
    /// Bytes of the log between the oldest message that is not done, but for what is set aside, and the end; of what is set aside;
    /// and of what is done behind the oldest, and not free yet.
    public let occupiedBytes, asideBytes, doneBytes: Int
    /// Of a work queue: how often a message is handed out at most (nil for no limit), and when it comes again.
    public let maximumAttempts: Int?
    public let backoff: RetryBackoff?
    /// Of a service: how many calls may wait that no server has taken; nil for no limit.
    public let maximumWaiting: Int?
    /// Of an event: notices that nobody has taken.
    public let pendingNotices: Int
    /// Readers first, then writers, then guests, each in the order of their slots.
    public let participants: [Participant]

    /// One that has joined.
    public struct Participant: Sendable {
        public enum Role: Sendable {
            case reader, writer
            /// A reader that may write nothing but its cursor: ``ChannelOptions/subscriberPermissions``.
            case guest
        }

        public let role: Role
        /// Its process, by its own pid namespace.
        public let process: Int32
        /// Whether it lives, by the kernel's word; to a user who may only read the channel, whether there is a process of that
        /// number. Nothing has to be done about a dead one: the next participant that
        /// meets what it left recovers it.
        public let isAlive: Bool
        /// Of a reader that holds writers back: how many bytes of the log it has not read.
        public let backlog: Int?
    }

    /// Looks at a channel.
    ///
    /// - Parameter countsMessages: Whether to walk through the log to count what is in it; else those counts are 0.
    /// - Throws: ``IPC/IPCError/Code/notFound``; ``IPC/IPCError/Code/corrupted``;
    ///   ``IPC/IPCError/Code/permissionDenied``.
    public init(
        _ name: ChannelName, in root: ChannelRoot = .current, countsMessages: Bool = true
    ) throws(IPCError) {
        let memory = try ChannelMemory.opened(name, in: root)
        self.name = name
        pattern = memory.pattern
        messageType = memory.messageType.name
        messageSize = memory.messageType.size > 0 ? memory.messageType.size : nil
        options = memory.options
        let last = memory.hasSharedWriters ? nil : try LogPositions.end(memory)
        let end = if let last { last.position } else { try memory.checkedTail() }
        position = end
        let slots = (0..<memory.usedWriters).map { memory.writer($0, LogLayout.WriterSlot.sequence).relaxed }
        publishedCount = last?.sequence ?? slots.reduce(0, &+)
        memory.lookAtGuests()
        wakeUpCount = UInt64(memory.sleepingReaders.wakeUpCount) + UInt64(memory.sleepingWriters.wakeUpCount)
        redeliveryCount = memory.redeliveries.relaxed
        let retries = memory.pattern == .workQueue ? memory.retryPolicy : nil
        maximumAttempts = retries?.maximumAttempts == .max ? nil : retries?.maximumAttempts
        backoff = retries?.backoff
        maximumWaiting = memory.maximumWaiting == 0 ? nil : memory.maximumWaiting
        recoveryCount = UInt64(memory.recoveries.relaxed)
        var counts = Counts()
        if countsMessages { counts.count(memory, upTo: end) }
        messageCount = counts.messages
        takenCount = counts.taken
        asideCount = counts.aside
        (occupiedBytes, asideBytes, doneBytes) = (counts.occupiedBytes, counts.asideBytes, counts.doneBytes)
        pendingNotices = Int(clamping: memory.word(LogLayout.eventNotices).published)
        var participants: [Participant] = []
        for (role, slot) in memory.usedSlots where memory.state(role, slot).relaxed != 0 {
            participants.append(try Self.participant(memory, role, slot, end))
        }
        self.participants = participants
    }

    private static func participant(
        _ memory: ChannelMemory, _ role: Membership.Role, _ slot: Int, _ end: UInt64
    ) throws(IPCError) -> Participant {
        var backlog: Int?
        if role != .writer, !memory.carriesWork, !memory.overwrites, memory.pattern != .event {
            let cursor = memory.cursor(role, slot).published
            // A little behind what it has read: it tells only now and then.
            backlog = cursor <= end ? Int(clamping: end - cursor) : nil
        }
        return Participant(
            role: role == .writer ? .writer : role == .guest ? .guest : .reader,
            process: Int32(truncatingIfNeeded: memory.process(role, slot).relaxed),
            isAlive: try memory.isAlive(role, slot), backlog: backlog)
    }

    private struct Counts {
        var (messages, taken, aside) = (0, 0, 0)
        var (occupiedBytes, asideBytes, doneBytes) = (0, 0, 0)

        /// Walks the log; stops where it is overwritten meanwhile.
        mutating func count(_ memory: ChannelMemory, upTo end: UInt64) {
            let isWork = memory.carriesWork
            let start = isWork ? memory.workHead.published : LogPositions.first(memory, from: memory.oldestSafe)
            if isWork { countAside(memory) }
            var position = start
            for _ in 0..<memory.frameLimit {
                guard position < end, LogLayout.Frame.isAligned(position), memory.isCommitted(position) else { break }
                let header = unsafe FrameHeader(memory.log + Int(truncatingIfNeeded: position & memory.mask))
                guard header.isValid(upTo: memory.maximumFrame) else { break }
                let isMessage = header.kind == LogLayout.Kind.message && (!isWork || header.hasWorkOrNone)
                if isWork {
                    let state = Work.State(word: isMessage ? memory.workState(at: position).published : 0)
                    if !isMessage || state.stage == Work.Stage.done {
                        doneBytes += Int(header.size)
                    } else if !state.isAside {
                        add(state)
                    }
                } else if isMessage {
                    messages += 1
                }
                position &+= header.size
            }
            if isWork { occupiedBytes = Int(clamping: max(position, start) - start) }
        }

        private mutating func countAside(_ memory: ChannelMemory) {
            memory.scanAside { header, position in
                let state = Work.State(word: memory.workState(at: position).published)
                guard state.isAside, state.stage != Work.Stage.done else { return }
                aside += 1
                asideBytes += Int(header.size)
                add(state)
            }
        }

        private mutating func add(_ state: Work.State) {
            messages += 1
            if state.stage == Work.Stage.taken { taken += 1 }
        }
    }
}
