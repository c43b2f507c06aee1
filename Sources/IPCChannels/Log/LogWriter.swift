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
    @usableFromInline let isShared: Bool
    @usableFromInline let fences: Bool
    @usableFromInline let slot: UInt32
    @usableFromInline let blockShift: UInt64
    @usableFromInline let maximumPayload: Int
    /// More than 0 in a durable log.
    @usableFromInline let trailerSize: Int
    @usableFromInline let tail: SharedWord
    @usableFromInline let intentPosition: SharedWord
    @usableFromInline let intentLength: SharedWord
    @usableFromInline let slotSequence: SharedWord
    @usableFromInline let readers: SleepingPlace

    /// Where the next frame goes, or the claimed one lies.
    @usableFromInline var position: UInt64
    /// Nothing is written at or above it without another look at the cursors.
    @usableFromInline var limit: UInt64
    @usableFromInline var sequence: UInt64
    /// Bytes of the frame that is claimed; 0 if none is.
    @usableFromInline var claimed: UInt64 = 0
    /// Bytes that were committed since the last sync.
    var unsynced: UInt64 = 0

    var memory: ChannelMemory { membership.memory }

    init(_ membership: Membership) throws(IPCError) {
        let memory = membership.memory
        let slot = membership.slot
        unsafe log = memory.log
        mask = memory.mask
        key = memory.key
        isShared = memory.hasSharedWriters
        fences = !SleepingPlace.isRegistered
        blockShift = memory.blockShift
        maximumPayload = memory.maximumPayload
        trailerSize = memory.trailerSize
        tail = memory.tail
        self.slot = UInt32(slot)
        intentPosition = memory.writer(slot, LogLayout.WriterSlot.intentPosition)
        intentLength = memory.writer(slot, LogLayout.WriterSlot.intentLength)
        slotSequence = memory.writer(slot, LogLayout.WriterSlot.sequence)
        readers = memory.sleepingReaders
        limit = 0
        sequence = slotSequence.relaxed
        position = 0
        if !isShared {
            // Where the one before us ended, however it ended.
            let end = try LogPositions.end(memory)
            position = end.position
            if let next = end.sequence { sequence = next }
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
        guard count <= maximumPayload else { try failTooLarge(count) }
        let size = UInt64(truncatingIfNeeded: LogLayout.Frame.size(payload: count &+ trailerSize))
        if isShared {
            guard try claimShared(size, until: deadline) else { return nil }
        } else {
            if position &+ size > limit {
                guard try makeRoom(upTo: position &+ size, until: deadline) else { return nil }
            }
            claimed = size
        }
        return unsafe log + Int(truncatingIfNeeded: position & mask) + LogLayout.Frame.headerSize
    }

    /// Makes what was claimed visible, and, where the channel says so, durable.
    @inlinable @inline(__always)
    mutating func deliver(_ count: Int) throws(IPCError) {
        commit(count)
        if trailerSize != 0 { try syncIfDue() }
    }

    /// Makes what was claimed visible: a message of `count` bytes, at most as many as were claimed.
    @inlinable @inline(__always)
    mutating func commit(_ count: Int, kind: UInt32 = LogLayout.Kind.message) {
        let frame = unsafe log + Int(truncatingIfNeeded: position & mask)
        let header = FrameHeader(
            length: UInt32(truncatingIfNeeded: count), kind: kind, sequence: sequence, writer: slot,
            units: UInt32(truncatingIfNeeded: claimed / UInt64(LogLayout.Frame.alignment)))
        unsafe header.store(at: frame)
        if trailerSize != 0 { seal() }
        KillPoint.reach(.fillHeader)
        // Releasing: payload and header are seen by whoever sees the stamp.
        unsafe SharedWord(frame).published = position ^ key
        KillPoint.reach(.commitStamp)
        sequence &+= 1
        let end = position &+ claimed
        if isShared {
            // In this order, each after the stamp: the recovery of our slot tells by them how far we came.
            slotSequence.published = sequence
            KillPoint.reach(.commitSequence)
            intentPosition.published = LogLayout.unclaimed
        }
        if (position ^ end) >> blockShift != 0 { enterBlock(at: end) }
        position = end
        claimed = 0
        if fences { atomicMemoryFence(ordering: .sequentiallyConsistent) }
        KillPoint.reach(.commitWake)
        if readers.flag.relaxed != 0 { readers.wake() }
    }

    /// Gives up what was claimed: readers pass over it.
    @usableFromInline
    mutating func abandon() {
        if isShared { commit(Int(claimed) - LogLayout.Frame.headerSize - trailerSize, kind: LogLayout.Kind.skipped) }
        claimed = 0
    }

    @inlinable @inline(__always)
    mutating func claimShared(_ size: UInt64, until deadline: Deadline) throws(IPCError) -> Bool {
        var start = tail.published
        while true {
            if start &+ size > limit {
                guard try makeRoom(upTo: start &+ size, until: deadline) else { return false }
                start = tail.published
                continue
            }
            // The length before the position, and both before the tail moves: a claim is never without its owner.
            intentLength.relaxed = size
            KillPoint.reach(.claimLength)
            intentPosition.published = start
            KillPoint.reach(.claimIntent)
            let (isOurs, found) = tail.exchange(start, for: start &+ size)
            if isOurs { break }
            intentPosition.published = LogLayout.unclaimed
            start = found
            ipc_pause()
        }
        KillPoint.reach(.claimDone)
        position = start
        claimed = size
        return true
    }

    /// Once in every 64th of the log: tells where a frame begins, for those who come later.
    @usableFromInline @inline(never)
    mutating func enterBlock(at end: UInt64) {
        let block = Int(truncatingIfNeeded: end >> blockShift) % LogLayout.blockCount
        memory.word(LogLayout.blockStarts + block * 8).published = end
        KillPoint.reach(.blockStart)
        if !isShared { publishEnd(end) }
    }

    private func publishEnd(_ end: UInt64) {
        slotSequence.published = sequence
        tail.published = end
    }

    @usableFromInline @inline(never)
    func failTooLarge(_ count: Int) throws(IPCError) -> Never {
        throw IPCError(
            .messageTooLarge, "publish", memory.name.description,
            advice:
                "a message of \(count) bytes is over this channel's limit of \(maximumPayload), half of its log; create it with a larger capacity"
        )
    }
}
