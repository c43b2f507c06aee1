import IPC

/// When a rejected job is redelivered.
public enum RetryBackoff: Hashable, Sendable {
    /// At once.
    case none
    /// After this time.
    case fixed(Duration)
    /// After `first`, then twice as long each time, up to `limit`.
    case exponential(first: Duration, limit: Duration)

    /// In whole nanoseconds, as it is stored.
    var rounded: RetryBackoff {
        func rounded(_ delay: Duration) -> Duration {
            let (seconds, attoseconds) = delay.components
            return Duration(
                secondsComponent: seconds, attosecondsComponent: attoseconds / 1_000_000_000 * 1_000_000_000)
        }
        return switch self {
        case .none: .none
        case .fixed(let delay): .fixed(rounded(delay))
        case .exponential(let first, let limit): .exponential(first: rounded(first), limit: rounded(limit))
        }
    }
}

/// What happens to unfinished jobs: fixed when a queue is created, the same for all of its workers.
struct RetryPolicy: Hashable, Sendable {
    /// The maximum number of deliveries of a message; `Int.max` for no limit.
    var maximumAttempts = 5
    var backoff = RetryBackoff.none

    static let unlimited = RetryPolicy(maximumAttempts: .max)

    /// When a job is due that was rejected after this many attempts, by the wall clock; 0 for at once.
    func due(after attempts: Int) -> UInt64 {
        // A job that goes to the dead letters does not wait.
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

    fileprivate init(_ memory: ChannelMemory) {
        typealias Fixed = LogLayout.Fixed
        let attempts = Int(SharedUInt32(memory, Fixed.maximumAttempts).relaxed)
        maximumAttempts = attempts == 0 ? .max : attempts
        func delay(_ offset: Int) -> Duration { .nanoseconds(Int64(clamping: memory.word(offset).relaxed)) }
        switch SharedUInt32(memory, Fixed.backoff).relaxed {
        case Kind.fixed: backoff = .fixed(delay(Fixed.firstDelay))
        case Kind.exponential:
            // At least 1 ns, so that the doubling ends whatever a peer stored.
            backoff = .exponential(
                first: max(delay(Fixed.firstDelay), .nanoseconds(1)), limit: delay(Fixed.longestDelay))
        default: backoff = .none
        }
    }
}

extension ChannelMemory {
    /// Of a queue.
    var retryPolicy: RetryPolicy { RetryPolicy(self) }

    /// Of a service: the maximum number of calls that wait for a server; 0 for no limit.
    var maximumWaiting: Int { Int(SharedUInt32(self, LogLayout.Fixed.maximumWaiting).relaxed) }
}

extension Duration {
    fileprivate var wholeNanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        return UInt64(clamping: seconds) &* 1_000_000_000 &+ UInt64(clamping: attoseconds / 1_000_000_000)
    }
}
