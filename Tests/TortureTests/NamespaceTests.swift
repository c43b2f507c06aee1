import Glibc
import IPC
import IPCChannels
import TestSupport
import Testing

/// Containers have pids of their own, in which another's pid means nothing: death shows by the lock.
@Suite(.enabled(if: getuid() == 0, "a pid namespace takes privileges"), .timeLimit(.minutes(20))) struct NamespaceTests
{
    @Test func deathIsSeenAcrossPidNamespaces() throws {
        let name = channelName()
        let topic = try Topic<RawBytes>.openOrCreate(
            name, ChannelOptions(writers: .shared, lifetime: .kept, capacity: 65_536))
        defer { try? Topic<RawBytes>.remove(name) }
        let isolated = ["--pid", "--fork", "--kill-child", product("ChannelPeer")]
        let subscriber = try Peer("unshare", isolated + ["hold-subscription", name])
        _ = try subscriber.said()
        let writer = try Peer("unshare", isolated + ["stop-in-claim", name])
        _ = try writer.said()

        // Both live: the one holds us back, the other's claim is nobody's to take.
        var publisher = try topic.makePublisher()
        var reader = try topic.makeSubscription(from: .oldest)
        let message = [UInt8](repeating: 1, count: 5000)
        while try publisher.tryPublish(message.span.bytes) {}
        let held = failure { () throws(IPCError) in
            try reader.receive(until: .after(.milliseconds(100))) { (_) throws(IPCError) in }
        }
        #expect(held?.code == .timedOut)

        try subscriber.kill()
        try writer.kill()
        let start = ContinuousClock.now
        let count = try reader.receive(until: .after(.seconds(5))) { (payload) throws(IPCError) in payload.byteCount }
        #expect(count == 5000)
        _ = try reader.receiveAvailable { (_) throws(IPCError) in }
        try publisher.publish(message.span.bytes, until: .after(.seconds(5)))
        #expect(ContinuousClock.now - start < .seconds(2))
    }
}
