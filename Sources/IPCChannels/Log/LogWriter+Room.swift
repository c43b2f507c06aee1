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
        if try takeRoom(upTo: start &+ size, size) {
            // Whoever never has to wait should hear as well that the channel was removed.
            if memory.isLookDue() { try memory.checkPresence() }
            return true
        }
        return try waitForRoom(size, from: start, until: deadline)
    }

    /// Goes past what is set aside, or sets aside what is in the way.
    ///
    /// - Returns: Whether another look at the end of the log is worth while.
    private mutating func passWork(for size: UInt64, from start: UInt64) throws(IPCError) -> Bool {
        if try leadPast(from: start, for: size) { return true }
        return try memory.passHeldWork() && memory.hasRoom(for: size, from: start, seeker)
    }

    /// Claims what lies before a place that is left out, and the place, as a skipped frame.
    private mutating func leadPast(from start: UInt64, for size: UInt64) throws(IPCError) -> Bool {
        guard let end = memory.wayPast(from: start, for: size, seeker), end <= memory.roomEndByClaims(besides: ownSlot)
        else {
            return false
        }
        try tellFrontier(end)
        limit = end
        plainLimit = 0
        defer { limit = 0 }
        if isShared {
            guard claimTail(end &- start, at: start) else { return true }  // another was quicker
        } else {
            claimed = end &- start
        }
        KillPoint.reach(.asidePassed)
        commit(0, LogLayout.Kind.skipped)
        return true
    }

    @inline(never)
    private mutating func waitForRoom(
        _ size: UInt64, from start: UInt64, until deadline: Deadline
    ) throws(IPCError) -> Bool {
        let end = start &+ size
        let (memory, seeker) = (memory, seeker)
        defer { endWish() }
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
            // Not before others had time to make room: it takes lines away from whoever works at the head.
            if memory.carriesWork, looked >= 2 * Self.longestStay || deadline.hasPassed,
                try passWork(for: size, from: start)
            {
                return true
            }
            if looked < 2 * Self.longestStay, !deadline.hasPassed {
                for _ in 0..<stay { ipc_pause() }
                looked += stay
                if looked % 256 == 0 { sched_yield() }
                continue
            }
            // Who holds us back may be dead. One that does not wait asks only now and then.
            let isPolling = deadline == .immediate
            if isPolling ? memory.isLookDue() : MonotonicClock.now >= nextRecovery {
                nextRecovery = MonotonicClock.now &+ SleepingPlace.slice
                try memory.lookAfterTheDead()
                try memory.retireExpiredCalls()
                if memory.hasRoom(for: size, from: start, seeker) { continue }
            }
            if deadline.hasPassed { return false }
            wish(for: size)
            writers.sleep(until: deadline) { memory.hasRoom(for: size, from: start, seeker) }
        }
    }

    /// How many pauses there are between two looks: some 0.3 and 9 µs.
    static var shortestStay: Int { 16 }
    private static var longestStay: Int { 512 }

    private mutating func takeRoom(upTo end: UInt64, _ size: UInt64) throws(IPCError) -> Bool {
        guard !memory.isRoomWanted(besides: ownSlot) else { return false }
        let room = memory.roomEnd(from: end &- size, seeker)
        guard room >= end else { return false }
        // What is taken ahead is lost to those who join later.
        let capacity = UInt64(memory.capacity)
        var wanted = min(room, end &+ max(capacity / 16, min(8 &* size, capacity / 4)))
        // The newest value, which lies at most half a log before, stays readable until the next one is there.
        if memory.pattern == .latest { wanted = max(end, min(wanted, end &- size &+ capacity / 2)) }
        guard wanted < LogLayout.farthest else { throw memory.corrupted("a cursor or the tail is \(room)") }
        try tellFrontier(wanted)
        limit = min(wanted, memory.roomEnd(from: end &- size, seeker))
        plainLimit = isPlain ? limit : 0
        guard limit >= end else { return false }
        endWish()
        return true
    }

    /// Says that we wait for much room: others leave to us what comes free. Else a large message could wait for ever beside small ones,
    /// which take each piece. Said again while we wait: nobody waits for one that was stopped, or died.
    private func wish(for size: UInt64) {
        guard isShared, memory.isMuch(size) else { return }
        let word = memory.wish.relaxed
        guard word & 0xfff == UInt64(slot + 1) || !memory.isCurrent(wish: word) else { return }
        _ = memory.wish.exchange(word, for: ChannelMemory.microseconds << 12 | UInt64(slot + 1))
    }

    private func endWish() {
        let word = memory.wish.relaxed
        guard word != 0, word & 0xfff == UInt64(slot + 1), memory.wish.exchange(word, for: 0).exchanged else { return }
        if writers.mayHaveSleepers { writers.wake(memory) }
    }

    /// Told before it is used. A reader that joins stores its cursor and then looks at the frontier; we raise the frontier and then look
    /// at the cursors: one of us sees the other.
    private func tellFrontier(_ end: UInt64) throws(IPCError) {
        memory.frontier.raise(to: end)
        if memory.isDurable { try memory.syncControl() }
        // Also before what is about to be overwritten: a reader that copied new bytes sees the new frontier.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
    }

    /// Our slot, if there may be other writers.
    var ownSlot: Int? { isShared ? Int(slot) : nil }

    private var seeker: ChannelMemory.RoomSeeker {
        let isHandler = memory.pattern == .service && membership.isInHandler
        return ChannelMemory.RoomSeeker(slot: ownSlot, isHandler: isHandler)
    }

    /// Room for a payload of `count` bytes; and, where each message is on the disk before its call returns, nobody's claim before
    /// it.
    func readiness(forRoom count: Int) -> ChannelReadiness {
        let size = UInt64(truncatingIfNeeded: LogLayout.Frame.size(payload: count &+ trailerSize))
        let (memory, slot, seeker, start) = (memory, ownSlot, seeker, isShared ? nil : position)
        let isToSync = memory.isDurable && isShared && memory.syncBytes != .max
        return ChannelReadiness(membership: membership, place: writers) {
            // One that acknowledged may have been stopped before it moved the head.
            if memory.carriesWork { _ = try? memory.advanceWorkHead() }
            let tail = memory.tail.ordered
            guard memory.hasRoom(for: size, from: start ?? tail, seeker) else { return false }
            return !isToSync || !memory.hasClaim(before: tail, besides: slot)
        }
    }

    /// Waits until there is room for a payload of `count` bytes, suspended meanwhile. Another writer may be quicker then.
    ///
    /// - Returns: False if there was none until the deadline.
    @usableFromInline
    nonisolated(nonsending) mutating func waitForRoom(
        _ count: Int, until deadline: Deadline
    ) async throws(IPCError) -> Bool {
        let size = UInt64(truncatingIfNeeded: LogLayout.Frame.size(payload: count &+ trailerSize))
        do throws(IPCError) {
            while true {
                wish(for: size)
                // A wish is said again now and then.
                let end =
                    memory.isMuch(size)
                    ? min(deadline, Deadline(nanoseconds: MonotonicClock.now &+ SleepingPlace.slice)) : deadline
                // It ends when the room is taken.
                if try await readiness(forRoom: count).wait(until: end, "publish") { return true }
                if deadline.hasPassed {
                    endWish()
                    return false
                }
            }
        } catch {
            endWish()
            throw error
        }
    }
}

extension ChannelMemory {
    fileprivate var wish: SharedWord { word(LogLayout.wish) }

    fileprivate static var microseconds: UInt64 { Deadline(nanoseconds: MonotonicClock.now).onMachine / 1000 }

    /// Whether a writer that needs so many bytes may wait for ever beside others that need little.
    fileprivate func isMuch(_ size: UInt64) -> Bool { size >= UInt64(capacity / 16) }

    /// Whether another writer waits for much room.
    fileprivate func isRoomWanted(besides slot: Int?) -> Bool {
        let word = wish.relaxed
        guard word != 0, let slot, word & 0xfff != UInt64(slot + 1) else { return false }
        return isCurrent(wish: word)
    }

    /// Twice as long as it takes to say it again. One of the future is a peer's rubbish.
    fileprivate func isCurrent(wish word: UInt64) -> Bool {
        let (said, now) = (word >> 12, Self.microseconds)
        return word != 0 && said <= now && now - said < 2 * SleepingPlace.slice / 1000
    }

    /// Whether a writer that needs `size` bytes from `start` on has something to do.
    func hasRoom(for size: UInt64, from start: UInt64, _ seeker: RoomSeeker) -> Bool {
        guard !isRoomWanted(besides: seeker.slot) else { return false }
        if roomEnd(from: start, seeker) >= start &+ size { return true }
        guard carriesWork, let end = wayPast(from: start, for: size, seeker) else { return false }
        return end <= roomEndByClaims(besides: seeker.slot)
    }

    /// How far writers may go: the log's size beyond the slowest reader, and beyond the oldest claim under way.
    ///
    /// - Parameters:
    ///   - start: Where the writer is that asks.
    func roomEnd(from start: UInt64, _ seeker: RoomSeeker) -> UInt64 {
        min(carriesWork ? workRoomEnd(from: start, seeker) : roomEndByReaders, roomEndByClaims(besides: seeker.slot))
    }

    /// - Parameter slot: The writer's that asks, if there may be others.
    func roomEndByClaims(besides slot: Int?) -> UInt64 {
        let capacity = UInt64(capacity)
        var lowest = UInt64.max - capacity
        if let slot, let claim = oldestClaim(before: tail.ordered, besides: slot) {
            lowest = min(lowest, claim)
            // A newest value is kept until a newer one is told of. (Where there are only claims of the dead after it, it cannot hold
            // back the one that would replace it.)
            let word = tellsLatest ? latest.ordered : 0
            if word != 0, word &- 1 < claim { lowest = min(lowest, word &- 1) }
        }
        return lowest &+ capacity
    }

    /// The oldest claim before `end` that is not committed; nil if there is none.
    ///
    /// - Parameter slot: The writer's that asks: its own does not count.
    func oldestClaim(before end: UInt64, besides slot: Int?) -> UInt64? {
        var oldest: UInt64?
        for other in 0..<usedWriters where other != slot {
            let intent = writer(other, LogLayout.WriterSlot.intentPosition).ordered
            // An attempt that lost holds nobody back: its place is another's, and committed, or long overwritten.
            guard intent < oldest ?? end, end - intent <= UInt64(capacity), !isCommitted(intent) else { continue }
            oldest = intent
        }
        return oldest
    }

    /// The log's size beyond the slowest reader.
    var roomEndByReaders: UInt64 {
        let capacity = UInt64(capacity)
        var lowest = UInt64.max - capacity
        if !overwrites {
            for slot in 0..<usedReaders {
                lowest = min(lowest, reader(slot, LogLayout.ReaderSlot.cursor).ordered)
            }
            // Of a slot that is free, any guest may have written the cursor, and nobody would ever take it back.
            for slot in 0..<usedGuests where state(.guest, slot).ordered != LogLayout.SlotState.free {
                lowest = min(lowest, cursor(.guest, slot).ordered)
            }
        }
        return lowest &+ capacity
    }
}
