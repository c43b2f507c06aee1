import IPC

/// What the notes of a round say of its jobs, once all is done.
enum JobChecks {
    /// Whether a job may be a dead letter: its time to live is over, or it may have had all its attempts. Attempts that were killed before
    /// they were noted are as many as there were kills.
    static func mayBeLetter(_ job: Item, _ queue: Queue, _ ledger: Ledger) -> Bool {
        let expires = ledger[job, .expires]
        if expires > 0, expires <= wallClock() { return true }
        return ledger[job, .attempt] + ledger.kills(since: ledger[job, .reaped]) >= UInt64(queue.attempts)
    }

    /// - Parameter dropped: How many letters may have made room for newer ones, and be gone.
    static func run(_ queue: Queue, _ ledger: Ledger, dropped: UInt64, _ totals: inout Totals) -> [String] {
        var problems: [String] = []
        var gone: UInt64 = 0
        for job in ledger.jobs where ledger[job, .queue] == UInt64(queue.rawValue) {
            let name = describe(job, queue, ledger)
            let (acknowledged, letters) = (ledger[job, .acknowledged], ledger[job, .letters])
            totals.count(job, ledger)
            switch Ledger.Sending(rawValue: ledger[job, .sending]) {
            case .sent?:
                // About to be acknowledged, and not there any more: that was done.
                if acknowledged + ledger[job, .acknowledging] + letters > 0 { break }
                if mayBeLetter(job, queue, ledger) { gone += 1 } else { problems.append("\(name) was never done") }
            case .failed? where ledger[job, .takes] + letters > 0:
                problems.append("\(name) was handed out, and its producer was told that it was not sent")
            default: break
            }
            // Two copies come of a letter only.
            if acknowledged > 1, queue.isStrict || !mayBeLetter(job, queue, ledger) {
                problems.append("\(name) was acknowledged \(acknowledged) times")
            }
            if queue.isStrict, acknowledged > 0, letters > 0 {
                problems.append("\(name) was acknowledged, and is among the dead letters")
            }
        }
        if gone > dropped {
            problems.append("\(gone) letters of \(queue) are gone, and at most \(dropped) made room for others")
        }
        totals.gone += gone
        return problems
    }

    private static func describe(_ job: Item, _ queue: Queue, _ ledger: Ledger) -> String {
        "job \(job.number) of producer \(job.member) in \(queue), which was begun \(ledger[job, .takes]) times, up to attempt "
            + "\(ledger[job, .attempt]), and \(ledger[job, .rejected]) times rejected,"
    }
}

/// What the notes of a round say of its calls.
enum CallChecks {
    static func run(_ ledger: Ledger, _ totals: inout Totals) -> [String] {
        var problems: [String] = []
        for call in ledger.calls {
            let outcome = Outcome(rawValue: ledger[call, .outcome]) ?? .none
            if outcome == .none {
                if ledger.state(call.member) != .killed {
                    problems.append("call \(call.number) of client \(call.member) has not ended")
                }
                continue
            }
            totals.calls[outcome, default: 0] += 1
        }
        return problems
    }
}
