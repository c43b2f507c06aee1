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
    @Test(arguments: [
        (ChannelOptions.Writers.exclusive, ChannelOptions.Overflow.block), (.shared, .block), (.exclusive, .overwrite),
        (.shared, .overwrite),
    ])
    func rubbishIsAnErrorAtMost(writers: ChannelOptions.Writers, overflow: ChannelOptions.Overflow) throws {
        let topic = try Topic<RawBytes>.create(
            channelName(),
            ChannelOptions(
                writers: writers, overflow: overflow, lifetime: .kept, capacity: 65_536, maximumReaders: 4,
                maximumWriters: 4))
        defer { try? Topic<RawBytes>.remove(topic.name.description) }
        let folder = ChannelRoot.current.folder(topic.name)
        let control = try MappedFile.open(FilePath(folder + "/control"), access: .readWrite).map()
        let log = try MappedFile.open(FilePath(folder + "/log"), access: .readWrite).map()
        let key = control.load(UInt64.self, at: LogLayout.Fixed.key)
        let isOver = Atomic(false)
        let calls = Atomic(0)
        let rounds = 4000

        let scribbler = try PlainThread { () throws(IPCError) in
            // All are at it before the first scribble.
            while calls.load(ordering: .relaxed) < 200 { usleep(100) }
            var generator = SystemRandomNumberGenerator()
            for round in 0..<rounds {
                let position = control.load(UInt64.self, at: LogLayout.tail)
                let values: [UInt64] = [
                    0, .max, .random(in: 0 ... .max, using: &generator), position, position ^ key, position &+ 32,
                    position &- 65_536, 1 << 63, UInt64.max - 31, 0xffff_ffff, 1 << 32 | 65_536,
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
                        LogLayout.slots, LogLayout.slots + 512,
                    ]
                    control.store(
                        value,
                        at: words.randomElement(using: &generator)! + 8 * Int.random(in: 0..<4, using: &generator))
                default:
                    let frame = Int(truncatingIfNeeded: position) & 65_535 & ~31
                    log.store(value, at: frame + 8 * Int.random(in: 0..<4, using: &generator))
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
                    let message = [UInt8](repeating: 5, count: 700)
                    while !isOver.load(ordering: .acquiring) {
                        do throws(IPCError) {
                            if index < 2 {
                                var publisher = try topic.makePublisher()
                                for _ in 0..<50 where !isOver.load(ordering: .relaxed) {
                                    try publisher.publish(message.span.bytes, until: .after(.milliseconds(1)))
                                    calls.add(1, ordering: .relaxed)
                                }
                            } else {
                                let starts: [SubscriptionStart] = [.oldest, .next, .last(5)]
                                var subscription = try topic.subscribe(from: starts.randomElement()!)
                                for _ in 0..<50 where !isOver.load(ordering: .relaxed) {
                                    let sum = try subscription.receive(until: .after(.milliseconds(1))) {
                                        (payload) throws(IPCError) in
                                        (0..<payload.byteCount).reduce(0) {
                                            $0 &+ Int(payload.unsafeLoad(fromByteOffset: $1, as: UInt8.self))
                                        }
                                    }
                                    calls.add(sum == -1 ? 0 : 1, ordering: .relaxed)
                                }
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
