import CIPCShims
import Glibc
import IPC
import Synchronization

extension LogWriter {
    /// Makes room for `size` bytes from `start` on, and for a little more, so that the next check is not needed at once. Waits for
    /// slow readers.
    ///
    /// - Returns: False if there was no room by the deadline.
    mutating func makeRoom(_ size: UInt64, from start: UInt64, until deadline: Deadline) throws(IPCError) -> Bool {
        // Readers that make room little by little are not asked for each piece: loading a cursor takes its cache line away from
        // the reader, and writing right behind the reader takes more of them.
        if backOff > Self.shortestBackOff, !deadline.hasPassed { for _ in 0..<backOff { ipc_pause() } }
        if try takeRoom(upTo: start &+ size, size) {
            adaptBackOff(from: start)
            // A writer that never has to wait still has to notice that the channel was removed.
            if memory.isDeathCheckDue() { try memory.checkPresence() }
            return true
        }
        return try waitForRoom(size, from: start, until: deadline)
    }

    /// Leads past frames that are set aside, or sets aside those that are in the way.
    ///
    /// - Returns: Whether it is worth loading the end of the log again.
    private mutating func makeWay(for size: UInt64, from start: UInt64) throws(IPCError) -> Bool {
        if try leadPast(from: start, for: size) { return true }
        guard let hooks = memory.hooks, try hooks.makeWay(in: memory) else { return false }
        return memory.hasRoom(for: size, from: start, seeker)
    }

    /// Claims everything up to the end of a region that is left out, and commits it as a skipped frame.
    private mutating func leadPast(from start: UInt64, for size: UInt64) throws(IPCError) -> Bool {
        guard let end = memory.hooks?.wayPast(from: start, for: size, seeker, in: memory),
            end <= memory.roomEndByClaims(besides: ownSlot)
        else { return false }
        try raiseReservedEnd(end)
        limit = end
        plainLimit = 0
        defer { limit = 0 }
        if isShared {
            guard claimTail(end &- start, at: start) else { return true }  // another writer claimed first
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
        defer { endRoomRequest() }
        var looked = 0  // in pauses
        var nextRecovery: UInt64 = 0
        var announcement: WaitQueue.Announcement?
        while true {
            // Another writer may have claimed beyond `end` meanwhile; then the caller loads the tail again.
            if try takeRoom(upTo: end, size) {
                adaptBackOff(from: start)
                return true
            }
            // Not before the readers had time to make room: this takes cache lines away from those that work at the head.
            if memory.carriesWork, looked >= 2 * Self.longestBackOff || deadline.hasPassed,
                try makeWay(for: size, from: start)
            {
                return true
            }
            if looked < 2 * Self.longestBackOff, !deadline.hasPassed {
                for _ in 0..<backOff { ipc_pause() }
                looked += backOff
                if looked % 256 == 0 { sched_yield() }
                continue
            }
            // The participant that holds this writer back may be dead. A call that does not wait checks only from time to time.
            let isPolling = deadline == .immediate
            if isPolling ? memory.isDeathCheckDue() : MonotonicClock.now >= nextRecovery {
                nextRecovery = MonotonicClock.now &+ WaitQueue.maximumSleep
                try memory.recoverDeadParticipants()
                try memory.hooks?.endOverdue(in: memory)
                if memory.hasRoom(for: size, from: start, seeker) { continue }
            }
            if deadline.hasPassed { return false }
            roomRequest(for: size)
            let hasRoom = { memory.hasRoom(for: size, from: start, seeker) }
            // A room request expires, so it is renewed.
            if memory.isMuch(size) {
                writers.sleep(&announcement, until: deadline, atMost: WaitQueue.maximumSleep, unless: hasRoom)
            } else {
                writers.sleepInTurn(&announcement, in: memory, until: deadline, unless: hasRoom)
            }
        }
    }

    /// Called when room was taken from `start` on: doubles the back-off if it was little.
    private mutating func adaptBackOff(from start: UInt64) {
        let isLittle = limit &- start < UInt64(memory.capacity / 64)
        backOff = isLittle ? min(2 * backOff, Self.longestBackOff) : Self.shortestBackOff
    }

    /// The back-off between two polls, in pauses: 16 take about 0.3 µs, 512 about 9 µs.
    static var shortestBackOff: Int { 16 }
    private static var longestBackOff: Int { 512 }

    private mutating func takeRoom(upTo end: UInt64, _ size: UInt64) throws(IPCError) -> Bool {
        guard !memory.isRoomRequested(besides: ownSlot) else { return false }
        let room = memory.roomEnd(from: end &- size, seeker)
        guard room >= end else { return false }
        // Readers that join later cannot start in what is reserved ahead.
        let capacity = UInt64(memory.capacity)
        var wanted = min(room, end &+ max(capacity / 16, min(8 &* size, capacity / 4)))
        // The newest value lies at most half a log back. It stays readable until the next one is there.
        if memory.keepsNewest { wanted = max(end, min(wanted, end &- size &+ capacity / 2)) }
        guard wanted < LogLayout.farthest else { throw memory.corrupted("a cursor or the tail is invalid: \(room)") }
        try raiseReservedEnd(wanted)
        limit = min(wanted, memory.roomEnd(from: end &- size, seeker))
        plainLimit = isPlain ? limit : 0
        guard limit >= end else { return false }
        endRoomRequest()
        return true
    }

    /// Announces that this writer waits for much room, so that others leave freed room to it. Without that a large message could
    /// wait for ever beside small ones that take each freed piece. The request is renewed while the writer waits, so that nobody
    /// waits for a writer that was stopped or died.
    private func roomRequest(for size: UInt64) {
        guard isShared, memory.isMuch(size) else { return }
        let word = memory.roomRequest.relaxed
        guard word & 0xfff == UInt64(slot + 1) || !memory.isCurrent(roomRequest: word) else { return }
        _ = memory.roomRequest.exchange(word, for: ChannelMemory.microseconds << 12 | UInt64(slot + 1))
    }

    /// Ends the announcement of a writer that got its room, or has given up.
    func endRoomRequest() {
        let word = memory.roomRequest.relaxed
        guard word != 0, word & 0xfff == UInt64(slot + 1), memory.roomRequest.exchange(word, for: 0).exchanged else {
            return
        }
        if writers.mayHaveWaiters { writers.wake(memory) }
    }

    /// Raises the reserved end, before anything below it is written. This is a store-then-load pair: a reader that joins stores its
    /// cursor and then loads the reserved end; the writer raises the reserved end and then loads the cursors. At least one sees the
    /// other.
    private func raiseReservedEnd(_ end: UInt64) throws(IPCError) {
        memory.reservedEnd.raise(to: end)
        if memory.isDurable { try memory.syncControl() }
        // The fence also orders the new reserved end before the stores that overwrite: a reader that copied new bytes sees the new
        // reserved end.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
    }

    /// This writer's slot, if there may be other writers.
    var ownSlot: Int? { isShared ? Int(slot) : nil }

    private var seeker: RoomSeeker {
        RoomSeeker(slot: ownSlot, isNested: memory.hasAnswers && Nesting.isInHandler)
    }

    /// Readiness for a payload of `count` bytes. Where each message has to be on the disk before its call returns, it also requires
    /// that no other writer's claim is uncommitted.
    func readiness(forRoom count: Int) -> ChannelReadiness {
        let size = UInt64(truncatingIfNeeded: LogLayout.Frame.size(payload: count &+ trailerSize))
        let (memory, slot, seeker, start) = (memory, ownSlot, seeker, isShared ? nil : position)
        let isToSync = memory.isDurable && isShared && memory.syncBytes != .max
        // Nobody wakes those who wait when the deadline of another's call passes, which then takes no room: they attempt again.
        let end = memory.hasAnswers ? Deadline(nanoseconds: MonotonicClock.now &+ WaitQueue.maximumSleep) : .never
        return ChannelReadiness(membership: membership, place: writers, end: end) {
            // A process that acknowledged may have been stopped before it advanced the head.
            try? memory.hooks?.advance(memory)
            let tail = memory.tail.ordered
            guard memory.hasRoom(for: size, from: start ?? tail, seeker) else { return false }
            return !isToSync || !memory.hasClaim(before: tail, besides: slot)
        }
    }

    /// Announces that room for a payload of `count` bytes is waited for, and returns its readiness.
    func requestRoom(for count: Int) -> ChannelReadiness {
        roomRequest(for: UInt64(truncatingIfNeeded: LogLayout.Frame.size(payload: count &+ trailerSize)))
        return readiness(forRoom: count)
    }

    /// Waits until there is room for a payload of `count` bytes, with the task suspended. Another writer may still take the room
    /// first.
    ///
    /// - Returns: False if there was no room by the deadline.
    @usableFromInline
    nonisolated(nonsending) mutating func waitForRoom(
        _ count: Int, until deadline: Deadline
    ) async throws(IPCError) -> Bool {
        let size = UInt64(truncatingIfNeeded: LogLayout.Frame.size(payload: count &+ trailerSize))
        do throws(IPCError) {
            while true {
                roomRequest(for: size)
                // A room request expires, so it is renewed.
                let end =
                    memory.isMuch(size)
                    ? min(deadline, Deadline(nanoseconds: MonotonicClock.now &+ WaitQueue.maximumSleep)) : deadline
                // The request ends when the room is taken.
                if try await readiness(forRoom: count).wait(until: end, "publish") { return true }
                if deadline.hasPassed {
                    endRoomRequest()
                    return false
                }
            }
        } catch {
            endRoomRequest()
            throw error
        }
    }
}
