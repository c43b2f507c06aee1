import Glibc
import IPC
import IPCChannels
import TestSupport
import Testing

struct Quote: BitwiseCopyable, Equatable {
    var symbol: UInt32
    var price: Double
}

@Suite(.timeLimit(.minutes(10))) struct TopicTests {
    @Test func everySubscriberGetsEveryMessageInOrder() throws {
        let topic = try Topic<Quote>.openOrCreate(channelName())
        var publisher = try topic.makePublisher()
        var first = try topic.makeSubscription()
        var second = try topic.makeSubscription()
        for index in 0..<1000 { try publisher.publish(Quote(symbol: UInt32(index), price: 0.5)) }
        for index in 0..<1000 {
            let (a, b) = (try first.receive(), try second.tryReceive())
            #expect(a == Quote(symbol: UInt32(index), price: 0.5) && a == b)
        }
        let none = try first.tryReceive()
        #expect(none == nil)
        let late = failure { () throws(IPCError) in _ = try first.receive(until: .after(.milliseconds(20))) }
        #expect(late?.code == .timedOut)
    }

    @Test(arguments: [ChannelOptions.Writers.exclusive, .shared])
    func bytesOfAnyLengthUpToHalfTheLog(writers: ChannelOptions.Writers) throws {
        let topic = try Topic<RawBytes>.openOrCreate(channelName(), ChannelOptions(writers: writers, capacity: 65_536))
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        let largest = 32_768 - 32
        for round in 0..<10 {
            for count in [0, 1, 31, 32, 33, 4096, largest] {
                try publisher.publish([UInt8](repeating: UInt8(round), count: count).span.bytes)
                let isWhole = try subscription.receive { (payload) throws(IPCError) in
                    payload.byteCount == count
                        && (0..<count).allSatisfy { payload.unsafeLoad(fromByteOffset: $0, as: UInt8.self) == round }
                }
                #expect(isWhole)
            }
        }
        let large = failure { () throws(IPCError) in
            try publisher.publish([UInt8](repeating: 0, count: largest + 1).span.bytes)
        }
        #expect(large?.code == .messageTooLarge && large?.advice.contains("\(largest)") == true)
        let negative = failure { () throws(IPCError) in
            try publisher.publish(upTo: -1) { (_) throws(IPCError) in Issue.record("there is nothing to fill") }
        }
        #expect(negative?.code == .messageTooLarge && negative?.advice.contains("0 to \(largest)") == true)
    }

    @Test(arguments: [ChannelOptions.Writers.exclusive, .shared])
    func aSlowSubscriberHoldsThePublisherBackUntilADeadline(writers: ChannelOptions.Writers) throws {
        let topic = try Topic<RawBytes>.openOrCreate(channelName(), ChannelOptions(writers: writers, capacity: 65_536))
        var publisher = try topic.makePublisher()
        var slow = try topic.makeSubscription()
        let message = [UInt8](repeating: 1, count: 1000)
        var published = 0
        while try publisher.tryPublish(message.span.bytes) { published += 1 }
        #expect(published == 65_536 / 1088)
        let late = failure { () throws(IPCError) in
            try publisher.publish(message.span.bytes, until: .after(.milliseconds(30)))
        }
        #expect(late?.code == .timedOut)
        let received = try slow.receiveAvailable { (payload) throws(IPCError) in #expect(payload.byteCount == 1000) }
        #expect(received == published)
        #expect(try publisher.tryPublish(message.span.bytes))
    }

    @Test(arguments: [ChannelOptions.Writers.exclusive, .shared])
    func whatIsOverwrittenIsCountedExactly(writers: ChannelOptions.Writers) throws {
        let topic = try Topic<UInt64>.openOrCreate(
            channelName(), ChannelOptions(writers: writers, overflow: .overwrite, capacity: 65_536))
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        var next: UInt64 = 0
        var missed: UInt64 = 0
        for round in 0..<20 {
            let burst = round % 3 == 0 ? 10 : 10_000
            for _ in 0..<burst {
                try publisher.publish(next)
                next += 1
            }
            var last: UInt64?
            while let number = try subscription.tryReceive() {
                if let last { #expect(number == last + 1) }
                last = number
            }
            #expect(last == next - 1)
            missed += subscription.takeMissed()
        }
        #expect(missed > 0)
        // All that was not received was missed: nothing else happened to it.
        var received: UInt64 = 0
        try publisher.publish(next)
        while try subscription.tryReceive() != nil { received += 1 }
        #expect(received == 1)
        #expect(subscription.takeMissed() == 0)
    }

    /// Also of one that has received nothing yet, wherever it began.
    @Test(arguments: [
        (ChannelOptions.Writers.exclusive, 0, SubscriptionStart.next), (.exclusive, 100, .next),
        (.exclusive, 100, .oldest),
        (.shared, 0, .next), (.shared, 100, .next),
    ])
    func theFirstGapIsCounted(writers: ChannelOptions.Writers, before: Int, start: SubscriptionStart) throws {
        let topic = try Topic<UInt64>.openOrCreate(
            channelName(), ChannelOptions(writers: writers, overflow: .overwrite, capacity: 65_536))
        var publisher = try topic.makePublisher()
        for _ in 0..<before { try publisher.publish(0) }
        var subscription = try topic.makeSubscription(from: start)
        for _ in 0..<20_000 { try publisher.publish(1) }
        var received = 0
        while try subscription.tryReceive() != nil { received += 1 }
        let all = 20_000 + (start == .oldest ? before : 0)
        #expect(received + Int(subscription.takeMissed()) == all && received < all)
    }

    @Test func whatASubscriberCannotBearIsPassedOver() throws {
        let topic = try Topic<RawBytes>.openOrCreate(channelName())
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        for number in 1...3 as ClosedRange<UInt8> { try publisher.publish([number].span.bytes) }
        let refuse = failure { () throws(IPCError) in
            try subscription.receive { (_) throws(IPCError) in throw .timedOut("look at", "it") }
        }
        #expect(refuse != nil)
        #expect(try subscription.skip())  // the one that was refused, and stays
        #expect(try subscription.tryReceive { $0.array } == [2])
        #expect(try subscription.skip())
        #expect(try !subscription.skip())
    }

    @Test(arguments: [ChannelOptions.Writers.exclusive, .shared])
    func receivedAndMissedAreAllThatWasPublished(writers: ChannelOptions.Writers) throws {
        let topic = try Topic<UInt64>.openOrCreate(
            channelName(), ChannelOptions(writers: writers, overflow: .overwrite, capacity: 65_536))
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        try publisher.publish(0)
        var received: UInt64 = try subscription.tryReceive() == nil ? 0 : 1
        for number in 1..<50_000 as Range<UInt64> {
            try publisher.publish(number)
            if number % 5000 == 0 { while try subscription.tryReceive() != nil { received += 1 } }
        }
        while try subscription.tryReceive() != nil { received += 1 }
        let missed = subscription.takeMissed()
        #expect(received + missed == 50_000 && missed > 0)
    }

    @Test(arguments: [ChannelOptions.Writers.exclusive, .shared])
    func aNewSubscriberChoosesItsStart(writers: ChannelOptions.Writers) throws {
        let topic = try Topic<UInt64>.openOrCreate(
            channelName(), ChannelOptions(writers: writers, lifetime: .kept, capacity: 65_536))
        defer { try? Topic<UInt64>.remove(topic.name.description) }
        var publisher = try topic.makePublisher()
        for number in 0..<100 as Range<UInt64> { try publisher.publish(number) }
        func first(_ start: SubscriptionStart) throws(IPCError) -> UInt64? {
            var subscription = try topic.makeSubscription(from: start)
            return try subscription.tryReceive()
        }
        #expect(try first(.oldest) == 0)
        #expect(try first(.next) == nil)
        #expect(try first(.last(3)) == 97)
        #expect(try first(.last(1000)) == 0)
        var reader = try topic.makeSubscription(from: .last(2))
        _ = try reader.receive()
        let position = reader.position
        #expect(try first(.position(position)) == 99)
        // After many laps, the oldest is some message, and all after it follow.
        for number in 100..<10_000 as Range<UInt64> {
            try publisher.publish(number)
            _ = try reader.receiveAvailable { (_) throws(IPCError) in }
        }
        var oldest = try topic.makeSubscription(from: .oldest)
        var expected = try oldest.receive()
        #expect(expected > 9000 - 1000 && expected < 9999)
        while let number = try oldest.tryReceive() {
            expected += 1
            #expect(number == expected)
        }
        #expect(expected == 9999)
        let lost = failure { () throws(IPCError) in _ = try topic.makeSubscription(from: .position(position)) }
        #expect(lost?.code == .invalidArgument)
        #expect(ChannelPosition(position.description) == position)
    }

    @Test func aPositionOfARemovedTopicIsNotOneOfItsSuccessor() throws {
        let name = channelName()
        func topic() throws(IPCError) -> Topic<UInt64> { try .openOrCreate(name, ChannelOptions(lifetime: .kept)) }
        var publisher = try topic().makePublisher()
        for number in 0..<10 as Range<UInt64> { try publisher.publish(number) }
        let position = try topic().makeSubscription(from: .last(5)).position
        _ = try topic().makeSubscription(from: .position(position))
        try Topic<UInt64>.remove(name)
        defer { try? Topic<UInt64>.remove(name) }
        var successor = try topic().makePublisher()
        for number in 0..<10 as Range<UInt64> { try successor.publish(number) }
        let refused = failure { () throws(IPCError) in _ = try topic().makeSubscription(from: .position(position)) }
        #expect(refused?.code == .invalidArgument && refused?.advice.contains("another channel") == true)
        let observed = failure { () throws(IPCError) in _ = try topic().makeObserver(from: .position(position)) }
        #expect(observed?.code == .invalidArgument)
    }

    /// It is stopped with its first cursor set, and holds the membership lock.
    @Test(arguments: [ChannelOptions.Writers.exclusive, .shared])
    func oneThatJoinsKeepsNobodyFromPublishing(writers: ChannelOptions.Writers) throws {
        let name = channelName()
        let topic = try Topic<RawBytes>.openOrCreate(name, ChannelOptions(writers: writers, capacity: 65_536))
        var publisher = try topic.makePublisher()
        let message = [UInt8](repeating: 1, count: 100)
        for _ in 0..<2000 { try publisher.publish(message.span.bytes) }
        let joiner = try Peer(
            product("ChannelPeer"), ["wait", name],
            environment: ["IPC_ROOT=\(channelRoot)", "IPC_STOP_POINT=join.held"])
        try joiner.waitUntilStopped()
        for number in 0..<100 {
            #expect(try publisher.tryPublish(message.span.bytes), "message \(number) is refused")
        }
        try joiner.kill()
        for _ in 0..<2000 { try publisher.publish(message.span.bytes, until: .after(.seconds(5))) }
    }

    @Test func aMessageCanBeGivenUp() throws {
        for writers in [ChannelOptions.Writers.exclusive, .shared] {
            let topic = try Topic<RawBytes>.openOrCreate(channelName(), ChannelOptions(writers: writers))
            var publisher = try topic.makePublisher()
            var subscription = try topic.makeSubscription()
            let own = IPCError(.childFailed, "test", "fill", advice: "given up")
            let error = failure { () throws(IPCError) in
                try publisher.publish(upTo: 5000) { (frame) throws(IPCError) in
                    frame.append(7, as: UInt8.self)
                    throw own
                }
            }
            #expect(error == own)
            try publisher.publish(upTo: 5000) { (frame) throws(IPCError) in frame.append(9, as: UInt8.self) }
            let text = try subscription.receive { (payload) throws(IPCError) in
                payload.byteCount == 1 && payload.unsafeLoad(as: UInt8.self) == 9
            }
            #expect(text)
            #expect(try subscription.tryReceive { (_) throws(IPCError) in } == nil)
        }
    }

    @Test func aMessageThatWasGivenUpIsNotMissed() throws {
        let topic = try Topic<RawBytes>.openOrCreate(
            channelName(), ChannelOptions(writers: .shared, overflow: .overwrite))
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        let own = IPCError(.childFailed, "test", "body", advice: "thrown")
        for _ in 0..<3 {
            try publisher.publish("hello".utf8.span.bytes)
            _ = failure { () throws(IPCError) in try publisher.publish(upTo: 8) { (_) throws(IPCError) in throw own } }
        }
        var count = 0
        while try subscription.tryReceive({ (payload) throws(IPCError) in payload.byteCount }) == 5 { count += 1 }
        #expect(count == 3 && subscription.takeMissed() == 0)
    }

    /// Where messages are overwritten, nothing can be held back for a subscriber.
    @Test(arguments: [(ChannelOptions.Overflow.block, Int?.some(5)), (.overwrite, nil)])
    func aBodyThatThrowsLosesTheMessageOnlyWhereItMayBeOverwritten(
        overflow: ChannelOptions.Overflow, next: Int?
    ) throws {
        let topic = try Topic<RawBytes>.openOrCreate(channelName(), ChannelOptions(overflow: overflow))
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        try publisher.publish("hello".utf8.span.bytes)
        let own = IPCError(.childFailed, "test", "body", advice: "thrown")
        let error = failure { () throws(IPCError) in try subscription.receive { (_) throws(IPCError) in throw own } }
        #expect(error == own)
        #expect(try subscription.tryReceive { (payload) throws(IPCError) in payload.byteCount } == next)
    }
}
