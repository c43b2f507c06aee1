import Glibc
import IPC
import IPCChannels
import TestSupport
import Testing

/// When rejected work comes again, what is sent for later or for some time only, and what the dead letters tell.
@Suite(.timeLimit(.minutes(5))) struct RetryTests {
    private static let options = ChannelOptions(writers: .shared, lifetime: .whileUsed, capacity: 65_536)

    private func queue(_ attempts: Int? = nil, _ backoff: RetryBackoff? = nil) throws(IPCError) -> WorkQueue<UInt64> {
        try .openOrCreate(channelName(), Self.options, maximumAttempts: attempts, backoff: backoff)
    }

    /// The pauses after which a job came again that was rejected each time.
    private func pauses(_ queue: WorkQueue<UInt64>, _ count: Int) throws -> [Duration] {
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        try producer.send(7)
        var pauses: [Duration] = []
        try worker.next(until: .immediate).reject()
        for attempt in 2...count + 1 {
            let start = ContinuousClock.now
            let job = try worker.next(until: .after(.seconds(10)))
            pauses.append(.now - start)
            #expect(job.message == 7 && job.attempt == attempt)
            attempt == count + 1 ? try job.acknowledge() : job.reject()
        }
        return pauses
    }

    @Test func rejectedWorkWaitsForItsBackoff() throws {
        let fixed = try pauses(try queue(9, .fixed(.milliseconds(60))), 3)
        #expect(fixed.allSatisfy { $0 >= .milliseconds(55) && $0 < .milliseconds(500) }, "\(fixed)")
        let growing = try pauses(
            try queue(9, .exponential(first: .milliseconds(20), limit: .milliseconds(100))), 5)
        for (pause, wanted) in zip(growing, [20, 40, 80, 100, 100]) {
            #expect(pause >= .milliseconds(wanted - 5) && pause < .milliseconds(wanted + 400), "\(growing)")
        }
        #expect(try pauses(try queue(9), 3).allSatisfy { $0 < .milliseconds(50) })
    }

    /// It spent all of them in 12 µs.
    @Test func aHandlerThatFailsTakesItsTime() async throws {
        struct Broken: Error {}
        let queue = try queue(4, .fixed(.milliseconds(30)))
        var producer = try queue.makeProducer()
        var letters = try queue.deadLetters().makeWorker()
        defer { try? WorkQueue<UInt64>.remove(queue.name.description + "/dead-letters") }
        try await producer.send(7, until: .immediate)
        let start = ContinuousClock.now
        let work = Task { try await queue.work { _ in throw Broken() } }
        let letter = try await letters.next(until: .after(.seconds(10)))
        #expect(.now - start >= .milliseconds(85))
        work.cancel()
        try await work.value
        #expect(letter.deadLetter?.reason == .rejected && letter.deadLetter?.attempts == 4)
        #expect(letter.deadLetter?.process == getpid())
        try letter.acknowledge()
    }

    @Test func aTaskAndAWaitSetHearOfWorkThatIsDue() async throws {
        let queue = try queue()
        var producer = try queue.makeProducer()
        try await producer.send(7, JobOptions(delay: .milliseconds(80)), until: .immediate)
        var worker = try queue.makeWorker()
        let early = try worker.tryNext() == nil
        #expect(early)
        let start = ContinuousClock.now
        let job = try await worker.next(until: .after(.seconds(5)))
        #expect(job.message == 7 && job.attempt == 1 && .now - start < .seconds(1))
        // The next time that is said, for one that waits already.
        job.reject(after: .milliseconds(80))
        let waits = try WaitSet()
        let none = try worker.tryNext() == nil
        #expect(none)
        let ready = try await waits.wait(until: .after(.seconds(5))) { (sources) throws(IPCError) in
            sources.add(&worker)
        }
        #expect(ready == [0] && .now - start < .seconds(2))
        let again = try await worker.next(until: .immediate)
        #expect(again.attempt == 2)
        try again.acknowledge()
    }

    @Test func whatIsSentForLaterKeepsNobodyFromRoom() throws {
        let queue = try queue()
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        for number in 0..<50 as Range<UInt64> { try producer.send(number, JobOptions(delay: .milliseconds(300))) }
        for number in 1000..<6000 as Range<UInt64> {
            try producer.send(number, until: .immediate)
            let job = try worker.next(until: .immediate)
            // On a slow machine those that were sent for later come in between, and what was just sent after them.
            #expect((1000...number).contains(job.message) || job.message < 50)
            try job.acknowledge()
        }
        var rest: Set<UInt64> = []
        while let job = try? worker.next(until: .after(.seconds(1))) {
            rest.insert(job.message)
            try job.acknowledge()
        }
        #expect(rest.isSubset(of: 0..<6000))
        #expect(try ChannelDescription(queue.name).messageCount == 0)
        // There is a limit, and it is told.
        let tooMany = failure { () throws(IPCError) in
            for number in 0..<1000 as Range<UInt64> { try producer.send(number, JobOptions(delay: .seconds(60))) }
        }
        #expect(tooMany?.code == .limitReached)
        try producer.send(1, until: .immediate)
        #expect(try worker.next(until: .immediate).message == 1)
    }

    @Test func whatIsOlderThanItsTimeToLiveIsADeadLetter() throws {
        let queue = try queue()
        defer { try? WorkQueue<UInt64>.remove(queue.name.description + "/dead-letters") }
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        try producer.send(1, JobOptions(timeToLive: .milliseconds(30)))
        try producer.send(2, JobOptions(timeToLive: .seconds(60)))
        usleep(50_000)
        let job = try worker.next(until: .immediate)
        #expect(job.message == 2)
        try job.acknowledge()
        let letter = try queue.deadLetters().browse()
        #expect(letter.count == 1)
        #expect(try letter.first?.message == 1)
        #expect(letter.first?.deadLetter?.reason == .expired && letter.first?.deadLetter?.attempts == 0)
    }

    @Test func whatNoWorkerHasMetIsCollected() throws {
        let queue = try queue(1, .fixed(.seconds(60)))
        let letters = try queue.deadLetters()
        defer { try? WorkQueue<UInt64>.remove(letters.name.description) }
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        for number in 0..<3 as Range<UInt64> { try producer.send(number) }
        // Rejected as often as may be, expired, in a worker's hands, expired before it was due, and good.
        let rejected = try worker.next()
        let held = try worker.next()
        rejected.reject()
        try producer.send(3, JobOptions(timeToLive: .milliseconds(1)))
        try producer.send(4, JobOptions(delay: .seconds(60), timeToLive: .milliseconds(1)))
        usleep(5000)
        #expect(try queue.collectDeadLetters() == 3)
        #expect(try letters.collectDeadLetters() == 0)
        let found = try letters.browse()
        var messages: [UInt64] = []
        for job in found { messages.append(try job.message) }
        #expect(messages.sorted() == [0, 3, 4])
        let reasons = found.map { $0.deadLetter?.reason }
        #expect(reasons.count { $0 == .rejected } == 1)
        #expect(reasons.count { $0 == .expired } == 2)
        #expect(try queue.collectDeadLetters() == 0 && queue.browse().count == 2)
        try held.acknowledge()
        let good = try worker.next(until: .immediate)
        #expect(good.message == 2 && good.attempt == 1)
        // Sent back without a worker that has met it.
        good.reject()
        #expect(try queue.redrive(until: .immediate) == 4 && queue.browse().count == 4)
    }

    @Test func thePolicyIsThatOfTheQueue() throws {
        let queue = try queue(3, .fixed(.seconds(1)))
        var producer = try queue.makeProducer()  // it stays
        try producer.send(1)
        let name = queue.name.description
        for wrong in [
            failure { () throws(IPCError) in _ = try WorkQueue<UInt64>.openOrCreate(name, maximumAttempts: 4) },
            failure { () throws(IPCError) in _ = try WorkQueue<UInt64>.openOrCreate(name, backoff: RetryBackoff.none) },
        ] {
            #expect(wrong?.code == .incompatibleOptions && wrong?.advice.contains("it was created with") == true)
        }
        _ = try WorkQueue<UInt64>.openOrCreate(name)
        _ = try WorkQueue<UInt64>.openOrCreate(name, maximumAttempts: 3, backoff: .fixed(.seconds(1)))
        let description = try ChannelDescription(queue.name)
        #expect(description.maximumAttempts == 3 && description.backoff == .fixed(.seconds(1)))
        for wrong in [RetryBackoff.fixed(.zero), .exponential(first: .seconds(1), limit: .seconds(-1))] {
            let refused = failure { () throws(IPCError) in _ = try self.queue(3, wrong) }
            #expect(refused?.code == .invalidArgument)
        }
    }

    @Test func lettersAreLookedAtSentBackAndDoneAwayWith() throws {
        let queue = try queue(1)
        let name = queue.name.description
        defer { try? WorkQueue<UInt64>.remove(name + "/dead-letters") }
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        for number in 0..<6 as Range<UInt64> {
            try producer.send(number)
            try worker.next(until: .immediate).reject()
            let none = try worker.tryNext() == nil
            #expect(none)
        }
        let letters = try queue.deadLetters()
        let all = try letters.browse()
        #expect(try all.map { (job) throws(IPCError) in try job.message } == [0, 1, 2, 3, 4, 5])
        #expect(all.allSatisfy { $0.deadLetter?.reason == .rejected && $0.deadLetter?.attempts == 1 })
        #expect(try letters.browse(limit: 2).count == 2)
        #expect(try queue.redrive(limit: 2) == 2)
        #expect(try queue.browse().map { (job) throws(IPCError) in try job.message } == [0, 1])
        #expect(try letters.purge() == 4)
        #expect(try letters.browse().isEmpty && letters.purge() == 0)
        for number in 0..<2 as Range<UInt64> {
            let job = try worker.next(until: .immediate)
            #expect(job.message == number && job.attempt == 1 && job.deadLetter == nil)
            #expect(try queue.browse().first?.worker == getpid())
            try job.acknowledge()
        }
    }

    @Test func aLetterKeepsWhatItTellsWhoeverRejectsIt() throws {
        let queue = try queue(2)
        let letters = try queue.deadLetters()
        defer { try? WorkQueue<UInt64>.remove(letters.name.description) }
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        try producer.send(7, JobOptions(timeToLive: .milliseconds(1)))
        usleep(5000)
        let none = try worker.tryNext() == nil
        #expect(none)
        let told = try #require(try letters.browse().first?.deadLetter)
        #expect(told.reason == .expired)
        var reader = try letters.makeWorker()
        try reader.next(until: .immediate).reject()
        #expect(try letters.browse().first?.deadLetter == told)
        let dead = try Peer(product("ChannelPeer"), ["hold-job", letters.name.description])
        _ = try dead.said()
        try dead.kill()
        let letter = try reader.next(until: .after(.seconds(5)))
        #expect(letter.message == 7 && letter.deadLetter == told)
        try letter.acknowledge()
    }

    @Test func aDeadWorkersLetterSaysSo() throws {
        let queue = try queue(1)
        defer { try? WorkQueue<UInt64>.remove(queue.name.description + "/dead-letters") }
        var producer = try queue.makeProducer()
        try producer.send(7)
        let dead = try Peer(product("ChannelPeer"), ["hold-job", queue.name.description])
        #expect(try dead.said() == "took 7\n")
        let process = dead.child.handle.identifier
        try dead.kill()
        var worker = try queue.makeWorker()
        let none = try worker.tryNext() == nil
        #expect(none)
        let letter = try queue.deadLetters().browse().first?.deadLetter
        #expect(letter?.reason == .workerDied && letter?.process == process)
    }

    /// Who takes a dead channel away gives back what its dead had, before it knows that nobody lives.
    @Test func aQueueWhoseOnlyWorkerDiedWithAJobIsTakenAway() throws {
        let name = channelName()
        _ = try WorkQueue<UInt64>.openOrCreate(name, Self.options)
        let holder: Peer
        do {
            var producer = try WorkQueue<UInt64>.open(name).makeProducer()
            try producer.send(7)
            holder = try Peer(product("ChannelPeer"), ["hold-job", name])
            #expect(try holder.said() == "took 7\n")
        }
        try holder.kill()
        #expect(try ChannelRoot.current.removeIfDead(ChannelName(name)))
        let gone = failure { () throws(IPCError) in _ = try ChannelDescription(ChannelName(name)) }
        #expect(gone?.code == .notFound)
    }
}
