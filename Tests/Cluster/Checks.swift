import Glibc
import IPC

/// What is wrong, the first of it in words.
struct Violations {
    private(set) var count = 0
    private(set) var lines: [String] = []

    mutating func add(_ text: String) {
        count += 1
        if lines.count < 40 {
            lines.append(text)
            say("violation: \(text)")
        }
    }
}

/// What one participant has sent.
struct Source {
    let role: Member.Role
    let host: Int
    let file: String
    /// What it began, and what returned; they differ by one at most, if it was killed.
    var begun = 0
    var ended = 0
}

/// What one subscriber has received.
struct ReceivedTopic {
    let name: String
    private var reader: RecordReader
    private var next: [Int: Int] = [:]
    /// Of the messages of each host: how many, and a hash of which, in their order.
    private(set) var counts = [Int](repeating: 0, count: Plan.hosts)
    private var hashes = [UInt64](repeating: 0xcbf2_9ce4_8422_2325, count: Plan.hosts)
    private(set) var missed: UInt64 = 0

    init(_ name: String, _ file: String) {
        self.name = name
        reader = RecordReader(file)
    }

    var total: Int { counts.reduce(0, +) }

    mutating func read(_ sources: [Source], _ violations: inout Violations) {
        for record in reader.readNew() {
            switch Record.Kind(rawValue: record.kind) {
            case .message:
                let item = Item(record.id)
                guard sources.indices.contains(item.source), sources[item.source].role == .publisher else {
                    violations.add("\(name) received what nobody published: \(item)")
                    continue
                }
                let expected = next[item.source, default: 0]
                if item.number != expected {
                    let what = item.number < expected ? "again or too late" : "though \(expected) had not come"
                    violations.add("\(name) received message \(item.number) of publisher \(item.source) \(what)")
                }
                next[item.source] = max(expected, item.number + 1)
                let host = sources[item.source].host
                counts[host] += 1
                hashes[host] = (hashes[host] ^ record.id) &* 0x0000_0100_0000_01b3
            case .missed:
                missed += record.id
                violations.add("\(name) was told that \(record.id) messages were overwritten")
            default: continue
            }
        }
    }

    /// Whether all that was published is here.
    func isComplete(_ sources: [Source]) -> Bool {
        sources.indices.allSatisfy { sources[$0].role != .publisher || next[$0, default: 0] >= sources[$0].ended }
    }

    /// Compares it with another at the end.
    func check(_ sources: [Source], like other: ReceivedTopic, _ violations: inout Violations) {
        for index in sources.indices where sources[index].role == .publisher {
            let (count, source) = (next[index, default: 0], sources[index])
            if count < source.ended {
                violations.add(
                    "\(name) has \(count) of the \(source.ended) messages of publisher \(index) of host \(source.host + 1)"
                )
            }
            if count > source.begun {
                violations.add("\(name) has \(count) messages of publisher \(index), which began \(source.begun)")
            }
        }
        for host in 0..<Plan.hosts where (counts[host], hashes[host]) != (other.counts[host], other.hashes[host]) {
            violations.add(
                "\(name) has \(counts[host]) messages of host \(host + 1), \(other.name) \(other.counts[host]), or in another order"
            )
        }
    }
}

/// What all workers say of jobs.
struct WorkedJobs {
    private struct Outcome {
        var done: UInt64 = 0
        var doneCount = 0
        var lastTaken: UInt64 = 0
    }
    private var readers: [(reader: RecordReader, host: Int)] = []
    private var outcomes: [UInt64: Outcome] = [:]
    /// What a worker has taken and not ended, by its file.
    private var held: [Int: UInt64] = [:]
    private(set) var taken = 0
    private(set) var refused = 0
    private(set) var crossed = 0

    mutating func add(_ file: String, host: Int) { readers.append((RecordReader(file), host)) }

    var doneCount: Int { outcomes.values.count { $0.doneCount > 0 } }

    mutating func read(_ sources: [Source], _ violations: inout Violations) {
        for index in readers.indices {
            for record in readers[index].reader.readNew() {
                let (item, id) = (Item(record.id), record.id)
                guard sources.indices.contains(item.source), sources[item.source].role == .producer else {
                    violations.add("a worker got what nobody sent: \(item)")
                    continue
                }
                switch Record.Kind(rawValue: record.kind) {
                case .taken:
                    taken += 1
                    held[index] = id
                    outcomes[id, default: Outcome()].lastTaken = max(outcomes[id]?.lastTaken ?? 0, record.time)
                case .done:
                    held[index] = nil
                    outcomes[id, default: Outcome()].doneCount += 1
                    outcomes[id]!.done = record.time
                    if outcomes[id]!.doneCount > 1 {
                        violations.add(
                            "job \(item.number) of producer \(item.source) was acknowledged again, on host \(readers[index].host + 1)"
                        )
                    }
                    if sources[item.source].host != readers[index].host { crossed += 1 }
                case .refused:
                    held[index] = nil
                    refused += 1
                default: continue
                }
            }
        }
    }

    /// Jobs that were sent and that nobody acknowledged as far as is known, but for those that a killed worker may have.
    func open(_ sources: [Source]) -> [Item] {
        let unknown = Set(held.values)
        return sources.indices.flatMap { index -> [Item] in
            guard sources[index].role == .producer else { return [] }
            return (0..<sources[index].ended).map { Item(source: index, number: $0) }.filter {
                (outcomes[$0.id]?.doneCount ?? 0) == 0 && !unknown.contains($0.id)
            }
        }
    }

    /// Jobs of which only a killed worker knows whether it had acknowledged them.
    var unknown: Int { Set(held.values).count { (outcomes[$0]?.doneCount ?? 0) == 0 } }

    func check(_ sources: [Source], _ violations: inout Violations) {
        for item in open(sources) {
            violations.add(
                "job \(item.number) of producer \(item.source) of host \(sources[item.source].host + 1) was not acknowledged\(outcomes[item.id] == nil ? "; nobody got it" : "")"
            )
        }
        for (id, outcome) in outcomes where outcome.doneCount > 0 && outcome.lastTaken > outcome.done {
            violations.add(
                "job \(Item(id).number) of producer \(Item(id).source) was given out after it was acknowledged")
        }
    }
}

/// What clients and servers say of calls.
struct MadeCalls {
    private var clients: [RecordReader] = []
    private var servers: [(reader: RecordReader, host: Int)] = []
    private var begun: [UInt64: UInt64] = [:]
    private var executed: [UInt64: Int] = [:]
    private var answered: Set<UInt64> = []
    private(set) var failures: [UInt64: Int] = [:]
    private(set) var crossed = 0
    private(set) var longest: UInt64 = 0
    /// How much later than its deadline a call may end: others use the processors too.
    private static let slack: UInt64 = 5_000_000_000

    mutating func addClient(_ file: String) { clients.append(RecordReader(file + ".calls")) }
    mutating func addServer(_ file: String, host: Int) { servers.append((RecordReader(file), host)) }

    var failed: Int { failures.values.reduce(0, +) }
    var answeredCount: Int { answered.count }
    var ended: Int { answered.count + failed }

    mutating func read(_ sources: [Source], _ violations: inout Violations) {
        for index in clients.indices {
            for record in clients[index].readNew() {
                if Record.Kind(rawValue: record.kind) == .begun {
                    begun[record.id] = record.time
                    continue
                }
                let item = Item(record.id)
                let time = record.time - (begun.removeValue(forKey: record.id) ?? record.time)
                longest = max(longest, time)
                if time > UInt64(Participant.patience / .nanoseconds(1)) + Self.slack {
                    violations.add("call \(item.number) of client \(item.source) ended after \(time / 1_000_000) ms")
                }
                switch Record.Kind(rawValue: record.kind) {
                case .answered: answered.insert(record.id)
                case .failed:
                    failures[record.more, default: 0] += 1
                    if record.more == 0 {
                        violations.add(
                            "call \(item.number) of client \(item.source) failed in another way than calls may")
                    }
                default: violations.add("call \(item.number) of client \(item.source) got another's answer")
                }
            }
        }
        // After the clients: so whatever was answered is among what was executed.
        for index in servers.indices {
            for record in servers[index].reader.readNew() {
                let item = Item(record.id)
                executed[record.id, default: 0] += 1
                if executed[record.id]! > 1 {
                    violations.add("call \(item.number) of client \(item.source) was executed again")
                }
                guard sources.indices.contains(item.source) else { continue }
                if sources[item.source].host != servers[index].host { crossed += 1 }
            }
        }
    }

    func check(_ violations: inout Violations) {
        for id in answered where executed[id] == nil {
            violations.add("call \(Item(id).number) of client \(Item(id).source) was answered and not executed")
        }
    }

    /// Calls that began and did not end: one for each client that was killed.
    var unknown: Int { begun.count }
}
