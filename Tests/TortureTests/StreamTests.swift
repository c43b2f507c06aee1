import Glibc
import IPC
import IPCChannels
import TestSupport
import Testing

/// Streams of checked messages between real processes: none lost, doubled, torn, or out of its writer's order.
@Suite(.serialized, .timeLimit(.minutes(20))) struct StreamTests {
    /// Messages of all writers together; `IPC_TORTURE_MESSAGES=10000000` for the long run.
    static let total = getenv("IPC_TORTURE_MESSAGES").flatMap { Int(String(cString: $0)) } ?? 20_000

    @Test(arguments: [(1, 1), (1, 4), (2, 2), (4, 1), (8, 8)], [(65_536, 300), (1 << 20, 5000)])
    func sharedWriters(participants: (writers: Int, readers: Int), log: (capacity: Int, largest: Int)) throws {
        try stream(.shared, participants.writers, participants.readers, log.capacity, log.largest)
    }

    @Test(arguments: [1, 8], [(65_536, 300), (1 << 20, 5000), (65_536, 32_000)])
    func anExclusiveWriter(readers: Int, log: (capacity: Int, largest: Int)) throws {
        try stream(.exclusive, 1, readers, log.capacity, log.largest)
    }

    /// What a slow reader misses is told to the last message, and what it gets is whole.
    @Test(arguments: [1, 4], [(65_536, 300), (1 << 20, 5000), (65_536, 20_000)])
    func readersOfALogThatOverwrites(writers: Int, log: (capacity: Int, largest: Int)) throws {
        let name = channelName()
        let topic = try Topic<RawBytes>.openOrCreate(
            name, ChannelOptions(writers: .shared, overflow: .overwrite, lifetime: .kept, capacity: log.capacity))
        defer { try? Topic<RawBytes>.remove(name) }
        let progress = try Progress()
        var subscribers: [Box<Peer>] = []
        for _ in 0..<2 { subscribers.append(Box(try Peer(product("ChannelPeer"), ["subscribe-slowly", name]))) }
        for subscriber in subscribers { _ = try subscriber.value.said() }
        var publishers: [Box<Peer>] = []
        for writer in 0..<writers {
            publishers.append(
                Box(
                    try Peer(
                        product("ChannelPeer"),
                        ["publish", name, "\(writer)", "\(Self.total)", "\(log.largest)", progress.name])))
        }
        for publisher in publishers {
            let status = try publisher.value.finish(within: .seconds(600)).status
            #expect(status == .exited(0))
        }
        try publishEnd(topic)
        for subscriber in subscribers {
            let (status, text) = try subscriber.value.finish(within: .seconds(600))
            let numbers = text.split(whereSeparator: { " \n".contains($0) }).compactMap { Int($0) }
            #expect(status == .exited(0) && numbers.count == 4, "\(text)")
            guard numbers.count == 4 else { continue }
            // The last ones of a writer show only if another one came to its slot after it.
            let (received, passedOver, reached, missed) = (numbers[0], numbers[1], numbers[2], numbers[3])
            let unseen = writers * Self.total - reached
            #expect(received > 0 && received + passedOver == reached, "\(text)")
            #expect((passedOver...passedOver + unseen).contains(missed), "\(text)")
            if unseen == 0 { #expect(missed == passedOver) }
        }
    }

    private func stream(
        _ kind: ChannelOptions.Writers, _ writers: Int, _ readers: Int, _ capacity: Int, _ largest: Int
    ) throws {
        let name = channelName()
        let topic = try Topic<RawBytes>.openOrCreate(
            name, ChannelOptions(writers: kind, lifetime: .kept, capacity: capacity))
        defer { try? Topic<RawBytes>.remove(name) }
        let progress = try Progress()
        let count = Self.total / writers / (largest > 5000 ? 10 : 1)
        var subscribers: [Box<Peer>] = []
        for _ in 0..<readers {
            subscribers.append(Box(try Peer(product("ChannelPeer"), ["subscribe", name, "next"])))
        }
        for subscriber in subscribers { _ = try subscriber.value.said() }
        var publishers: [Box<Peer>] = []
        for writer in 0..<writers {
            publishers.append(
                Box(
                    try Peer(
                        product("ChannelPeer"), ["publish", name, "\(writer)", "\(count)", "\(largest)", progress.name])
                ))
        }
        for publisher in publishers {
            let status = try publisher.value.finish(within: .seconds(600)).status
            #expect(status == .exited(0))
        }
        try publishEnd(topic)
        let expected = (0..<writers).map { "\($0) \(count)\n" }.joined() + "missed 0\n"
        for subscriber in subscribers {
            let (status, text) = try subscriber.value.finish(within: .seconds(600))
            #expect(status == .exited(0) && text == expected, "\(text)")
        }
    }

    /// Arrays hold no values that cannot be copied.
    final class Box<Value: ~Copyable> {
        let value: Value
        init(_ value: consuming Value) { self.value = value }
    }
}
