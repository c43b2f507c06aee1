import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

/// Runs a program to its end; returns what it printed.
private func run(_ program: String, _ arguments: [String]) throws -> String {
    let peer = try Peer(program, arguments)
    let (status, text) = try peer.finish(within: .seconds(30))
    #expect(status == .exited(0), "\(program) \(arguments)")
    return text
}

@Suite(.timeLimit(.minutes(15))) struct PosixIPCTests {
    @Test func sharedMemoryGoesBothWays() throws {
        let name = "/" + uniqueName()
        let mapping = try SharedMemory.create(name, byteCount: 4096).map()
        defer { try? SharedMemory.unlink(name) }
        mapping.store(UInt32(123_456), at: 0)
        let text = try run(
            python,
            [
                "-c",
                """
                import posix_ipc, mmap, struct
                m = posix_ipc.SharedMemory('\(name)')
                v = mmap.mmap(m.fd, m.size)
                print(m.size, struct.unpack_from('<I', v, 0)[0])
                struct.pack_into('<I', v, 4, 654321)
                """,
            ])
        #expect(text == "4096 123456\n")
        #expect(mapping.load(UInt32.self, at: 4) == 654_321)
        // And an object that Python made.
        let other = "/" + uniqueName()
        _ = try run(python, ["-c", "import posix_ipc; posix_ipc.SharedMemory('\(other)', posix_ipc.O_CREX, size=100)"])
        let size = try SharedMemory.open(other).byteCount
        #expect(size == 100)
        try SharedMemory.unlink(other)
    }

    @Test func semaphoresGoBothWays() throws {
        let name = "/" + uniqueName()
        let semaphore = try NamedSemaphore.create(name, value: 0)
        defer { try? NamedSemaphore.unlink(name) }
        _ = try run(python, ["-c", "import posix_ipc; s = posix_ipc.Semaphore('\(name)'); s.release(); s.release()"])
        try semaphore.wait(until: .after(.seconds(1)))
        let value = semaphore.value
        #expect(value == 1)
        let text = try run(
            python, ["-c", "import posix_ipc; s = posix_ipc.Semaphore('\(name)'); s.acquire(1); print(s.value)"])
        #expect(text == "0\n")
    }

    @Test func messageQueuesGoBothWays() throws {
        let name = "/" + uniqueName()
        let queue = try MessageQueue.create(name, maximumMessages: 4, messageSize: 64)
        defer { try? MessageQueue.unlink(name) }
        try queue.send("from Swift".utf8.span.bytes, priority: 3)
        let text = try run(
            python,
            [
                "-c",
                "import posix_ipc; q = posix_ipc.MessageQueue('\(name)'); print(q.receive(1)); q.send('from Python', priority=7)",
            ])
        #expect(text == "(b'from Swift', 3)\n")
        let message = try queue.receive(until: .after(.seconds(1)))
        #expect(String(decoding: message.bytes, as: UTF8.self) == "from Python" && message.priority == 7)
    }
}

@Suite(.timeLimit(.minutes(15))) struct SocatTests {
    /// What a `socat` echo at an address answers.
    private func ask(_ endpoint: Endpoint) throws -> String {
        let deadline = Deadline.after(.seconds(10))
        func connect() throws(IPCError) -> StreamSocket {
            while true {
                do throws(IPCError) {
                    return try StreamSocket.connect(to: endpoint, until: deadline)
                } catch {
                    guard [.connectionRefused, .notFound].contains(error.code), !deadline.hasPassed else { throw error }
                    usleep(5000)  // socat has no way to say that it is ready
                }
            }
        }
        let socket = try connect()
        try socket.write("question".utf8.span.bytes)
        try socket.finishWriting()
        return String(decoding: try socket.readToEnd(until: deadline), as: UTF8.self)
    }

    @Test func ourClientTalksToSocatServers() throws {
        let path = "/tmp/" + uniqueName()
        defer { unlink(path) }
        let port = UInt16(30_000 + getpid() % 20_000)
        let unix = try ChildProcess("socat", ["UNIX-LISTEN:\(path)", "EXEC:cat"])
        #expect(try ask(.unix(FilePath(path))) == "question")
        let tcp = try ChildProcess("socat", ["TCP-LISTEN:\(port),bind=127.0.0.1,reuseaddr", "EXEC:cat"])
        #expect(try ask(.tcp(host: "127.0.0.1", port: port)) == "question")
        _ = (try unix.wait(until: .after(.seconds(10))), try tcp.wait(until: .after(.seconds(10))))
    }

    @Test(arguments: ["tcp", "unix", "unix-abstract", "seqpacket"])
    func socatClientsTalkToOurServers(kind: String) throws {
        let name = uniqueName()
        if kind == "seqpacket" {
            let listener = try PacketListener(.unix(FilePath("/tmp/" + name)))
            let peer = try Peer("sh", ["-c", "printf question | socat -t 5 - UNIX-CONNECT:/tmp/\(name),type=5"])
            let connection = try listener.accept(until: .after(.seconds(10)))
            let got = try bytes(capacity: 100) { (buffer) throws(IPCError) in
                try connection.receive(into: &buffer, until: .after(.seconds(10)))
            }
            #expect(got == Array("question".utf8))
            try connection.send("answer".utf8.span.bytes)
            try connection.close()
            let text = try peer.finish().text
            #expect(text == "answer")
            return listener.close()
        }
        let endpoint: Endpoint =
            switch kind {
            case "tcp": .tcp(host: "127.0.0.1", port: 0)
            case "unix": .unix(FilePath("/tmp/" + name))
            default: .unixAbstract(AbstractName(name))
            }
        let listener = try StreamListener(endpoint)
        let address =
            switch try listener.localEndpoint! {
            case .tcp(let host, let port): "TCP:\(host):\(port)"
            case .unix(let path): "UNIX-CONNECT:\(path)"
            default: "ABSTRACT-CONNECT:\(name)"
            }
        let peer = try Peer("sh", ["-c", "printf question | socat -t 5 - \(address)"])
        let connection = try listener.accept(until: .after(.seconds(10)))
        let question = try connection.readToEnd(until: .after(.seconds(10)))
        try connection.write(question.span.bytes)
        try connection.close()
        let text = try peer.finish().text
        #expect(text == "question")
    }

    @Test(arguments: ["udp", "unix"])
    func datagramsComeFromSocat(kind: String) throws {
        let path = "/tmp/" + uniqueName()
        let socket = try DatagramSocket(kind == "udp" ? .udp(host: "127.0.0.1", port: 0) : .unix(FilePath(path)))
        var address = "UNIX-SENDTO:\(path)"
        if case .udp(_, let port)? = try socket.localEndpoint { address = "UDP:127.0.0.1:\(port)" }
        _ = try run("sh", ["-c", "printf datagram | socat -u - \(address)"])
        let got = try bytes(capacity: 100) { (buffer) throws(IPCError) in
            try socket.receiveBytes(into: &buffer, until: .after(.seconds(10)))
        }
        #expect(got == Array("datagram".utf8))
        socket.close()
    }

    @Test(arguments: ["udp", "unix"])
    func datagramsGoToSocat(kind: String) throws {
        let path = "/tmp/" + uniqueName()
        defer { unlink(path) }
        let port = UInt16(50_000 + getpid() % 10_000)
        let endpoint: Endpoint = kind == "udp" ? .udp(host: "127.0.0.1", port: port) : .unix(FilePath(path))
        let address = kind == "udp" ? "UDP-RECVFROM:\(port),bind=127.0.0.1" : "UNIX-RECVFROM:\(path)"
        let socat = try Peer("socat", ["-u", address, "-"])
        let deadline = Deadline.after(.seconds(10))
        // socat has no way to say that it is ready: send until it has answered by ending.
        while try socat.child.tryWait() == nil, !deadline.hasPassed {
            _ = failure { () throws(IPCError) in
                try DatagramSocket.connect(to: endpoint).send("to socat".utf8.span.bytes)
            }
            usleep(20_000)
        }
        let text = try socat.output.readToEnd(until: deadline)
        #expect(String(decoding: text, as: UTF8.self) == "to socat")
    }

    @Test func socatReadsAndWritesOurPipes() throws {
        let pipe = try AnonymousPipe()
        let child = try ChildProcess(
            "socat", ["-u", "EXEC:echo from socat", "FD:5"], descriptors: [5: pipe.writer.descriptor])
        let text = try pipe.closingWriter().readToEnd(until: .after(.seconds(10)))
        #expect(String(decoding: text, as: UTF8.self) == "from socat\n")
        _ = try child.wait(until: .after(.seconds(10)))
    }
}

@Suite(.timeLimit(.minutes(15))) struct ShellTests {
    @Test func namedPipesWorkWithCatAndEcho() throws {
        let path = "/tmp/" + uniqueName()
        _ = try run("mkfifo", [path])
        let pipe = try NamedPipe.open(FilePath(path))
        let echo = try ChildProcess("sh", ["-c", "echo hello > \(path)"])
        let text = try pipe.openForReading(until: .after(.seconds(10))).readToEnd(until: .after(.seconds(10)))
        #expect(String(decoding: text, as: UTF8.self) == "hello\n")
        _ = try echo.wait(until: .after(.seconds(10)))
        let cat = try Peer("cat", [path])
        let writer = try pipe.openForWriting(until: .after(.seconds(10)))
        try writer.write("back".utf8.span.bytes)
        try writer.close()
        let back = try cat.finish().text
        #expect(back == "back")
        try pipe.unlink()
    }

    @Test func killFromTheShellReachesAProgram() throws {
        let peer = try Peer(product("GracefulShutdown"), [])
        _ = try peer.said()
        _ = try run("sh", ["-c", "kill -TERM \(peer.child.handle.identifier)"])
        let (status, text) = try peer.finish()
        #expect(status == .exited(0) && text.hasPrefix("SIGTERM"))
    }
}

@Suite(.timeLimit(.minutes(15))) struct CProgramTests {
    @Test func theCProgramCountsWithUs() throws {
        let name = "/" + uniqueName()
        let mapping = try SharedMemory.create(name, byteCount: 4096).map()
        let semaphore = try NamedSemaphore.create(name, value: 1)
        defer {
            try? SharedMemory.unlink(name)
            try? NamedSemaphore.unlink(name)
        }
        let child = try ChildProcess(product("CPeer"), ["count", name, name])
        for _ in 0..<1000 {
            try semaphore.wait(until: .after(.seconds(10)))
            mapping.store(mapping.load(Int.self, at: 0) + 1, at: 0)
            try semaphore.post()
        }
        let status = try child.wait(until: .after(.seconds(10)))
        #expect(status == .exited(0))
        #expect(mapping.load(Int.self, at: 0) == 2000)
    }

    @Test func theCProgramAnswersOnAQueue() throws {
        let (there, back) = ("/" + uniqueName(), "/" + uniqueName())
        let out = try MessageQueue.create(there, maximumMessages: 2, messageSize: 64)
        let incoming = try MessageQueue.create(back, maximumMessages: 2, messageSize: 64)
        defer {
            try? MessageQueue.unlink(there)
            try? MessageQueue.unlink(back)
        }
        try out.send("to C".utf8.span.bytes, priority: 4)
        let child = try ChildProcess(product("CPeer"), ["queue", there, back])
        let message = try incoming.receive(until: .after(.seconds(10)))
        #expect(message.bytes == Array("to C".utf8) && message.priority == 5)
        _ = try child.wait(until: .after(.seconds(10)))
    }

    @Test func theCProgramPassesADescriptor() throws {
        let path = FilePath("/tmp/" + uniqueName())
        let listener = try StreamListener(.unix(path))
        let child = try ChildProcess(product("CPeer"), ["pass", path.string])
        let connection = try listener.accept(until: .after(.seconds(10)))
        var descriptors = ReceivedDescriptors()
        _ = try bytes(capacity: 8) { (buffer) throws(IPCError) in
            try connection.receive(into: &buffer, descriptors: &descriptors, until: .after(.seconds(10)))
        }
        let status = try child.wait(until: .after(.seconds(10)))
        #expect(status == .exited(0))
        let text = try PipeReader(adopting: descriptors.takeFirst()!).readToEnd(until: .after(.seconds(10)))
        #expect(String(decoding: text, as: UTF8.self) == "from C")
        listener.close()
    }
}
