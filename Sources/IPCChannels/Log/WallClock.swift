import Glibc
import IPC

/// The clock for the time at which work is due: CLOCK_REALTIME, in nanoseconds since 1970. It continues while the machine is off.
/// Setting the clock moves what is due.
enum WallClock {
    static var now: UInt64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return UInt64(max(time.tv_sec, 0)) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
    }

    /// Whether a time has come. Does not read the clock for the time that never comes (UInt64.max).
    static func hasReached(_ time: UInt64) -> Bool { time != .max && now >= time }

    /// A time as the deadline of a wait.
    static func deadline(_ time: UInt64) -> Deadline {
        guard time != .max else { return .never }
        let now = now
        return Deadline(nanoseconds: MonotonicClock.now &+ (time > now ? min(time - now, 1 << 62) : 0))
    }

    /// The time that long from now; one that never comes if that is too long.
    static func after(_ duration: Duration) -> UInt64 {
        let (seconds, attoseconds) = duration.components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        guard seconds < 1 << 33 else { return .max - 1 }
        return now &+ UInt64(seconds) &* 1_000_000_000 &+ UInt64(attoseconds / 1_000_000_000)
    }
}
