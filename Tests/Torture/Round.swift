import CIPCShims
import Glibc
import IPC
import IPCChannels
import TestSupport

/// One channel, its survivors, and the victims that come and die, wave after wave.
final class Round {
    let plan: Plan
    let orchestrator: Orchestrator
    let ledger: Ledger
    private let ledgerName: String
    private(set) var children: [Child] = []
    /// Groups in which a forked child may live on, and until when it may.
    private var forks: [(group: pid_t, until: UInt64)] = []
    private(set) var stops = Stops()
    private var random: Seeded
    private var nextStop: UInt64
    /// When participants were found dead.
    private(set) var deaths: [UInt64] = []
    private var lastDeath: UInt64 { deaths.last ?? 0 }
    private(set) var problems: [String] = []
    /// It could not be run: no process could be started, say.
    private(set) var isBroken = false
    private(set) var events: [(at: UInt64, what: String)] = []

    /// How long a victim lives at most, in nanoseconds, if it does not come to its point.
    private static let longestLife: UInt64 = 150_000_000
    /// How long a forked child, or another program, lives on, in nanoseconds: clearly longer than anybody may wait.
    private static let longestEcho: UInt64 = 400_000_000
    /// How long survivors may take to end, in nanoseconds: far more than they may wait for the dead.
    private static let longestEnd: UInt64 = 6_000_000_000

    init(_ plan: Plan, _ orchestrator: Orchestrator) throws(IPCError) {
        self.plan = plan
        self.orchestrator = orchestrator
        ledgerName = "ipc-test-torture-\(getpid())-\(plan.round)"
        ledger = try Ledger(creating: ledgerName)
        random = Seeded(plan.seed ^ 0x570b, UInt64(plan.round))
        nextStop = plan.stopInterval == .max ? .max : MonotonicClock.now + UInt64(plan.stopInterval) * 1_000_000
    }

    deinit {
        do throws(IPCError) { try SharedMemory.unlink(ledgerName) } catch { tell("\(error)") }
    }

    /// Ends all that it began, whatever happens.
    ///
    /// - Returns: What was wrong.
    func run() -> [String] {
        do throws(IPCError) { try runWaves() } catch {
            isBroken = true
            problems.append("\(error)")
        }
        endSurvivors()
        killAll()
        let found = problems.count
        problems += Checks.run(self, orchestrator)
        if found > 0 { problems.append("before: \(Checks.text(events.suffix(24), since: events.first?.at ?? 0))") }
        return problems
    }

    private func runWaves() throws(IPCError) {
        try createChannel()
        for wave in plan.waves where wave.isFirst && goesOn { try run(wave) }
        // Readers see all from the first item on.
        for isReader in [true, false] {
            for member in plan.members where member.isSurvivor && member.isReader == isReader { try start(member) }
            wait("joined", Self.longestEnd) { !children.contains { !isReady(plan.members[$0.member]) } }
        }
        ledger[.allJoined] = MonotonicClock.now
        for wave in plan.waves where !wave.isFirst && goesOn { try run(wave) }
    }

    private var goesOn: Bool { !orchestrator.isInterrupted && ledger[.full] == 0 && problems.isEmpty }

    /// An exclusive writer may have to wait for another.
    private func isReady(_ member: Member) -> Bool {
        ledger.state(member.index) == .joined
            || !member.isReader && !plan.shape.isShared && ledger.state(member.index) == .started
    }

    private func createChannel() throws(IPCError) {
        var options = ChannelOptions(
            writers: plan.shape.isShared ? .shared : .exclusive, overflow: plan.shape.overwrites ? .overwrite : .block,
            lifetime: plan.shape.isKept ? .kept : .whileUsed, capacity: Plan.log, maximumReaders: 24,
            maximumWriters: plan.shape.isShared ? 24 : nil)
        switch plan.shape.durability {
        case .none: break
        case .whenAsked: options.durability = .syncedWhenAsked
        case .every: options.durability = .syncedEvery(bytes: 8192)
        }
        if options.durability != nil { options.lifetime = .kept }
        switch plan.shape.pattern {
        case .topic: _ = try Topic<RawBytes>.openOrCreate(plan.name, options)
        case .queue: _ = try WorkQueue<RawBytes>.openOrCreate(plan.name, options, maximumAttempts: QueueRoles.attempts)
        case .service:
            var service = ServiceOptions()
            (service.capacity, service.lifetime) = (options.capacity, options.lifetime)
            _ = try ServiceRoles.Asking.openOrCreate(plan.name, service)
        case .latest:
            var latest = LatestOptions()
            (latest.writers, latest.lifetime) = (options.writers, options.lifetime)
            _ = try Latest<RawBytes>.openOrCreate(plan.name, latest)
        case .event: _ = try Event.openOrCreate(plan.name, EventOptions(lifetime: options.lifetime))
        }
    }

    private func start(_ member: Member, group: pid_t = 0) throws(IPCError) {
        var child = try Children.start(
            member, of: plan, ledger: ledgerName, root: orchestrator.root, log: orchestrator.log, group: group)
        if !member.isSurvivor {
            child.killAt = child.started + Self.longestLife
            switch member.death {
            case .random(let after): child.killAt = child.started + UInt64(after) * 1000
            case .stopped(let after, let during):
                child.stopAt = child.started + UInt64(after) * 1000
                child.killAt = child.stopAt + UInt64(during) * 1000
            case .fork, .forkLettingGo: forks.append((child.group, .max))
            case .point, .exec, .leave: break
            }
        }
        children.append(child)
        note("start of \(describe(child))")
    }

    /// For the report of a wait that was too long.
    private func note(_ what: String) { events.append((MonotonicClock.now, what)) }

    private func describe(_ child: Child) -> String {
        let member = plan.members[child.member]
        return
            "\(member.index) (\(member.isReader ? "reader" : "writer"), \(member.way), \(member.isSurvivor ? "survivor" : "\(member.death)"))"
    }

    // Waves

    private func run(_ wave: Wave) throws(IPCError) {
        var group: pid_t = 0
        for index in wave.members {
            try start(plan.members[index], group: group)
            if wave.isGroup, group == 0 { group = children[children.count - 1].group }
        }
        if wave.isSecondDeath { runSecondDeath(wave) }
        if wave.isGroup, let killAt = children.last?.killAt {
            while MonotonicClock.now < killAt, children.contains(where: { $0.group == group }) { step(killing: false) }
            if kill(-group, SIGKILL) == 0 { orchestrator.totals.groupKills += wave.members.count }
        }
        wait("dead", Self.longestEnd) {
            !children.contains { wave.members.contains($0.member) && !$0.isAnotherProgram }
        }
        if !wave.isFirst { waitForSurvivors() }
    }

    /// The first dies while the survivors are stopped, so that the second has to recover; and dies of it.
    private func runSecondDeath(_ wave: Wave) {
        wait("started", 1_000_000_000) {
            wave.members.allSatisfy { ledger.state($0) != .none || !isAlive($0) }
        }
        let stopped = children.filter { plan.members[$0.member].isSurvivor && $0.process > 0 }.map(\.process)
        for process in stopped { stop(process) }
        for (count, index) in wave.members.enumerated() {
            ledger[index, .go] = 1
            let end = MonotonicClock.now + 40_000_000
            while isAlive(index), MonotonicClock.now < end { step(killing: false) }
            if count == 1, !isAlive(index) { orchestrator.totals.secondDeaths += 1 }
        }
        for process in stopped { resume(process) }
    }

    /// Until all have gone on after the last death. Meanwhile nobody joins, who would recover as well.
    private func waitForSurvivors() {
        let end = MonotonicClock.now + 400_000_000
        while MonotonicClock.now < end, !orchestrator.isInterrupted {
            step(killing: true)
            let haveGoneOn = plan.members.allSatisfy { member in
                guard member.isSurvivor, isAlive(member.index), ledger[member.index, .isActive] != 0 else {
                    return true
                }
                let isOneOfMany = member.isReader && [.queue, .service, .event].contains(plan.shape.pattern)
                if plan.races(member) { return ledger[.lastWritten] > lastDeath }
                return (isOneOfMany ? ledger[.lastItem] : ledger[member.index, .beat]) > lastDeath
            }
            if haveGoneOn { return }
        }
    }

    private func endSurvivors() {
        if orchestrator.isInterrupted || isBroken { return }
        let others = plan.members.filter { $0.isSurvivor && $0.index != plan.closer }
        ledger[.phase] = 1
        wait("writers ended", Self.longestEnd) {
            (ledger[plan.closer, .go] != 0 || !isAlive(plan.closer))
                && !others.contains { !$0.isReader && isAlive($0.index) }
        }
        ledger[.phase] = 2
        wait("readers ended", Self.longestEnd) { !others.contains { $0.isReader && isAlive($0.index) } }
        ledger[.phase] = 3
        wait("all ended", Self.longestEnd) { !isAlive(plan.closer) }
    }

    // Processes

    func isAlive(_ member: Int) -> Bool { children.contains { $0.member == member && !$0.isAnotherProgram } }

    private func wait(_ what: String, _ nanoseconds: UInt64, until isSo: () -> Bool) {
        let end = MonotonicClock.now + nanoseconds
        while !isSo() {
            if orchestrator.isInterrupted { return }
            guard MonotonicClock.now < end else {
                let hung = children.filter { !$0.isAnotherProgram }.map { plan.members[$0.member] }
                return problems.append(
                    "not \(what) after \(nanoseconds / 1_000_000) ms: "
                        + hung.map {
                            "member \($0.index) (\($0.isReader ? "reader" : "writer"), \($0.way)\($0.isSurvivor ? "" : ", victim \($0.death)"), \(ledger.state($0.index)), done \(ledger[$0.index, .done]), checked \(ledger[$0.index, .checked]))"
                        }.joined(separator: ", "))
            }
            step(killing: true)
        }
    }

    /// Reaps who has ended, and does what is due.
    private func step(killing: Bool) {
        orchestrator.tick()
        reap()
        let now = MonotonicClock.now
        for index in children.indices {
            let child = children[index]
            if !child.isAnotherProgram, ledger.state(child.member) == .isAnotherProgram {
                children[index].isAnotherProgram = true
                children[index].killAt = now + Self.longestEcho
                note("exec of \(describe(child))")
                died(now)
            }
            if killing, now >= child.stopAt {
                children[index].stopAt = .max
                children[index].isStopped = true
                stop(child.process)
            }
            if killing, now >= child.killAt {
                children[index].killAt = .max
                if child.isStopped { stops.end(now, ledger) }
                kill(child.process, SIGKILL)
            }
        }
        for fork in forks where now >= fork.until { note("end of the forks of \(fork.group)") }
        for fork in forks where now >= fork.until { kill(-fork.group, SIGKILL) }
        forks.removeAll { now >= $0.until }
        if killing, now >= nextStop { stopAndResumeSomebody(now) }
    }

    private func reap() {
        while let (process, status) = Children.reap() {
            guard let index = children.firstIndex(where: { $0.process == process }) else { continue }  // a fork's child
            let child = children.remove(at: index)
            let member = plan.members[child.member]
            let isKill = status & 0x7f == SIGKILL
            note("end of \(describe(child)) with \(status)")
            if !child.isAnotherProgram { died(MonotonicClock.now) }
            for fork in forks.indices where forks[fork].group == child.group {
                forks[fork].until = MonotonicClock.now + Self.longestEcho
            }
            if !member.isSurvivor, isKill {
                orchestrator.totals.randomKills += 1  // less those that say at which point they were struck
            } else if status != 0 {
                problems.append(
                    "member \(member.index) (\(member.way)\(member.isSurvivor ? "" : ", victim")) ended with status \(status)"
                )
            }
        }
    }

    private func died(_ now: UInt64) {
        deaths.append(now)
        ledger[.lastKill] = now
        ledger.add(.kills)
    }

    private func stop(_ process: pid_t) {
        guard kill(process, SIGSTOP) == 0 else { return }
        note("stop of \(children.filter { $0.process == process }.map(\.member))")
        orchestrator.totals.stops += 1
        stops.begin(MonotonicClock.now, ledger)
    }

    private func resume(_ process: pid_t) {
        kill(process, SIGCONT)
        note("resume of \(children.filter { $0.process == process }.map(\.member))")
        stops.end(MonotonicClock.now, ledger)
    }

    /// A survivor stands still for a while, wherever it is.
    private func stopAndResumeSomebody(_ now: UInt64) {
        nextStop = now + UInt64(plan.stopInterval) * 1_000_000
        let survivors = children.filter { plan.members[$0.member].isSurvivor }
        guard !survivors.isEmpty else { return }
        let process = random.pick(survivors).process
        stop(process)
        let end = now + UInt64(random.number(1...30)) * 1_000_000
        while MonotonicClock.now < end { step(killing: false) }
        resume(process)
    }

    private func killAll() {
        for child in children { kill(-child.group, SIGKILL) }
        for fork in forks { kill(-fork.group, SIGKILL) }
        let end = MonotonicClock.now + 2_000_000_000
        while MonotonicClock.now < end {
            var status: CInt = 0
            let process = waitpid(-1, &status, WNOHANG)
            if process < 0 { break }
            if process == 0 { usleep(500) }
        }
        if waitpid(-1, nil, WNOHANG) == 0 { problems.append("a process is left that SIGKILL does not end") }
        children = []
    }
}

/// When somebody was stopped: who waits then waits for a living one.
struct Stops {
    private(set) var spans: [(start: UInt64, end: UInt64)] = []
    private var running = 0

    mutating func begin(_ now: UInt64, _ ledger: Ledger) {
        if running == 0 { spans.append((now, .max)) }
        running += 1
        ledger[.stopped] = UInt64(running)
    }

    mutating func end(_ now: UInt64, _ ledger: Ledger) {
        guard running > 0 else { return }
        running -= 1
        if running == 0 { spans[spans.count - 1].end = now }
        ledger[.lastStopEnd] = now
        ledger[.stopped] = UInt64(running)
    }

    /// How much of a span of time somebody was stopped.
    func overlap(_ start: UInt64, _ end: UInt64) -> UInt64 {
        spans.reduce(0) { sum, span in
            let (from, to) = (max(span.start, start), min(span.end, end))
            return sum + (to > from ? to - from : 0)
        }
    }
}
