// The calls that wait without a thread. Each is the call of the same name, in an asynchronous function.

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

    /// Ends the child, and the processes in the group that it leads, suspended meanwhile: by SIGTERM, and by SIGKILL what is
    /// left after the grace period.
    ///
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``, and it has been killed without the rest of the grace period.
    public nonisolated(nonsending) borrowing func end(
        gracePeriod: Duration = .seconds(2)
    ) async throws(IPCError) -> ExitStatus {
        let deadline = Deadline.after(gracePeriod)
        try askToEnd()
        do throws(IPCError) {
            try await handle.waitForExit(until: deadline)
            while hasLivingMembers, !deadline.hasPassed {
                let outcome = try await Reactor.park(until: .after(.milliseconds(5))) { _ in true }
                if case .cancelled = outcome { break }
            }
        } catch {
            guard error.code == .timedOut || error.code == .cancelled else { throw error }
        }
        sendToAll(.kill)
        return try await wait(until: .after(.seconds(5)))
    }
}
