import CIPCShims
import Glibc
import IPC
import SystemPackage

extension LogWriter {
    /// Waits until all that was committed or acknowledged before the call, by whomever, is on the disk.
    ///
    /// - Throws: ``IPC/IPCError/Code/timedOut`` if a claim before it was not committed until the deadline, since a crash of the
    ///   machine would cut it, and all that follows.
    func sync(until deadline: Deadline) throws(IPCError) {
        guard !memory.isInherited else { throw memory.isInheritedError }
        guard memory.isDurable else {
            throw IPCError(
                .unsupported, "sync", memory.name.description,
                advice: "the channel lives in memory; create it with a durability")
        }
        let end = isShared ? try memory.checkedTail() : position
        guard try waitForClaims(before: end, until: deadline) else {
            throw IPCError(
                .timedOut, "sync", memory.name.description,
                advice: "a writer has begun a message and not finished it; allow more time, or look at that process")
        }
        try syncLog(upTo: end)
    }

    /// Whether what is claimed is to be on the disk when its call returns.
    var willSync: Bool {
        trailerSize != 0 && memory.syncBytes != .max
            && position &+ claimed &- min(memory.synced.ordered, position) >= memory.syncBytes
    }

    /// Waits until nothing is uncommitted before the place that a claim of `size` bytes would have, if that is to be synced.
    ///
    /// - Returns: False if something still was at the deadline.
    func waitUntilSyncIsPossible(_ size: UInt64, until deadline: Deadline) throws(IPCError) -> Bool {
        guard trailerSize != 0, isShared, memory.syncBytes != .max else { return true }
        let tail = memory.tail.ordered
        guard tail &+ size &- min(memory.synced.ordered, tail) >= memory.syncBytes else { return true }
        return try waitForClaims(before: tail, until: deadline)
    }

    /// Waits until nothing before our claim is uncommitted: then it can be synced as soon as it is committed itself. If that does not
    /// come about, the claim is given up.
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

    /// - Returns: False if there still was one at the deadline.
    private func waitForClaims(before end: UInt64, until deadline: Deadline) throws(IPCError) -> Bool {
        guard isShared else { return true }
        let (memory, slot) = (memory, Int(slot))
        var isFirst = true
        while memory.hasClaim(before: end, besides: slot) {
            // Its writer may be dead. One that does not wait asks only now and then.
            if deadline != .immediate || memory.isLookDue() { try memory.lookAfterTheDead() }
            if deadline.hasPassed { return false }
            // It is short, as a rule: a copy of a message.
            for _ in 0..<(isFirst ? 1000 : 0) {
                guard memory.hasClaim(before: end, besides: slot) else { return true }
                ipc_pause()
            }
            isFirst = false
            // Whoever commits or gives up a claim wakes those who wait for room as well.
            writers.sleep(until: deadline) { !memory.hasClaim(before: end, besides: slot) }
        }
        return true
    }

    /// Waits until what lies before `end` is on the disk, and of work what became of it.
    func syncLog(upTo end: UInt64) throws(IPCError) {
        // Acknowledgements change frames that were synced before.
        guard memory.carriesWork || memory.synced.ordered < end else { return }
        KillPoint.reach(.syncBegun)
        try memory.syncLog()
        memory.synced.raise(to: end)
    }
}

extension ChannelMemory {
    /// Whether a claim before `end` is not committed yet, and so would be cut by a crash of the machine, with all after it.
    ///
    /// - Parameter slot: The writer's that asks: its own does not count.
    func hasClaim(before end: UInt64, besides slot: Int?) -> Bool { oldestClaim(before: end, besides: slot) != nil }

    /// Waits until the log is on the disk: `msync`.
    func syncLog() throws(IPCError) { unsafe try Self.sync(log, capacity, name) }
    /// The same by a mapping that can be written to.
    func syncLog(_ mapping: MirroredMapping) throws(IPCError) { unsafe try Self.sync(mapping.base, capacity, name) }

    /// Waits until `control` is on the disk, but for its slots.
    func syncControl() throws(IPCError) { unsafe try Self.sync(word(0).pointer, LogLayout.slots, name) }
    /// The same with its slots.
    func syncControlAndSlots() throws(IPCError) {
        let count = LogLayout.controlByteCount(
            pattern, capacity: capacity, readerSlots: readerSlots, writerSlots: writerSlots)
        unsafe try Self.sync(word(0).pointer, count, name)
    }

    /// The same of what is set aside.
    func syncAside() throws(IPCError) {
        let start = LogLayout.aside(readerSlots: readerSlots, writerSlots: writerSlots)
        unsafe try Self.sync(word(start).pointer, asideCount * LogLayout.Aside.size, name)
    }

    private static func sync(
        _ address: UnsafeRawPointer, _ count: Int, _ name: ChannelName
    ) throws(IPCError) {
        _ = try retryingInterrupts { unsafe msync(UnsafeMutableRawPointer(mutating: address), count, MS_SYNC) }
            .orThrow("msync", name.description) { _ in
                "what was published is with the readers, but may not be on the disk; look at the disk"
            }
    }
}
