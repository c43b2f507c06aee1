import CIPCShims
import Glibc
public import SystemPackage

/// A child process of this program, tied to the scope that started it.
///
/// Started by `clone` in the manner of `posix_spawn`, never by a bare `fork`: a fork in a program with threads leaves their
/// locks held for ever. The child gets an empty signal mask, default signal actions, and of the descriptors only 0, 1, 2 and
/// those that it is given by number; of 0, 1 and 2 those that are closed here are `/dev/null` there. It is waited for by its
/// own pidfd: other children of the program are never reaped here.
///
/// ```swift
/// let pipe = try AnonymousPipe()
/// let child = try ChildProcess("grep", ["needle", "/dev/fd/3"], descriptors: [3: pipe.reader.descriptor])
/// ```
public struct ChildProcess: ~Copyable, Sendable {
    /// Which process group a child is in: what the terminal's Ctrl-C, and ``ChildProcess/sendToGroup(_:)``, reach at once.
    public enum ProcessGroup: Hashable, Sendable {
        /// This process's own.
        case inherited
        /// A new one that it leads: it, and the children that it has. They can be ended together.
        case new
        /// That of a process that leads one in the same session.
        case joining(pid_t)
    }

    /// The handle to signal it by.
    public let handle: ProcessHandle
    /// The process group that it leads, if it does.
    private let leadsGroup: Bool
    private var isDetached = false

    /// Starts a program. The system call is `clone` with `CLONE_VFORK`.
    ///
    /// Returns once the program runs, or could not be run. May be called from several threads.
    /// - Parameters:
    ///   - executable: A path, or a name to be looked up in this process's `PATH`.
    ///   - arguments: The arguments after the program's own name.
    ///   - environment: `NAME=value` strings, or nil for this process's environment.
    ///   - descriptors: Which descriptors of this process the child has, by their number in the child. They are lent
    ///     for the call. Without an entry for 0, 1 or 2, the child shares that one with this process.
    ///   - workingDirectory: Where it starts, and what a relative path of a program is relative to; nil for this process's.
    ///   - processGroup: The process group that it is in.
    /// - Throws: ``IPCError/Code/childFailed`` if there is no such program or folder, or it cannot be run;
    ///   ``IPCError/Code/invalidArgument`` for a zero byte in a string, and for a number that no descriptor can have;
    ///   ``IPCError/Code/unsupported`` where the system gives no pidfd. No process is left then.
    public init(
        _ executable: String, _ arguments: [String] = [], environment: [String]? = nil,
        descriptors: [CInt: FileDescriptor] = [:], workingDirectory: FilePath? = nil,
        processGroup: ProcessGroup = .inherited
    ) throws(IPCError) {
        try self.init(
            executable, arguments, environment: environment, descriptors: descriptors,
            workingDirectory: workingDirectory, processGroup: processGroup, changes: [], guardian: nil)
    }

    /// The same, with other values for some variables of this process's environment, and a guardian that ends the child's new
    /// process group if this process is killed.
    package init(
        _ executable: String, _ arguments: [String], environment: [String]?, descriptors: [CInt: FileDescriptor],
        workingDirectory: FilePath?, processGroup: ProcessGroup, changes: [String], guardian: ProcessGuardian?
    ) throws(IPCError) {
        let start = ProcessStart(
            executable: executable, arguments: arguments, environment: environment, changes: changes,
            descriptors: descriptors, folder: workingDirectory, group: processGroup, guardian: guardian)
        let (identifier, pidfd) = try start.run()
        let handle = try Self.handle(of: identifier, pidfd)
        self.init(handle, leadsGroup: processGroup == .new)
    }

    private init(_ handle: consuming ProcessHandle, leadsGroup: Bool) {
        self.handle = handle
        self.leadsGroup = leadsGroup
    }

    /// The child, and the process group that it leads, is killed and waited for if it still runs: call ``wait(until:)``
    /// before, or ``detach()``.
    deinit {
        guard !isDetached else { return }
        // Once it was waited for, its number may mean another process.
        if (try? hasBeenWaitedFor()) == true { return }
        if leadsGroup { Glibc.kill(-handle.identifier, SIGKILL) }
        try? handle.send(.kill)
        _ = try? reap(WEXITED)
    }

    /// Lets the child live on by itself. When it ends it stays a zombie until this process ends.
    public mutating func detach() { isDetached = true }

    /// Waits until the child has ended, blocking the thread, and takes its exit status. The C function is `waitid` with
    /// `P_PIDFD`.
    ///
    /// - Parameter deadline: When to give up.
    /// - Throws: ``IPCError/Code/timedOut``, and the child goes on; ``IPCError/Code/notFound`` if its status has been
    ///   taken already, or is lost: this process ignores SIGCHLD, or somebody waits for every child of it.
    public borrowing func wait(until deadline: Deadline = .never) throws(IPCError) -> ExitStatus {
        try handle.waitForExit(until: deadline)
        guard let status = try tryWait() else { throw .timedOut("waitid", "process \(handle.identifier)") }
        return status
    }

    /// Takes the exit status if the child has ended; nil if it still runs. Never waits.
    ///
    /// - Throws: ``IPCError/Code/notFound`` as ``wait(until:)``.
    public borrowing func tryWait() throws(IPCError) -> ExitStatus? { try reap(WEXITED | WNOHANG) }

    /// Sends a signal to all processes of the group that the child leads: those that it has started, too. The C function is
    /// `kill` with a negative number.
    ///
    /// - Throws: ``IPCError/Code/invalidArgument`` if it was not started with ``ProcessGroup/new``;
    ///   ``IPCError/Code/notFound`` if none of them lives, or the child has been waited for: its number may be another's then.
    public borrowing func sendToGroup(_ signal: Signal) throws(IPCError) {
        let name = "group \(handle.identifier)"
        guard leadsGroup else {
            throw IPCError(
                .invalidArgument, "kill", name, advice: "this child leads no group; start it with processGroup: .new")
        }
        if try hasBeenWaitedFor() {
            throw IPCError(.notFound, "kill", name, advice: "the child that leads it has been waited for already")
        }
        try signal.send(toGroup: handle.identifier)
    }
}

extension ChildProcess {
    private static func handle(of identifier: pid_t, _ pidfd: CInt?) throws(IPCError) -> ProcessHandle {
        if let pidfd { return ProcessHandle(adopting: OwnedDescriptor(adopting: pidfd), identifier: identifier) }
        // A kernel before 5.2. The child cannot have been waited for by anyone yet, so its number still means it.
        do throws(IPCError) {
            return try ProcessHandle(identifier)
        } catch {
            // Without a descriptor for its handle, nobody could end it later.
            Glibc.kill(identifier, SIGKILL)
            _ = retryingInterrupts { waitpid(identifier, nil, 0) }
            throw error
        }
    }

    private borrowing func reap(_ options: CInt) throws(IPCError) -> ExitStatus? {
        var information = unsafe siginfo_t()
        let (raw, identifier) = (handle.descriptor.rawValue, handle.identifier)
        var result = retryingInterrupts { unsafe ipc_waitid_pidfd(raw, &information, options) }
        if case .failure(.invalidArgument) = result {
            // A kernel before 5.4. Until it is waited for, its number means this child.
            result = retryingInterrupts { unsafe waitid(P_PID, id_t(identifier), &information, options) }
        }
        if case .failure(.noChildProcess) = result {
            throw IPCError(
                .notFound, "waitid", "process \(identifier)", errno: .noChildProcess, advice: Self.lostStatus)
        }
        _ = try result.orThrow("waitid", "process \(identifier)")
        guard unsafe ipc_siginfo_pid(&information) != 0 else { return nil }
        let status = unsafe ipc_siginfo_status(&information)
        return unsafe information.si_code == CInt(CLD_EXITED) ? .exited(status) : .signaled(Signal(rawValue: status))
    }

    /// The exit status if the child has ended, left there to be taken; nil if it still runs, or the status is lost.
    package borrowing func tryPeek() throws(IPCError) -> ExitStatus? {
        do throws(IPCError) {
            return try reap(WEXITED | WNOHANG | WNOWAIT)
        } catch {
            guard error.errno == .noChildProcess else { throw error }
            return nil
        }
    }

    /// Whether nobody can take its status any more: then its number is free for another process.
    private borrowing func hasBeenWaitedFor() throws(IPCError) -> Bool {
        do throws(IPCError) {
            _ = try reap(WEXITED | WNOHANG | WNOWAIT)
            return false
        } catch {
            guard error.errno == .noChildProcess else { throw error }
            return true
        }
    }

    /// Why there is no exit status to take.
    private static var lostStatus: String {
        ipc_signal_loses_statuses() != 0
            ? "its exit status is lost: this process ignores SIGCHLD, as whatever started it may have; "
                + "set SIGCHLD to its default action before starting children"
            : "its exit status was taken already; something may wait for any child"
    }
}
