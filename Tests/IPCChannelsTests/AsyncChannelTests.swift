import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

/// The asynchronous calls of channels: they wait without a thread, are told of deaths, and lose nothing.
@Suite(.timeLimit(.minutes(10))) struct AsyncChannelTests {
    private static var patience: Deadline { .after(.seconds(120)) }
    /// Other tests block the threads of Swift's pool for longer than peers have patience.
    private static let loop = try! EventLoop()

    /// A participant for a task to use.
    private final class Box<Value: ~Copyable>: @unchecked Sendable {
        var value: Value
        init(_ value: consuming Value) { self.value = value }
    }

    private static func code(_ body: () async throws -> Void) async -> IPCError.Code? {
        do { try await body() } catch { return (error as? IPCError)?.code }
        return nil
    }

    @Test(arguments: [ChannelOptions.Writers.exclusive, .shared])
    func aTopicBackAndForth(writers: ChannelOptions.Writers) async throws {
        // Smaller than what is sent: both sides wait.
        let options = ChannelOptions(writers: writers, capacity: 65_536)
        let topic = try Topic<UInt64>.openOrCreate(channelName(), options)
        let publisher = Box(try topic.makePublisher())
        let count: UInt64 = 20_000
        var subscription = try topic.makeSubscription()
        let task = Task(executorPreference: Self.loop) {
            for number in 0..<count { try await publisher.value.publish(number, until: Self.patience) }
        }
        for number in 0..<count {
            let got = try await subscription.receive(until: Self.patience)
            #expect(got == number)
        }
        try await task.value
    }

    @Test func messagesOfAnotherProcessAreASequence() async throws {
        let topic = try Topic<UInt64>.openOrCreate(channelName(), ChannelOptions(writers: .shared))
        let messages = try topic.makeSubscription().messages()
        let peers = try (1...5).map { number in
            Box(try Peer(product("ChannelPeer"), ["publish-number", topic.name.description, "\(number)"]))
        }
        let task = Task(executorPreference: Self.loop) {
            var sum: UInt64 = 0
            var count = 0
            for try await number in messages {
                sum += number
                count += 1
                if count == 5 { break }
            }
            return sum
        }
        #expect(try await task.value == 15)
        for peer in peers { #expect(try peer.value.finish().status.isSuccess) }
    }

    @Test func aDeadlineIsKept() async throws {
        var subscription = try Topic<UInt64>.openOrCreate(channelName()).makeSubscription()
        #expect(await Self.code { _ = try await subscription.receive(until: .after(.milliseconds(20))) } == .timedOut)
        #expect(await Self.code { _ = try await subscription.receive(until: .immediate) } == .timedOut)
    }

    @Test func aCancelledWaitTakesNothing() async throws {
        let topic = try Topic<UInt64>.openOrCreate(channelName())
        var publisher = try topic.makePublisher()
        let subscription = Box(try topic.makeSubscription())
        for number in 0..<200 as Range<UInt64> {
            let task = Task(executorPreference: Self.loop) { try await subscription.value.receive() }
            if number % 2 == 0 { await Task.yield() }
            try await publisher.publish(number)
            task.cancel()
            let got: UInt64
            do { got = try await task.value } catch {
                #expect((error as? IPCError)?.code == .cancelled)
                got = try await subscription.value.receive(until: Self.patience)
            }
            #expect(got == number)
        }
    }

    @Test func aLoopEndsWithItsTask() async throws {
        let messages = try Topic<UInt64>.openOrCreate(channelName()).makeSubscription().messages()
        let task = Task(executorPreference: Self.loop) {
            for try await _ in messages {}
            return true
        }
        try await Task.sleep(for: .milliseconds(20))
        task.cancel()
        #expect(try await task.value)
    }

    @Test func whatADeadPublisherDidNotTellIsReceived() async throws {
        let topic = try Topic<UInt64>.openOrCreate(channelName())
        let subscription = Box(try topic.makeSubscription())
        // The publisher wakes nobody, and so does not die, if this task has not slept yet.
        for _ in 0..<10 {
            let peer = try Peer(
                product("ChannelPeer"), ["publish-number", topic.name.description, "7"],
                environment: ["IPC_ROOT=\(channelRoot)", "IPC_KILL_POINT=wake.flag"])
            #expect(try peer.said() == "ready\n")
            let task = Task(executorPreference: Self.loop) {
                try await subscription.value.receive(until: Self.patience)
            }
            #expect(try await task.value == 7)
            if try peer.finish().status == .signaled(.kill) { return }
        }
        Issue.record("no publisher died where it should")
    }

    /// One that joins, and dies before those who sleep have heard of it, does not keep others from waking them.
    @Test func whoDiesAsItJoinsTakesNobodysWakeUp() async throws {
        let topic = try Topic<UInt64>.openOrCreate(channelName(), ChannelOptions(writers: .shared))
        let subscription = Box(try topic.makeSubscription())
        var publisher = try topic.makePublisher()
        for number in 0..<3 as Range<UInt64> {
            let task = Task(executorPreference: Self.loop) {
                try await subscription.value.receive(until: Self.patience)
            }
            try await Task.sleep(for: .milliseconds(50))
            let peer = try Peer(
                product("ChannelPeer"), ["publish-number", topic.name.description, "7"],
                environment: ["IPC_ROOT=\(channelRoot)", "IPC_KILL_POINT=join.announced"])
            #expect(try peer.finish().status == .signaled(.kill))
            try await publisher.publish(number)
            let got = try await task.value
            #expect(got == number)
        }
    }

    @Test func aDeadPublishersClaimHoldsNobodyUp() async throws {
        let topic = try Topic<RawBytes>.openOrCreate(channelName(), ChannelOptions(writers: .shared))
        let subscription = Box(try topic.makeSubscription())
        let peer = try Peer(product("ChannelPeer"), ["stop-in-claim", topic.name.description])
        #expect(try peer.said() == "claimed\n")
        var publisher = try topic.makePublisher()
        try await publisher.publish(([1, 2, 3] as [UInt8]).span.bytes)
        let task = Task(executorPreference: Self.loop) {
            try await subscription.value.receive(until: Self.patience) { $0.byteCount }
        }
        try await Task.sleep(for: .milliseconds(50))
        try peer.kill()
        let count = try await task.value
        #expect(count == 3)
    }

    @Test func aDeadSubscriberHoldsNoPublisherUp() async throws {
        let topic = try Topic<RawBytes>.openOrCreate(channelName(), ChannelOptions(capacity: 65_536))
        let peer = try Peer(product("ChannelPeer"), ["hold-subscription", topic.name.description])
        #expect(try peer.said() == "ready\n")
        let publisher = Box(try topic.makePublisher())
        let bytes = [UInt8](repeating: 1, count: 30_000)
        while try publisher.value.tryPublish(bytes.span.bytes) {}
        let task = Task(executorPreference: Self.loop) {
            try await publisher.value.publish(bytes.span.bytes, until: Self.patience)
        }
        try await Task.sleep(for: .milliseconds(50))
        try peer.kill()
        try await task.value
    }

    @Test func jobsAreASequenceAndWorkOfTheDeadGoesOn() async throws {
        let queue = try WorkQueue<UInt64>.openOrCreate(channelName(), ChannelOptions(lifetime: .whileUsed))
        var producer = try queue.makeProducer()
        try await producer.send(1)
        let peer = try Peer(product("ChannelPeer"), ["hold-job", queue.name.description])
        _ = try peer.said()
        let jobs = try queue.makeWorker().jobs()
        let task = Task(executorPreference: Self.loop) {
            var attempts: [UInt64: [Int]] = [:]
            for try await delivery in jobs {
                attempts[delivery.message, default: []].append(delivery.attempt)
                if delivery.message == 2, delivery.attempt == 1 {
                    delivery.reject()
                } else {
                    try delivery.acknowledge()
                    #expect(throws: IPCError.self) { try delivery.acknowledge() }
                }
                if attempts.values.joined().count == 3 { break }
            }
            return attempts
        }
        try await producer.send(2, until: Self.patience)
        try await Task.sleep(for: .milliseconds(50))
        try peer.kill()
        #expect(try await task.value == [1: [2], 2: [1, 2]])
    }

    private typealias Doubling = ServiceChannel<UInt64, UInt64, Errno>

    @Test func aServiceIsServedAndCalled() async throws {
        let service = try Doubling.openOrCreate(channelName())
        let server = Task(executorPreference: Self.loop) {
            try await service.serve(concurrency: 4) { (request, call) async throws(Errno) in
                guard request < 1000 else { throw .outOfRange }
                await Task.yield()
                return call.isCancelled ? 0 : request * 2
            }
        }
        let peer = try Peer(product("ChannelPeer"), ["call", service.name.description, "500", "0"])
        try await withThrowingTaskGroup(of: Void.self) { group in
            for caller in 0..<5 as Range<UInt64> {
                let client = Box(try service.makeClient())
                group.addTask {
                    for number in 0..<100 as Range<UInt64> {
                        let reply = try await client.value.call(caller * 100 + number, until: Self.patience)
                        #expect(reply == .success(2 * (caller * 100 + number)))
                    }
                    let refused = try await client.value.call(5000, until: Self.patience)
                    #expect(refused == .failure(.outOfRange))
                }
            }
            try await group.waitForAll()
        }
        let outcome = try peer.finish()
        #expect(outcome.status.isSuccess && outcome.text.contains("lost 0"), "\(outcome.text)")
        server.cancel()
        try await server.value
    }

    @Test func aCallerIsToldOfItsServersDeathAndAServerOfItsCancelledCall() async throws {
        let service = try Doubling.openOrCreate(channelName())
        let peer = try Peer(product("ChannelPeer"), ["hold-call", service.name.description])
        #expect(try peer.said() == "ready\n")
        let client = Box(try service.makeClient())
        let task = Task(executorPreference: Self.loop) { try await client.value.call(7, until: Self.patience) }
        #expect(try peer.said() == "took 7\n")
        try await Task.sleep(for: .milliseconds(50))
        try peer.kill()
        #expect(await Self.code { _ = try await task.value } == .brokenPipe)

        var server = try service.makeServer()
        let second = Task(executorPreference: Self.loop) { try await client.value.call(8, until: Self.patience) }
        let call = try await server.next(until: Self.patience)
        let wasCancelled = call.isCancelled
        #expect(!wasCancelled)
        second.cancel()
        #expect(await Self.code { _ = try await second.value } == .cancelled)
        let isCancelled = call.isCancelled
        #expect(isCancelled)
        try call.reply(1)
    }

    @Test func latestValuesAndEvents() async throws {
        let latest = try Latest<UInt64>.openOrCreate(channelName())
        let values = try latest.makeGetter().values()
        var setter = try latest.makeSetter()
        let reader = Task(executorPreference: Self.loop) {
            for try await value in values where value == 9 { return true }
            return false
        }
        for value in 0..<10 as Range<UInt64> {
            try setter.set(value)
            try await Task.sleep(for: .milliseconds(1))
        }
        #expect(try await reader.value)

        let event = try Event.openOrCreate(channelName())
        let waiter = Box(try event.makeParticipant())
        let waiting = Task(executorPreference: Self.loop) { try await waiter.value.wait(until: Self.patience) }
        try await Task.sleep(for: .milliseconds(20))
        let notifier = try event.makeParticipant()
        notifier.notify()
        try await waiting.value
    }

    @Test func anEventLoopRunsTasksOnItsThread() async throws {
        let there = try Topic<UInt64>.openOrCreate(channelName())
        let back = try Topic<UInt64>.openOrCreate(channelName())
        let (echo, requests) = (Box(try back.makePublisher()), Box(try there.makeSubscription()))
        let loop = try EventLoop()
        let server = Task(executorPreference: loop) {
            let thread = pthread_self()
            for _ in 0..<500 {
                let number = try await requests.value.receive(until: Self.patience)
                try await echo.value.publish(number)
                #expect(pthread_self() == thread)
            }
        }
        var publisher = try there.makePublisher()
        var replies = try back.makeSubscription()
        for number in 0..<500 as Range<UInt64> {
            try await publisher.publish(number)
            let reply = try await replies.receive(until: Self.patience)
            #expect(reply == number)
        }
        try await server.value
    }

    @Test func bellsAreTakenAway() async throws {
        let topic = try Topic<UInt64>.openOrCreate(channelName())
        // One of a process that died.
        #expect(mkfifo(channelRoot + "/.wake-00000001", 0o600) == 0)
        let loop = try EventLoop()  // which has a wake-up pipe of its own
        let task = Task(executorPreference: loop) {
            var subscription = try topic.makeSubscription()
            _ = await Self.code { _ = try await subscription.receive(until: .after(.milliseconds(5))) }
        }
        try await task.value
        #expect(!channelBells().contains(".wake-00000001"))
    }
}

/// The wake-up pipes that are in the tests' root.
private func channelBells() -> [String] {
    var found = glob_t()
    defer { globfree(&found) }
    glob(channelRoot + "/.wake-*", 0, nil, &found)
    return (0..<Int(found.gl_pathc)).map { String(String(cString: found.gl_pathv[$0]!).split(separator: "/").last!) }
}
