import CIPCShims
import IPC

/// Keeps a reader away from the writer's heels while a stream goes on.
///
/// There it takes the lines that are being written away from the writer, and those ahead, which the processor fetches unasked:
/// both go at a third of their speed then, or less. So whoever has caught up again and again in the middle of a stream looks at
/// nothing for a microsecond, or for up to eight if the stream is fast. Who finds one message each time never does.
struct ReaderPace {
    /// Where there was nothing more to read the last time.
    private(set) var position: UInt64
    /// About how many bytes were read by several messages at a time since the last stay.
    private var streamed: UInt64 = 0
    /// How long that was, in nanoseconds, and where and when it began.
    private var stay: UInt64 = shortestStay
    private var stayedPosition: UInt64 = 0
    private var stayedTime: UInt64 = 0

    private static var shortestStay: UInt64 { 1000 }
    private static var longestStay: UInt64 { 8000 }

    init(_ position: UInt64) { self.position = position }

    /// There is nothing more to read now. Stays, if that is better.
    ///
    /// - Parameters:
    ///   - isOneMessage: Whether one message was read since the last time: its reply may be waited for, and the answer to
    ///     that comes soon.
    ///   - capacity: Bytes of the log.
    mutating func catchUp(at end: UInt64, isOneMessage: Bool, capacity: Int) {
        let burst = end &- position
        position = end
        if isOneMessage { return streamed = max(streamed, 256) &- 256 }
        streamed &+= burst
        guard streamed > 4096 else { return }
        streamed = 0
        // Longer if more than a byte a nanosecond came since the last time; but not so long that the log fills up, or what is
        // in it leaves the writer's cache.
        let now = MonotonicClock.now
        let isFast = end &- stayedPosition > now &- stayedTime && burst < min(UInt64(capacity) / 8, 256 << 10)
        stay = isFast ? min(2 &* stay, Self.longestStay) : Self.shortestStay
        (stayedPosition, stayedTime) = (end, now)
        while MonotonicClock.now &- now < stay { ipc_pause() }
    }
}
