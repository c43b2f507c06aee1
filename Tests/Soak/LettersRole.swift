import IPC
import IPCChannels
import TestSupport

/// Collects dead letters, and sends some of them back.
enum LettersRole {
    static func run(_ me: Participant, _ random: Seeded) async throws { try loop(me, random) }

    private static func loop(_ me: Participant, _ random: Seeded) throws(IPCError) {
        var random = random
        while me.goesOn {
            let phase = me.ledger.phase
            // What is sent back has to be done before the end: so nobody sends anything back by then.
            if phase != .traffic { me.ledger[me.index, .isQuiet] = 1 }
            for kind in Queue.allCases where me.goesOn {
                switch kind {
                case .redriven where phase == .traffic: try redrive(kind, &random)
                case .full where phase.rawValue < Ledger.Phase.letters.rawValue: break
                default: try collect(kind, me, &random)
                }
            }
            rest(random.number(1000...20_000))
        }
    }

    private static func redrive(_ kind: Queue, _ random: inout Seeded) throws(IPCError) {
        do throws(IPCError) {
            try kind.open().redrive(limit: random.number(1...20), until: .after(.milliseconds(random.number(1...100))))
        } catch {
            guard error.code == .timedOut else { throw error }
        }
    }

    private static func collect(_ kind: Queue, _ me: Participant, _ random: inout Seeded) throws(IPCError) {
        let notes = JobNotes(me: me)
        var worker = try kind.open().deadLetters().makeWorker()
        for _ in 0..<200 {
            guard let job = try worker.tryNext() else { return }
            guard let ticket = try job.withBytes({ (bytes) throws(IPCError) in Ticket(bytes) }) else {
                me.violation("a torn letter")
                try job.acknowledge()
                continue
            }
            // However often it is rejected, it comes again.
            switch random.number(0...99) {
            case 0..<5: job.reject()
            case 5..<10: job.release()
            default:
                notes.letter(ticket, job.deadLetter)
                try job.acknowledge()
            }
        }
    }
}
