// The calls that wait without a thread. Each is the call of the same name, in an asynchronous function.

extension ProcessHandle {
    /// Waits until the process has ended, suspended meanwhile, without taking its exit status.
    ///
    /// - Throws: ``IPCError/Code/timedOut``, ``IPCError/Code/cancelled``.
    public nonisolated(nonsending) borrowing func waitForExit(
        until deadline: Deadline = .never
    ) async throws(IPCError) {
        let raw = descriptor.rawValue
        guard try !Readiness.readable.wait(for: raw, until: .immediate) else { return }
        try await Reactor.wait(for: .readable, of: raw, until: deadline, "wait", "process \(identifier)")
    }
}

extension ChildProcess {
    /// Waits until the child has ended, suspended meanwhile, and takes its exit status.
    ///
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``, and the child goes on.
    public nonisolated(nonsending) borrowing func wait(
        until deadline: Deadline = .never
    ) async throws(IPCError) -> ExitStatus {
        while true {
            if let status = try tryWait() { return status }
            try await handle.waitForExit(until: deadline)
        }
    }
}
