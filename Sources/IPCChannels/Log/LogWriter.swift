import CIPCShims
import IPC
import Synchronization

/// One writer of a log: claims space, lends it to be filled, and commits it by a single store.
///
/// An exclusive writer owns the end of the log and claims by moving a variable of its own. A shared one moves the tail by
/// compare-and-swap, after it wrote down in its slot what it is about to claim, so that its death leaves no riddle.
@safe @usableFromInline
struct LogWriter: ~Copyable {
    let membership: Membership
    // Copies of what the hot path needs, so that it loads them from this struct alone.
    @usableFromInline let log: UnsafeMutableRawPointer
    @usableFromInline let mask: UInt64
    @usableFromInline let key: UInt64
    /// Exclusive, in memory, and with a kernel that fences for the sleeper: then there is little to do.
    @usableFromInline let isPlain: Bool
    /// The same of a shared one.
    @usableFromInline let isPlainShared: Bool
    @usableFromInline let isShared: Bool
    private let fences: Bool
    @usableFromInline let slot: UInt32
    @usableFromInline let blockShift: UInt64
    @usableFromInline let maximumPayload: Int
    /// More than 0 in a durable log.
    let trailerSize: Int
    @usableFromInline let tail: SharedWord
    @usableFromInline let intentPosition: SharedWord
    @usableFromInline let intentLength: SharedWord
    @usableFromInline let slotSequence: SharedWord
    @usableFromInline let readers: SleepingPlace
    /// Where other writers wait, for room or for this one's claim.
    @usableFromInline let writers: SleepingPlace
    /// How many forks lay before it joined: a child has no part in the channel.
    @usableFromInline let forks: UInt64
    /// How many bytes ahead lines are fetched: as many as gave most messages. (The log is mapped twice, so they are there.)
    @usableFromInline let reach: Int

    /// Where the next frame goes, or the claimed one lies.
    @usableFromInline var position: UInt64
    /// Nothing is written at or above it without another look at the cursors.
    @usableFromInline var limit: UInt64
    /// The same for a plain writer, and 0 for others.
    @usableFromInline var plainLimit: UInt64
    @usableFromInline var sequence: UInt64
    /// How many pauses there are between two looks for room.
    var stay = shortestStay
    /// Bytes of the frame that is claimed.
    @usableFromInline var claimed: UInt64 = 0

    let memory: ChannelMemory

    init(_ membership: Membership) throws(IPCError) {
        let memory = membership.memory
        self.memory = memory
        let slot = membership.slot
        unsafe log = memory.log
        mask = memory.mask
        key = memory.key
        // Not by the properties of self: the operators' closures would capture it before it is whole, which the compiler
        // (6.3.1) gets wrong.
        let (isShared, fences) = (memory.hasSharedWriters, !SleepingPlace.isRegistered)
        self.isShared = isShared
        self.fences = fences
        isPlain = !isShared && !fences && !memory.isDurable
        isPlainShared = isShared && !fences && !memory.isDurable && !memory.tellsLatest
        blockShift = memory.blockShift
        maximumPayload = memory.maximumPayload
        trailerSize = memory.trailerSize
        tail = memory.tail
        self.slot = UInt32(slot)
        intentPosition = memory.writer(slot, LogLayout.WriterSlot.intentPosition)
        intentLength = memory.writer(slot, LogLayout.WriterSlot.intentLength)
        slotSequence = memory.writer(slot, LogLayout.WriterSlot.sequence)
        readers = memory.sleepingReaders
        writers = memory.sleepingWriters
        forks = memory.forks
        // Of work, what comes next is still being finished by others.
        reach = memory.carriesWork ? 64 : isShared ? 192 : 1024
        limit = 0
        plainLimit = 0
        sequence = slotSequence.relaxed
        position = 0
        if !isShared {
            // Where the one before us ended, however it ended.
            let end = try LogPositions.end(memory)
            position = end.position
            if let next = end.sequence { sequence = next }
            // One that died may have stored a stamp in another 64th of the log, and not told of it: who asks for the newest value looks
            // no further than the end of the block that the tail is in.
            slotSequence.published = sequence
            tail.ordered = position
        }
        membership.finishJoining()
        self.membership = membership
    }

    @inlinable deinit { end() }

    @usableFromInline @inline(never)
    func end() {
        if !isShared { publishEnd(position) }
    }

    /// Claims room for a payload of `count` bytes, to be filled and committed, or abandoned.
    ///
    /// - Returns: Where the payload goes; nil if there was no room until the deadline.
    /// - Precondition: Nothing is claimed.
    @inlinable @inline(__always)
    mutating func claim(_ count: Int, until deadline: Deadline) throws(IPCError) -> UnsafeMutableRawPointer? {
        if let payload = unsafe claimAtOnce(count) { return unsafe payload }
        return try unsafe claimSlowly(count, until: deadline)
    }

    /// The same where it takes no call: by a plain writer that knows of room. A function that does this, fills, and calls
    /// ``deliverAtOnce(_:)`` has no registers to save, and each store to a stack would be one more of the few dozen that the
    /// processor lets wait for the log's lines.
    ///
    /// - Returns: nil if it takes one.
    @inlinable @inline(__always)
    mutating func claimAtOnce(_ count: Int) -> UnsafeMutableRawPointer? {
        // As unsigned numbers, so that one comparison finds the negative ones too.
        guard UInt(bitPattern: count) <= UInt(bitPattern: maximumPayload), forks == ipc_forks() else { return nil }
        let size = UInt64(truncatingIfNeeded: LogLayout.Frame.size(payload: count))
        // `plainLimit` is 0 for those who have more to do.
        if position &+ size <= plainLimit {
            // A store less, where messages are alike.
            if claimed != size { claimed = size }
        } else {
            guard isPlainShared, claimTail(size) else { return nil }
        }
        return unsafe claimedPayload
    }

    /// Where the claimed payload goes; its lines are fetched.
    @inlinable @inline(__always)
    var claimedPayload: UnsafeMutableRawPointer {
        let frame = unsafe log + Int(truncatingIfNeeded: position & mask)
        // Both lines of a small frame at once, and one of those that come next.
        unsafe ipc_prefetch_to_write(frame)
        unsafe ipc_prefetch_to_write(frame + 64)
        unsafe ipc_prefetch_to_write(frame + reach)
        return unsafe frame + LogLayout.Frame.headerSize
    }

    /// The same for those that have more to do, or have to look for room.
    @usableFromInline @inline(never)
    mutating func claimSlowly(
        _ count: Int, until deadline: Deadline
    ) throws(IPCError) -> UnsafeMutableRawPointer? {
        guard (0...maximumPayload).contains(count) else { try failTooLarge(count) }
        guard !memory.isInherited else { throw memory.isInheritedError }
        let size = UInt64(truncatingIfNeeded: LogLayout.Frame.size(payload: count &+ trailerSize))
        // Before the claim, so that one which is refused takes no room; what others claim before ours meanwhile comes after it.
        guard try waitUntilSyncIsPossible(size, until: deadline),
            try isShared ? claimShared(size, until: deadline) : claimAlone(size, until: deadline)
        else { return nil }
        if willSync, try !waitForEarlierClaims(until: deadline) { return nil }
        return unsafe claimedPayload
    }

    private mutating func claimAlone(_ size: UInt64, until deadline: Deadline) throws(IPCError) -> Bool {
        var rounds = 0
        while position &+ size > limit {
            guard try makeRoom(size, from: position, until: deadline) else { return false }
            rounds += 1
            if rounds % 1024 == 0, deadline.hasPassed { return false }
        }
        claimed = size
        return true
    }

    /// Makes what was claimed visible: a message of `count` bytes, at most as many as were claimed; and, where the channel
    /// says so, durable.
    @inlinable @inline(__always)
    mutating func deliver(_ count: Int) throws(IPCError) {
        if isPlain || isPlainShared { deliverAtOnce(count) } else { try deliverSlowly(count) }
    }

    /// The same by a plain writer.
    @inlinable @inline(__always)
    mutating func deliverAtOnce(_ count: Int) {
        let frame = unsafe log + Int(truncatingIfNeeded: position & mask)
        unsafe header(count, LogLayout.Kind.message).store(at: frame)
        unsafe stamp(frame)
        if isPlainShared {
            giveUpIntent()
            goOn(isShared: true)
        } else {
            goOn(isShared: false)
        }
    }

    @usableFromInline @inline(never)
    mutating func deliverSlowly(_ count: Int) throws(IPCError) {
        let isToSync = willSync
        commit(count, LogLayout.Kind.message)
        // Nothing before it is uncommitted: that was waited for when it was claimed.
        if isToSync { try syncLog(upTo: position) }
    }

    /// Makes what was claimed visible, whatever kind of writer we are.
    mutating func commit(_ count: Int, _ kind: UInt32) {
        let frame = unsafe log + Int(truncatingIfNeeded: position & mask)
        let header = header(count, kind)
        unsafe header.store(at: frame)
        if trailerSize != 0 { unsafe Checksum.seal(frame, header, at: position, memory) }
        unsafe stamp(frame)
        memory.tellOfLatest(position, kind)
        KillPoint.reach(.commitLatest)
        if isShared { giveUpIntent() }
        if fences { atomicMemoryFence(ordering: .sequentiallyConsistent) }
        goOn(isShared: isShared)
    }

    @inlinable @inline(__always)
    func stamp(_ frame: UnsafeMutableRawPointer) {
        KillPoint.reach(.fillHeader)
        // Releasing: payload and header are seen by whoever sees the stamp.
        unsafe SharedWord(frame).published = position ^ key
        KillPoint.reach(.commitStamp)
    }

    /// What a shared writer does after the stamp, in this order: the recovery of its slot tells by it how far it came.
    @inlinable @inline(__always)
    func giveUpIntent() {
        slotSequence.published = sequence &+ 1
        KillPoint.reach(.commitSequence)
        intentPosition.published = LogLayout.unclaimed
    }

    @inlinable @inline(__always)
    func header(_ count: Int, _ kind: UInt32) -> FrameHeader {
        FrameHeader(
            length: UInt32(truncatingIfNeeded: count), kind: kind, sequence: sequence, writer: slot,
            units: UInt32(truncatingIfNeeded: claimed / UInt64(LogLayout.Frame.alignment)))
    }

    /// What follows on a commit.
    @inlinable @inline(__always)
    mutating func goOn(isShared: Bool) {
        sequence &+= 1
        let start = position
        position = start &+ claimed
        KillPoint.reach(.commitWake)
        // One comparison for all of it, none of which is often so. The call is the last thing done here. Other writers wait for what a
        // shared one claims; an exclusive one has none.
        if (start ^ position) &>> blockShift | readers.difference | (isShared ? writers.difference : 0) != 0 {
            goOnSlowly()
        }
    }

    @usableFromInline @inline(never)
    mutating func goOnSlowly() {
        if ((position &- claimed) ^ position) &>> blockShift != 0 { enterBlock() }
        if readers.difference != 0 { memory.carriesWork ? readers.wakeOne(memory) : readers.wake(memory) }
        if isShared, writers.difference != 0 { writers.wake(memory) }
    }

    /// Gives up what was claimed: readers pass over it.
    @usableFromInline @inline(never)
    mutating func abandon() {
        guard isShared else { return }
        commit(Int(claimed) - LogLayout.Frame.headerSize - trailerSize, LogLayout.Kind.skipped)
    }

    private mutating func claimShared(_ size: UInt64, until deadline: Deadline) throws(IPCError) -> Bool {
        var lost = 0
        while !claimTail(size) {
            let start = try memory.checkedTail()
            if start &+ size > limit {
                guard try makeRoom(size, from: start, until: deadline) else { return false }
            } else {
                ipc_pause()
            }
            // Another was quicker, or took the room. That ends: each time somebody has claimed; but a peer may move the tail for ever.
            lost += 1
            if lost % 1024 == 0, deadline.hasPassed { return false }
        }
        return true
    }

    /// Claims at the tail, if there is room that is known of, and nobody else is quicker.
    @inlinable @inline(__always)
    mutating func claimTail(_ size: UInt64) -> Bool { claimTail(size, at: tail.published) }

    /// The same if the tail is there.
    @inlinable @inline(__always)
    mutating func claimTail(_ size: UInt64, at start: UInt64) -> Bool {
        guard start &+ size <= limit, LogLayout.Frame.isAligned(start) else { return false }
        // The length before the position, and both before the tail moves: a claim is never without its owner.
        intentLength.relaxed = size
        KillPoint.reach(.claimLength)
        intentPosition.published = start
        KillPoint.reach(.claimIntent)
        guard tail.exchange(start, for: start &+ size).exchanged else {
            intentPosition.published = LogLayout.unclaimed
            return false
        }
        KillPoint.reach(.claimDone)
        position = start
        claimed = size
        return true
    }

    /// Once in every 64th of the log: tells where a frame begins, for those who come later.
    private mutating func enterBlock() {
        let block = Int(truncatingIfNeeded: position >> blockShift) % LogLayout.blockCount
        memory.word(LogLayout.blockStarts + block * 8).published = position
        KillPoint.reach(.blockStart)
        if !isShared { publishEnd(position) }
        if claimed >= 4096 {
            // The next frame begins in a page, and in lines, that this processor has not used for long: fetched now, and not
            // only when it is written. (Small frames are close to the last one, and a fetch would be in the way there.)
            let next = unsafe log + Int(truncatingIfNeeded: position & mask)
            unsafe ipc_prefetch(next)
            unsafe ipc_prefetch(next + 64)
        }
    }

    private func publishEnd(_ end: UInt64) {
        slotSequence.published = sequence
        tail.published = end
    }

    @usableFromInline @inline(never)
    func failTooLarge(_ count: Int) throws(IPCError) -> Never {
        throw IPCError(
            .messageTooLarge, "publish", memory.name.description,
            advice: count < 0
                ? "the size is \(count); it must be 0 to \(maximumPayload)"
                : memory.maximumFrame < UInt64(memory.capacity / 2)
                    ? "a message of \(count) bytes is over the limit of \(maximumPayload), 4 GiB with its header; send it in parts"
                    : "a message of \(count) bytes is over this channel's limit of \(maximumPayload), half of its log; create it with a larger capacity"
        )
    }
}
