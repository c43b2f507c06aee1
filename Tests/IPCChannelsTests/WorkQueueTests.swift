import Glibc
import IPC
import IPCChannels
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(10))) struct WorkQueueTests {
    private func queue(_ attempts: Int = 5, capacity: Int = 65_536) throws(IPCError) -> WorkQueue<UInt64> {
        try WorkQueue.create(
            channelName(), ChannelOptions(writers: .shared, lifetime: .whileUsed, capacity: capacity),
            maximumAttempts: attempts)
    }

    @Test func eachMessageGoesToOneWorkerInOrder() throws {
        let queue = try queue()
        var producer = try queue.makeProducer()
        var first = try queue.makeWorker()
        var second = try queue.makeWorker()
        for number in 0..<10_000 as Range<UInt64> {
            try producer.send(number)
            // Several laps: the head goes on as work is done.
            let job = number % 2 == 0 ? try first.next(until: .immediate) : try second.next(until: .immediate)
            #expect(job.message == number && job.attempt == 1)
            try job.acknowledge()
        }
        let none = try first.tryNext() == nil
        #expect(none)
        let late = failure { () throws(IPCError) in _ = try second.next(until: .after(.milliseconds(20))) }
        #expect(late?.code == .timedOut)
    }

    @Test func rejectedWorkComesAgainWithItsAttemptCounted() throws {
        let queue = try queue()
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        try producer.send(1)
        try producer.send(2)
        try worker.next().reject()
        let again = try worker.next()
        #expect(again.message == 1 && again.attempt == 2)
        do {
            let other = try worker.next()
            #expect(other.message == 2 && other.attempt == 1)
            // Going out of scope gives it back.
        }
        try again.acknowledge()
        let last = try worker.next()
        #expect(last.message == 2 && last.attempt == 2)
        try last.acknowledge()
        let none = try worker.tryNext() == nil
        #expect(none)
    }

    @Test func workIsAcknowledgedWhenItsBodyReturnsAndComesAgainWhenItThrows() throws {
        struct Broken: Error {}
        let queue = try queue(2)
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        for number in 1...3 as ClosedRange<UInt64> { try producer.send(number) }
        let failed = try worker.workNext { (number) throws(Broken) -> UInt64 in throw Broken() }
        #expect(throws: Broken.self) { try failed.get() }
        for number in 1...2 as ClosedRange<UInt64> {
            let done = try worker.workNext { number in number }
            #expect(done.get() == number)
        }
        for _ in 0..<2 {
            try worker.workNext { (number) throws(Broken) in throw Broken() }
        }
        // The third has had its two attempts.
        let late = failure { () throws(IPCError) in
            try worker.workNext(until: .after(.milliseconds(20))) { _ in Issue.record("nothing is left") }
        }
        #expect(late?.code == .timedOut)
        let letters = try queue.deadLetters()
        defer { try? WorkQueue<UInt64>.remove(letters.name.description) }
        var reader = try letters.makeWorker()
        let letter = try reader.workNext(until: .immediate) { number in number }
        #expect(letter.get() == 3)
    }

    @Test func bytesOfWorkAreLentWhereTheyLie() throws {
        let queue = try WorkQueue<RawBytes>.create(channelName(), ChannelOptions(writers: .shared))
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        for count in [0, 1, 4096] {
            try producer.send([UInt8](repeating: 7, count: count).span.bytes)
            let found = try worker.workNext(until: .immediate) { bytes in bytes.array }
            #expect(found.get() == [UInt8](repeating: 7, count: count))
        }
    }

    @Test func whatFailsTooOftenGoesToTheDeadLetters() throws {
        let queue = try queue(3)
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        try producer.send(66)
        try producer.send(7)
        var attempts: [Int] = []
        while let job = try worker.tryNext() {
            if job.message == 66 { attempts.append(job.attempt) } else { try job.acknowledge() }
        }
        #expect(attempts == [1, 2, 3])
        let letters = try queue.deadLetters()
        defer { try? WorkQueue<UInt64>.remove(letters.name.description) }
        var reader = try letters.makeWorker()
        let letter = try reader.next(until: .immediate)
        #expect(letter.message == 66 && letter.attempt == 1)
        try letter.acknowledge()
    }

    @Test func aSlowWorkerHoldsNobodyUpUntilTheLogIsFull() throws {
        let queue = try queue()
        var producer = try queue.makeProducer()
        var slow = try queue.makeWorker()
        var quick = try queue.makeWorker()
        try producer.send(0)
        let held = try slow.next()
        var sent: UInt64 = 1
        while try producer.trySend(sent) {
            try quick.next(until: .immediate).acknowledge()
            sent += 1
        }
        #expect(sent == 65_536 / 128)
        let full = failure { () throws(IPCError) in try producer.send(sent, until: .after(.milliseconds(20))) }
        #expect(full?.code == .timedOut)
        try held.acknowledge()
        try producer.send(sent, until: .after(.seconds(1)))
    }

    /// Nobody has time to wait, and so to look after the dead before a sleep.
    @Test func aDeadWorkersJobComesToOneThatIsAlwaysBusy() throws {
        let queue = try queue(capacity: 1 << 20)
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        try producer.send(7)
        let dead = try Peer(product("ChannelPeer"), ["hold-job", queue.name.description])
        #expect(try dead.said() == "took 7\n")
        try dead.kill()
        var hasCome = false
        let patience = Deadline.after(.seconds(1))
        // Fewer than fit into the log while its head is held.
        for _ in 0..<8000 where !hasCome && !patience.hasPassed {
            try producer.send(1, until: .immediate)
            let job = try worker.next(until: .immediate)
            hasCome = job.message == 7
            try job.acknowledge()
            usleep(50)
        }
        #expect(hasCome)
    }

    @Test func redeliveriesAreCountedOneByOne() throws {
        let queue = try queue(capacity: 1 << 17)
        var producer = try queue.makeProducer()
        for number in 0..<100 as Range<UInt64> { try producer.send(number, until: .immediate) }
        let dead = try Peer(product("ChannelPeer"), ["hold-job", queue.name.description])
        _ = try dead.said()
        try dead.kill()
        var worker = try queue.makeWorker()  // and so the dead one's job is there again
        try takeAndReject(100, &worker)
        #expect(try ChannelDescription(queue.name).redeliveryCount == 101)
    }

    /// All of them at a time.
    private func takeAndReject(_ count: Int, _ worker: inout Worker<UInt64>) throws(IPCError) {
        guard count > 0 else { return }
        let job = try worker.next(until: .immediate)
        try takeAndReject(count - 1, &worker)
        job.reject()
    }

    @Test func aJobKeepsItsWorkersPlace() throws {
        let queue = try queue()
        var producer = try queue.makeProducer()
        try producer.send(5)
        var worker = try queue.makeWorker()
        let job = try worker.next()
        worker.close()
        var other = try queue.makeWorker()
        let none = try other.tryNext() == nil
        #expect(none)
        try job.acknowledge()
        let stillNone = try other.tryNext() == nil
        #expect(stillNone)
    }

    @Test func bytesOfAnyLength() throws {
        let queue = try WorkQueue<RawBytes>.create(
            channelName(), ChannelOptions(writers: .shared, lifetime: .whileUsed, capacity: 65_536), maximumAttempts: 1)
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        for count in [0, 1, 31, 32, 33, 1000, 30_000] {
            try producer.send([UInt8](repeating: UInt8(count % 251), count: count).span.bytes)
            let job = try worker.next(until: .immediate)
            let isRight = try job.withBytes { (bytes) throws(IPCError) in
                bytes.byteCount == count
                    && (0..<count).allSatisfy { bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self) == count % 251 }
            }
            #expect(isRight)
            try job.acknowledge()
        }
        let tooLarge = failure { () throws(IPCError) in
            try producer.send([UInt8](repeating: 0, count: 40_000).span.bytes)
        }
        #expect(tooLarge?.code == .messageTooLarge)

        // Dead letters are bytes as well.
        try producer.send(([1, 2, 3] as [UInt8]).span.bytes)
        try worker.next(until: .immediate).reject()
        let none = try worker.tryNext() == nil
        #expect(none)
        let letters = try queue.deadLetters()
        defer { try? WorkQueue<RawBytes>.remove(letters.name.description) }
        var reader = try letters.makeWorker()
        let letter = try reader.next(until: .immediate)
        let count = letter.byteCount
        #expect(count == 3)
        try letter.acknowledge()
    }

    @Test func aTopicIsNoQueue() throws {
        let name = channelName()
        let publisher = try Topic<UInt64>.create(name).makePublisher()
        let error = failure { () throws(IPCError) in _ = try WorkQueue<UInt64>.open(name) }
        #expect(error?.code == .wrongType && error?.advice.contains("no work queue") == true)
        let overwriting = failure { () throws(IPCError) in
            _ = try WorkQueue<UInt64>.create(channelName(), ChannelOptions(overflow: .overwrite))
        }
        #expect(overwriting?.code == .invalidArgument)
        publisher.close()
    }
}
