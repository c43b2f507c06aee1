import IPC

/// How many threads of this process sleep for the work of a channel: they share the looks that one of them has to take every 50 ms, since
/// a job that one finds is as good as found by any, and since they live and die together.
enum IdleThreads {
    /// By the channel's key, which no other channel has.
    private static let counts = Locked<[UInt64: Int]>([:])

    static func begin(_ key: UInt64) { counts.withLock { $0[key, default: 0] += 1 } }

    static func end(_ key: UInt64) {
        counts.withLock { counts in
            let count = (counts[key] ?? 1) - 1
            counts[key] = count > 0 ? count : nil
        }
    }

    /// How long one of them sleeps at most, in nanoseconds: the longer the more there are, and never twice the same, so that their looks
    /// are spread, and hardly ever further than 50 ms from each other.
    static func slice(_ key: UInt64) -> UInt64 {
        let count = counts.withLock { $0[key] ?? 1 }
        let longest = min(UInt64(count) * 12_000_000, 1_000_000_000)
        return longest <= SleepingPlace.slice ? SleepingPlace.slice : UInt64.random(in: 1_000_000...longest)
    }
}
