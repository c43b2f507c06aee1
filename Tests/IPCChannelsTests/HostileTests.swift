import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

@testable import IPCChannels

/// Topics, in memory and durable, with calls that wait and calls that do not, by threads and by tasks, while a ``Scribbler``
/// writes over them. `Scripts/scribble.sh` is the long run of it.
@Suite(.serialized, .timeLimit(.minutes(5))) struct HostileTests {
    private static let kinds = [
        (ChannelOptions.Writers.exclusive, ChannelOptions.Overflow.block), (.shared, .block), (.exclusive, .overwrite),
        (.shared, .overwrite),
    ]
    private static func start() -> SubscriptionStart { [.oldest, .next, .last(5)].randomElement()! }

    private static func topic(
        _ writers: ChannelOptions.Writers = .shared, _ overflow: ChannelOptions.Overflow = .block,
        _ durability: ChannelOptions.Durability = .none
    ) throws -> Topic<RawBytes> {
        var options = Scribbler.options
        (options.writers, options.overflow, options.durability) = (writers, overflow, durability)
        if writers == .exclusive { options.maximumWriters = nil }
        return try Topic<RawBytes>.openOrCreate(channelName(), options)
    }

    @Test(arguments: kinds)
    func aTopicsCallsThatWait(writers: ChannelOptions.Writers, overflow: ChannelOptions.Overflow) throws {
        try wait(in: Self.topic(writers, overflow))
    }

    @Test(arguments: [ChannelOptions.Durability.syncedEvery(bytes: 4096), .syncedWhenAsked])
    func aDurableTopicsCallsThatWait(durability: ChannelOptions.Durability) throws {
        try wait(in: Self.topic(.shared, .block, durability), syncs: true)
    }

    private func wait(in topic: Topic<RawBytes>, syncs: Bool = false) throws {
        try Scribbler.run(over: topic.name) { (index, steps) throws(IPCError) in
            let message = Scribbler.message
            if index < 2 {
                var publisher = try topic.makePublisher()
                while steps.next() {
                    try publisher.publish(message.span.bytes, until: Scribbler.soon)
                    if syncs { try publisher.sync(until: Scribbler.soon) }
                }
            } else {
                var subscription = try topic.makeSubscription(from: Self.start())
                while steps.next() {
                    try subscription.receive(until: Scribbler.soon) { (payload) throws(IPCError) in
                        Scribbler.read(payload)
                    }
                }
            }
        }
    }

    @Test(arguments: kinds)
    func aTopicsCallsThatNeverWait(writers: ChannelOptions.Writers, overflow: ChannelOptions.Overflow) throws {
        try poll(in: Self.topic(writers, overflow))
    }

    @Test func aDurableTopicsCallsThatNeverWait() throws {
        try poll(in: Self.topic(.shared, .block, .syncedEvery(bytes: 4096)))
    }

    private func poll(in topic: Topic<RawBytes>) throws {
        try Scribbler.run(over: topic.name) { (index, steps) throws(IPCError) in
            let message = Scribbler.message
            if index < 2 {
                var publisher = try topic.makePublisher()
                while steps.next() { _ = try publisher.tryPublish(message.span.bytes) }
            } else {
                var subscription = try topic.makeSubscription(from: Self.start())
                while steps.next() {
                    _ = try subscription.tryReceive { (payload) throws(IPCError) in Scribbler.read(payload) }
                    _ = try subscription.receiveAvailable(limit: 100) { (payload) throws(IPCError) in
                        Scribbler.read(payload)
                    }
                }
            }
        }
    }

    @Test(arguments: kinds)
    func aTopicsTasks(writers: ChannelOptions.Writers, overflow: ChannelOptions.Overflow) async throws {
        let topic = try Self.topic(writers, overflow)
        try await Scribbler.run(over: topic.name) { (index, steps) async throws(IPCError) in
            let message = Scribbler.message
            if index < 2 {
                var publisher = try topic.makePublisher()
                while steps.next() { try await publisher.publish(message.span.bytes, until: Scribbler.soon) }
            } else {
                var subscription = try topic.makeSubscription(from: Self.start())
                while steps.next() {
                    try await subscription.receive(until: Scribbler.soon) { (payload) throws(IPCError) in
                        Scribbler.read(payload)
                    }
                }
            }
        }
    }

    @Test func aWaitSet() throws {
        let topic = try Self.topic()
        try Scribbler.run(over: topic.name) { (index, steps) throws(IPCError) in
            let message = Scribbler.message
            if index < 2 {
                var publisher = try topic.makePublisher()
                while steps.next() { try publisher.publish(message.span.bytes, until: Scribbler.soon) }
            } else {
                let set = try WaitSet()
                var subscription = try topic.makeSubscription(from: Self.start())
                while steps.next() {
                    _ = try set.wait(until: Scribbler.soon) { $0.add(&subscription) }
                    _ = try subscription.receiveAvailable(limit: 100) { (payload) throws(IPCError) in
                        Scribbler.read(payload)
                    }
                }
            }
        }
    }

    @Test(arguments: kinds)
    func whoeverLooksFromOutside(writers: ChannelOptions.Writers, overflow: ChannelOptions.Overflow) throws {
        let topic = try Self.topic(writers, overflow)
        try Scribbler.run(over: topic.name) { (index, steps) throws(IPCError) in
            let message = Scribbler.message
            switch index {
            case 0:
                var publisher = try topic.makePublisher()
                while steps.next() { _ = try publisher.tryPublish(message.span.bytes) }
            case 1: while steps.next() { _ = try ChannelDescription(topic.name) }
            case 2:
                var observer = try topic.makeObserver(from: Self.start())
                while steps.next() {
                    if Bool.random() {
                        _ = try observer.tryReceive { (payload) throws(IPCError) in Scribbler.read(payload) }
                    } else {
                        try observer.receive(until: Scribbler.soon) { (payload) throws(IPCError) in
                            Scribbler.read(payload)
                        }
                    }
                }
            default:
                var tap = try ChannelTap(topic.name.description, from: Self.start())
                while steps.next() { _ = try tap.next() }
            }
        }
    }

    /// Told of, and never there: a getter waits for the next one, and keeps its deadline; blocking, polling and in a task.
    @Test(arguments: [(1 << 40, false), (64, true), (0, true)] as [(UInt64, Bool)])
    func aNewestValueThatCannotBeHad(position: UInt64, isStamped: Bool) async throws {
        var options = LatestOptions()
        options.writers = .shared
        let latest = try Latest<UInt64>.openOrCreate(channelName(), options)
        var getter = try latest.makeGetter()
        let folder = channelRoot + "/" + latest.name.folder
        let control = try MappedFile.open(FilePath(folder + "/control"), access: .readWrite).map()
        let log = try MappedFile.open(FilePath(folder + "/log"), access: .readWrite).map()
        if isStamped {
            // As if it was committed, of a size that no frame has.
            log.store(UInt64.max, at: Int(position) + 8)
            log.store(UInt64.max, at: Int(position) + 24)
            log.store(position ^ (control.load(UInt64.self, at: LogLayout.Fixed.key) | 1 << 63), at: Int(position))
        }
        control.store(position | 1, at: LogLayout.latest)
        let clock = ContinuousClock.now
        let code = { (error: IPCError) in #expect([.timedOut, .corrupted].contains(error.code), "\(error)") }
        do throws(IPCError) { _ = try await getter.next(until: .after(.milliseconds(50))) } catch { code(error) }
        do throws(IPCError) { try nextBlocking(&getter) } catch { code(error) }
        do throws(IPCError) { #expect(try getter.get() == nil) } catch { code(error) }
        #expect(clock.duration(to: .now) < .seconds(5))
    }

    private func nextBlocking(_ getter: inout Latest<UInt64>.Getter) throws(IPCError) {
        _ = try getter.next(until: .after(.milliseconds(50)))
    }

    @Test(arguments: kinds)
    func tasksThatLookFromOutside(
        writers: ChannelOptions.Writers, overflow: ChannelOptions.Overflow
    ) async throws {
        let topic = try Self.topic(writers, overflow)
        try await Scribbler.run(over: topic.name) { (index, steps) async throws(IPCError) in
            let message = Scribbler.message
            if index == 0 {
                var publisher = try topic.makePublisher()
                while steps.next() { _ = try publisher.tryPublish(message.span.bytes) }
            } else {
                var observer = try topic.makeObserver(from: Self.start())
                while steps.next() {
                    try await observer.receive(until: Scribbler.soon) { (payload) throws(IPCError) in
                        Scribbler.read(payload)
                    }
                }
            }
        }
    }

    /// Nobody has it open while it is written over: the first to join looks through it.
    @Test func aDurableChannelsFilesAreRubbish() throws {
        for round in 0..<max(100, Scribbler.rounds / 1000) {
            let topic = try Self.topic(.shared, .block, .syncedWhenAsked)
            defer { try? Topic<RawBytes>.remove(topic.name.description) }
            var publisher = try topic.makePublisher()
            for size in 0..<(round % 2 == 0 ? 20 : 200) {
                try publisher.publish([UInt8](repeating: 1, count: size * 7).span.bytes)
            }
            publisher.close()
            let folder = ChannelRoot.current.folder(topic.name)
            let control = try MappedFile.open(FilePath(folder + "/control"), access: .readWrite).map()
            let log = try MappedFile.open(FilePath(folder + "/log"), access: .readWrite).map()
            let reservedEnd = control.load(UInt64.self, at: LogLayout.reservedEnd)
            let values: [UInt64] = [
                0, .max, .random(in: 0 ... .max), reservedEnd &+ 64, reservedEnd &- 64, UInt64.max - 63, 1 << 40,
                1 << 63,
            ]
            for _ in 0..<Int.random(in: 1...5) {
                let words = [
                    LogLayout.tail, LogLayout.reservedEnd, LogLayout.workHead, LogLayout.slots, LogLayout.slots + 512,
                ]
                control.store(values.randomElement()!, at: words.randomElement()! + 8 * Int.random(in: 0..<4))
                log.store(values.randomElement()!, at: Int.random(in: 0..<8192) * 8)
            }
            // Errors are as good as messages.
            _ = failure { () throws(IPCError) in
                var subscription = try topic.makeSubscription(from: .oldest)
                var again = try topic.makePublisher()
                try again.publish([2].span.bytes, until: .after(.milliseconds(5)))
                while try subscription.tryReceive({ (payload) throws(IPCError) in Scribbler.read(payload) }) != nil {}
            }
        }
    }
}
