import IPC
import TestSupport

extension Seeded {
    /// How long a loop goes on before it is cancelled, in milliseconds. Some go on for longer than what is late may be.
    mutating func length() -> Int { chance(20) ? number(1500...4000) : number(5...600) }
}

/// A job's bytes: `[member, number | queue, words | words that follow from these…]`, so that any change, and any mixture of two, shows.
struct Ticket {
    let item: Item
    let queue: Queue

    /// Words of the shortest.
    static let fewest = 3

    /// Some have to be rejected each time.
    var isHopeless: Bool { item.number % 17 == 7 }

    /// What a handler chooses follows from how often the job was handed out.
    func choices(_ seed: UInt64, _ ledger: Ledger) -> Seeded {
        Seeded(seed ^ UInt64(item.member) << 40 ^ UInt64(item.number), ledger[item, .takes])
    }

    func words(_ count: Int) -> [UInt64] {
        let count = max(count, Self.fewest)
        let head = [
            UInt64(item.member) << 32 | UInt64(item.number), UInt64(queue.rawValue) << 32 | UInt64(count),
        ]
        return head + (2..<count).map { Self.mixed(head[0], head[1], $0) }
    }

    init(_ item: Item, _ queue: Queue) { (self.item, self.queue) = (item, queue) }

    /// - Returns: nil if it is torn.
    init?(_ bytes: RawSpan) {
        guard bytes.byteCount >= Self.fewest * 8, bytes.byteCount % 8 == 0 else { return nil }
        func word(_ index: Int) -> UInt64 { bytes.unsafeLoadUnaligned(fromByteOffset: index * 8, as: UInt64.self) }
        let head = (word(0), word(1))
        let (member, number) = (Int(head.0 >> 32), Int(head.0 & 0xffff_ffff))
        guard member < Ledger.members, number < Ledger.items, let queue = Queue(rawValue: Int(head.1 >> 32)),
            Int(head.1 & 0xffff_ffff) * 8 == bytes.byteCount
        else { return nil }
        for index in 2..<bytes.byteCount / 8 where word(index) != Self.mixed(head.0, head.1, index) { return nil }
        self.init(Item(member: member, number: number), queue)
    }

    private static func mixed(_ first: UInt64, _ second: UInt64, _ index: Int) -> UInt64 {
        (first &+ UInt64(index)) &* 0x9e37_79b9_7f4a_7c15 ^ second
    }
}

/// A call's request.
struct Ask: BitwiseCopyable, Sendable {
    /// How its handler takes it.
    enum Manner: UInt32, CaseIterable {
        case atOnce, refused
        /// After some milliseconds.
        case later
        /// Not before it is cancelled.
        case never
        /// Gives it to another once.
        case released
    }

    var member: UInt32
    var number: UInt32
    private var mannerCode: UInt32
    var milliseconds: UInt32
    private var check: UInt64

    init(_ item: Item, _ manner: Manner, milliseconds: Int) {
        (member, number) = (UInt32(item.member), UInt32(item.number))
        (mannerCode, self.milliseconds, check) = (manner.rawValue, UInt32(milliseconds), 0)
        check = sum
    }

    private var sum: UInt64 {
        (UInt64(member) << 32 | UInt64(number)) &* 0x9e37_79b9_7f4a_7c15 ^ UInt64(mannerCode) << 32
            ^ UInt64(milliseconds)
    }

    var item: Item { Item(member: Int(member), number: Int(number)) }
    var manner: Manner { Manner(rawValue: mannerCode) ?? .atOnce }
    var isWhole: Bool {
        check == sum && member < Ledger.members && number < Ledger.items && Manner(rawValue: mannerCode) != nil
    }

    var answer: Answer { Answer(number: number, check: check &* 3) }
    var refusal: Refusal { Refusal(number: number, check: check &* 5) }
}

struct Answer: BitwiseCopyable, Sendable, Equatable {
    var number: UInt32
    var check: UInt64
    /// What a handler returns that has released its call: nobody gets it.
    static let dropped = Answer(number: .max, check: 0)
}

struct Refusal: Error, BitwiseCopyable, Equatable {
    var number: UInt32
    var check: UInt64
}
