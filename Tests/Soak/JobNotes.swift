import IPC
import IPCChannels

/// What those who send and work note of jobs, and see in each other's notes.
///
/// A note that something is about to happen is written before it, and one that it has happened after it. So of a worker that was
/// killed between "about to acknowledge" and "acknowledged" nobody knows; the conductor looks into the queue then (`Settling`).
struct JobNotes {
    let me: Participant
    private var ledger: Ledger { me.ledger }

    // Who sends.

    func sending(_ ticket: Ticket, _ options: JobOptions?) {
        let job = ticket.item
        ledger[job, .queue] = UInt64(ticket.queue.rawValue)
        ledger[job, .reaped] = ledger[.killsReaped]
        let now = wallClock()
        if let delay = options?.delay, delay > .zero { ledger[job, .earliest] = now + nanoseconds(delay) }
        if let life = options?.timeToLive { ledger[job, .expires] = now + nanoseconds(life) }
        ledger[job, .sending] = Ledger.Sending.begun.rawValue
    }

    func sent(_ ticket: Ticket, _ options: JobOptions?) {
        // It was sent by now: so its time began by now, too.
        if let life = options?.timeToLive { ledger[ticket.item, .stale] = wallClock() + nanoseconds(life) }
        ledger[ticket.item, .sending] = Ledger.Sending.sent.rawValue
    }

    /// It was said not to be.
    func failed(_ ticket: Ticket) { ledger[ticket.item, .sending] = Ledger.Sending.failed.rawValue }

    private func nanoseconds(_ duration: Duration) -> UInt64 { UInt64(duration / .nanoseconds(1)) }

    // Who works.

    /// - Parameter attempt: nil where it is not told.
    func taken(_ ticket: Ticket, _ attempt: Int?) {
        let (job, queue) = (ticket.item, ticket.queue)
        let before = ledger.exchange(job, .holder, UInt64(me.index + 1))
        ledger.add(job, .takes)
        if queue.isStrict {
            if before > 0, ledger.state(Int(before) - 1) != .killed {
                me.violation("\(name(job)) came while member \(before - 1) has it")
            }
            if ledger[job, .acknowledged] > 0 { me.violation("\(name(job)) came after it was acknowledged") }
        }
        let now = wallClock()
        if now < ledger[job, .earliest] { me.violation("\(name(job)) came before its time") }
        let stale = ledger[job, .stale]
        // One that is sent back has no time to live any more.
        if queue.isStrict, stale > 0, now > stale {
            let since = MonotonicClock.now - (now - stale)
            me.late(since, "\(name(job)), whose time to live was over, came", grace: Limits.stale)
        }
        if let attempt { check(attempt, ticket) }
        // Where the attempt is not told, it is as unsure as it was.
        let least = attempt.map(UInt64.init) ?? max(ledger[job, .expected], 1)
        if attempt != nil {
            ledger[job, .slack] = 0
            ledger[job, .reaped] = ledger[.killsReaped]
        }
        ledger[job, .attempt] = max(ledger[job, .attempt], least &+ ledger[job, .slack])
        ledger[job, .expected] = least &+ 1
    }

    private func check(_ attempt: Int, _ ticket: Ticket) {
        let (job, queue) = (ticket.item, ticket.queue)
        if attempt > queue.attempts {
            me.violation("\(name(job)) came for the \(attempt)th time, and \(queue.attempts) are allowed")
        }
        let expected = Int(ledger[job, .expected])
        guard queue.isStrict, expected > 0 else { return }
        // Those who took it and were killed before they noted that are counted.
        let most = expected + Int(ledger[job, .slack]) + Int(ledger.kills(since: ledger[job, .reaped]))
        if attempt < expected || attempt > most {
            me.violation("\(name(job)) came as attempt \(attempt), and \(expected) to \(most) are expected")
        }
    }

    func acknowledging(_ ticket: Ticket) { ledger.add(ticket.item, .acknowledging) }

    func acknowledged(_ ticket: Ticket) {
        ledger.add(ticket.item, .acknowledged)
        ledger[ticket.item, .holder] = 0
    }

    func rejecting(_ ticket: Ticket) {
        ledger.add(ticket.item, .rejected)
        ledger[ticket.item, .holder] = 0
    }

    func releasing(_ ticket: Ticket) {
        ledger[ticket.item, .expected] &-= 1
        ledger[ticket.item, .holder] = 0
    }

    /// Its loop rejects it, or releases it if that is cancelled by then.
    func givingBackSomehow(_ ticket: Ticket) {
        ledger[ticket.item, .slack] = 1
        ledger[ticket.item, .expected] &-= 1
        rejecting(ticket)
    }

    // Who has its letter.

    func letter(_ ticket: Ticket, _ letter: DeadLetter?) {
        let (job, queue) = (ticket.item, ticket.queue)
        guard let letter else { return me.violation("\(name(job)) is among the dead letters, and says not why") }
        if letter.attempts > queue.attempts {
            me.violation(
                "the letter of \(name(job)) tells of \(letter.attempts) attempts, and \(queue.attempts) are allowed")
        }
        let hadAll = letter.attempts >= queue.attempts
        let isPlausible =
            switch letter.reason {
            case .rejected: hadAll && ledger[job, .rejected] > 0
            case .workerDied: hadAll && ledger[.killsBegun] > 0
            case .expired: ledger[job, .expires] > 0 && letter.time * 1e9 + 1e6 >= Double(ledger[job, .expires])
            case .invalid: false
            }
        if !isPlausible {
            me.violation(
                "the letter of \(name(job)) says \(letter.reason) after \(letter.attempts) attempts; "
                    + "it was rejected \(ledger[job, .rejected]) times, and expires at \(ledger[job, .expires])")
        }
        if queue.isStrict, ledger[job, .acknowledged] > 0 {
            me.violation("\(name(job)) was acknowledged, and is among the dead letters")
        }
        ledger.add(job, .letters)
    }

    private func name(_ job: Item) -> String { "job \(job.number) of producer \(job.member)" }
}
