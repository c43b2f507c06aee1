public import IPC

/// The properties and participants of a channel, read without joining it.
///
/// ```swift
/// for name in try ChannelRoot.current.names() {
///     let channel = try ChannelDescription(name)
///     print(channel.name, channel.pattern, channel.messageType, channel.participants.count)
/// }
/// ```
///
/// Other processes change this memory during the call: each figure was true at some moment of it.
public struct ChannelDescription: Sendable {
    public let name: ChannelName
    public let pattern: ChannelPattern
    /// The name of the message type, such as `Quote`, or `bytes`. For a service, all three of its types.
    public let messageType: String
    /// The size of each message in bytes; nil if it varies.
    public let messageSize: Int?
    /// What it was created with.
    public let attributes: ChannelAttributes
    /// The bytes claimed in the log since the channel was created.
    public let position: UInt64
    /// The messages published since the channel was created, including abandoned ones.
    public let publishedCount: UInt64
    /// How often a sleeping participant was woken.
    public let wakeUpCount: UInt64
    /// For a work queue or a service: how often a message was given back.
    public let redeliveryCount: UInt64
    /// How often the state of a dead participant was recovered.
    public let recoveryCount: UInt64
    /// The messages in the log: for a topic or a latest value, those that are kept; for a queue or a service, those that are
    /// not done.
    public let messageCount: Int
    /// For a work queue or a service: the messages that a participant has taken.
    public let takenCount: Int
    /// For a work queue or a service: the messages that are set aside. They were given back, are delayed, or are held while
    /// later ones are done. They do not block the log space behind them.
    public let asideCount: Int
    /// Bytes of the log: from the oldest message that is neither done nor set aside to the end; set aside; and done, but behind
    /// the oldest one and so not free yet.
    public let occupiedBytes, asideBytes, doneBytes: Int
    /// For a work queue: the maximum number of deliveries of a message (nil for no limit), and when a rejected one is
    /// redelivered.
    public let maximumAttempts: Int?
    public let backoff: RetryBackoff?
    /// For a service: the maximum number of calls that wait for a server; nil for no limit.
    public let maximumWaiting: Int?
    /// For an event: the notices that no wait has taken.
    public let pendingNotices: Int
    /// Readers, then writers, then guests, each in the order of their slots.
    public let participants: [Participant]

    /// A participant of the channel.
    public struct Participant: Sendable {
        public enum Role: Sendable {
            case reader, writer
            /// A reader that may write nothing but its cursor: ``ChannelOptions/subscriberPermissions``.
            case guest
        }

        public let role: Role
        /// Its process, in its own pid namespace.
        public let process: Int32
        /// Whether it is alive, according to the kernel. For a user who may only read the channel: whether a process with that
        /// number exists. A dead participant needs no action: the next participant that encounters its state recovers it.
        public let isAlive: Bool
        /// Whether it belongs to this process.
        public let isOwn: Bool
        /// For a reader that causes back-pressure: the bytes of the log that it has not read.
        public let backlog: Int?
    }

    /// Reads the state of a channel.
    ///
    /// - Parameters:
    ///   - name: Such as `market/quotes`.
    ///   - root: The folder of channels.
    ///   - countsMessages: Whether to scan the log and count its messages; otherwise those counts are 0.
    /// - Throws: ``/IPC/IPCError/Code/notFound``; ``/IPC/IPCError/Code/corrupted``; ``/IPC/IPCError/Code/permissionDenied``.
    public init(
        _ name: ChannelName, in root: ChannelRoot = .current, countsMessages: Bool = true
    ) throws(IPCError) {
        let memory = try ChannelMemory.opened(name, in: root)
        self.name = name
        pattern = try memory.pattern
        let type = try memory.messageType
        messageType = type.name
        messageSize = (pattern == .service ? type.size : type.stride) > 0 ? type.size : nil
        attributes = memory.attributes
        let last = memory.hasSharedWriters ? nil : try LogPositions.end(memory)
        let end = if let last { last.position } else { try memory.checkedTail() }
        position = end
        let slots = (0..<memory.usedWriters).map { memory.writer($0, LogLayout.WriterSlot.sequence).relaxed }
        publishedCount = last?.sequence ?? slots.reduce(0, &+)
        memory.lookAtGuests()
        wakeUpCount = UInt64(memory.waitingReaders.wakeUpCount) + UInt64(memory.waitingWriters.wakeUpCount)
        redeliveryCount = memory.redeliveries.relaxed
        let retries = pattern == .workQueue ? memory.retryPolicy : nil
        maximumAttempts = retries?.maximumAttempts == .max ? nil : retries?.maximumAttempts
        backoff = retries?.backoff
        maximumWaiting = pattern != .service || memory.maximumWaiting == 0 ? nil : memory.maximumWaiting
        recoveryCount = UInt64(memory.recoveries.relaxed)
        var counts = Counts()
        if countsMessages { counts.count(memory, upTo: end) }
        messageCount = counts.messages
        takenCount = counts.taken
        asideCount = counts.aside
        (occupiedBytes, asideBytes, doneBytes) = (counts.occupiedBytes, counts.asideBytes, counts.doneBytes)
        pendingNotices = EventNotices(memory).pending
        participants = try Self.participants(memory, pattern, end)
    }

    /// - Parameter end: The end of what is claimed in the log.
    static func participants(
        _ memory: ChannelMemory, _ pattern: ChannelPattern, _ end: UInt64
    ) throws(IPCError) -> [Participant] {
        var participants: [Participant] = []
        for (role, slot) in memory.usedSlots where memory.state(role, slot).relaxed != 0 {
            participants.append(try participant(memory, pattern, role, slot, end))
        }
        return participants
    }

    private static func participant(
        _ memory: ChannelMemory, _ pattern: ChannelPattern, _ role: ParticipantRole, _ slot: Int, _ end: UInt64
    ) throws(IPCError) -> Participant {
        var backlog: Int?
        if role != .writer, !memory.carriesWork, !memory.overwrites, pattern != .event {
            let cursor = memory.cursor(role, slot).published
            // The cursor is slightly behind what was read: readers publish it only now and then.
            backlog = cursor <= end ? Int(clamping: end - cursor) : nil
        }
        return Participant(
            role: role == .writer ? .writer : role == .guest ? .guest : .reader,
            process: Int32(truncatingIfNeeded: memory.process(role, slot).relaxed),
            isAlive: try memory.isAlive(role, slot), isOwn: OwnSlots.contains(memory, role, slot), backlog: backlog)
    }

    private struct Counts {
        var (messages, taken, aside) = (0, 0, 0)
        var (occupiedBytes, asideBytes, doneBytes) = (0, 0, 0)

        /// Scans the log. Stops where it is overwritten meanwhile.
        mutating func count(_ memory: ChannelMemory, upTo end: UInt64) {
            let isWork = memory.carriesWork
            let start = isWork ? memory.workHead.published : LogPositions.first(memory, from: memory.oldestSafe)
            if isWork { countAside(memory) }
            var position = start
            for _ in 0..<memory.frameLimit {
                guard position < end, LogLayout.Frame.isAligned(position), memory.isCommitted(position) else { break }
                let header = unsafe FrameHeader(memory.log + Int(truncatingIfNeeded: position & memory.mask))
                guard header.isValid(upTo: memory.maximumFrame) else { break }
                let isMessage = header.isMessage && (!isWork || header.hasWorkOrNone)
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
