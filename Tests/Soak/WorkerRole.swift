import IPC
import IPCChannels
import TestSupport

/// Works on jobs in all ways, and ends each of them in all ways.
enum WorkerRole {
    private struct Failed: Error {}

    static func run(_ me: Participant, _ random: Seeded) async throws {
        var random = random
        let queues = me.order.round == nil || random.chance(30) ? Queue.allCases : [random.pick(Queue.allCases)]
        if me.order.isBlocking {
            while me.goesOn { try block(me, random.pick(queues), &random) }
            return
        }
        let seeds = queues.map { _ in random.next() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (queue, seed) in zip(queues, seeds) { group.addTask { try await loop(me, queue, Seeded(seed)) } }
            try await group.waitForAll()
        }
    }

    /// Joins, works for a while, is cancelled, and joins again.
    private static func loop(_ me: Participant, _ kind: Queue, _ random: Seeded) async throws {
        var random = random
        while me.goesOn {
            let concurrency = random.number(1...5)
            let queue = try kind.open()
            if random.chance(60) {
                try await me.run(for: random.length()) {
                    try await queue.work(concurrency: concurrency) { delivery in
                        try await finish(delivery, me, isOfLoop: true)
                    }
                }
            } else {
                try await me.run(for: random.length()) {
                    for try await delivery in try queue.makeWorker().jobs() {
                        try await finish(delivery, me, isOfLoop: false)
                    }
                }
            }
        }
    }

    /// - Parameter isOfLoop: Whether `work` finishes what it does not.
    private static func finish(_ delivery: WorkQueue<RawBytes>.SharedJob, _ me: Participant, isOfLoop: Bool)
        async throws
    {
        guard let ticket = try delivery.withBytes({ Ticket($0) }) else {
            me.violation("a torn job")
            return try delivery.acknowledge()
        }
        let notes = JobNotes(me: me)
        notes.taken(ticket, delivery.attempt)
        var random = ticket.choices(me.order.seed, me.ledger)
        do {
            if random.chance(20) { try await Task.sleep(for: .milliseconds(random.number(1...40))) }
        } catch {
            // What a loop that was cancelled does not finish is released, whoever does it.
            notes.releasing(ticket)
            if isOfLoop || random.chance(50) { throw error }
            return delivery.release()
        }
        switch random.number((ticket.isHopeless ? 75 : 0)...99) {
        case 0..<20 where isOfLoop && ticket.queue.isStrict: notes.acknowledging(ticket)  // and returns
        case 0..<75:
            notes.acknowledging(ticket)
            try delivery.acknowledge()
            notes.acknowledged(ticket)
        case 75..<82:
            notes.rejecting(ticket)
            delivery.reject()
        case 82..<88:
            notes.rejecting(ticket)
            delivery.reject(after: .milliseconds(random.number(0...30)))
        case 88..<94 where !ticket.isHopeless:
            notes.releasing(ticket)
            delivery.release()
        default:
            notes.givingBackSomehow(ticket)
            if isOfLoop { throw Failed() }  // else it goes out of scope
        }
    }

    // The calls that block.

    private static func block(_ me: Participant, _ kind: Queue, _ random: inout Seeded) throws(IPCError) {
        var worker = try kind.open().makeWorker()
        for _ in 0..<random.number(1...60) where me.goesOn {
            let deadline = Deadline.after(.milliseconds(random.number(1...20)))
            do throws(IPCError) {
                if random.chance(40) {
                    try lend(&worker, me, until: deadline)
                } else {
                    try finish(worker.next(until: deadline), me)
                }
            } catch {
                guard error.code == .timedOut else { throw error }
                me.late(deadline.nanoseconds, "no job came, which it heard")
            }
        }
    }

    private static func lend(
        _ worker: inout WorkQueue<RawBytes>.Worker, _ me: Participant, until deadline: Deadline
    ) throws(IPCError) {
        let notes = JobNotes(me: me)
        var isRejected = false
        let ticket: Ticket?
        do throws(IPCError) {
            ticket = try worker.workNext(until: deadline) { (bytes) throws(IPCError) -> Ticket? in
                guard let ticket = Ticket(bytes) else {
                    me.violation("a torn job")
                    return nil
                }
                notes.taken(ticket, nil)
                guard !ticket.isHopeless else {
                    notes.rejecting(ticket)
                    isRejected = true
                    throw IPCError(.cancelled, "work", "", advice: "rejected by the test")
                }
                notes.acknowledging(ticket)
                return ticket
            }
        } catch {
            guard isRejected else { throw error }
            return
        }
        if let ticket { notes.acknowledged(ticket) }
    }

    private static func finish(_ job: consuming WorkQueue<RawBytes>.Job, _ me: Participant) throws(IPCError) {
        guard let ticket = try job.withBytes({ (bytes) throws(IPCError) in Ticket(bytes) }) else {
            me.violation("a torn job")
            return try job.acknowledge()
        }
        let notes = JobNotes(me: me)
        notes.taken(ticket, job.attempt)
        var random = ticket.choices(me.order.seed, me.ledger)
        if random.chance(20) { rest(random.number(1000...40_000)) }
        switch random.number((ticket.isHopeless ? 75 : 0)...99) {
        case 0..<75:
            notes.acknowledging(ticket)
            try job.acknowledge()
            notes.acknowledged(ticket)
        case 75..<80:
            notes.rejecting(ticket)
            job.reject()
        case 80..<88:
            notes.rejecting(ticket)
            job.reject(after: .milliseconds(random.number(0...30)))
        case 88..<94 where !ticket.isHopeless:
            notes.releasing(ticket)
            job.release()
        default:
            // It goes out of scope.
            notes.rejecting(ticket)
        }
    }
}
