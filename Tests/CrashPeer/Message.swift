import IPC

/// What all messages and jobs carry: who wrote it and which one it is, what the other writers had published by then, and
/// bytes that follow from that, so that any change shows.
///
/// `[checksum u64 | epoch u32 | writer u32 | number u64 | counts of writers 1 to 3 u64 each | bytes…]`
struct Message: Equatable {
    /// Which message it is. Numbers count from 0 for each writer of each epoch; an epoch is the time between two crashes.
    struct Key: Hashable, Comparable {
        var epoch: UInt64
        var writer: UInt64
        var number: UInt64

        static func < (a: Key, b: Key) -> Bool {
            (a.epoch, a.writer, a.number) < (b.epoch, b.writer, b.number)
        }
    }

    static let headerSize = 48

    var key: Key
    /// Of each writer, how many messages it had published in this epoch before this one was begun.
    var counts: [UInt64]

    /// The bytes of a message of `size` bytes, at least ``headerSize`` and a multiple of 8.
    func bytes(_ size: Int) -> [UInt8] {
        var words = [UInt64](repeating: 0, count: size / 8)
        words[1] = key.epoch << 32 | key.writer
        words[2] = key.number
        for index in 0..<3 { words[3 + index] = counts[index] }
        var random = self.random
        for index in 6..<words.count { words[index] = random.next() }
        words[0] = Self.checksum(words)
        return words.withUnsafeBytes { Array($0) }
    }

    /// The message in `payload`; nil if it is not as it was written.
    init?(_ payload: RawSpan) {
        guard payload.byteCount >= Self.headerSize, payload.byteCount % 8 == 0 else { return nil }
        let words = (0..<payload.byteCount / 8).map {
            payload.unsafeLoadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self)
        }
        key = Key(epoch: words[1] >> 32, writer: words[1] & 0xffff_ffff, number: words[2])
        counts = Array(words[3..<6])
        var random = self.random
        guard TestedChannel.writers.contains(key.writer), words[0] == Self.checksum(words),
            words[6...].allSatisfy({ $0 == random.next() })
        else { return nil }
    }

    init(_ key: Key, _ counts: [UInt64]) {
        self.key = key
        self.counts = counts
    }

    private var random: SplitMix { SplitMix(key.epoch << 48 ^ key.writer << 40 ^ key.number) }

    private static func checksum(_ words: [UInt64]) -> UInt64 {
        words[1...].reduce(UInt64(words.count)) { ($0 ^ $1) &* 0x9e37_79b9_7f4a_7c15 ^ ($0 &>> 29) }
    }
}

/// Numbers that follow from a seed: SplitMix64 (Steele, Lea and Flood, 2014).
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z &>> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z &>> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z &>> 31)
    }

    /// Bytes of a message: small mostly, of more than a page now and then.
    mutating func size() -> Int {
        let largest = Int.random(in: 0..<20, using: &self) == 0 ? 6000 : 400
        return Message.headerSize + Int.random(in: 0...(largest - Message.headerSize) / 8, using: &self) * 8
    }
}
