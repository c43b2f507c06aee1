import Glibc

/// A point in time on the monotonic clock at which a wait gives up.
///
/// A deadline is absolute, so that a wait which is interrupted and taken up again does not start to count anew, and
/// steps of the wall clock do not move it. It counts while the machine runs (`CLOCK_MONOTONIC`) and stands still while
/// it is suspended.
public struct Deadline: Hashable, Comparable, Sendable {
    /// Nanoseconds on `CLOCK_MONOTONIC`; the greatest value means never.
    @usableFromInline package let nanoseconds: UInt64

    @inlinable package init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    /// Wait as long as it takes.
    @inlinable public static var never: Deadline { Deadline(nanoseconds: .max) }

    /// Do not wait at all: a deadline that has passed already.
    @inlinable public static var immediate: Deadline { Deadline(nanoseconds: 0) }

    /// The deadline that passes `duration` from now. A negative duration has passed already; one of more than a hundred years
    /// never does.
    public static func after(_ duration: Duration) -> Deadline {
        // Compared first: the longest durations have more seconds than their components can say.
        guard duration > .zero else { return .immediate }
        guard duration < longest else { return .never }
        let (seconds, attoseconds) = duration.components
        let nanoseconds = UInt64(seconds) * 1_000_000_000 + UInt64(attoseconds) / 1_000_000_000
        return Deadline(nanoseconds: MonotonicClock.now + nanoseconds)
    }

    /// A hundred years, so that sums of points in time stay below 2⁶³ nanoseconds.
    private static let longest = Duration.seconds(100 * 366 * 86_400)

    public static func < (left: Deadline, right: Deadline) -> Bool { left.nanoseconds < right.nanoseconds }

    /// True once the point in time has been reached.
    public var hasPassed: Bool { self != .never && nanoseconds <= MonotonicClock.now }

    /// How long it is until then: zero if it has passed, nil if it never passes.
    public var remaining: Duration? {
        guard self != .never else { return nil }
        let now = MonotonicClock.now
        return .nanoseconds(Int64(clamping: nanoseconds > now ? nanoseconds - now : 0))
    }

    /// The same point in time for a C call that takes an absolute time on `CLOCK_MONOTONIC`.
    package var timespec: Glibc.timespec { Glibc.timespec(nanoseconds: nanoseconds) }
}

/// The clock that all deadlines and measurements are read on.
package enum MonotonicClock {
    /// Nanoseconds on `CLOCK_MONOTONIC`: the same clock in every process of the machine that is in the same time namespace.
    package static var now: UInt64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

extension timespec {
    package init(nanoseconds: UInt64) {
        self.init(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
    }
}
