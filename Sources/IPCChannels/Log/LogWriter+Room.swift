import CIPCShims
import Glibc
import IPC
import Synchronization

extension LogWriter {
    /// Finds room for `size` bytes from `start` on, and a little more so that the next look is not at once: waits for
    /// readers that are behind.
    ///
    /// - Returns: False if there was none until the deadline.
    mutating func makeRoom(_ size: UInt64, from start: UInt64, until deadline: Deadline) throws(IPCError) -> Bool {
        if try takeRoom(upTo: start &+ size, size) { return true }
        return try waitForRoom(size, from: start, until: deadline)
    }

    @inline(never)
    private mutating func waitForRoom(
        _ size: UInt64, from start: UInt64, until deadline: Deadline
    ) throws(IPCError) -> Bool {
        let end = start &+ size
        let (memory, slot) = (memory, ownSlot)
        let place = memory.sleepingWriters
        var looked = 0  // in pauses
        var nextRecovery: UInt64 = 0
        while true {
            // Another writer may have gone on from `end` meanwhile: then the caller looks at the tail again.
            if try takeRoom(upTo: end, size) {
                // Who makes room little by little had better be left alone: each look takes a line away, and what is written
                // right behind takes more.
                let isLittle = limit &- start < UInt64(memory.capacity / 64)
                stay = isLittle ? min(2 * stay, Self.longestStay) : Self.shortestStay
                return true
            }
            if looked < 2 * Self.longestStay, !deadline.hasPassed {
                for _ in 0..<stay { ipc_pause() }
                looked += stay
                if looked % 256 == 0 { sched_yield() }
                continue
            }
            // Who holds us back may be dead.
            if MonotonicClock.now >= nextRecovery {
                nextRecovery = MonotonicClock.now &+ SleepingPlace.slice
                if try Recovery.tryRun(memory) { continue }
                // Or it acknowledged, and died before it moved the head.
                if memory.carriesWork, try memory.advanceWorkHead() { continue }
            }
            if deadline.hasPassed { return false }
            place.sleep(until: deadline) { memory.roomEnd(besides: slot) >= end }
        }
    }

    /// How many pauses there are between two looks: some 0.3 and 9 µs.
    static var shortestStay: Int { 16 }
    private static var longestStay: Int { 512 }

    private mutating func takeRoom(upTo end: UInt64, _ size: UInt64) throws(IPCError) -> Bool {
        let room = memory.roomEnd(besides: ownSlot)
        guard room >= end else { return false }
        // What is taken ahead is lost to those who join later.
        let capacity = UInt64(memory.capacity)
        let wanted = min(room, end &+ max(capacity / 16, min(8 &* size, capacity / 4)))
        // Told before it is used. A reader that joins stores its cursor and then looks at the frontier; we raise the
        // frontier and then look at the cursors: one of us sees the other.
        memory.frontier.raise(to: wanted)
        if memory.isDurable { try memory.syncControl() }
        // Also before what is about to be overwritten: a reader that copied new bytes sees the new frontier.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        limit = min(wanted, memory.roomEnd(besides: ownSlot))
        plainLimit = isPlain ? limit : 0
        return limit >= end
    }

    /// Our slot, if there may be other writers.
    private var ownSlot: Int? { isShared ? Int(slot) : nil }

    /// Room for a payload of `count` bytes.
    func readiness(forRoom count: Int) -> ChannelReadiness {
        let size = UInt64(truncatingIfNeeded: LogLayout.Frame.size(payload: count &+ trailerSize))
        let (memory, slot, start) = (memory, ownSlot, isShared ? nil : position)
        // Readers tell when they have read; a claim that is committed is not told to writers.
        let isByClaim = isShared && memory.roomEndByReaders > memory.roomEnd(besides: slot)
        return ChannelReadiness(
            membership: membership, place: memory.sleepingWriters, atMost: isByClaim ? Self.claimSlice : .max
        ) {
            memory.roomEnd(besides: slot) >= (start ?? memory.tail.published) &+ size
        }
    }

    /// Waits until there is room for a payload of `count` bytes, suspended meanwhile. Another writer may be quicker then.
    ///
    /// - Returns: False if there was none until the deadline.
    @usableFromInline
    nonisolated(nonsending) mutating func waitForRoom(
        _ count: Int, until deadline: Deadline
    ) async throws(IPCError) -> Bool {
        try await readiness(forRoom: count).wait(until: deadline, "publish")
    }

    /// How long a writer sleeps at most, in nanoseconds, for another's claim to be committed.
    private static var claimSlice: UInt64 { 5_000_000 }
}

extension ChannelMemory {
    /// How far writers may go: the log's size beyond the slowest reader, and beyond the oldest claim under way.
    ///
    /// - Parameter slot: The writer's that asks, if there may be others.
    func roomEnd(besides slot: Int?) -> UInt64 {
        let capacity = UInt64(capacity)
        var lowest = roomEndByReaders &- capacity
        if let slot {
            let tail = tail.published
            for other in 0..<usedWriters where other != slot {
                let intent = writer(other, LogLayout.WriterSlot.intentPosition).ordered
                // An attempt that lost holds nobody back: its place is another's, and committed, or long overwritten.
                guard intent < lowest, intent < tail, tail - intent <= capacity, !isCommitted(intent) else {
                    continue
                }
                lowest = intent
            }
        }
        return lowest &+ capacity
    }

    /// The log's size beyond the slowest reader.
    var roomEndByReaders: UInt64 {
        let capacity = UInt64(capacity)
        var lowest = UInt64.max - capacity
        if carriesWork {
            lowest = min(lowest, workHead.ordered)
        } else if !overwrites {
            for slot in 0..<usedReaders {
                lowest = min(lowest, reader(slot, LogLayout.ReaderSlot.cursor).ordered)
            }
        }
        return lowest &+ capacity
    }
}
