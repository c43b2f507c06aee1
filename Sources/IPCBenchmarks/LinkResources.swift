import CIPCShims
import Glibc
import IPC
import IPCChannels
import SystemPackage

/// The kernel objects of one measurement, made by the coordinator and passed to both workers.
///
/// Whatever has a name loses it before any worker runs, so that nothing is left however the run ends.
struct LinkResources: ~Copyable {
    /// What each process gets, in the order that ``LinkFactory`` takes them apart.
    let first: [FileDescriptor]
    let second: [FileDescriptor]

    private init(first: [FileDescriptor], second: [FileDescriptor]) {
        self.first = first
        self.second = second
    }

    deinit { for descriptor in Set((first + second).map(\.rawValue)) { close(descriptor) } }

    /// - Parameter log: Bytes of each channel's log at least.
    /// - Throws: What the system says if it forbids this mechanism, or has no room for this size.
    static func make(_ mechanism: Mechanism, size: Int, log: Int) throws(IPCError) -> LinkResources {
        switch mechanism {
        case .pipe:
            let there = try AnonymousPipe()
            let back = try AnonymousPipe()
            return LinkResources(
                first: [back.reader.release(), there.writer.release()],
                second: [there.reader.release(), back.writer.release()])
        case .fifo:
            let there = try openFIFO()
            let back = try openFIFO()
            return LinkResources(first: [back.reader, there.writer], second: [there.reader, back.writer])
        case .unixStream:
            let pair = try StreamSocket.makePair()
            return LinkResources(first: [pair.first.release()], second: [pair.second.release()])
        case .unixDatagram:
            let pair = try DatagramSocket.makePair()
            try pair.first.setSendBufferSize(2 * size + 65_536)
            try pair.second.setSendBufferSize(2 * size + 65_536)
            return LinkResources(
                first: [try pair.first.duplicate().release()], second: [try pair.second.duplicate().release()])
        case .unixSeqpacket:
            let pair = try PacketSocket.makePair()
            try pair.first.setSendBufferSize(2 * size + 65_536)
            try pair.second.setSendBufferSize(2 * size + 65_536)
            return LinkResources(first: [pair.first.release()], second: [pair.second.release()])
        case .tcp:
            let listener = try StreamListener(.tcp(host: "127.0.0.1", port: 0))
            guard let endpoint = try listener.localEndpoint else { throw Loops.corrupted }
            let client = try StreamSocket.connect(to: endpoint, until: .after(.seconds(5)))
            let server = try listener.accept(until: .after(.seconds(5)))
            try client.setNoDelay(true)
            try server.setNoDelay(true)
            return LinkResources(first: [client.release()], second: [server.release()])
        case .udp:
            let first = try DatagramSocket(.udp(host: "127.0.0.1", port: 0))
            let second = try DatagramSocket(.udp(host: "127.0.0.1", port: 0))
            try first.connect(to: second.localEndpoint!)
            try second.connect(to: first.localEndpoint!)
            try first.setReceiveBufferSize(4 << 20)
            try second.setReceiveBufferSize(4 << 20)
            return LinkResources(first: [try first.duplicate().release()], second: [try second.duplicate().release()])
        case .messageQueue:
            let there = try makeQueue(size)
            let back = try makeQueue(size)
            return LinkResources(first: [back, there], second: [there, back])
        case .signal:
            return LinkResources(first: [], second: [])  // the workers' own handles, when they run
        case .eventfd:
            let there = try EventCounter(.one).release()
            let back = try EventCounter(.one).release()
            return LinkResources(first: [back, there], second: [there, back])
        case .shmSemaphore, .shmFutex, .shmSpin:
            let descriptor = try makeRings(size)
            return LinkResources(first: [descriptor], second: [descriptor])
        case .mappedFile:
            let path = "/tmp\(uniqueName())"
            let file = try MappedFile.create(FilePath(path), byteCount: ringsByteCount(size))
            unsafe unlink(path)
            try initialize(file.map(), size)
            let descriptor = file.release()
            return LinkResources(first: [descriptor], second: [descriptor])
        case .topic, .topicShared, .topicWake, .topicZeroCopy, .workQueue, .service, .latest, .event:
            return try makeChannels(mechanism, size, log)
        }
    }

    /// A channel for each direction, and what the C twin has instead.
    private static func makeChannels(_ mechanism: Mechanism, _ size: Int, _ log: Int) throws(IPCError) -> LinkResources
    {
        let capacity = TopicLink.capacity(size, mechanism, log: log)
        var options = ChannelOptions(capacity: capacity)
        if [.topicShared, .workQueue, .service].contains(mechanism) { options.writers = .shared }
        if mechanism == .latest { options.overflow = .overwrite }
        let there = try descriptors(of: ChannelDescriptors.makeUnnamed(mechanism.pattern ?? .topic, options))
        let back = try descriptors(of: ChannelDescriptors.makeUnnamed(mechanism.pattern ?? .topic, options))
        switch mechanism {
        case .topic, .topicShared:
            let (twinThere, twinBack) = (try makeTwinLog(capacity), try makeTwinLog(capacity))
            return LinkResources(
                first: back + there + twinBack + twinThere, second: there + back + twinThere + twinBack)
        case .topicWake:
            let rings = [try makeRings(size)]
            return LinkResources(first: back + there + rings, second: there + back + rings)
        default: return LinkResources(first: back + there, second: there + back)
        }
    }

    /// Never under a name, so that nothing is left wherever the coordinator dies.
    private static func makeRings(_ size: Int) throws(IPCError) -> FileDescriptor {
        let memory = try AnonymousMemory(byteCount: ringsByteCount(size))
        try initialize(memory.map(), size)
        return memory.release()
    }

    /// Where the second direction's ring starts.
    static func secondRingOffset(_ size: Int) -> Int {
        (RingLayout.byteCount(slotCount: RingLayout.slotCount(size: size), size: size) + 4095) & ~4095
    }

    private static func ringsByteCount(_ size: Int) -> Int { 2 * secondRingOffset(size) }

    private static func initialize(_ mapping: MemoryMapping, _ size: Int) throws(IPCError) {
        let slots = UInt32(RingLayout.slotCount(size: size))
        for offset in [0, secondRingOffset(size)] {
            _ = try SharedSemaphore.create(in: mapping, at: offset + RingLayout.freeSlots, value: slots)
            _ = try SharedSemaphore.create(in: mapping, at: offset + RingLayout.usedSlots, value: 0)
        }
    }

    private static func uniqueName() -> String {
        "/ipc-bench-\(getpid())-\(UInt32.random(in: 0 ... .max))"
    }

    private static func openFIFO() throws(IPCError) -> (reader: FileDescriptor, writer: FileDescriptor) {
        let pipe = try NamedPipe.create(FilePath("/tmp\(uniqueName())"))
        do throws(IPCError) {
            let reader = try pipe.tryOpenForReading()
            let writer = try pipe.openForWriting(until: .after(.seconds(5)))
            try pipe.unlink()
            return (reader.release(), writer.release())
        } catch {
            try? pipe.unlink()
            throw error
        }
    }

    private static func descriptors(of channel: ChannelDescriptors) -> [FileDescriptor] {
        [FileDescriptor(rawValue: channel.control), FileDescriptor(rawValue: channel.log)]
    }

    /// The words and the ring of a log for the C twin.
    private static func makeTwinLog(_ capacity: Int) throws(IPCError) -> [FileDescriptor] {
        let words = try AnonymousMemory(byteCount: 4096)
        let ring = try AnonymousMemory(byteCount: capacity)
        return [words.release(), ring.release()]
    }

    /// A queue as deep as two of them may be under this user's limit.
    private static func makeQueue(_ size: Int) throws(IPCError) -> FileDescriptor {
        let limit = SystemLimits.resource(IPC_RLIMIT_MSGQUEUE)
        let affordable = limit == .max ? 10 : Int(limit) / 2 / (size + 256)
        let name = uniqueName()
        let queue = try MessageQueue.create(name, maximumMessages: max(1, min(10, affordable)), messageSize: size)
        try MessageQueue.unlink(name)
        return queue.release()
    }
}
