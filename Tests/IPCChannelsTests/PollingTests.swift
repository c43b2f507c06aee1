import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

@testable import IPCChannels

/// One that only polls is not hidden from by what a dead participant has left, for longer than 100 ms.
@Suite(.serialized, .timeLimit(.minutes(5))) struct PollingTests {
    private static func die(_ role: String, _ name: ChannelName, at point: String = "claim.done") throws {
        let errors = try AnonymousPipe()
        let peer = try ChildProcess(
            product("ChannelPeer"), [role, name.description, "666"],
            environment: .only(pairs: ["IPC_ROOT=\(channelRoot)", "IPC_KILL_POINT=\(point)"]),
            descriptors: [1: errors.writer.descriptor, 2: errors.writer.descriptor])
        #expect(try peer.wait(until: .after(.seconds(30))) == .signaled(.kill))
    }

    /// How long it takes until `poll` finds something.
    private static func polled(_ poll: () throws -> Bool) throws -> Duration {
        let start = ContinuousClock.now
        while try !poll() {
            if ContinuousClock.now - start > .seconds(3) { break }
            usleep(100)
        }
        return ContinuousClock.now - start
    }

    @Test func aTopicsSubscriberRecovers() throws {
        let took = try shortest {
            let topic = try Topic<UInt64>.openOrCreate(channelName(), ChannelOptions(writers: .shared))
            var subscription = try topic.makeSubscription()
            var publisher = try topic.makePublisher()
            try Self.die("publish-number", topic.name)
            try publisher.publish(7)
            return try Self.polled { try subscription.tryReceive() == 7 }
        }
        #expect(took < .milliseconds(100))
    }

    @Test func aTapRecoversWhereNobodyElseLooks() throws {
        let took = try shortest {
            let topic = try Topic<UInt64>.openOrCreate(channelName(), ChannelOptions(writers: .shared, lifetime: .kept))
            defer { try? Topic<UInt64>.remove(topic.name.description) }
            var tap = try ChannelTap(topic.name.description)
            try Self.die("publish-number", topic.name)
            var publisher = try topic.makePublisher()
            try publisher.publish(7)
            return try Self.polled { try tap.next() != nil }
        }
        #expect(took < .milliseconds(100))
    }

    @Test func aWorkerRecoversClaimsAndJobs() throws {
        let took = try shortest {
            let queue = try WorkQueue<UInt64>.openOrCreate(channelName(), ChannelOptions(lifetime: .whileUsed))
            var worker = try queue.makeWorker()
            var producer = try queue.makeProducer()
            try Self.die("send-number", queue.name)
            try producer.send(7)
            return try Self.polled {
                guard let job = try worker.tryNext() else { return false }
                #expect(job.message == 7)
                try job.acknowledge()
                return true
            }
        }
        #expect(took < .milliseconds(100))
        let again = try shortest {
            let queue = try WorkQueue<UInt64>.openOrCreate(channelName(), ChannelOptions(lifetime: .whileUsed))
            var worker = try queue.makeWorker()
            var producer = try queue.makeProducer()
            try producer.send(7)
            let peer = try Peer(product("ChannelPeer"), ["hold-job", queue.name.description])
            _ = try peer.said()
            #expect(try worker.tryNext() == nil)
            try peer.kill()
            return try Self.polled {
                guard let job = try worker.tryNext() else { return false }
                #expect(job.attempt == 2)
                try job.acknowledge()
                return true
            }
        }
        #expect(again < .milliseconds(100))
    }

    @Test func aPublisherThatPollsForRoomRecovers() throws {
        let took = try shortest {
            let topic = try Topic<RawBytes>.openOrCreate(channelName(), ChannelOptions(capacity: 65_536))
            var publisher = try topic.makePublisher()
            let holder = try Peer(product("ChannelPeer"), ["hold-subscription", topic.name.description])
            _ = try holder.said()
            let message = [UInt8](repeating: 1, count: 5000)
            while try publisher.tryPublish(message.span.bytes) {}
            try holder.kill()
            return try Self.polled { try publisher.tryPublish(message.span.bytes) }
        }
        #expect(took < .milliseconds(100))
    }

    @Test func aCallerThatPollsHearsOfItsServersDeath() throws {
        let took = try shortest {
            let service = try ServiceChannel<UInt64, UInt64, Errno>.openOrCreate(channelName())
            let peer = try Peer(product("ChannelPeer"), ["hold-call", service.name.description])
            #expect(try peer.said() == "ready\n")
            var client = try service.makeClient()
            let call = try client.begin(7)
            #expect(try peer.said() == "took 7\n")
            let isFinished = call.isFinished
            #expect(!isFinished)
            try peer.kill()
            return try Self.polled { call.isFinished }
        }
        #expect(took < .milliseconds(100))
    }

    /// Claims under way, of the living and of the dead, do not hide a value whose `set` has returned.
    @Test func aLatestValueIsTheNewestWhateverIsClaimed() throws {
        var options = LatestOptions()
        options.writers = .shared
        let latest = try Latest<RawBytes>.openOrCreate(channelName(), options)
        var first = try latest.makeSetter(), second = try latest.makeSetter()
        var getter = try latest.makeGetter()
        try first.set([1].span.bytes)
        try first.set(upTo: 8) { (span) throws(IPCError) in
            // Ours is claimed, and the other's come after it.
            for value in 2...8 as ClosedRange<UInt8> {
                try second.set([value].span.bytes)
                #expect(try getter.get { (bytes) throws(IPCError) in bytes.array } == [value])
                var late = try latest.makeGetter()
                #expect(try late.get { (bytes) throws(IPCError) in bytes.array } == [value])
            }
            span.append(9)
        }
        // Claimed before the others were, so the newest is still theirs.
        #expect(try getter.get { (bytes) throws(IPCError) in bytes.array } == [8])

        let numbers = try Latest<UInt64>.openOrCreate(channelName(), options)
        var setter = try numbers.makeSetter()
        var polling = try numbers.makeGetter()
        try setter.set(1)
        try Self.die("set-number", numbers.name)
        for value in 2...100 as ClosedRange<UInt64> {
            try setter.set(value)
            #expect(try polling.get() == value)
            if value % 10 == 0 { try Self.die("set-number", numbers.name, at: "commit.stamp") }
        }
        try setter.set(200)
        #expect(try polling.next(until: .after(.seconds(5))) == 200)
    }
}
