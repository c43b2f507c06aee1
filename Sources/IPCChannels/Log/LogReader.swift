import CIPCShims
import Glibc
import IPC
import Synchronization

/// One reader of a log: takes committed frames in order, and tells writers how far it came.
@safe @usableFromInline
struct LogReader: ~Copyable {
    let membership: Membership
    @usableFromInline let log: UnsafeMutableRawPointer
    @usableFromInline let mask: UInt64
    @usableFromInline let key: UInt64
    /// The same where nothing is overwritten; else one that fits no stamp, which has the key's highest bit.
    @usableFromInline let plainKey: UInt64
    @usableFromInline let maximumFrame: UInt64
    private let overwrites: Bool
    private let cursor: SharedWord
    private let isShared: Bool
    private let tail: SharedWord
    let readers: SleepingPlace
    private let writers: SleepingPlace
    /// How many bytes are read before the cursor is told.
    @usableFromInline let stride: UInt64

    @usableFromInline var position: UInt64
    @usableFromInline var toldPosition: UInt64
    private var pace: ReaderPace
    /// Where a log overwrites: what was missed, and a copy of the message that is lent.
    @usableFromInline var overrun: OverrunGuard

    let memory: ChannelMemory

    init(_ membership: Membership, from start: SubscriptionStart) throws(IPCError) {
        let memory = membership.memory
        self.memory = memory
        unsafe log = memory.log
        mask = memory.mask
        key = memory.key
        plainKey = memory.overwrites ? memory.key ^ 1 << 63 : memory.key
        maximumFrame = memory.maximumFrame
        overwrites = memory.overwrites
        stride = memory.overwrites ? .max : UInt64(memory.capacity / 8)
        isShared = memory.hasSharedWriters
        tail = memory.tail
        readers = memory.sleepingReaders
        writers = memory.sleepingWriters
        cursor = memory.reader(membership.slot, LogLayout.ReaderSlot.cursor)
        // At the very beginning first, so that writers stop before what we may choose (a call that does not wait finds the
        // log full for that moment); then not before the frontier, that they may have reached by then. A pair: we store the
        // cursor and then look at the tail and the frontier; a writer raises the frontier and then looks at the cursors.
        if !memory.overwrites { cursor.ordered = 0 }
        KillPoint.reach(.joinHeld)
        let first = try start.position(in: memory)
        if !memory.overwrites { cursor.ordered = first }
        membership.finishJoining()
        // Where setters tell which value is the newest, it is not looked for.
        let (begin, firstNumber) = try Self.begin(start, first, memory)
        position = begin
        if !memory.overwrites { cursor.ordered = position }
        toldPosition = position
        pace = ReaderPace(position)
        overrun = OverrunGuard(memory, expecting: firstNumber)
        self.membership = membership
        // Those that found no room while the cursor was at the beginning.
        writers.wakeIfNeeded(memory)
    }

    private static func begin(
        _ start: SubscriptionStart, _ first: UInt64, _ memory: ChannelMemory
    ) throws(IPCError) -> (position: UInt64, number: UInt64?) {
        if memory.tellsLatest { return (0, nil) }
        let position = try start.refined(first, memory)
        return (position, try OverrunGuard.firstNumber(at: position, memory))
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
        // As many as the log has: a peer that stores one skipped frame after the other ends the call.
        var left = memory.frameLimit
        while left > 0 {
            left &-= 1
            let frame = unsafe log + Int(truncatingIfNeeded: position & mask)
            guard unsafe SharedWord(frame).published == position ^ key else {
                if try isBehind() { continue }
                guard !memory.isInherited else { throw memory.isInheritedError }
                return nil
            }
            let header = unsafe FrameHeader(frame)
            guard header.isValid(upTo: maximumFrame) else {
                if try isBehind() { continue }
                try failCorrupted()
            }
            let payload = unsafe frame + LogLayout.Frame.headerSize
            let isMessage = header.kind == LogLayout.Kind.message
            if !overwrites {
                if isMessage { return unsafe (header, payload) }
                advance(past: header)
                continue
            }
            // Each header is believed only if it was not overwritten until it was copied, those of skipped frames as well.
            guard
                unsafe isMessage ? overrun.take(payload, header, at: position) : !memory.mayBeOverwritten(position)
            else {
                _ = try isBehind()
                continue
            }
            advance(past: header)
            // Nobody waits for us, so it counts as read already: then it takes no more of the log.
            if isMessage { return unsafe (header.withoutFrame, overrun.copy) }
            overrun.see(header)
        }
        return nil
    }

    /// Nothing is there. One that only polls looks now and then whether a dead writer's claim is in the way, and whether the
    /// channel is there at all. (One that waits does so before it sleeps.) Mutating, though it is not: else we would be copied.
    @usableFromInline @inline(never)
    mutating func lookAround() throws(IPCError) {
        guard memory.isLookDue() else { return }
        try memory.checkPresence()
        if isShared, tail.published > position { try Recovery.tryRun(memory) }
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
                guard memory.mayBeOverwritten(newest) || !memory.isCommitted(newest) else {
                    throw memory.corrupted("the frame at \(newest) is larger than the log allows")
                }
                continue
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
        guard position != toldPosition, !overwrites else { return }
        toldPosition = position
        // Releasing: writers overwrite only after our loads.
        cursor.published = position
        KillPoint.reach(.readCursor)
        if !SleepingPlace.isRegistered { atomicMemoryFence(ordering: .sequentiallyConsistent) }
        if writers.difference != 0 { writers.wake(memory) }
    }

    /// Whether the writers have overtaken us, in a log that overwrites: then we are at the oldest frame that is still
    /// there.
    @usableFromInline
    mutating func isBehind() throws(IPCError) -> Bool {
        // Looked at after whatever was read at the position.
        guard overwrites, memory.mayBeOverwritten(position) else { return false }
        let oldest = memory.oldestSafe
        // Some way on, or we would be overtaken again at once. If the blocks tell nothing of use, wherever it is that
        // writers have not passed: they will, and then tell.
        position = max(LogPositions.first(memory, from: oldest &+ UInt64(memory.capacity / 4)), oldest)
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
        guard !overwrites else { return }
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
        // Whoever comes here has found nothing to take: what is ready now came since, or cannot be taken at all.
        if isReady { return !deadline.hasPassed }
        var count = Waiting.firstLook(spins, after: 64)  // as long as `spin` took
        while true {
            if isReady { return true }
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
            try memory.checkPresence()
            // A claim that is not committed may be a dead writer's: nobody would wake us.
            if isClaimed { try Recovery.tryRun(memory) }
            let (memory, position) = (memory, position)
            readers.sleep(until: deadline, atMost: isClaimed ? 5_000_000 : SleepingPlace.slice) {
                memory.hasNews(at: position)
            }
        }
    }

    /// The same, suspended meanwhile.
    @usableFromInline
    nonisolated(nonsending) mutating func wait(
        until deadline: Deadline, spins: Int?
    ) async throws(IPCError) -> Bool {
        try await readiness().wait(until: deadline, spins: spins, "receive")
    }

    /// The next frame, whatever it is.
    mutating func readiness() -> ChannelReadiness {
        tell()
        let (memory, position) = (memory, position)
        return ChannelReadiness(membership: membership, place: readers) { memory.hasNews(at: position) }
    }

    private var isReady: Bool {
        unsafe SharedWord(log + Int(truncatingIfNeeded: position & mask)).published == position ^ key
            || memory.hasNews(at: position)
    }

    @usableFromInline @inline(never)
    func failCorrupted() throws(IPCError) -> Never {
        throw memory.corrupted("the frame at \(position) is larger than the log allows")
    }
}

extension ChannelMemory {
    /// Whether a reader that is at `position` has something to do: the next frame is there, or it was overtaken, or, where setters
    /// tell of it, there is a newer value.
    fileprivate func hasNews(at position: UInt64) -> Bool {
        guard !tellsLatest else {
            let word = latest.ordered
            // One that was overwritten since is not to be had; its successor will be told of.
            return word != 0 && word &- 1 >= position && isCommitted(word &- 1)
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
        let last = lastLook.load(ordering: .relaxed)
        guard now &- last >= Self.pauseBetweenLooks else { return false }
        return lastLook.compareExchange(expected: last, desired: now, ordering: .relaxed).exchanged
    }

    private static var pauseBetweenLooks: UInt64 { 20_000_000 }

    /// The same for one who works for others, and is to hear of their deaths sooner.
    func isLookAfterCallersDue() -> Bool {
        let (now, last) = (ipc_coarse_now(), lastLookAfterCallers.load(ordering: .relaxed))
        guard now &- last >= Self.pauseBetweenLooksAfterCallers else { return false }
        return lastLookAfterCallers.compareExchange(expected: last, desired: now, ordering: .relaxed).exchanged
    }

    private static var pauseBetweenLooksAfterCallers: UInt64 { 4_000_000 }

    /// What one does now and then that only polls, for whatever it waits: sees that the channel is there, and to what the dead
    /// have left.
    func lookAfterTheDead() throws(IPCError) {
        try checkPresence()
        try Recovery.tryRun(self)
        // One may have acknowledged, and been stopped before it moved the head.
        if carriesWork { try advanceWorkHead() }
    }
}
