/// A coarse histogram of times: four buckets to each power of two of microseconds.
enum Buckets {
    static func index(_ nanoseconds: UInt64) -> Int {
        let time = max(nanoseconds / 1000, 4)
        let power = 63 - time.leadingZeroBitCount
        return min(power * 4 + Int(time >> UInt64(power - 2) & 3), Ledger.buckets - 1)
    }

    /// The greatest time of a bucket, in milliseconds.
    static func end(_ index: Int) -> Double {
        let (power, quarter) = (index / 4, index % 4)
        return Double((quarter + 5) << max(power - 2, 0)) / 1000
    }

    /// Below which time so many of 1,000 are.
    static func percentile(_ perMille: Int, of counts: [UInt64]) -> Double {
        let total = counts.reduce(0, +)
        var rest = (total * UInt64(perMille) + 999) / 1000
        for (index, count) in counts.enumerated() {
            if count >= rest { return total == 0 ? 0 : end(index) }
            rest -= count
        }
        return 0
    }
}
