import AllocationCounter
import Glibc
import IPC
import IPCChannels

/// Counts how often a message retains or releases an object, in a release build. Each loop is written out, so that nothing
/// but the message's way is counted.
enum References {
    private static let rounds = 1000
    private struct Refusal: Error, BitwiseCopyable {}

    /// Prints `name references allocations`, of one message. Rounded to the nearest: the other side of a call may not have let go of
    /// the last one yet.
    private static func report(_ name: String, since references: Int, _ allocations: Int) {
        func each(_ count: Int) -> Int { (count + rounds / 2) / rounds }
        print(name, each(reference_count() - references), each(allocation_count() - allocations))
    }

    static func run() throws(IPCError) {
        for writers in [ChannelOptions.Writers.exclusive, .shared] {
            for overflow in [ChannelOptions.Overflow.block, .overwrite] {
                try topic("topic-\(writers)-\(overflow)", ChannelOptions(writers: writers, overflow: overflow))
            }
            try bytes("bytes-\(writers)", ChannelOptions(writers: writers))
        }
        try checked()
        try latest()
        try event()
        try workQueue()
        try lentWork()
        try service()
        try lentService()
        try bytesService()
    }

    private static func topic(_ name: String, _ options: ChannelOptions) throws(IPCError) {
        let topic = try Topic<UInt64>.openOrCreate("test/\(name)-\(getpid())", options)
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        var sum: UInt64 = 0
        let (before, allocations) = (reference_count(), allocation_count())
        for number in 0..<UInt64(rounds) {
            try publisher.publish(number)
            sum &+= try subscription.receive()
        }
        report(name, since: before, allocations)
        precondition(sum == 499_500)
    }

    /// Messages of a type that is checked when it is received.
    private static func checked() throws(IPCError) {
        struct Message: BitwiseCopyable { var number: UInt64?, isLast: Bool, sides: [4 of FloatingPointSign] }
        let topic = try Topic<Message>.openOrCreate("test/checked-\(getpid())")
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        var sum: UInt64 = 0
        let (before, allocations) = (reference_count(), allocation_count())
        for number in 0..<UInt64(rounds) {
            try publisher.publish(Message(number: number, isLast: false, sides: [.plus, .minus, .plus, .minus]))
            sum &+= try subscription.receive().number ?? 0
        }
        report("topic-checked", since: before, allocations)
        precondition(sum == 499_500)
    }

    private static func bytes(_ name: String, _ options: ChannelOptions) throws(IPCError) {
        let topic = try Topic<RawBytes>.openOrCreate("test/\(name)-\(getpid())", options)
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        var sum: UInt64 = 0
        let (before, allocations) = (reference_count(), allocation_count())
        for number in 0..<UInt64(rounds) {
            try publisher.publish(upTo: 8) { (frame) throws(IPCError) in frame.append(number, as: UInt64.self) }
            sum &+= try subscription.receive { (payload) throws(IPCError) in
                payload.unsafeLoad(as: UInt64.self)
            }
        }
        report(name, since: before, allocations)
        precondition(sum == 499_500)
    }

    private static func latest() throws(IPCError) {
        let latest = try Latest<UInt64>.openOrCreate("test/latest-\(getpid())")
        var setter = try latest.makeSetter()
        var getter = try latest.makeGetter()
        var sum: UInt64 = 0
        let (before, allocations) = (reference_count(), allocation_count())
        for number in 0..<UInt64(rounds) {
            try setter.set(number)
            sum &+= try getter.get() ?? 0
        }
        report("latest", since: before, allocations)
        precondition(sum == 499_500)
    }

    private static func event() throws(IPCError) {
        let participant = try Event.openOrCreate("test/event-\(getpid())").makeParticipant()
        let (before, allocations) = (reference_count(), allocation_count())
        for _ in 0..<rounds {
            participant.notify()
            try participant.wait()
        }
        report("event", since: before, allocations)
    }

    private static func workQueue() throws(IPCError) {
        let queue = try WorkQueue<UInt64>.openOrCreate("test/queue-\(getpid())", ChannelOptions(lifetime: .whileUsed))
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        var sum: UInt64 = 0
        let (before, allocations) = (reference_count(), allocation_count())
        for number in 0..<UInt64(rounds) {
            try producer.send(number)
            let job = try worker.next()
            sum &+= job.message
            try job.acknowledge()
        }
        report("work-queue", since: before, allocations)
        precondition(sum == 499_500)
    }

    /// By the call that lends the message instead of handing out a job.
    private static func lentWork() throws(IPCError) {
        let queue = try WorkQueue<UInt64>.openOrCreate(
            "test/lent-queue-\(getpid())", ChannelOptions(lifetime: .whileUsed))
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        var sum: UInt64 = 0
        let (before, allocations) = (reference_count(), allocation_count())
        for number in 0..<UInt64(rounds) {
            try producer.send(number)
            try worker.workNext { sum &+= $0 }
        }
        report("work-queue-lent", since: before, allocations)
        precondition(sum == 499_500)
    }

    private static func service() throws(IPCError) {
        let service = try ServiceChannel<UInt64, UInt64, Refusal>.openOrCreate("test/service-\(getpid())")
        var client = try service.makeClient()
        var server = try service.makeServer()
        var sum: UInt64 = 0
        let (before, allocations) = (reference_count(), allocation_count())
        for number in 0..<UInt64(rounds) {
            let pending = try client.begin(number)
            let call = try server.next()
            let request = try call.request
            try call.reply(request)
            if case .success(let reply) = try pending.wait() { sum &+= reply }
        }
        report("service", since: before, allocations)
        precondition(sum == 499_500)
    }

    // One thread's, while it runs.
    nonisolated(unsafe) private static var server: ServiceChannel<UInt64, UInt64, Refusal>.Server?

    /// By the calls that wait for the reply, and that answer, at once. Both sides are counted.
    private static func lentService() throws(IPCError) {
        let service = try ServiceChannel<UInt64, UInt64, Refusal>.openOrCreate("test/lent-service-\(getpid())")
        var client = try service.makeClient()
        server = try service.makeServer()
        var thread = pthread_t()
        let error = pthread_create(
            &thread, nil,
            { _ in
                for _ in 0...References.rounds {
                    try! References.server!.serveNext { (number) throws(Refusal) in number }
                }
                return nil
            }, nil)
        precondition(error == 0)
        _ = try client.call(0)  // the thread has begun
        var sum: UInt64 = 0
        let (before, allocations) = (reference_count(), allocation_count())
        for number in 0..<UInt64(rounds) {
            if case .success(let reply) = try client.call(number) { sum &+= reply }
        }
        report("service-lent", since: before, allocations)
        pthread_join(thread, nil)
        server = nil
        precondition(sum == 499_500)
    }

    nonisolated(unsafe) private static var bytesServer: ServiceChannel<RawBytes, RawBytes, Refusal>.Server?

    /// A call of bytes that waits for its reply counts none; what is counted is its server's, which takes it by itself.
    private static func bytesService() throws(IPCError) {
        let service = try ServiceChannel<RawBytes, RawBytes, Refusal>.openOrCreate("test/bytes-service-\(getpid())")
        var client = try service.makeClient()
        bytesServer = try service.makeServer()
        var thread = pthread_t()
        let error = pthread_create(
            &thread, nil,
            { _ in
                let reply = [7 as UInt8]
                for _ in 0...References.rounds {
                    try! References.bytesServer!.next().reply(reply.span.bytes)
                }
                return nil
            }, nil)
        precondition(error == 0)
        let request = [1, 2, 3] as [UInt8]
        var sum = 0
        func call() throws(IPCError) {
            let result = try client.call(request.span.bytes, replyLimit: 8) { (reply) throws(IPCError) in
                reply.byteCount
            }
            if case .success(let count) = result { sum += count }
        }
        try call()  // the thread has begun
        let (before, allocations) = (reference_count(), allocation_count())
        for _ in 0..<rounds { try call() }
        report("service-bytes", since: before, allocations)
        pthread_join(thread, nil)
        bytesServer = nil
        precondition(sum == rounds + 1)
    }
}
