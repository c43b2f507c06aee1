import CIPCShims
import Glibc
import IPC
import SystemPackage

extension LogWriter {
    /// Waits until all that was committed until now, by whomever, is on the disk.
    mutating func sync() throws(IPCError) {
        guard memory.isDurable else {
            throw IPCError(
                .unsupported, "sync", memory.name.description,
                advice: "the channel lives in memory; create it with a durability")
        }
        // An earlier claim that is not committed would be cut, and we with it.
        var spins = 0
        while hasEarlierClaim() {
            spins += 1
            if spins % 1000 == 0 { try Recovery.tryRun(memory) }
            sched_yield()
        }
        KillPoint.reach(.syncBegun)
        if memory.synced.published < position {
            try memory.syncLog()
            memory.synced.raise(to: position)
        }
    }

    private func hasEarlierClaim() -> Bool {
        guard isShared else { return false }
        return (0..<memory.usedWriters).contains { other in
            let intent = memory.writer(other, LogLayout.WriterSlot.intentPosition).ordered
            return other != Int(slot) && intent < position && intent >= memory.oldestSafe && !memory.isCommitted(intent)
        }
    }
}

extension ChannelMemory {
    /// Waits until the log is on the disk: `msync`.
    func syncLog() throws(IPCError) { unsafe try Self.sync(log, capacity, name) }
    /// The same by a mapping that can be written to.
    func syncLog(_ mapping: MirroredMapping) throws(IPCError) { unsafe try Self.sync(mapping.base, capacity, name) }

    /// Waits until `control` is on the disk, but for its slots.
    func syncControl() throws(IPCError) { unsafe try Self.sync(word(0).pointer, LogLayout.slots, name) }

    private static func sync(
        _ address: UnsafeRawPointer, _ count: Int, _ name: ChannelName
    ) throws(IPCError) {
        _ = try retryingInterrupts { unsafe msync(UnsafeMutableRawPointer(mutating: address), count, MS_SYNC) }
            .orThrow("msync", name.description) { _ in
                "what was published is with the readers, but may not be on the disk; look at the disk"
            }
    }
}
