/// What a run has done, and found.
struct Totals {
    var rounds = 0
    var killsByPoint: [String: Int] = [:]
    var randomKills = 0
    var groupKills = 0
    var secondDeaths = 0
    var joins = 0
    var leaves = 0
    var stops = 0
    var forks = 0
    var execs = 0
    /// Items that were looked at, by pattern.
    var checked: [String: Int] = [:]
    var waits = [UInt64](repeating: 0, count: Ledger.buckets)
    /// The longest wait, in nanoseconds, and how late the control thread was meanwhile.
    var longest: (wait: UInt64, noise: UInt64) = (0, 0)
    var violations = 0
    /// The first few rounds in which something was wrong.
    var failedRounds: [Int] = []

    var killsAtPoints: Int { killsByPoint.values.reduce(0, +) }
    var kills: Int { killsAtPoints + randomKills }
    /// Points at which nobody was killed yet.
    var pointsLeft: [String] { Points.all.filter { killsByPoint[$0] == nil } }

    private static func number(_ value: Double) -> String { "\((value * 10).rounded() / 10)" }

    func line(_ seconds: Double) -> String {
        "\(Int(seconds)) s: \(rounds) rounds, \(kills) kills, \(checked.values.reduce(0, +)) items checked, longest wait "
            + "\(Self.number(Double(longest.wait) / 1_000_000)) ms, \(violations) violations"
    }

    func table(_ options: Options, _ seconds: Double) -> String {
        var rows = [
            ("seed", "\(options.seed)"), ("time", "\(Int(seconds)) s"), ("rounds", "\(rounds)"),
            (
                "kills",
                "\(kills): \(killsAtPoints) at \(killsByPoint.count) of \(Points.all.count) points, \(randomKills) at random"
            ),
            ("of them by group", "\(groupKills)"), ("second deaths", "\(secondDeaths)"),
            ("joins, leaves", "\(joins), \(leaves)"), ("stops, forks, execs", "\(stops), \(forks), \(execs)"),
        ]
        for (pattern, count) in checked.sorted(by: { $0.key < $1.key }) {
            rows.append(("\(pattern) items checked", "\(count)"))
        }
        rows.append(
            (
                "waits around a death",
                "\(waits.reduce(0, +)): half below \(Self.number(Buckets.percentile(500, of: waits))) ms, 99 % below "
                    + "\(Self.number(Buckets.percentile(990, of: waits))) ms, 99.9 % below \(Self.number(Buckets.percentile(999, of: waits))) ms"
            ))
        rows.append(
            (
                "longest wait",
                "\(Self.number(Double(longest.wait) / 1_000_000)) ms, the control thread being up to "
                    + "\(Self.number(Double(longest.noise) / 1_000_000)) ms late"
            ))
        if !pointsLeft.isEmpty { rows.append(("points never met", pointsLeft.joined(separator: ", "))) }
        rows.append(("violations", "\(violations)"))
        for round in failedRounds { rows.append(("to repeat", options.command(round))) }
        let width = rows.map(\.0.count).max() ?? 0
        return rows.map { "\($0)\(String(repeating: " ", count: width - $0.count))  \($1)" }.joined(separator: "\n")
    }
}
