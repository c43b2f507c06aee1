import Glibc
import IPC
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import IPCChannels

/// `sync()` means what it says: all that anyone published or acknowledged before is on the disk, in time.
@Suite(.serialized, .timeLimit(.minutes(5))) struct SyncTests {
    /// A participant for a thread to use.
    private final class Box<Value: ~Copyable>: @unchecked Sendable {
        var value: Value
        init(_ value: consuming Value) { self.value = value }
    }

    private static let options = ChannelOptions(writers: .shared, durability: .syncedWhenAsked, maximumWriters: 4)

    private static func removing<Value>(_ name: ChannelName, _ body: () throws -> Value) rethrows -> Value {
        defer { try? Channel.remove(name.description) }
        return try body()
    }

    @Test func itCoversWhatOthersHavePublished() throws {
        let topic = try Topic<UInt64>.openOrCreate(channelName(), Self.options)
        try Self.removing(topic.name) {
            var first = try topic.makePublisher(), second = try topic.makePublisher()
            try first.publish(1)
            try first.publish(2)
            let memory = second.writer.memory
            #expect(memory.synced.relaxed < memory.tail.relaxed)
            try second.sync()
            #expect(memory.synced.relaxed == memory.tail.relaxed)
        }
    }

    @Test func itCoversAcknowledgementsOfWhatWasSyncedBefore() throws {
        let queue = try WorkQueue<UInt64>.openOrCreate(channelName(), Self.options)
        try Self.removing(queue.name) {
            // The peer dies where it asks the disk for the second time, after its acknowledgement.
            let peer = try ChildProcess(
                product("ChannelPeer"), ["sync-an-acknowledgement", queue.name.description],
                environment: .only(pairs: ["IPC_ROOT=\(channelRoot)", "IPC_KILL_POINT=sync.begun:2"]))
            #expect(try peer.wait(until: .after(.seconds(30))) == .signaled(.kill))
        }
    }

    /// A writer is in the middle of a message: what comes after it would be cut by a crash.
    private func whileAnotherFills(
        _ options: ChannelOptions, _ body: (Topic<RawBytes>, Flag) throws -> Void
    ) throws {
        let topic = try Topic<RawBytes>.openOrCreate(channelName(), options)
        try Self.removing(topic.name) {
            let slow = Box(try topic.makePublisher())
            let (hasClaimed, isToCommit) = (Flag(), Flag())
            let thread = try PlainThread { () throws(IPCError) in
                try slow.value.publish(upTo: 100) { (_) throws(IPCError) in
                    hasClaimed.set()
                    isToCommit.wait()
                }
            }
            hasClaimed.wait()
            defer {
                isToCommit.set()
                #expect(thread.join() == nil)
            }
            try body(topic, isToCommit)
        }
    }

    private static func processorTime() -> Duration {
        var usage = rusage()
        getrusage(1, &usage)  // RUSAGE_THREAD
        let user = Duration.seconds(usage.ru_utime.tv_sec) + .microseconds(usage.ru_utime.tv_usec)
        return user + .seconds(usage.ru_stime.tv_sec) + .microseconds(usage.ru_stime.tv_usec)
    }

    @Test func itKeepsItsDeadlineAsleep() throws {
        try whileAnotherFills(Self.options) { topic, _ in
            var publisher = try topic.makePublisher()
            try publisher.publish([1].span.bytes)
            let (start, used) = (ContinuousClock.now, Self.processorTime())
            let code = failure { () throws(IPCError) in try publisher.sync(until: .after(.milliseconds(400))) }?.code
            let took = ContinuousClock.now - start
            #expect(code == .timedOut)
            #expect(took >= .milliseconds(400) && took < .seconds(2))
            #expect(Self.processorTime() - used < .milliseconds(100))
        }
    }

    @Test func aCallThatNeverWaitsDoesNotWait() throws {
        var options = Self.options
        options.durability = .syncedEachMessage
        try whileAnotherFills(options) { topic, isToCommit in
            var publisher = try topic.makePublisher()
            let before = publisher.writer.memory.tail.relaxed
            let start = ContinuousClock.now
            for _ in 0..<100 { #expect(try !publisher.tryPublish([1].span.bytes)) }
            #expect(ContinuousClock.now - start < .seconds(1))
            // Nor does it use up the log.
            #expect(publisher.writer.memory.tail.relaxed == before)
            let code = failure { () throws(IPCError) in
                try publisher.publish([1].span.bytes, until: .after(.milliseconds(50)))
            }?.code
            #expect(code == .timedOut)
            isToCommit.set()
            try publisher.publish([2].span.bytes, until: .after(.seconds(20)))
            #expect(publisher.writer.memory.synced.relaxed == publisher.writer.memory.tail.relaxed)
        }
    }

    @Test func aTaskWaitsForAnothersMessageWithoutAThread() async throws {
        var options = Self.options
        options.durability = .syncedEachMessage
        let topic = try Topic<RawBytes>.openOrCreate(channelName(), options)
        defer { try? Channel.remove(topic.name.description) }
        let (slow, own) = (Box(try topic.makePublisher()), Box(try topic.makePublisher()))
        let (hasClaimed, isToCommit) = (Flag(), Flag())
        let thread = try PlainThread { () throws(IPCError) in
            try slow.value.publish(upTo: 100) { (_) throws(IPCError) in
                hasClaimed.set()
                isToCommit.wait()
            }
        }
        hasClaimed.wait()
        let loop = try EventLoop()
        let task = Task(executorPreference: loop) {
            try await own.value.publish([1].span.bytes, until: .after(.seconds(20)))
        }
        usleep(100_000)
        isToCommit.set()
        try await task.value
        #expect(thread.join() == nil)
    }

    /// What is in slots of an earlier boot is no claim of now.
    @Test func slotsOfAnEarlierBootAreNotBelieved() throws {
        let topic = try Topic<UInt64>.openOrCreate(channelName(), Self.options)
        try Self.removing(topic.name) {
            var publisher = try topic.makePublisher()
            for number in 0..<10 as Range<UInt64> { try publisher.publish(number) }
            try publisher.sync()
            publisher.close()
            // The machine crashed; on its disk is a slot of long ago, whose claim lies where nothing was committed then.
            let memory = try ChannelMemory(topic.name, in: .root(.current), logAccess: .readWrite)
            memory.word(LogLayout.Fixed.boot).relaxed ^= 1
            memory.usedWriterCount.ordered = 2
            for (slot, position, length) in [(0, 64, 128), (1, 192, 64)] as [(Int, UInt64, UInt64)] {
                memory.state(.writer, slot).ordered = LogLayout.SlotState.taken
                memory.writer(slot, LogLayout.WriterSlot.intentPosition).ordered = position
                memory.writer(slot, LogLayout.WriterSlot.intentLength).ordered = length
            }
            // And a stamp of before the crash, behind the end.
            unsafe SharedUInt64(memory.log + 640).relaxed = 640 ^ memory.key
            var subscription = try topic.makeSubscription(from: .oldest)
            for number in 0..<10 as Range<UInt64> { #expect(try subscription.tryReceive() == number) }
            #expect(try subscription.tryReceive() == nil)
            #expect(memory.state(.writer, 0).relaxed == LogLayout.SlotState.free)
            #expect(memory.writer(1, LogLayout.WriterSlot.intentPosition).relaxed == LogLayout.unclaimed)
        }
    }
}
