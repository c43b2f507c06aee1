import IPC
import TestSupport

/// Who wrote an item, which it is, and what is to be known of it.
struct Stamp: Equatable {
    var member: Int
    var number: Int
    /// The ledger's clock before it was written.
    var clock: UInt64 = 0
    /// The last items, which end the readers.
    var isEnd = false
}

/// The bytes of an item: `[member u32 | words u32 | number u64 | clock u64 | end u64 | words that follow from these…]`, so
/// that any change, and any mixture of two, shows.
enum Payload {
    static let headerWords = 4

    /// Most are small, some take several pages.
    static func words(_ random: inout Seeded) -> Int {
        switch random.number(0...99) {
        case ..<2: random.number(500...2000)
        case ..<12: random.number(70...500)
        default: random.number(headerWords + 1...70)
        }
    }

    static func make(_ stamp: Stamp, words: Int) -> [UInt64] {
        var payload = [UInt64](repeating: 0, count: max(words, headerWords + 1))
        payload[0] = UInt64(stamp.member) | UInt64(payload.count) << 32
        payload[1] = UInt64(stamp.number)
        payload[2] = stamp.clock
        payload[3] = stamp.isEnd ? .max : 0
        var state = seed(payload[0], payload[1], payload[2])
        for index in headerWords..<payload.count {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            payload[index] = state
        }
        return payload
    }

    private static func seed(_ first: UInt64, _ second: UInt64, _ third: UInt64) -> UInt64 {
        (first &* 0x9e37_79b9_7f4a_7c15 ^ second) &* 0xd134_2543_de82_ef95 ^ third
    }

    /// - Returns: nil if it is torn.
    static func check(_ bytes: RawSpan) -> Stamp? {
        guard bytes.byteCount > headerWords * 8, bytes.byteCount % 8 == 0 else { return nil }
        func word(_ index: Int) -> UInt64 { bytes.unsafeLoadUnaligned(fromByteOffset: index * 8, as: UInt64.self) }
        let first = word(0)
        guard Int(first >> 32) == bytes.byteCount / 8, word(3) == 0 || word(3) == .max else { return nil }
        var state = seed(first, word(1), word(2))
        for index in headerWords..<bytes.byteCount / 8 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            guard word(index) == state else { return nil }
        }
        let member = Int(UInt32(truncatingIfNeeded: first))
        guard member < Plan.mostMembers, let number = Int(exactly: word(1)) else { return nil }
        return Stamp(member: member, number: number, clock: word(2), isEnd: word(3) == .max)
    }
}
