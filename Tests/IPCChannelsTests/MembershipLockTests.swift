import Glibc
import IPC
import TestSupport
import Testing

@testable import IPCChannels

/// The membership lock, which joining, leaving and recovering take: it excludes threads of one membership as well as processes.
@Suite(.timeLimit(.minutes(5))) struct MembershipLockTests {
    @Test func theGateExcludesThreadsOfOneMembership() throws {
        let topic = try Topic<UInt64>.openOrCreate(channelName())
        let subscription = try topic.makeSubscription()
        let memory = subscription.reader.memory
        try memory.lockMembership()
        let other = try PlainThread { () throws(IPCError) in
            #expect(try !memory.tryLockMembership())
            #expect(
                failure { () throws(IPCError) in try memory.lockMembership(until: .after(.milliseconds(20))) }?.code
                    == .timedOut)
        }
        #expect(other.join() == nil)
        // And others, who have opened the channel for themselves.
        let stranger = try ChannelMemory(topic.name, in: .root(.current), logAccess: .readOnly)
        #expect(try !stranger.tryLockMembership())
        memory.unlockMembership()
        #expect(try stranger.tryLockMembership())
        #expect(try !memory.tryLockMembership())
        stranger.unlockMembership()
        withExtendedLifetime(subscription) {}
    }

    /// A counter that is safe under the membership lock alone.
    @Test func nothingIsLostBetweenThreadsThatTakeItAllTheTime() throws {
        let topic = try Topic<UInt64>.openOrCreate(channelName())
        let subscription = try topic.makeSubscription()
        let own = subscription.reader.memory
        let stranger = try ChannelMemory(topic.name, in: .root(.current), logAccess: .readOnly)
        let count = SharedUInt32(own, LogLayout.recoveries)
        let before = count.relaxed
        let threads = try [own, own, own, stranger].map { memory in
            try PlainThread { () throws(IPCError) in
                for _ in 0..<500 {
                    while try !memory.tryLockMembership() { sched_yield() }
                    let seen = count.relaxed
                    sched_yield()
                    count.relaxed = seen &+ 1
                    memory.unlockMembership()
                }
            }
        }
        for thread in threads { #expect(thread.join() == nil) }
        #expect(count.relaxed == before &+ 2000)
        withExtendedLifetime(subscription) {}
    }

    /// Whatever a newcomer looks for, others join and leave meanwhile.
    @Test func oneThatLooksThroughALargeLogHoldsNobodyUp() throws {
        func longestWait() throws -> Duration {
            let topic = try Topic<UInt64>.openOrCreate(
                channelName(), ChannelOptions(lifetime: .kept, capacity: 64 << 20))
            defer { try? Topic<UInt64>.remove(topic.name.description) }
            var publisher = try topic.makePublisher()
            let count = repetitions(1_000_000)
            for number in 0..<UInt64(count) { _ = try publisher.tryPublish(number) }
            let memory = try ChannelMemory(topic.name, in: .root(.current), logAccess: .readOnly)
            let isOver = Flag()
            let joiner = try PlainThread { () throws(IPCError) in
                for _ in 0..<3 { _ = try topic.makeSubscription(from: .last(count / 10 * 9)) }
                isOver.set()
            }
            var longest = Duration.zero
            while !isOver.isSet {
                let start = ContinuousClock.now
                while try !memory.tryLockMembership() {}
                longest = max(longest, ContinuousClock.now - start)
                memory.unlockMembership()
                usleep(50)
            }
            #expect(joiner.join() == nil)
            return longest
        }
        // Held for microseconds; the rest is the machine's, so a few tries.
        var best = try longestWait()
        for _ in 0..<20 where best >= .milliseconds(10) { best = min(best, try longestWait()) }
        #expect(best < .milliseconds(10))
    }

    @Test(arguments: [1, 2, 3, 1000, 5000]) func theLastFewAreTheLastFew(count: Int) throws {
        for overflow in [ChannelOptions.Overflow.block, .overwrite] {
            let topic = try Topic<UInt64>.openOrCreate(
                channelName(), ChannelOptions(overflow: overflow, capacity: 1 << 20))
            var publisher = try topic.makePublisher()
            let total: UInt64 = overflow == .block ? 10_000 : 40_000
            for number in 0..<total { try publisher.publish(number) }
            var subscription = try topic.makeSubscription(from: .last(count))
            for number in (total - UInt64(count))..<total {
                #expect(try subscription.tryReceive() == number)
            }
            #expect(try subscription.tryReceive() == nil)
        }
    }
}
