import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport

/// Runs round after round in the same channels, and ends in order, whatever ends it.
///
/// Some participants stay for the whole run, and use no more memory, descriptors, or files at its end than at its beginning. Others
/// come, and are killed, stopped, or asked to leave.
final class Conductor {
    let options: Options
    let root: String
    let ledger: Ledger
    private let ledgerName: String
    /// What participants say; a file without a name.
    private let log: FileDescriptor
    private var readUpTo: Int64 = 0
    let control = ControlThread()
    private(set) var members: [Member] = []
    /// Those of this round that have ended: what they said is read later.
    private var gone: [Member] = []
    private let started = MonotonicClock.now
    private var lastLine = MonotonicClock.now
    private(set) var isInterrupted = false
    private(set) var problems: [String] = []
    var totals = Totals()
    private var usage = Usage()

    private static let signals = [SIGINT, SIGTERM, SIGHUP, SIGCHLD]
    private static let residents: [Role] = [.producer, .worker, .letters, .client, .server]

    init(_ options: Options) throws(IPCError) {
        self.options = options
        root = "/dev/shm/ipc-test-soak-\(getpid())"
        setenv("IPC_ROOT", root, 1)
        var mask = Self.mask
        pthread_sigmask(SIG_BLOCK, &mask, nil)
        let path = "\(root).log"
        let file = open(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw IPCError("open", path, Errno(rawValue: errno)) }
        unlink(path)
        log = FileDescriptor(rawValue: file)
        ledgerName = "ipc-test-soak-\(getpid())-ledger"
        ledger = try Ledger(creating: ledgerName)
    }

    deinit { do throws(IPCError) { try SharedMemory.unlink(ledgerName) } catch { tell("\(error)") } }

    private static var mask: sigset_t {
        var mask = sigset_t()
        sigemptyset(&mask)
        for signal in signals { sigaddset(&mask, signal) }
        return mask
    }

    private var seconds: Double { Double(MonotonicClock.now - started) / 1e9 }

    /// - Returns: Whether nothing was wrong.
    func run() throws(IPCError) -> Bool {
        tell("Soak --seed \(options.seed) in \(root)")
        let thread = try control.start()
        do throws(IPCError) { try runRounds() } catch { problems.append("\(error)") }
        end()
        control.stop()
        _ = thread.join()
        report()
        tell(totals.table(options, seconds, usage))
        return totals.violations == 0
    }

    private func runRounds() throws(IPCError) {
        for queue in Queue.allCases { _ = try queue.create().deadLetters() }
        _ = try Answering.create()
        for (index, role) in Self.residents.enumerated() { try start(index, role, round: nil, .stays) }
        var round = 0
        // Without one of those that stay, all later rounds fail.
        while seconds < options.seconds, round < options.rounds, !isInterrupted, residents.count == Self.residents.count
        {
            ledger[.round] = UInt64(round)
            let current = Round(self, round)
            problems += try current.run()
            usage.look(at: members, root, isFirst: round == 1)
            problems += usage.problems(round)
            totals.rounds += 1
            report()
            round += 1
            if MonotonicClock.now - lastLine > 60_000_000_000 {
                lastLine = MonotonicClock.now
                tell(totals.line(seconds))
            }
            gone = []
            ledger.clear(keeping: Self.residents.count)
            for member in members { member.forgetStops() }
        }
    }

    private func report() {
        guard !problems.isEmpty else { return }
        totals.violations += problems.count
        tell("round \(ledger[.round]) of Soak --seed \(options.seed):")
        for problem in problems.prefix(12) { tell("  \(problem)") }
        if problems.count > 12 { tell("  and \(problems.count - 12) more") }
        problems = []
    }

    func add(_ problem: String) { problems.append(problem) }

    // Members

    var nextIndex: Int? {
        let next = (members + gone).map(\.order.index).max().map { max($0 + 1, Self.residents.count) }
        return next.flatMap { $0 < Ledger.members ? $0 : nil }
    }

    func start(_ index: Int, _ role: Role, round: Int?, isBlocking: Bool = false, _ fate: Fate) throws(IPCError) {
        let order = Order(ledgerName, options.seed, index, role, round: round, isBlocking: isBlocking)
        // It is one that may have a job as soon as it runs.
        ledger[index, .state] = Ledger.State.living.rawValue
        members.append(try Member(order, fate, ledger, log: log))
    }

    var visitors: [Member] { members.filter { $0.order.round != nil } }
    var residents: [Member] { members.filter { $0.order.round == nil } }

    /// Sleeps for a millisecond, or until a child has ended; then does what is due.
    func step() {
        var mask = Self.mask
        var time = timespec(tv_sec: 0, tv_nsec: 1_000_000)
        let signal = sigtimedwait(&mask, nil, &time)
        if signal > 0, signal != SIGCHLD { isInterrupted = true }
        let now = MonotonicClock.now
        for member in members where member.step(now) { kill(member, now) }
        for member in members { reap(member) }
    }

    /// Nobody takes back what a worker had before it is known what that had acknowledged: so all others stand still meanwhile.
    private func kill(_ member: Member, _ now: UInt64) {
        guard member.order.role == .worker else { return member.kill() }
        let others = members.filter { $0 !== member && !$0.isStopped }
        for other in others { other.stop(now, for: Limits.stop) }
        for other in others { other.waitUntilStopped() }
        member.kill()
        let patience = Deadline.after(.seconds(1))
        while !reap(member), !patience.hasPassed { usleep(100) }
        let end = MonotonicClock.now
        for other in others { other.resume(end) }
    }

    /// - Returns: Whether it has ended.
    @discardableResult
    private func reap(_ member: Member) -> Bool {
        guard let status = (try? member.child.tryWait()) ?? nil else { return false }
        members.removeAll { $0 === member }
        gone.append(member)
        ended(member, status)
        return true
    }

    private func ended(_ member: Member, _ status: ExitStatus) {
        let order = member.order
        if member.isKilled {
            totals.kills += 1
            ledger.add(.killsReaped)
            do throws(IPCError) { totals.settled += try Settling.killed(order.index, ledger) } catch {
                problems.append("\(error)")
            }
        } else if status == .exited(0) {
            Settling.left(order.index, ledger)
            if member.asked > 0 { left(member) }
            if order.round == nil, ledger.phase != .over {
                problems.append("\(member.name) left too early")
            }
        } else {
            problems.append("\(member.name) ended with \(status)")
        }
    }

    /// One that was asked to.
    private func left(_ member: Member) {
        totals.shutdowns += 1
        let now = MonotonicClock.now
        totals.longestShutdown = max(totals.longestShutdown, now - member.asked)
        let noise = Noise.turns * control.worst(from: member.asked, to: now)
        guard now > member.asked + Limits.shutdown + member.stopped(from: member.asked, to: now) + noise else { return }
        problems.append("\(member.name) left \((now - member.asked) / 1_000_000) ms after SIGTERM")
    }

    /// Waits for something, for so long and for what the machine was late.
    ///
    /// - Returns: Whether it came.
    @discardableResult
    func wait(_ what: String, _ nanoseconds: UInt64 = Limits.drain, until isSo: () throws(IPCError) -> Bool)
        throws(IPCError)
        -> Bool
    {
        let start = MonotonicClock.now
        while try !isSo() {
            if isInterrupted { return false }
            let now = MonotonicClock.now
            if now > start + nanoseconds, now > start + nanoseconds + Noise.turns * control.worst(from: start, to: now)
            {
                problems.append("not \(what) after \((now - start) / 1_000_000) ms")
                return false
            }
            step()
        }
        return true
    }

    /// What participants have said since the last time, without what the machine or a stop is to blame for.
    func said() -> [String] {
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while text.count < 1 << 20 {
            let count = pread(log.rawValue, &buffer, buffer.count, off_t(readUpTo))
            guard count > 0 else { break }
            readUpTo += Int64(count)
            text += buffer.prefix(count)
        }
        ftruncate(log.rawValue, 0)
        readUpTo = 0
        let lines = String(decoding: text, as: UTF8.self).split(separator: "\n").map(String.init)
        return lines.compactMap { Noise.judge($0, members + gone, control) }
    }

    // The end

    private func end() {
        ledger.phase = .over
        do throws(IPCError) {
            if !isInterrupted { try wait("all ended") { members.isEmpty } }
            for member in members { member.kill() }
            let patience = Deadline.after(.seconds(5))
            while !members.isEmpty, !patience.hasPassed { step() }
            if !members.isEmpty { problems.append("\(members.count) processes are left that SIGKILL does not end") }
            for queue in Queue.allCases { try queue.remove() }
            try Answering.Kind.remove(Answering.name)
            try ChannelRoot.current.removeIfUnused()
        } catch {
            problems.append("at the end: \(error)")
        }
        problems += said()
        if access(root, F_OK) == 0 { problems.append("\(root) is left, with \(Usage.files(root))") }
        close(log.rawValue)
    }
}
