import CBaselines
import IPC
import IPCChannels
import SystemPackage

/// Makes a worker's links, the Swift one and its C twin, from the descriptors that it received.
enum LinkFactory {
    /// Runs `body` with the link of a mechanism, so that its loops are compiled for that link.
    static func withLink(
        _ mechanism: Mechanism, size: Int, isFirst: Bool, _ received: inout ReceivedDescriptors,
        _ body: borrowing some LinkBody & ~Copyable
    ) throws(IPCError) {
        var c = unsafe cb_link()
        unsafe c.size = size
        unsafe c.slot_count = UInt32(RingLayout.slotCount(size: size))
        let buffer = MessageBuffer(byteCount: size)
        unsafe c.buffer = buffer.base.assumingMemoryBound(to: UInt8.self)
        if mechanism == .topic || mechanism == .topicShared {
            return try unsafe withTopics(mechanism, size: size, &received, &c, body)
        }
        let isDoubled = received.count == 2
        let first = try take(&received)
        unsafe c.receive_descriptor = first.descriptor.rawValue
        unsafe c.send_descriptor = first.descriptor.rawValue
        let second = isDoubled ? try take(&received) : try first.duplicate()
        if isDoubled { unsafe c.send_descriptor = second.descriptor.rawValue }

        switch mechanism {
        case .pipe, .fifo:
            unsafe c.kind = CB_STREAM
            var link = PipeLink(
                reader: try PipeReader(adopting: first), writer: try PipeWriter(adopting: second), buffer: buffer)
            try unsafe body.run(&link, &c)
        case .unixStream, .tcp:
            unsafe c.kind = CB_SOCKET
            var link = StreamLink(socket: try StreamSocket(adopting: first), buffer: buffer)
            try unsafe body.run(&link, &c)
        case .unixDatagram, .udp:
            unsafe c.kind = CB_PACKET
            var link = DatagramLink(socket: try DatagramSocket(adopting: first), buffer: buffer)
            try unsafe body.run(&link, &c)
        case .unixSeqpacket:
            unsafe c.kind = CB_PACKET
            var link = PacketLink(socket: try PacketSocket(adopting: first), buffer: buffer)
            try unsafe body.run(&link, &c)
        case .messageQueue:
            unsafe c.kind = CB_QUEUE
            var link = QueueLink(
                incoming: try MessageQueue(adopting: first), outgoing: try MessageQueue(adopting: second),
                buffer: buffer)
            try unsafe body.run(&link, &c)
        case .signal:
            unsafe c.kind = CB_SIGNAL
            unsafe c.signal_number = SignalLink.signal.rawValue
            var link = SignalLink(
                peer: ProcessHandle(adopting: first, identifier: 0), signals: try SignalSource([SignalLink.signal]))
            unsafe c.receive_descriptor = link.signals.descriptor.rawValue
            try unsafe body.run(&link, &c)
        case .eventfd:
            unsafe c.kind = CB_EVENTFD
            var link = EventLink(incoming: EventCounter(adopting: first), outgoing: EventCounter(adopting: second))
            try unsafe body.run(&link, &c)
        case .shmSemaphore, .shmFutex, .shmSpin:
            let mapping = try SharedMemory(adopting: first).map(prefaulting: true)
            try unsafe withRings(mechanism, mapping, size: size, isFirst: isFirst, &c, body)
        case .mappedFile:
            let mapping = try MappedFile(adopting: first, access: .readWrite).map(prefaulting: true)
            try unsafe withRings(mechanism, mapping, size: size, isFirst: isFirst, &c, body)
        case .topic, .topicShared: break
        }
    }

    private static func withTopics(
        _ mechanism: Mechanism, size: Int, _ received: inout ReceivedDescriptors, _ c: inout cb_link,
        _ body: borrowing some LinkBody & ~Copyable
    ) throws(IPCError) {
        func topic() throws(IPCError) -> Topic<RawBytes> {
            let control = try take(&received).release().rawValue
            return try Topic(bytesOn: ChannelDescriptors(control: control, log: take(&received).release().rawValue))
        }
        let incoming = try topic()
        let outgoing = try topic()
        unsafe c.kind = mechanism == .topic ? CB_LOG : CB_SHARED_LOG
        let twins = (try TwinLog(&received, size: size), try TwinLog(&received, size: size))
        unsafe c.receive_log = twins.0.c
        unsafe c.send_log = twins.1.c
        var link = TopicLink(
            publisher: try outgoing.makePublisher(),
            subscription: try incoming.subscribe(from: .oldest, waiting: .polling), size: size)
        try unsafe body.run(&link, &c)
        withExtendedLifetime(twins) {}
    }

    /// The memory of the C twin's log, one direction of it.
    @safe
    private struct TwinLog {
        let c: cb_log
        private let words: MemoryMapping
        private let ring: MirroredMapping

        init(_ received: inout ReceivedDescriptors, size: Int) throws(IPCError) {
            words = try SharedMemory(adopting: take(&received)).map()
            let file = try take(&received)
            let capacity = TopicLink.capacity(size)
            ring = try MirroredMapping(file.descriptor.rawValue, "twin", byteCount: capacity, access: .readWrite)
            unsafe c = cb_log(
                ring: ring.base.assumingMemoryBound(to: UInt8.self),
                words: words.pointer(at: 0, byteCount: 4096).assumingMemoryBound(to: UInt8.self),
                capacity: UInt64(capacity), key: 0xa5a5_5a5a_c3c3_3c3c, position: 0, limit: 0, told: 0, sequence: 0)
        }
    }

    private static func take(_ received: inout ReceivedDescriptors) throws(IPCError) -> OwnedDescriptor {
        guard let descriptor = received.takeFirst() else { throw Loops.corrupted }
        return descriptor
    }

    private static func withRings(
        _ mechanism: Mechanism, _ mapping: MemoryMapping, size: Int, isFirst: Bool, _ c: inout cb_link,
        _ body: borrowing some LinkBody & ~Copyable
    ) throws(IPCError) {
        let offsets = [0, LinkResources.secondRingOffset(size)]
        func ring(_ index: Int) -> Ring {
            unsafe Ring(mapping: mapping, offset: offsets[index], slotCount: UInt64(c.slot_count), size: size)
        }
        func raw(_ index: Int, _ field: Int) -> UnsafeMutableRawPointer {
            unsafe mapping.pointer(at: offsets[index] + field, byteCount: 64)
        }
        let (out, in_) = isFirst ? (0, 1) : (1, 0)
        unsafe c.send_ring = OpaquePointer(raw(out, 0))
        unsafe c.receive_ring = OpaquePointer(raw(in_, 0))
        unsafe c.send_free = raw(out, RingLayout.freeSlots) + PlacedObject.headerSize
        unsafe c.send_used = raw(out, RingLayout.usedSlots) + PlacedObject.headerSize
        unsafe c.receive_free = raw(in_, RingLayout.freeSlots) + PlacedObject.headerSize
        unsafe c.receive_used = raw(in_, RingLayout.usedSlots) + PlacedObject.headerSize
        if mechanism == .shmSemaphore {
            unsafe c.kind = CB_SEMAPHORE
            var link = try SemaphoreLink(outgoing: ring(out), incoming: ring(in_))
            try unsafe body.run(&link, &c)
        } else {
            unsafe c.kind = mechanism == .shmFutex ? CB_FUTEX : CB_SPIN
            var link = try CounterLink(outgoing: ring(out), incoming: ring(in_), sleeps: mechanism == .shmFutex)
            try unsafe body.run(&link, &c)
        }
    }
}

/// What is done with a link of whatever type.
protocol LinkBody: ~Copyable {
    borrowing func run<L: Link & ~Copyable>(_ link: inout L, _ c: inout cb_link) throws(IPCError)
}
