import Glibc
import IPC
import IPCChannels

/// What is looked at when a round is over.
enum Checks {
    /// A wait takes several threads' turns: each may be as late as the control thread was.
    private static let turns: UInt64 = 4
    private static let around: UInt64 = 20_000_000

    /// - Returns: What is wrong.
    static func run(_ round: Round, _ orchestrator: Orchestrator) -> [String] {
        var problems = said(orchestrator)
        if !orchestrator.isInterrupted, round.problems.isEmpty {
            problems += waits(round, orchestrator)
            if round.plan.shape.pattern == .queue { problems += QueueRoles.problems(round.plan, round.ledger) }
        }
        count(round, orchestrator)
        do throws(IPCError) {
            problems += try leftovers(round, orchestrator)
        } catch {
            problems.append("\(error)")
        }
        return problems
    }

    /// What participants have said: where they were struck, and what they found wrong.
    private static func said(_ orchestrator: Orchestrator) -> [String] {
        var problems: [String] = []
        for line in orchestrator.said() {
            if line.hasPrefix("struck ") {
                orchestrator.totals.killsByPoint[String(line.dropFirst(7)), default: 0] += 1
                orchestrator.totals.randomKills -= 1
            } else {
                problems.append(line.hasPrefix("violation ") ? String(line.dropFirst(10)) : "said: \(line)")
            }
        }
        return problems
    }

    private static func waits(_ round: Round, _ orchestrator: Orchestrator) -> [String] {
        var problems: [String] = []
        let promise = UInt64(orchestrator.options.longestWait) * 1_000_000
        for member in round.plan.members where member.isSurvivor {
            for (start, end) in round.ledger.longWaits(member.index) {
                let wait = longestPiece(round, start, end)
                let noise = orchestrator.control.worst(from: start - around, to: end + around)
                if wait > orchestrator.totals.longest.wait { orchestrator.totals.longest = (wait, noise) }
                guard wait > promise + turns * noise else { continue }
                let who = "\(member.isReader ? "reader" : "writer"), \(member.way)"
                problems.append(
                    "member \(member.index) (\(who)) waited \(wait / 1_000_000) ms, the control thread was at most "
                        + "\(noise / 1_000_000) ms late; meanwhile: \(meanwhile(round, start, end))")
            }
        }
        return problems
    }

    /// The longest time in a wait in which nobody else died or stood still, in nanoseconds: each death may take as long as is promised.
    private static func longestPiece(_ round: Round, _ start: UInt64, _ end: UInt64) -> UInt64 {
        var longest: UInt64 = 0
        var from = start
        for to in round.deaths.filter({ start < $0 && $0 < end }) + [end] {
            longest = max(longest, to - from - round.stops.overlap(from, to))
            from = to
        }
        return longest
    }

    /// What happened around a wait, in milliseconds after its beginning.
    private static func meanwhile(_ round: Round, _ start: UInt64, _ end: UInt64) -> String {
        text(round.events.filter { $0.at >= start - around && $0.at <= end + around }.suffix(20), since: start)
    }

    static func text(_ events: ArraySlice<(at: UInt64, what: String)>, since start: UInt64) -> String {
        events.map { "\((Int($0.at) - Int(start)) / 1_000_000) \($0.what)" }.joined(separator: "; ")
    }

    private static func count(_ round: Round, _ orchestrator: Orchestrator) {
        let ledger = round.ledger
        for member in round.plan.members {
            orchestrator.totals.joins += Int(ledger[member.index, .joins])
            orchestrator.totals.leaves += Int(ledger[member.index, .leaves])
            orchestrator.totals.forks += Int(ledger[member.index, .forks])
            orchestrator.totals.execs += Int(ledger[member.index, .execs])
            orchestrator.totals.checked[round.plan.shape.pattern.rawValue, default: 0] += Int(
                ledger[member.index, .checked])
        }
        for bucket in 0..<Ledger.buckets { orchestrator.totals.waits[bucket] += ledger.waits(bucket) }
    }

    /// Nothing is left of a channel that was removed, or that all have left.
    private static func leftovers(_ round: Round, _ orchestrator: Orchestrator) throws(IPCError) -> [String] {
        var problems: [String] = []
        let names = try ChannelRoot.current.names().map(\.description)
        let isExpected = round.plan.shape.isKept || orchestrator.isInterrupted || !round.problems.isEmpty
        if names != (isExpected ? [round.plan.name] : []), !(isExpected && names.isEmpty) {
            problems.append("the channels \(names) are left")
        }
        for name in names { try remove(name, round.plan.shape.pattern) }
        try ChannelRoot.current.removeIfUnused()
        return problems
    }

    private static func remove(_ name: String, _ pattern: RoundShape.Pattern) throws(IPCError) {
        switch pattern {
        case .topic: try Topic<RawBytes>.remove(name)
        case .queue: try WorkQueue<RawBytes>.remove(name)
        case .service: try ServiceRoles.Asking.remove(name)
        case .latest: try Latest<RawBytes>.remove(name)
        case .event: try Event.remove(name)
        }
    }
}
