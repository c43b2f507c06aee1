import CBaselines
import IPC
import IPCChannels
import SystemPackage

extension LinkFactory {
    /// As ``withLink(_:size:isFirst:_:_:)``, for the patterns of `IPCChannels`.
    static func withChannels(
        _ mechanism: Mechanism, size: Int, isFirst: Bool, _ received: inout ReceivedDescriptors, _ c: inout cb_link,
        _ buffer: consuming MessageBuffer, _ body: borrowing some LinkBody & ~Copyable
    ) throws(IPCError) {
        let incoming = try takeChannel(&received)
        let outgoing = try takeChannel(&received)
        switch mechanism {
        case .workQueue:
            var link = WorkQueueLink(
                producer: try WorkQueue(bytesOn: outgoing).makeProducer(),
                worker: try WorkQueue(bytesOn: incoming).makeWorker(waiting: .polling), buffer: buffer)
            try unsafe body.run(&link, &c)
        case .service:
            // One of the two is enough: its replies go back in it.
            let service = try BenchService(bytesOn: isFirst ? outgoing : incoming)
            if isFirst {
                var link = ClientLink(client: try service.makeClient(waiting: .polling), buffer: buffer)
                try unsafe body.run(&link, &c)
            } else {
                var link = ServerLink(server: try service.makeServer(waiting: .polling), buffer: buffer)
                try unsafe body.run(&link, &c)
            }
        case .latest:
            var link = LatestLink(
                setter: try Latest(bytesOn: outgoing).makeSetter(),
                getter: try Latest(bytesOn: incoming).makeGetter(waiting: .polling), size: size)
            try unsafe body.run(&link, &c)
        case .event:
            var link = ChannelEventLink(
                outgoing: try Event(on: outgoing).makeParticipant(),
                incoming: try Event(on: incoming).makeParticipant(waiting: .polling))
            try unsafe body.run(&link, &c)
        default:
            let topics = (try Topic(bytesOn: incoming), try Topic(bytesOn: outgoing))
            let waiting = mechanism == .topicWake ? WaitStrategy.sleeping(spins: 0) : .polling
            var link = TopicLink(
                publisher: try topics.1.makePublisher(),
                subscription: try topics.0.makeSubscription(from: .oldest, waiting: waiting), size: size,
                touched: mechanism == .topicZeroCopy ? min(size, 64) : size)
            try unsafe withTwin(mechanism, size: size, isFirst: isFirst, &received, &c) { (c) throws(IPCError) in
                try unsafe body.run(&link, &c)
            }
        }
    }

    /// Gives the C twin what it has instead of a topic.
    private static func withTwin(
        _ mechanism: Mechanism, size: Int, isFirst: Bool, _ received: inout ReceivedDescriptors, _ c: inout cb_link,
        _ body: (inout cb_link) throws(IPCError) -> Void
    ) throws(IPCError) {
        switch mechanism {
        case .topic, .topicShared:
            unsafe c.kind = mechanism == .topic ? CB_LOG : CB_SHARED_LOG
            let twins = (try TwinLog(&received), try TwinLog(&received))
            unsafe c.receive_log = twins.0.c
            unsafe c.send_log = twins.1.c
            try unsafe body(&c)
            withExtendedLifetime(twins) {}
        case .topicWake:
            // The wake-up alone: a ring whose waiter sleeps on a futex.
            unsafe c.kind = CB_FUTEX
            let mapping = try SharedMemory(adopting: take(&received)).map(prefaulting: true)
            _ = unsafe setRings(mapping, size: size, isFirst: isFirst, &c)
            try unsafe body(&c)
            withExtendedLifetime(mapping) {}
        default: try unsafe body(&c)
        }
    }

    private static func takeChannel(_ received: inout ReceivedDescriptors) throws(IPCError) -> ChannelDescriptors {
        let control = try take(&received).release().rawValue
        return ChannelDescriptors(control: control, log: try take(&received).release().rawValue)
    }

    /// The memory of the C twin's log, one direction of it.
    @safe
    private struct TwinLog {
        let c: cb_log
        private let words: MemoryMapping
        private let ring: MirroredMapping

        init(_ received: inout ReceivedDescriptors) throws(IPCError) {
            words = try SharedMemory(adopting: take(&received)).map()
            let file = try SharedMemory(adopting: take(&received))
            let capacity = try file.byteCount
            ring = try MirroredMapping(file.descriptor.rawValue, "twin", byteCount: capacity, access: .readWrite)
            unsafe c = cb_log(
                ring: ring.base.assumingMemoryBound(to: UInt8.self),
                words: words.pointer(at: 0, byteCount: 4096).assumingMemoryBound(to: UInt8.self),
                capacity: UInt64(capacity), key: 0xa5a5_5a5a_c3c3_3c3c, position: 0, limit: 0, told: 0, sequence: 0,
                caught_up: 0, streamed: 0, stay: 1000, stayed_at: 0, stayed_when: 0)
        }
    }
}
