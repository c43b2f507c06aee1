import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

@testable import IPCChannels

/// In a log that overwrites, a writer may be in the middle of the frame that somebody reads: its stamp is the old one still, and its
/// header is another's, or half of one. Whatever reads it looks at the reserved end afterwards, and believes nothing.
@Suite(.timeLimit(.minutes(5))) struct TornHeaderTests {
    /// A topic of one message, over which a writer has begun to write another: with this header.
    private static func torn(
        _ header: FrameHeader, _ overflow: ChannelOptions.Overflow = .overwrite,
        _ body: (Topic<RawBytes>, ChannelMemory) throws -> Void
    ) throws {
        let topic = try Topic<RawBytes>.openOrCreate(
            channelName(), ChannelOptions(overflow: overflow, lifetime: .kept, capacity: 65_536))
        defer { try? Topic<RawBytes>.remove(topic.name.description) }
        var publisher = try topic.makePublisher()
        try publisher.publish([9].span.bytes)
        let memory = try ChannelMemory(topic.name, in: .root(.current), logAccess: .readWrite)
        // What a writer does that has gone round: the reserved end first, and then whatever it writes.
        memory.reservedEnd.raise(to: 65_536 + 64)
        header.store(at: memory.log)
        try body(topic, memory)
    }

    static let headers = [
        // A kind that is skipped, 400 lines long: its end is in the middle of other frames.
        FrameHeader(length: 100, kind: 7, sequence: 5_000_000_000, writer: 0, units: 400),
        FrameHeader(length: 100, kind: LogLayout.Kind.skipped, sequence: 1, writer: 0, units: 3),
        // One that cannot be.
        FrameHeader(length: .max, kind: LogLayout.Kind.message, sequence: 1, writer: 0, units: .max),
        FrameHeader(length: 100, kind: LogLayout.Kind.message, sequence: 1, writer: 0, units: 0),
        FrameHeader(length: 10, kind: LogLayout.Kind.message, sequence: 7, writer: 0, units: 1),
    ]

    @Test(arguments: headers.indices) func aReaderDoesNotBelieveIt(index: Int) throws {
        try Self.torn(Self.headers[index]) { topic, memory in
            var reader = try LogReader(
                Membership.join(as: .reader) { () throws(IPCError) in
                    try ChannelMemory(topic.name, in: .root(.current), logAccess: .readOnly)
                }, from: .next)
            reader.position = 0
            #expect(try reader.next() == nil)
            // At the oldest that may be there, not where the torn header leads.
            #expect(reader.position == 64)
            #expect(reader.overrun.missed == 0)
        }
    }

    /// Nor in a log that waits for its subscribers: it does not wait for this one.
    @Test(arguments: headers.indices) func anObserverDoesNotBelieveIt(index: Int) throws {
        for overflow in [ChannelOptions.Overflow.overwrite, .block] {
            try Self.torn(Self.headers[index], overflow) { topic, memory in
                var reader = try LogReader(observing: ChannelMemory(observing: topic.name, in: .root(.current)), at: 0)
                #expect(try reader.next() == nil)
                #expect(reader.position == 64)
                #expect(reader.overrun.missed == 0)
            }
        }
    }

    @Test(arguments: headers.indices) func noneThatLooksThroughTheLogBelievesIt(index: Int) throws {
        try Self.torn(Self.headers[index]) { topic, memory in
            if case .overwritten = try LogPositions.look(memory, at: 0) {} else { Issue.record("believed") }
            for start in [SubscriptionStart.last(1), .last(100), .oldest, .next] {
                var subscription = try topic.makeSubscription(from: start)
                #expect(try subscription.tryReceive { $0.byteCount } == nil)
                var observer = try topic.makeObserver(from: start)
                #expect(try observer.tryReceive { $0.byteCount } == nil)
            }
            _ = try ChannelDescription(topic.name)
            var tap = try ChannelTap(topic.name.description, from: .next)
            #expect(try tap.next() == nil)
        }
    }

    /// What an attempt that lost has left in a dead writer's slot is no claim once its place was used again.
    @Test func aRecoveryDoesNotBelieveAnIntentWhosePlaceWasUsedAgain() throws {
        let topic = try Topic<RawBytes>.openOrCreate(
            channelName(),
            ChannelOptions(writers: .shared, overflow: .overwrite, lifetime: .kept, capacity: 65_536, maximumWriters: 4)
        )
        defer { try? Topic<RawBytes>.remove(topic.name.description) }
        var publisher = try topic.makePublisher()
        let memory = try ChannelMemory(topic.name, in: .root(.current), logAccess: .readWrite)
        // A dead writer: taken, and its byte free.
        memory.state(.writer, 1).relaxed = LogLayout.SlotState.taken
        memory.usedWriterCount.ordered = 2
        let message = [UInt8](repeating: 1, count: 30)
        for _ in 0..<1024 { try publisher.publish(message.span.bytes) }
        // Its intent lies less than the log behind the tail, and writers have begun to use its place again.
        let tail = memory.tail.relaxed
        memory.reservedEnd.raise(to: tail + 4096)
        memory.writer(1, LogLayout.WriterSlot.intentPosition).relaxed = tail - 65_536 + 64
        memory.writer(1, LogLayout.WriterSlot.intentLength).relaxed = 64
        unsafe SharedUInt64(memory.log + 64).relaxed = 0  // half written
        #expect(try Recovery.tryRun(memory))
        #expect(memory.state(.writer, 1).relaxed == LogLayout.SlotState.free)
        unsafe #expect(SharedUInt64(memory.log + 64).relaxed == 0)
    }
}
