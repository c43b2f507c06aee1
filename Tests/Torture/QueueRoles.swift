import Glibc
import IPC
import IPCChannels
import TestSupport

/// Producers and workers. What became of each job is in the ledger.
enum QueueRoles {
    /// Bits of a job's item.
    enum Job {
        /// Its worker is about to acknowledge it.
        static let acknowledging: UInt32 = 1
        static let acknowledged: UInt32 = 2
        /// A survivor has it.
        static let held: UInt32 = 4
    }

    static let attempts = 32_766

    private static func open(_ me: Participant) throws(IPCError) -> WorkQueue<RawBytes> {
        try WorkQueue<RawBytes>.open(me.plan.name)
    }

    static func write(_ me: Participant) async throws(IPCError) {
        let queue = try open(me)
        while me.goesOn {
            guard var producer = try me.join({ () throws(IPCError) in try queue.makeProducer() }) else { break }
            var left = me.member.session > 0 ? me.member.session : .max
            while me.goesOn, left > 0 {
                try await send(&producer, Stamp(member: me.index, number: me.begin()), me)
                me.done()
                try me.fate.reach()
                if me.plan.shape.durability == .whenAsked, me.random.chance(15) { try producer.sync() }
                left -= 1
            }
            producer.close()
            me.left()
            if me.member.session > 0 { usleep(UInt32(me.random.number(100...2000))) }
        }
    }

    /// Once all other producers are gone: an item for each worker. Once those are gone as well: whatever is left, such as a job whose
    /// worker died when the others were busy, or had ended.
    static func close(_ me: Participant) async throws(IPCError) {
        let queue = try open(me)
        var producer = try queue.makeProducer()
        while me.ledger[.phase] == 2 {
            try await send(&producer, Stamp(member: me.index, number: 0, isEnd: true), me)
            usleep(1000)
        }
        var worker = try queue.makeWorker()
        while let job = try await drained(&worker) { _ = try finish(job, me) }
    }

    /// - Returns: nil if nothing has come for as long as it may take until what a dead worker had is there again.
    private nonisolated(nonsending) static func drained(
        _ worker: inout WorkQueue<RawBytes>.Worker, within patience: Duration = .milliseconds(100)
    ) async throws(IPCError) -> WorkQueue<RawBytes>.Job? {
        do throws(IPCError) { return try await worker.next(until: .after(patience)) } catch {
            guard error.code == .timedOut else { throw error }
            return nil
        }
    }

    private nonisolated(nonsending) static func send(
        _ producer: inout WorkQueue<RawBytes>.Producer, _ stamp: Stamp, _ me: Participant
    ) async throws(IPCError) {
        let payload = Payload.make(stamp, words: stamp.isEnd ? 5 : me.words())
        if !stamp.isEnd, me.random.chance(3), try sendLater(&producer, payload, me) { return }
        switch me.member.way {
        case .block, .set, .bell: try sendBlocking(&producer, payload, me.deadline)
        case .task, .setTask: try await producer.send(payload.span.bytes, until: me.deadline)
        case .poll, .spin:
            let deadline = me.deadline
            while try !producer.trySend(payload.span.bytes) {
                if deadline.hasPassed { throw .timedOut("trySend", "in a loop") }
                usleep(me.member.way == .spin ? 0 : 100)
            }
        }
    }

    /// - Returns: False if too many wait for their time.
    private static func sendLater(
        _ producer: inout WorkQueue<RawBytes>.Producer, _ payload: [UInt64], _ me: Participant
    ) throws(IPCError) -> Bool {
        let options = JobOptions(delay: .milliseconds(me.random.number(0...20)))
        do throws(IPCError) { try producer.send(payload.span.bytes, options, until: me.deadline) } catch {
            guard error.code == .limitReached else { throw error }
            return false
        }
        return true
    }

    private static func sendBlocking(
        _ producer: inout WorkQueue<RawBytes>.Producer, _ payload: [UInt64], _ deadline: Deadline
    ) throws(IPCError) {
        try producer.send(payload.span.bytes, until: deadline)
    }

    static func read(_ me: Participant) async throws(IPCError) {
        let queue = try open(me)
        let waiting = me.waiting
        var isOver = false
        while me.goesOn, !isOver {
            guard var worker = try me.join({ () throws(IPCError) in try queue.makeWorker(waiting: waiting) }) else {
                break
            }
            var left = me.member.session > 0 ? me.member.session : .max
            // What it keeps for long, while it goes on with others.
            var kept: [Handed<WorkQueue<RawBytes>.Job>] = []
            while me.goesOn, !isOver, left > 0 {
                if kept.count < 3, me.random.chance(2), let job = try worker.tryNext() {
                    isOver = try keep(job, &kept, me)
                } else if kept.isEmpty {
                    isOver = try await work(&worker, me)
                } else if let job = try await drained(&worker, within: .milliseconds(10)) {
                    isOver = try finish(job, me)
                } else {
                    // What all keep may leave no room between that is large enough for the next message.
                    _ = try finish(kept.removeFirst().take(), me)
                    continue
                }
                me.checked(isEnd: isOver)
                left -= 1
                if kept.count > 0, me.random.chance(1) { _ = try finish(kept.removeFirst().take(), me) }
            }
            for job in kept { _ = try finish(job.take(), me) }
            worker.close()
            me.left()
        }
    }

    /// - Returns: Whether it was the last job, which is not kept.
    private static func keep(
        _ job: consuming WorkQueue<RawBytes>.Job, _ kept: inout [Handed<WorkQueue<RawBytes>.Job>], _ me: Participant
    ) throws(IPCError) -> Bool {
        guard try job.withBytes({ Payload.check($0)?.isEnd ?? true }) else {
            kept.append(Handed(job))
            return false
        }
        return try finish(job, me)
    }

    /// - Returns: Whether it was the last job.
    private nonisolated(nonsending) static func work(
        _ worker: inout WorkQueue<RawBytes>.Worker, _ me: Participant
    ) async throws(IPCError) -> Bool {
        if me.member.batch == 1, me.member.way == .block, me.random.chance(50) { return try workLent(&worker, me) }
        let first = try await next(&worker, me)
        if me.member.batch == 1 { return try finish(first, me) }
        // Each is finished by another thread or task, in any order.
        var jobs = [Handed(first)]
        while jobs.count < me.member.batch, let job = try worker.tryNext() { jobs.append(Handed(job)) }
        for _ in jobs.dropFirst() { me.ledger.count(me.index, .checked) }
        if me.member.way == .task || me.member.way == .setTask {
            let tasks = jobs.map { job in Task { try finish(job.take(), me) } }
            var isOver = false
            for task in tasks {
                do { isOver = try await task.value || isOver } catch let error as IPCError { throw error } catch {}
            }
            return isOver
        }
        return try finishOnThreads(jobs, me)
    }

    private static func finishOnThreads(_ jobs: [Handed<WorkQueue<RawBytes>.Job>], _ me: Participant) throws(IPCError)
        -> Bool
    {
        let over = Flag()
        var threads: [PlainThread] = []
        for job in jobs {
            threads.append(try PlainThread { () throws(IPCError) in if try finish(job.take(), me) { over.raise() } })
        }
        for thread in threads { if let error = thread.join() { throw error } }
        return over.isRaised
    }

    private nonisolated(nonsending) static func next(
        _ worker: inout WorkQueue<RawBytes>.Worker, _ me: Participant
    ) async throws(IPCError) -> WorkQueue<RawBytes>.Job {
        let deadline = me.deadline
        switch me.member.way {
        case .block, .spin: return try nextBlocking(&worker, deadline)
        case .task: return try await worker.next(until: deadline)
        default:
            while true {
                if let job = try worker.tryNext() { return job }
                try await me.waits.wait(until: deadline) { () throws(IPCError) in worker.readiness() }
            }
        }
    }

    private static func nextBlocking(
        _ worker: inout WorkQueue<RawBytes>.Worker, _ deadline: Deadline
    ) throws(IPCError) -> WorkQueue<RawBytes>.Job {
        try worker.next(until: deadline)
    }

    private static func workLent(_ worker: inout WorkQueue<RawBytes>.Worker, _ me: Participant) throws(IPCError) -> Bool
    {
        var stamp: Stamp?
        var isRejected = false
        do throws(IPCError) {
            try worker.workNext(until: me.deadline) { (bytes) throws(IPCError) in
                guard let begun = begin(bytes, me) else { return }
                if !begun.isEnd, me.random.chance(3) {
                    me.ledger.clearBits(Job.held, of: begun.member, begun.number)
                    isRejected = true
                    throw IPCError(.cancelled, "work", "", advice: "rejected by the test")
                }
                acknowledging(begun, me)
                stamp = begun
            }
            if let stamp { acknowledged(stamp, me) }
        } catch {
            guard isRejected else { throw error }
        }
        try me.fate.reach()
        return stamp?.isEnd ?? false
    }

    private static func finish(
        _ job: consuming WorkQueue<RawBytes>.Job?, _ me: Participant
    ) throws(IPCError) -> Bool {
        guard let job else { return false }
        guard let stamp = try job.withBytes({ (bytes) throws(IPCError) in begin(bytes, me) }) else {
            try job.acknowledge()
            return false
        }
        try me.fate.reach()
        if !stamp.isEnd, stamp.number % 31 == 30, job.attempt == 1 {
            me.ledger.clearBits(Job.held, of: stamp.member, stamp.number)
            job.reject()
            return false
        }
        acknowledging(stamp, me)
        try job.acknowledge()
        acknowledged(stamp, me)
        return stamp.isEnd
    }

    /// - Returns: nil if it is torn.
    private static func begin(_ bytes: RawSpan, _ me: Participant) -> Stamp? {
        guard let stamp = Payload.check(bytes) else {
            me.violation("torn job of \(bytes.byteCount) bytes")
            return nil
        }
        if stamp.isEnd { return stamp }
        let before = me.ledger.setBits(me.member.isSurvivor ? Job.held : 0, of: stamp.member, stamp.number)
        if before & Job.acknowledged != 0 {
            me.violation("job \(stamp.number) of producer \(stamp.member) came after it was acknowledged")
        }
        if before & Job.held != 0 {
            me.violation("job \(stamp.number) of producer \(stamp.member) came while a living worker has it")
        }
        return stamp
    }

    private static func acknowledging(_ stamp: Stamp, _ me: Participant) {
        guard !stamp.isEnd else { return }
        me.ledger.setBits(Job.acknowledging, of: stamp.member, stamp.number)
        me.ledger.clearBits(Job.held, of: stamp.member, stamp.number)
    }

    private static func acknowledged(_ stamp: Stamp, _ me: Participant) {
        if !stamp.isEnd { me.ledger.setBits(Job.acknowledged, of: stamp.member, stamp.number) }
    }

    /// What is wrong at the end of a round: each job that its producer knew to be sent was done.
    static func problems(_ plan: Plan, _ ledger: Ledger) -> [String] {
        var problems: [String] = []
        for member in plan.members where !member.isReader {
            for number in 0..<Int(ledger[member.index, .done])
            where ledger.item(member.index, number) & (Job.acknowledging | Job.acknowledged) == 0 {
                problems.append("job \(number) of producer \(member.index) was sent, and never done")
                break
            }
        }
        return problems
    }
}

/// Raised by any thread.
final class Flag: @unchecked Sendable {
    // `@unchecked`: threads only raise it, and it is read after they were joined.
    private(set) var isRaised = false
    func raise() { isRaised = true }
}
