/// What to measure, and how long.
public struct BenchmarkOptions: Sendable {
    public var mechanisms: [Mechanism] = Mechanism.allCases
    public var sizes: [Int] = [64, 4096, 65_536, 1_048_576]
    public var placement: Placement = .crossCore
    /// Seconds for each figure of each implementation.
    public var duration: Double = 0.25
    /// Messages for each figure, instead of ``duration``.
    public var count: Int?
    /// Messages per second for one-way latency, instead of round trips.
    public var rate: Int?
    /// Bytes of each channel's log at least; 0 for as many as its messages need.
    public var log = 0
    /// What to run beside each: its twin in C, or its asynchronous calls.
    public var comparison: Implementation?
    /// Decides the order of mechanisms and of the two implementations; nil for the order of the table.
    public var seed: UInt64?

    public init() {}

    /// In how many rounds a figure is taken, so that slow drifts of the machine hit all alike. A ratio needs more.
    var rounds: Int { comparison == nil ? 5 : 31 }

    /// In how many at most, until a ratio is certain enough.
    var maximumRounds: Int { comparison == nil || count != nil ? rounds : 12 * rounds }

    /// What is run beside a mechanism.
    func twin(of mechanism: Mechanism) -> Implementation? {
        switch comparison {
        case .c where mechanism.hasTwin: .c
        case .async where mechanism.hasAsync: .async
        default: nil
        }
    }

    /// What is asked: the blocking call in Swift to the same in C, or the asynchronous call to the blocking one.
    func ratio(_ swift: Double, _ other: Double) -> Double { comparison == .c ? swift / other : other / swift }
}

/// A small generator of reproducible numbers (SplitMix64, Steele and others 2014).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
