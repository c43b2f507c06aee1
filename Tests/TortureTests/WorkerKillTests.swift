import Glibc
import IPC
import IPCChannels
import Synchronization
import TestSupport
import Testing

/// Workers are killed at every named point and at random moments: no job is lost, none that was acknowledged is done again.
@Suite(.serialized, .timeLimit(.minutes(20))) struct WorkerKillTests {
    private static let jobs = 2000

    private func trial(_ point: String?) throws {
        let name = channelName()
        let records = uniqueName()
        let mapping = try SharedMemory.create(records, byteCount: Self.jobs * 16).map()
        defer { try? SharedMemory.unlink(records) }
        let queue = try WorkQueue<UInt64>.openOrCreate(
            name, ChannelOptions(writers: .shared, lifetime: .kept, capacity: 65_536), maximumAttempts: 1000)
        defer { try? WorkQueue<UInt64>.remove(name) }
        let errors = try AnonymousPipe()
        var environment = ["IPC_ROOT=\(channelRoot)"]
        if let point { environment.append("IPC_KILL_POINT=\(point)") }
        let victim = try ChildProcess(
            product("ChannelPeer"), ["work", name, records], environment: .only(pairs: environment),
            descriptors: [1: errors.writer.descriptor, 2: errors.writer.descriptor])
        let said = errors.closingWriter()
        var producer = try queue.makeProducer()
        let first = UInt64(Self.jobs / 4)
        for number in 0..<first { try producer.send(number) }  // as many as the log holds
        // At a point, it comes there before anybody can take the work away from it; at random, both work.
        if point != nil { try victim.handle.waitForExit(until: .after(.seconds(30))) }
        let survivor = try Peer(product("ChannelPeer"), ["work", name, records])
        _ = try survivor.said()
        for number in first..<UInt64(Self.jobs) {
            try producer.send(number, until: .after(.seconds(30)))
            if point == nil, number == Self.jobs / 2 { try victim.handle.send(.kill) }
        }
        let status = try victim.wait(until: .after(.seconds(30)))
        let text = String(decoding: try said.readToEnd(until: .after(.seconds(10))), as: UTF8.self)
        #expect(status == .signaled(.kill), "\(point ?? "random"): \(text)")
        if let point { #expect(text.hasSuffix("struck \(point.split(separator: ":")[0])\n"), "\(text)") }
        #expect(!text.contains("came again"))
        // What the victim had holds nobody back: so the end may not overtake it.
        let patience = Deadline.after(.seconds(10))
        while try ChannelDescription(queue.name).messageCount > 0, !patience.hasPassed { usleep(1000) }
        try producer.send(.max, until: .after(.seconds(30)))
        let (end, report) = try survivor.finish()
        #expect(end == .exited(0) && report.isEmpty, "\(report)")
        // Each job was acknowledged once; the victim may have died before it wrote its last one down.
        var unrecorded = 0
        for job in 0..<Self.jobs {
            let (begun, done) = (mapping.load(UInt64.self, at: job * 16), mapping.load(UInt64.self, at: job * 16 + 8))
            if done == 0 { unrecorded += 1 }
            #expect(
                begun >= done && done <= 1 && (begun > 0 || point?.hasPrefix("work.taken") == true),
                "job \(job): \(begun) \(done)")
        }
        #expect(unrecorded <= 1)
        var worker = try queue.makeWorker()
        let left = try worker.tryNext() == nil
        #expect(left)
    }

    @Test(arguments: ["work.taken", "work.done"]) func aWorkerDiesAnywhere(point: String) throws {
        for round in 0..<KillTests.repetitions * 3 { try trial("\(point):\(1 + round * 40 % 400)") }
    }

    @Test func aWorkerDiesAtRandomMoments() throws {
        for _ in 0..<KillTests.repetitions * 5 { try trial(nil) }
    }

    @Test func theReturnOfADeadWorkersJobDiesToo() throws {
        let name = channelName()
        let queue = try WorkQueue<UInt64>.openOrCreate(name)
        defer { try? WorkQueue<UInt64>.remove(name) }
        var producer = try queue.makeProducer()
        try producer.send(42)
        let holder = try Peer(product("ChannelPeer"), ["hold-job", name])
        _ = try holder.said()
        try holder.kill()
        let records = uniqueName()
        _ = try SharedMemory.create(records, byteCount: 4096)
        defer { try? SharedMemory.unlink(records) }
        let second = try ChildProcess(
            product("ChannelPeer"), ["work", name, records],
            environment: .only(pairs: ["IPC_ROOT=\(channelRoot)", "IPC_KILL_POINT=recover.work"]))
        let status = try second.wait(until: .after(.seconds(10)))
        #expect(status == .signaled(.kill))
        var worker = try queue.makeWorker()
        let job = try worker.next(until: .after(.seconds(1)))
        #expect(job.message == 42 && job.attempt == 2)
        try job.acknowledge()
    }

    /// The letter counted those who died before they had sent it.
    @Test func aLetterWhoseSenderDiesTellsOfNoMoreAttemptsThanThereAre() throws {
        let name = channelName()
        let queue = try WorkQueue<UInt64>.openOrCreate(name, maximumAttempts: 1)
        defer { for name in [name, name + "/dead-letters"] { try? WorkQueue<UInt64>.remove(name) } }
        var producer = try queue.makeProducer()
        try producer.send(42)
        var worker = try queue.makeWorker()
        try worker.next(until: .immediate).reject()
        let records = uniqueName()
        _ = try SharedMemory.create(records, byteCount: 4096)
        defer { try? SharedMemory.unlink(records) }
        // It has had its attempt, and is taken once more to be sent to the dead letters.
        for _ in 0..<2 {
            let victim = try ChildProcess(
                product("ChannelPeer"), ["work", name, records],
                environment: .only(pairs: ["IPC_ROOT=\(channelRoot)", "IPC_KILL_POINT=work.taken:1"]))
            let status = try victim.wait(until: .after(.seconds(10)))
            #expect(status == .signaled(.kill))
        }
        let none = failure { () throws(IPCError) in _ = try worker.next(until: .after(.milliseconds(200))) }
        #expect(none?.code == .timedOut)
        var letters = try queue.deadLetters().makeWorker()
        let letter = try letters.next(until: .after(.seconds(1)))
        #expect(letter.message == 42 && letter.deadLetter?.attempts == 1)
        try letter.acknowledge()
    }

    @Test func aDeadWorkersJobGoesToOneThatWaits() throws {
        let took = try shortest {
            let name = channelName()
            let queue = try WorkQueue<UInt64>.openOrCreate(name)
            defer { try? WorkQueue<UInt64>.remove(name) }
            var producer = try queue.makeProducer()
            try producer.send(42)
            let holder = try Peer(product("ChannelPeer"), ["hold-job", name])
            _ = try holder.said()
            var worker = try queue.makeWorker()
            let none = failure { () throws(IPCError) in _ = try worker.next(until: .after(.milliseconds(150))) }
            #expect(none?.code == .timedOut)
            try holder.kill()
            let start = ContinuousClock.now
            let job = try worker.next(until: .after(.seconds(5)))
            #expect(job.message == 42 && job.attempt == 2)
            try job.acknowledge()
            return ContinuousClock.now - start
        }
        #expect(took < .milliseconds(100))
    }
}
