import Glibc
import IPC
import IPCChannels
import TestSupport
import Testing

/// Many who wait cost little more than one, and a job wakes one of them.
@Suite(.timeLimit(.minutes(3)), .serialized) struct IdleWorkersTests {
    /// Starts threads that work until they are told to end by a 0 each.
    private func workers(_ count: Int, _ queue: WorkQueue<UInt64>) throws -> [PlainThread] {
        let threads = try (0..<count).map { _ in
            try PlainThread { () throws(IPCError) in
                var worker = try queue.makeWorker()
                while true {
                    let job = try worker.next()
                    let isEnd = job.message == 0
                    try job.acknowledge()
                    if isEnd { return }
                }
            }
        }
        let patience = Deadline.after(.seconds(20))
        while try ChannelDescription(queue.name).participants.count <= count, !patience.hasPassed { usleep(10_000) }
        usleep(200_000)
        return threads
    }

    private func usage() -> (time: Double, switches: Int) {
        var usage = rusage()
        unsafe getrusage(0, &usage)  // RUSAGE_SELF
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
        return (seconds(usage.ru_utime) + seconds(usage.ru_stime), usage.ru_nvcsw)
    }

    private func queue() throws(IPCError) -> WorkQueue<UInt64> {
        try .create(
            channelName(),
            ChannelOptions(writers: .shared, lifetime: .whileUsed, capacity: 65_536, maximumReaders: 256))
    }

    @Test func twoHundredIdleWorkersLeaveTheProcessorAlone() throws {
        let queue = try queue()
        var producer = try queue.makeProducer()
        let threads = try workers(200, queue)
        let before = usage()
        usleep(2_000_000)
        let used = (usage().time - before.time) / 2
        for _ in threads { try producer.send(0) }
        for thread in threads { #expect(thread.join() == nil) }
        // They took 69 % of a core, and that without the checks of a debug build.
        #expect(used < 0.25, "200 idle workers take \(used) of a core")
    }

    @Test func aJobWakesOneWorker() throws {
        let queue = try queue()
        var producer = try queue.makeProducer()
        let threads = try workers(50, queue)
        let before = usage()
        for number in 1...100 as ClosedRange<UInt64> {
            try producer.send(number)
            usleep(2000)
        }
        let switches = usage().switches - before.switches
        for _ in threads { try producer.send(0) }
        for thread in threads { #expect(thread.join() == nil) }
        // Each looks up every 50 ms besides: some 300 times. If all were woken, there would be 5000.
        #expect(switches < 2000, "100 jobs woke workers \(switches) times")
    }
}
