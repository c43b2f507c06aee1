/// Numbers that follow from a seed (SplitMix64), so that a run can be repeated.
public struct Seeded: RandomNumberGenerator {
    private var state: UInt64

    public init(_ seed: UInt64) { state = seed }

    /// A stream of its own for each pair of numbers.
    public init(_ seed: UInt64, _ stream: UInt64) {
        state = seed ^ stream &* 0xd134_2543_de82_ef95
        _ = next()
    }

    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }

    public mutating func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }

    /// True in `percent` of 100 cases.
    public mutating func chance(_ percent: Int) -> Bool { number(0...99) < percent }

    public mutating func pick<Element>(_ elements: [Element]) -> Element { elements[number(0...elements.count - 1)] }
}
