import Glibc
import IPC
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import IPCChannels

/// A participant writes whatever it likes over `control` and `log`, while others publish and receive: they get errors, or
/// rubbish of a size that fits, but never crash and never leave their mappings (the address sanitizer looks on).
@Suite(.serialized) struct HostileTests {
    private static let options = ChannelOptions(
        writers: .shared, lifetime: .kept, capacity: 65_536, maximumReaders: 4, maximumWriters: 4)

    @Test(arguments: [
        (ChannelOptions.Writers.exclusive, ChannelOptions.Overflow.block), (.shared, .block), (.exclusive, .overwrite),
        (.shared, .overwrite),
    ])
    func inATopicRubbishIsAnErrorAtMost(
        writers: ChannelOptions.Writers, overflow: ChannelOptions.Overflow
    ) throws {
        var options = Self.options
        options.writers = writers
        options.overflow = overflow
        try hunt(Topic<RawBytes>.create(channelName(), options))
    }

    @Test func inADurableTopicToo() throws {
        var options = Self.options
        options.durability = .syncedEvery(bytes: 4096)
        try hunt(Topic<RawBytes>.create(channelName(), options))
    }

    /// Nobody has it open while it is written over: the first to join looks through it.
    @Test func aDurableChannelsFilesAreRubbish() throws {
        var options = Self.options
        options.durability = .syncedWhenAsked
        for round in 0..<300 {
            let topic = try Topic<RawBytes>.create(channelName(), options)
            defer { try? Topic<RawBytes>.remove(topic.name.description) }
            var publisher = try topic.makePublisher()
            for size in 0..<(round % 2 == 0 ? 20 : 200) {
                try publisher.publish([UInt8](repeating: 1, count: size * 7).span.bytes)
            }
            publisher.close()
            let folder = ChannelRoot.current.folder(topic.name)
            let control = try MappedFile.open(FilePath(folder + "/control"), access: .readWrite).map()
            let log = try MappedFile.open(FilePath(folder + "/log"), access: .readWrite).map()
            let frontier = control.load(UInt64.self, at: LogLayout.frontier)
            let values: [UInt64] = [
                0, .max, .random(in: 0 ... .max), frontier &+ 64, frontier &- 64, UInt64.max - 63, 1 << 40, 1 << 63,
            ]
            for _ in 0..<Int.random(in: 1...5) {
                let words = [
                    LogLayout.tail, LogLayout.frontier, LogLayout.workHead, LogLayout.slots, LogLayout.slots + 512,
                ]
                control.store(values.randomElement()!, at: words.randomElement()! + 8 * Int.random(in: 0..<4))
                log.store(values.randomElement()!, at: Int.random(in: 0..<8192) * 8)
            }
            // Errors are as good as messages.
            _ = failure { () throws(IPCError) in
                var subscription = try topic.subscribe(from: .oldest)
                var again = try topic.makePublisher()
                try again.publish([2].span.bytes, until: .after(.milliseconds(5)))
                while try subscription.tryReceive({ (payload) throws(IPCError) in Self.read(payload) }) != nil {}
            }
        }
    }

    private func hunt(_ topic: Topic<RawBytes>) throws {
        try scribble(over: topic.name) { (index, count) throws(IPCError) in
            let message = [UInt8](repeating: 5, count: 700)
            if index < 2 {
                var publisher = try topic.makePublisher()
                while count() { try publisher.publish(message.span.bytes, until: .after(.milliseconds(1))) }
            } else {
                let starts: [SubscriptionStart] = [.oldest, .next, .last(5)]
                var subscription = try topic.subscribe(from: starts.randomElement()!)
                while count() {
                    try subscription.receive(until: .after(.milliseconds(1))) { (payload) throws(IPCError) in
                        Self.read(payload)
                    }
                }
            }
        }
    }

    @Test func inAWorkQueueToo() throws {
        let queue = try WorkQueue<RawBytes>.create(channelName(), Self.options, maximumAttempts: 60_000)
        try scribble(over: queue.name) { (index, count) throws(IPCError) in
            let message = [UInt8](repeating: 5, count: 700)
            if index < 2 {
                var producer = try queue.makeProducer()
                while count() { try producer.send(message.span.bytes, until: .after(.milliseconds(1))) }
            } else {
                var worker = try queue.makeWorker()
                while count() {
                    let job = try worker.next(until: .after(.milliseconds(1)))
                    try job.withBytes { (payload) throws(IPCError) in Self.read(payload) }
                    if Bool.random() { try job.acknowledge() } else { job.reject() }
                }
            }
        }
    }

    @Test func inAServiceToo() throws {
        struct Refusal: Error, BitwiseCopyable {}
        var options = ServiceOptions()
        (options.capacity, options.lifetime, options.maximumServers, options.maximumClients) = (65_536, .kept, 4, 4)
        let service = try Service<RawBytes, RawBytes, Refusal>.create(channelName(), options)
        try scribble(over: service.name) { (index, count) throws(IPCError) in
            let message = [UInt8](repeating: 5, count: 700)
            if index < 2 {
                var client = try service.makeClient()
                while count() {
                    let call = try client.begin(
                        message.span.bytes, replyLimit: 300, until: .after(.milliseconds(1)), retries: 2)
                    _ = try call.wait { (payload) throws(IPCError) in Self.read(payload) }
                }
            } else {
                var server = try service.makeServer()
                while count() {
                    let call = try server.next(until: .after(.milliseconds(1)))
                    try call.withRequest { (payload) throws(IPCError) in Self.read(payload) }
                    if Bool.random() { try call.reply(message.span.bytes.extracting(first: 300)) }
                }
            }
        }
    }

    private static func read(_ payload: RawSpan) {
        let sum = (0..<payload.byteCount).reduce(0) {
            $0 &+ Int(payload.unsafeLoad(fromByteOffset: $1, as: UInt8.self))
        }
        withExtendedLifetime(sum) {}
    }

    /// Scribbles over a channel while four threads run `body`, which calls its second argument before each step, and ends
    /// when that is false.
    private func scribble(
        over name: ChannelName, while body: @escaping @Sendable (Int, () -> Bool) throws(IPCError) -> Void
    ) throws {
        defer { try? Topic<RawBytes>.remove(name.description) }
        let folder = ChannelRoot.current.folder(name)
        let control = try MappedFile.open(FilePath(folder + "/control"), access: .readWrite).map()
        let log = try MappedFile.open(FilePath(folder + "/log"), access: .readWrite).map()
        let key = control.load(UInt64.self, at: LogLayout.Fixed.key)
        let isOver = Atomic(false)
        let calls = Atomic(0)
        let rounds = 12_000

        let scribbler = try PlainThread { () throws(IPCError) in
            // All are at it before the first scribble.
            while calls.load(ordering: .relaxed) < 200 { usleep(100) }
            var generator = SystemRandomNumberGenerator()
            for round in 0..<rounds {
                let position = control.load(UInt64.self, at: LogLayout.tail)
                let values: [UInt64] = [
                    0, .max, .random(in: 0 ... .max, using: &generator), position, position ^ key, position &+ 64,
                    position &- 65_536, 1 << 63, UInt64.max - 63, 0xffff_ffff, 1 << 32 | 65_536,
                ]
                let value = values.randomElement(using: &generator)!
                switch round % 3 {
                case 0:
                    // Whatever changes while it is used; what is fixed was checked when the channel was opened.
                    let offset = Int.random(in: LogLayout.removed / 8..<control.byteCount / 8, using: &generator) * 8
                    // A removed channel is made anew by the next participant, which ends the test early.
                    if offset != LogLayout.removed { control.store(value, at: offset) }
                case 1:
                    let words = [
                        LogLayout.tail, LogLayout.frontier, LogLayout.blockStarts, LogLayout.usedReaderSlots,
                        LogLayout.slots, LogLayout.slots + 512, LogLayout.workHead,
                    ]
                    control.store(
                        value,
                        at: words.randomElement(using: &generator)! + 8 * Int.random(in: 0..<4, using: &generator))
                default:
                    let frame = Int(truncatingIfNeeded: position) & 65_535 & ~63
                    log.store(value, at: frame + 8 * Int.random(in: 0..<4, using: &generator))
                    let head = Int(truncatingIfNeeded: control.load(UInt64.self, at: LogLayout.workHead)) & 65_535 & ~63
                    log.store(value, at: (head + 8 * Int.random(in: 0..<8, using: &generator)) & 65_535)
                    log.store(value, at: Int.random(in: 0..<8192, using: &generator) * 8)
                }
                if round % 64 == 0 { usleep(100) }
            }
            isOver.store(true, ordering: .releasing)
        }
        var threads: [PlainThread] = []
        for index in 0..<4 {
            threads.append(
                try PlainThread { () throws(IPCError) in
                    while !isOver.load(ordering: .acquiring) {
                        var steps = 0
                        do throws(IPCError) {
                            try body(index) {
                                calls.add(1, ordering: .relaxed)
                                steps += 1
                                return steps <= 50 && !isOver.load(ordering: .relaxed)
                            }
                        } catch {
                            // Told, and not crashed.
                        }
                    }
                })
        }
        #expect(scribbler.join() == nil)
        for thread in threads { #expect(thread.join() == nil) }
        #expect(calls.load(ordering: .relaxed) > 0)
    }
}
