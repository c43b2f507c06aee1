import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(10))) struct EndpointTests {
    @Test(arguments: [
        "tcp://127.0.0.1:9000", "tcp://[::1]:9000", "udp://[::1]:9000", "udp://localhost:0", "unix:///run/app.sock",
        "unix-abstract:name",
    ])
    func textsGoToAndFro(text: String) throws {
        #expect(try Endpoint(text).description == text)
    }

    @Test(arguments: [
        ("http://x", "tcp://"), ("tcp://127.0.0.1", "port"), ("tcp://::1:9000", "brackets"), ("tcp://:80", "host"),
        ("tcp://a:70000", "65535"), ("unix://", "path"), ("unix-abstract:", "name"),
        ("unix:///" + String(repeating: "x", count: 107), "107"),
    ])
    func badTextsSayWhatIsWrong(text: String, reason: String) {
        let error = failure { () throws(IPCError) in _ = try Endpoint(text) }
        #expect(error?.code == .invalidName)
        #expect(error?.advice.contains(reason) == true)
    }
}

@Suite(.timeLimit(.minutes(10))) struct StreamSocketTests {
    private func socketPath() -> String { "/tmp/" + uniqueName() }

    @Test(arguments: ["tcp://127.0.0.1:0", "tcp://[::1]:0", "unix", "unix-abstract"])
    func theWholeLifeOfAConnection(kind: String) throws {
        let text =
            kind == "unix" ? "unix://\(socketPath())" : kind == "unix-abstract" ? "unix-abstract:\(uniqueName())" : kind
        let listener = try StreamListener(Endpoint(text))
        let none = try listener.tryAccept() == nil
        #expect(none)
        let late = failure { () throws(IPCError) in _ = try listener.accept(until: .after(.milliseconds(10))) }
        #expect(late?.code == .timedOut)
        let endpoint = try #require(try listener.localEndpoint)
        let client = try StreamSocket.connect(to: endpoint, until: .after(.seconds(5)))
        let server = try listener.accept(until: .after(.seconds(5)))
        if kind.hasPrefix("tcp") { try client.setNoDelay(true) }
        try client.write("question".utf8.span.bytes)
        try client.finishWriting()
        let question = try server.readToEnd(until: .after(.seconds(5)))
        #expect(question == Array("question".utf8))
        // Half closed: the answer still comes.
        try server.write("answer".utf8.span.bytes)
        try server.close()
        let answer = try client.readToEnd(until: .after(.seconds(5)))
        #expect(answer == Array("answer".utf8))
        if kind == "unix" {
            let credentials = try client.peerCredentials
            #expect(credentials.process == getpid() && credentials.user == getuid() && credentials.group == getgid())
            let peer = try client.peerProcess()
            let isAlive = peer.isAlive
            #expect(isAlive)
        }
    }

    @Test func aDeadServersFileIsReplacedALiveOnesNever() throws {
        let path = socketPath()
        defer { unlink(path) }
        let peer = try Peer.role("listen", "unix://\(path)")
        _ = try peer.said()
        let live = failure { () throws(IPCError) in _ = try StreamListener(.unix(FilePath(path))) }
        #expect(live?.code == .addressInUse && live?.advice.contains("running server") == true)
        try peer.kill()
        #expect(access(path, F_OK) == 0)  // the file of the dead is there
        let listener = try StreamListener(.unix(FilePath(path)))
        _ = try StreamSocket.connect(to: .unix(FilePath(path)), until: .after(.seconds(5)))
        listener.close()
        #expect(access(path, F_OK) != 0)
    }

    @Test func ofManyServersThatStartAtOnceOneGetsThePath() async throws {
        let path = socketPath()
        let dead = try Peer.role("listen", "unix://\(path)")
        _ = try dead.said()
        try dead.kill()
        // Each says `ready` if it got the path, and ends with an error if not: nineteen end, and the last one is ended.
        let start = "for i in {1..20}; do \(product("TestPeer")) listen unix://\(path) 2>/dev/null & done"
        let script = "\(start); while [ $(jobs -rp | wc -l) -gt 1 ]; do sleep 0.02; done; kill $(jobs -rp)"
        let race = try Peer("bash", ["-c", script])
        let (_, text) = try race.finish()
        unlink(path)
        #expect(text == "ready\n")
    }

    @Test func aRestartedServerGetsItsPortAtOnce() throws {
        let listener = try StreamListener(.tcp(host: "127.0.0.1", port: 0))
        let endpoint = try #require(try listener.localEndpoint)
        let client = try StreamSocket.connect(to: endpoint)
        try listener.accept().close()  // the server closes first, so that its side lingers
        _ = try client.readToEnd()
        try client.close()
        listener.close()
        let again = try StreamListener(endpoint)
        #expect(try again.localEndpoint == endpoint)
    }

    @Test func anAdoptedListenersFileIsNotRemoved() throws {
        let path = socketPath()
        let owner = try StreamListener(.unix(FilePath(path)))
        let copy = OwnedDescriptor(adopting: FileDescriptor(rawValue: dup(owner.descriptor.rawValue)))
        try StreamListener(adopting: copy).close()
        #expect(access(path, F_OK) == 0)
        owner.close()
        #expect(access(path, F_OK) != 0)
    }

    @Test func interruptedConnectionsGoOn() throws {
        let listener = try StreamListener(.tcp(host: "127.0.0.1", port: 0))
        let endpoint = try #require(try listener.localEndpoint)
        let peer = try Peer.role("storm-connect", endpoint.description)
        for _ in 0..<200 {
            let connection = try listener.accept(until: .after(.seconds(10)))
            let byte = try connection.readToEnd(until: .after(.seconds(10)))
            #expect(byte == [1])
        }
        let (status, text) = try peer.finish()
        #expect(status == .exited(0) && text == "connected\n")
    }

    @Test func aConnectionGivenUpInTheBacklogDoesNotStopTheServer() throws {
        let listener = try StreamListener(.tcp(host: "127.0.0.1", port: 0))
        let endpoint = try #require(try listener.localEndpoint)
        let gone = try StreamSocket.connect(to: endpoint)
        var reset = linger(l_onoff: 1, l_linger: 0)
        setsockopt(gone.descriptor.rawValue, SOL_SOCKET, SO_LINGER, &reset, socklen_t(MemoryLayout<linger>.size))
        try gone.close()
        let client = try StreamSocket.connect(to: endpoint)
        try client.write("here".utf8.span.bytes)
        try client.finishWriting()
        var answered = ""
        // The kernel may hand the reset connection over, or not; the living one comes in any case.
        while answered.isEmpty {
            let connection = try listener.accept(until: .after(.seconds(10)))
            do throws(IPCError) {
                answered = String(decoding: try connection.readToEnd(until: .after(.seconds(10))), as: UTF8.self)
            } catch {
                #expect(error.code == .brokenPipe)
            }
        }
        #expect(answered == "here")
    }

    @Test func credentialsAreFromTheTimeOfTheConnection() throws {
        let pair = try StreamSocket.makePair()
        let peer = try Peer.role("credentials", descriptors: [3: pair.second.descriptor])
        let (_, text) = try peer.finish()
        #expect(text == "parent\n")
        let tcp = try StreamListener(.tcp(host: "127.0.0.1", port: 0))
        let client = try StreamSocket.connect(to: try tcp.localEndpoint!)
        let error = failure { () throws(IPCError) in _ = try client.peerCredentials }
        #expect(error?.code == .unsupported)
    }

    @Test func aFileThatIsNoSocketIsKept() throws {
        let path = socketPath()
        defer { unlink(path) }
        try FileDescriptor.open(FilePath(path), .writeOnly, options: .create, permissions: .ownerReadWrite).close()
        let error = failure { () throws(IPCError) in _ = try StreamListener(.unix(FilePath(path))) }
        #expect(error?.code == .addressInUse)
        #expect(access(path, F_OK) == 0)
    }

    @Test func theFilesModeIsWhatWasAskedFor() throws {
        let path = socketPath()
        let narrow = try StreamListener(.unix(FilePath(path)))
        var status = stat()
        stat(path, &status)
        #expect(status.st_mode & 0o777 == 0o600)
        narrow.close()
        let wide = try StreamListener(.unix(FilePath(path)), permissions: FilePermissions(rawValue: 0o666))
        stat(path, &status)
        #expect(status.st_mode & 0o777 == 0o666)
        wide.close()
    }

    @Test func nobodyThereAndWrongKindsAreTold() throws {
        let missing = failure { () throws(IPCError) in _ = try StreamSocket.connect(to: .unix(FilePath(socketPath()))) }
        #expect(missing?.code == .notFound)
        let refused = failure { () throws(IPCError) in
            _ = try StreamSocket.connect(to: .tcp(host: "127.0.0.1", port: 1), until: .after(.seconds(5)))
        }
        #expect(refused?.code == .connectionRefused)
        let path = FilePath(socketPath())
        let datagrams = try DatagramSocket(.unix(path))
        let kind = failure { () throws(IPCError) in _ = try StreamSocket.connect(to: .unix(path)) }
        #expect(kind?.code == .wrongType)
        datagrams.close()
        let udp = failure { () throws(IPCError) in _ = try StreamListener(.udp(host: "127.0.0.1", port: 0)) }
        #expect(udp?.code == .wrongType)
    }

    @Test func connectingToAFullBacklogHasADeadline() throws {
        let path = FilePath(socketPath())
        let listener = try StreamListener(.unix(path), backlog: 0)
        let first = try StreamSocket.connect(to: .unix(path), until: .after(.seconds(1)))
        let error = failure { () throws(IPCError) in
            for _ in 0..<3 { try StreamSocket.connect(to: .unix(path), until: .after(.milliseconds(50))).close() }
        }
        #expect(error?.code == .timedOut)
        _ = consume first
        listener.close()
    }

    @Test func aFullStreamTimesOutAndSaysHowMuchWentOut() throws {
        let pair = try StreamSocket.makePair()
        let large = [UInt8](repeating: 1, count: 10 << 20)
        let error = failure { () throws(IPCError) in
            try pair.first.write(large.span.bytes, until: .after(.milliseconds(30)))
        }
        #expect(error?.code == .timedOut)
        let sent = try #require(error?.transferred)
        #expect(sent > 0)
        try pair.first.finishWriting()
        let received = try pair.second.readToEnd().count
        #expect(received == sent)
    }

    @Test func withoutADescriptorAcceptFailsAndTheConnectionWaits() throws {
        let peer = try Peer.role("exhausted", "/tmp/" + uniqueName())
        let (status, text) = try peer.finish()
        #expect(status == .exited(0))
        #expect(text == "limitReached ulimit\naccepted\n")
    }

    @Test func descriptorsArePassedBothWays() throws {
        let pair = try StreamSocket.makePair()
        let pipe = try AnonymousPipe()
        try pair.second.send(
            ([9] as [UInt8]).span.bytes, descriptors: [pipe.writer.descriptor, pipe.reader.descriptor])
        var descriptors = ReceivedDescriptors()
        let data = try bytes(capacity: 4) { (buffer) throws(IPCError) in
            try pair.first.receive(into: &buffer, descriptors: &descriptors)
        }
        #expect(data == [9])
        let writer = try PipeWriter(adopting: descriptors.takeFirst()!)
        #expect(fcntl(writer.descriptor.rawValue, F_GETFD) & FD_CLOEXEC != 0)
        try writer.write("through".utf8.span.bytes)
        let available = try pipe.reader.availableBytes
        #expect(available == 7)
    }

    @Test func surplusDescriptorsAreToldAndNothingLeaks() throws {
        let pair = try StreamSocket.makePair()
        let pipe = try AnonymousPipe()
        let before = openDescriptorCount()
        for _ in 0..<100 {
            try pair.first.send(
                ([1, 2] as [UInt8]).span.bytes, descriptors: Array(repeating: pipe.reader.descriptor, count: 3))
            var descriptors = ReceivedDescriptors()
            let error = failure { () throws(IPCError) in
                _ = try bytes(capacity: 4) { (buffer) throws(IPCError) in
                    try pair.second.receive(into: &buffer, descriptors: &descriptors, maximumDescriptors: 1)
                }
            }
            #expect(error?.code == .descriptorsTruncated && error?.transferred == 2)
        }
        // Others that are received and not taken.
        try pair.first.send(([1] as [UInt8]).span.bytes, descriptors: [pipe.reader.descriptor])
        var ignored = ReceivedDescriptors()
        _ = try bytes(capacity: 4) { (buffer) throws(IPCError) in
            try pair.second.receive(into: &buffer, descriptors: &ignored)
        }
        ignored = ReceivedDescriptors()
        // Other tests run at the same time, so a leak is what grows with the rounds.
        #expect(openDescriptorCount() < before + 100)
        let empty = failure { () throws(IPCError) in
            try pair.first.send([UInt8]().span.bytes, descriptors: [pipe.reader.descriptor])
        }
        #expect(empty?.code == .invalidArgument)
    }

    @Test func activationHandsSocketsOver() throws {
        let listener = try StreamListener(.tcp(host: "127.0.0.1", port: 0))
        let script = "export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=api; exec \(product("TestPeer")) activation"
        let peer = try Peer("/bin/sh", ["-c", script], descriptors: [3: listener.descriptor])
        let (_, text) = try peer.finish()
        #expect(text == "3 api cloexec\nleft in environment: nothing\n")
        let other = try Peer(
            "/bin/sh", ["-c", "export LISTEN_PID=1 LISTEN_FDS=1; exec \(product("TestPeer")) activation"])
        let ignored = try other.finish().text
        #expect(ignored == "left in environment: nothing\n")
    }
}

@Suite(.timeLimit(.minutes(10))) struct MessageSocketTests {
    @Test func packetsStayWholeAndInOrder() throws {
        let path = FilePath("/tmp/" + uniqueName())
        let listener = try PacketListener(.unix(path))
        let client = try PacketSocket.connect(to: .unix(path), until: .after(.seconds(5)))
        let server = try listener.accept(until: .after(.seconds(5)))
        for length in [1, 500, 3] { try client.send([UInt8](repeating: UInt8(length % 256), count: length).span.bytes) }
        var lengths: [Int] = []
        for _ in 0..<3 {
            lengths.append(
                try bytes(capacity: 1000) { (buffer) throws(IPCError) in try server.receive(into: &buffer) }.count)
        }
        #expect(lengths == [1, 500, 3])
        try client.send([UInt8](repeating: 1, count: 100).span.bytes)
        let cut = failure { () throws(IPCError) in
            _ = try bytes(capacity: 10) { (buffer) throws(IPCError) in try server.receive(into: &buffer) }
        }
        #expect(cut?.code == .messageTooLarge && cut?.advice.contains("100") == true)
        let empty = failure { () throws(IPCError) in try client.send([UInt8]().span.bytes) }
        #expect(empty?.code == .invalidArgument)
        try client.close()
        let end = try bytes(capacity: 10) { (buffer) throws(IPCError) in try server.receive(into: &buffer) }
        #expect(end.isEmpty)
        let gone = failure { () throws(IPCError) in try server.send(([1] as [UInt8]).span.bytes) }
        #expect(gone?.code == .brokenPipe)
        listener.close()
    }

    @Test func udpDropsWhatDoesNotFitAlsoOnLoopback() throws {
        let server = try DatagramSocket(.udp(host: "127.0.0.1", port: 0))
        try server.setReceiveBufferSize(8192)
        let client = try DatagramSocket.connect(to: try server.localEndpoint!)
        let message = [UInt8](repeating: 1, count: 1000)
        for _ in 0..<1000 { try client.send(message.span.bytes, until: .after(.seconds(5))) }
        var arrived = 0
        while try bytes(capacity: 1000, { (buffer) throws(IPCError) in try server.tryReceiveBytes(into: &buffer) ?? 0 })
            .count > 0
        {
            arrived += 1
        }
        #expect(arrived > 0 && arrived < 1000)
        server.close()
    }

    @Test(arguments: ["udp", "unix"])
    func datagramsHaveASenderToAnswer(kind: String) throws {
        let endpoint: Endpoint =
            kind == "udp" ? .udp(host: "127.0.0.1", port: 0) : .unix(FilePath("/tmp/" + uniqueName()))
        let answering: Endpoint =
            kind == "udp" ? .udp(host: "127.0.0.1", port: 0) : .unix(FilePath("/tmp/" + uniqueName()))
        let server = try DatagramSocket(endpoint)
        let client = try DatagramSocket(answering)
        let address = try #require(try server.localEndpoint)
        try client.send("ping".utf8.span.bytes, to: address, until: .after(.seconds(5)))
        var source: Endpoint?
        let got = try bytes(capacity: 16) { (buffer) throws(IPCError) in
            let received = try server.receive(into: &buffer, until: .after(.seconds(5)))
            source = received.source
            return received.byteCount
        }
        #expect(got == Array("ping".utf8))
        let own = try client.localEndpoint
        #expect(source == own)
        let late = failure { () throws(IPCError) in
            _ = try bytes(capacity: 4) { (buffer) throws(IPCError) in
                try client.receiveBytes(into: &buffer, until: .after(.milliseconds(10)))
            }
        }
        #expect(late?.code == .timedOut)
        let large = failure { () throws(IPCError) in
            try client.send([UInt8](repeating: 0, count: 4 << 20).span.bytes, to: address, until: .after(.seconds(5)))
        }
        #expect(large?.code == .messageTooLarge)
        server.close()
        client.close()
    }
}
