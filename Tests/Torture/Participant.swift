import Glibc
import IPC
import IPCChannels
import TestSupport

/// One participant of a round: what it is to do, what it has done, and how long it waited.
final class Participant: @unchecked Sendable {
    // `@unchecked`: one task's; what others read is in the ledger.
    let plan: Plan
    let member: Member
    let ledger: Ledger
    let fate: Fate
    var random: Seeded
    let waits: Waits
    /// Of a getter: the greatest clock of a value that it has got.
    var known: UInt64 = 0
    /// The number of the next item.
    private(set) var number = 0
    private var lastProgress: UInt64 = 0
    private var seenKills: UInt64 = 0
    private let end: UInt64
    private let isFirst: Bool
    private let races: Bool

    /// Nobody works for longer, in nanoseconds, whatever happens to the orchestrator.
    private static let longest: UInt64 = 20_000_000_000
    /// How long one call may wait, in nanoseconds: far more than anybody may wait for the dead.
    static let patience = Duration.seconds(2)
    /// Waits around a death that the orchestrator looks at closely.
    private static let longWait: UInt64 = 60_000_000

    init(_ plan: Plan, _ index: Int, _ ledger: Ledger) throws(IPCError) {
        self.plan = plan
        member = plan.members[index]
        isFirst = plan.isFirst(index)
        races = plan.races(member)
        self.ledger = ledger
        fate = Fate(member.death, index, ledger)
        random = Seeded(plan.seed ^ 0x5eed, UInt64(plan.round * Plan.mostMembers + index))
        waits = try Waits(member.way)
        end = MonotonicClock.now + Self.longest
        number = Int(ledger[index, .done])
        ledger[index, .state] = Ledger.State.started.rawValue
    }

    var index: Int { member.index }
    var deadline: Deadline { .after(Self.patience) }
    var waiting: WaitStrategy {
        member.way == .spin ? .polling : member.way == .block ? .sleeping(spins: 200) : .sleeping()
    }

    /// Whether it is to do another item.
    var goesOn: Bool {
        guard MonotonicClock.now < end else { return false }
        guard member.isSurvivor else { return true }
        return ledger[.phase] < (member.isReader ? 3 : 1)
    }

    /// Says what is wrong: the orchestrator counts it.
    func violation(_ text: String) {
        say(
            "violation member \(index) (\(member.isReader ? "reader" : "writer"), \(member.way)\(member.isSurvivor ? "" : ", victim")): \(text)"
        )
    }

    func say(_ text: String) {
        var line = text.split(separator: "\n").joined(separator: " ") + "\n"
        _ = line.withUTF8 { write(2, $0.baseAddress, $0.count) }
    }

    // Joining and leaving.

    /// Joins, as soon as an exclusive writer gives way, or a slot is free.
    ///
    /// - Returns: nil if the round is over before.
    func join<Result: ~Copyable>(_ attempt: () throws(IPCError) -> Result) throws(IPCError) -> Result? {
        while goesOn {
            do throws(IPCError) {
                let result = try attempt()
                ledger[index, .state] = Ledger.State.joined.rawValue
                ledger.count(index, .joins)
                rest()
                return result
            } catch {
                guard error.code == .addressInUse || error.code == .limitReached else { throw error }
                usleep(1000)
            }
        }
        return nil
    }

    /// Joins once all others are gone. A child that was forked from one of them, and has not run yet, has its lock for a moment.
    func joinLast<Result: ~Copyable>(_ attempt: () throws(IPCError) -> Result) throws(IPCError) -> Result {
        let patience = deadline
        while true {
            do throws(IPCError) { return try attempt() } catch {
                guard error.code == .addressInUse, !patience.hasPassed else { throw error }
                usleep(1000)
            }
        }
    }

    /// After it has left in order.
    func left() {
        ledger.count(index, .leaves)
        rest()
        if !member.isSurvivor, member.death == .leave || isFirst { finish() }
    }

    /// Ends the process in order.
    func finish() -> Never {
        ledger[index, .isActive] = 0
        if fate.isForkedChild { _exit(0) }
        ledger[index, .state] = Ledger.State.ended.rawValue
        _exit(0)
    }

    // Items.

    /// How large the next item is.
    func words() -> Int { isFirst ? random.number(5...40) : Payload.words(&random) }

    /// The next item, that is about to be written.
    func begin() -> Int {
        ledger[index, .begun] = UInt64(number + 1)
        return number
    }

    /// It is known to be through.
    func done() {
        number += 1
        ledger[index, .done] = UInt64(number)
        if number >= Ledger.itemsPerMember - 100, plan.shape.pattern != .topic { ledger[.full] = 1 }
        progress()
        pause()
    }

    /// An item came, and was looked at.
    func checked(isEnd: Bool = false) {
        ledger.count(index, .checked)
        progress()
        if !isEnd { pause() }
    }

    private func pause() {
        // In bursts: sometimes the others are quicker, sometimes we.
        if random.chance(30) { usleep(UInt32(random.number(1...member.pause))) }
    }

    /// It does not wait for anything for a while.
    func rest() {
        lastProgress = 0
        ledger[index, .isActive] = 0
    }

    /// How long it took since the last time, if somebody was killed meanwhile.
    private func progress() {
        let now = MonotonicClock.now
        let lastWritten = member.isReader ? 0 : ledger.exchange(.lastWritten, now)
        guard member.isSurvivor else { return }
        ledger[index, .beat] = now
        var last = lastProgress
        lastProgress = now
        if isOneOfMany {
            // The item might have gone to another reader: they count together.
            let before = ledger.exchange(.lastItem, now)
            if before > 0 { last = min(before, now) }
        }
        // While others win the race for room it waits for none of the dead. (A call that waits for longer than its patience fails.)
        if races, last > 0 { last = max(last, min(lastWritten, now)) }
        let allJoined = ledger[.allJoined]
        if last == 0 || allJoined == 0 || last < allJoined {
            ledger[index, .isActive] = 1
            seenKills = ledger[.kills]
            return
        }
        let kills = ledger[.kills]
        let hasKill = kills != seenKills || ledger[.lastKill] > last
        seenKills = kills
        if now - last > Self.longWait { ledger.addLongWait(index, from: last, to: now) }
        if hasKill, ledger[.stopped] == 0, ledger[.lastStopEnd] < last { ledger.countWait(Buckets.index(now - last)) }
    }

    /// Whether items go to one of several readers.
    private var isOneOfMany: Bool {
        member.isReader
            && (plan.shape.pattern == .queue || plan.shape.pattern == .service || plan.shape.pattern == .event)
    }
}
