import Glibc
import IPC
import IPCChannels
import Synchronization

/// Workers that write down, for each job by its number, how often it was begun and acknowledged: `[begun u64 | done u64]`.
enum Work {
    /// The job after which the worker that gets it ends.
    static let end = UInt64.max

    /// Works until the end. Says so if a job comes that was acknowledged before.
    static func work(_ name: String, records: String) throws {
        let records = try SharedMemory.open(records).map()
        var worker = try WorkQueue<UInt64>.open(name).makeWorker()
        ChannelPeer.say("ready")
        var isLent = false
        while try workOnce(&worker, records, isLent: isLent) { isLent.toggle() }
    }

    /// By a job of its own, or by one that is lent.
    private static func workOnce(
        _ worker: inout WorkQueue<UInt64>.Worker, _ records: MemoryMapping, isLent: Bool
    ) throws(IPCError) -> Bool {
        let deadline = Deadline.after(.seconds(60))
        let message: UInt64
        if isLent {
            message = try worker.workNext(until: deadline) { message in
                begin(message, records)
                return message
            }
        } else {
            let job = try worker.next(until: deadline)
            message = job.message
            begin(message, records)
            try job.acknowledge()
        }
        guard message != end else { return false }
        records.withAtomic(UInt64.self, at: Int(message) * 16 + 8) { _ = $0.add(1, ordering: .sequentiallyConsistent) }
        return true
    }

    private static func begin(_ message: UInt64, _ records: MemoryMapping) {
        guard message != end else { return }
        let offset = Int(message) * 16
        records.withAtomic(UInt64.self, at: offset) { _ = $0.add(1, ordering: .sequentiallyConsistent) }
        if records.withAtomic(UInt64.self, at: offset + 8, { $0.load(ordering: .acquiring) }) != 0 {
            ChannelPeer.say("job \(message) came again")
        }
    }

    /// Takes a job, says so, and never finishes it.
    static func hold(_ name: String) throws {
        var worker = try WorkQueue<UInt64>.open(name).makeWorker()
        let job = try worker.next(until: .after(.seconds(20)))
        ChannelPeer.say("took \(job.message)")
        withExtendedLifetime(job) { while true { pause() } }
    }
}
