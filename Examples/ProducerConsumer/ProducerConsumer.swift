// Producer and consumer: a bounded buffer in shared memory, two semaphores that count its free and its used places, and
// a mutex for the positions. Three producers and two consumers, each a process.
import Glibc
import IPC

/// The buffer: `places` numbers, and where to put and take the next.
struct BoundedBuffer {
    static let places = 16
    static let byteCount = 1024

    private let mapping: MemoryMapping
    private let free: SharedSemaphore
    private let used: SharedSemaphore
    private let mutex: SharedMutex

    /// Puts in at 256, takes out at 264, then the places.
    private static let (putAt, takeAt, first) = (256, 264, 320)

    init(creatingIn mapping: MemoryMapping) throws(IPCError) {
        self.mapping = mapping
        free = try SharedSemaphore.create(in: mapping, at: 0, value: UInt32(Self.places))
        used = try SharedSemaphore.create(in: mapping, at: 64, value: 0)
        mutex = try SharedMutex.create(in: mapping, at: 128)
    }

    init(openingIn mapping: MemoryMapping) throws(IPCError) {
        self.mapping = mapping
        free = try SharedSemaphore.open(in: mapping, at: 0)
        used = try SharedSemaphore.open(in: mapping, at: 64)
        mutex = try SharedMutex.open(in: mapping, at: 128)
    }

    func put(_ number: Int, until deadline: Deadline) throws(IPCError) {
        try free.wait(until: deadline)
        try mutex.withLock {
            let position = mapping.load(Int.self, at: Self.putAt)
            mapping.store(number, at: Self.first + 8 * (position % Self.places))
            mapping.store(position + 1, at: Self.putAt)
        }
        try used.post()
    }

    func take(until deadline: Deadline) throws(IPCError) -> Int {
        try used.wait(until: deadline)
        let number = try mutex.withLock {
            let position = mapping.load(Int.self, at: Self.takeAt)
            mapping.store(position + 1, at: Self.takeAt)
            return mapping.load(Int.self, at: Self.first + 8 * (position % Self.places))
        }
        try free.post()
        return number
    }
}

@main
struct ProducerConsumer {
    static let perProducer = 10_000

    static func main() throws {
        let arguments = CommandLine.arguments
        let deadline = Deadline.after(.seconds(60))
        if arguments.count == 3 {
            let buffer = try BoundedBuffer(openingIn: try SharedMemory.open(arguments[2]).map())
            if arguments[1] == "produce" {
                for number in 1...perProducer { try buffer.put(number, until: deadline) }
            } else {
                var sum = 0
                while case let number = try buffer.take(until: deadline), number > 0 { sum += number }
                print(sum)
            }
            return
        }
        let name = "/ipc-example-\(getpid())"
        let memory = try SharedMemory.create(name, byteCount: BoundedBuffer.byteCount)
        defer { try? SharedMemory.unlink(name) }
        let buffer = try BoundedBuffer(creatingIn: try memory.map())
        let output = try AnonymousPipe()
        let target = output.writer.descriptor
        func start(_ role: String) throws(IPCError) -> ChildProcess {
            try ChildProcess("/proc/self/exe", [role, name], descriptors: [1: target])
        }
        let firstConsumer = try start("consume")
        let secondConsumer = try start("consume")
        let producers = [try Box(start("produce")), try Box(start("produce")), try Box(start("produce"))]
        for producer in producers { _ = try producer.child.wait(until: deadline) }
        for _ in 0..<2 { try buffer.put(0, until: deadline) }  // the end, for each consumer
        _ = try firstConsumer.wait(until: deadline)
        _ = try secondConsumer.wait(until: deadline)
        let sums = String(decoding: try output.closingWriter().readToEnd(until: deadline), as: UTF8.self).split(
            separator: "\n")
        let total = sums.compactMap { Int($0) }.reduce(0, +)
        print("consumed", total, "of", producers.count * perProducer * (perProducer + 1) / 2)
    }

    /// Arrays hold no values that cannot be copied.
    final class Box {
        let child: ChildProcess
        init(_ child: consuming ChildProcess) { self.child = child }
    }
}
