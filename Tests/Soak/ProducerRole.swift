import IPC
import IPCChannels
import TestSupport

/// Sends jobs to all queues: at once, for later, and for some time only.
enum ProducerRole {
    static func run(_ me: Participant, _ random: Seeded) async throws {
        var random = random
        while me.mayStillSend {
            let (queue, length, seed) = (random.pick(Queue.allCases), random.length(), random.next())
            if me.order.isBlocking {
                try block(me, queue, seed)
            } else {
                try await me.run(for: length) { try await send(me, queue, seed) }
            }
        }
    }

    private static func send(_ me: Participant, _ queue: Queue, _ seed: UInt64) async throws {
        var random = Seeded(seed)
        var producer = try queue.open().makeProducer()
        while let next = next(me, queue, &random) {
            let bytes = next.ticket.words(next.words)
            let deadline = Deadline.after(.milliseconds(random.number(1...500)))
            try await sending(me, next) { () async throws(IPCError) in
                guard let options = next.options else {
                    return try await producer.send(bytes.span.bytes, until: deadline)
                }
                try await producer.send(bytes.span.bytes, options, until: deadline)
            }
            me.late(deadline.nanoseconds, "a send ended")
            if random.chance(60) { try await Task.sleep(for: .microseconds(random.number(100...4000))) }
        }
    }

    /// Notes what becomes of it.
    private nonisolated(nonsending) static func sending(
        _ me: Participant, _ next: Next, _ body: nonisolated(nonsending) () async throws(IPCError) -> Void
    ) async throws(IPCError) {
        let notes = JobNotes(me: me)
        notes.sending(next.ticket, next.options)
        do throws(IPCError) {
            try await body()
            notes.sent(next.ticket, next.options)
        } catch {
            notes.failed(next.ticket)
            try tolerate(error)
        }
    }

    private static func block(_ me: Participant, _ queue: Queue, _ seed: UInt64) throws(IPCError) {
        var random = Seeded(seed)
        let notes = JobNotes(me: me)
        var producer = try queue.open().makeProducer()
        for _ in 0..<random.number(5...100) {
            guard let next = next(me, queue, &random) else { break }
            let bytes = next.ticket.words(next.words)
            notes.sending(next.ticket, next.options)
            let deadline = Deadline.after(.milliseconds(random.number(1...100)))
            do throws(IPCError) {
                if let options = next.options {
                    try producer.send(bytes.span.bytes, options, until: deadline)
                } else {
                    try producer.send(bytes.span.bytes, until: deadline)
                }
                notes.sent(next.ticket, next.options)
            } catch {
                notes.failed(next.ticket)
                try tolerate(error)
            }
            me.late(deadline.nanoseconds, "a send ended")
            if random.chance(60) { rest(random.number(100...4000)) }
        }
    }

    /// A full queue, and too much that waits for its time, are no faults.
    private static func tolerate(_ error: IPCError) throws(IPCError) {
        guard error.code == .timedOut || error.code == .limitReached else { throw error }
    }

    private struct Next {
        var ticket: Ticket
        var words: Int
        var options: JobOptions?
    }

    private static func next(_ me: Participant, _ queue: Queue, _ random: inout Seeded) -> Next? {
        guard me.mayStillSend, let item = me.nextJob() else {
            // Its numbers are used up.
            rest(2000)
            return nil
        }
        // Letters that nobody looks at are large, so that there are soon too many.
        let isLarge = random.chance(10) || queue == .full && Ticket(item, queue).isHopeless
        let words = isLarge ? random.number(20...250) : random.number(Ticket.fewest...12)
        let options: JobOptions? =
            switch random.number(0...99) {
            case 0..<8: JobOptions(delay: .milliseconds(random.number(1...80)))
            case 8..<14: JobOptions(timeToLive: .milliseconds(random.number(1...30)))
            case 14..<16:
                JobOptions(
                    delay: .milliseconds(random.number(1...20)), timeToLive: .milliseconds(random.number(30...60)))
            default: nil
            }
        return Next(ticket: Ticket(item, queue), words: words, options: options)
    }
}
