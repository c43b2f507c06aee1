import Glibc
import IPC
import Synchronization
import SystemPackage
import TestSupport
import Testing

/// The asynchronous calls: they wait without a thread, end at their deadline or when their task is cancelled, and lose
/// nothing. Other tests block the threads that they run on; so they allow much time.
@Suite(.timeLimit(.minutes(10))) struct AsyncTests {
    private static func bytes(_ count: Int, _ receive: (inout MutableRawSpan) async throws -> Int) async rethrows
        -> [UInt8]
    {
        var bytes = [UInt8](repeating: 0, count: count)
        var elements = bytes.mutableSpan
        var buffer = elements.mutableBytes
        let got = try await receive(&buffer)
        bytes.removeSubrange(got...)
        return bytes
    }

    private static func code(_ body: () async throws -> Void) async -> IPCError.Code? {
        do { try await body() } catch { return (error as? IPCError)?.code }
        return nil
    }

    @Test func aPipeIsReadAndWritten() async throws {
        let pipe = Held(try AnonymousPipe())
        let count = 1_000_000
        // More than the pipe holds: both sides wait again and again.
        let task = Task { try await pipe.value.writer.write([UInt8](repeating: 7, count: count).span.bytes) }
        var got = 0
        while got < count {
            let part = try await Self.bytes(10_000) {
                try await pipe.value.reader.read(into: &$0, until: .after(.seconds(120)))
            }
            #expect(part.allSatisfy { $0 == 7 })
            got += part.count
        }
        try await task.value
        #expect(got == count)
    }

    @Test func connectionsAreAcceptedAndServed() async throws {
        for endpoint in [try Endpoint("tcp://127.0.0.1:0"), try Endpoint("unix-abstract:\(uniqueName())")] {
            let listener = Held(try StreamListener(endpoint))
            let address = try #require(try listener.value.localEndpoint)
            let server = Task {
                let connection = try await listener.value.accept(until: .after(.seconds(120)))
                while true {
                    let part = try await Self.bytes(4096) { try await connection.read(into: &$0) }
                    if part.isEmpty { break }
                    try await connection.write(part.span.bytes)
                }
            }
            let client = try await StreamSocket.connect(to: address, until: .after(.seconds(120)))
            for number in 0..<200 as Range<UInt8> {
                try await client.write([number, 1, 2].span.bytes)
                var echo: [UInt8] = []
                while echo.count < 3 {
                    echo += try await Self.bytes(16) { try await client.read(into: &$0, until: .after(.seconds(120))) }
                }
                #expect(echo == [number, 1, 2])
            }
            try client.finishWriting()
            try await server.value
        }
        let refused = await Self.code {
            _ = try await StreamSocket.connect(to: Endpoint("tcp://127.0.0.1:1"), until: .after(.seconds(120)))
        }
        #expect(refused == .connectionRefused)
    }

    @Test func connectionsAreASequence() async throws {
        let listener = Held(try StreamListener(try Endpoint("unix-abstract:\(uniqueName())")))
        let address = try #require(try listener.value.localEndpoint)
        let connections = try listener.value.connections()
        let server = Task {
            var count = 0
            for try await connection in connections {
                try await connection.value.write(([UInt8(count)] as [UInt8]).span.bytes)
                count += 1
            }
            return count
        }
        for number in 0..<20 as Range<UInt8> {
            let client = try await StreamSocket.connect(to: address, until: .after(.seconds(120)))
            let got = try await Self.bytes(8) { try await client.read(into: &$0, until: .after(.seconds(120))) }
            #expect(got == [number])
        }
        server.cancel()
        #expect(try await server.value == 20)
    }

    @Test func aNamedPipeIsOpenedWithoutAThread() async throws {
        let pipe = try NamedPipe.create(FilePath("/tmp/\(uniqueName())"))
        defer { try? pipe.unlink() }
        #expect(await Self.code { _ = try await pipe.openForReading(until: .after(.milliseconds(10))) } == .timedOut)
        // A process that another test starts meanwhile has the reading end until its program begins.
        var code: IPCError.Code?
        for _ in 0..<10 where code != .timedOut {
            code = await Self.code { _ = try await pipe.openForWriting(until: .after(.milliseconds(10))) }
        }
        #expect(code == .timedOut)
        let task = Task {
            let writer = try await pipe.openForWriting(until: .after(.seconds(120)))
            try await writer.write(([9] as [UInt8]).span.bytes)
        }
        let reader = try await pipe.openForReading(until: .after(.seconds(120)))
        let got = try await Self.bytes(8) { try await reader.read(into: &$0, until: .after(.seconds(120))) }
        #expect(got == [9])
        try await task.value
    }

    @Test func messagesComeAsASequenceAndNoneIsLostWhenItEnds() async throws {
        let name = uniqueName()
        let queue = Held(try MessageQueue.create(name, maximumMessages: 5, messageSize: 8))
        defer { try? MessageQueue.unlink(name) }
        let messages = try queue.value.messages()
        let reader = Task {
            var got: [UInt8] = []
            for try await message in messages { got.append(message.bytes[0]) }
            return got
        }
        for number in 0..<50 as Range<UInt8> {
            try await queue.value.send([number].span.bytes, until: .after(.seconds(120)))
        }
        while try queue.value.attributes.currentMessages > 0 { try await Task.sleep(for: .milliseconds(1)) }
        // The loop ends with its task, and takes nothing that it does not hand over.
        reader.cancel()
        let got = try await reader.value
        #expect(got == Array(0..<50))
        try await queue.value.send(([99] as [UInt8]).span.bytes)
        let next = try await queue.value.receive(until: .after(.seconds(120)))
        #expect(next.bytes == [99])
    }

    @Test func aChildsEndAndADatagramAreWaitedFor() async throws {
        // It ends when its input does.
        let input = try AnonymousPipe()
        let child = try ChildProcess("cat", [], descriptors: [0: input.reader.descriptor])
        let writer = input.closingReader()
        let early = await Self.code { _ = try await child.wait(until: .after(.milliseconds(5))) }
        #expect(early == .timedOut)
        try writer.close()
        let status = try await child.wait(until: .after(.seconds(120)))
        #expect(status == .exited(0))

        let first = try DatagramSocket(.udp(host: "127.0.0.1", port: 0))
        let second = Held(try DatagramSocket(.udp(host: "127.0.0.1", port: 0)))
        try second.value.connect(to: #require(try first.localEndpoint))
        let own = try second.value.localEndpoint
        let task = Task {
            try await Task.sleep(for: .milliseconds(20))
            try await second.value.send(([1, 2, 3] as [UInt8]).span.bytes)
        }
        var bytes = [UInt8](repeating: 0, count: 100)
        var elements = bytes.mutableSpan
        var buffer = elements.mutableBytes
        let received = try await first.receive(into: &buffer, until: .after(.seconds(120)))
        #expect(received.byteCount == 3 && received.source == own)
        try await task.value
    }

    @Test func linesAreCutWhereverTheyCome() async throws {
        let pipe = try AnonymousPipe()
        let lines = try pipe.reader.lines(limit: 200_000)
        let writer = Held(pipe.closingReader())
        let long = String(repeating: "long ", count: 30_000)
        let task = Task {
            for part in ["one\ntw", "o\r\n\n", long, "\nlast"] {
                try await writer.value.write(part.utf8.span.bytes)
                try await Task.sleep(for: .milliseconds(2))
            }
        }
        var got: [String] = []
        for try await line in lines {
            got.append(line)
            if got.count == 4 { break }
        }
        #expect(got == ["one", "two", "", long])
        try await task.value

        let (first, second) = try Self.pair()
        try await first.value.write(Array("end without a newline".utf8).span.bytes)
        try first.value.finishWriting()
        var rest: [String] = []
        for try await line in try second.value.lines() { rest.append(line) }
        #expect(rest == ["end without a newline"])
        let tooLong = await Self.code {
            let (first, second) = try Self.pair()
            try await first.value.write(Array(repeating: UInt8(65), count: 1000).span.bytes)
            for try await _ in try second.value.lines(limit: 100) {}
        }
        #expect(tooLong == .messageTooLarge)
    }

    @Test func framesAreWholeOrAnError() async throws {
        let (first, second) = try Self.pair()
        let sizes = [0, 1, 3, 4, 100, 70_000, 5]
        let task = Task {
            for size in sizes {
                try await first.value.write(frame: [UInt8](repeating: UInt8(size % 251), count: size).span.bytes)
            }
            try first.value.finishWriting()
        }
        var got: [Int] = []
        for try await frame in try second.value.frames() {
            #expect(frame.allSatisfy { Int($0) == frame.count % 251 })
            got.append(frame.count)
        }
        #expect(got == sizes)
        try await task.value

        for (bytes, expected) in [
            ([0, 0], IPCError.Code.endOfFile), ([0, 0, 0, 9, 1, 2], .endOfFile), ([0, 0, 0, 9], .endOfFile),
            ([255, 255, 255, 255, 0], .messageTooLarge),
        ] as [([UInt8], IPCError.Code)] {
            let code = await Self.code {
                let (first, second) = try Self.pair()
                try await first.value.write(bytes.span.bytes)
                try first.value.finishWriting()
                for try await _ in try second.value.frames() {}
            }
            #expect(code == expected)
        }
    }

    @Test func aLoopOverAStreamEndsWithItsTask() async throws {
        let (first, second) = try Self.pair()
        let count = Count()
        let task = Task {
            for try await _ in try second.value.lines() { count.number.add(1, ordering: .relaxed) }
        }
        try await first.value.write(Array("a\nb\n".utf8).span.bytes)
        while count.number.load(ordering: .relaxed) < 2 { try await Task.sleep(for: .milliseconds(1)) }
        task.cancel()
        try await task.value
    }

    private static func pair() throws -> (Held<StreamSocket>, Held<StreamSocket>) {
        let pair = try StreamSocket.makePair()
        return try (
            Held(StreamSocket(adopting: OwnedDescriptor(adopting: pair.first.descriptor.duplicate()))),
            Held(StreamSocket(adopting: OwnedDescriptor(adopting: pair.second.descriptor.duplicate())))
        )
    }

    @Test func signalsComeAsASequence() async throws {
        // In a process of its own, where no other thread takes them.
        let peer = try Peer.role("async-signals")
        #expect(try peer.said() == "ready\n")
        for signal in [Signal.userDefined1, .userDefined2, .terminate] {
            try peer.child.handle.send(signal)
            #expect(try peer.said() == "\(signal)\n")
        }
        let status = try await peer.child.wait(until: .after(.seconds(120)))
        #expect(status == .exited(0))
    }

    @Test func manyWaitForOneDescriptorAndEachDeadlineIsKept() async throws {
        let counter = Held(try EventCounter(.one))
        let taken = Count()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<50 {
                group.addTask {
                    _ = try await counter.value.take(until: .after(.seconds(120)))
                    taken.number.add(1, ordering: .relaxed)
                }
            }
            for milliseconds in [30, 5, 20, 10] {
                group.addTask {
                    let start = ContinuousClock.now
                    let pipe = Held(try AnonymousPipe())
                    let code = await Self.code {
                        _ = try await Self.bytes(1) {
                            try await pipe.value.reader.read(into: &$0, until: .after(.milliseconds(milliseconds)))
                        }
                    }
                    #expect(code == .timedOut && ContinuousClock.now - start >= .milliseconds(milliseconds))
                }
            }
            for _ in 0..<50 {
                try await Task.sleep(for: .milliseconds(1))
                try counter.value.add()
            }
            try await group.waitForAll()
        }
        #expect(taken.number.load(ordering: .relaxed) == 50)
    }

    @Test func cancellationEndsAWaitAtOnce() async throws {
        let pipe = Held(try AnonymousPipe())
        let before = openDescriptorCount()
        for round in 0..<2000 {
            let task = Task {
                await Self.code { _ = try await Self.bytes(1) { try await pipe.value.reader.read(into: &$0) } }
            }
            // Before it waits, while it begins to, and while it waits.
            if round % 3 == 1 { await Task.yield() }
            if round % 3 == 2 { try await Task.sleep(for: .microseconds(50)) }
            task.cancel()
            let code = await task.value
            #expect(code == .cancelled)
        }
        // Other tests open and close some meanwhile.
        #expect(openDescriptorCount() < before + 500)
        // And the pipe is as good as new.
        try await pipe.value.writer.write(([5] as [UInt8]).span.bytes)
        let got = try await Self.bytes(8) { try await pipe.value.reader.read(into: &$0, until: .after(.seconds(120))) }
        #expect(got.first == 5)
    }

    @Test func aCancelledWaitLosesNoMessage() async throws {
        let name = uniqueName()
        let queue = Held(try MessageQueue.create(name, maximumMessages: 10, messageSize: 8))
        defer { try? MessageQueue.unlink(name) }
        let received = Count()
        let count = 500
        let sender = Task {
            for _ in 0..<count { try await queue.value.send(([1] as [UInt8]).span.bytes, until: .after(.seconds(120))) }
        }
        while received.number.load(ordering: .relaxed) < count {
            let task = Task {
                if await Self.code({ _ = try await queue.value.receive(until: .after(.seconds(120))) }) == nil {
                    received.number.add(1, ordering: .relaxed)
                }
            }
            if Bool.random() { await Task.yield() }
            task.cancel()
            await task.value
        }
        try await sender.value
        let left = try queue.value.attributes.currentMessages
        #expect(received.number.load(ordering: .relaxed) == count && left == 0)
    }

    @Test func tenThousandWaitsTakeNoThreads() async throws {
        let pipe = Held(try AnonymousPipe())
        let tasks = (0..<10_000).map { _ in
            Task { await Self.code { _ = try await Self.bytes(1) { try await pipe.value.reader.read(into: &$0) } } }
        }
        try await Task.sleep(for: .milliseconds(300))
        let threads = try #require(Self.threadCount)
        for task in tasks { task.cancel() }
        for task in tasks { #expect(await task.value == .cancelled) }
        #expect(threads < 100)
    }

    private final class Count: Sendable { let number = Atomic(0) }

    /// In a process of its own: eight of each kind wait, which would block every thread of the pool if one did. Other tests
    /// keep the machine busy at first, so it goes on until a try was not disturbed.
    @Test func noCallBlocksAThreadOfThePool() throws {
        var least = Double.infinity
        for _ in 0..<30 where least >= 10_000 {
            let peer = try Peer.role("pool-waits")
            let (status, text) = try peer.finish()
            #expect(status == .exited(0))
            let figures = text.split { " \n".contains($0) }.compactMap { Double($0) }
            try #require(figures.count == 2, "\(text)")
            least = min(least, figures[0])
            #expect(figures[1] < 4000, "to cancel the opening of a named pipe took so many µs")
        }
        #expect(least < 10_000, "a task was kept for \(least) µs")
    }

    @Test func withoutAFreeDescriptorTheFirstWaitIsAnErrorAndTheNextOneIsNot() throws {
        let peer = try Peer.role("async-exhausted")
        let (status, text) = try peer.finish()
        #expect(status == .exited(0) && text == "limitReached\ntimedOut\n", "\(text)")
    }

    private static var threadCount: Int? {
        guard let folder = opendir("/proc/self/task") else { return nil }
        defer { closedir(folder) }
        var count = -2
        while readdir(folder) != nil { count += 1 }
        return count
    }
}
