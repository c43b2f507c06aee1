import IPC

/// When rejected work is handed out again.
public enum RetryBackoff: Hashable, Sendable {
    /// At once.
    case none
    /// After this time.
    case fixed(Duration)
    /// After `first`, then twice as long each time, up to `limit`.
    case exponential(first: Duration, limit: Duration)
}

/// What becomes of work that is not done: fixed when a queue is created, the same for all of its workers.
struct RetryPolicy: Hashable, Sendable {
    /// How often a message is handed out at most; `Int.max` for no limit.
    var maximumAttempts = 5
    var backoff = RetryBackoff.none

    static let unlimited = RetryPolicy(maximumAttempts: .max)

    /// When work is due that was rejected after so many attempts, by the wall clock; 0 for at once.
    func due(after attempts: Int) -> UInt64 {
        // What goes to the dead letters does not wait for it.
        guard attempts < maximumAttempts else { return 0 }
        switch backoff {
        case .none: return 0
        case .fixed(let delay): return WallClock.after(delay)
        case .exponential(let first, let limit):
            var delay = first
            for _ in 1..<max(attempts, 1) where delay < limit { delay = delay + delay }
            return WallClock.after(min(delay, limit))
        }
    }
}

/// What somebody who creates or opens a queue or a service says of its policy; nil for whatever it is.
struct PolicyWish: Sendable {
    // Of a queue.
    var maximumAttempts: Int?
    var backoff: RetryBackoff?
    /// Of a service: how many calls may wait that no server has taken.
    var maximumWaiting: Int?

    /// What a queue is created with.
    var policy: RetryPolicy {
        RetryPolicy(maximumAttempts: maximumAttempts ?? 5, backoff: backoff ?? .none)
    }

    /// - Throws: ``IPC/IPCError/Code/invalidArgument``.
    func check(_ name: String) throws(IPCError) {
        if let maximumAttempts, !(1..<Work.countedAttempts).contains(maximumAttempts) {
            throw IPCError(
                .invalidArgument, "open queue", name,
                advice: "\(maximumAttempts) attempts are asked for; there are 1 to \(Work.countedAttempts - 1)")
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
                advice: "a backoff of \(delays) is asked for; each has to be more than 0, and at most a year")
        }
        guard delays.count < 2 || delays[0] <= delays[1] else {
            throw IPCError(
                .invalidArgument, "open queue", name,
                advice: "a backoff from \(delays[0]) to \(delays[1]) is asked for; the first is the shorter one")
        }
    }

    /// The same of a service.
    func checkWaiting(_ name: String) throws(IPCError) {
        guard let maximumWaiting, !(1...Int(Int32.max)).contains(maximumWaiting) else { return }
        throw IPCError(
            .invalidArgument, "open service", name,
            advice:
                "at most \(maximumWaiting) waiting calls are asked for; there are 1 to \(Int32.max), or no limit (nil)")
    }

    private static var longest: Duration { .seconds(366 * 86_400) }

    /// That a queue or a service that exists has the policy that is asked for.
    func check(_ memory: ChannelMemory) throws(IPCError) {
        if let maximumWaiting, maximumWaiting != memory.maximumWaiting {
            let theirs =
                memory.maximumWaiting == 0 ? "no limit of waiting calls" : "\(memory.maximumWaiting) waiting calls"
            throw Self.differs(memory, theirs, "\(maximumWaiting)")
        }
        let policy = memory.retryPolicy
        if let maximumAttempts, maximumAttempts != policy.maximumAttempts {
            throw Self.differs(memory, "\(policy.maximumAttempts) attempts", "\(maximumAttempts)")
        }
        if let backoff, backoff != policy.backoff {
            throw Self.differs(memory, "the backoff \(policy.backoff)", "\(backoff)")
        }
    }

    private static func differs(_ memory: ChannelMemory, _ theirs: String, _ ours: String) -> IPCError {
        IPCError(
            .invalidArgument, "open \(memory.pattern)", memory.name.description,
            advice:
                "it was created with \(theirs), and \(ours) is asked for; ask for the same, or for nothing, or create it anew"
        )
    }
}

extension RetryPolicy {
    private enum Kind {
        static let none: UInt32 = 0
        static let fixed: UInt32 = 1
        static let exponential: UInt32 = 2
    }

    func store(_ control: MemoryMapping) {
        typealias Fixed = LogLayout.Fixed
        control.store(UInt32(clamping: maximumAttempts == .max ? 0 : maximumAttempts), at: Fixed.maximumAttempts)
        let (kind, first, limit): (UInt32, Duration, Duration) =
            switch backoff {
            case .none: (Kind.none, .zero, .zero)
            case .fixed(let delay): (Kind.fixed, delay, delay)
            case .exponential(let first, let limit): (Kind.exponential, first, limit)
            }
        control.store(kind, at: Fixed.backoff)
        control.store(first.wholeNanoseconds, at: Fixed.firstDelay)
        control.store(limit.wholeNanoseconds, at: Fixed.longestDelay)
    }

    init(_ control: MemoryMapping) {
        typealias Fixed = LogLayout.Fixed
        let attempts = Int(control.load(UInt32.self, at: Fixed.maximumAttempts))
        maximumAttempts = attempts == 0 ? .max : attempts
        func delay(_ offset: Int) -> Duration {
            .nanoseconds(Int64(clamping: control.load(UInt64.self, at: offset)))
        }
        switch control.load(UInt32.self, at: Fixed.backoff) {
        case Kind.fixed: backoff = .fixed(delay(Fixed.firstDelay))
        case Kind.exponential:
            // Whatever a peer stored, doubling it comes to an end.
            backoff = .exponential(
                first: max(delay(Fixed.firstDelay), .nanoseconds(1)), limit: delay(Fixed.longestDelay))
        default: backoff = .none
        }
    }
}

extension Duration {
    fileprivate var wholeNanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        return UInt64(clamping: seconds) &* 1_000_000_000 &+ UInt64(clamping: attoseconds / 1_000_000_000)
    }
}
