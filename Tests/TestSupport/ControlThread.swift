import Synchronization
import Glibc
public import IPC

/// Measures how late this machine wakes a thread that has nothing to do with channels: so much nobody can be blamed for.
public final class ControlThread: Sendable {
    private struct Delay {
        var at: UInt64
        var length: UInt64
    }

    private let delays = Mutex<[Delay]>([])
    private let isOver = Atomic(false)
    private static let period: UInt64 = 1_000_000
    private static let kept = 20_000

    public init() {}

    public func start() throws(IPCError) -> PlainThread {
        try PlainThread { [self] in
            while !isOver.load(ordering: .relaxed) {
                let wanted = MonotonicClock.now + Self.period
                var time = timespec(nanoseconds: wanted)
                clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nil)
                let now = MonotonicClock.now
                guard now > wanted + 1_000_000 else { continue }
                delays.withLock {
                    if $0.count >= Self.kept { $0.removeFirst(Self.kept / 2) }
                    $0.append(Delay(at: now, length: now - wanted))
                }
            }
        }
    }

    public func stop() { isOver.store(true, ordering: .relaxed) }

    /// The greatest delay in a span of time.
    public func worst(from start: UInt64, to end: UInt64) -> UInt64 {
        delays.withLock { delays in
            delays.lazy.filter { $0.at >= start && $0.at - $0.length <= end }.map(\.length).max() ?? 0
        }
    }
}
