import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

/// What clients of any kind can make `ipc socket listen` do, and what it leaves behind.
@Suite(.timeLimit(.minutes(15))) struct SocketCommandTests {
    private func areGone(_ processes: [pid_t]) -> Bool {
        eventually { processes.allSatisfy { kill($0, 0) != 0 && errno == ESRCH } }
    }

    /// Says its number and that of a child in the background, and runs on, or ends.
    private static let family = "trap '' INT; sleep 1000 & echo $$ $!; "

    private func family(of connection: borrowing StreamSocket) throws -> [pid_t] {
        var text = ""
        while !text.contains("\n") {
            let got = try bytes(capacity: 256) { (buffer) throws(IPCError) in
                try connection.read(into: &buffer, until: .after(.seconds(20)))
            }
            if got.isEmpty { break }
            text += String(decoding: got, as: UTF8.self)
        }
        return text.split { " \n".contains($0) }.compactMap { pid_t($0) }
    }

    @Test(arguments: [Signal.terminate, .interrupt, .hangUp, .kill], ["wait", "exit 0"])
    func noCommandOfAConnectionGoesOn(signal: Signal, end: String) throws {
        let path = "/tmp/" + uniqueName()
        defer { unlink(path) }
        let listener = try Tool(["socket", "listen", "unix://\(path)", "--keep", "--exec", Self.family + end])
        _ = try listener.complained()
        let client = try StreamSocket.connect(to: .unix(FilePath(path)), until: .after(.seconds(5)))
        let family = try family(of: client)
        #expect(family.count == 2 && kill(family[1], 0) == 0)
        try listener.peer.child.handle.send(signal)
        let outcome = try listener.finish()
        #expect(outcome.status == (signal == .kill ? .signaled(.kill) : .exited(128 + signal.rawValue)))
        #expect(areGone(family))
    }

    @Test func whatACommandLeavesInTheBackgroundEndsWithTheListener() throws {
        let path = "/tmp/" + uniqueName()
        let listener = try Tool(["socket", "listen", "unix://\(path)", "--exec", Self.family + "exit 0"])
        _ = try listener.complained()
        let client = try StreamSocket.connect(to: .unix(FilePath(path)), until: .after(.seconds(5)))
        let family = try family(of: client)
        #expect(family.count == 2)
        #expect(try listener.finish().status == .exited(0))
        #expect(areGone(family) && access(path, F_OK) != 0)
    }

    @Test func aResetConnectionIsNoEnd() throws {
        let listener = try Tool(["socket", "listen", "tcp://127.0.0.1:0", "--keep"])
        let port = try #require(try listener.complained().split(separator: ":").last).filter(\.isNumber)
        let endpoint = try Endpoint("tcp://127.0.0.1:\(port)")
        for _ in 0..<3 {
            let client = try StreamSocket.connect(to: endpoint, until: .after(.seconds(5)))
            try client.write(Array("before\n".utf8).span.bytes)
            #expect(try listener.peer.said() == "before\n")
            var reset = linger(l_onoff: 1, l_linger: 0)
            setsockopt(client.descriptor.rawValue, SOL_SOCKET, SO_LINGER, &reset, socklen_t(MemoryLayout<linger>.size))
            try client.close()
        }
        let client = try StreamSocket.connect(to: endpoint, until: .after(.seconds(5)))
        try client.write(Array("after\n".utf8).span.bytes)
        #expect(try listener.peer.said() == "after\n")
        try listener.peer.child.handle.send(.terminate)
        #expect(try listener.finish().status == .exited(143))
    }

    @Test(arguments: ["pipe", "full", "/dev/zero", "socket", "file", "write-only"])
    func aPassedDescriptorNeitherBlocksNorFills(kind: String) throws {
        let path = "/tmp/" + uniqueName()
        let listener = try Tool(["socket", "listen", "unix://\(path)"])
        _ = try listener.complained()
        let client = try StreamSocket.connect(to: .unix(FilePath(path)), until: .after(.seconds(5)))
        let pipe = try AnonymousPipe()
        let sockets = try StreamSocket.makePair()
        if kind == "full" { try pipe.writer.write(Array("what there is\n".utf8).span.bytes) }
        let zeros = OwnedDescriptor(adopting: try FileDescriptor.open("/dev/zero", .readOnly))
        let sparse = try MappedFile.create(FilePath(path + "-file"), byteCount: 4096)
        unlink(path + "-file")
        ftruncate(sparse.descriptor.rawValue, 1 << 40)
        let descriptor =
            switch kind {
            case "/dev/zero": zeros.descriptor
            case "socket": sockets.second.descriptor
            case "file": sparse.descriptor
            case "write-only": pipe.writer.descriptor
            default: pipe.reader.descriptor
            }
        let flags = fcntl(descriptor.rawValue, F_GETFL)
        try client.send(([0] as [UInt8]).span.bytes, descriptors: [descriptor])
        try client.write(Array("goes on\n".utf8).span.bytes)
        try client.finishWriting()
        var output = 0
        var tail = [UInt8]()
        // Read here, since a pipe holds less than is printed.
        while true {
            let got = try bytes(capacity: 65_536) { (buffer) throws(IPCError) in
                try listener.peer.output.read(into: &buffer, until: .after(.seconds(20)))
            }
            if got.isEmpty { break }
            output += got.count
            tail = (tail + got).suffix(8)
        }
        let outcome = try listener.finish()
        #expect(outcome.status == .exited(0) && outcome.errors.contains("received a descriptor"))
        #expect(tail == Array("goes on\n".utf8))
        let shown = ["full": 14, "/dev/zero": 1 << 20, "file": 1 << 20][kind] ?? 0
        #expect(output == shown + 8)
        // Its flags are the sender's too.
        #expect(fcntl(descriptor.rawValue, F_GETFL) == flags)
        withExtendedLifetime((sockets.first.descriptor, zeros.descriptor)) {}
    }

    /// A server that says nothing, and reads.
    @Test func whatIsTypedAheadReachesAServerThatHasFinishedWriting() throws {
        let input = String(repeating: "served\n", count: 40_000)
        for _ in 0..<5 {
            let path = "/tmp/" + uniqueName()
            let listener = try StreamListener(Endpoint("unix://\(path)"))
            let client = try Tool(["socket", "connect", "unix://\(path)"], input: input)
            let connection = try listener.accept(until: .after(.seconds(20)))
            try connection.finishWriting()
            let got = try connection.readToEnd(until: .after(.seconds(20)))
            #expect(got == Array(input.utf8))
            #expect(try client.finish().status == .exited(0))
        }
    }

    @Test func cleaningAsksWithoutBecomingAClient() throws {
        let path = "/tmp/" + uniqueName()
        let listener = try Tool(["socket", "listen", "unix://\(path)"])
        _ = try listener.complained()
        _ = try ipc("clean", path, "--yes")
        #expect(access(path, F_OK) == 0)
        #expect(try ipc("socket", "connect", "unix://\(path)", input: "served\n").status == .exited(0))
        let outcome = try listener.finish()
        #expect(outcome.status == .exited(0) && outcome.output == "served\n")
        // The file of a dead one goes.
        let dead = try Tool(["socket", "listen", "unix://\(path)"])
        _ = try dead.complained()
        try dead.peer.kill()
        _ = try ipc("clean", path, "--yes")
        #expect(access(path, F_OK) != 0)
    }

    @Test func argumentsThatAreNoTextAreRefused() throws {
        let name = uniqueName()
        // What the name would become if its byte were replaced.
        let other = "/tmp/\(name)\u{fffd}"
        mkfifo(other, 0o600)
        defer { unlink(other) }
        let tool = product("ipc")
        let script = "\(tool) rm \"$(printf '/tmp/\(name)\\377')\" 2>&1; echo $?"
        let text = try Peer("bash", ["-c", script]).finish().text
        #expect(text.contains("not valid UTF-8") && text.hasSuffix("64\n") && access(other, F_OK) == 0)
        let root = try Peer("bash", ["-c", "IPC_ROOT=$(printf '/tmp/\\377') \(tool) ls channel 2>&1; echo $?"]).finish()
        #expect(root.text.contains("IPC_ROOT") && root.text.hasSuffix("64\n"))
    }

    @Test(arguments: [
        ["listen", "udp://127.0.0.1:0", "--exec", "cat"], ["listen", "tcp://127.0.0.1:0", "--credentials"],
        ["connect", "tcp://127.0.0.1:1", "--pass-fd", "/etc/hostname"],
    ])
    func anOptionThatCannotBeMetIsAnError(arguments: [String]) throws {
        #expect(try Tool(["socket"] + arguments).finish().status == .exited(64))
    }

    @Test func aLongLineInSmallPiecesTakesLinearTimeAndHasALimit() throws {
        let tool = "IPC_ROOT=\(channelRoot) '\(product("ipc"))'"
        let name = channelName()
        let small = "head -c 16777216 /dev/zero | tr '\\0' x | dd bs=1024 iflag=fullblock 2>/dev/null"
        let push = "\(tool) queue push \(name) --keep --capacity 67108864"
        let start = ContinuousClock.now
        let (status, _) = try Peer("bash", ["-c", "\(small) | \(push)"]).finish()
        #expect(status == .exited(0) && ContinuousClock.now - start < .seconds(45))
        let long = "head -c 70000000 /dev/zero | tr '\\0' x | \(tool) queue push \(name) 2>&1"
        let text = try Peer("bash", ["-c", long]).finish().text
        #expect(text.contains("longer than 67108864 bytes"))
        #expect(try ipc("rm", name).status == .exited(0))
    }
}
