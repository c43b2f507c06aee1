import CBaselines
import Histogram

/// One figure of a run: what a mechanism did at a size, in one implementation and placement.
public struct Measurement: Sendable {
    public enum Measure: String, Sendable {
        case latency
        case throughput
    }

    public let mechanism: Mechanism
    public let implementation: Implementation
    public let measure: Measure
    public let placement: Placement
    public let payloadBytes: Int
    /// Round trips, or messages that came.
    public let count: Int
    /// Latency in nanoseconds: of a round trip, or of one way if a rate was given.
    public var latency: Latency?
    public var messagesPerSecond: Double?
    /// The rate at which messages were to be sent, if one was given.
    public var rate: Int?
    /// Processor time of both processes together, per message in nanoseconds, if a rate was given.
    public var processorNanosecondsPerMessage: Double?
    /// The round trips of a cache line, measured in turn with these, for what is polled beside its baseline.
    public var floor: LineFloor?

    public var bytesPerSecond: Double? { messagesPerSecond.map { $0 * Double(payloadBytes) } }

    public struct Latency: Sendable {
        public let p50: UInt64
        public let p90: UInt64
        public let p99: UInt64
        public let p999: UInt64
        public let max: UInt64

        init(_ samples: [UInt64]) {
            var histogram = Histogram<UInt64>(
                highestTrackableValue: 60_000_000_000, numberOfSignificantValueDigits: .three)
            var greatest: UInt64 = 0
            for sample in samples {
                histogram.record(min(sample, 60_000_000_000))
                greatest = Swift.max(greatest, sample)
            }
            p50 = histogram.interpolatedValue(at: 0.5)
            p90 = histogram.interpolatedValue(at: 0.9)
            p99 = histogram.interpolatedValue(at: 0.99)
            p999 = histogram.interpolatedValue(at: 0.999)
            max = greatest
        }
    }

    /// The median of one round, as ``Latency`` has it. A histogram has tens of thousands of classes: to fill one and look
    /// through it four times, hundreds of times in a run, keeps the coordinator busy for longer than the rounds take.
    static func median(_ samples: [UInt64]) -> UInt64 {
        guard !samples.isEmpty else { return 0 }
        let sorted = samples.sorted()
        let middle = sorted[(sorted.count - 1) / 2]
        var (first, last) = ((sorted.count - 1) / 2, sorted.count / 2)
        while first > 0, sorted[first - 1] == middle { first -= 1 }
        while last < sorted.count, sorted[last] == middle { last += 1 }
        let lower = first > 0 ? sorted[first - 1] : middle
        let higher = last < sorted.count ? sorted[last] : middle
        let (start, end) = ((Double(middle) + Double(lower)) / 2, (Double(middle) + Double(higher)) / 2)
        let rank = Double(sorted.count) / 2
        return UInt64((start + (end - start) * (rank - Double(first)) / Double(last - first)).rounded())
    }
}

extension Histogram<UInt64> {
    /// A percentile, of times by a clock that may go in steps: 10 ns on some processors, a sixteenth of what is measured.
    /// Those that are equal are spread evenly, from halfway to the next lower that was recorded to halfway to the next
    /// higher.
    func interpolatedValue(at fraction: Double) -> UInt64 {
        let rank = fraction * Double(totalCount)
        var values = recordedValues()
        var lower: UInt64?
        while let found = values.next() {
            guard Double(found.totalCountToThisValue) >= rank else {
                lower = found.value
                continue
            }
            let value = Double(found.value)
            let start = (value + Double(lower ?? found.value)) / 2
            let end = (value + Double(values.next()?.value ?? found.value)) / 2
            let below = Double(found.totalCountToThisValue) - Double(found.count)
            return UInt64((start + (end - start) * (rank - below) / Double(found.count)).rounded())
        }
        return 0
    }
}

/// What the Swift wrapper costs beside its C twin, over interleaved rounds.
public struct BaselineRatio: Sendable {
    public let mechanism: Mechanism
    public let payloadBytes: Int
    /// Of the median round trips; at most 1.05 is wanted.
    public var latency: PairedRatio?
    /// Of messages per second; at least 0.95 is wanted.
    public var throughput: PairedRatio?
    /// The median round trip to the cache-line floor, for what is polled.
    public var lineLatency: PairedRatio?
    /// The same of the 99th percentiles of all.
    public var lineTail: Double?
}

/// The median of the ratios of so many pairs of rounds, and how far it may be from the one of endlessly many.
public struct PairedRatio: Sendable {
    public let value: Double
    /// Half of the interval in which that lies with 95 %: between two of the sorted ratios, by the binomial distribution,
    /// whatever theirs is.
    public let margin: Double

    /// - Returns: nil for no pairs.
    init?(_ ratios: [Double]) {
        guard !ratios.isEmpty else { return nil }
        let sorted = ratios.sorted()
        let reach = Int(0.98 * Double(sorted.count).squareRoot()) + 1
        value = sorted[sorted.count / 2]
        margin =
            (sorted[min(sorted.count / 2 + reach, sorted.count - 1)] - sorted[max(sorted.count / 2 - reach, 0)]) / 2
    }

    var isCertain: Bool { margin <= 0.02 }
}

/// Why a mechanism, or one size of it, was not measured.
public struct Omission: Sendable {
    public let mechanism: Mechanism
    public let payloadBytes: Int
    public let reason: String
}

/// One of the ways to send a cache line to and fro, in C.
public struct LineLoop: Sendable, BitwiseCopyable {
    let number: UInt32

    /// How many lines, how they are written, how they are polled, and whether each round trip takes another one, as
    /// "one-line store tight stay".
    public var name: String { unsafe String(cString: cb_line_name(number)) }
}

/// What no mechanism across cores can be faster than: the round trip of a cache line and nothing else, by the fastest loop that
/// was found.
public struct LineFloor: Sendable {
    public let loop: LineLoop
    public let latency: Measurement.Latency
}

/// The limits of the machine, measured in C.
public struct MachineLimits: Sendable {
    /// The round trip of a cache line between two cores; nil on one core.
    public let line: LineFloor?
    /// Bytes copied per second, in blocks of 1 MiB.
    public let copyBytesPerSecond: Double
    /// The same for memory that is not in the processor's own caches, as what another one wrote is not.
    public let farCopyBytesPerSecond: Double
}

/// All that a run brought.
public struct BenchmarkResult: Sendable {
    public var options: BenchmarkOptions
    public var machine: Machine
    public var measurements: [Measurement] = []
    public var ratios: [BaselineRatio] = []
    public var omissions: [Omission] = []
    public var limits: MachineLimits?
    /// True if the user stopped it: the figures are those from before.
    public var isInterrupted = false

    public func latency(_ mechanism: Mechanism, _ size: Int) -> Measurement? {
        measurements.first {
            $0.mechanism == mechanism && $0.implementation == .swift && $0.measure == .latency
                && $0.payloadBytes == (mechanism.fixedPayload ?? size)
        }
    }

    public func throughput(_ mechanism: Mechanism, _ size: Int) -> Measurement? {
        measurements.first {
            $0.mechanism == mechanism && $0.implementation == .swift && $0.measure == .throughput
                && $0.payloadBytes == (mechanism.fixedPayload ?? size)
        }
    }
}
