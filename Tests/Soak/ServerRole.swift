import IPC
import IPCChannels
import TestSupport

/// Answers calls in all ways.
enum ServerRole {
    static func run(_ me: Participant, _ random: Seeded) async throws {
        var random = random
        while me.goesOn {
            if me.order.isBlocking {
                try block(me, &random)
            } else {
                let concurrency = random.number(1...8)
                try await me.run(for: random.length()) {
                    try await Answering.open().serve(concurrency: concurrency) { (ask, context) async throws(Refusal) in
                        try await answer(ask, context, me)
                    }
                }
            }
        }
    }

    /// How long a handler waits to be cancelled, in seconds: far longer than any call may take.
    private static let patience = 4

    private static func answer(_ ask: Ask, _ context: CallContext, _ me: Participant) async throws(Refusal) -> Answer {
        let notes = CallNotes(me: me)
        notes.serving(ask)
        switch ask.manner {
        case .atOnce: break
        case .refused: throw ask.refusal
        case .later: try? await Task.sleep(for: .milliseconds(ask.milliseconds))
        case .never:
            do { try await Task.sleep(for: .seconds(patience)) } catch {}
            // It may be its loop that was cancelled.
            let isOver = context.isCancelled
            if isOver || !Task.isCancelled { notes.woke(ask, isCancelled: Task.isCancelled) }
            if !isOver { return release(ask, context, notes) }
        case .released:
            if me.ledger[ask.item, .released] < 2 { return release(ask, context, notes) }
        }
        // Half of those whose loop was cancelled let others answer.
        if Task.isCancelled, ask.number % 2 == 0, !context.isCancelled { return release(ask, context, notes) }
        return ask.answer
    }

    /// - Returns: What nobody may get.
    private static func release(_ ask: Ask, _ context: CallContext, _ notes: CallNotes) -> Answer {
        notes.releasing(ask)
        context.release()
        return .dropped
    }

    // The calls that block.

    private static func block(_ me: Participant, _ random: inout Seeded) throws(IPCError) {
        var server = try Answering.open().makeServer()
        for _ in 0..<random.number(1...100) where me.goesOn {
            let deadline = Deadline.after(.milliseconds(random.number(1...20)))
            do throws(IPCError) {
                if random.chance(50) {
                    try server.serveNext(until: deadline) { (ask) throws(Refusal) in
                        CallNotes(me: me).serving(ask)
                        if ask.manner == .refused { throw ask.refusal }
                        return ask.answer
                    }
                } else {
                    try answer(server.next(until: deadline), me)
                }
            } catch {
                guard error.code == .timedOut else { throw error }
                me.late(deadline.nanoseconds, "no call came, which it heard")
            }
        }
    }

    private static func answer(_ call: consuming ServiceChannel<Ask, Answer, Refusal>.Call, _ me: Participant)
        throws(IPCError)
    {
        let ask = try call.request
        let notes = CallNotes(me: me)
        notes.serving(ask)
        switch ask.manner {
        case .atOnce: try call.reply(ask.answer)
        case .refused: try call.fail(ask.refusal)
        case .later:
            rest(Int(ask.milliseconds) * 1000)
            try call.reply(ask.answer)
        case .never:
            // A call that blocks is asked whether it is cancelled.
            let end = Deadline.after(.seconds(patience))
            while !call.isCancelled, !end.hasPassed { rest(500) }
            notes.woke(ask, isCancelled: call.isCancelled)
            try call.reply(ask.answer)
        case .released:
            if me.ledger[ask.item, .released] < 2 {
                notes.releasing(ask)
                try call.release()
            } else {
                try call.reply(ask.answer)
            }
        }
    }
}
