import CBaselines
import CIPCShims
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
        if mechanism.isChannel {
            return try unsafe withChannels(mechanism, size: size, isFirst: isFirst, &received, &c, buffer, body)
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
            // In this thread, which is the only one that signals could interrupt: a signalfd takes them then, as in C.
            SignalSet([SignalLink.signal]).blockInCallingThread()
            var set = SignalSet([SignalLink.signal]).raw
            let descriptor = OwnedDescriptor(
                adopting: try systemCall { unsafe ipc_signalfd(&set, CInt(SFD_CLOEXEC)) }
                    .orThrow("signalfd", "\(SignalLink.signal)"))
            var link = SignalLink(
                peer: ProcessHandle(adopting: first, identifier: 0), signals: try SignalSource([SignalLink.signal]))
            unsafe c.receive_descriptor = descriptor.rawValue
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
        default: break  // a channel
        }
    }

    static func take(_ received: inout ReceivedDescriptors) throws(IPCError) -> OwnedDescriptor {
        guard let descriptor = received.takeFirst() else { throw Loops.corrupted }
        return descriptor
    }

    private static func withRings(
        _ mechanism: Mechanism, _ mapping: MemoryMapping, size: Int, isFirst: Bool, _ c: inout cb_link,
        _ body: borrowing some LinkBody & ~Copyable
    ) throws(IPCError) {
        let rings = unsafe setRings(mapping, size: size, isFirst: isFirst, &c)
        switch mechanism {
        case .shmSemaphore:
            unsafe c.kind = CB_SEMAPHORE
            var link = try SemaphoreLink(outgoing: rings.outgoing, incoming: rings.incoming)
            try unsafe body.run(&link, &c)
        case .shmFutex:
            unsafe c.kind = CB_FUTEX
            var link = try CounterLink<RingSleeping>(outgoing: rings.outgoing, incoming: rings.incoming)
            try unsafe body.run(&link, &c)
        default:
            unsafe c.kind = CB_SPIN
            var link = try CounterLink<RingPolling>(outgoing: rings.outgoing, incoming: rings.incoming)
            try unsafe body.run(&link, &c)
        }
    }

    /// Tells the C twin where its rings are.
    static func setRings(
        _ mapping: MemoryMapping, size: Int, isFirst: Bool, _ c: inout cb_link
    ) -> (outgoing: Ring, incoming: Ring) {
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
        return (ring(out), ring(in_))
    }
}

/// What is done with a link of whatever type.
protocol LinkBody: ~Copyable {
    borrowing func run<L: Link & ~Copyable>(_ link: inout L, _ c: inout cb_link) throws(IPCError)
}
