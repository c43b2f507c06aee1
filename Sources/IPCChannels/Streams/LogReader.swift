import CIPCShims
import Glibc
import IPC
import Synchronization

/// A reader of a log: takes committed frames in order and publishes its cursor to the writers.
///
/// An observer has no membership. It publishes nothing and treats every log as one that overwrites, because no writer waits for it.
/// A guest treats every log that way too: writers wait for it, but only as long as no other guest forges its cursor.
@safe @usableFromInline
struct LogReader: ~Copyable {
    /// Nil for an observer.
    let membership: Membership?
    @usableFromInline let log: UnsafeMutableRawPointer
    @usableFromInline let mask: UInt64
    @usableFromInline let key: UInt64
    /// The key if nothing is overwritten. Otherwise a value that matches no stamp: all stamps are made with the key's highest bit
    /// set, and here it is clear.
    @usableFromInline let plainKey: UInt64
    @usableFromInline let maximumFrame: UInt64
    /// Whether writers may overwrite what this reader has not read.
    private let overwrites: Bool
    /// Whether writers wait for this reader.
    private let holdsBack: Bool
    private let isGuest: Bool
    /// Nil for an observer.
    private let cursor: SharedUInt64?
    private let isShared: Bool
    private let tail: SharedUInt64
    let readers: WaitQueue
    private let writers: WaitQueue
    /// How many bytes are read before the cursor is published.
    @usableFromInline let stride: UInt64

    @usableFromInline var position: UInt64
    @usableFromInline var publishedPosition: UInt64
    private var pace: ReaderPace
    /// Whether the last wait found something after its deadline.
    private var wasLate = false
    private var newsCount = 0
    /// Used where writers may overtake this reader: counts what was missed and keeps a copy of the borrowed message.
    @usableFromInline var overrun: OverrunGuard
    /// The last origin that was read, and the position after its message. Compared when it is asked for, so that the messages without
    /// one cost nothing.
    private var originRead: MessageOrigin?
    private var originEnd = LogLayout.unclaimed

    let memory: ChannelMemory

    init(_ membership: Membership, from start: SubscriptionStart) throws(IPCError) {
        let memory = membership.memory
        let cursor = memory.cursor(membership.role, membership.slot)
        // First the cursor is set to a lower bound of the start, so that writers stop one log's capacity beyond it. Then the start
        // is chosen; it is not before what writers may have overwritten by then. This is a store-then-load pair: the reader stores
        // its cursor and then loads the tail and the reserved end; a writer raises the reserved end and then loads the cursors.
        if !memory.overwrites { cursor.ordered = start.bound(in: memory) }
        KillPoint.reach(.joinHeld)
        let first = try start.position(in: memory)
        if !memory.overwrites { cursor.ordered = first }
        membership.finishJoining()
        // Where setters publish the newest value's position, there is nothing to search for.
        let position = try memory.publishesLatest ? 0 : start.refined(first, memory)
        if !memory.overwrites { cursor.ordered = position }
        try self.init(memory, membership, cursor, at: position)
        // Wakes writers that found no room while the cursor was at the lower bound.
        writers.wakeIfNeeded(memory)
    }

    /// Makes an observer's reader.
    init(observing memory: ChannelMemory, from start: SubscriptionStart) throws(IPCError) {
        let position = try memory.publishesLatest ? 0 : start.refined(start.position(in: memory), memory)
        try self.init(observing: memory, at: position)
    }

    /// - Parameter position: Where a frame begins, or the next one will begin.
    init(observing memory: ChannelMemory, at position: UInt64) throws(IPCError) {
        try self.init(memory, nil, nil, at: position)
    }

    private init(
        _ memory: ChannelMemory, _ membership: Membership?, _ cursor: SharedUInt64?, at position: UInt64
    ) throws(IPCError) {
        self.memory = memory
        self.membership = membership
        self.cursor = cursor
        unsafe log = memory.log
        mask = memory.mask
        key = memory.key
        maximumFrame = memory.maximumFrame
        isGuest = memory.isGuest
        holdsBack = !memory.overwrites && membership != nil
        overwrites = !holdsBack || memory.isGuest
        plainKey = overwrites ? memory.key ^ 1 << 63 : memory.key
        stride = holdsBack ? UInt64(memory.capacity / 8) : .max
        isShared = memory.hasSharedWriters
        tail = memory.tail
        readers = memory.waitingReaders
        writers = memory.waitingWriters
        self.position = position
        publishedPosition = position
        pace = ReaderPace(position)
        overrun = try overwrites ? OverrunGuard(memory, from: position) : OverrunGuard(unused: memory)
    }

    /// The header of the next message and the address of its payload, or nil if there is none yet. The payload is in the log, or,
    /// where it may be overwritten, in a copy. It stays valid until the caller is done with it.
    ///
    /// The caller uses it and then calls ``advance(past:)``.
    @inlinable @inline(__always)
    mutating func next() throws(IPCError) -> (header: FrameHeader, payload: UnsafeMutableRawPointer)? {
        if let message = unsafe nextAtOnce() { return unsafe message }
        return try unsafe nextSlowly()
    }

    /// The same without a call. Nil if one is needed.
    @inlinable @inline(__always)
    func nextAtOnce() -> (header: FrameHeader, payload: UnsafeMutableRawPointer)? {
        let frame = unsafe log + Int(truncatingIfNeeded: position & mask)
        // Acquiring: pairs with the writer's releasing store of the stamp.
        guard unsafe SharedUInt64(frame).published == position ^ plainKey else { return nil }
        let header = unsafe FrameHeader(frame)
        guard header.kind == LogLayout.Kind.message, header.isValid(upTo: maximumFrame) else { return nil }
        return unsafe (header, frame + LogLayout.Frame.headerSize)
    }

    /// The slow path of ``next()``: the frame is not there yet, may be overwritten, is skipped, or is invalid.
    @usableFromInline @inline(never)
    mutating func nextSlowly() throws(IPCError) -> (header: FrameHeader, payload: UnsafeMutableRawPointer)? {
        // A copy counts as read already, so its header takes no more of the log.
        guard !overwrites else { return try unsafe takeCopy().map { unsafe ($0.header.withoutFrame, overrun.copy) } }
        // At most as many frames as the log holds: a peer that keeps storing skipped frames cannot keep the call running.
        var left = memory.frameLimit
        while left > 0 {
            left &-= 1
            let frame = unsafe log + Int(truncatingIfNeeded: position & mask)
            guard unsafe SharedUInt64(frame).published == position ^ key else {
                guard !memory.isInherited else { throw memory.isInheritedError }
                return nil
            }
            let header = unsafe FrameHeader(frame)
            guard header.isValid(upTo: maximumFrame) else { try failCorrupted() }
            if header.isMessage {
                if header.hasOrigin { note(memory.origin(of: header, at: position), until: position &+ header.size) }
                return unsafe (header, frame + LogLayout.Frame.headerSize)
            }
            overrun.missedElsewhere &+= unsafe header.lostCount(frame)
            skip(header)
        }
        return nil
    }

    /// Copies the next message to ``OverrunGuard/copy``, for a log that may be overwritten. Nil if there is none yet.
    ///
    /// - Parameter limit: The most bytes of the payload to copy.
    /// - Returns: Its header and its position.
    mutating func takeCopy(limit: Int = .max) throws(IPCError) -> (header: FrameHeader, position: UInt64)? {
        // At most as many frames as the log holds, as above.
        var left = memory.frameLimit
        while left > 0 {
            left &-= 1
            let (here, frame) = unsafe (position, log + Int(truncatingIfNeeded: position & mask))
            guard unsafe SharedUInt64(frame).published == here ^ key else {
                if isBehind() { continue }
                guard !memory.isInherited else { throw memory.isInheritedError }
                return nil
            }
            let header = unsafe FrameHeader(frame)
            guard header.isValid(upTo: maximumFrame) else {
                if isBehind() { continue }
                try failCorrupted()
            }
            let isMessage = header.isMessage
            let lost = unsafe header.lostCount(frame)
            // A header is valid only if it was not overwritten before it was copied. That holds for skipped frames too.
            guard
                unsafe isMessage
                    ? overrun.take(frame + LogLayout.Frame.headerSize, header, at: here, limit: limit)
                    : !memory.mayBeOverwritten(here)
            else {
                _ = isBehind()
                continue
            }
            if isMessage {
                advance(past: header)
                if header.hasOrigin { note(overrun.origin, until: position) }
                return (header, here)
            }
            overrun.missedElsewhere &+= lost
            skip(header)
            overrun.see(header)
        }
        return nil
    }

    /// Called by a reader that polls and finds nothing. Checks from time to time whether a dead writer's claim is in the way and
    /// whether the channel still exists. (A reader that waits checks before it sleeps.) It changes nothing, but is `mutating`
    /// because otherwise the reader would be copied.
    @usableFromInline @inline(never)
    mutating func checkLiveness() throws(IPCError) {
        guard memory.isDeathCheckDue() else { return }
        if isGuest, let membership { rewriteSlot(membership) }
        guard membership != nil, !isGuest else { return try memory.checkObserved { isReady } }
        try memory.checkPresence()
        try recoverClaim()
    }

    /// Recovers a dead writer's claim, which hides everything after it: there may be no other process that checks. A reader with
    /// read-only access has to wait until another process does.
    func recoverClaim() throws(IPCError) {
        if isShared, tail.published > position, memory.controlAccess == .readWrite { try Recovery.tryRun(memory) }
    }

    /// Copies the newest value to ``OverrunGuard/copy``, where setters publish its position.
    ///
    /// Claims under way do not matter. The value is not overwritten before the position of a newer one is published.
    ///
    /// - Returns: The value's size in bytes; nil if there is none newer than the last one taken.
    mutating func takeLatest() throws(IPCError) -> Int? {
        for _ in 0..<memory.frameLimit {
            let word = memory.latest.ordered
            let newest = word &- 1
            guard word != 0, newest >= position else {
                guard !memory.isInherited else { throw memory.isInheritedError }
                return nil
            }
            guard LogLayout.Frame.isAligned(newest) else {
                throw memory.corrupted("the position of its newest value is not aligned")
            }
            guard memory.isCommitted(newest) else { continue }
            let frame = unsafe log + Int(truncatingIfNeeded: newest & mask)
            let header = unsafe FrameHeader(frame)
            guard header.isValid(upTo: maximumFrame) else {
                if memory.mayBeOverwritten(newest) { continue }
                throw memory.corrupted("the frame at \(newest) is larger than the log allows")
            }
            guard unsafe overrun.take(frame + LogLayout.Frame.headerSize, header, at: newest) else { continue }
            position = newest &+ header.size
            if header.hasOrigin { note(overrun.origin, until: position) }
            return Int(header.length)
        }
        // The value was overwritten and no newer one was published: setters died one after the other, for a whole log's capacity.
        return nil
    }

    /// Skips all messages before `end` except the newest, reading only their headers.
    mutating func passOver(until end: UInt64) {
        position = max(position, LogPositions.recent(memory))
        var next = position
        var left = memory.frameLimit
        while left > 0 {
            left &-= 1
            guard next < end, memory.isCommitted(next) else { return }
            let header = unsafe FrameHeader(log + Int(truncatingIfNeeded: next & mask))
            // Either it was overwritten, or the next read reports what is wrong.
            guard header.isValid(upTo: maximumFrame), !memory.mayBeOverwritten(next) else { return }
            if header.isMessage { position = next }
            next &+= header.size
        }
    }

    /// The origin of the message that was read last; nil if it was written on this machine.
    var origin: MessageOrigin? { position == originEnd ? originRead : nil }

    /// The same for the message that ``next()`` returned, before ``advance(past:)``.
    func origin(of header: FrameHeader) -> MessageOrigin? { header.hasOrigin ? originRead : nil }

    private mutating func note(_ origin: MessageOrigin?, until end: UInt64) { (originRead, originEnd) = (origin, end) }

    /// Goes past a frame that is not a message. The message before it stays the one that was read last.
    private mutating func skip(_ header: FrameHeader) {
        let isAfterOrigin = position == originEnd
        advance(past: header)
        if isAfterOrigin { originEnd = position }
    }

    /// Counts a frame as read.
    @inlinable @inline(__always)
    mutating func advance(past header: FrameHeader) {
        KillPoint.reach(.readFrame)
        position &+= header.size
        if position &- publishedPosition >= stride { publishCursor() }
    }

    /// Publishes the cursor and wakes writers that wait for it.
    @usableFromInline @inline(never)
    mutating func publishCursor() {
        guard position != publishedPosition, holdsBack, let cursor else { return }
        publishedPosition = position
        // Releasing: writers overwrite only after this reader's loads.
        cursor.published = position
        KillPoint.reach(.readCursor)
        if !WaitQueue.isRegistered { atomicMemoryFence(ordering: .sequentiallyConsistent) }
        if writers.difference != 0 { writers.wake(memory) }
    }

    /// Restores a guest's slot. Other guests can write there; what they wrote could hold writers back while this guest has nothing
    /// to read, or keep it from being woken.
    private func rewriteSlot(_ membership: Membership) {
        if holdsBack, let cursor, cursor.relaxed != publishedPosition { cursor.published = publishedPosition }
        memory.rewriteSlot(guest: membership.slot)
        if writers.difference != 0 { writers.wake(memory) }
    }

    /// Whether writers have overtaken this reader. If so, it moves to the oldest frame that is still safe to read.
    private mutating func isBehind() -> Bool {
        // Checked after whatever was read at the position.
        guard overwrites, memory.mayBeOverwritten(position) else { return false }
        let oldest = memory.oldestSafe
        // A quarter of the log further on; nearer, the reader would be overtaken again at once. If no block start helps, at the
        // oldest safe position, even if no frame begins there: writers will pass it, and then this check moves the reader again.
        let next = max(LogPositions.first(memory, from: oldest &+ UInt64(memory.capacity / 4)), oldest)
        overrun.missedBytes &+= next &- position
        if position == originEnd { originEnd = next }
        position = next
        return true
    }

    /// Polls for the next frame for about a microsecond, as long as 64 attempts with a pause take. Inlined, so that no call lies
    /// between finding a frame and using it.
    @inlinable @inline(__always)
    mutating func spin() -> Bool {
        catchUp()
        let frame = unsafe log + Int(truncatingIfNeeded: position & mask)
        return unsafe ipc_look_for(frame, position ^ key, 128) != 0
    }

    /// Called when there is nothing more to read: publishes the cursor and, in the middle of a stream, backs off to let writers get
    /// ahead.
    @usableFromInline @inline(never)
    mutating func catchUp() {
        guard position != pace.position else { return }
        let first = unsafe FrameHeader(log + Int(truncatingIfNeeded: pace.position & mask))
        publishCursor()
        // Where no writer waits for this reader, a back-off only adds latency.
        guard holdsBack else { return }
        pace.catchUp(at: position, isOneMessage: first.size >= position &- pace.position, capacity: memory.capacity)
    }

    /// Polls for the next frame for as long as a task may.
    ///
    /// - Parameter hasLooked: Whether the call before polled, and there was nothing to take after all. What seems to be there may
    ///   be a dead writer's claim or a peer's invalid data, so this call returns false and the caller waits, which checks the
    ///   deadline. Toggled by each call.
    @usableFromInline @inline(never)
    mutating func look(_ spins: Int?, unless hasLooked: inout Bool) -> Bool {
        hasLooked.toggle()
        guard hasLooked else { return false }
        for _ in 0..<WaitStrategy.attemptsOfTask(spins) / 64 where spin() { return true }
        return false
    }

    /// Waits until the next frame is there, of whatever kind. Blocks the thread.
    ///
    /// - Parameter spins: How many times to poll before sleeping; nil to poll until the deadline.
    /// - Returns: False if the deadline passed.
    @usableFromInline @inline(never)
    mutating func wait(until deadline: Deadline, spins: Int?) throws(IPCError) -> Bool {
        publishCursor()
        var pause = ObserverPause()
        var wait = ThreadWait(spins, until: deadline, after: 64)  // as long as `spin` took
        while true {
            if isReady { return isInTime(deadline) }
            // Fetches the end of a small frame together with its beginning, not after it.
            unsafe ipc_prefetch(log + Int(truncatingIfNeeded: position & mask) + 64)
            switch wait.next() {
            case .poll: continue
            case .check: try checkLiveness()
            case .sleep: try sleep(&wait, &pause)
            case .end: return false
            }
        }
    }

    private mutating func sleep(_ wait: inout ThreadWait, _ pause: inout ObserverPause) throws(IPCError) {
        guard let membership else {
            try memory.checkObserved { isReady }
            return readers.doze(until: wait.deadline, atMost: pause.take()) { isReady }
        }
        let isClaimed = isShared && tail.published > position
        if isGuest {
            // A guest does not keep the channel alive, but gets what was published before; other participants recover a dead
            // writer's claim.
            try memory.checkObserved { isReady }
            rewriteSlot(membership)
        } else {
            try memory.checkPresence()
            // An uncommitted claim may be a dead writer's, and then no wake-up would come.
            if isClaimed { try Recovery.tryRun(memory) }
        }
        if isClaimed || isGuest {
            // A claim is committed soon, or its writer is dead. A guest has to restore its slot from time to time.
            let maximumSleep = isClaimed ? Self.maximumSleepBehindClaim : WaitQueue.maximumSleep
            wait.sleepAlone(in: readers, atMost: maximumSleep) { hasNews }
        } else {
            wait.sleep(in: readers, of: memory) { hasNews }
        }
    }

    private static var maximumSleepBehindClaim: UInt64 { 5_000_000 }

    /// Waits as the blocking call does, with the task suspended.
    @usableFromInline
    nonisolated(nonsending) mutating func wait(
        until deadline: Deadline, spins: Int?
    ) async throws(IPCError) -> Bool {
        try await readiness().wait(until: deadline, spins: spins, "receive")
    }

    /// Whether a frame that was found may be taken. Shortly after the deadline it still may, but not for ever: a peer's invalid
    /// data could look like news without end. The clock is read only every eighth time, because in the middle of a stream reading
    /// it takes as long as a message.
    private mutating func isInTime(_ deadline: Deadline) -> Bool {
        newsCount &+= 1
        guard newsCount % 8 == 0 else { return true }
        let isLate = deadline.hasPassed
        defer { wasLate = isLate }
        return !(isLate && wasLate)
    }

    /// Readiness for the next frame, of whatever kind.
    mutating func readiness() -> ChannelReadiness {
        publishCursor()
        let (memory, position, overwrites) = (memory, position, overwrites)
        return ChannelReadiness(memory, membership, place: readers) { memory.hasNews(at: position, overwrites) }
    }

    private var isReady: Bool {
        unsafe SharedUInt64(log + Int(truncatingIfNeeded: position & mask)).published == position ^ key || hasNews
    }

    private var hasNews: Bool { memory.hasNews(at: position, overwrites) }

    @usableFromInline @inline(never)
    func failCorrupted() throws(IPCError) -> Never {
        throw memory.corrupted("the frame at \(position) is larger than the log allows")
    }
}

extension ChannelMemory {
    /// Whether a reader at `position` has something to do: the next frame is there, or it was overtaken, or, where setters publish
    /// the newest value, there is a newer one.
    fileprivate func hasNews(at position: UInt64, _ overwrites: Bool) -> Bool {
        guard !publishesLatest else {
            let word = latest.ordered
            let newest = word &- 1
            guard word != 0, newest >= position else { return false }
            // A value that was overwritten is not news, unless a newer one has been published meanwhile.
            let isThere = isCommitted(newest) && !mayBeOverwritten(newest)
            return isThere || !LogLayout.Frame.isAligned(newest) || latest.ordered != word
        }
        return isCommitted(position) || (overwrites && position < oldestSafe)
    }
}
