import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

@testable import IPCChannels

/// Subscribers that may write nothing but a cursor of their own: what they get, what they hold back, and what a hostile one can do.
@Suite(.timeLimit(.minutes(5)), .enabled(if: OtherUser.isPossible, .init(stringLiteral: OtherUser.reason)))
struct GuestTests {
    /// A root that everybody sees, with a topic of root's in which everybody may be a guest.
    final class Place: Sendable {
        let path = "/dev/shm/" + uniqueName()
        let guest = OtherUser.any()
        let topic: Topic<UInt64>

        init() throws {
            mkdir(path, 0o755)
            chmod(path, 0o755)
            var options = ChannelOptions(writers: .shared, lifetime: .kept, capacity: 65_536, maximumReaders: 8)
            options.subscriberPermissions = .otherRead
            topic = try Topic<UInt64>.openOrCreate("guest/topic", in: ChannelRoot(FilePath(path)), options)
        }

        deinit { removeAll(path) }

        func start(_ arguments: String..., environment: [String] = []) throws -> Peer {
            try guest.start(
                product("ChannelPeer"), ["guest"] + arguments + ["guest/topic"], root: path, environment: environment)
        }

        var description: ChannelDescription {
            get throws { try ChannelDescription(topic.name, in: ChannelRoot(FilePath(path))) }
        }
    }

    /// A thread that sleeps hears of each message at once, not at its next look 50 ms later.
    @Test(arguments: ["receive", "receive-as-task"]) func aGuestHearsOfMessagesAtOnce(how: String) throws {
        let place = try Place()
        var publisher = try place.topic.makePublisher()
        let peer = try place.start(how)
        #expect(try peer.said() == "in place\n")
        var times: [UInt64] = []
        for number in 1...30 as ClosedRange<UInt64> {
            usleep(20_000)
            let start = MonotonicClock.now
            try publisher.publish(number)
            #expect(try peer.said() == "\(number)\n")
            times.append(MonotonicClock.now - start)
        }
        let median = Double(times.sorted()[15]) / 1e6
        // A task in a root where it may make no FIFO looks every 10 ms at least.
        #expect(median < (how == "receive" ? 5 : 15), "\(median) ms")
        let participants = try place.description.participants
        #expect(participants.map(\.role) == [.writer, .guest])
        #expect(participants.map(\.isAlive) == [true, true])
        try peer.kill()
    }

    /// Writers wait for it, and go on at once when it has read, or has left.
    @Test(arguments: ["thread", "task"]) func writersThatWaitForAGuestGoOnAtOnce(how: String) async throws {
        let place = try Place()
        var publisher = try place.topic.makePublisher()
        for step in ["read-all", "leave"] {
            let peer = try place.start(step)
            #expect(try peer.said() == "in place\n")
            for _ in 0..<100_000 { guard try publisher.tryPublish(1) else { break } }
            let process = peer.child.handle.identifier
            let reading = Task.detached {
                usleep(120_000)
                let time = MonotonicClock.now
                kill(process, SIGUSR1)
                return time
            }
            let end = Deadline.after(.seconds(10))
            if how == "thread" { try Self.publish(&publisher, end) } else { try await publisher.publish(2, until: end) }
            let time = Double(MonotonicClock.now) - Double(await reading.value)
            #expect(time > 0 && time < 35e6, "\(step): \(time / 1e6) ms")
            try peer.child.handle.send(.userDefined1)
            #expect(try peer.finish().status == .exited(0))
        }
    }

    /// Without a suspension, in an asynchronous test.
    private static func publish(_ publisher: inout Topic<UInt64>.Publisher, _ end: Deadline) throws(IPCError) {
        try publisher.publish(2, until: end)
    }

    @Test(arguments: ["thread", "task"]) func aDeadGuestHoldsNobodyBack(how: String) async throws {
        let place = try Place()
        var publisher = try place.topic.makePublisher()
        let peer = try place.start("stay")
        #expect(try peer.said() == "in place\n")
        for _ in 0..<100_000 { guard try publisher.tryPublish(1) else { break } }
        let start = MonotonicClock.now
        try peer.kill()
        let end = Deadline.after(.seconds(10))
        if how == "thread" { try Self.publish(&publisher, end) } else { try await publisher.publish(2, until: end) }
        #expect(MonotonicClock.now - start < 150_000_000)
        #expect(try place.description.participants.map(\.role) == [.writer])
    }

    /// All slots of dead guests are free for those who come, who need nobody for that.
    @Test func aGuestTakesTheSlotsOfDeadOnes() throws {
        let place = try Place()
        let publisher = try place.topic.makePublisher()
        for _ in 0..<3 {
            let peers = try (0..<8).map { _ in Held(try place.start("stay")) }
            for peer in peers { #expect(try peer.value.said() == "in place\n") }
            let more = try place.start("stay").finish()
            #expect(more.text.contains("all its 8 guest slots are taken"), "\(more.text)")
            for peer in peers { try peer.value.kill() }
        }
        publisher.close()
    }

    /// Whoever frees a slot has its lock before and a moment longer; a guest that finds no other slot waits for that.
    @Test(arguments: ["recover.slot", "recover.freed"]) func aGuestWaitsForASlotThatIsBeingFreed(point: String) throws {
        let place = try Place()
        let publisher = try place.topic.makePublisher()
        let peers = try (0..<8).map { _ in Held(try place.start("stay")) }
        for peer in peers { #expect(try peer.value.said() == "in place\n") }
        try peers[3].value.kill()
        let freeing = try place.start("stay", environment: ["IPC_STOP_POINT=\(point)"])
        #expect(try freeing.said() == "struck \(point)\n")
        let next = try place.start("stay")
        usleep(60_000)
        try freeing.kill()
        let said = try next.said()
        #expect(said == "in place\n", "\(said)")
        try next.kill()
        for (index, peer) in peers.enumerated() where index != 3 { try peer.value.kill() }
        publisher.close()
    }

    @Test func aGuestNeedsAHost() throws {
        let place = try Place()
        let alone = try place.start("stay").finish()
        #expect(alone.text.contains("wait until one has joined, or observe the channel"), "\(alone.text)")
        // It keeps no channel: what was published before it goes comes first.
        var options = ChannelOptions()
        options.subscriberPermissions = .otherRead
        let root = ChannelRoot(FilePath(place.path))
        var publisher = try Topic<UInt64>.openOrCreate("guest/short", in: root, options).makePublisher()
        let peer = try place.guest.start(
            product("ChannelPeer"), ["guest", "receive", "guest/short"], root: place.path)
        #expect(try peer.said() == "in place\n")
        try peer.child.handle.send(.stop)
        for number in 1...3 as ClosedRange<UInt64> { try publisher.publish(number) }
        publisher.close()
        try peer.child.handle.send(.continue)
        let text = try peer.finish().text
        #expect(text.hasPrefix("1\n2\n3\nno: ") && text.contains("its last participant has left"), "\(text)")
        #expect(try root.names().map(\.description) == ["guest/topic"])
    }

    /// One that writes rubbish wherever it may, shortens what it can, and locks what it can open.
    @Test(arguments: [1, 2, 3] as [UInt64]) func aHostileGuestDamagesNothing(seed: UInt64) throws {
        let place = try Place()
        var publisher = try place.topic.makePublisher()
        var subscription = try place.topic.makeSubscription()
        let honest = try place.start("receive-quietly")
        #expect(try honest.said() == "in place\n")
        let peer = try place.start("scribble", String(seed))
        #expect(try peer.said() == "in place\n")
        let end = Deadline.after(.seconds(2))
        var (sent, received) = (0, 0) as (UInt64, UInt64)
        while !end.hasPassed {
            // It may hold writers back.
            do { try publisher.publish(sent + 1, until: .after(.milliseconds(20))) } catch { continue }
            sent += 1
            while let number = try subscription.tryReceive() {
                received += 1
                #expect(number == received)
            }
        }
        #expect(received > 100)
        // Others join and leave meanwhile.
        for _ in 0..<10 {
            var another = try place.topic.makeSubscription()
            #expect(try another.tryReceive() == nil)
        }
        // Nor is there anything on the disk.
        let size = try FileStatus(at: "\(place.path)/guest:topic/subscribers")
        #expect(size.isFIFO && size.size == 0)
        try peer.kill()
        // What it has said of itself is seen to, and all goes on.
        for _ in 0..<3000 {
            try publisher.publish(sent + 1, until: .after(.seconds(5)))
            sent += 1
            #expect(try subscription.receive(until: .after(.seconds(5))) == sent)
        }
        try honest.child.handle.send(.userDefined1)
        let text = try honest.finish().text
        #expect(text.hasPrefix("true, "), "\(text)")
        let next = try place.start("receive")
        let said = try next.said()
        #expect(said == "in place\n", "\(said)")
        try publisher.publish(7)
        #expect(try next.said() == "7\n")
        try next.kill()
    }

    /// The segment goes with the last that has it: nothing is left that a person would have to remove.
    @Test func aSegmentGoesWithItsLastUser() throws {
        func segments() throws -> Int {
            try Peer("sh", ["-c", "cut -c12-21 /proc/sysvipc/shm | tail -n +2 | wc -l"]).finish().text
                .split(whereSeparator: \.isWhitespace).first.flatMap { Int($0) } ?? -1
        }
        let place = try Place()
        let before = try segments()
        var publisher: Topic<UInt64>.Publisher? = try place.topic.makePublisher()
        #expect(try segments() == before + 1)
        let peer = try place.start("receive")
        #expect(try peer.said() == "in place\n")
        publisher = nil
        // The guest has it still, so the next participant meets it there.
        publisher = try place.topic.makePublisher()
        try publisher!.publish(5)
        #expect(try peer.said() == "5\n")
        try peer.kill()
        publisher = nil
        #expect(try segments() == before)
    }
}
