import AllocationCounter
import Glibc
import IPC
import IPCChannels
import SystemPackage

/// Counts how often each way of sending and receiving allocates memory.
enum Allocations {
    private static let rounds = 1000
    nonisolated(unsafe) private static var message = [UInt8](repeating: 7, count: 64)

    /// Prints `name allocations` for a thousand rounds of `body`, after some to warm up.
    private static func count(_ name: String, _ body: () throws(IPCError) -> Void) throws(IPCError) {
        for _ in 0..<10 { try body() }
        let before = allocation_count()
        for _ in 0..<rounds { try body() }
        let allocations = allocation_count() - before
        print(name, allocations)
    }

    private static func receive(_ body: (inout MutableRawSpan) throws(IPCError) -> Void) throws(IPCError) {
        var elements = message.mutableSpan
        var buffer = elements.mutableBytes
        try body(&buffer)
    }

    static func run() throws {
        let soon = Deadline.after(.seconds(60))
        let bytes = [UInt8](repeating: 7, count: 64)
        let pipe = try AnonymousPipe()
        for (name, deadline) in [("pipe", Deadline.never), ("pipe-deadline", soon)] {
            try count(name) { () throws(IPCError) in
                try pipe.writer.write(bytes.span.bytes, until: deadline)
                try receive { (buffer) throws(IPCError) in try pipe.reader.readExactly(into: &buffer, until: deadline) }
            }
        }
        try count("pipe-empty") { () throws(IPCError) in
            try receive { (buffer) throws(IPCError) in _ = try pipe.reader.tryRead(into: &buffer) }
        }
        let stream = try StreamSocket.makePair()
        try count("stream") { () throws(IPCError) in
            try stream.first.write(bytes.span.bytes)
            try receive { (buffer) throws(IPCError) in try stream.second.readExactly(into: &buffer) }
        }
        let packets = try PacketSocket.makePair()
        try count("packet") { () throws(IPCError) in
            try packets.first.send(bytes.span.bytes)
            try receive { (buffer) throws(IPCError) in _ = try packets.second.receive(into: &buffer) }
        }
        let datagrams = try DatagramSocket.makePair()
        try count("datagram") { () throws(IPCError) in
            try datagrams.first.send(bytes.span.bytes, until: soon)
            try receive { (buffer) throws(IPCError) in
                _ = try datagrams.second.receiveBytes(into: &buffer, until: soon)
            }
        }
        let name = "/ipc-test-allocations-\(UInt32.random(in: 0 ... .max))"
        let queue = try MessageQueue.create(name, maximumMessages: 2, messageSize: 64)
        try MessageQueue.unlink(name)
        for (name, deadline) in [("queue", Deadline.never), ("queue-deadline", soon)] {
            try count(name) { () throws(IPCError) in
                try queue.send(bytes.span.bytes, until: deadline)
                try receive { (buffer) throws(IPCError) in _ = try queue.receive(into: &buffer, until: deadline) }
            }
        }
        try count("queue-empty") { () throws(IPCError) in
            try receive { (buffer) throws(IPCError) in _ = try queue.tryReceive(into: &buffer) }
        }
        let counter = try EventCounter()
        try count("eventfd") { () throws(IPCError) in
            try counter.add()
            _ = try counter.take()
        }
        let mapping = try AnonymousMemory(byteCount: 8192).map()
        let semaphore = try SharedSemaphore.create(in: mapping, at: 0, value: 1)
        try count("semaphore") { () throws(IPCError) in
            try semaphore.wait(until: soon)
            try semaphore.post()
        }
        let mutex = try SharedMutex.create(in: mapping, at: 64)
        try count("mutex") { () throws(IPCError) in try mutex.withLock {} }
        let lock = try SharedReadWriteLock.create(in: mapping, at: 128)
        try count("read-write-lock") { () throws(IPCError) in
            try lock.withReadLock {}
            try lock.withWriteLock {}
        }
        let futex = try Futex(in: mapping, at: 4096)
        try count("futex") { () throws(IPCError) in
            _ = try futex.wait(whileEqual: 1)
            futex.wake()
        }
        try countTopics()
        let signals = try SignalSource([.realTime(5)])
        let own = try ProcessHandle(Self.processIdentifier)
        try count("signal") { () throws(IPCError) in
            try own.queue(.realTime(5), value: 3)
            _ = try signals.next()
        }
    }

    /// In an `IPC_ROOT` that the test chose.
    private static func countTopics() throws(IPCError) {
        for writers in [ChannelOptions.Writers.exclusive, .shared] {
            for overflow in [ChannelOptions.Overflow.block, .overwrite] {
                let name = "test/allocations-\(UInt32.random(in: 0 ... .max))"
                let topic = try Topic<UInt64>.openOrCreate(name, ChannelOptions(writers: writers, overflow: overflow))
                var publisher = try topic.makePublisher()
                var subscription = try topic.makeSubscription()
                try count("topic-\(writers)-\(overflow)") { () throws(IPCError) in
                    try publisher.publish(7)
                    _ = try subscription.receive()
                }
                try count("topic-\(writers)-\(overflow)-empty") { () throws(IPCError) in
                    _ = try subscription.tryReceive()
                }
            }
        }
    }

    private static var processIdentifier: Int32 { getpid() }
}
