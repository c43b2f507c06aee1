/// What a participant does.
enum Role: String, CaseIterable { case producer, worker, letters, client, server }

/// What one participant is to do, as its command line has it.
struct Order {
    var ledger: String
    var seed: UInt64
    var index: Int
    var role: Role
    /// The round that it belongs to; nil for one that stays for all of them.
    var round: Int?
    /// Whether it uses the calls that block, on a thread, and not those of tasks.
    var isBlocking: Bool

    var arguments: [String] {
        ["participant", ledger, "\(seed)", "\(index)", role.rawValue, "\(round ?? -1)", "\(isBlocking)"]
    }

    init(_ ledger: String, _ seed: UInt64, _ index: Int, _ role: Role, round: Int?, isBlocking: Bool) {
        (self.ledger, self.seed, self.index, self.role) = (ledger, seed, index, role)
        (self.round, self.isBlocking) = (round, isBlocking)
    }

    init?(_ arguments: [String]) {
        guard arguments.count == 6, let seed = UInt64(arguments[1]), let index = Int(arguments[2]),
            let role = Role(rawValue: arguments[3]), let round = Int(arguments[4]), let isBlocking = Bool(arguments[5]),
            (0..<Ledger.members).contains(index)
        else { return nil }
        self.init(arguments[0], seed, index, role, round: round < 0 ? nil : round, isBlocking: isBlocking)
    }
}
