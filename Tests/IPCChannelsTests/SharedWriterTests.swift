import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

private typealias Doubling = ServiceChannel<UInt64, UInt64, Errno>

/// Publishers, producers and clients that tasks and threads share.
@Suite(.timeLimit(.minutes(5))) struct SharedWriterTests {
    @Test func tasksPublishByOnePublisher() async throws {
        let topic = try Topic<UInt64>.create(channelName(), ChannelOptions(capacity: 65_536, maximumWriters: 1))
        let publisher = try topic.makeSharedPublisher()
        var subscription = try topic.makeSubscription()
        // More than the log holds, so that they wait for room.
        let (tasks, each) = (20, 500)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for task in 0..<tasks {
                group.addTask {
                    for number in 0..<each {
                        try await publisher.publish(UInt64(task << 32 | number), until: .after(.seconds(60)))
                    }
                }
            }
            var next = [Int](repeating: 0, count: tasks)
            for _ in 0..<tasks * each {
                let message = try await subscription.receive(until: .after(.seconds(60)))
                let task = Int(message >> 32)
                #expect(Int(message & 0xffff_ffff) == next[task])
                next[task] += 1
            }
            try await group.waitForAll()
        }
        #expect(try subscription.skip() == false)
    }

    @Test func threadsSendByOneProducer() throws {
        let queue = try WorkQueue<RawBytes>.create(
            channelName(), ChannelOptions(lifetime: .whileUsed, capacity: 65_536, maximumWriters: 1))
        let producer = try queue.makeSharedProducer()
        var worker = try queue.makeWorker()
        let (threads, each) = (8, 300)
        // A third of them much room at once, so that the request for room is used.
        let senders = try (0..<threads).map { thread in
            try PlainThread { () throws(IPCError) in
                for _ in 0..<each {
                    let size = thread % 3 == 0 ? 10_000 : 100
                    try producer.send(
                        [UInt8](repeating: UInt8(thread), count: size).span.bytes, until: .after(.seconds(60)))
                }
            }
        }
        var counts = [Int](repeating: 0, count: threads)
        for _ in 0..<threads * each {
            let first = try worker.workNext(until: .after(.seconds(60))) { bytes in bytes.array.first! }
            counts[Int(first)] += 1
        }
        for sender in senders { #expect(sender.join() == nil) }
        #expect(counts == [Int](repeating: each, count: threads))
    }

    @Test func tasksAndThreadsCallByOneClient() async throws {
        let service = try Doubling.create(channelName(), ServiceOptions(maximumClients: 1))
        let server = Task { try await service.serve(concurrency: 4) { (number, _) async throws(Errno) in number * 2 } }
        let client = try service.makeSharedClient()
        let threads = try (0..<4).map { thread in
            try PlainThread { () throws(IPCError) in
                for number in 0..<200 as Range<UInt64> {
                    let reply = try client.call(number, until: .after(.seconds(60)))
                    guard case .success(2 * number) = reply else {
                        throw IPCError(.corrupted, "call", "", advice: "\(reply) for \(number)")
                    }
                }
            }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for task in 0..<50 as Range<UInt64> {
                group.addTask {
                    for number in 0..<20 as Range<UInt64> {
                        let question = task * 1000 + number
                        let options = CallOptions(metadata: ["task": "\(task)"])
                        let reply = try await client.call(question, options, until: .after(.seconds(60)))
                        #expect(reply == .success(2 * question))
                    }
                }
            }
            try await group.waitForAll()
        }
        for thread in threads { #expect(thread.join() == nil) }
        server.cancel()
        try await server.value
    }

    @Test func deadlinesAndCancellationAreKept() async throws {
        let topic = try Topic<RawBytes>.create(channelName(), ChannelOptions(capacity: 65_536))
        let subscription = try topic.makeSubscription()
        let publisher = try topic.makeSharedPublisher()
        let message = [UInt8](repeating: 1, count: 1000)
        while try publisher.tryPublish(message.span.bytes) {}
        // One that waits for ever, as a task and as a thread, holds up no other.
        let forever = Task { try await publisher.publish([UInt8](repeating: 1, count: 30_000).span.bytes) }
        let thread = try PlainThread { () throws(IPCError) in
            try publisher.publish([UInt8](repeating: 2, count: 30_000).span.bytes, until: .after(.seconds(2)))
        }
        try await Task.sleep(for: .milliseconds(20))
        let start = ContinuousClock.now
        await #expect(throws: IPCError.self) {
            try await publisher.publish(message.span.bytes, until: .after(.milliseconds(100)))
        }
        #expect(ContinuousClock.now - start < .seconds(2))
        #expect(thread.join()?.code == .timedOut)
        forever.cancel()
        let end = ContinuousClock.now
        await #expect(throws: IPCError.self) { try await forever.value }
        #expect(ContinuousClock.now - end < .seconds(2))
        // When there is room again, there is no request left that keeps it free.
        subscription.close()
        try await publisher.publish(message.span.bytes, until: .after(.seconds(20)))
    }

    /// The large one waits for its turn; those that come later wait behind it.
    @Test func aLargeMessageGetsItsRoomBesideEndlessSmallOnes() async throws {
        let topic = try Topic<RawBytes>.create(channelName(), ChannelOptions(capacity: 65_536))
        let publisher = try topic.makeSharedPublisher()
        let subscription = Box(try topic.makeSubscription())
        let small = (0..<3).map { _ in
            Task { while true { try await publisher.publish([UInt8](repeating: 1, count: 1000).span.bytes) } }
        }
        let reader = Task {
            var largest = 0
            while largest < 30_000 {
                // A slow reader, which makes room little by little.
                try await Task.sleep(for: .milliseconds(1))
                for _ in 0..<4 {
                    let count = try await subscription.value.receive(until: .after(.seconds(60))) { $0.byteCount }
                    largest = max(largest, count)
                }
            }
            return largest
        }
        try await Task.sleep(for: .milliseconds(50))
        try await publisher.publish([UInt8](repeating: 2, count: 30_000).span.bytes, until: .after(.seconds(20)))
        #expect(try await reader.value == 30_000)
        for task in small { task.cancel() }
        for task in small { await #expect(throws: IPCError.self) { try await task.value } }
    }

    @Test func whatIsDurableIsSyncedByASharedOneToo() throws {
        let root = ChannelRoot(FilePath("/tmp/" + uniqueName()))
        defer { removeAll(root.path) }
        let asked = try Topic<UInt64>.create("asked", in: root, ChannelOptions(durability: .syncedWhenAsked))
        let publisher = try asked.makeSharedPublisher()
        try publisher.publish(1)
        try publisher.sync(until: .after(.seconds(20)))
        let each = try Topic<UInt64>.create("each", in: root, ChannelOptions(durability: .syncedEachMessage))
        let refused = failure { () throws(IPCError) in _ = try each.makeSharedPublisher() }
        #expect(refused?.code == .unsupported && refused?.advice.contains("syncedWhenAsked") == true)
        let memory = try Topic<UInt64>.create(channelName()).makeSharedPublisher()
        #expect(failure { () throws(IPCError) in try memory.sync() }?.code == .unsupported)
    }

    @Test func closuresThrowErrorsOfTheirOwn() throws {
        struct Mine: Error, Equatable { let number: Int }
        let topic = try Topic<RawBytes>.create(channelName())
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        func failing() throws { throw Mine(number: 7) }
        // Abandoned: nobody gets it.
        #expect(throws: Mine(number: 7)) { try publisher.publish(upTo: 8) { _ in try failing() } }
        try publisher.publish(([1, 2] as [UInt8]).span.bytes)
        #expect(throws: Mine(number: 7)) { try subscription.receive(until: .immediate) { _ in try failing() } }
        // Not received yet.
        let received = try subscription.tryReceive { bytes in bytes.array }
        #expect(received == [1, 2])
        let queue = try WorkQueue<RawBytes>.create(channelName(), ChannelOptions(lifetime: .whileUsed))
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        try producer.send(([3] as [UInt8]).span.bytes)
        #expect(throws: Mine(number: 7)) { try worker.workNext(until: .immediate) { _ in try failing() } }
        let job = try worker.next(until: .immediate)
        #expect(job.attempt == 2)
        do {
            try job.withBytes { _ in try failing() }
            Issue.record("no error")
        } catch { #expect(error as? Mine == Mine(number: 7)) }
        try job.acknowledge()
        let latest = try Latest<RawBytes>.create(channelName())
        var setter = try latest.makeSetter()
        var getter = try latest.makeGetter()
        try setter.set(([9] as [UInt8]).span.bytes)
        #expect(throws: Mine(number: 7)) { try getter.get { _ in try failing() } }
        let value = try getter.get { bytes in bytes.array }
        #expect(value == [9])
    }

    private final class Box<Value: ~Copyable>: @unchecked Sendable {
        var value: Value
        init(_ value: consuming Value) { self.value = value }
    }
}
