import CIPCShims
import IPC

/// Keeps a reader from following the writer too closely in the middle of a stream.
///
/// A reader that follows closely takes cache lines away from the writer: those being written, and those ahead of them, which the
/// hardware prefetcher fetches. Both then run at a third of their speed or less. So a reader that has caught up again and again in
/// the middle of a stream backs off for one microsecond, or for up to eight if the stream is fast. A reader that finds a single
/// message each time never backs off.
struct ReaderPace {
    /// Where there was nothing more to read the last time.
    private(set) var position: UInt64
    /// About how many bytes were read, several messages at a time, since the last back-off.
    private var streamed: UInt64 = 0
    /// The length of that back-off in nanoseconds, then where and when it began.
    private var backOff: UInt64 = shortestBackOff
    private var lastPosition: UInt64 = 0
    private var lastTime: UInt64 = 0

    private static var shortestBackOff: UInt64 { 1000 }
    private static var longestBackOff: UInt64 { 8000 }

    init(_ position: UInt64) { self.position = position }

    /// Called when there is nothing more to read. Backs off if that helps the stream.
    ///
    /// - Parameters:
    ///   - isOneMessage: Whether a single message was read since the last time. The writer may wait for a reply to it and then send
    ///     the next one soon.
    ///   - capacity: The size of the log in bytes.
    mutating func catchUp(at end: UInt64, isOneMessage: Bool, capacity: Int) {
        let burst = end &- position
        position = end
        if isOneMessage { return streamed = max(streamed, 256) &- 256 }
        streamed &+= burst
        guard streamed > 4096 else { return }
        streamed = 0
        // Longer if more than a byte per nanosecond came since the last time; but not so long that the log fills up or its content
        // leaves the writer's cache.
        let now = MonotonicClock.now
        let isFast = end &- lastPosition > now &- lastTime && burst < min(UInt64(capacity) / 8, 256 << 10)
        backOff = isFast ? min(2 &* backOff, Self.longestBackOff) : Self.shortestBackOff
        (lastPosition, lastTime) = (end, now)
        while MonotonicClock.now &- now < backOff { ipc_pause() }
    }
}
