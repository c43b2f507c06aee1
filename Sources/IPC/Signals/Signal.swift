import CIPCShims
import Glibc
package import SystemPackage

/// A signal: a number with a name. Not to be confused with the act of sending one.
///
/// | signal | number | meaning |
/// |---|---|---|
/// | ``interrupt`` | 2 | Ctrl-C at the terminal |
/// | ``kill`` | 9 | ends the process; cannot be caught, blocked or ignored |
/// | ``userDefined1``, ``userDefined2`` | 10, 12 | the program's own |
/// | ``terminate`` | 15 | asks for a clean end |
/// | ``child`` | 17 | a child process ended or stopped |
///
/// Several pending standard signals of one kind are one: a signal says *that* something happened, never how often.
/// ``realTime(_:)`` signals queue and carry a value.
public struct Signal: Hashable, Sendable, RawRepresentable {
    public let rawValue: CInt
    public init(rawValue: CInt) { self.rawValue = rawValue }

    public static let hangUp = Signal(rawValue: SIGHUP)
    public static let interrupt = Signal(rawValue: SIGINT)
    public static let quit = Signal(rawValue: SIGQUIT)
    public static let illegalInstruction = Signal(rawValue: SIGILL)
    public static let trap = Signal(rawValue: SIGTRAP)
    public static let abort = Signal(rawValue: SIGABRT)
    public static let busError = Signal(rawValue: SIGBUS)
    public static let floatingPointException = Signal(rawValue: SIGFPE)
    public static let kill = Signal(rawValue: SIGKILL)
    public static let userDefined1 = Signal(rawValue: SIGUSR1)
    public static let segmentationFault = Signal(rawValue: SIGSEGV)
    public static let userDefined2 = Signal(rawValue: SIGUSR2)
    public static let brokenPipe = Signal(rawValue: SIGPIPE)
    public static let alarm = Signal(rawValue: SIGALRM)
    public static let terminate = Signal(rawValue: SIGTERM)
    public static let child = Signal(rawValue: SIGCHLD)
    public static let `continue` = Signal(rawValue: SIGCONT)
    public static let stop = Signal(rawValue: SIGSTOP)
    public static let terminalStop = Signal(rawValue: SIGTSTP)
    public static let windowChange = Signal(rawValue: SIGWINCH)
    /// Not a signal, but the question whether the process exists and may be signalled. It lies when the process
    /// identifier has been used again: ask a ``ProcessHandle`` instead.
    public static let probe = Signal(rawValue: 0)

    /// The numbers of the real-time signals that the C library leaves to programs.
    public static var realTimeNumbers: ClosedRange<Int> { 0...Int(ipc_sigrtmax() - ipc_sigrtmin()) }

    /// The real-time signal `SIGRTMIN+n`, from 0 to about 30.
    ///
    /// - Parameter n: One of ``realTimeNumbers``. Of another there is no signal: each call that is given it throws
    ///   ``IPCError/Code/invalidArgument``.
    public static func realTime(_ n: Int) -> Signal {
        // Not a number nearby, which may be one of the C library's own.
        Signal(rawValue: realTimeNumbers.contains(n) ? ipc_sigrtmin() + CInt(n) : .max)
    }

    private static let names: [(Signal, String)] = [
        (.hangUp, "SIGHUP"), (.interrupt, "SIGINT"), (.quit, "SIGQUIT"), (.illegalInstruction, "SIGILL"),
        (.trap, "SIGTRAP"), (.abort, "SIGABRT"), (.busError, "SIGBUS"), (.floatingPointException, "SIGFPE"),
        (.kill, "SIGKILL"), (.userDefined1, "SIGUSR1"), (.segmentationFault, "SIGSEGV"), (.userDefined2, "SIGUSR2"),
        (.brokenPipe, "SIGPIPE"), (.alarm, "SIGALRM"), (.terminate, "SIGTERM"), (.child, "SIGCHLD"),
        (.continue, "SIGCONT"), (.stop, "SIGSTOP"), (.terminalStop, "SIGTSTP"), (.windowChange, "SIGWINCH"),
    ]

    /// The signal of a name such as `SIGTERM`, `TERM` or `SIGRTMIN+3`, in any case; or of a number. Nil if there is none.
    public init?(name: String) {
        // Swift's numbers may have a sign.
        func isNumber(_ text: some StringProtocol) -> Bool { text.utf8.allSatisfy { (48...57).contains($0) } }
        if isNumber(name), let number = CInt(name) {
            guard (1...ipc_sigrtmax()).contains(number) else { return nil }
            self.init(rawValue: number)
            return
        }
        let upper = name.uppercased()
        let full = upper.hasPrefix("SIG") ? upper : "SIG" + upper
        if let known = Self.names.first(where: { $0.1 == full }) {
            self = known.0
        } else if full.hasPrefix("SIGRTMIN"), full.count == 8 || full.dropFirst(8).first == "+",
            isNumber(full.dropFirst(9)), let n = Int(full.count == 8 ? "0" : full.dropFirst(9)),
            Self.realTimeNumbers.contains(n)
        {
            self = .realTime(n)
        } else {
            return nil
        }
    }
}

extension Signal: CustomStringConvertible {
    /// The name as the guide and `kill -l` print it: `SIGTERM`, `SIGRTMIN+3`.
    public var description: String {
        if let known = Self.names.first(where: { $0.0 == self }) { return known.1 }
        let first = ipc_sigrtmin()
        if (first...ipc_sigrtmax()).contains(rawValue) { return "SIGRTMIN+\(rawValue - first)" }
        return "signal \(rawValue)"
    }
}

extension Signal {
    /// Sends this signal to a process known by its number only. The C function is `kill`.
    ///
    /// A number is not an identity: if the process has ended, another may have it by now. Where it matters, send to a
    /// ``ProcessHandle`` with ``ProcessHandle/send(_:)``.
    /// - Throws: ``IPCError/Code/notFound`` if there is no such process, ``IPCError/Code/permissionDenied`` if it is
    ///   somebody else's.
    public func send(toProcess process: pid_t) throws(IPCError) {
        guard process > 0 else {
            throw IPCError(.invalidArgument, "kill", "\(process)", advice: "a process identifier is a positive number")
        }
        let signal = rawValue
        _ = try systemCall { Glibc.kill(process, signal) }.orThrow("kill", "process \(process)")
    }

    /// Sends this signal to every process of a process group. The C function is `kill` with a negative number.
    public func send(toGroup group: pid_t) throws(IPCError) {
        guard group > 1 else {
            throw IPCError(.invalidArgument, "kill", "\(group)", advice: "a process group is a number greater than 1")
        }
        let signal = rawValue
        _ = try systemCall { Glibc.kill(-group, signal) }.orThrow("kill", "group \(group)")
    }

    /// Sends this signal to one thread of a process. The system call is `tgkill`.
    public func send(toThread thread: pid_t, ofProcess process: pid_t) throws(IPCError) {
        let signal = rawValue
        _ = try systemCall { ipc_tgkill(process, thread, signal) }.orThrow("tgkill", "thread \(thread)")
    }

    /// Sends this signal with a value. The C function is `sigqueue`.
    ///
    /// Only real-time signals queue; several pending standard signals of a kind remain one, and their values are lost.
    /// - Throws: ``IPCError/Code/limitReached`` if the user has `RLIMIT_SIGPENDING` signals queued already.
    public func queue(value: Int, toProcess process: pid_t) throws(IPCError) {
        let signal = rawValue
        _ = try systemCall { ipc_sigqueue(process, signal, value) }
            .orThrow("sigqueue", "process \(process)", advice: Self.queueAdvice)
    }

    package static func queueAdvice(_ errno: Errno) -> String? {
        guard errno == .resourceTemporarilyUnavailable else { return nil }
        let limit = SystemLimits.resource(IPC_RLIMIT_SIGPENDING)
        return "this user has \(limit) queued signals, the limit; wait until some are received, or raise ulimit -i"
    }
}

extension Signal {
    /// Whether this process ignores it, perhaps because whoever started it did.
    package var isIgnored: Bool { ipc_signal_is_ignored(rawValue) != 0 }
}
