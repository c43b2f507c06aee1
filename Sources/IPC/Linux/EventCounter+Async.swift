extension EventCounter {
    /// Takes what was added, suspended while it is zero.
    ///
    /// - Throws: ``IPCError/Code/timedOut``; ``IPCError/Code/cancelled``, and nothing was taken.
    public nonisolated(nonsending) borrowing func take(
        until deadline: Deadline = .never
    ) async throws(IPCError) -> UInt64 {
        try await Reactor.attempting(
            .readable, of: descriptor.rawValue, until: deadline, "read", "eventfd"
        ) { () throws(IPCError) in try tryTake() }
    }
}
