import Glibc
import IPC
import TestSupport
import SystemPackage

/// Asynchronous calls of every kind wait, more of each than the pool has threads, while a task looks at the clock.
enum PoolWaits {
    /// Says how many microseconds the task was kept from looking at most.
    static func run() throws {
        let signals = Held(try SignalSource([.userDefined1]))
        let pipe = Held(try AnonymousPipe())
        let counter = Held(try EventCounter())
        let listener = Held(try StreamListener(Endpoint("unix-abstract:ipc-test-pool-\(getpid())")))
        let sockets = try StreamSocket.makePair()
        let socket = Held(try StreamSocket(adopting: OwnedDescriptor(adopting: sockets.first.descriptor.duplicate())))
        let peer = Held(try StreamSocket(adopting: OwnedDescriptor(adopting: sockets.second.descriptor.duplicate())))
        let datagrams = Held(try DatagramSocket(.udp(host: "127.0.0.1", port: 0)))
        let name = "/ipc-test-pool-\(getpid())"
        let queue = Held(try MessageQueue.create(name, maximumMessages: 1, messageSize: 8))
        try MessageQueue.unlink(name)
        let child = Held(try ChildProcess("sleep", ["30"]))

        // What is full makes writers wait.
        let block = [UInt8](repeating: 0, count: 65_536)
        while try pipe.value.writer.tryWrite(block.span.bytes) != nil {}
        while try socket.value.tryWrite(block.span.bytes) != nil {}
        let empty = Held(try AnonymousPipe())
        let memory = try AnonymousMemory(byteCount: 4096).map()
        let semaphore = try SharedSemaphore.create(in: memory, at: 0, value: 0)
        let mutex = try SharedMutex.create(in: memory, at: 64)
        _ = try mutex.lock()
        let futex = try Futex(in: memory, at: 1024)
        for _ in 0..<8 {
            Task { try await read { try await empty.value.reader.read(into: &$0) } }
            Task { try await pipe.value.writer.write(block.span.bytes) }
            Task { _ = try await counter.value.take() }
            Task { _ = try await listener.value.accept() }
            Task { try await read { try await socket.value.read(into: &$0) } }
            Task { try await socket.value.write(block.span.bytes) }
            Task { try await read { try await datagrams.value.receive(into: &$0).byteCount } }
            Task { _ = try await queue.value.receive() }
            Task { _ = try await signals.value.next() }
            Task { _ = try await child.value.wait() }
            Task { try await semaphore.wait() }
            Task { try await mutex.withLock {} }
            Task { _ = try await futex.wait(whileEqual: 0) }
        }
        Task.detached {
            try await Task.sleep(for: .milliseconds(50))
            var longest = Duration.zero
            var last = ContinuousClock.now
            for _ in 0..<300 {
                try await Task.sleep(for: .milliseconds(1))
                let now = ContinuousClock.now
                longest = max(longest, now - last)
                last = now
            }
            TestPeer.say("\(longest / .microseconds(1)) \(try await timeToCancelAnOpening() / .microseconds(1))")
            try child.value.handle.send(.kill)
            withExtendedLifetime(peer) { exit(0) }
        }
        while true { pause() }
    }

    /// How long the end of a wait takes, in which the kernel closes what it watched the file by: half of them take less.
    private static func timeToCancelAnOpening() async throws -> Duration {
        let pipe = try NamedPipe.create(FilePath("/tmp/ipc-test-pool-\(getpid())"))
        var times: [Duration] = []
        for _ in 0..<31 {
            let opening = Task { _ = try await pipe.openForReading() }
            try await Task.sleep(for: .milliseconds(1))
            let start = ContinuousClock.now
            opening.cancel()
            _ = await opening.result
            times.append(ContinuousClock.now - start)
        }
        try pipe.unlink()
        return times.sorted()[15]
    }

    private static func read(_ body: (inout MutableRawSpan) async throws -> Int) async throws {
        var bytes = [UInt8](repeating: 0, count: 64)
        var elements = bytes.mutableSpan
        var buffer = elements.mutableBytes
        _ = try await body(&buffer)
    }
}
