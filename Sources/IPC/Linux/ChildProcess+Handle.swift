import CIPCShims
import Glibc
import SystemPackage

// By its pidfd, where the kernel has one.

extension ChildProcess {
    static func handle(of start: ProcessStart) throws(IPCError) -> ProcessHandle {
        let (identifier, pidfd) = try start.run()
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

    borrowing func reap(_ options: CInt) throws(IPCError) -> ExitStatus? {
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
}
