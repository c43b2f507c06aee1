import CIPCShims
import IPC
import Synchronization

/// A writer of a log: claims space, lets the caller fill it, and commits it with a single store.
///
/// An exclusive writer owns the end of the log and claims by advancing a variable of its own. A shared writer first stores the
/// claim it is about to make in its slot and then moves the tail by compare-and-swap, so that an abandoned claim can be identified.
@safe @usableFromInline
struct LogWriter: ~Copyable {
    let membership: Membership
    // Copies of what the hot path needs, so that it loads them from this struct alone.
    @usableFromInline let log: UnsafeMutableRawPointer
    @usableFromInline let mask: UInt64
    @usableFromInline let key: UInt64
    /// Whether it is exclusive, in memory, and the kernel makes the sleeper's fence (`membarrier`): then a commit takes the short
    /// path.
    @usableFromInline let isPlain: Bool
    /// The same for a shared writer, if it does not publish the newest value's position either.
    @usableFromInline let isPlainShared: Bool
    @usableFromInline let isShared: Bool
    private let fences: Bool
    @usableFromInline let slot: UInt32
    @usableFromInline let blockShift: UInt64
    @usableFromInline let maximumPayload: Int
    /// Greater than 0 in a durable log.
    let trailerSize: Int
    @usableFromInline let tail: SharedUInt64
    @usableFromInline let intentPosition: SharedUInt64
    @usableFromInline let intentLength: SharedUInt64
    @usableFromInline let slotSequence: SharedUInt64
    @usableFromInline let readers: WaitQueue
    /// Where other writers wait for room or for this writer's claim.
    let writers: WaitQueue
    /// The number of forks before it joined. A forked child is no participant.
    @usableFromInline let forks: UInt64
    /// How many bytes ahead cache lines are prefetched; measured for the highest message rate. (The log is mapped twice, so these
    /// addresses are valid.)
    @usableFromInline let reach: Int

    /// Where the next frame goes, or where the claimed one is.
    @usableFromInline var position: UInt64
    /// Nothing is written at or above it before the cursors are loaded again.
    @usableFromInline var limit: UInt64
    /// The same for a plain writer; 0 for others.
    @usableFromInline var plainLimit: UInt64
    @usableFromInline var sequence: UInt64
    /// The back-off between two polls for room, in pauses.
    var backOff = shortestBackOff
    /// The size of the claimed frame in bytes.
    @usableFromInline var claimed: UInt64 = 0

    let memory: ChannelMemory

    init(_ membership: Membership) throws(IPCError) {
        let memory = membership.memory
        self.memory = memory
        let slot = membership.slot
        unsafe log = memory.log
        mask = memory.mask
        key = memory.key
        // Locals, not properties of self: the operators' closures would capture self before it is initialized, which the compiler
        // (6.3.1) gets wrong.
        let (isShared, fences) = (memory.hasSharedWriters, !WaitQueue.isRegistered)
        self.isShared = isShared
        self.fences = fences
        isPlain = !isShared && !fences && !memory.isDurable
        isPlainShared = isShared && !fences && !memory.isDurable && !memory.publishesLatest
        blockShift = memory.blockShift
        maximumPayload = memory.maximumPayload
        trailerSize = memory.trailerSize
        tail = memory.tail
        self.slot = UInt32(slot)
        intentPosition = memory.writer(slot, LogLayout.WriterSlot.intentPosition)
        intentLength = memory.writer(slot, LogLayout.WriterSlot.intentLength)
        slotSequence = memory.writer(slot, LogLayout.WriterSlot.sequence)
        readers = memory.waitingReaders
        writers = memory.waitingWriters
        forks = memory.forks
        // Where the log carries work, other processes still change what comes next.
        reach = memory.carriesWork ? 64 : isShared ? 192 : 1024
        limit = 0
        plainLimit = 0
        sequence = slotSequence.relaxed
        position = 0
        if !isShared {
            // Where the previous writer ended, in whatever way it ended.
            let end = try LogPositions.end(memory)
            position = end.position
            if let next = end.sequence { sequence = next }
            // A writer that died may have committed a frame in a later block (a 64th of the log) without publishing its end. A
            // reader of the newest value searches only to the end of the block that the tail is in, so the tail is stored now.
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

    /// Claims room for a payload of `count` bytes. The caller fills it and then commits or abandons it.
    ///
    /// - Returns: Where the payload goes; nil if there was no room by the deadline.
    /// - Precondition: Nothing is claimed.
    @inlinable @inline(__always)
    mutating func claim(_ count: Int, until deadline: Deadline) throws(IPCError) -> UnsafeMutableRawPointer? {
        if let payload = unsafe claimAtOnce(count) { return unsafe payload }
        return try unsafe claimSlowly(count, until: deadline)
    }

    /// Claims without a call, for a plain writer that knows of room. A function that does this, fills the payload, and calls
    /// ``deliverAtOnce(_:)`` has no registers to save. Each store to the stack would take one of the few dozen store-buffer
    /// entries, which the stores to the log need while they wait for their cache lines.
    ///
    /// - Returns: Nil if a call is needed: ``claimSlowly(_:until:)``.
    @inlinable @inline(__always)
    mutating func claimAtOnce(_ count: Int) -> UnsafeMutableRawPointer? {
        // Compared as unsigned numbers, so that one comparison rejects negative ones too.
        guard UInt(bitPattern: count) <= UInt(bitPattern: maximumPayload) else { return nil }
        let size = UInt64(truncatingIfNeeded: LogLayout.Frame.size(payload: count))
        // `plainLimit` is 0 for writers that are not plain.
        if position &+ size <= plainLimit {
            guard forks == ipc_forks() else { return nil }
            // Saves a store where all messages have the same size.
            if claimed != size { claimed = size }
        } else {
            // In a child of fork there is nothing to claim: see `fork.c`.
            guard isPlainShared, claimTail(size) else { return nil }
        }
        return unsafe claimedPayload
    }

    /// The same for an exclusive writer alone.
    @inlinable @inline(__always)
    mutating func claimAloneAtOnce(_ count: Int) -> UnsafeMutableRawPointer? {
        guard UInt(bitPattern: count) <= UInt(bitPattern: maximumPayload) else { return nil }
        let size = UInt64(truncatingIfNeeded: LogLayout.Frame.size(payload: count))
        guard position &+ size <= plainLimit, forks == ipc_forks() else { return nil }
        if claimed != size { claimed = size }
        return unsafe claimedPayload
    }

    /// Where the claimed payload goes. Prefetches its cache lines.
    @inlinable @inline(__always)
    var claimedPayload: UnsafeMutableRawPointer {
        let frame = unsafe log + Int(truncatingIfNeeded: position & mask)
        // Both lines of a small frame, and one of those that come next.
        unsafe ipc_prefetch_to_write(frame)
        unsafe ipc_prefetch_to_write(frame + 64)
        unsafe ipc_prefetch_to_write(frame + reach)
        return unsafe frame + LogLayout.Frame.headerSize
    }

    /// The slow path of ``claim(_:until:)``, for writers that are not plain and for those that have to look for room.
    @usableFromInline @inline(never)
    mutating func claimSlowly(
        _ count: Int, until deadline: Deadline
    ) throws(IPCError) -> UnsafeMutableRawPointer? {
        guard (0...maximumPayload).contains(count) else { try failTooLarge(count) }
        guard !memory.isInherited else { throw memory.isInheritedError }
        guard !memory.isRemoved else { throw memory.isRemovedError }
        let size = UInt64(truncatingIfNeeded: LogLayout.Frame.size(payload: count &+ trailerSize))
        // Before the claim, so that a refused claim takes no room. Claims that others make in between are waited for after it.
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

    /// Makes the claimed message visible and, where the channel is configured so, durable. `count` is its size in bytes, at most
    /// what was claimed.
    @inlinable @inline(__always)
    mutating func deliver(_ count: Int) throws(IPCError) {
        if isPlain || isPlainShared { deliverAtOnce(count) } else { try deliverSlowly(count) }
    }

    /// The same for a plain writer.
    @inlinable @inline(__always)
    mutating func deliverAtOnce(_ count: Int) {
        publishClaimed(count)
        if isPlainShared { giveUpIntent() }
        finishCommit()
    }

    /// The same for a plain writer that is exclusive.
    @inlinable @inline(__always)
    mutating func deliverAloneAtOnce(_ count: Int) {
        publishClaimed(count)
        finishCommit()
    }

    @inlinable @inline(__always)
    func publishClaimed(_ count: Int) {
        let frame = unsafe log + Int(truncatingIfNeeded: position & mask)
        unsafe header(count, LogLayout.Kind.message).store(at: frame)
        unsafe stamp(frame)
    }

    @usableFromInline @inline(never)
    mutating func deliverSlowly(_ count: Int) throws(IPCError) {
        let isToSync = willSync
        commit(count, LogLayout.Kind.message)
        // Everything before it is committed: the claim waited for that.
        if isToSync { try syncLog(upTo: position) }
    }

    /// Makes the claim visible, for any kind of writer.
    mutating func commit(_ count: Int, _ kind: UInt32) {
        complete(count, kind)
        memory.publishLatest(position, kind)
        KillPoint.reach(.commitLatest)
        if isShared { giveUpIntent() }
        if fences { atomicMemoryFence(ordering: .sequentiallyConsistent) }
        finishCommit()
    }

    /// Stores the header of the claimed frame, and its stamp.
    private func complete(_ count: Int, _ kind: UInt32) {
        let frame = unsafe log + Int(truncatingIfNeeded: position & mask)
        let header = header(count, kind)
        unsafe header.store(at: frame)
        if trailerSize != 0 { unsafe Checksum.seal(frame, header, at: position, memory) }
        unsafe stamp(frame)
    }

    @inlinable @inline(__always)
    func stamp(_ frame: UnsafeMutableRawPointer) {
        KillPoint.reach(.fillHeader)
        // Releasing: a reader that sees the stamp sees the payload and the header.
        unsafe SharedUInt64(frame).published = position ^ key
        KillPoint.reach(.commitStamp)
    }

    /// What a shared writer stores after the stamp. The order lets a recovery of its slot find out how far it came.
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

    /// The last part of a commit: advances the position, then wakes others if needed.
    @inlinable @inline(__always)
    mutating func finishCommit() {
        sequence &+= 1
        let start = position
        position = start &+ claimed
        KillPoint.reach(.commitWake)
        // One comparison for both conditions, which are rare. The call is the last thing done here. Writers that wait for this claim are
        // counted among the readers, too.
        if (start ^ position) &>> blockShift | readers.difference != 0 { finishCommitSlowly() }
    }

    @usableFromInline @inline(never)
    mutating func finishCommitSlowly() {
        if ((position &- claimed) ^ position) &>> blockShift != 0 { enterBlock() }
        guard readers.difference != 0 else { return }
        memory.carriesWork ? readers.wakeOne(memory) : readers.wake(memory)
        // Whoever removes the channel leaves the counts different. The next claim has no room at once, and finds out.
        if memory.isRemoved { (limit, plainLimit) = (0, 0) }
    }

    /// Abandons the claim: it becomes a frame that readers skip.
    @usableFromInline @inline(never)
    mutating func abandon() {
        guard isShared else { return }
        commit(claimedPayloadSize, LogLayout.Kind.skipped)
    }

    private var claimedPayloadSize: Int { Int(claimed) - LogLayout.Frame.headerSize - trailerSize }

    /// Abandons the claim of a writer that ends. Its membership wakes those who wait for it.
    func abandonAtEnd() {
        guard isShared, !memory.isInherited else { return }
        complete(claimedPayloadSize, LogLayout.Kind.skipped)
        giveUpIntent()
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
            // Another writer claimed first or took the room. Each lost attempt means that some writer has claimed, so the loop
            // ends. But a hostile peer can move the tail for ever, so the deadline is checked as well.
            lost += 1
            if lost % 1024 == 0, deadline.hasPassed { return false }
        }
        return true
    }

    /// Claims at the tail, if there is room below the limit and no other writer claims first.
    @inlinable @inline(__always)
    mutating func claimTail(_ size: UInt64) -> Bool { claimTail(size, at: tail.published) }

    /// The same at a known tail.
    @inlinable @inline(__always)
    mutating func claimTail(_ size: UInt64, at start: UInt64) -> Bool {
        guard start &+ size <= limit, LogLayout.Frame.isAligned(start) else { return false }
        // The length before the position, and both before the tail moves: a claim never lacks an owner.
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

    /// Called once per block (a 64th of the log): publishes where a frame begins, for participants that join later.
    private mutating func enterBlock() {
        let block = Int(truncatingIfNeeded: position >> blockShift) % LogLayout.blockCount
        memory.word(LogLayout.blockStarts + block * 8).published = position
        KillPoint.reach(.blockStart)
        if !isShared { publishEnd(position) }
        if claimed >= 4096 {
            // The next frame begins in a page and in cache lines that this processor has not used for long. They are fetched now,
            // before they are written. (Small frames are close to the last one, and there a prefetch would only get in the way.)
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
                    ? "a message of \(count) bytes exceeds the limit of \(maximumPayload), 4 GiB with its header; send it in parts"
                    : "a message of \(count) bytes exceeds this channel's limit of \(maximumPayload), half of its log; create it with a larger capacity"
        )
    }
}
