import Glibc
import IPC
import TestSupport
import Testing

@testable import IPCChannels

/// Participants are killed at every named point, and at random moments, while others go on. What must hold is in
/// `Documentation/guarantees.md`.
@Suite(.serialized, .timeLimit(.minutes(20))) struct KillTests {
    /// How often each point is tried; `IPC_TORTURE=20` for a long run.
    static let repetitions = getenv("IPC_TORTURE").flatMap { Int(String(cString: $0)) } ?? 1

    /// A channel with one subscriber and one publisher that live, and one publisher that dies.
    private struct Trial {
        var writers = ChannelOptions.Writers.shared
        /// What the victim does; a publisher by default.
        var victim: (_ name: String, _ progress: String) -> [String]
        var point: String?
        /// Whether it says when it has joined; then the survivor begins after that, and the victim comes to its point.
        var saysReady = false

        func run() throws {
            let name = channelName()
            let topic = try Topic<RawBytes>.openOrCreate(
                name, ChannelOptions(writers: writers, lifetime: .kept, capacity: 65_536))
            defer { try? Topic<RawBytes>.remove(name) }
            let progress = try Progress()
            let reader = try Peer(product("ChannelPeer"), ["subscribe", name, "oldest"])
            _ = try reader.said()

            // The victim's standard error says where it was struck.
            let errors = try AnonymousPipe()
            var environment = ["IPC_ROOT=\(channelRoot)", "PATH=/usr/bin:/bin"]
            if let point { environment.append("IPC_KILL_POINT=\(point)") }
            let victim = try ChildProcess(
                product("ChannelPeer"), self.victim(name, progress.name), environment: .only(pairs: environment),
                descriptors: [1: errors.writer.descriptor, 2: errors.writer.descriptor])
            let said = errors.closingWriter()
            var text = ""
            if saysReady {
                // Or where it was struck, if that was before.
                text = String(
                    decoding: try bytes(capacity: 100) { (buffer) throws(IPCError) in
                        try said.read(into: &buffer, until: .after(.seconds(30)))
                    }, as: UTF8.self)
            }
            let hasSurvivor = writers == .shared
            let survivor = try ChildProcess(
                hasSurvivor ? product("ChannelPeer") : "true", ["publish", name, "1", "2000", "300", progress.name])
            if point == nil {
                usleep(UInt32.random(in: 0..<30_000))  // the moment is random; nothing is waited for
                try? victim.handle.send(.kill)
            }
            let status = try victim.wait(until: .after(.seconds(30)))
            text += String(decoding: try said.readToEnd(until: .after(.seconds(10))), as: UTF8.self)
            if let point {
                #expect(status == .signaled(.kill), "\(point)")
                if saysReady, text.hasPrefix("ready\n") { text.removeFirst(6) }
                #expect(text == "struck \(point.split(separator: ":")[0])\n")
            }
            let survived = try survivor.wait(until: .after(.seconds(60)))
            #expect(survived == .exited(0), "\(point ?? "random")")
            // Joining, publishing and receiving go on; how soon, the tests below measure.
            let start = ContinuousClock.now
            try publishEnd(topic)
            let (end, report) = try reader.finish()
            let took = ContinuousClock.now - start
            #expect(end == .exited(0), "\(point ?? "random"): \(report)")
            #expect(took < .seconds(5), "\(point ?? "random"): \(took)")
            // Every message that its publisher knew to be through has come, and at most the one that it was at.
            var counts: [Int: Int] = [:]
            for line in report.split(separator: "\n") {
                let fields = line.split(separator: " ")
                if let writer = Int(fields[0]) { counts[writer] = Int(fields[1]) }
            }
            if hasSurvivor { #expect(counts[1] == 2000) }
            #expect([progress[2], progress[2] + 1].contains(counts[2] ?? 0), "\(point ?? "random"): \(report)")
        }
    }

    private static func publisher(_ count: Int) -> (String, String) -> [String] {
        { name, progress in ["publish", name, "2", "\(count)", "300", progress] }
    }

    @Test(arguments: [
        "join.slot", "join.cursor", "claim.length", "claim.intent", "claim.done", "fill.header", "commit.stamp",
        "commit.sequence", "commit.wake", "block.start", "leave.slot", "remove.flag",
    ])
    func aSharedPublisherDiesAnywhere(point: String) throws {
        for round in 0..<Self.repetitions * 3 {
            let after = ["join", "leave", "remove"].contains { point.hasPrefix($0) } ? 1 : 1 + round * 97 % 900
            try Trial(
                victim: Self.publisher(1000), point: "\(point):\(point == "block.start" ? 1 + round % 50 : after)"
            )
            .run()
        }
    }

    @Test(arguments: [
        "join.slot", "join.cursor", "fill.header", "commit.stamp", "commit.wake", "block.start", "leave.slot",
    ])
    func anExclusivePublisherDiesAnywhereAndTheNextOneGoesOn(point: String) throws {
        for round in 0..<Self.repetitions * 3 {
            let after = ["join", "leave"].contains { point.hasPrefix($0) } ? 1 : 1 + round * 97 % 900
            try Trial(
                writers: .exclusive, victim: Self.publisher(1000),
                point: "\(point):\(point == "block.start" ? 1 + round % 50 : after)"
            ).run()
        }
    }

    @Test(arguments: ["join.slot", "join.cursor", "read.frame", "read.cursor", "sleep.flag", "leave.slot"])
    func aSubscriberDiesAnywhere(point: String) throws {
        for round in 0..<Self.repetitions * 2 {
            let after = point.hasPrefix("read.f") ? 1 + round * 50 % 900 : 1
            // One that leaves needs an end that it meets.
            let name = channelName()
            if point == "leave.slot" {
                let topic = try Topic<RawBytes>.openOrCreate(name, ChannelOptions(writers: .shared, lifetime: .kept))
                try publishEnd(topic)
                defer { try? Topic<RawBytes>.remove(name) }
                let errors = try AnonymousPipe()
                let child = try ChildProcess(
                    product("ChannelPeer"), ["subscribe", name, "oldest"],
                    environment: .only(pairs: ["IPC_ROOT=\(channelRoot)", "IPC_KILL_POINT=\(point)"]),
                    descriptors: [2: errors.writer.descriptor])
                let status = try child.wait(until: .after(.seconds(30)))
                #expect(status == .signaled(.kill))
                try publishEnd(topic)
                continue
            }
            try Trial(
                victim: { name, _ in ["subscribe", name, "any"] }, point: "\(point):\(after)", saysReady: true
            ).run()
        }
    }

    @Test func anyPublisherDiesAtRandomMoments() throws {
        for _ in 0..<Self.repetitions * 10 { try Trial(victim: Self.publisher(1_000_000)).run() }
        for _ in 0..<Self.repetitions * 10 {
            try Trial(writers: .exclusive, victim: Self.publisher(1_000_000)).run()
        }
    }

    @Test func anySubscriberDiesAtRandomMoments() throws {
        for _ in 0..<Self.repetitions * 10 { try Trial(victim: { name, _ in ["subscribe", name, "any"] }).run() }
    }

    /// A dead writer's claim is found, and whoever recovers it is killed as well.
    @Test(arguments: ["recover.header", "recover.skip", "recover.slot", "recover.freed"])
    func theRecoveryDiesToo(point: String) throws {
        for _ in 0..<Self.repetitions * 3 {
            let name = channelName()
            let topic = try Topic<RawBytes>.openOrCreate(name, ChannelOptions(writers: .shared, lifetime: .kept))
            defer { try? Topic<RawBytes>.remove(name) }
            var subscription = try topic.makeSubscription(from: .oldest)
            let first = try Peer(product("ChannelPeer"), ["stop-in-claim", name])
            _ = try first.said()
            try first.kill()
            let errors = try AnonymousPipe()
            let second = try ChildProcess(
                product("ChannelPeer"), ["wait", name],
                environment: .only(pairs: ["IPC_ROOT=\(channelRoot)", "IPC_KILL_POINT=\(point)"]),
                descriptors: [2: errors.writer.descriptor])
            let status = try second.wait(until: .after(.seconds(30)))
            #expect(status == .signaled(.kill))
            let said = try errors.closingWriter().readToEnd()
            #expect(String(decoding: said, as: UTF8.self) == "struck \(point)\n")
            var publisher = try topic.makePublisher()
            try publisher.publish("on".utf8.span.bytes, until: .after(.seconds(1)))
            let count = try subscription.receive(until: .after(.seconds(1))) { (payload) throws(IPCError) in
                payload.byteCount
            }
            #expect(count == 2)
        }
    }

    @Test(arguments: [ChannelOptions.Writers.exclusive, .shared])
    func aDeadSubscriberStopsHoldingBack(writers: ChannelOptions.Writers) throws {
        let took = try shortest {
            let topic = try Topic<RawBytes>.openOrCreate(
                channelName(), ChannelOptions(writers: writers, lifetime: .kept, capacity: 65_536))
            defer { try? Topic<RawBytes>.remove(topic.name.description) }
            let holder = try Peer(product("ChannelPeer"), ["hold-subscription", topic.name.description])
            _ = try holder.said()
            var publisher = try topic.makePublisher()
            let message = [UInt8](repeating: 1, count: 5000)
            while try publisher.tryPublish(message.span.bytes) {}
            try holder.kill()
            let start = ContinuousClock.now
            try publisher.publish(message.span.bytes, until: .after(.seconds(5)))
            return ContinuousClock.now - start
        }
        #expect(took < .milliseconds(100))
    }

    @Test func aDeadWritersClaimIsSkippedByAReaderThatWaits() throws {
        let took = try shortest {
            let topic = try Topic<RawBytes>.openOrCreate(
                channelName(), ChannelOptions(writers: .shared, lifetime: .kept))
            defer { try? Topic<RawBytes>.remove(topic.name.description) }
            var subscription = try topic.makeSubscription()
            let victim = try Peer(product("ChannelPeer"), ["stop-in-claim", topic.name.description])
            _ = try victim.said()
            var publisher = try topic.makePublisher()
            try publisher.publish("after".utf8.span.bytes)
            // It lives: nobody takes its claim away, however long it stops there.
            let held = failure { () throws(IPCError) in
                try subscription.receive(until: .after(.milliseconds(200))) { (_) throws(IPCError) in }
            }
            #expect(held?.code == .timedOut)
            try victim.kill()
            let start = ContinuousClock.now
            let count = try subscription.receive(until: .after(.seconds(5))) { (payload) throws(IPCError) in
                payload.byteCount
            }
            #expect(count == 5)
            return ContinuousClock.now - start
        }
        #expect(took < .milliseconds(100))
    }
}
