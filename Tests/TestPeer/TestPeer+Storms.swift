import Glibc
import IPC
import SystemPackage
import SystemSupport

// Many writers and readers at once, and those that are killed in it.
extension TestPeer {
    /// A signal every 100 microseconds, with a handler that interrupts system calls.
    static func startStorm() {
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { _ in }
        sigaction(SIGALRM, &action, nil)
        var interval = itimerval(
            it_interval: timeval(tv_sec: 0, tv_usec: 100), it_value: timeval(tv_sec: 0, tv_usec: 100))
        setitimer(__itimer_which_t(ITIMER_REAL.rawValue), &interval, nil)
    }

    static func stormWrite(_ total: Int, _ kind: String) throws {
        startStorm()
        let descriptor = OwnedDescriptor(adopting: FileDescriptor(rawValue: 3))
        if kind == "pipe" {
            let writer = try PipeWriter(adopting: descriptor)
            try storm(total) { (chunk, deadline) throws(IPCError) in try writer.write(chunk.span.bytes, until: deadline)
            }
        } else {
            let socket = try StreamSocket(adopting: descriptor)
            try storm(total) { (chunk, deadline) throws(IPCError) in try socket.write(chunk.span.bytes, until: deadline)
            }
        }
    }

    static func storm(_ total: Int, _ write: ([UInt8], Deadline) throws(IPCError) -> Void) throws(IPCError) {
        var chunk = [UInt8](repeating: 0, count: stormChunk)
        for start in stride(from: 0, to: total, by: stormChunk) {
            for index in chunk.indices { chunk[index] = UInt8(truncatingIfNeeded: start + index &* 7) }
            // Alternately without a deadline and with one.
            try write(chunk, start / stormChunk % 2 == 0 ? .never : .after(.seconds(60)))
        }
    }

    static func stormRead(_ total: Int, _ kind: String) throws {
        startStorm()
        let descriptor = OwnedDescriptor(adopting: FileDescriptor(rawValue: 3))
        if kind == "pipe" {
            let reader = try PipeReader(adopting: descriptor)
            try check(total) { (buffer, deadline) throws(IPCError) in
                try reader.readExactly(into: &buffer, until: deadline)
            }
        } else {
            let socket = try StreamSocket(adopting: descriptor)
            try check(total) { (buffer, deadline) throws(IPCError) in
                try socket.readExactly(into: &buffer, until: deadline)
            }
        }
        say("whole")
    }

    static func check(_ total: Int, _ read: (inout MutableRawSpan, Deadline) throws(IPCError) -> Void) throws(IPCError)
    {
        var chunk = [UInt8](repeating: 0, count: stormChunk)
        for start in stride(from: 0, to: total, by: stormChunk) {
            var elements = chunk.mutableSpan
            var buffer = elements.mutableBytes
            try read(&buffer, start / stormChunk % 2 == 0 ? .never : .after(.seconds(60)))
            for index in chunk.indices where chunk[index] != UInt8(truncatingIfNeeded: start + index &* 7) {
                fatalError("wrong byte at \(start + index)")
            }
        }
    }

    /// Waits of 100 ms that a signal interrupts every 100 microseconds: each ends on time.
    static func stormDeadline() throws {
        let mapping = try AnonymousMemory(byteCount: 4096).map()
        let semaphore = try SharedSemaphore.create(in: mapping, at: 0, value: 0)
        let mutex = try SharedMutex.create(in: mapping, at: 64)
        let condition = try SharedCondition.create(in: mapping, at: 128)
        let pipe = try AnonymousPipe()
        startStorm()
        func measure(_ name: String, _ wait: (Deadline) throws(IPCError) -> Void) {
            let start = ContinuousClock.now
            var code = "no error"
            do throws(IPCError) { try wait(.after(.milliseconds(100))) } catch { code = "\(error.code)" }
            let elapsed = ContinuousClock.now - start
            print(name, code, elapsed >= .milliseconds(100) && elapsed < .seconds(2) ? "on time" : "\(elapsed)")
        }
        measure("semaphore") { (deadline) throws(IPCError) in try semaphore.wait(until: deadline) }
        measure("pipe") { (deadline) throws(IPCError) in
            var byte: [UInt8] = [0]
            var elements = byte.mutableSpan
            var buffer = elements.mutableBytes
            _ = try pipe.reader.read(into: &buffer, until: deadline)
        }
        measure("condition") { (deadline) throws(IPCError) in
            _ = try mutex.lock()
            defer { try? mutex.unlock() }
            guard try condition.wait(mutex, until: deadline, for: { false }) else {
                return try semaphore.wait(until: .immediate)  // throws the same error
            }
        }
        say("end")
    }

    /// Writes to the mechanism on descriptor 3 until it is killed.
    static func writeForever(_ kind: String) throws {
        let descriptor = OwnedDescriptor(adopting: FileDescriptor(rawValue: 3))
        let chunk = [UInt8](repeating: 7, count: 50_000)
        switch kind {
        case "pipe":
            let writer = try PipeWriter(adopting: descriptor)
            while true { try writer.write(chunk.span.bytes) }
        case "stream":
            let socket = try StreamSocket(adopting: descriptor)
            while true { try socket.write(chunk.span.bytes) }
        case "packet":
            let socket = try PacketSocket(adopting: descriptor)
            while true { try socket.send(chunk.span.bytes) }
        case "queue":
            let queue = try MessageQueue(adopting: descriptor)
            let short = [UInt8](repeating: 7, count: 64)
            while true { try queue.send(short.span.bytes) }
        default: fatalError("unknown kind")
        }
    }

    /// Connections that signals interrupt go on, and are used.
    static func stormConnect(_ endpoint: Endpoint) throws {
        startStorm()
        for _ in 0..<200 {
            let socket = try StreamSocket.connect(to: endpoint, until: .after(.seconds(10)))
            try socket.write(([1] as [UInt8]).span.bytes)
            try socket.finishWriting()
            _ = try socket.readToEnd(until: .after(.seconds(10)))
        }
        say("connected")
    }
}
