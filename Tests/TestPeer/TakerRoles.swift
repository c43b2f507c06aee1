import Glibc
import IPC
import Synchronization
import SystemPackage
import TestSupport

/// Two threads take from one thing by calls that never wait, while it has one element at a time: whoever comes too late may not block.
enum TakerRoles {
    /// What is put in, and taken out by calls that never wait.
    struct Thing: Sendable {
        let name: String
        let put: @Sendable () throws(IPCError) -> Void
        /// Whether it took something.
        let take: @Sendable () throws(IPCError) -> Bool
    }

    private static let one: [UInt8] = [1]

    /// - Returns: Whether there was something.
    private static func filled(_ read: (inout MutableRawSpan) throws(IPCError) -> Bool) throws(IPCError) -> Bool {
        var bytes = [UInt8](repeating: 0, count: 64)
        var elements = bytes.mutableSpan
        var buffer = elements.mutableBytes
        return try read(&buffer)
    }

    static func things() throws -> [Thing] {
        let pipe = SharedReference(try AnonymousPipe())
        let path = "/tmp/" + uniqueName()
        let fifo = try NamedPipe.create(FilePath(path))
        let reading = SharedReference(try fifo.tryOpenForReading())
        guard let opened = try fifo.tryOpenForWriting() else { fatalError("no reader") }
        let writing = SharedReference(opened)
        unlink(path)
        let streams = SharedReference(try StreamSocket.makePair())
        let packets = SharedReference(try PacketSocket.makePair())
        let receiver = SharedReference(try DatagramSocket(.unixAbstract(AbstractName(uniqueName()))))
        let sender = SharedReference(try DatagramSocket.connect(to: receiver.value.localEndpoint!))
        let net = SharedReference(try DatagramSocket(.udp(host: "127.0.0.1", port: 0)))
        let netSender = SharedReference(try DatagramSocket.connect(to: net.value.localEndpoint!))
        let listener = SharedReference(try StreamListener(.unixAbstract(AbstractName(uniqueName()))))
        let address = try listener.value.localEndpoint!
        let packetAddress = Endpoint.unixAbstract(AbstractName(uniqueName()))
        let packetListener = SharedReference(try PacketListener(packetAddress))
        let queueName = "/" + uniqueName()
        let queue = SharedReference(try MessageQueue.create(queueName, maximumMessages: 4, messageSize: 64))
        try MessageQueue.unlink(queueName)
        let counters = [SharedReference(try EventCounter()), SharedReference(try EventCounter(.one))]
        let semaphoreName = "/" + uniqueName()
        let semaphore = SharedReference(try NamedSemaphore.create(semaphoreName, value: 0))
        try NamedSemaphore.unlink(semaphoreName)
        return [
            Thing(
                name: "pipe", put: { () throws(IPCError) in try pipe.value.writer.write(one.span.bytes) },
                take: { () throws(IPCError) in
                    try filled { (b) throws(IPCError) in try pipe.value.reader.tryRead(into: &b) != nil }
                }),
            Thing(
                name: "FIFO", put: { () throws(IPCError) in try writing.value.write(one.span.bytes) },
                take: { () throws(IPCError) in
                    try filled { (b) throws(IPCError) in try reading.value.tryRead(into: &b) != nil }
                }),
            Thing(
                name: "stream", put: { () throws(IPCError) in try streams.value.first.write(one.span.bytes) },
                take: { () throws(IPCError) in
                    try filled { (b) throws(IPCError) in try streams.value.second.tryRead(into: &b) != nil }
                }),
            Thing(
                name: "packets", put: { () throws(IPCError) in try packets.value.first.send(one.span.bytes) },
                take: { () throws(IPCError) in
                    try filled { (b) throws(IPCError) in try packets.value.second.tryReceive(into: &b) != nil }
                }),
            Thing(
                name: "datagrams", put: { () throws(IPCError) in try sender.value.send(one.span.bytes) },
                take: { () throws(IPCError) in
                    try filled { (b) throws(IPCError) in try receiver.value.tryReceive(into: &b) != nil }
                }),
            Thing(
                name: "UDP", put: { () throws(IPCError) in try netSender.value.send(one.span.bytes) },
                take: { () throws(IPCError) in
                    try filled { (b) throws(IPCError) in try net.value.tryReceiveBytes(into: &b) != nil }
                }),
            Thing(
                name: "connections",
                put: { () throws(IPCError) in _ = try StreamSocket.connect(to: address, until: .after(.seconds(5))) },
                take: { () throws(IPCError) in
                    let socket = try listener.value.tryAccept()
                    let isThere = socket != nil
                    _ = consume socket
                    return isThere
                }),
            Thing(
                name: "packet connections",
                put: { () throws(IPCError) in
                    _ = try PacketSocket.connect(to: packetAddress, until: .after(.seconds(5)))
                },
                take: { () throws(IPCError) in
                    let socket = try packetListener.value.tryAccept()
                    let isThere = socket != nil
                    _ = consume socket
                    return isThere
                }),
            Thing(
                name: "message queue", put: { () throws(IPCError) in try queue.value.send(one.span.bytes) },
                take: { () throws(IPCError) in
                    try filled { (b) throws(IPCError) in try queue.value.tryReceive(into: &b) != nil }
                }),
            Thing(
                name: "counter", put: { () throws(IPCError) in try counters[0].value.add() },
                take: { () throws(IPCError) in try counters[0].value.tryTake() != nil }),
            Thing(
                name: "counter of ones", put: { () throws(IPCError) in try counters[1].value.add() },
                take: { () throws(IPCError) in try counters[1].value.tryTake() != nil }),
            Thing(
                name: "semaphore", put: { () throws(IPCError) in try semaphore.value.post() },
                take: { () throws(IPCError) in try semaphore.value.tryWait() }),
        ]
    }

    static func run() throws {
        for thing in try things() { TestPeer.say("\(thing.name): \(hammer(thing))") }
    }

    private struct Counter: ~Copyable { let value = Atomic(0) }

    private static let rounds = 100

    private static func hammer(_ thing: Thing) -> String {
        let (taken, isOver) = (SharedReference(Counter()), Flag())
        let calls = [SharedReference(Counter()), SharedReference(Counter())]
        let threads = calls.map { calls in
            try! PlainThread { () throws(IPCError) in
                while !isOver.isSet {
                    if try thing.take() { taken.value.value.add(1, ordering: .sequentiallyConsistent) }
                    calls.value.value.add(1, ordering: .sequentiallyConsistent)
                    sched_yield()
                }
            }
        }
        func count(_ counter: SharedReference<Counter>) -> Int {
            counter.value.value.load(ordering: .sequentiallyConsistent)
        }
        for round in 1...rounds {
            let deadline = Deadline.after(.seconds(10))
            do { try thing.put() } catch { return "put: \(error)" }
            // Both have begun a call since it was taken, and ended it.
            while count(taken) < round {
                if deadline.hasPassed { return "not taken in round \(round)" }
                sched_yield()
            }
            let before = calls.map(count)
            while zip(calls, before).contains(where: { count($0) < $1 + 2 }) {
                if deadline.hasPassed { return "a taker blocks in round \(round)" }
                sched_yield()
            }
        }
        isOver.set()
        let errors = threads.compactMap { $0.join() }
        return errors.isEmpty && count(taken) == rounds ? "done" : "\(errors) \(count(taken))"
    }
}
