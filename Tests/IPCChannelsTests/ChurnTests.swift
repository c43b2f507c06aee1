import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

@testable import IPCChannels

/// Creating, opening, joining and removing at the same moment; files that are deleted under those who use them.
@Suite(.timeLimit(.minutes(5))) struct ChurnTests {
    private static let roles = ["create", "create-new", "open", "remove"]

    @Test(arguments: roles.indices.flatMap { first in roles[first...].map { (roles[first], $0) } })
    func onlyDocumentedErrorsAreThrown(_ first: String, _ second: String) throws {
        let name = channelName()
        // One that makes it as well, since two that only open, or remove, would meet nothing.
        let peers = try [first, second, "create"].map { role in
            Box(try Peer(product("ChannelPeer"), ["churn", name, role, "1"]))
        }
        for peer in peers {
            let (status, text) = try peer.value.finish()
            #expect(status == .exited(0) && text == "well\n", "\(first), \(second): \(text)")
        }
        try? Topic<UInt64>.remove(name)
        #expect(try !namesInFolder(channelRoot).contains { $0.hasPrefix(".new-") || $0.hasPrefix(".old-") })
    }

    @Test func aRemovalThatBeganEarlierLeavesANewChannelAlone() throws {
        let name = channelName()
        let root = ChannelRoot.current
        let old = try Topic<UInt64>.openOrCreate(name, ChannelOptions(lifetime: .kept))
        let memory = try ChannelMemory(old.name, in: .root(root), logAccess: .readOnly)
        memory.isRemoved = true
        // Whoever joins now makes it anew; and what is removed then is the old one.
        let publisher = try old.makePublisher()
        try Membership.remove(memory)
        #expect(try root.names().contains(old.name))
        publisher.close()
        // One that asks for a new channel gets it, although the last participant has not taken the old one away yet.
        let left = try ChannelMemory(old.name, in: .root(root), logAccess: .readOnly)
        left.isRemoved = true
        _ = try Topic<UInt64>.create(name, ChannelOptions(lifetime: .kept))
        try Topic<UInt64>.remove(name)
    }

    /// As systemd's RemoveIPC does it, without a word to anybody.
    @Test func thoseWhoUseDeletedFilesAreTold() throws {
        let name = channelName()
        let kept = ChannelOptions(writers: .shared, lifetime: .kept, capacity: 65_536)
        let folder = ChannelRoot.current.folder(try ChannelName(name))
        /// Asks again and again, as one does that polls.
        func isTold(_ what: String, _ ask: () throws(IPCError) -> Void) {
            removeAll(folder)
            let patience = Deadline.after(.seconds(10))
            var told: IPCError.Code?
            while told == nil, !patience.hasPassed { told = failure(ask)?.code }
            #expect(told == .removed, "\(what)")
        }
        do {
            var publisher = try Topic<UInt64>.openOrCreate(name, kept).makePublisher()
            isTold("publish") { () throws(IPCError) in try publisher.publish(1) }
            var subscription = try Topic<UInt64>.openOrCreate(name, kept).makeSubscription()
            isTold("tryReceive") { () throws(IPCError) in _ = try subscription.tryReceive() }
            var waiting = try Topic<UInt64>.openOrCreate(name, kept).makeSubscription()
            isTold("receive") { () throws(IPCError) in _ = try waiting.receive(until: .after(.seconds(10))) }
        }
        do {
            let queue = try WorkQueue<UInt64>.openOrCreate(name, kept)
            var (worker, producer) = (Optional(Box(try queue.makeWorker())), Optional(Box(try queue.makeProducer())))
            isTold("tryNext") { () throws(IPCError) in _ = try worker!.value.tryNext() }
            isTold("send") { () throws(IPCError) in _ = try producer!.value.trySend(1) }
            (worker, producer) = (nil, nil)
        }
        do {
            var options = LatestOptions()
            options.lifetime = .kept
            let latest = try Latest<UInt64>.openOrCreate(name, options)
            let (setter, getter) = (Box(try latest.makeSetter()), Box(try latest.makeGetter()))
            isTold("set") { () throws(IPCError) in try setter.value.set(1) }
            isTold("get") { () throws(IPCError) in _ = try getter.value.get() }
        }
        do {
            let participant = try Event.openOrCreate(name, EventOptions(lifetime: .kept)).makeParticipant()
            isTold("wait") { () throws(IPCError) in try participant.wait(until: .after(.seconds(10))) }
        }
        do {
            var options = ServiceOptions()
            options.lifetime = .kept
            let service = try ServiceChannel<UInt64, UInt64, CommandFailure>.openOrCreate(name, options)
            let (server, client) = (Box(try service.makeServer()), Box(try service.makeClient()))
            isTold("next call") { () throws(IPCError) in _ = try server.value.next(until: .after(.seconds(10))) }
            isTold("call") { () throws(IPCError) in
                _ = try client.value.call(1, until: .after(.seconds(10)))
            }
        }
    }

    private final class Box<Value: ~Copyable> {
        var value: Value
        init(_ value: consuming Value) { self.value = value }
    }
}
