import Glibc
import IPC
import IPCChannels
import Synchronization

/// Numbered messages of random sizes with a checksum: `[writer u32 | checksum u32 | number u64 | bytes…]`. A message of a
/// writer `UInt32.max` ends the stream.
enum Stream {
    static let headerSize = 16
    static let end = UInt32.max

    /// The bytes of a message follow from its writer and number, so that any change shows.
    private static func fill(_ payload: inout MutableRawSpan, _ writer: UInt32, _ number: UInt64) {
        var state = UInt64(writer) << 32 ^ number ^ 0x9e37_79b9_7f4a_7c15
        var sum: UInt32 = 0
        for offset in stride(from: headerSize, to: payload.byteCount, by: 8) {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            payload.storeBytes(of: state, toByteOffset: offset, as: UInt64.self)
            sum = sum &* 31 &+ UInt32(truncatingIfNeeded: state >> 32)
        }
        payload.storeBytes(of: writer, toByteOffset: 0, as: UInt32.self)
        payload.storeBytes(of: sum, toByteOffset: 4, as: UInt32.self)
        payload.storeBytes(of: number, toByteOffset: 8, as: UInt64.self)
    }

    private static func check(_ payload: RawSpan) -> (writer: UInt32, number: UInt64)? {
        guard payload.byteCount >= headerSize, payload.byteCount % 8 == 0 else { return nil }
        let writer = payload.unsafeLoad(fromByteOffset: 0, as: UInt32.self)
        let number = payload.unsafeLoad(fromByteOffset: 8, as: UInt64.self)
        var state = UInt64(writer) << 32 ^ number ^ 0x9e37_79b9_7f4a_7c15
        var sum: UInt32 = 0
        for offset in stride(from: headerSize, to: payload.byteCount, by: 8) {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            guard payload.unsafeLoad(fromByteOffset: offset, as: UInt64.self) == state else { return nil }
            sum = sum &* 31 &+ UInt32(truncatingIfNeeded: state >> 32)
        }
        return payload.unsafeLoad(fromByteOffset: 4, as: UInt32.self) == sum ? (writer, number) : nil
    }

    /// Publishes `count` messages; counts those that are through in `progress`, which survives a kill.
    static func publish(_ name: String, writer: UInt32, count: Int, largest: Int, progress: String) throws {
        let counted = try SharedMemory.open(progress).map()
        var publisher = try Topic<RawBytes>.open(name).makePublisher()
        var generator = UInt64(writer) &* 0x2545_f491_4f6c_dd1d | 1
        for number in 0..<UInt64(count) {
            generator ^= generator << 13
            generator ^= generator >> 7
            generator ^= generator << 17
            let size = headerSize + Int(generator % UInt64(max(largest - headerSize, 0) / 8 + 1)) * 8
            try publisher.publish(upTo: size, until: .after(.seconds(60))) { (frame) throws(IPCError) in
                frame.withUnsafeMutableBytes { buffer, initialized in
                    var span = MutableRawSpan(_unsafeBytes: buffer)
                    fill(&span, writer, number)
                    initialized = buffer.count
                }
            }
            counted.withAtomic(UInt64.self, at: Int(writer) * 8) { $0.store(number + 1, ordering: .releasing) }
        }
    }

    /// Receives from the `oldest`, from the `next`, from `any` number on, or what is `kept`, until the end; prints for each
    /// writer the number after its last one, or what is wrong.
    static func subscribe(_ name: String, from start: String) throws {
        let topic = try Topic<RawBytes>.open(name)
        var subscription = try topic.makeSubscription(from: ["oldest", "kept"].contains(start) ? .oldest : .next)
        ChannelPeer.say("ready")
        var next: [UInt32: UInt64] = [:]
        var isOver = false
        while !isOver {
            let problem: String? = try subscription.receive(until: .after(.seconds(60))) { (payload) throws(IPCError) in
                guard let (writer, number) = check(payload) else {
                    return "torn message of \(payload.byteCount) bytes after \(next)"
                }
                guard writer != end else {
                    isOver = true
                    return nil
                }
                // One that joins at any time begins in the middle.
                guard number == next[writer] ?? (["any", "kept"].contains(start) ? number : 0) else {
                    return "writer \(writer): number \(number) instead of \(next[writer, default: 0])"
                }
                next[writer] = number + 1
                return nil
            }
            if let problem {
                ChannelPeer.say(problem)
                exit(1)
            }
        }
        for (writer, count) in next.sorted(by: { $0.key < $1.key }) { print("\(writer) \(count)") }
        print("missed \(subscription.takeMissed())")
    }

    /// Receives from a topic that overwrites, now and then too slowly, until the end; prints how many came, how many numbers
    /// were passed over, the numbers that the writers were seen to reach, and how many the subscription says it missed.
    static func subscribeSlowly(_ name: String) throws {
        let topic = try Topic<RawBytes>.open(name)
        var subscription = try topic.makeSubscription()
        ChannelPeer.say("ready")
        var next: [UInt32: UInt64] = [:]
        var (received, gaps) = (0, UInt64(0))
        while true {
            let message = try subscription.receive(until: .after(.seconds(60))) { (payload) throws(IPCError) in
                check(payload)
            }
            guard let (writer, number) = message, number >= next[writer, default: 0] else {
                ChannelPeer.say("torn, or out of order, after \(next): \(String(describing: message))")
                exit(1)
            }
            if writer == end { break }
            gaps += number - next[writer, default: 0]
            next[writer] = number + 1
            received += 1
            if received % 500 == 0 { usleep(2000) }
        }
        let reached = next.values.reduce(0, +)
        print("\(received) \(gaps) \(reached) \(subscription.takeMissed())")
    }
}
