import Glibc
import IPC
import IPCChannels
import TestSupport

/// What those cost the processor that wait and get nothing, for `Scripts/idle.sh`.
enum IdleCosts {
    private struct NoAnswer: Error, BitwiseCopyable {}
    private typealias Asking = ServiceChannel<UInt64, UInt64, NoAnswer>

    /// Prints the share of a processor, in per cent, that `count` of them take.
    static func run(_ kind: String, _ count: Int) throws {
        let name = "idle/\(kind)"
        let options = ChannelOptions(
            writers: .shared, lifetime: .whileUsed, capacity: 65_536, maximumReaders: 256, maximumWriters: 256)
        var calls = ServiceOptions()
        (calls.maximumServers, calls.maximumClients) = (256, 256)
        // Nobody waits here for others to join: each is a thread of its own, and blocks.
        var threads: [PlainThread] = []
        func start(_ body: @escaping () throws(IPCError) -> Void) throws {
            for _ in 0..<count { threads.append(try PlainThread(body)) }
        }
        switch kind {
        case "subscribers":
            let topic = try Topic<UInt64>.openOrCreate(name, options)
            try start { () throws(IPCError) in
                var subscription = try topic.makeSubscription()
                _ = try subscription.receive()
            }
        case "subscribing-tasks":
            let topic = try Topic<UInt64>.openOrCreate(name, options)
            for _ in 0..<count {
                Task.detached {
                    var subscription = try topic.makeSubscription()
                    _ = try await subscription.receive()
                }
            }
        case "workers":
            let queue = try WorkQueue<UInt64>.openOrCreate(name, options)
            try start { () throws(IPCError) in
                var worker = try queue.makeWorker()
                _ = try worker.next()
            }
        case "servers":
            let service = try Asking.openOrCreate(name, calls)
            try start { () throws(IPCError) in
                var server = try service.makeServer()
                try server.serveNext { number throws(NoAnswer) in number }
            }
        case "callers":
            let service = try Asking.openOrCreate(name, calls)
            let server = try service.makeServer()
            try start { () throws(IPCError) in
                var client = try service.makeClient()
                _ = try client.call(1)
            }
            withExtendedLifetime(server) { measure(kind, count) }
            return
        case "publishers":
            let topic = try Topic<UInt64>.openOrCreate(name, options)
            let subscription = try topic.makeSubscription()
            var publisher = try topic.makePublisher()
            while try publisher.tryPublish(1) {}
            try start { () throws(IPCError) in
                var publisher = try topic.makePublisher()
                try publisher.publish(2)
            }
            withExtendedLifetime(subscription) { measure(kind, count) }
            return
        case "waiters":
            let event = try Event.openOrCreate(name, EventOptions(maximumParticipants: 256))
            try start { () throws(IPCError) in try event.makeParticipant().wait() }
        default: fatalError("no kind \(kind)")
        }
        measure(kind, count)
    }

    private static func measure(_ kind: String, _ count: Int) {
        usleep(2_000_000)
        let before = processorTime()
        usleep(5_000_000)
        let used = (processorTime() - before) / 5
        print("\(count) \(kind): \((used * 10_000).rounded() / 100) % of a processor")
        exit(0)
    }

    private static func processorTime() -> Double {
        var usage = rusage()
        getrusage(0, &usage)  // RUSAGE_SELF
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
        return seconds(usage.ru_utime) + seconds(usage.ru_stime)
    }
}
