import CIPCShims
import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport

/// Runs round after round, and ends in order, whatever ends it.
final class Orchestrator {
    let options: Options
    let root: String
    /// What participants say of themselves; a file without a name.
    let log: CInt
    let control = ControlThread()
    var totals = Totals()
    private let started = MonotonicClock.now
    private var lastLine = MonotonicClock.now
    /// Asked to end by a signal.
    private(set) var isInterrupted = false
    private var readUpTo: off_t = 0

    private static let signals = [SIGINT, SIGTERM, SIGHUP, SIGCHLD]
    /// After so many kills each point must have been met.
    private static let enoughForAllPoints = 20_000

    init(_ options: Options) throws(IPCError) {
        self.options = options
        root = "/dev/shm/ipc-test-torture-\(getpid())"
        setenv("IPC_ROOT", root, 1)
        var mask = sigset_t()
        sigemptyset(&mask)
        for signal in Self.signals { sigaddset(&mask, signal) }
        pthread_sigmask(SIG_BLOCK, &mask, nil)
        ipc_adopt_orphans()
        let path = "\(root).log"
        log = open(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0o600)
        guard log >= 0 else { throw IPCError("open", path, Errno(rawValue: errno)) }
        unlink(path)
    }

    var seconds: Double { Double(MonotonicClock.now - started) / 1e9 }

    /// - Returns: Whether nothing was wrong.
    func run() throws(IPCError) -> Bool {
        tell("Torture --seed \(options.seed) in \(root)")
        let thread = try control.start()
        var round = options.firstRound
        while seconds < options.seconds, !isInterrupted, round - options.firstRound < options.rounds {
            let current = try Round(Plan(options.seed, round, without: options.without), self)
            let problems = current.run()
            if current.isBroken { isInterrupted = true }
            totals.rounds += 1
            if !problems.isEmpty { report(problems, round) }
            if MonotonicClock.now - lastLine > 60_000_000_000 {
                lastLine = MonotonicClock.now
                tell(totals.line(seconds))
            }
            round += 1
        }
        control.stop()
        _ = thread.join()
        tell(totals.table(options, seconds))
        if totals.kills > Self.enoughForAllPoints, !totals.pointsLeft.isEmpty {
            tell("failed: nobody was killed at \(totals.pointsLeft.joined(separator: ", "))")
            return false
        }
        return totals.violations == 0
    }

    private func report(_ problems: [String], _ round: Int) {
        totals.violations += problems.count
        if totals.failedRounds.count < 10 { totals.failedRounds.append(round) }
        let plan = Plan(options.seed, round, without: options.without)
        tell("round \(round) (\(plan.shape)), to repeat: \(options.command(round))")
        for problem in problems.prefix(10) { tell("  \(problem)") }
        if problems.count > 10 { tell("  and \(problems.count - 10) more") }
    }

    /// Sleeps for a millisecond, or until a child has ended.
    func tick() {
        var mask = sigset_t()
        sigemptyset(&mask)
        for signal in Self.signals { sigaddset(&mask, signal) }
        var time = timespec(tv_sec: 0, tv_nsec: 1_000_000)
        let signal = sigtimedwait(&mask, nil, &time)
        if signal > 0, signal != SIGCHLD { isInterrupted = true }
    }

    /// What participants have said since the last time.
    func said() -> [String] {
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while text.count < 1 << 20 {
            let count = pread(log, &buffer, buffer.count, readUpTo)
            guard count > 0 else { break }
            readUpTo += off_t(count)
            text += buffer.prefix(count)
        }
        ftruncate(log, 0)
        readUpTo = 0
        return String(decoding: text, as: UTF8.self).split(separator: "\n").map(String.init)
    }
}

/// Prints a line at once, also into a pipe.
func tell(_ text: String) {
    print(text)
    fflush(nil)
}
