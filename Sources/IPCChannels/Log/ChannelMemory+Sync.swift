import Glibc
import IPC
import SystemPackage

// How a durable log is written to the disk.
extension ChannelMemory {
    /// Waits until the log is on the disk: `msync`.
    func syncLog() throws(IPCError) { unsafe try Self.sync(log, capacity, name) }
    /// The same through a writable mapping.
    func syncLog(_ mapping: MirroredMapping) throws(IPCError) { unsafe try Self.sync(mapping.base, capacity, name) }

    /// Waits until `control`, except its slots, is on the disk.
    func syncControl() throws(IPCError) { unsafe try Self.sync(word(0).pointer, LogLayout.slots, name) }
    /// The same including its slots.
    func syncControlAndSlots() throws(IPCError) {
        let count = LogLayout.controlByteCount(
            carriesWork: carriesWork, capacity: capacity, readerSlots: readerSlots, writerSlots: writerSlots)
        unsafe try Self.sync(word(0).pointer, count, name)
    }

    static func sync(
        _ address: UnsafeRawPointer, _ count: Int, _ name: ChannelName
    ) throws(IPCError) {
        _ = try retryingInterrupts { unsafe msync(UnsafeMutableRawPointer(mutating: address), count, MS_SYNC) }
            .orThrow("msync", name.description) { _ in
                "readers have the published messages, but the disk may not; check the disk"
            }
    }
}
