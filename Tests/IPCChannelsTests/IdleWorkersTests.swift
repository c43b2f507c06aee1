import Glibc
import IPC
import IPCChannels
import Synchronization
import SystemPackage
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
        try .openOrCreate(
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

    /// Starts threads that count a 7 and then wait for an 8, and waits until they have slept for a while.
    private func subscribers(_ count: Int, _ topic: Topic<UInt64>, _ heard: Shared) throws -> [PlainThread] {
        let threads = try (0..<count).map { _ in
            try PlainThread { () throws(IPCError) in
                var subscription = try topic.makeSubscription()
                while try subscription.receive() == 7 { heard.count.add(1, ordering: .relaxed) }
            }
        }
        let patience = Deadline.after(.seconds(20))
        while try ChannelDescription(topic.name).participants.count < count, !patience.hasPassed { usleep(10_000) }
        usleep(500_000)
        return threads
    }

    private final class Shared: Sendable { let count = Atomic(0) }

    private func topic() throws(IPCError) -> Topic<UInt64> {
        try .openOrCreate(channelName(), ChannelOptions(lifetime: .whileUsed, capacity: 65_536, maximumReaders: 256))
    }

    @Test func twoHundredIdleSubscribersShareTheirLooks() throws {
        let topic = try topic()
        var publisher = try topic.makePublisher()
        let threads = try subscribers(200, topic, Shared())
        let before = usage()
        usleep(2_000_000)
        let switches = usage().switches - before.switches
        try publisher.publish(8)
        for thread in threads { #expect(thread.join() == nil) }
        // They were 8000 when each looked up every 50 ms.
        #expect(switches < 1000, "200 idle subscribers looked up \(switches) times in two seconds")
    }

    /// Each sleeps for up to 2.5 seconds, and one that looks up looks for all.
    @Test func aHundredIdleThreadsHearAtOnceOfAMessageWhoseWriterDiedBeforeItToldThem() throws {
        let (topic, heard) = (try topic(), Shared())
        let threads = try subscribers(100, topic, heard)
        let peer = try Peer(
            product("ChannelPeer"), ["publish-number", topic.name.description, "7"],
            environment: ["IPC_ROOT=\(channelRoot)", "IPC_KILL_POINT=wake.flag"])
        #expect(try peer.finish().status == .signaled(.kill))
        let patience = Deadline.after(.seconds(1))
        while heard.count.load(ordering: .relaxed) < 100, !patience.hasPassed { usleep(1000) }
        #expect(heard.count.load(ordering: .relaxed) == 100)
        var publisher = try topic.makePublisher()
        try publisher.publish(8)
        for thread in threads { #expect(thread.join() == nil) }
    }

    /// Each sleeps at its own place, for up to half a second, and all hear of the death of the server that has their calls.
    @Test func aHundredCallersHearAtOnceThatTheirServerIsDead() throws {
        var options = ServiceOptions()
        options.maximumClients = 256
        let service = try ServiceChannel<UInt64, UInt64, Errno>.openOrCreate(channelName(), options)
        let peer = try Peer(product("ChannelPeer"), ["hold-call", service.name.description, "100"])
        #expect(try peer.said() == "ready\n")
        let heard = Shared()
        let threads = try (0..<100).map { number in
            try PlainThread { () throws(IPCError) in
                var client = try service.makeClient()
                do throws(IPCError) { _ = try client.call(UInt64(number)) } catch {
                    guard error.code == .brokenPipe else { throw error }
                    heard.count.add(1, ordering: .relaxed)
                }
            }
        }
        #expect(try peer.said().hasPrefix("took "))
        usleep(300_000)
        let before = usage()
        usleep(1_000_000)
        let switches = usage().switches - before.switches
        #expect(switches < 2000, "100 callers looked up \(switches) times in a second")
        try peer.kill()
        let patience = Deadline.after(.seconds(1))
        while heard.count.load(ordering: .relaxed) < 100, !patience.hasPassed { usleep(1000) }
        #expect(heard.count.load(ordering: .relaxed) == 100)
        for thread in threads { #expect(thread.join() == nil) }
    }
}
