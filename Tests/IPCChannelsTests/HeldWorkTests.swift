import Glibc
import IPC
import IPCChannels
import TestSupport
import Testing

/// Nobody stands at the head of the line: what is held, returned or waits for its time keeps nobody from the room behind it.
@Suite(.timeLimit(.minutes(10))) struct HeldWorkTests {
    private func queue(
        capacity: Int = 65_536, durability: ChannelOptions.Durability = .none,
        writers: ChannelOptions.Writers = .shared
    ) throws(IPCError) -> WorkQueue<RawBytes> {
        try WorkQueue.openOrCreate(
            channelName(),
            ChannelOptions(
                writers: writers, lifetime: durability == .none ? .whileUsed : .kept, durability: durability,
                capacity: capacity),
            maximumAttempts: 32_000)
    }

    private static func send(_ number: Int, _ count: Int, by producer: inout WorkQueue<RawBytes>.Producer)
        throws(IPCError)
        -> Bool
    {
        var bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: number &* 7), count: 8 + count)
        unsafe bytes.withUnsafeMutableBytes { unsafe $0.storeBytes(of: number, as: Int.self) }
        return try producer.trySend(bytes.span.bytes)
    }

    /// The number in a message; all other bytes have to be what was sent with it.
    private static func number(_ bytes: RawSpan) -> Int {
        let number = unsafe bytes.unsafeLoadUnaligned(as: Int.self)
        for offset in 8..<bytes.byteCount {
            guard
                unsafe bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
                    == UInt8(truncatingIfNeeded: number &* 7)
            else { return -1 }
        }
        return number
    }

    @Test(arguments: [ChannelOptions.Writers.shared, .exclusive])
    func aHeldJobKeepsNobodyFromRoom(writers: ChannelOptions.Writers) throws {
        let queue = try queue(writers: writers)
        var producer = try queue.makeProducer()
        var slow = try queue.makeWorker()
        var quick = try queue.makeWorker()
        #expect(try Self.send(0, 100, by: &producer))
        let held = try slow.next(until: .immediate)
        // Some sixty laps.
        for number in 1...20_000 {
            let isSent = try Self.send(number, 100, by: &producer)
            #expect(isSent, "job \(number) finds no room")
            guard isSent else { return }
            let job = try quick.next(until: .immediate)
            #expect(try job.withBytes(Self.number) == number)
            try job.acknowledge()
        }
        let description = try ChannelDescription(queue.name)
        #expect(description.messageCount == 1 && description.takenCount == 1)
        #expect(description.asideCount == 1 && description.asideBytes == 192)
        #expect(try held.withBytes(Self.number) == 0)
        held.reject()
        let again = try quick.next(until: .immediate)
        #expect(again.attempt == 2)
        #expect(try again.withBytes(Self.number) == 0)
        try again.acknowledge()
        let empty = try ChannelDescription(queue.name)
        #expect(empty.messageCount == 0 && empty.asideCount == 0)
    }

    @Test(arguments: 1...6) func whateverIsHeldReturnedAndDoneInWhateverOrderComesOnce(seed: Int) throws {
        var random = Seeded(UInt64(seed))
        let queue = try queue(writers: seed % 2 == 0 ? .shared : .exclusive)
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        let other = try queue.makeWorker()
        var held: [WorkQueue<RawBytes>.SharedJob] = []
        var open: Set<Int> = []
        var (next, done) = (0, 0)
        let steps = repetitions(60_000)
        for _ in 0..<steps {
            switch random.number(0...99) {
            case 0..<45:
                let count = random.chance(2) ? random.number(4000...12_000) : random.number(0...400)
                if try Self.send(next, count, by: &producer) {
                    open.insert(next)
                    next += 1
                }
            case 45..<80:
                if let job = try worker.tryNext() { held.append(WorkQueue.SharedJob(job)) }
            default:
                guard !held.isEmpty else { break }
                // Most of what is held is old.
                let index = random.chance(80) ? held.count - 1 : random.number(0...held.count - 1)
                let delivery = held.remove(at: index)
                let number = try delivery.withBytes(Self.number)
                #expect(open.contains(number), "job \(number) is not open")
                if random.chance(20) {
                    random.chance(50) ? delivery.reject() : delivery.release()
                } else {
                    try delivery.acknowledge()
                    open.remove(number)
                    done += 1
                }
            }
            // Not so many that the log is full of them.
            while held.count > 40 {
                let delivery = held.removeFirst()
                open.remove(try delivery.withBytes(Self.number))
                try delivery.acknowledge()
                done += 1
            }
        }
        #expect(done > steps / 12, "only \(done) of \(next) jobs were done")
        held = []  // gives them back
        _ = consume other
        while let job = try worker.tryNext() {
            let number = try job.withBytes(Self.number)
            #expect(open.remove(number) != nil, "job \(number) came though it was done")
            try job.acknowledge()
        }
        #expect(open.isEmpty, "\(open.count) jobs are lost")
        let empty = try ChannelDescription(queue.name)
        #expect(empty.messageCount == 0 && empty.asideCount == 0 && empty.asideBytes == 0)
    }

    @Test func aRedeliveryDoesNotLookThroughWhatIsDone() throws {
        let queue = try queue(capacity: 64 << 20)
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        for number in 0...100_001 { #expect(try Self.send(number, 8, by: &producer)) }
        let held = try worker.next(until: .immediate)
        for _ in 0..<100_000 { try worker.next(until: .immediate).acknowledge() }
        var times: [Duration] = []
        for attempt in 1...9 {
            let job = try worker.next(until: .immediate)
            #expect(job.attempt == attempt)
            job.reject()
            let start = ContinuousClock.now
            let again = try worker.next(until: .immediate)
            times.append(.now - start)
            #expect(again.attempt == attempt + 1)
            again.release()
        }
        // It took 17 ms: what a look at each of them takes.
        #expect(times.sorted()[4] < .milliseconds(1), "a redelivery took \(times)")
        try held.acknowledge()
    }

    @Test func aProducerThatWaitsIsWokenBehindAHeldJob() async throws {
        let queue = try queue()
        var first = try queue.makeProducer()
        var slow = try queue.makeWorker()
        var quick = try queue.makeWorker()
        #expect(try Self.send(0, 1000, by: &first))
        let held = WorkQueue.SharedJob(try await slow.next(until: .immediate))
        while try Self.send(1, 1000, by: &first) {}
        // A task, and a thread.
        let sent = Task {
            var producer = try queue.makeProducer()
            for _ in 0..<100 {
                try await producer.send([UInt8](repeating: 2, count: 500).span.bytes, until: .after(.seconds(20)))
            }
        }
        let thread = Task.detached {
            var producer = try queue.makeProducer()
            for _ in 0..<100 {
                try producer.send([UInt8](repeating: 2, count: 500).span.bytes, until: .after(.seconds(20)))
            }
        }
        try await Task.sleep(for: .milliseconds(100))
        let start = ContinuousClock.now
        var count = 0
        while count < 200 {
            let job = try await quick.next(until: .after(.seconds(20)))
            if try job.withBytes({ $0.byteCount == 500 }) { count += 1 }
            try job.acknowledge()
        }
        try await sent.value
        try await thread.value
        #expect(.now - start < .seconds(5))
        try held.acknowledge()
    }

    /// Others leave room to one that waits for much, for 100 ms after it said so; not to the dead.
    @Test func theDeadWaitForNoRoom() throws {
        var best = Duration.seconds(60)
        for _ in 0..<20 where best >= .milliseconds(40) {
            let topic = try Topic<RawBytes>.openOrCreate(
                channelName(), ChannelOptions(writers: .shared, lifetime: .whileUsed, capacity: 65_536))
            var subscription = try topic.makeSubscription(from: .oldest)
            var publisher = try topic.makePublisher()
            let small = [UInt8](repeating: 0, count: 100)
            while try publisher.tryPublish(small.span.bytes) {}
            let peer = try Peer(product("ChannelPeer"), ["publish-large", topic.name.description, "30000"])
            #expect(try peer.said() == "ready\n")
            usleep(40_000)
            try peer.kill()
            while try subscription.tryReceive({ _ in true }) != nil {}
            let start = ContinuousClock.now
            try publisher.publish(small.span.bytes, until: .after(.seconds(5)))
            best = min(best, .now - start)
        }
        #expect(best < .milliseconds(40))
    }

    @Test(arguments: [false, true]) func aLargeMessageGetsInBesideSmallOnes(isTask: Bool) async throws {
        let queue = try queue()
        let end = Flag()
        var threads: [PlainThread] = []
        for _ in 0..<3 {
            threads.append(
                try PlainThread { () throws(IPCError) in
                    var producer = try queue.makeProducer()
                    while !end.isSet { try producer.send([UInt8](repeating: 1, count: 100).span.bytes) }
                })
        }
        let worker = try PlainThread { () throws(IPCError) in
            var worker = try queue.makeWorker()
            while true {
                let job = try worker.next()
                let isEnd = try job.withBytes { $0.byteCount == 1 }
                usleep(5)  // slower than those who send
                try job.acknowledge()
                if isEnd { return }
            }
        }
        usleep(100_000)
        var producer = try queue.makeProducer()
        let large = [UInt8](repeating: 2, count: 30_000)
        let deadline = Deadline.after(.seconds(60))
        if isTask {
            for _ in 0..<3 { try await producer.send(large.span.bytes, until: deadline) }
        } else {
            func send() throws(IPCError) { try producer.send(large.span.bytes, until: deadline) }
            for _ in 0..<3 { try send() }
        }
        end.set()
        for thread in threads { #expect(thread.join() == nil) }
        try await producer.send(([0] as [UInt8]).span.bytes)
        #expect(worker.join() == nil)
    }

    @Test func workIsAsideWhereTheLogIsDurableToo() throws {
        let queue = try queue(durability: .syncedWhenAsked)
        defer { try? WorkQueue<RawBytes>.remove(queue.name.description) }
        do {
            var producer = try queue.makeProducer()
            var worker = try queue.makeWorker()
            #expect(try Self.send(0, 100, by: &producer))
            let held = try worker.next(until: .immediate)
            for number in 1...2000 {
                #expect(try Self.send(number, 100, by: &producer))
                let job = try worker.next(until: .immediate)
                number == 1990 ? job.reject() : try job.acknowledge()
                if number > 1990 { break }
            }
            #expect(try ChannelDescription(queue.name).asideCount == 1)
            held.release()
        }
        // Whoever joins alone looks at all of it.
        var worker = try queue.makeWorker()
        var numbers: [Int] = []
        while let job = try worker.tryNext() {
            numbers.append(try job.withBytes(Self.number))
            try job.acknowledge()
        }
        #expect(numbers.sorted() == [0, 1991])
        #expect(try ChannelDescription(queue.name).asideCount == 0)
    }

    /// Whoever frees a dead worker's slot releases its lock a moment later; one that finds no other slot waits for that.
    @Test func aWorkerWaitsForASlotThatIsBeingFreed() throws {
        let name = channelName()
        let queue = try WorkQueue<UInt64>.openOrCreate(name, ChannelOptions(lifetime: .kept, maximumReaders: 1))
        defer { try? WorkQueue<UInt64>.remove(name) }
        var producer = try queue.makeProducer()
        try producer.send(7)
        let dead = try Peer(product("ChannelPeer"), ["hold-job", name])
        #expect(try dead.said() == "took 7\n")
        try dead.kill()
        let freeing = try Peer(
            product("ChannelPeer"), ["hold-job", name],
            environment: ["IPC_ROOT=\(channelRoot)", "IPC_STOP_POINT=recover.freed"])
        try freeing.waitUntilStopped()
        let next = try Peer(product("ChannelPeer"), ["hold-job", name])
        usleep(150_000)
        try freeing.kill()
        #expect(try next.said() == "took 7\n")
        try next.kill()
    }
}
