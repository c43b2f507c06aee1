/// What a run has done, and found.
struct Totals {
    var rounds = 0
    var kills = 0
    var stops = 0
    var shutdowns = 0
    /// In nanoseconds.
    var longestShutdown: UInt64 = 0
    /// Jobs that were acknowledged by one that was killed before it noted that.
    var settled = 0
    private var jobs = 0
    private var notSent = 0
    private var acknowledged: UInt64 = 0
    private var rejected: UInt64 = 0
    private var takes: UInt64 = 0
    private var letters: UInt64 = 0
    var gone: UInt64 = 0
    var calls: [Outcome: Int] = [:]
    var violations = 0

    mutating func count(_ job: Item, _ ledger: Ledger) {
        switch Ledger.Sending(rawValue: ledger[job, .sending]) {
        case .sent?: jobs += 1
        case .failed?: notSent += 1
        default: break
        }
        acknowledged += ledger[job, .acknowledged]
        rejected += ledger[job, .rejected]
        takes += ledger[job, .takes]
        letters += ledger[job, .letters]
    }

    func line(_ seconds: Double) -> String {
        "\(Int(seconds)) s: \(rounds) rounds, \(kills) kills, \(jobs) jobs, \(calls.values.reduce(0, +)) calls, \(violations) violations"
    }

    func table(_ options: Options, _ seconds: Double, _ usage: Usage) -> String {
        var rows = [
            ("seed", "\(options.seed)"), ("time", "\(Int(seconds)) s"), ("rounds", "\(rounds)"),
            (
                "kills, stops, shutdowns",
                "\(kills), \(stops), \(shutdowns) in at most \(longestShutdown / 1_000_000) ms"
            ),
            ("jobs", "\(jobs) sent, \(notSent) not, for want of room or as they were cancelled"),
            (
                "of them",
                "\(takes) times begun, \(acknowledged) acknowledged (\(settled) by one killed before it noted that), \(rejected) times rejected"
            ),
            ("dead letters", "\(letters) collected, \(gone) made room for newer ones"),
            (
                "calls",
                calls.sorted { $0.key.rawValue < $1.key.rawValue }.map { "\($0.value) \($0.key)" }.joined(
                    separator: ", ")
            ),
        ]
        rows += usage.lines
        rows.append(("violations", "\(violations)"))
        let width = rows.map(\.0.count).max() ?? 0
        return rows.map { "\($0)\(String(repeating: " ", count: width - $0.count))  \($1)" }.joined(separator: "\n")
    }
}
