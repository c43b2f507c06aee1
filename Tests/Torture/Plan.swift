import TestSupport

/// What a round is about.
struct RoundShape {
    enum Pattern: String, CaseIterable { case topic, queue, service, latest, event }
    enum Durability { case none, whenAsked, every }

    var pattern: Pattern
    var isShared: Bool
    var overwrites: Bool
    var durability: Durability
    var isKept: Bool
}

/// How a participant waits.
enum Way: CaseIterable { case poll, spin, block, task, set, setTask, bell }

/// How a victim ends.
enum Death: Equatable {
    /// It is killed where `IPC_KILL_POINT` says.
    case point(String, count: Int)
    /// It is killed so many microseconds after its start.
    case random(after: Int)
    /// It is stopped, and killed so many microseconds later.
    case stopped(after: Int, during: Int)
    /// After so many items it forks a child that lives on, and is killed.
    case fork(items: Int)
    /// The same, but the child lets go of all that it has copies of, and the parent goes on for a while.
    case forkLettingGo(items: Int)
    /// After so many items it becomes another program.
    case exec(items: Int)
    /// It leaves in order after its session.
    case leave
}

/// One participant of a round.
struct Member {
    var index = 0
    var isReader: Bool
    var isSurvivor: Bool
    var way: Way
    /// How many items it takes or gives before it leaves and joins again; 0 if it stays.
    var session = 0
    /// How many jobs or calls it has at a time, each finished on a thread or in a task of its own.
    var batch = 1
    /// The longest pause after an item, in microseconds.
    var pause: Int
    var death = Death.leave
}

/// Victims that start together. The next wave comes when the survivors have gone on after the last death.
struct Wave {
    var members: [Int] = []
    /// The whole process group is killed at once.
    var isGroup = false
    /// The second recovers what the first has left, and is killed at it; the survivors are stopped meanwhile.
    var isSecondDeath = false
    /// Before there are survivors.
    var isFirst = false
}

/// All that is decided of a round: it follows from the seed and the round's number.
struct Plan {
    let without: [String]
    let seed: UInt64
    let round: Int
    private(set) var shape: RoundShape
    private(set) var members: [Member] = []
    private(set) var waves: [Wave] = []
    /// The survivor that writes the last items, once all other writers are gone.
    let closer = 0
    /// How often somebody is stopped, in milliseconds.
    let stopInterval: Int

    static let mostMembers = 64
    static let log = 65_536

    var name: String { "torture/\(round)" }

    /// - Parameter without: What does not happen, to chase one fault: `fork`, `exec`, `second`, `stop`, or a pattern.
    init(_ seed: UInt64, _ round: Int, without: [String] = []) {
        self.without = without
        self.seed = seed
        self.round = round
        var random = Seeded(seed, UInt64(round))
        shape = Self.shape(without, &random)
        stopInterval = !without.contains("stop") && random.chance(50) ? random.number(40...200) : .max
        addSurvivors(&random)
        addVictims(&random)
    }

    private static func shape(_ without: [String], _ random: inout Seeded) -> RoundShape {
        let patterns: [RoundShape.Pattern] = [
            .topic, .topic, .topic, .queue, .queue, .service, .service, .latest, .latest, .event,
        ]
        let wanted = patterns.filter { !without.contains($0.rawValue) }
        let pattern = random.pick(wanted.isEmpty ? patterns : wanted)
        let isDurable = (pattern == .topic || pattern == .queue) && random.chance(25)
        return RoundShape(
            pattern: pattern,
            isShared: pattern == .queue || pattern == .service || pattern != .event && random.chance(65),
            overwrites: pattern == .latest || pattern == .topic && !isDurable && random.chance(25),
            durability: isDurable ? random.pick([.whenAsked, .every]) : .none,
            isKept: isDurable || random.chance(50))
    }

    /// A survivor that holds publishers back now and then: only one, as their times would add up.
    var lazyReader: Int? { members.first { $0.isReader && $0.isSurvivor && $0.session > 0 }?.index }

    /// Whether a member was there before the survivors: it gives a few small items, which are still there when those come.
    func isFirst(_ index: Int) -> Bool { waves.contains { $0.isFirst && $0.members.contains(index) } }

    /// Whether a writer races with others for room, and may lose to them each time: no turns are kept. One that polls may lose its
    /// place as well.
    func races(_ member: Member) -> Bool {
        if member.isReader { return false }
        let isRoomShared = shape.isShared && !shape.overwrites && (shape.pattern == .topic || shape.pattern == .queue)
        return isRoomShared || member.way == .poll || member.way == .spin
    }

    private mutating func add(_ member: Member) -> Int {
        var member = member
        member.index = members.count
        members.append(member)
        return member.index
    }

    private mutating func addSurvivors(_ random: inout Seeded) {
        // In half of the rounds all wait in the same way: then nobody does for the others what they do not.
        let common = random.chance(50) ? random.pick(Way.allCases) : nil
        let areAllWanderers = random.chance(15)
        func member(_ isReader: Bool, _ random: inout Seeded) -> Member {
            Member(
                isReader: isReader, isSurvivor: true, way: common ?? random.pick(Way.allCases),
                batch: random.chance(40) ? random.number(2...4) : 1, pause: random.pick([200, 400, 1500]))
        }
        for writer in 0..<random.number(1...(shape.isShared ? 3 : 2)) {
            var writer = (member(false, &random), writer)
            // An exclusive writer gives way to others now and then.
            if !shape.isShared || writer.1 > 0 && random.chance(50) { writer.0.session = random.number(20...200) }
            _ = add(writer.0)
        }
        for reader in 0..<random.number(1...3) {
            var reader = (member(true, &random), reader)
            if areAllWanderers || reader.1 > 0 && random.chance(40) { reader.0.session = random.number(5...200) }
            _ = add(reader.0)
        }
        // A channel goes with its last participant, who may be the only one for a moment; one that comes back would not find it.
        if members.contains(where: { $0.session > 0 }) { shape.isKept = true }
    }

    private mutating func addVictims(_ random: inout Seeded) {
        let points = Points.all.filter { Points.fits($0, shape) }
        if shape.isKept, shape.pattern != .service, random.chance(shape.durability == .none ? 20 : 100) {
            addFirst(points, &random)
        }
        let count = random.number(18...30)
        var victims = 0
        while victims < count, members.count < Self.mostMembers - 8 {
            var wave = Wave()
            switch random.number(0...9) {
            case 0:
                wave.isGroup = true
                let after = random.number(8000...40_000)
                for _ in 0..<random.number(2...5) {
                    wave.members.append(add(victim(.random(after: after), nil, &random)))
                }
            case 1
            where !without.contains("second") && points.contains { Points.isRecovery($0) }
                && points.contains { !Points.isRecovery($0) }:
                wave.isSecondDeath = true
                let second = random.pick(points.filter(Points.isRecovery))
                let first = Points.before(second, points, &random)
                for (point, count) in [(first, random.number(1...3)), (second, 1)] {
                    wave.members.append(add(victim(.point(point, count: count), point, &random)))
                }
            default:
                for _ in 0..<random.number(1...5) {
                    let (death, point) = death(points, &random)
                    wave.members.append(add(victim(death, point, &random)))
                }
            }
            victims += wave.members.count
            waves.append(wave)
        }
    }

    /// Victims that have the channel for themselves, one after the other.
    private mutating func addFirst(_ points: [String], _ random: inout Seeded) {
        let ofTheFirst = points.filter(Points.isOfTheFirst)
        for _ in 0..<random.number(1...3) {
            var (death, point) = death(points, &random)
            if !ofTheFirst.isEmpty, random.chance(60) {
                point = random.pick(ofTheFirst)
                death = .point(point!, count: 1)
            }
            var member = victim(death, point, &random)
            member.isReader = false
            member.session = random.number(3...10)
            waves.append(Wave(members: [add(member)], isFirst: true))
            // Leaves a claim behind, which a durable channel's next first participant cuts.
            if shape.isShared, points.contains("claim.done"), random.chance(60) {
                member.death = .point("claim.done", count: random.number(1...member.session))
                waves.insert(Wave(members: [add(member)], isFirst: true), at: waves.count - 1)
            }
        }
    }

    private func death(_ points: [String], _ random: inout Seeded) -> (Death, String?) {
        switch random.number(0...99) {
        case ..<55 where !points.isEmpty:
            let point = random.pick(points.filter { !Points.isOfTheFirst($0) })
            return (.point(point, count: Points.count(point, &random)), point)
        case ..<76: return (.random(after: random.number(2000...50_000)), nil)
        case ..<82 where !without.contains("stop"):
            return (.stopped(after: random.number(8000...30_000), during: random.number(1000...25_000)), nil)
        case 82..<87 where !without.contains("fork"): return (.fork(items: random.number(1...40)), nil)
        case 87..<90 where !without.contains("fork"): return (.forkLettingGo(items: random.number(1...40)), nil)
        case 90..<95 where !without.contains("exec"): return (.exec(items: random.number(1...40)), nil)
        case 95...: return (.leave, nil)
        default: return (.random(after: random.number(2000...50_000)), nil)
        }
    }

    private func victim(_ death: Death, _ point: String?, _ random: inout Seeded) -> Member {
        let isReader = random.chance(45)
        let isLeaving = point.map { $0.hasPrefix("leave") || $0.hasPrefix("remove") } ?? (death == .leave)
        return Member(
            isReader: point.flatMap { Points.isReaders($0, shape) } ?? isReader, isSurvivor: false,
            way: random.pick(Way.allCases),
            session: isLeaving ? random.number(1...20) : random.chance(30) ? random.number(5...60) : 0,
            batch: random.chance(30) ? random.number(2...4) : 1, pause: random.pick([100, 300, 1000]), death: death)
    }
}
