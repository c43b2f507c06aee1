public import IPC
import Synchronization

// For a bridge that carries messages between machines: each message that it writes has its origin with it, so that after a crash the
// log itself tells what was written.
extension ChannelWriter {
    /// Publishes, sends or sets a copy of a message from another machine, together with its origin: readers see both or neither.
    /// Blocks the thread while there is no room.
    ///
    /// The origin takes 32 bytes of the log, so the largest message is smaller by that than one without.
    ///
    /// - Parameters:
    ///   - bytes: A value of the channel's type.
    ///   - origin: Where it comes from.
    ///   - options: For a work queue: a delay, or a time to live.
    ///   - deadline: How long to wait for room.
    /// - Returns: Where it begins in this channel's log. For a work queue, what ``jobState(at:)`` takes.
    /// - Throws: As `write(_:_:until:)`.
    @discardableResult
    public mutating func write(
        _ bytes: RawSpan, origin: MessageOrigin, _ options: JobOptions = JobOptions(), until deadline: Deadline = .never
    ) throws(IPCError) -> ChannelPosition {
        if let position = try put(bytes, origin, options, until: deadline) { return position }
        throw timedOut
    }

    /// Publishes, sends or sets a copy of a message from another machine, together with its origin, suspended while there is no room.
    ///
    /// - Returns: Where it begins in this channel's log.
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and nothing was written.
    @discardableResult
    public nonisolated(nonsending) mutating func write(
        _ bytes: RawSpan, origin: MessageOrigin, _ options: JobOptions = JobOptions(), until deadline: Deadline = .never
    ) async throws(IPCError) -> ChannelPosition {
        while true {
            if let position = try put(bytes, origin, options, until: .immediate) { return position }
            let count = bytes.byteCount + LogLayout.Frame.originSize
            if channel.pattern == .workQueue {
                try await producer!.waitForRoom(count, until: deadline)
            } else {
                guard try await unsafe publisher!.pointee.writer.waitForRoom(count, until: deadline) else {
                    throw timedOut
                }
            }
        }
    }

    /// Publishes, sends or sets a copy of a message from another machine, together with its origin, if there is room now.
    ///
    /// - Returns: Where it begins in this channel's log; nil if there is no room.
    public mutating func tryWrite(_ bytes: RawSpan, origin: MessageOrigin) throws(IPCError) -> ChannelPosition? {
        try put(bytes, origin, JobOptions(), until: .immediate)
    }

    /// Tells the subscribers of a topic that messages of another machine were lost on their way here: they count them as missed.
    ///
    /// - Returns: False if there is no room now.
    /// - Throws: As `write(_:_:until:)`, except ``/IPC/IPCError/Code/timedOut``.
    public mutating func tryTellLost(_ count: UInt64) throws(IPCError) -> Bool {
        try checkNothingIsReserved("write")
        guard channel.pattern == .topic, unsafe publisher != nil else { throw channel.misused("tell of lost messages") }
        return try unsafe publisher!.pointee.writer.tryTellLost(count)
    }

    private mutating func put(
        _ bytes: RawSpan, _ origin: MessageOrigin, _ options: JobOptions, until deadline: Deadline
    ) throws(IPCError) -> ChannelPosition? {
        try checkNothingIsReserved("write")
        try check(options)
        try check(bytes.byteCount)
        switch channel.pattern {
        case .topic, .latest: return try unsafe publisher!.pointee.writer.put(bytes, origin, until: deadline)
        case .workQueue:
            guard try producer!.put(bytes, options, origin, until: deadline) else { return nil }
            return producer!.writer.lastChannelPosition
        default: throw channel.misused("write")
        }
    }

    private var timedOut: IPCError {
        if let publisher = unsafe publisher { return unsafe publisher.pointee.timedOut }
        return switch producer {
        case .some(let producer): producer.timedOut
        case .none: channel.misused("write")
        }
    }

    /// The newest origins in the log, as ``AnyChannel/newestOrigins()``, of the channel that this writer has joined.
    ///
    /// This is the call for a carrier that starts: it joins, which looks a durable log through after a crash of the machine, and asks
    /// then. A look without joining may see messages that are taken away at that.
    ///
    /// - Throws: ``/IPC/IPCError/Code/wrongType`` for a service or an event; ``/IPC/IPCError/Code/corrupted``;
    ///   ``/IPC/IPCError/Code/inherited`` in a child process of fork.
    public func newestOrigins() throws(IPCError) -> [MessageOrigin] {
        guard let memory else { throw channel.misused("look for origins") }
        guard !memory.isInherited else { throw memory.isInheritedError }
        return try memory.newestOrigins()
    }

    /// All messages of one machine that the log still has, of the channel that this writer has joined, in no order.
    ///
    /// For a carrier of jobs that starts: what it finds was written, and must not be written again.
    ///
    /// - Parameter machine: ``MessageOrigin/machine``.
    /// - Throws: As ``newestOrigins()``.
    public func messages(from machine: UInt64) throws(IPCError) -> [CarriedMessage] {
        guard let memory else { throw channel.misused("look for origins") }
        guard !memory.isInherited else { throw memory.isInheritedError }
        var found: [CarriedMessage] = []
        try memory.scanOrigins { origin, position in
            guard origin.machine == machine else { return }
            found.append(
                CarriedMessage(origin: origin, position: ChannelPosition(channel: memory.key, offset: position)))
        }
        return found
    }

    private var memory: ChannelMemory? {
        if let publisher = unsafe publisher { return unsafe publisher.pointee.writer.memory }
        return switch producer {
        case .some(let producer): producer.writer.memory
        case .none: nil
        }
    }

    /// What became of a job, by a look into memory. Never blocks.
    ///
    /// - Parameter position: Where the job is: what `write(_:origin:_:until:)` returned.
    /// - Throws: ``/IPC/IPCError/Code/wrongType`` if the channel is not a work queue; ``/IPC/IPCError/Code/inherited`` in a child
    ///   process of fork.
    public func jobState(at position: ChannelPosition) throws(IPCError) -> JobState {
        guard channel.pattern == .workQueue, let memory else { throw channel.misused("look at a job") }
        guard !memory.isInherited else { throw memory.isInheritedError }
        return memory.jobState(at: position)
    }
}

extension LogWriter {
    fileprivate mutating func put(
        _ bytes: RawSpan, _ origin: MessageOrigin, until deadline: Deadline
    ) throws(IPCError) -> ChannelPosition? {
        guard let payload = try unsafe claim(withOrigin: bytes.byteCount, until: deadline) else { return nil }
        unsafe payload.copyBytes(of: bytes)
        try deliver(bytes.byteCount, origin)
        return lastChannelPosition
    }

    fileprivate var lastChannelPosition: ChannelPosition { ChannelPosition(channel: memory.key, offset: lastPosition) }
}

extension ChannelReader {
    /// The origin of the message that is borrowed, or else of the one that was received last; nil if that was written on this machine,
    /// and for a pattern other than a topic or a latest value.
    public var origin: MessageOrigin? {
        if let subscription = unsafe subscription {
            if let borrowed { return unsafe subscription.pointee.reader.origin(of: borrowed) }
            return unsafe subscription.pointee.reader.origin
        }
        return switch getter {
        case .some(let getter): getter.subscription.reader.origin
        case .none: nil
        }
    }

    /// The position after the message that was received last, from which ``SubscriptionStart/position(_:)`` goes on; nil for a
    /// pattern other than a topic or a latest value.
    ///
    /// A message that is borrowed counts as received from ``advance()`` on; one of a topic that overwrites, at once.
    public var position: ChannelPosition? {
        if let subscription = unsafe subscription { return unsafe subscription.pointee.position }
        return switch getter {
        case .some(let getter): getter.subscription.position
        case .none: nil
        }
    }
}

extension TakenMessage {
    /// The origin of a job; nil if it was sent on this machine, and for a call. It stays with the job when that is delivered again,
    /// and when it is moved to the dead letters. A letter that is sent back to its queue (``WorkQueue/redrive(limit:until:)``) counts
    /// as sent on this machine.
    public var origin: MessageOrigin? {
        switch kind {
        case .job(let job): job.origin
        case .call: nil
        }
    }

    /// Where a job begins in the log; nil for a call.
    public var position: ChannelPosition? {
        switch kind {
        case .job(let job): job.position
        case .call: nil
        }
    }
}

extension AnyChannel {
    /// A number that no other channel has, and that this one has for as long as it exists, also when all its participants leave. A
    /// channel that is created again under the same name has another one.
    ///
    /// - Throws: ``/IPC/IPCError/Code/notFound`` if the channel does not exist any more.
    public var incarnation: UInt64 { get throws(IPCError) { try channel.observe().key } }

    /// What the channel was created with.
    ///
    /// - Throws: ``/IPC/IPCError/Code/notFound`` if the channel does not exist any more.
    public var attributes: ChannelAttributes { get throws(IPCError) { try channel.observe().attributes } }

    /// The participants, as ``ChannelDescription/participants`` tells, without a look at the messages.
    ///
    /// - Throws: ``/IPC/IPCError/Code/notFound``; ``/IPC/IPCError/Code/corrupted``; ``/IPC/IPCError/Code/permissionDenied``.
    public func participants() throws(IPCError) -> [ChannelDescription.Participant] {
        let memory =
            if case .root(let root) = channel.place {
                try ChannelMemory.opened(name, in: root)
            } else {
                try channel.observe()
            }
        memory.lookAtGuests()
        let end = memory.hasSharedWriters ? try memory.checkedTail() : try LogPositions.end(memory).position
        return try ChannelDescription.participants(memory, pattern, end)
    }

    /// For each machine, the origin of the newest message from it that the log still has, in the order of those messages. Neither
    /// joins nor waits, and no participant notices.
    ///
    /// A carrier that starts reads from this what was written last, whatever became of the process that wrote it: each message that
    /// was written is found, also behind one that another writer has begun and not finished, unless it was overwritten since. Of a
    /// work queue that includes jobs that are done, until their place is needed. Newer messages than this one may have been written and
    /// overwritten since, so a carrier goes on after it only if its own source has not recorded more.
    ///
    /// Of a durable channel that nobody has joined since the machine started, ask ``ChannelWriter/newestOrigins()`` instead.
    ///
    /// Messages that are written during the call may or may not be seen. The log's headers are read one after the other, which takes
    /// time in proportion to what it holds.
    ///
    /// - Throws: ``/IPC/IPCError/Code/notFound``; ``/IPC/IPCError/Code/permissionDenied``; ``/IPC/IPCError/Code/corrupted``.
    public func newestOrigins() throws(IPCError) -> [MessageOrigin] { try channel.observe().newestOrigins() }

    /// What became of a job. Opens the channel for a look; ``ChannelWriter/jobState(at:)`` does without.
    ///
    /// - Parameter position: Where the job is: ``TakenMessage/position``, or what `write(_:origin:_:until:)` returned.
    /// - Throws: ``/IPC/IPCError/Code/wrongType`` if the channel is not a work queue; ``/IPC/IPCError/Code/notFound``.
    public func jobState(at position: ChannelPosition) throws(IPCError) -> JobState {
        guard pattern == .workQueue else { throw misused("look at a job") }
        return try channel.observe().jobState(at: position)
    }
}

/// A message of another machine in the log of this one.
public struct CarriedMessage: Hashable, Sendable {
    public let origin: MessageOrigin
    /// Where it begins in this channel's log.
    public let position: ChannelPosition
}

/// What became of a job in a work queue. The attempts are how often it was delivered.
public enum JobState: Hashable, Sendable {
    /// No worker has it: it is new, or delayed, or was given back.
    case waiting(attempts: Int)
    /// A worker has it.
    case taken(attempts: Int)
    /// A worker acknowledged it, or it was discarded by ``WorkQueue/purge()``.
    case acknowledged(attempts: Int)
    /// It was delivered too often, expired, or is invalid, and was moved to the dead letters.
    case movedToDeadLetters(attempts: Int)
    /// There is no job at this position. It is done and its place was used again, or the position is of another incarnation of the
    /// channel, or a crash of the machine took away a job of a durable queue that was not synced.
    case gone
}

extension ChannelMemory {
    fileprivate func jobState(at position: ChannelPosition) -> JobState {
        let offset = position.offset
        guard position.channel == key, LogLayout.Frame.isAligned(offset), offset < LogLayout.farthest,
            isCommitted(offset)
        else { return .gone }
        let header = unsafe FrameHeader(log + Int(truncatingIfNeeded: offset & mask))
        guard header.isMessage, header.hasWorkOrNone else { return .gone }
        let state = Work.State(word: workState(at: offset).published)
        guard state.isOf(lap: workLap(at: offset)), isKept(offset) else { return .gone }
        return switch state.stage {
        case Work.Stage.available: .waiting(attempts: state.attempts)
        case Work.Stage.taken: .taken(attempts: state.attempts)
        default:
            state.isBuried ? .movedToDeadLetters(attempts: state.attempts) : .acknowledged(attempts: state.attempts)
        }
    }

    /// Whether what was read of the work at `position` is valid: it was not overwritten, or is set aside and has an entry, without
    /// which nobody overwrites it.
    private func isKept(_ position: UInt64) -> Bool {
        !mayBeOverwritten(position) || (carriesWork && asideEntries.contains { asidePosition($0) == position })
    }

    fileprivate func newestOrigins() throws(IPCError) -> [MessageOrigin] {
        var newest: [UInt64: (position: UInt64, origin: MessageOrigin)] = [:]
        try scanOrigins { origin, position in
            if position >= newest[origin.machine]?.position ?? 0 { newest[origin.machine] = (position, origin) }
        }
        // What was overwritten meanwhile may have had a newer one after it, which was overwritten with it.
        return newest.values.filter { isKept($0.position) }.sorted { $0.position < $1.position }.map(\.origin)
    }

    /// Visits each message with an origin that the log still has. Of work that includes what is done, until its place is needed.
    fileprivate func scanOrigins(_ see: (MessageOrigin, UInt64) -> Void) throws(IPCError) {
        if carriesWork {
            // What is set aside may be older than all that follows, and the writers have left it out.
            scanAside { header, position in
                guard header.hasOrigin, let origin = origin(of: header, at: position), isKept(position) else { return }
                see(origin, position)
            }
        }
        // Loaded before the oldest that is left: so both are not further apart than the log is large.
        let end = hasSharedWriters ? try checkedTail() : try LogPositions.end(self).position
        var position = oldestSafe
        for _ in 0..<frameLimit {
            guard position < end else { break }
            guard isCommitted(position), let size = frame(at: position, see) else {
                // Nothing begins here: it is in the middle of what was overwritten, or in a message that its writer has begun and
                // not finished. What others have committed behind that is there, and begins at some later cache line.
                position = max(position &+ UInt64(LogLayout.Frame.alignment), oldestSafe)
                continue
            }
            position &+= size
        }
    }

    /// - Returns: The size of the frame in bytes; nil if it is invalid or was overwritten.
    private func frame(at position: UInt64, _ see: (MessageOrigin, UInt64) -> Void) -> UInt64? {
        let header = unsafe FrameHeader(log + Int(truncatingIfNeeded: position & mask))
        guard header.isValid(upTo: maximumFrame) else { return nil }
        let origin = header.hasOrigin ? origin(of: header, at: position) : nil
        guard !mayBeOverwritten(position) else { return nil }
        if let origin { see(origin, position) }
        return header.size
    }
}
