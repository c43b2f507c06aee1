import CIPCShims
import Glibc
import IPC
import SystemPackage

extension LogWriter {
    /// Waits until everything that any process committed or acknowledged before the call is on the disk.
    ///
    /// - Throws: ``/IPC/IPCError/Code/timedOut`` if an earlier claim is not committed by the deadline: a crash of the machine would
    ///   discard it and everything after it.
    func sync(until deadline: Deadline) throws(IPCError) {
        try memory.sync(upTo: syncEnd, besides: isShared ? Int(slot) : nil, until: deadline)
    }

    /// What a sync at this moment has to bring to the disk.
    var syncEnd: UInt64 {
        get throws(IPCError) {
            guard !memory.isInherited else { throw memory.isInheritedError }
            guard memory.isDurable else {
                throw IPCError(
                    .unsupported, "sync", memory.name.description,
                    advice: "the channel is not durable; create it with a durability")
            }
            return isShared ? try memory.checkedTail() : position
        }
    }

    /// Whether the claimed message must be on the disk when its call returns.
    var willSync: Bool {
        trailerSize != 0 && memory.syncBytes != .max
            && position &+ claimed &- min(memory.synced.ordered, position) >= memory.syncBytes
    }

    /// If a claim of `size` bytes would have to be synced, waits until everything before it is committed.
    ///
    /// - Returns: False if a claim was still uncommitted at the deadline.
    func waitUntilSyncIsPossible(_ size: UInt64, until deadline: Deadline) throws(IPCError) -> Bool {
        guard trailerSize != 0, isShared, memory.syncBytes != .max else { return true }
        let tail = memory.tail.ordered
        guard tail &+ size &- min(memory.synced.ordered, tail) >= memory.syncBytes else { return true }
        return try waitForClaims(before: tail, until: deadline)
    }

    /// Waits until everything before this writer's claim is committed, so that the claim can be synced as soon as it is committed
    /// itself. Abandons the claim on failure.
    ///
    /// - Returns: False if the deadline passed first.
    mutating func waitForEarlierClaims(until deadline: Deadline) throws(IPCError) -> Bool {
        guard isShared else { return true }
        var isReady = false
        do throws(IPCError) {
            isReady = try waitForClaims(before: position, until: deadline)
        } catch {
            abandon()
            throw error
        }
        if !isReady { abandon() }
        return isReady
    }

    private func waitForClaims(before end: UInt64, until deadline: Deadline) throws(IPCError) -> Bool {
        guard isShared else { return true }
        return try memory.waitForClaims(before: end, besides: Int(slot), until: deadline)
    }

    func syncLog(upTo end: UInt64) throws(IPCError) { try memory.syncLog(upTo: end) }
}

extension ChannelMemory {
    /// Whether a claim before `end` is not committed yet. A crash of the machine would discard it and everything after it.
    ///
    /// - Parameter slot: The calling writer's slot: its own claim does not count.
    func hasClaim(before end: UInt64, besides slot: Int?) -> Bool { oldestClaim(before: end, besides: slot) != nil }

    /// - Parameter slot: The calling writer's slot; nil if there is no other writer.
    func sync(upTo end: UInt64, besides slot: Int?, until deadline: Deadline) throws(IPCError) {
        if let slot, try !waitForClaims(before: end, besides: slot, until: deadline) {
            throw IPCError(
                .timedOut, "sync", name.description,
                advice: "a writer has begun a message and not finished it; allow more time, or check that process")
        }
        try syncLog(upTo: end)
    }

    /// - Returns: False if a claim was still uncommitted at the deadline.
    fileprivate func waitForClaims(
        before end: UInt64, besides slot: Int, until deadline: Deadline
    ) throws(IPCError) -> Bool {
        var isFirst = true
        var announcement: WaitQueue.Announcement?
        while hasClaim(before: end, besides: slot) {
            // Its writer may be dead. A call that does not wait checks only from time to time.
            if deadline != .immediate || isDeathCheckDue() { try recoverDeadParticipants() }
            if deadline.hasPassed { return false }
            // A claim is usually short: it lasts as long as a message's copy.
            for _ in 0..<(isFirst ? 1000 : 0) {
                guard hasClaim(before: end, besides: slot) else { return true }
                ipc_pause()
            }
            isFirst = false
            // A writer that commits or abandons a claim also wakes the writers that wait for room.
            waitingWriters.sleepInTurn(&announcement, in: self, until: deadline) {
                !hasClaim(before: end, besides: slot)
            }
        }
        return true
    }

    /// Waits until the log before `end` is on the disk, and, where the log carries work, the state of each message too.
    fileprivate func syncLog(upTo end: UInt64) throws(IPCError) {
        // Acknowledgements change frames that were synced before.
        guard carriesWork || synced.ordered < end else { return }
        KillPoint.reach(.syncBegun)
        try syncLog()
        synced.raise(to: end)
    }
}
