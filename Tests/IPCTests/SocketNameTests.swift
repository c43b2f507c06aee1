import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

/// Names of sockets and files: bytes, of this user, and looked up in time.
@Suite(.timeLimit(.minutes(5))) struct SocketNameTests {
    @Test func anEmptyPathIsNoAbstractName() throws {
        for endpoint in [Endpoint.unix(""), .unixAbstract("")] {
            let codes = [
                failure { () throws(IPCError) in _ = try StreamListener(endpoint) },
                failure { () throws(IPCError) in _ = try StreamSocket.connect(to: endpoint) },
                failure { () throws(IPCError) in _ = try PacketListener(endpoint) },
                failure { () throws(IPCError) in _ = try PacketSocket.connect(to: endpoint) },
                failure { () throws(IPCError) in _ = try DatagramSocket(endpoint) },
                failure { () throws(IPCError) in _ = try DatagramSocket.connect(to: endpoint) },
            ].map { $0?.code }
            #expect(codes == Array(repeating: .invalidName, count: 6))
        }
    }

    @Test(arguments: ["unix:///a\0b", "tcp://a\0b:80", "unix:", "unix-abstract:"])
    func whatWouldBeCutShortIsRefused(text: String) {
        #expect(failure { () throws(IPCError) in _ = try Endpoint(text) }?.code == .invalidName)
    }

    @Test func aLetterWithAnAccentOfItsOwnIsPartOfThePath() throws {
        // As characters, the last slash and the accent are one.
        #expect(try Endpoint("unix:///\u{301}x") == .unix(FilePath("/\u{301}x")))
    }

    @Test func namesThatAreNoTextAreAnsweredToAsTheyAre() throws {
        let name = AbstractName(bytes: Array(uniqueName().utf8) + [0xff, 0, 0x80])
        let server = try DatagramSocket(.unixAbstract(AbstractName(uniqueName())))
        let client = Endpoint.unixAbstract(name)
        let bound = try DatagramSocket(client)
        #expect(try bound.localEndpoint == client)
        try bound.send(
            ([7] as [UInt8]).span.bytes, to: try #require(try server.localEndpoint), until: .after(.seconds(5)))
        var source: Endpoint?
        _ = try bytes(capacity: 8) { (buffer) throws(IPCError) in
            let received = try server.receive(into: &buffer, until: .after(.seconds(5)))
            source = received.source
            return received.byteCount
        }
        try server.send(([8] as [UInt8]).span.bytes, to: try #require(source), until: .after(.seconds(5)))
        let answer = try bytes(capacity: 8) { (buffer) throws(IPCError) in
            try bound.receiveBytes(into: &buffer, until: .after(.seconds(5)))
        }
        #expect(answer == [8])
        #expect("\(client)".hasSuffix("\\xff\u{0}\\x80"))
    }

    @Test func pathsThatAreNoTextAreWhatTheyAre() throws {
        let path = FilePath(platformString: Array("/tmp/\(uniqueName())".utf8CString.dropLast()) + [-1, 0])
        // What the name becomes where bytes are replaced.
        let replaced = FilePath(path.string)
        let listener = try StreamListener(.unix(path))
        #expect(try listener.localEndpoint == .unix(path))
        _ = try StreamSocket.connect(to: .unix(path), until: .after(.seconds(5)))
        #expect(access(replaced.string, F_OK) != 0)
        listener.close()
        let pipe = try NamedPipe.create(path)
        try pipe.unlink()
        _ = try MappedFile.create(path, byteCount: 10)
        #expect(path.withPlatformString { unlink($0) } == 0)
        #expect(access(replaced.string, F_OK) != 0)
    }

    @Test func aRelativePathIsRemovedWhereItWasMade() throws {
        let folders = [uniqueName(), uniqueName()].map { "/tmp/" + $0 }
        defer { for folder in folders { unlink(folder + "/socket"); rmdir(folder) } }
        for folder in folders { mkdir(folder, 0o700) }
        let other = try FileDescriptor.open(
            FilePath(folders[1] + "/socket"), .writeOnly, options: .create, permissions: .ownerReadWrite)
        try other.close()
        let text = try Peer.role("relative-path", folders[0], folders[1]).finish().text
        #expect(text == "unix://\(folders[0])/socket\nleft false, other true\n")
    }

    @Test func aLookWhetherAServerLivesMakesNoClient() throws {
        let path = FilePath("/tmp/" + uniqueName())
        let streams = try StreamListener(.unix(path))
        #expect(try isRefused(path))
        #expect(try UnixSocketFile.isServed(path))
        #expect(try !UnixSocketFile.removeIfDead(path, until: .after(.seconds(5))))
        let noStream = try streams.tryAccept() == nil
        #expect(noStream)
        streams.close()
        let packets = try PacketListener(.unix(path))
        #expect(try isRefused(path))
        let noPacket = try packets.tryAccept() == nil
        #expect(noPacket)
        packets.close()
        let datagrams = try DatagramSocket(.unix(path))
        #expect(try isRefused(path))
        datagrams.close()
    }

    private func isRefused(_ path: FilePath) throws -> Bool {
        let errors = [
            failure { () throws(IPCError) in _ = try StreamListener(.unix(path)) },
            failure { () throws(IPCError) in _ = try PacketListener(.unix(path)) },
            failure { () throws(IPCError) in _ = try DatagramSocket(.unix(path)) },
        ]
        return errors.allSatisfy { $0?.code == .addressInUse }
    }

    @Test func aLinkInThePlaceOfASocketIsNotFollowed() throws {
        let folder = "/tmp/" + uniqueName()
        let (path, victim, spare) = (folder + "/socket", folder + "/victim", folder + "/spare")
        mkdir(folder, 0o700)
        defer { for file in [path, victim, spare, folder] { remove(file) } }
        try FileDescriptor.open(FilePath(victim), .writeOnly, options: .create, permissions: .ownerReadWrite).close()
        let isOver = Flag()
        // Somebody who may write to the folder puts a link in the place of each socket, as soon as it is there.
        let stranger = try PlainThread { () throws(IPCError) in
            var status = stat()
            while !isOver.isSet {
                guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else { continue }
                symlink(victim, spare)
                rename(spare, path)
            }
        }
        var mode = stat()
        let end = ContinuousClock.now + .seconds(3)
        while ContinuousClock.now < end {
            // It gets one, or is told why not.
            _ = failure { () throws(IPCError) in
                try StreamListener(.unix(FilePath(path)), permissions: FilePermissions(rawValue: 0o666)).close()
            }
            stat(victim, &mode)
            if mode.st_mode & 0o777 != 0o600 { break }
            unlink(path)
        }
        isOver.set()
        #expect(stranger.join() == nil)
        #expect(mode.st_mode & 0o777 == 0o600)
    }

    @Test func aFileIsNotOpenedThroughALinkThatAStrangerMayHaveMade() throws {
        let folder = "/tmp/" + uniqueName()
        let (link, target) = (folder + "/link", "/tmp/" + uniqueName())
        mkdir(folder, 0o700)
        defer { for file in [link, target, folder] { remove(file) } }
        _ = try MappedFile.create(FilePath(target), byteCount: 10)
        symlink(target, link)
        // In a folder that is this user's alone, it is this user's link.
        _ = try MappedFile.open(FilePath(link))
        chmod(folder, 0o777)
        let errors = [
            failure { () throws(IPCError) in _ = try MappedFile.open(FilePath(link)) },
            failure { () throws(IPCError) in
                _ = try MappedFile.openOrCreate(FilePath(link), byteCount: 99)
            },
        ]
        #expect(errors.allSatisfy { $0?.advice.contains("symbolic link") == true })
    }

    @Test func withoutStandardDescriptorsAllLieAboveAndAFailureLeavesNothing() throws {
        let pipe = try AnonymousPipe()
        let script = "exec <&- >&- 2>&-; exec \(product("TestPeer")) closed-sockets \(uniqueName())"
        let child = try ChildProcess("/bin/sh", ["-c", script], descriptors: [3: pipe.writer.descriptor])
        let reader = pipe.closingWriter()
        let text = try reader.readToEnd(until: .after(.seconds(30)))
        #expect(String(decoding: text, as: UTF8.self) == "above true\nopen 0\n")
        #expect(try child.wait(until: .after(.seconds(10))) == .exited(0))
    }
}

/// Waits for a peer that never gets ready.
@Suite(.timeLimit(.minutes(5))) struct SocketWaitTests {
    @Test(arguments: ["blocking", "async"])
    func aFullReceiverIsWaitedForAsleepUntilTheDeadline(way: String) throws {
        let text = try Peer.role("full-receiver", uniqueName(), way).finish().text
        #expect(text == "timedOut on time asleep\n")
    }

    @Test func whoWaitsForAFullReceiverGoesOnWhenThereIsRoom() async throws {
        let receiver = Endpoint.unixAbstract(AbstractName(uniqueName()))
        let socket = try DatagramSocket(receiver)
        let sender = SharedReference(try DatagramSocket(.unixAbstract(AbstractName(uniqueName()))))
        while try sender.value.trySend(([1] as [UInt8]).span.bytes, to: receiver) {}
        let blocking = try PlainThread { () throws(IPCError) in
            try sender.value.send(([2] as [UInt8]).span.bytes, to: receiver, until: .after(.seconds(60)))
        }
        let task = Task {
            try await sender.value.send(([2] as [UInt8]).span.bytes, to: receiver, until: .after(.seconds(60)))
        }
        var last = 0
        // Suspended, since the task needs a thread of the same pool.
        while last < 2 { if try await Self.receive(socket) == 2 { last += 1 } }
        #expect(blocking.join() == nil)
        try await task.value
    }

    private static nonisolated(nonsending) func receive(_ socket: borrowing DatagramSocket) async throws -> UInt8 {
        var byte: [UInt8] = [0]
        var elements = byte.mutableSpan
        var buffer = elements.mutableBytes
        _ = try await socket.receiveBytes(into: &buffer, until: .after(.seconds(60)))
        return byte[0]
    }

    @Test func aReceiverThatGoesEndsTheWait() throws {
        let receiver = Endpoint.unixAbstract(AbstractName(uniqueName()))
        var socket: SharedReference<DatagramSocket>? = SharedReference(try DatagramSocket(receiver))
        let sender = SharedReference(try DatagramSocket(.unixAbstract(AbstractName(uniqueName()))))
        while try sender.value.trySend(([1] as [UInt8]).span.bytes, to: receiver) {}
        let isWaiting = Flag()
        let waiting = try PlainThread { () throws(IPCError) in
            isWaiting.set()
            try sender.value.send(([2] as [UInt8]).span.bytes, to: receiver, until: .after(.seconds(60)))
        }
        isWaiting.wait()
        #expect(socket != nil)
        socket = nil
        #expect(waiting.join()?.code == .connectionRefused)
    }
}

/// Host names, by files of a mount namespace's own.
@Suite(.enabled(if: getuid() == 0, "only root makes a mount namespace"), .timeLimit(.minutes(5)))
struct HostNameTests {
    /// Runs a role of the peer where a file of the system has other contents.
    private func peer(_ arguments: [String], _ file: String, _ contents: String) throws -> String {
        let path = "/tmp/" + uniqueName()
        defer { unlink(path) }
        let descriptor = OwnedDescriptor(
            adopting: try FileDescriptor.open(
                FilePath(path), .writeOnly, options: .create, permissions: FilePermissions(rawValue: 0o644)))
        try descriptor.descriptor.writeAll(contents.utf8)
        let script = "mount --bind \(path) \(file) && exec \(product("TestPeer")) \(arguments.joined(separator: " "))"
        return try Peer("unshare", ["--mount", "sh", "-c", script]).finish().text
    }

    @Test func aDeadFirstAddressDoesNotUseUpTheTime() throws {
        // Its queue is full, so that it does not answer: the nearer address is the first one to be tried.
        let dead = try StreamListener(.tcp(host: "127.0.0.1", port: 0), backlog: 0)
        guard case .tcp(_, let port)? = try dead.localEndpoint else { throw CancellationError() }
        let live = try StreamListener(.tcp(host: "127.0.0.2", port: port))
        var fillers: [SharedReference<StreamSocket>] = []
        while let filler = filler(port), fillers.count < 100 { fillers.append(filler) }
        let hosts = "127.0.0.1 several.test\n127.0.0.2 several.test\n"
        for milliseconds in [300, 10_000] {
            let text = try peer(["connect-to", "tcp://several.test:\(port)", "\(milliseconds)"], "/etc/hosts", hosts)
            #expect(text == String(repeating: "tcp://127.0.0.2:\(port) soon\n", count: 2))
        }
        live.close()
        fillers = []
        dead.close()
    }

    private func filler(_ port: UInt16) -> SharedReference<StreamSocket>? {
        try? SharedReference(
            StreamSocket.connect(to: .tcp(host: "127.0.0.1", port: port), until: .after(.milliseconds(300))))
    }

    @Test func aRefusedFirstAddressIsPassedOver() throws {
        let live = try StreamListener(.tcp(host: "127.0.0.2", port: 0))
        guard case .tcp(_, let port)? = try live.localEndpoint else { throw CancellationError() }
        let hosts = "127.0.0.1 several.test\n127.0.0.2 several.test\n"
        let text = try peer(["connect-to", "tcp://several.test:\(port)", "10000"], "/etc/hosts", hosts)
        #expect(text == String(repeating: "tcp://127.0.0.2:\(port) soon\n", count: 2))
        live.close()
    }

    @Test func aResolverThatDoesNotAnswerDoesNotOutliveTheDeadline() throws {
        let silent = try DatagramSocket(.udp(host: "127.0.0.153", port: 53))
        let text = try peer(
            ["connect-to", "tcp://unknown.test:80", "300"], "/etc/resolv.conf", "nameserver 127.0.0.153\n")
        #expect(text == String(repeating: "timedOut at look up soon\n", count: 2))
        silent.close()
    }

    /// Whether a name server that is silent can be had here: in a namespace of mounts.
    private static let hasMounts =
        getuid() == 0 && (try? Peer("unshare", ["--mount", "true"]).finish().status) == .exited(0)

    /// The resolver has no deadline, and gives up after minutes here.
    @Test(.enabled(if: hasMounts, "a namespace of mounts takes privileges"))
    func aResolverThatNeverAnswersHoldsNobodyUp() throws {
        let folder = "/tmp/" + uniqueName()
        mkdir(folder, 0o755)
        defer { removeAll(folder) }
        // Loopback addresses are free of others' name servers for the most part.
        let server = "127.77.\(Int.random(in: 1...254)).\(Int.random(in: 1...254))"
        for (file, text) in [
            ("resolv.conf", "nameserver \(server)\noptions timeout:30 attempts:5\n"), ("nsswitch.conf", "hosts: dns\n"),
        ] {
            let descriptor = try FileDescriptor.open(
                FilePath(folder + "/" + file), .writeOnly, options: .create, permissions: [.ownerReadWrite, .otherRead])
            _ = try descriptor.closeAfter { try descriptor.writeAll(text.utf8) }
        }
        let script = """
            mount --bind "$1/resolv.conf" /etc/resolv.conf && mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf &&
            exec "$2" resolver "$3"
            """
        let peer = try Peer("unshare", ["--mount", "sh", "-c", script, "sh", folder, product("TestPeer"), server])
        let (status, text) = try peer.finish(within: .seconds(60))
        #expect(status == .exited(0))
        #expect(
            text == """
                codes ["timedOut"] in time true
                threads are few true
                the same name takes one more true
                trySend invalidArgument true
                literal done

                """, "\(text)")
    }
}
