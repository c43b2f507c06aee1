import Glibc
import IPC
import IPCChannels
import Synchronization

/// Many asynchronous waits in one process, to be measured and stormed.
enum Waits {
    final class Box<Value: ~Copyable>: @unchecked Sendable {
        var value: Value
        init(_ value: consuming Value) { self.value = value }
    }

    /// Waits for so many subscriptions at once, and says what that costs: processor time in microseconds, and kilobytes.
    static func idle(_ prefix: String, count: Int, seconds: Int) async throws {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        let before = residentKilobytes()
        let perTopic = 500
        var tasks: [Task<Void, any Error>] = []
        for index in stride(from: 0, to: count, by: perTopic) {
            let topic = try Topic<UInt64>.openOrCreate(
                "\(prefix)/\(index)", ChannelOptions(capacity: 65_536, maximumReaders: perTopic))
            for _ in 0..<min(perTopic, count - index) {
                let subscription = Box(try topic.makeSubscription())
                tasks.append(Task { _ = try await subscription.value.receive() })
            }
        }
        try await Task.sleep(for: .seconds(1))
        let start = processorMicroseconds()
        try await Task.sleep(for: .seconds(seconds))
        let used = processorMicroseconds() - start
        ChannelPeer.say("cpu \(used) memory \(residentKilobytes() - before)")
        for task in tasks { task.cancel() }
        for task in tasks { _ = await task.result }
    }

    private static func processorMicroseconds() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return time.tv_sec * 1_000_000 + time.tv_nsec / 1000
    }

    static func residentKilobytes() -> Int {
        guard let file = fopen("/proc/self/status", "r") else { return 0 }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        while fgets(&line, 256, file) != nil {
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if text.hasPrefix("RssAnon:") { return Int(text.split(separator: " ").dropFirst().first ?? "0") ?? 0 }
        }
        return 0
    }

    /// Publishes so many messages, and then receives them by asynchronous calls: says how many nanoseconds each took.
    static func receiveWaiting(_ name: String, count: UInt64) async throws {
        let topic = try Topic<UInt64>.openOrCreate(name, ChannelOptions(capacity: 1 << 26))
        let publisher = Box(try topic.makePublisher())
        var subscription = try topic.makeSubscription()
        var best = Duration.seconds(1)
        for _ in 0..<5 {
            publish(publisher, count)
            var sum: UInt64 = 0
            let start = ContinuousClock.now
            for _ in 0..<count { sum &+= try await subscription.receive() }
            best = min(best, ContinuousClock.now - start)
            guard sum == count * (count - 1) / 2 else { fatalError("a message was lost") }
        }
        ChannelPeer.say("\(best / Int(count))")
    }

    private static func publish(_ publisher: Box<Topic<UInt64>.Publisher>, _ count: UInt64) {
        for number in 0..<count { _ = try! publisher.value.tryPublish(number) }
    }

    private struct Refusal: Error, BitwiseCopyable {}

    /// Says how many microseconds a task was kept from looking at the clock while calls of every kind wait.
    static func pool(_ prefix: String) async throws {
        let topic = try Topic<UInt64>.openOrCreate(prefix + "/topic")
        let full = try Topic<RawBytes>.openOrCreate(
            prefix + "/full", ChannelOptions(writers: .shared, capacity: 65_536))
        let slow = try full.makeSubscription()
        let block = [UInt8](repeating: 0, count: 30_000)
        let queue = try WorkQueue<UInt64>.openOrCreate(
            prefix + "/queue", ChannelOptions(writers: .shared, lifetime: .whileUsed))
        let service = try ServiceChannel<UInt64, UInt64, Refusal>.openOrCreate(prefix + "/service")
        let unserved = try ServiceChannel<UInt64, UInt64, Refusal>.openOrCreate(prefix + "/unserved")
        let event = try Event.openOrCreate(prefix + "/event")
        let latest = try Latest<UInt64>.openOrCreate(prefix + "/latest")
        var tasks: [Task<Void, any Error>] = []
        for _ in 0..<8 {
            let subscription = Box(try topic.makeSubscription())
            tasks.append(Task { _ = try await subscription.value.receive() })
            let publisher = Box(try full.makePublisher())
            tasks.append(Task { while true { try await publisher.value.publish(block.span.bytes) } })
            let worker = Box(try queue.makeWorker())
            tasks.append(Task { try await worker.value.next().acknowledge() })
            tasks.append(Task { try await service.serve { $0 } })
            let client = Box(try unserved.makeClient())
            tasks.append(Task { _ = try await client.value.call(1) })
            let waiter = Box(try event.makeParticipant())
            tasks.append(Task { try await waiter.value.wait() })
            let getter = Box(try latest.makeGetter())
            tasks.append(Task { _ = try await getter.value.next() })
            let set = Box(try WaitSet())
            let other = Box(try topic.makeSubscription())
            tasks.append(
                Task {
                    _ = try await set.value.wait { (sources) throws(IPCError) in sources.add(&other.value) }
                })
        }
        try await Task.sleep(for: .milliseconds(50))
        var longest = Duration.zero
        var last = ContinuousClock.now
        for _ in 0..<300 {
            try await Task.sleep(for: .milliseconds(1))
            let now = ContinuousClock.now
            longest = max(longest, now - last)
            last = now
        }
        ChannelPeer.say("\(Int(longest / .microseconds(1)))")
        for task in tasks { task.cancel() }
        for task in tasks { _ = await task.result }
        slow.close()
    }
}
