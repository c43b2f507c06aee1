import CIPCShims
import Glibc
import IPC
import Synchronization

/// One reader of a log: takes committed frames in order, and tells writers how far it came.
///
/// An observer's has no membership. It tells nobody anything, and reads every log as one that overwrites: no writer waits for it. So
/// does a guest, for whom writers wait as long as no other guest forges its cursor.
@safe @usableFromInline
struct LogReader: ~Copyable {
    /// Nil for an observer.
    let membership: Membership?
    @usableFromInline let log: UnsafeMutableRawPointer
    @usableFromInline let mask: UInt64
    @usableFromInline let key: UInt64
    /// The same where nothing is overwritten; else one that fits no stamp, which has the key's highest bit.
    @usableFromInline let plainKey: UInt64
    @usableFromInline let maximumFrame: UInt64
    /// Whether writers may overwrite what we have not read.
    private let overwrites: Bool
    /// Whether writers wait for us.
    private let holdsBack: Bool
    private let isGuest: Bool
    /// Nil for an observer.
    private let cursor: SharedWord?
    private let isShared: Bool
    private let tail: SharedWord
    let readers: SleepingPlace
    private let writers: SleepingPlace
    /// How many bytes are read before the cursor is told.
    @usableFromInline let stride: UInt64

    @usableFromInline var position: UInt64
    @usableFromInline var toldPosition: UInt64
    private var pace: ReaderPace
    /// Whether the last wait found something after its deadline.
    private var wasLate = false
    private var newsCount = 0
    /// Where we may be overtaken: what was missed, and a copy of the message that is lent.
    @usableFromInline var overrun: OverrunGuard

    let memory: ChannelMemory

    init(_ membership: Membership, from start: SubscriptionStart) throws(IPCError) {
        let memory = membership.memory
        let cursor = memory.cursor(membership.role, membership.slot)
        // First where nothing before it is chosen, so that writers stop a log beyond that; then not before the frontier, that they may
        // have reached by then. A pair: we store the cursor and then look at the tail and the frontier; a writer raises the frontier
        // and then looks at the cursors.
        if !memory.overwrites { cursor.ordered = start.bound(in: memory) }
        KillPoint.reach(.joinHeld)
        let first = try start.position(in: memory)
        if !memory.overwrites { cursor.ordered = first }
        membership.finishJoining()
        // Where setters tell which value is the newest, it is not looked for.
        let position = try memory.tellsLatest ? 0 : start.refined(first, memory)
        if !memory.overwrites { cursor.ordered = position }
        try self.init(memory, membership, cursor, at: position)
        // Those that found no room while the cursor was at the beginning.
        writers.wakeIfNeeded(memory)
    }

    /// An observer's.
    init(observing memory: ChannelMemory, from start: SubscriptionStart) throws(IPCError) {
        let position = try memory.tellsLatest ? 0 : start.refined(start.position(in: memory), memory)
        try self.init(observing: memory, at: position)
    }

    /// - Parameter position: Where a frame begins, or will.
    init(observing memory: ChannelMemory, at position: UInt64) throws(IPCError) {
        try self.init(memory, nil, nil, at: position)
    }

    private init(
        _ memory: ChannelMemory, _ membership: Membership?, _ cursor: SharedWord?, at position: UInt64
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
        readers = memory.sleepingReaders
        writers = memory.sleepingWriters
        self.position = position
        toldPosition = position
        pace = ReaderPace(position)
        overrun = try overwrites ? OverrunGuard(memory, from: position) : OverrunGuard(unused: memory)
    }

    /// The header of the next message, and where its payload lies for as long as the caller likes: in the log, or, where it
    /// may be overwritten, in a copy. Nil if there is none yet.
    ///
    /// The caller uses it, and then calls ``advance(past:)``.
    @inlinable @inline(__always)
    mutating func next() throws(IPCError) -> (header: FrameHeader, payload: UnsafeMutableRawPointer)? {
        let frame = unsafe log + Int(truncatingIfNeeded: position & mask)
        // Acquiring: pairs with the writer's releasing store of the stamp.
        if unsafe SharedWord(frame).published == position ^ plainKey {
            let header = unsafe FrameHeader(frame)
            if header.kind == LogLayout.Kind.message, header.isValid(upTo: maximumFrame) {
                return unsafe (header, frame + LogLayout.Frame.headerSize)
            }
        }
        return try unsafe nextSlowly()
    }

    /// The same when it is not there yet, may be overwritten, is skipped, or cannot be a message.
    @usableFromInline @inline(never)
    mutating func nextSlowly() throws(IPCError) -> (header: FrameHeader, payload: UnsafeMutableRawPointer)? {
        // A copy counts as read already: then it takes no more of the log.
        guard !overwrites else { return try unsafe takeCopy().map { unsafe ($0.header.withoutFrame, overrun.copy) } }
        // As many as the log has: a peer that stores one skipped frame after the other ends the call.
        var left = memory.frameLimit
        while left > 0 {
            left &-= 1
            let frame = unsafe log + Int(truncatingIfNeeded: position & mask)
            guard unsafe SharedWord(frame).published == position ^ key else {
                guard !memory.isInherited else { throw memory.isInheritedError }
                return nil
            }
            let header = unsafe FrameHeader(frame)
            guard header.isValid(upTo: maximumFrame) else { try failCorrupted() }
            if header.kind == LogLayout.Kind.message { return unsafe (header, frame + LogLayout.Frame.headerSize) }
            advance(past: header)
        }
        return nil
    }

    /// Copies the next message, where it may be overwritten; ``OverrunGuard/copy`` has it then. Nil if there is none yet.
    ///
    /// - Parameter limit: Copy so many of its bytes at most.
    /// - Returns: Its header, and its position.
    mutating func takeCopy(limit: Int = .max) throws(IPCError) -> (header: FrameHeader, position: UInt64)? {
        // As many as the log has, here too.
        var left = memory.frameLimit
        while left > 0 {
            left &-= 1
            let (here, frame) = unsafe (position, log + Int(truncatingIfNeeded: position & mask))
            guard unsafe SharedWord(frame).published == here ^ key else {
                if isBehind() { continue }
                guard !memory.isInherited else { throw memory.isInheritedError }
                return nil
            }
            let header = unsafe FrameHeader(frame)
            guard header.isValid(upTo: maximumFrame) else {
                if isBehind() { continue }
                try failCorrupted()
            }
            let isMessage = header.kind == LogLayout.Kind.message
            // Each header is believed only if it was not overwritten until it was copied, those of skipped frames as well.
            guard
                unsafe isMessage
                    ? overrun.take(frame + LogLayout.Frame.headerSize, header, at: here, limit: limit)
                    : !memory.mayBeOverwritten(here)
            else {
                _ = isBehind()
                continue
            }
            advance(past: header)
            if isMessage { return (header, here) }
            overrun.see(header)
        }
        return nil
    }

    /// Nothing is there. One that only polls looks now and then whether a dead writer's claim is in the way, and whether the
    /// channel is there at all. (One that waits does so before it sleeps.) Mutating, though it is not: else we would be copied.
    @usableFromInline @inline(never)
    mutating func lookAround() throws(IPCError) {
        guard memory.isLookDue() else { return }
        if isGuest, let membership { sayAgain(membership) }
        guard membership != nil, !isGuest else { return try memory.checkObserved { isReady } }
        try memory.checkPresence()
        try recoverClaim()
    }

    /// What a dead writer has claimed hides what comes after it, and there may be nobody else who looks. One that may only read the
    /// channel has to wait for that.
    func recoverClaim() throws(IPCError) {
        if isShared, tail.published > position, memory.controlAccess == .readWrite { try Recovery.tryRun(memory) }
    }

    /// Takes the newest value where setters tell of it; ``OverrunGuard/copy`` has it then.
    ///
    /// Claims under way do not matter. The value is not overwritten before a newer one is told of.
    ///
    /// - Returns: How many bytes it has; nil if there is none that is newer than before.
    mutating func takeLatest() throws(IPCError) -> Int? {
        for _ in 0..<memory.frameLimit {
            let word = memory.latest.ordered
            let newest = word &- 1
            guard word != 0, newest >= position else {
                guard !memory.isInherited else { throw memory.isInheritedError }
                return nil
            }
            guard LogLayout.Frame.isAligned(newest) else { throw memory.corrupted("its newest value is not aligned") }
            guard memory.isCommitted(newest) else { continue }
            let frame = unsafe log + Int(truncatingIfNeeded: newest & mask)
            let header = unsafe FrameHeader(frame)
            guard header.isValid(upTo: maximumFrame) else {
                if memory.mayBeOverwritten(newest) { continue }
                throw memory.corrupted("the frame at \(newest) is larger than the log allows")
            }
            guard unsafe overrun.take(frame + LogLayout.Frame.headerSize, header, at: newest) else { continue }
            position = newest &+ header.size
            return Int(header.length)
        }
        // Overwritten, and no newer one told of: its setters have died one after the other, a log long.
        return nil
    }

    /// Passes over all messages before `end` but the newest, by their headers alone.
    mutating func passOver(until end: UInt64) {
        position = max(position, LogPositions.recent(memory))
        var next = position
        var left = memory.frameLimit
        while left > 0 {
            left &-= 1
            guard next < end, memory.isCommitted(next) else { return }
            let header = unsafe FrameHeader(log + Int(truncatingIfNeeded: next & mask))
            // Overwritten, or the next look says what it is.
            guard header.isValid(upTo: maximumFrame), !memory.mayBeOverwritten(next) else { return }
            if header.kind == LogLayout.Kind.message { position = next }
            next &+= header.size
        }
    }

    /// Counts a frame as read.
    @inlinable @inline(__always)
    mutating func advance(past header: FrameHeader) {
        KillPoint.reach(.readFrame)
        position &+= header.size
        if position &- toldPosition >= stride { tell() }
    }

    /// Tells writers how far we came, and wakes those that wait for it.
    @usableFromInline @inline(never)
    mutating func tell() {
        guard position != toldPosition, holdsBack, let cursor else { return }
        toldPosition = position
        // Releasing: writers overwrite only after our loads.
        cursor.published = position
        KillPoint.reach(.readCursor)
        if !SleepingPlace.isRegistered { atomicMemoryFence(ordering: .sequentiallyConsistent) }
        if writers.difference != 0 { writers.wake(memory) }
    }

    /// A guest's slot, as it is: other guests may write there, and what they wrote would hold writers back for as long as this one has
    /// nothing to read, or keep it from being woken.
    private func sayAgain(_ membership: Membership) {
        if holdsBack, let cursor, cursor.relaxed != toldPosition { cursor.published = toldPosition }
        memory.sayAgain(guest: membership.slot)
        if writers.difference != 0 { writers.wake(memory) }
    }

    /// Whether the writers have overtaken us: then we are at the oldest frame that is still there.
    private mutating func isBehind() -> Bool {
        // Looked at after whatever was read at the position.
        guard overwrites, memory.mayBeOverwritten(position) else { return false }
        let oldest = memory.oldestSafe
        // Some way on, or we would be overtaken again at once. If the blocks tell nothing of use, wherever it is that
        // writers have not passed: they will, and then tell.
        let next = max(LogPositions.first(memory, from: oldest &+ UInt64(memory.capacity / 4)), oldest)
        overrun.missedBytes &+= next &- position
        position = next
        return true
    }

    /// Looks for the next frame for a microsecond or so, as long as 64 looks with a pause take: there is no call between it and
    /// what is done with it.
    @inlinable @inline(__always)
    mutating func spin() -> Bool {
        catchUp()
        let frame = unsafe log + Int(truncatingIfNeeded: position & mask)
        return unsafe ipc_look_for(frame, position ^ key, 128) != 0
    }

    /// There is nothing more to read now: tells writers so, and, in the middle of a stream, gives them a start.
    @usableFromInline @inline(never)
    mutating func catchUp() {
        guard position != pace.position else { return }
        let first = unsafe FrameHeader(log + Int(truncatingIfNeeded: pace.position & mask))
        tell()
        // Where nobody waits for us, we had better not be late.
        guard holdsBack else { return }
        pace.catchUp(at: position, isOneMessage: first.size >= position &- pace.position, capacity: memory.capacity)
    }

    /// Looks for the next frame for as long as a task may.
    ///
    /// - Parameter hasLooked: Whether it has, and then there was nothing to take after all: what seems to be there may be a dead
    ///   writer's, or a peer's rubbish, and is to be waited for, so that somebody sees to the deadline.
    @usableFromInline @inline(never)
    mutating func look(_ spins: Int?, unless hasLooked: inout Bool) -> Bool {
        hasLooked.toggle()
        guard hasLooked else { return false }
        for _ in 0..<Waiting.looksOfTask(spins) / 64 where spin() { return true }
        return false
    }

    /// Waits until the next frame is there, whatever it is.
    ///
    /// - Parameter spins: How often to look before sleeping; nil to look until the deadline.
    /// - Returns: False if the deadline passed.
    @usableFromInline @inline(never)
    mutating func wait(until deadline: Deadline, spins: Int?) throws(IPCError) -> Bool {
        tell()
        var pause = ObserverPause()
        var count = Waiting.firstLook(spins, after: 64)  // as long as `spin` took
        while true {
            if isReady { return isInTime(deadline) }
            // The end of a small frame comes together with its beginning then, not after it.
            unsafe ipc_prefetch(log + Int(truncatingIfNeeded: position & mask) + 64)
            count += 1
            guard count % 64 == 0 else {
                ipc_pause()
                continue
            }
            if deadline.hasPassed { return false }
            let isClaimed = isShared && tail.published > position
            guard let spins, count >= spins else {
                if count % 1024 == 0 {
                    sched_yield()
                    try lookAround()
                }
                continue
            }
            guard let membership else {
                try memory.checkObserved { isReady }
                readers.doze(until: deadline, atMost: pause.take()) { isReady }
                continue
            }
            if isGuest {
                // It keeps no channel, and gets what was published before; a dead writer's claim is for others to settle.
                try memory.checkObserved { isReady }
                sayAgain(membership)
            } else {
                try memory.checkPresence()
                // A claim that is not committed may be a dead writer's: nobody would wake us.
                if isClaimed { try Recovery.tryRun(memory) }
            }
            readers.sleep(until: deadline, atMost: isClaimed ? 5_000_000 : SleepingPlace.slice) { hasNews }
        }
    }

    /// The same, suspended meanwhile.
    @usableFromInline
    nonisolated(nonsending) mutating func wait(
        until deadline: Deadline, spins: Int?
    ) async throws(IPCError) -> Bool {
        try await readiness().wait(until: deadline, spins: spins, "receive")
    }

    /// Whether what is there may be taken: once after the deadline too, if it was found late; not again and again, while a peer has
    /// what looks like news and is none. The clock is read now and then only: in the middle of a stream it takes as long as a message.
    private mutating func isInTime(_ deadline: Deadline) -> Bool {
        newsCount &+= 1
        guard newsCount % 8 == 0 else { return true }
        let isLate = deadline.hasPassed
        defer { wasLate = isLate }
        return !(isLate && wasLate)
    }

    /// The next frame, whatever it is.
    mutating func readiness() -> ChannelReadiness {
        tell()
        let (memory, position, overwrites) = (memory, position, overwrites)
        return ChannelReadiness(memory, membership, place: readers) { memory.hasNews(at: position, overwrites) }
    }

    private var isReady: Bool {
        unsafe SharedWord(log + Int(truncatingIfNeeded: position & mask)).published == position ^ key || hasNews
    }

    private var hasNews: Bool { memory.hasNews(at: position, overwrites) }

    @usableFromInline @inline(never)
    func failCorrupted() throws(IPCError) -> Never {
        throw memory.corrupted("the frame at \(position) is larger than the log allows")
    }
}

extension ChannelMemory {
    /// Whether a reader that is at `position` has something to do: the next frame is there, or it was overtaken, or, where setters
    /// tell of it, there is a newer value.
    fileprivate func hasNews(at position: UInt64, _ overwrites: Bool) -> Bool {
        guard !tellsLatest else {
            let word = latest.ordered
            let newest = word &- 1
            guard word != 0, newest >= position else { return false }
            // One that was overwritten is none; unless a newer one is told of by now.
            let isThere = isCommitted(newest) && !mayBeOverwritten(newest)
            return isThere || !LogLayout.Frame.isAligned(newest) || latest.ordered != word
        }
        return isCommitted(position) || (overwrites && position < oldestSafe)
    }

    /// Whether it is time that one who only polls looks after the dead; for one of those who ask. Costs a few nanoseconds, and no
    /// system call.
    func isLookDue() -> Bool {
        let left = looksWithoutClock.load(ordering: .relaxed)
        guard left == 0 else {
            looksWithoutClock.store(left &- 1, ordering: .relaxed)
            return false
        }
        return isLookDueByClock()
    }

    @inline(never)
    private func isLookDueByClock() -> Bool {
        let now = ipc_coarse_now()
        // Who asks again within a tick of the clock, some milliseconds, asks so often that it need not read it each time.
        if lastAsked.exchange(now, ordering: .relaxed) == now { looksWithoutClock.store(3, ordering: .relaxed) }
        return Self.isDue(lastLook, now, every: Self.pauseBetweenLooks)
    }

    /// Whether so many nanoseconds have passed since the last time that this said so; to one of those who ask.
    private static func isDue(_ last: borrowing Atomic<UInt64>, _ now: UInt64, every pause: UInt64) -> Bool {
        let before = last.load(ordering: .relaxed)
        guard now &- before >= pause else { return false }
        return last.compareExchange(expected: before, desired: now, ordering: .relaxed).exchanged
    }

    private static var pauseBetweenLooks: UInt64 { 20_000_000 }

    /// The same for one who works for others, and is to hear of their deaths sooner.
    func isLookAfterCallersDue() -> Bool {
        Self.isDue(lastLookAfterCallers, ipc_coarse_now(), every: Self.pauseBetweenLooksAfterCallers)
    }

    private static var pauseBetweenLooksAfterCallers: UInt64 { 4_000_000 }

    /// The same by one of many that sleep, if none of them has done so lately.
    func lookAfterTheDeadInTurn() throws(IPCError) {
        let now = Deadline(nanoseconds: MonotonicClock.now).onMachine
        let last = lastScan.relaxed
        // One in the future is a peer's rubbish.
        if last <= now, now - last < Self.pauseBetweenScans { return try checkPresence() }
        try checkPresence()
        if try Recovery.run(self).isComplete { lastScan.relaxed = now }
        if carriesWork { try advanceWorkHead() }
    }

    /// Half a slice: whoever sleeps hears of a death before two slices have passed.
    private static var pauseBetweenScans: UInt64 { SleepingPlace.slice / 2 }

    private var lastScan: SharedWord { word(LogLayout.lastScan) }

    /// What one does now and then that only polls, for whatever it waits: sees that the channel is there, and to what the dead
    /// have left.
    func lookAfterTheDead() throws(IPCError) {
        try checkPresence()
        try Recovery.tryRun(self)
        // One may have acknowledged, and been stopped before it moved the head.
        if carriesWork { try advanceWorkHead() }
    }
}
