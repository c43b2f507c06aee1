import IPC

// The options of queues and services only.
extension ChannelOptions {
    /// - Throws: ``/IPC/IPCError/Code/invalidArgument``.
    func checkRetries(_ name: String) throws(IPCError) {
        if let maximumAttempts, !(1..<Work.countedAttempts).contains(maximumAttempts) {
            throw IPCError(
                .invalidArgument, "open queue", name,
                advice: "maximumAttempts is \(maximumAttempts); it must be 1 to \(Work.countedAttempts - 1)")
        }
        let delays: [Duration] =
            switch backoff {
            case .fixed(let delay): [delay]
            case .exponential(let first, let limit): [first, limit]
            case .some(.none), nil: []
            }
        guard delays.allSatisfy({ $0 > .zero && $0 <= Self.longest }) else {
            throw IPCError(
                .invalidArgument, "open queue", name,
                advice: "a backoff of \(delays) was requested; each delay must be more than 0, and at most a year")
        }
        guard delays.count < 2 || delays[0] <= delays[1] else {
            throw IPCError(
                .invalidArgument, "open queue", name,
                advice:
                    "a backoff from \(delays[0]) to \(delays[1]) was requested; the first delay must be the shorter one"
            )
        }
    }

    /// The same for a service.
    func checkWaiting(_ name: String) throws(IPCError) {
        let limits = Work.waitingLimits
        guard let maximumWaiting, !limits.contains(maximumWaiting) else { return }
        throw IPCError(
            .invalidArgument, "open service", name,
            advice:
                "maximumWaiting is \(maximumWaiting); it must be \(limits.lowerBound) to \(limits.upperBound), or nil for no limit"
        )
    }

    private static var longest: Duration { .seconds(366 * 86_400) }
}
