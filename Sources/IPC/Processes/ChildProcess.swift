import CIPCShims
import Glibc
public import SystemPackage

/// A child process of this program, tied to the scope that started it.
///
/// Started by `posix_spawn`, never by a bare `fork`: a fork in a program with threads leaves their locks held for ever.
/// The child gets an empty signal mask, default signal actions, and of the descriptors only 0, 1, 2 and those that it
/// is given by number. It is waited for by its own pidfd: other children of the program are never reaped here.
///
/// ```swift
/// let pipe = try AnonymousPipe()
/// let child = try ChildProcess("grep", ["needle", "/dev/fd/3"], descriptors: [3: pipe.reader.descriptor])
/// ```
public struct ChildProcess: ~Copyable, Sendable {
    /// The handle to signal it by.
    public let handle: ProcessHandle
    private var isDetached = false

    /// Starts a program.
    ///
    /// - Parameters:
    ///   - executable: A path, or a name to be looked up in `PATH`.
    ///   - arguments: The arguments after the program's own name.
    ///   - environment: `NAME=value` strings, or nil for this process's environment.
    ///   - descriptors: Which descriptors of this process the child has, by their number in the child. They are lent
    ///     for the call. Without an entry for 0, 1 or 2, the child shares that one with this process.
    /// - Throws: ``IPCError/Code/childFailed`` if there is no such program, or it cannot be run.
    public init(
        _ executable: String, _ arguments: [String] = [], environment: [String]? = nil,
        descriptors: [CInt: FileDescriptor] = [:]
    ) throws(IPCError) {
        let identifier = try Self.spawn(executable, arguments, environment, descriptors)
        // The child cannot have been waited for by anyone yet, so its number still means it.
        do throws(IPCError) {
            self.handle = try ProcessHandle(identifier)
        } catch {
            // Without a descriptor for its handle, nobody could end it later.
            Glibc.kill(identifier, SIGKILL)
            _ = retryingInterrupts { waitpid(identifier, nil, 0) }
            throw error
        }
    }

    /// The child is killed and waited for if it still runs: call ``wait(until:)`` before, or ``detach()``.
    deinit {
        guard !isDetached else { return }
        try? handle.send(.kill)
        var information = unsafe siginfo_t()
        _ = unsafe ipc_waitid_pidfd(handle.descriptor.rawValue, &information, WEXITED)
    }

    /// Lets the child live on by itself. When it ends it stays a zombie until this process ends.
    public mutating func detach() { isDetached = true }

    /// Waits until the child has ended, and takes its exit status. The C function is `waitid` with `P_PIDFD`.
    ///
    /// - Throws: ``IPCError/Code/timedOut``, and the child goes on; ``IPCError/Code/notFound`` if its status has been
    ///   taken already, or somebody waits for every child of this process.
    public borrowing func wait(until deadline: Deadline = .never) throws(IPCError) -> ExitStatus {
        try handle.waitForExit(until: deadline)
        guard let status = try tryWait() else { throw .timedOut("waitid", "process \(handle.identifier)") }
        return status
    }

    /// Takes the exit status if the child has ended; nil if it still runs.
    public borrowing func tryWait() throws(IPCError) -> ExitStatus? {
        var information = unsafe siginfo_t()
        let raw = handle.descriptor.rawValue
        let result = retryingInterrupts { unsafe ipc_waitid_pidfd(raw, &information, WEXITED | WNOHANG) }
        _ = try result.orThrow("waitid", "process \(handle.identifier)") { errno in
            errno == .noChildProcess ? "its exit status was taken already; something may wait for any child" : nil
        }
        guard unsafe ipc_siginfo_pid(&information) != 0 else { return nil }
        let status = unsafe ipc_siginfo_status(&information)
        return unsafe information.si_code == CInt(CLD_EXITED) ? .exited(status) : .signaled(Signal(rawValue: status))
    }
}

extension ChildProcess {
    private static func spawn(
        _ executable: String, _ arguments: [String], _ environment: [String]?, _ descriptors: [CInt: FileDescriptor]
    ) throws(IPCError) -> pid_t {
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        let highest = max(2, descriptors.keys.max() ?? 2)

        // Copies above every target number, so that no dup2 overwrites the source of a later one.
        var copies: [CInt] = []
        defer { for copy in copies { Glibc.close(copy) } }
        for (target, source) in descriptors {
            let copy = try systemCall { ipc_fcntl_int(source.rawValue, F_DUPFD_CLOEXEC, highest + 1) }
                .orThrow("fcntl", "descriptor \(source.rawValue)")
            copies.append(copy)
            unsafe posix_spawn_file_actions_adddup2(&actions, copy, target)
        }
        for number in 3..<max(3, highest) where descriptors[number] == nil {
            unsafe posix_spawn_file_actions_addclose(&actions, number)
        }
        unsafe ipc_spawn_close_from(&actions, highest + 1)

        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        var none = SignalSet([]).raw
        var all = SignalSet.all.raw
        unsafe posix_spawnattr_setsigmask(&attributes, &none)
        unsafe posix_spawnattr_setsigdefault(&attributes, &all)
        unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

        var identifier: pid_t = 0
        let result = unsafe withCStrings([executable] + arguments) { argumentVector in
            guard let environment else {
                return unsafe posix_spawnp(
                    &identifier, executable, &actions, &attributes, argumentVector, ipc_environment())
            }
            return unsafe withCStrings(environment) { environmentVector in
                unsafe posix_spawnp(&identifier, executable, &actions, &attributes, argumentVector, environmentVector)
            }
        }
        guard result == 0 else {
            let errno = Errno(rawValue: result)
            let advice =
                errno == .noSuchFileOrDirectory
                ? "there is no such program; give its path, or a name found in PATH" : "it cannot be run"
            throw IPCError(.childFailed, "posix_spawn", executable, errno: errno, advice: advice)
        }
        return identifier
    }

    /// Lends a null-terminated vector of C strings, as `argv` is.
    private static func withCStrings<Result>(
        _ strings: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
    ) -> Result {
        var pointers: [UnsafeMutablePointer<CChar>?] = unsafe strings.map { unsafe strdup($0) }
        unsafe pointers.append(nil)
        defer { unsafe pointers.forEach { unsafe free($0) } }
        return unsafe pointers.withUnsafeMutableBufferPointer { unsafe body($0.baseAddress!) }
    }
}
