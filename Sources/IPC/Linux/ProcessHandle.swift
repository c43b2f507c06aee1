import CIPCShims
import Glibc
public import SystemPackage

/// A process, held by a file descriptor (pidfd): the handle never comes to mean another process.
///
/// A number found in a file or in a table may be used again by the time it is signalled. Open the handle while the
/// process is known to live (as its parent, or from a socket's peer), and every later call is free of that race.
public struct ProcessHandle: ~Copyable, Sendable {
    private let owned: OwnedDescriptor
    /// The process identifier at the time of opening, for messages; 0 if it has none in this pid namespace.
    public let identifier: pid_t

    /// Opens a handle for the process that has this identifier now. The system call is `pidfd_open`.
    ///
    /// - Throws: ``IPCError/Code/notFound`` if there is none; ``IPCError/Code/unsupported`` if the kernel is older than 5.3, or
    ///   a sandbox refuses the call.
    public init(_ identifier: pid_t) throws(IPCError) {
        let name = "process \(identifier)"
        switch systemCall({ ipc_pidfd_open(identifier) }) {
        case .success(let raw): self.init(adopting: OwnedDescriptor(adopting: raw), identifier: identifier)
        case .failure(let errno) where Self.isRefusal(errno):
            // The call itself never fails with EPERM: it asks for no permission.
            throw IPCError(
                .unsupported, "pidfd_open", name, errno: errno,
                advice: "the kernel is older than 5.3, or a sandbox (seccomp) refuses this system call; allow it, "
                    + "or send to the process identifier with Signal.send(toProcess:)")
        case .failure(let errno): throw IPCError("pidfd_open", name, errno)
        }
    }

    private static func isRefusal(_ errno: Errno) -> Bool { errno == .noFunction || errno == .notPermitted }

    package init(adopting descriptor: consuming OwnedDescriptor, identifier: pid_t) {
        self.owned = descriptor
        self.identifier = identifier
    }

    /// The pidfd, lent. It is readable once the process has ended.
    public var descriptor: FileDescriptor { owned.descriptor }

    /// Sends a signal to exactly this process. The system call is `pidfd_send_signal`.
    ///
    /// Where a sandbox refuses it, `kill` is used if the process still lives: a weaker identity, since it could end, and its
    /// number be used again, between the two calls.
    /// - Throws: ``IPCError/Code/notFound`` if it has ended and been waited for; ``IPCError/Code/permissionDenied`` if it is
    ///   somebody else's; ``IPCError/Code/invalidArgument`` for what is no signal.
    public borrowing func send(_ signal: Signal) throws(IPCError) {
        let raw = owned.rawValue
        let result = instead(of: systemCall { ipc_pidfd_send_signal(raw, signal.rawValue, nil) }) { process in
            Glibc.kill(process, signal.rawValue)
        }
        _ = try result.orThrow("pidfd_send_signal", "process \(identifier)")
    }

    /// The result, or that of the same call by number where the system refused the first.
    private borrowing func instead(
        of result: Result<CInt, Errno>, _ byNumber: (pid_t) -> CInt
    ) -> Result<CInt, Errno> {
        guard case .failure(let errno) = result, Self.isRefusal(errno), identifier > 0, isAlive else { return result }
        return systemCall { byNumber(identifier) }
    }

    /// Sends a signal with a value to exactly this process, as `sigqueue` does.
    ///
    /// - Throws: ``IPCError/Code/limitReached`` if the user has `RLIMIT_SIGPENDING` signals queued already.
    public borrowing func queue(_ signal: Signal, value: Int) throws(IPCError) {
        guard try tryQueue(signal, value: value) else {
            throw IPCError(
                "pidfd_send_signal", "process \(identifier)", .resourceTemporarilyUnavailable,
                advice: Signal.queueAdvice(.resourceTemporarilyUnavailable))
        }
    }

    /// Like ``queue(_:value:)``, but returns false if the user's queue of signals is full. Never waits.
    public borrowing func tryQueue(_ signal: Signal, value: Int) throws(IPCError) -> Bool {
        let raw = owned.rawValue
        let result = instead(of: systemCall { ipc_pidfd_sigqueue(raw, signal.rawValue, value) }) { process in
            ipc_sigqueue(process, signal.rawValue, value)
        }
        switch result {
        case .success: return true
        case .failure(.resourceTemporarilyUnavailable): return false
        case .failure(let errno): throw IPCError("pidfd_send_signal", "process \(identifier)", errno)
        }
    }

    /// True until the process has ended. A process that ended but was not waited for (a zombie) is not alive.
    public var isAlive: Bool {
        (try? Readiness.readable.wait(for: owned.rawValue, until: .immediate)) == false
    }

    /// Waits until the process has ended, whoever's child it is, blocking the thread, without taking its exit status. The C
    /// function is `poll`.
    ///
    /// - Parameter deadline: When to give up.
    /// - Throws: ``IPCError/Code/timedOut``.
    public borrowing func waitForExit(until deadline: Deadline = .never) throws(IPCError) {
        guard try Readiness.readable.wait(for: owned.rawValue, until: deadline) else {
            throw .timedOut("wait", "process \(identifier)")
        }
    }
}
