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
        var worker = try WorkQueue<UInt64>.open(name, maximumAttempts: 1000).makeWorker()
        ChannelPeer.say("ready")
        while try workOnce(&worker, records) {}
    }

    private static func workOnce(_ worker: inout Worker<UInt64>, _ records: MemoryMapping) throws(IPCError) -> Bool {
        let job = try worker.next(until: .after(.seconds(60)))
        let message = job.message
        if message == end {
            try job.acknowledge()
            return false
        }
        let offset = Int(message) * 16
        records.withAtomic(UInt64.self, at: offset) { _ = $0.add(1, ordering: .sequentiallyConsistent) }
        if records.withAtomic(UInt64.self, at: offset + 8, { $0.load(ordering: .acquiring) }) != 0 {
            ChannelPeer.say("job \(message) came again")
        }
        try job.acknowledge()
        records.withAtomic(UInt64.self, at: offset + 8) { _ = $0.add(1, ordering: .sequentiallyConsistent) }
        return true
    }

    /// Takes a job, says so, and never finishes it.
    static func hold(_ name: String) throws {
        var worker = try WorkQueue<UInt64>.open(name).makeWorker()
        let job = try worker.next(until: .after(.seconds(20)))
        ChannelPeer.say("took \(job.message)")
        withExtendedLifetime(job) { while true { pause() } }
    }
}
