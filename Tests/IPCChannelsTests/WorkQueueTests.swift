import Glibc
import IPC
import IPCChannels
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(10))) struct WorkQueueTests {
    private func queue(_ attempts: Int = 5, capacity: Int = 65_536) throws(IPCError) -> WorkQueue<UInt64> {
        try WorkQueue.openOrCreate(
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
        #expect(throws: Broken.self) { try worker.workNext { (number) -> UInt64 in throw Broken() } }
        for number in 1...2 as ClosedRange<UInt64> {
            let done = try worker.workNext { number in number }
            #expect(done == number)
        }
        for _ in 0..<2 {
            #expect(throws: Broken.self) { try worker.workNext { _ in throw Broken() } }
        }
        // The third has had its two attempts.
        let late = failure { () throws(IPCError) in
            _ = try worker.next(until: .after(.milliseconds(20)))
        }
        #expect(late?.code == .timedOut)
        let letters = try queue.deadLetters()
        defer { try? WorkQueue<UInt64>.remove(letters.name.description) }
        var reader = try letters.makeWorker()
        let letter = try reader.workNext(until: .immediate) { number in number }
        #expect(letter == 3)
    }

    @Test func bytesOfWorkAreLentWhereTheyLie() throws {
        let queue = try WorkQueue<RawBytes>.openOrCreate(channelName(), ChannelOptions(lifetime: .whileUsed))
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        for count in [0, 1, 4096] {
            try producer.send([UInt8](repeating: 7, count: count).span.bytes)
            let found = try worker.workNext(until: .immediate) { bytes in bytes.array }
            #expect(found == [UInt8](repeating: 7, count: count))
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

    /// The newest failures are kept, and the queue goes on.
    @Test func fullDeadLettersMakeRoomAndStopNobody() throws {
        let queue = try queue(1)
        let letters = try queue.deadLetters()
        defer { try? WorkQueue<UInt64>.remove(letters.name.description) }
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        let count = 2000 as UInt64  // 512 letters fit
        for number in 0..<count {
            try producer.send(number, until: .immediate)
            try worker.next(until: .immediate).reject()
            #expect(try worker.tryNext() == nil)
        }
        var reader = try letters.makeWorker()
        var kept: [UInt64] = []
        while let letter = try reader.tryNext() {
            kept.append(letter.message)
            try letter.acknowledge()
        }
        #expect(kept.count > 400 && kept == Array(count - UInt64(kept.count)..<count))
    }

    @Test func aLetterHasNoAttemptsOfItsOwn() throws {
        let queue = try queue(1)
        let letters = try queue.deadLetters()
        defer {
            try? WorkQueue<UInt64>.remove(letters.name.description)
            try? WorkQueue<UInt64>.remove(queue.name.description)  // nobody joins it
        }
        var producer = try letters.makeProducer()
        try producer.send(7)
        var reader = try letters.makeWorker()
        for attempt in 1...20 {
            let letter = try reader.next(until: .immediate)
            #expect(letter.message == 7 && letter.attempt == attempt)
        }
        try reader.next(until: .immediate).acknowledge()
    }

    @Test func whereDeadLettersGoIsSettledAtTheBeginning() throws {
        let long = "test/" + String(repeating: "x", count: 185)
        let tooLong = failure { () throws(IPCError) in _ = try WorkQueue<UInt64>.openOrCreate(long) }
        #expect(tooLong?.code == .invalidName && tooLong?.advice.contains("dead letters") == true)

        let name = channelName()
        _ = try Topic<UInt64>.openOrCreate(name + "/dead-letters", ChannelOptions(lifetime: .kept))
        defer { try? Topic<UInt64>.remove(name + "/dead-letters") }
        let wrong = failure { () throws(IPCError) in _ = try WorkQueue<UInt64>.openOrCreate(name) }
        #expect(wrong?.code == .wrongType && wrong?.advice.contains("ipc rm \(name)/dead-letters") == true)
    }

    /// The letters' channel cannot be made: the work is kept aside, and what is behind it goes on.
    @Test func workThatCannotBeBuriedIsKeptAside() throws {
        let queue = try queue(1)
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        try producer.send(66)
        try worker.next(until: .immediate).reject()
        // After the queue was made, so that nobody had asked.
        let letters = queue.name.description + "/dead-letters"
        _ = try Topic<UInt64>.openOrCreate(letters, ChannelOptions(lifetime: .kept))
        try producer.send(7)
        let job = try worker.next(until: .immediate)
        #expect(job.message == 7)
        try job.acknowledge()
        #expect(try ChannelDescription(queue.name).messageCount == 1)  // still there
        try Topic<UInt64>.remove(letters)
        let patience = Deadline.after(.seconds(10))
        while try ChannelDescription(queue.name).messageCount > 0, !patience.hasPassed {
            try producer.send(8)
            try worker.next(until: .immediate).acknowledge()
            usleep(20_000)
        }
        defer { try? WorkQueue<UInt64>.remove(letters) }
        var reader = try queue.deadLetters().makeWorker()
        #expect(try reader.next(until: .immediate).message == 66)
    }

    @Test func aQueueThatIsFullOfWorkSaysWhoHasTheOldest() throws {
        let queue = try queue()
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        var sent: UInt64 = 0
        while sent < 1000, try producer.trySend(sent) { sent += 1 }
        // A line less than the log has: there is room for a header always.
        #expect(sent == 65_536 / 128 - 1)
        func failureToSend() -> IPCError? {
            failure { () throws(IPCError) in try producer.send(sent, until: .after(.milliseconds(20))) }
        }
        let full = failureToSend()
        #expect(full?.code == .timedOut && full?.advice.contains("none of them is taken") == true)
        let held = try worker.next(until: .immediate)
        #expect(failureToSend()?.advice.contains("process \(getpid()) has the oldest") == true)
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
        for _ in 0..<20_000 where !hasCome && !patience.hasPassed {
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
    private func takeAndReject(_ count: Int, _ worker: inout WorkQueue<UInt64>.Worker) throws(IPCError) {
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
        let queue = try WorkQueue<RawBytes>.openOrCreate(
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
        let publisher = try Topic<UInt64>.openOrCreate(name).makePublisher()
        let error = failure { () throws(IPCError) in _ = try WorkQueue<UInt64>.open(name) }
        #expect(error?.code == .wrongType && error?.advice.contains("expected a work queue, found a topic") == true)
        let overwriting = failure { () throws(IPCError) in
            _ = try WorkQueue<UInt64>.openOrCreate(channelName(), ChannelOptions(overflow: .overwrite))
        }
        #expect(overwriting?.code == .invalidArgument)
        publisher.close()
    }
}
