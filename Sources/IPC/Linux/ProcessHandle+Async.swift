// The call that waits without a thread, in an asynchronous function.

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
