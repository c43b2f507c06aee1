import Glibc
import IPC
import IPCChannels
import TestSupport
import Testing

/// A child of `fork` that does not exec has no part in its parent's channels (Python's multiprocessing, daemons that fork).
@Suite(.timeLimit(.minutes(5))) struct ForkTests {
    @Test func aChildDoesNotKeepItsDeadParentsSlotAlive() throws {
        let took = try shortest {
            let topic = try Topic<RawBytes>.openOrCreate(
                channelName(), ChannelOptions(lifetime: .kept, capacity: 65_536))
            defer { try? Topic<RawBytes>.remove(topic.name.description) }
            var publisher = try topic.makePublisher()
            let parent = try Peer(product("ChannelPeer"), ["fork-while-subscribed", topic.name.description])
            let child = try #require(pid_t(try parent.said().dropLast()))
            defer { kill(child, SIGKILL) }
            let message = [UInt8](repeating: 1, count: 5000)
            while try publisher.tryPublish(message.span.bytes) {}
            try parent.kill()
            let start = ContinuousClock.now
            try publisher.publish(message.span.bytes, until: .after(.seconds(5)))
            return ContinuousClock.now - start
        }
        #expect(took < .milliseconds(100))
    }

    @Test func aChildsUseIsAnErrorAndHarmsNothing() throws {
        let name = channelName()
        let peer = try Peer(product("ChannelPeer"), ["use-in-child", name])
        let (status, text) = try peer.finish(within: .seconds(60))
        #expect(status == .exited(0))
        let lines = text.split(separator: "\n").map(String.init)
        let calls = [
            "publish", "tryPublish", "receive", "tryReceive", "arm", "send", "next", "set", "get", "call", "serve",
            "wait",
        ]
        #expect(Array(lines.prefix(calls.count)) == calls.map { "\($0): inherited" }, "\(text)")
        // What the child published for itself is there, nothing of the parent's is lost, and no job was given back for it.
        #expect(lines.last == "parent: 1 7 3, job 1 at attempt 1, 1", "\(text)")
    }
}
