import Glibc
import TestSupport

#if DEBUG
    @testable import IPCChannels
#endif

/// Which of the engine's kill points a victim of a round can come to.
enum Points {
    /// All that there are; none in a release build, which has no kill points.
    static let all: [String] = {
        #if DEBUG
            KillPoint.allCases.map(\.rawValue)
        #else
            []
        #endif
    }()

    /// Whether the round's pattern comes to it at all. A point of an unknown kind is tried everywhere.
    static func fits(_ point: String, _ round: RoundShape) -> Bool {
        switch prefix(point) {
        case "work", "aside": round.pattern == .queue || round.pattern == .service
        case "call": round.pattern == .service
        case "durable", "sync": round.durability != .none
        case "claim": round.isShared && round.pattern != .event
        case "fill", "commit", "block": round.pattern != .event
        case "read": round.pattern == .topic || round.pattern == .latest
        case "recover" where point == "recover.work": round.pattern == .queue || round.pattern == .service
        case "recover" where point != "recover.slot" && point != "recover.freed":
            round.isShared && round.pattern != .event
        default: true
        }
    }

    /// Which side comes to it; nil for both.
    static func isReaders(_ point: String, _ round: RoundShape) -> Bool? {
        switch prefix(point) {
        case "claim", "fill", "commit", "block", "sync": false
        case "read": true
        case "work": true
        case "call": point == "call.withdrawn" ? nil : true
        default: nil
        }
    }

    /// Whether only the first participant of a durable channel comes to it.
    static func isOfTheFirst(_ point: String) -> Bool { prefix(point) == "durable" }

    /// Whether it is in the recovery of somebody else's death.
    static func isRecovery(_ point: String) -> Bool { prefix(point) == "recover" || point == "call.withdrawn" }

    /// Where somebody dies with something that a victim at `point`, in a recovery, comes upon.
    static func before(_ point: String, _ points: [String], _ random: inout Seeded) -> String {
        let wanted =
            switch point {
            case "recover.work": ["work.taken", "call.answered"]
            case "call.withdrawn": ["commit.sequence", "commit.wake"]
            case "recover.header", "recover.skip": ["claim.done", "fill.header"]
            default: ["claim.done", "fill.header", "commit.sequence", "commit.wake", "work.taken", "call.answered"]
            }
        let fitting = points.filter(wanted.contains)
        return random.pick(fitting.isEmpty ? points.filter { !isOfTheFirst($0) } : fitting)
    }

    /// At which time that it comes there a victim dies.
    static func count(_ point: String, _ random: inout Seeded) -> Int {
        switch prefix(point) {
        case "join", "leave", "remove", "recover", "durable": random.number(1...2)
        case "block", "sleep", "wake", "sync", "aside": random.number(1...6)
        case "read" where point == "read.cursor": random.number(1...6)
        default: random.number(1...60)
        }
    }

    private static func prefix(_ point: String) -> Substring { point.prefix { $0 != "." } }
}
