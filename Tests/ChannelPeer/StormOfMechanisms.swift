import Glibc
import IPC
import IPCChannels
import Synchronization
import SystemPackage

extension Storm {
    private static let byte: [UInt8] = [1]

    /// What the kernel waits for by a descriptor.
    static func kernelKinds(_ prefix: String) throws -> [Kind] {
        let pipe = Box(try AnonymousPipe())
        let counter = Box(try EventCounter(.one))
        let name = prefix.replacing("/", with: "-")
        let queue = Box(try MessageQueue.create(name, maximumMessages: 10, messageSize: 8))
        try MessageQueue.unlink(queue.value.name)
        let stream = Box(try StreamSocket.makePair())
        let datagrams = Box(try DatagramSocket.makePair())
        let packets = Box(try PacketSocket.makePair())
        let endpoint = Endpoint.unixAbstract(AbstractName(name))
        let listener = Box(try StreamListener(endpoint))
        let signals = Box(try SignalSource([stormSignal]))
        let child = Box(try sleeper())
        let fifo = try NamedPipe.create(FilePath("/tmp/ipc-test-storm-\(getpid())"))
        let full = try fullKinds(name)
        return full + [
            Kind(name: "pipe", feed: { try await pipe.value.writer.write(byte.span.bytes) }) {
                try await readByte { (bytes) async throws(IPCError) in try await pipe.value.reader.read(into: &bytes) }
            },
            Kind(name: "counter", feed: { try counter.value.add() }) { _ = try await counter.value.take() },
            Kind(name: "message queue", feed: { try await queue.value.send(byte.span.bytes) }) {
                _ = try await queue.value.receive()
            },
            Kind(name: "stream socket", feed: { try await stream.value.first.write(byte.span.bytes) }) {
                try await readByte { (bytes) async throws(IPCError) in try await stream.value.second.read(into: &bytes)
                }
            },
            Kind(name: "datagrams", feed: { try await datagrams.value.first.send(byte.span.bytes) }) {
                try await readByte { (bytes) async throws(IPCError) in
                    try await datagrams.value.second.receiveBytes(into: &bytes)
                }
            },
            Kind(name: "packets", feed: { try await packets.value.first.send(byte.span.bytes) }) {
                try await readByte { (bytes) async throws(IPCError) in
                    try await packets.value.second.receive(into: &bytes)
                }
            },
            Kind(name: "accept", feed: { _ = try await StreamSocket.connect(to: endpoint) }) {
                _ = try await listener.value.accept()
            },
            Kind(name: "signal", feed: { try stormSignal.queue(value: 1, toProcess: getpid()) }) {
                _ = try await signals.value.next()
            },
            // A process for each.
            Kind(name: "child", feedChance: 64, share: 0.05, feed: { try child.value.handle.send(.kill) }) {
                _ = try await child.value.wait()
                child.value = try sleeper()
            },
            // Nobody ever opens the other end.
            Kind(
                name: "named pipe", feedChance: 0, share: 0.2, feed: {},
                take: { _ = try await fifo.openForReading() }, end: { try fifo.unlink() }),
        ]
    }

    static let stormSignal = Signal.realTime(3)

    private static func sleeper() throws(IPCError) -> ChildProcess { try ChildProcess("/bin/sleep", ["1000"]) }

    /// Writers that wait for room.
    private static func fullKinds(_ name: String) throws -> [Kind] {
        let pipe = Box(try AnonymousPipe())
        try pipe.value.writer.setCapacity(4096)
        let stream = Box(try StreamSocket.makePair())
        try stream.value.first.setSendBufferSize(4096)
        let queue = Box(try MessageQueue.create(name + "-full", maximumMessages: 4, messageSize: 8))
        try MessageQueue.unlink(queue.value.name)
        return [
            full("full pipe", wordCount: 64, send: { try await pipe.value.writer.write($0.span.bytes) }) {
                try words(512) { (bytes) throws(IPCError) in try pipe.value.reader.tryRead(into: &bytes) }
            },
            full("full stream", wordCount: 64, send: { try await stream.value.first.write($0.span.bytes) }) {
                try words(512) { (bytes) throws(IPCError) in try stream.value.second.tryRead(into: &bytes) }
            },
            full("full message queue", wordCount: 1, send: { try await queue.value.send($0.span.bytes) }) {
                try words(1) { (bytes) throws(IPCError) in try queue.value.tryReceive(into: &bytes)?.byteCount }
            },
        ]
    }

    /// - Parameter drain: Takes some of what is there.
    static func full(
        _ name: String, wordCount: Int, send: @escaping @Sendable ([UInt64]) async throws -> Void,
        drain: @escaping @Sendable () throws -> [UInt64]
    ) -> Kind {
        let blocks = NumberedBlocks(wordCount: wordCount)
        return Kind(
            name: name, feedChance: 64, isCounted: false, isDue: { (_, _) in false },
            feed: { try blocks.receive(drain()) }, take: { try await blocks.send(send) },
            check: { (_, _) in
                while case let words = try drain(), !words.isEmpty { try blocks.receive(words) }
                try blocks.checkAllCame()
            })
    }

    /// What is waited for by a futex.
    static func waitKinds(_ prefix: String) throws -> [Kind] {
        let memory = try AnonymousMemory(byteCount: 4096).map()
        let semaphore = try SharedSemaphore.create(in: memory, at: 0, value: 0)
        let futex = try Futex(in: memory, at: 1024)
        let seen = Box<UInt32>(0)
        let mutex = try SharedMutex.create(in: memory, at: 2048)
        let inside = Box(0)
        return [
            Kind(name: "semaphore", feed: { try semaphore.post() }) { try await semaphore.wait() },
            Kind(
                name: "futex",
                feed: {
                    futex.withValue { _ = $0.wrappingAdd(1, ordering: .sequentiallyConsistent) }
                    _ = futex.wake()
                },
                take: {
                    while futex.withValue({ $0.load(ordering: .acquiring) }) == seen.value {
                        _ = try await futex.wait(whileEqual: seen.value)
                    }
                    seen.value += 1
                }),
            // The other one holds it for a while each time.
            Kind(
                name: "mutex", isCounted: false, isDue: { (_, _) in false },
                feed: {
                    try await mutex.withLock { () throws(IPCError) in
                        usleep(20)
                        inside.value += 1
                    }
                },
                take: { try await mutex.withLock { () throws(IPCError) in inside.value += 1 } },
                check: { (fed, taken) in
                    let count = try await mutex.withLock { () throws(IPCError) in
                        defer { inside.value = 0 }
                        return inside.value
                    }
                    guard count == fed + taken else {
                        throw Lost(what: "\(count) held it, \(fed) and \(taken) said so")
                    }
                }),
        ]
    }
}

extension Storm {
    fileprivate static nonisolated(nonsending) func readByte(
        _ read: nonisolated(nonsending) (inout MutableRawSpan) async throws(IPCError) -> Int
    ) async throws(IPCError) {
        var bytes: [UInt8] = [0]
        var elements = bytes.mutableSpan
        var buffer = elements.mutableBytes
        _ = try await read(&buffer)
    }

    /// What there is of so many words.
    fileprivate static func words(
        _ count: Int, _ read: (inout MutableRawSpan) throws(IPCError) -> Int?
    ) throws(IPCError) -> [UInt64] {
        var words = [UInt64](repeating: 0, count: count)
        let byteCount = try fill(&words, read) ?? 0
        return Array(words.prefix(byteCount / 8))
    }

    private static func fill(
        _ words: inout [UInt64], _ read: (inout MutableRawSpan) throws(IPCError) -> Int?
    ) throws(IPCError) -> Int? {
        var elements = words.mutableSpan
        var buffer = elements.mutableBytes
        return try read(&buffer)
    }
}
