import Glibc
import IPC
import SystemPackage
import TestSupport

/// What becomes of a visitor, in nanoseconds after its start.
enum Fate {
    case killed(after: UInt64)
    /// It is stopped meanwhile, and goes on or is killed then.
    case stopped(after: UInt64, during: UInt64, isKilled: Bool)
    /// It is asked to leave in order.
    case asked(after: UInt64)
    /// It leaves when the traffic is over.
    case stays

    static func any(_ random: inout Seeded) -> Fate {
        // Half of them do not live for long: there is much to be killed in while one joins.
        let after = UInt64(random.chance(50) ? random.number(5...120) : random.number(120...1200)) * 1_000_000
        let during = UInt64(random.number(1...Int(Limits.stop / 1_000_000))) * 1_000_000
        switch random.number(0...99) {
        case 0..<55: return .killed(after: after)
        case 55..<75: return .stopped(after: after, during: during, isKilled: random.chance(50))
        case 75..<92: return .asked(after: after)
        default: return .stays
        }
    }
}

/// One process of a run, as the conductor sees it.
final class Member {
    let order: Order
    let child: ChildProcess
    private let ledger: Ledger
    private let started = MonotonicClock.now
    private var fate: Fate
    /// When it was stopped, and until when that is.
    private(set) var stops: [(start: UInt64, end: UInt64)] = []
    private(set) var isStopped = false
    private(set) var isKilled = false
    /// When it was asked to leave; 0 if it was not.
    private(set) var asked: UInt64 = 0

    init(_ order: Order, _ fate: Fate, _ ledger: Ledger, log: FileDescriptor) throws(IPCError) {
        (self.order, self.fate, self.ledger) = (order, fate, ledger)
        let environment = ["IPC_ROOT=\(String(cString: getenv("IPC_ROOT")))", "SWIFT_BACKTRACE=enable=no"]
        let path = getenv("LD_LIBRARY_PATH").map { ["LD_LIBRARY_PATH=\(String(cString: $0))"] } ?? []
        child = try ChildProcess(
            Self.program, order.arguments, environment: .only(pairs: environment + path), descriptors: [1: log, 2: log])
    }

    /// By its name, by which those that are left behind are found.
    private static let program: String = {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count)
        return String(decoding: buffer.prefix(max(count, 0)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }()

    var name: String { "\(order.role) \(order.index)\(order.isBlocking ? ", blocking," : "")" }

    var process: pid_t { child.handle.identifier }

    /// Does what is due.
    ///
    /// - Returns: Whether it is to be killed now.
    func step(_ now: UInt64) -> Bool {
        let age = now - started
        if isStopped, let end = stops.last?.end, now >= end { resume(now) }
        switch fate {
        case .killed(let after) where age >= after: return !isKilled
        case .stopped(let after, let during, let isToBeKilled) where age >= after:
            stop(now, for: during)
            fate = isToBeKilled ? .killed(after: after + during) : .stays
        case .asked(let after) where age >= after && ledger[order.index, .isReady] != 0:
            fate = .stays
            asked = now
            try? child.handle.send(.terminate)
        default: break
        }
        return false
    }

    func stop(_ now: UInt64, for length: UInt64) {
        guard !isStopped, !isKilled, Glibc.kill(process, SIGSTOP) == 0 else { return }
        isStopped = true
        stops.append((now, now + length))
    }

    /// Waits until it stands still, if it was told to, or is gone.
    func waitUntilStopped() {
        let patience = Deadline.after(.milliseconds(500))
        var information = siginfo_t()
        while isStopped, !patience.hasPassed {
            information.si_signo = 0
            let result = waitid(P_PID, id_t(process), &information, WSTOPPED | WEXITED | WNOHANG | WNOWAIT)
            if result != 0 || information.si_signo != 0 { return }
            usleep(100)
        }
    }

    func resume(_ now: UInt64) {
        guard isStopped else { return }
        isStopped = false
        stops[stops.count - 1].end = now
        Glibc.kill(process, SIGCONT)
    }

    /// Noted before it is done: so a job that a killed one had is one that another may have.
    func kill() {
        guard !isKilled else { return }
        isKilled = true
        fate = .stays
        ledger[order.index, .state] = Ledger.State.killed.rawValue
        ledger.add(.killsBegun)
        Glibc.kill(process, SIGKILL)
    }

    func forgetStops() { if !isStopped { stops = [] } }

    /// How long it was stopped in a span of time.
    func stopped(from start: UInt64, to end: UInt64) -> UInt64 {
        stops.reduce(0) { sum, stop in
            let (from, to) = (max(stop.start, start), min(stop.end, end))
            return sum + (to > from ? to - from : 0)
        }
    }
}
