import IPC
import IPCChannels

/// How a call ended for its caller.
enum Outcome: UInt64 { case none, replied, refused, timedOut, lost, cancelled }

/// What callers and servers note of calls.
struct CallNotes {
    let me: Participant
    private var ledger: Ledger { me.ledger }

    // Callers.

    func calling(_ ask: Ask, until deadline: Deadline, retries: Int) {
        let call = ask.item
        ledger[call, .deadline] = deadline.nanoseconds
        ledger[call, .retries] = UInt64(retries)
        ledger[call, .reapedBefore] = ledger[.killsReaped]
    }

    /// It is about to be given up.
    func cancelling(_ ask: Ask) { ledger[ask.item, .cancelled] = MonotonicClock.now }

    func ended(_ ask: Ask, _ result: Result<Answer, Refusal>) {
        let isItsOwn =
            switch result {
            case .success(let answer): answer == ask.answer && ask.manner != .refused
            case .failure(let refusal): refusal == ask.refusal && ask.manner == .refused
            }
        if !isItsOwn { me.violation("\(name(ask)) (\(ask.manner)) got \(result)") }
        if ledger[ask.item, .served] == 0 { me.violation("\(name(ask)) has an outcome, and no server had it") }
        end(ask, isSuccess(result) ? .replied : .refused)
    }

    private func isSuccess(_ result: Result<Answer, Refusal>) -> Bool {
        if case .success = result { return true }
        return false
    }

    func ended(_ ask: Ask, _ error: IPCError) {
        switch error.code {
        case .timedOut:
            if MonotonicClock.now < ledger[ask.item, .deadline] {
                me.violation("\(name(ask)) timed out before its deadline: \(error)")
            }
            end(ask, .timedOut)
        case .cancelled:
            if ledger[ask.item, .cancelled] == 0, !Task.isCancelled {
                me.violation("\(name(ask)) was cancelled by nobody")
            }
            end(ask, .cancelled)
        case .brokenPipe:
            if ledger.kills(since: ledger[ask.item, .reapedBefore]) == 0 {
                me.violation("\(name(ask)) was lost, and no server has died: \(error)")
            }
            end(ask, .lost)
        default: me.violation("\(name(ask)) ended with \(error)")
        }
    }

    /// Its caller has let go of it.
    func dropped(_ ask: Ask) { end(ask, .cancelled) }

    private func end(_ ask: Ask, _ outcome: Outcome) {
        ledger[ask.item, .outcome] = outcome.rawValue
        let cancelled = ledger[ask.item, .cancelled]
        let due = ledger[ask.item, .deadline]
        // One that is collected late is asked for then.
        me.late(outcome == .cancelled && cancelled > 0 ? min(cancelled, due) : due, "\(name(ask)) ended (\(outcome))")
    }

    // Servers.

    func serving(_ ask: Ask) {
        guard ask.isWhole else { return me.violation("a torn call \(ask)") }
        // Whoever released it has noted so before.
        let times = ledger.add(ask.item, .served) + 1
        let most = 1 + ledger[ask.item, .retries] + ledger[ask.item, .released]
        if times > most { me.violation("\(name(ask)) is served for the \(times)th time, and \(most) are allowed") }
        let (deadline, outcome) = (ledger[ask.item, .deadline], ledger[ask.item, .outcome])
        // Its caller may end it at this moment; not long ago.
        if outcome == Outcome.replied.rawValue || outcome == Outcome.refused.rawValue {
            me.violation("\(name(ask)) is served after it was answered")
        }
        me.late(deadline, "\(name(ask)) was served")
    }

    func releasing(_ ask: Ask) { ledger.add(ask.item, .released) }

    /// A handler that waited to be cancelled goes on.
    ///
    /// - Parameter isCancelled: Whether its task was.
    func woke(_ ask: Ask, isCancelled: Bool) {
        let (deadline, cancelled) = (ledger[ask.item, .deadline], ledger[ask.item, .cancelled])
        me.late(cancelled > 0 ? min(cancelled, deadline) : deadline, "the handler of \(name(ask)) was cancelled")
        if !isCancelled { me.violation("the handler of \(name(ask)) was never cancelled") }
    }

    private func name(_ ask: Ask) -> String { "call \(ask.number) of client \(ask.member)" }
}
