import Glibc
import IPC
import SystemPackage

/// What sockets and names do in a process that was started, or is limited, in an unusual way.
enum SocketRoles {
    private static var switches: Int {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return Int(usage.ru_nvcsw)
    }

    /// Sends to a receiver whose queue is full, until half a second has passed: how it ended, and how often it slept.
    static func fullReceiver(_ name: String, isAsync: Bool) async throws {
        let receiver = Endpoint.unixAbstract(AbstractName(name))
        let full = try DatagramSocket(receiver)
        let sender = try DatagramSocket(.unixAbstract(AbstractName(name + "-sender")))
        while try sender.trySend(([1] as [UInt8]).span.bytes, to: receiver) {}
        let (start, before) = (ContinuousClock.now, switches)
        var code = "no error"
        do throws(IPCError) {
            if isAsync {
                try await sender.send(([2] as [UInt8]).span.bytes, to: receiver, until: .after(.milliseconds(500)))
            } else {
                try block(sender, receiver)
            }
        } catch {
            code = "\(error.code)"
        }
        let elapsed = ContinuousClock.now - start
        let isOnTime = elapsed >= .milliseconds(450) && elapsed < .seconds(5)
        TestPeer.say("\(code) \(isOnTime ? "on time" : "\(elapsed)") \(switches - before < 100 ? "asleep" : "busy")")
        withExtendedLifetime(full) {}
    }

    private static func block(_ sender: borrowing DatagramSocket, _ receiver: Endpoint) throws(IPCError) {
        try sender.send(([2] as [UInt8]).span.bytes, to: receiver, until: .after(.milliseconds(500)))
    }

    /// Connects to a name, in both ways: where it came to, or why not, and whether that was soon.
    static func connect(_ endpoint: Endpoint, milliseconds: Int) async throws {
        for isAsync in [false, true] {
            let start = ContinuousClock.now
            var outcome: String
            do throws(IPCError) {
                outcome = try await remote(endpoint, .after(.milliseconds(milliseconds)), isAsync)
            } catch {
                outcome = "\(error.code) at \(error.operation)"
            }
            let elapsed = ContinuousClock.now - start
            TestPeer.say(outcome + (elapsed < .milliseconds(milliseconds) + .seconds(3) ? " soon" : " \(elapsed)"))
        }
    }

    private static func remote(_ endpoint: Endpoint, _ deadline: Deadline, _ isAsync: Bool) async throws(IPCError)
        -> String
    {
        guard isAsync else { return try blockingRemote(endpoint, deadline) }
        let socket = try await StreamSocket.connect(to: endpoint, until: deadline)
        return try socket.remoteEndpoint?.description ?? "nowhere"
    }

    private static func blockingRemote(_ endpoint: Endpoint, _ deadline: Deadline) throws(IPCError) -> String {
        let socket = try StreamSocket.connect(to: endpoint, until: deadline)
        return try socket.remoteEndpoint?.description ?? "nowhere"
    }

    /// Serves a relative path, and goes elsewhere before it ends.
    static func relativePath(_ folder: String, _ other: String) throws {
        guard chdir(folder) == 0 else { fatalError("no folder") }
        let listener = try StreamListener(.unix("socket"))
        TestPeer.say("\(try listener.localEndpoint!)")
        guard chdir(other) == 0 else { fatalError("no folder") }
        listener.close()
        TestPeer.say("left \(access(folder + "/socket", F_OK) == 0), other \(access(other + "/socket", F_OK) == 0)")
    }

    /// Descriptors 0 to 2 are closed. Reports to descriptor 3, and reads no name of another test.
    static func closedDescriptors(_ name: String) throws {
        let report = FileDescriptor(rawValue: 3)
        let endpoint = Endpoint.unixAbstract(AbstractName(name))
        let listener = try StreamListener(endpoint)
        let client = try StreamSocket.connect(to: endpoint)
        let server = try listener.accept()
        try client.send(([1] as [UInt8]).span.bytes, descriptors: [report, report])
        var passed = ReceivedDescriptors()
        var byte: [UInt8] = [0]
        var elements = byte.mutableSpan
        var buffer = elements.mutableBytes
        _ = try server.receive(into: &buffer, descriptors: &passed)
        let first = passed.takeFirst()!
        let second = passed.takeFirst()!
        let datagrams = try DatagramSocket(.udp(host: "127.0.0.1", port: 0))
        let memory = try SharedMemory.create("/" + name, byteCount: 4096)
        try SharedMemory.unlink("/" + name)
        let queue = try MessageQueue.create("/" + name, maximumMessages: 1, messageSize: 8)
        try MessageQueue.unlink("/" + name)
        let process = try server.peerProcess()
        let all = [
            listener.descriptor, client.descriptor, server.descriptor, first.descriptor, second.descriptor,
            datagrams.descriptor, memory.descriptor, queue.descriptor, process.descriptor,
        ]
        try report.writeAll("above \(all.allSatisfy { $0.rawValue > 2 })\n".utf8)
        try report.writeAll(exhausted(name, server).utf8)
    }

    /// Only the numbers 0 to 2 are free: what is opened cannot be moved above them, and nothing of it stays.
    private static func exhausted(_ name: String, _ socket: borrowing StreamSocket) -> String {
        let highest = fcntl(3, F_DUPFD, 3)
        close(highest)
        var limit = rlimit(rlim_cur: rlim_t(highest), rlim_max: rlim_t(highest))
        setrlimit(__rlimit_resource_t(7), &limit)
        let path = "/tmp/" + name
        var lines: [String] = []
        func attempt(_ what: String, _ body: () throws(IPCError) -> Void) {
            do throws(IPCError) {
                try body()
                lines.append("\(what) no error")
            } catch {
                if error.code != .limitReached { lines.append("\(what) \(error)") }
            }
        }
        attempt("socket") { () throws(IPCError) in _ = try DatagramSocket(.udp(host: "127.0.0.1", port: 0)) }
        attempt("memory") { () throws(IPCError) in _ = try SharedMemory.create("/" + name, byteCount: 4096) }
        attempt("queue") { () throws(IPCError) in
            _ = try MessageQueue.create("/" + name, maximumMessages: 1, messageSize: 8)
        }
        attempt("file") { () throws(IPCError) in _ = try MappedFile.create(FilePath(path), byteCount: 4096) }
        let open = (0...2).filter { fcntl($0, F_GETFD) >= 0 }
        if shm_unlink("/" + name) == 0 { lines.append("memory left") }
        do throws(IPCError) {
            try MessageQueue.unlink("/" + name)
            lines.append("queue left")
        } catch {}
        if unlink(path) == 0 { lines.append("file left") }
        return (lines + ["open \(open.count)"]).joined(separator: "; ") + "\n"
    }
}
