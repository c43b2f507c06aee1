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
    /// The handle to signal it by.
    public let handle: ProcessHandle
    /// Whether it leads a process group.
    let leadsGroup: Bool
    private var isDetached = false
    private var streams: Streams

    /// This process's ends of the pipes that are the child's standard streams.
    private struct Streams: ~Copyable, Sendable {
        var input: PipeWriter?
        var output: PipeReader?
        var errors: PipeReader?
    }

    /// Starts a program. The system call is `clone` with `CLONE_VFORK`.
    ///
    /// Returns once the program runs, or could not be run. May be called from several threads.
    /// - Parameters:
    ///   - executable: A path, or a name to be looked up in this process's `PATH`.
    ///   - arguments: The arguments after the program's own name.
    ///   - environment: The variables that it has.
    ///   - workingDirectory: Where it starts, and what a relative path of a program is relative to; nil for this process's.
    ///   - standardInput: What it reads. Take the other end of a pipe with ``takeStandardInput()``.
    ///   - standardOutput: Where it writes.
    ///   - standardError: Where it writes its errors.
    ///   - descriptors: Which descriptors of this process the child has, by their number in the child. They are lent
    ///     for the call.
    ///   - processGroup: The process group that it is in.
    /// - Throws: ``IPCError/Code/childFailed`` if there is no such program or folder, or it cannot be run;
    ///   ``IPCError/Code/invalidArgument`` for a zero byte in a string, for a number that no descriptor can have, and for a
    ///   standard stream that is asked for in two ways; ``IPCError/Code/unsupported`` where the system gives no pidfd. No
    ///   process is left then.
    public init(
        _ executable: String, _ arguments: [String] = [], environment: Environment = .inherited,
        workingDirectory: FilePath? = nil, standardInput: StandardInput = .inherited,
        standardOutput: StandardOutput = .inherited, standardError: StandardError = .inherited,
        descriptors: [CInt: FileDescriptor] = [:], processGroup: ProcessGroup = .inherited
    ) throws(IPCError) {
        var streams = try ChildStreams(executable, standardInput, standardOutput, standardError, descriptors)
        let start = ProcessStart(
            executable: executable, arguments: arguments, environment: environment, descriptors: streams.descriptors,
            folder: workingDirectory, group: processGroup, guardian: nil)
        self.init(
            try Self.handle(of: start), leadsGroup: processGroup == .new,
            Streams(input: streams.input.take(), output: streams.output.take(), errors: streams.errors.take()))
    }

    /// The same of one that a guardian ends, with its process group, if this process is killed.
    package init(
        _ executable: String, _ arguments: [String], environment: Environment, workingDirectory: FilePath?,
        standardError: StandardError, descriptors: [CInt: FileDescriptor], processGroup: ProcessGroup,
        guardian: ProcessGuardian?
    ) throws(IPCError) {
        let streams = try ChildStreams(executable, .inherited, .inherited, standardError, descriptors)
        let start = ProcessStart(
            executable: executable, arguments: arguments, environment: environment, descriptors: streams.descriptors,
            folder: workingDirectory, group: processGroup, guardian: guardian)
        self.init(try Self.handle(of: start), leadsGroup: processGroup == .new, Streams())
        // What it has of them is its own now.
        _ = consume streams
    }

    private init(_ handle: consuming ProcessHandle, leadsGroup: Bool, _ streams: consuming Streams) {
        self.handle = handle
        self.leadsGroup = leadsGroup
        self.streams = streams
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

    /// The end of the pipe that it reads on its standard input. Close it to tell the end.
    ///
    /// - Throws: ``IPCError/Code/invalidArgument`` unless it was started with ``StandardInput/piped``, and the second time.
    public mutating func takeStandardInput() throws(IPCError) -> PipeWriter {
        guard let input = streams.input.take() else { throw noStream("standard input", ".piped") }
        return input
    }

    /// The end of the pipe that it writes its standard output to. It waits while nobody reads 64 KiB of it.
    ///
    /// - Throws: ``IPCError/Code/invalidArgument`` unless it was started with ``StandardOutput/captured``, and the second time.
    public mutating func takeStandardOutput() throws(IPCError) -> PipeReader {
        guard let output = streams.output.take() else { throw noStream("standard output", ".captured") }
        return output
    }

    /// The end of the pipe that it writes its errors to. It waits while nobody reads 64 KiB of it.
    ///
    /// - Throws: ``IPCError/Code/invalidArgument`` unless it was started with ``StandardError/captured``, and the second time.
    public mutating func takeStandardError() throws(IPCError) -> PipeReader {
        guard let errors = streams.errors.take() else { throw noStream("standard error", ".captured") }
        return errors
    }

    private func noStream(_ stream: String, _ option: String) -> IPCError {
        IPCError(
            .invalidArgument, "take", "\(stream) of process \(handle.identifier)",
            advice: "it was already taken, or is not a pipe; start the child with \(option), and take it once")
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
    /// - Throws: ``IPCError/Code/notFound`` as `wait(until:)`.
    public borrowing func tryWait() throws(IPCError) -> ExitStatus? { try reap(WEXITED | WNOHANG) }

    /// Ends the child, and the processes in the group that it leads: by SIGTERM, and by SIGKILL what is left after the grace
    /// period. Blocks the thread meanwhile.
    ///
    /// - Returns: How it ended, which may have been by itself.
    /// - Throws: ``IPCError/Code/notFound`` if its status has been taken already, or is lost; ``IPCError/Code/timedOut`` if the
    ///   kernel cannot end it within five seconds, as in the middle of a call on a dead network disk.
    public borrowing func end(gracePeriod: Duration = .seconds(2)) throws(IPCError) -> ExitStatus {
        let deadline = Deadline.after(gracePeriod)
        try askToEnd()
        do throws(IPCError) {
            try handle.waitForExit(until: deadline)
            while hasLivingMembers, !deadline.hasPassed { usleep(5000) }
        } catch {
            guard error.code == .timedOut else { throw error }
        }
        sendToAll(.kill)
        return try wait(until: .after(.seconds(5)))
    }

    /// Sends SIGTERM to it, and to its group if it leads one; what is stopped goes on, to take it.
    borrowing func askToEnd() throws(IPCError) {
        if try hasBeenWaitedFor() {
            throw IPCError(
                .notFound, "end", "process \(handle.identifier)", advice: Self.lostStatus)
        }
        sendToAll(.terminate)
        sendToAll(.continue)
    }

    /// To it, or to the group that it leads. Fails if all have ended, and if they have become another user's: then nobody here
    /// can end them.
    borrowing func sendToAll(_ signal: Signal) {
        do throws(IPCError) {
            if leadsGroup { try signal.send(toGroup: handle.identifier) } else { try handle.send(signal) }
        } catch {
            return
        }
    }

    /// Whether somebody in the group that it leads still runs.
    var hasLivingMembers: Bool { leadsGroup && ProcessGroups.haveLivingMembers([handle.identifier]) }

    /// Sends a signal to all processes of the group that the child leads: those that it has started, too. The C function is
    /// `kill` with a negative number.
    ///
    /// - Throws: ``IPCError/Code/invalidArgument`` if it was not started with ``ProcessGroup/new``;
    ///   ``IPCError/Code/notFound`` if none of them lives, or the child has been waited for: its number may be another's then.
    public borrowing func sendToGroup(_ signal: Signal) throws(IPCError) {
        let name = "group \(handle.identifier)"
        guard leadsGroup else {
            throw IPCError(
                .invalidArgument, "kill", name,
                advice: "this child does not lead a group; start it with processGroup: .new")
        }
        if try hasBeenWaitedFor() {
            throw IPCError(.notFound, "kill", name, advice: "the child that led it has already been waited for")
        }
        try signal.send(toGroup: handle.identifier)
    }
}

extension ChildProcess {
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
    static var lostStatus: String {
        ipc_signal_loses_statuses() != 0
            ? "its exit status is lost: this process ignores SIGCHLD, perhaps because its parent did; "
                + "set SIGCHLD to its default action before starting children"
            : "its exit status was already taken; other code in this process may wait for any child"
    }
}
