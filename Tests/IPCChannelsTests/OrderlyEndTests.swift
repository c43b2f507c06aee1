import Glibc
import IPC
import IPCChannels
import Synchronization
import SystemPackage
import TestSupport
import Testing

/// Loops over work, calls and messages that are cancelled while there is always more of it.
@Suite(.timeLimit(.minutes(2)))
struct OrderlyEndTests {
    private static let options = ChannelOptions(writers: .shared, lifetime: .whileUsed, capacity: 1 << 17)
    /// On a machine that is busy with other things, a task's turn comes when it comes.
    private static let soon = Duration.seconds(1)

    /// - Returns: Who keeps the queue there.
    private func fill(_ queue: WorkQueue<UInt64>, _ count: UInt64) throws(IPCError) -> WorkQueue<UInt64>.Producer {
        var producer = try queue.makeProducer()
        for number in 0..<count { try producer.send(number, until: .immediate) }
        return producer
    }

    @Test func aCancelledWorkLoopStartsNothingMoreAndGivesBackUncounted() async throws {
        let queue = try WorkQueue<UInt64>.openOrCreate(channelName(), Self.options)
        let producer = try fill(queue, 1000)

        let (started, isCancelled, late) = (Counter(), Counter(), Counter())
        let working = Task {
            try await queue.work(concurrency: 4) { _ in
                if isCancelled.value > 0 { late.add() }
                started.add()
                try await Task.sleep(for: .seconds(60))
            }
        }
        while started.value < 4 { await turn() }
        let clock = ContinuousClock.now
        working.cancel()
        isCancelled.add()
        try await working.value
        #expect(clock.duration(to: .now) < Self.soon)
        // Those whose turn had come before may begin after it.
        #expect(late.value <= 4)

        // All is there, and nothing of it counts as tried.
        var worker = try queue.makeWorker()
        var numbers: Set<UInt64> = []
        while let job = try worker.tryNext() {
            #expect(job.attempt == 1)
            numbers.insert(job.message)
            try job.acknowledge()
        }
        #expect(numbers.count == 1000)
        producer.close()
    }

    @Test func aReleasedJobDoesNotCountAndARejectedOneDoes() throws {
        let queue = try WorkQueue<UInt64>.openOrCreate(channelName(), Self.options, maximumAttempts: 2)
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        try producer.send(7, until: .immediate)
        for _ in 0..<20 {
            let job = try worker.next(until: .immediate)
            #expect(job.attempt == 1)
            job.release()
        }
        try worker.next(until: .immediate).reject()
        let job = try worker.next(until: .immediate)
        #expect(job.attempt == 2)
        try job.acknowledge()
    }

    @Test func whoDoesNotHaveAJobAnyMoreIsToldSo() throws {
        let queue = try WorkQueue<UInt64>.openOrCreate(channelName(), Self.options)
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        try producer.send(7, until: .immediate)
        let job = try worker.next(until: .immediate)
        // As one does that took its worker for dead: the first word after the first frame's header.
        let log = try MappedFile.open(
            FilePath(channelRoot + "/" + queue.name.description.replacing("/", with: ":") + "/log"), access: .readWrite
        ).map()
        let word = log.withAtomic(UInt64.self, at: 32) { $0.load(ordering: .relaxed) }
        log.withAtomic(UInt64.self, at: 32) { $0.store(word + 1 << 12, ordering: .relaxed) }
        var error: IPCError?
        do throws(IPCError) { try job.acknowledge() } catch let thrown { error = thrown }
        #expect(error?.code == .leaseLost)
        #expect(error?.advice.contains("twice") == true)
    }

    @Test func oneOfTwoTasksFinishesADelivery() async throws {
        let queue = try WorkQueue<UInt64>.openOrCreate(channelName(), Self.options)
        let producer = try fill(queue, 1000)
        var count = 0
        for try await delivery in try queue.makeWorker().jobs() {
            async let other = acknowledges(delivery)
            let mine = acknowledges(delivery)
            #expect(await other != mine)
            count += 1
            if count == 1000 { break }
        }
        producer.close()
    }

    private func acknowledges(_ delivery: WorkQueue<UInt64>.SharedJob) -> Bool {
        failure { () throws(IPCError) in try delivery.acknowledge() } == nil
    }

    @Test func whatIsLentIsNotFinishedMeanwhile() async throws {
        let queue = try WorkQueue<RawBytes>.openOrCreate(channelName(), Self.options)
        var producer = try queue.makeProducer()
        #expect(try producer.trySend(([1, 2, 3] as [UInt8]).span.bytes))
        for try await delivery in try queue.makeWorker().jobs() {
            if delivery.attempt == 2 {
                try delivery.acknowledge()
                break
            }
            try delivery.withBytes { (bytes) throws(IPCError) in
                #expect(failure { () throws(IPCError) in try delivery.acknowledge() }?.code == .invalidArgument)
                delivery.reject()  // as soon as the bytes are given back
                #expect(bytes.array == [1, 2, 3])
            }
        }
    }

    @Test func jobsThatNobodyFinishesEndWithTheirLoop() async throws {
        let queue = try WorkQueue<UInt64>.openOrCreate(channelName(), Self.options)
        let producer = try fill(queue, 500)
        let jobs = try queue.makeWorker().jobs()
        let count = Counter()
        let loop = Task {
            for try await delivery in jobs {
                delivery.release()  // and it comes again, for ever
                count.add()
            }
        }
        while count.value < 1000 { await turn() }
        loop.cancel()
        let clock = ContinuousClock.now
        try await loop.value
        #expect(clock.duration(to: .now) < Self.soon)
        var worker = try queue.makeWorker()
        #expect(try worker.tryNext()?.attempt == 1)
        producer.close()
    }

    @Test func aBusySubscriptionsLoopEnds() async throws {
        let topic = try Topic<UInt64>.openOrCreate(
            channelName(), ChannelOptions(overflow: .overwrite, lifetime: .whileUsed))
        let messages = try topic.makeSubscription().messages()
        let (count, isOver) = (Counter(), Counter())
        let publishing = try PlainThread { () throws(IPCError) in
            var publisher = try topic.makePublisher()
            while isOver.value == 0 { try publisher.publish(1) }
        }
        let loop = Task { for try await _ in messages { count.add() } }
        while count.value < 1000 { await turn() }
        loop.cancel()
        let clock = ContinuousClock.now
        try await loop.value
        #expect(clock.duration(to: .now) < Self.soon)
        isOver.add()
        #expect(publishing.join() == nil)
    }

    @Test func aBusyServerEndsAndItsCallsGoToAnother() async throws {
        typealias Doubling = ServiceChannel<UInt64, UInt64, Errno>
        var options = ServiceOptions()
        options.capacity = 1 << 17
        let service = try Doubling.openOrCreate(channelName(), options)
        var client = try service.makeClient()
        var calls: [Held] = []
        for number in 0..<UInt64(100) { calls.append(Held(try await client.begin(number))) }

        let started = Counter()
        let serving = Task {
            try await service.serve(concurrency: 2) { (number: UInt64, context) async throws(Errno) in
                started.add()
                while !Task.isCancelled { await turn() }
                context.release()
                return 0
            }
        }
        while started.value < 2 { await turn() }
        serving.cancel()
        let clock = ContinuousClock.now
        try await serving.value
        #expect(clock.duration(to: .now) < Self.soon)
        #expect(started.value == 2)

        var server = try service.makeServer()
        for _ in 0..<100 {
            let call = try await server.next(until: .after(.seconds(10)))
            let request = try call.request
            try call.reply(request * 2)
        }
        for (number, held) in calls.enumerated() {
            #expect(try await held.finish() == .success(UInt64(number) * 2))
        }
    }

    /// The same server has it again, and nothing tells the two times apart.
    @Test func whatAHandlerReturnsThatHasReleasedItsCallIsDropped() async throws {
        let service = try ServiceChannel<UInt64, UInt64, Errno>.openOrCreate(channelName())
        var client = try service.makeClient()
        let (started, released) = (Counter(), Counter())
        let serving = Task {
            try await service.serve(concurrency: 2) { (_, context) async throws(Errno) in
                started.add()
                guard started.value == 1 else {
                    // Not before the first handler is over, or has had the time for that.
                    while released.value == 0 { await turn() }
                    try? await Task.sleep(for: .milliseconds(50))
                    return 2
                }
                context.release()
                while started.value < 2 { await turn() }
                context.release()
                if !context.isCancelled { return 0 }
                released.add()
                return 1
            }
        }
        let reply = try await client.call(7, until: .after(.seconds(10)))
        #expect(reply == .success(2))
        #expect(started.value == 2)
        serving.cancel()
        try await serving.value
    }

    /// What a caller does that ends its wish for a reply.
    enum Wish: CaseIterable { case cancels, passesItsDeadline, dies }

    @Test(arguments: Wish.allCases)
    func aHandlerIsCancelledWithItsCall(_ wish: Wish) async throws {
        typealias Doubling = ServiceChannel<UInt64, UInt64, Errno>
        let name = channelName()
        var options = ServiceOptions()
        options.lifetime = .kept
        let service = try Doubling.openOrCreate(name, options)
        defer { try? Doubling.remove(name) }
        let (started, cancelled) = (Counter(), Counter())
        let serving = Task {
            // One at a time: nobody waits for another call, and would find the dead.
            try await service.serve(concurrency: 1) { (_, context) async throws(Errno) in
                started.add()
                do { try await Task.sleep(for: .seconds(30)) } catch {
                    if context.isCancelled { cancelled.add() }
                }
                return 0
            }
        }
        let end: ContinuousClock.Instant
        switch wish {
        case .cancels:
            var client = try service.makeClient()
            let call = try await client.begin(1)
            while started.value == 0 { await turn() }
            end = .now
            call.cancel()
        case .passesItsDeadline:
            var client = try service.makeClient()
            let call = try await client.begin(1, until: .after(.seconds(2)))
            end = .now + .seconds(2)
            while started.value == 0 { await turn() }
            while cancelled.value == 0, end.duration(to: .now) < Self.soon { await turn() }
            _ = consume call
        case .dies:
            let caller = try Peer(product("ChannelPeer"), ["begin-call", name])
            _ = try caller.said()
            while started.value == 0 { await turn() }
            end = .now
            try caller.kill()
        }
        while cancelled.value == 0, end.duration(to: .now) < Self.soon { await turn() }
        #expect(cancelled.value == 1, "\(wish)")
        serving.cancel()
        try await serving.value
    }

    @Test func aBlockingHandlerSeesThatItsCallerHasDied() throws {
        let name = channelName()
        var options = ServiceOptions()
        options.lifetime = .kept
        let service = try ServiceChannel<UInt64, UInt64, Errno>.openOrCreate(name, options)
        defer { try? ServiceChannel<UInt64, UInt64, Errno>.remove(name) }
        let caller = try Peer(product("ChannelPeer"), ["begin-call", name])
        _ = try caller.said()
        var server = try service.makeServer()
        let call = try server.next(until: .after(.seconds(10)))
        let isCancelledAtOnce = call.isCancelled
        #expect(!isCancelledAtOnce)
        try caller.kill()
        let clock = ContinuousClock.now
        var isCancelled = false
        while !isCancelled, clock.duration(to: .now) < Self.soon { isCancelled = call.isCancelled }
        #expect(isCancelled)
        try call.reply(2)
    }
}

/// Gives way to whatever is waited for, and, unlike a mere yield, to tasks of lower priority and other threads.
private func turn() async { try? await Task.sleep(for: .microseconds(200)) }

/// Calls cannot be copied, and stand in an array.
private final class Held: @unchecked Sendable {
    // `@unchecked`: one task's.
    private var call: PendingCall<UInt64, Errno>?
    init(_ call: consuming PendingCall<UInt64, Errno>) { self.call = consume call }

    func finish() async throws -> Result<UInt64, Errno>? { try await call.take()?.wait() }
}

private final class Counter: Sendable {
    private let count = Atomic(0)
    func add() { count.add(1, ordering: .sequentiallyConsistent) }
    var value: Int { count.load(ordering: .sequentiallyConsistent) }
}
