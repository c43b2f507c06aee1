import Foundation
import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

/// How commands end that run until they are told to: in order, by each signal, with nothing left; and idle until then.
@Suite(.timeLimit(.minutes(15))) struct EndingTests {
    /// A root of its own, so that what is left shows.
    private let root = "/dev/shm/\(uniqueName())"
    private let socket = "/tmp/\(uniqueName())"
    private let fifo = "/tmp/\(uniqueName())"
    private let recording = "/tmp/\(uniqueName())"

    private var commands: [[String]] {
        [
            ["topic", "subscribe", "a"], ["queue", "work", "q"],
            ["queue", "work", "q", "--", "cat"], ["latest", "watch", "l"], ["event", "wait", "e"],
            ["service", "serve", "s", "--", "cat"], ["service", "call", "s", "x"], ["tap", "kept"],
            ["record", "kept", "-o", recording], ["top"], ["socket", "listen", "unix://\(socket)"],
            ["socket", "listen", "unix://\(socket)", "--keep"],
            ["socket", "listen", "unix://\(socket)", "--exec", "cat"],
            ["fifo", "read", fifo], ["fifo", "write", fifo, "x"], ["pipe", "--", "sleep 100"],
            ["signal", "trace", "USR1"],
            ["signal", "wait", "USR1"],
        ]
    }

    private func start(_ arguments: [String]) throws -> Tool { try Tool(arguments, environment: ["IPC_ROOT": root]) }

    private func makeKept() throws {
        mkfifo(fifo, 0o600)
        _ = try Topic<UInt64>.openOrCreate("kept", in: ChannelRoot(FilePath(root)), ChannelOptions(lifetime: .kept))
    }

    private func removeAll() throws {
        for path in [fifo, socket] { unlink(path) }
        for path in [root, recording] where access(path, F_OK) == 0 { try FileManager.default.removeItem(atPath: path) }
    }

    /// What there is of channels and files.
    private func left() -> [String] {
        let channels = (try? ChannelRoot(FilePath(root)).names().map(\.description)) ?? []
        return channels.filter { $0 != "kept" && $0 != "q" } + (access(socket, F_OK) == 0 ? [socket] : [])
    }

    /// Waits until the command has its signals, and what it opens.
    private func isRunning(_ tool: borrowing Tool) -> Bool {
        let process = tool.peer.child.handle.identifier
        return eventually {
            // It has threads of its own, and waits.
            let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/task")) ?? []
            return names.count >= 3
        }
    }

    @Test(arguments: [Signal.hangUp, .terminate, .interrupt])
    func eachCommandEndsInOrderAndLeavesNothing(signal: Signal) throws {
        try makeKept()
        for arguments in commands {
            let tool = try start(arguments)
            let isStarted = isRunning(tool)
            #expect(isStarted, "\(arguments)")
            usleep(100_000)
            try tool.peer.child.handle.send(signal)
            // Some end of themselves, such as a publisher whose input has ended.
            let outcome = try tool.finish()
            let isOrderly = outcome.status == .exited(128 + signal.rawValue) || outcome.status == .exited(0)
            #expect(isOrderly, "\(arguments): \(outcome.status) \(outcome.errors)")
            #expect(left() == [], "\(arguments)")
            if access(recording, F_OK) == 0 { try FileManager.default.removeItem(atPath: recording) }
        }
        try removeAll()
    }

    @Test(arguments: [Signal.hangUp, .terminate])
    func whoReadsNothingKeepsNoCommandFromEndingInOrder(signal: Signal) throws {
        try makeKept()
        let output = try AnonymousPipe(capacity: 4096)
        let listener = try ChildProcess(
            product("ipc"), ["socket", "listen", "unix://\(socket)"], descriptors: [1: output.writer.descriptor])
        #expect(eventually { access(socket, F_OK) == 0 })
        // The file is there a moment before anybody listens.
        let client = try connected()
        for _ in 0..<4 { _ = try client.tryWrite([UInt8](repeating: 65, count: 65_536).span.bytes) }
        #expect(eventually { (try? output.reader.availableBytes) == 4096 })
        try listener.handle.send(signal)
        #expect(try listener.wait(until: .after(.seconds(20))) == .exited(128 + signal.rawValue))
        #expect(access(socket, F_OK) != 0)
        try removeAll()
    }

    private func connected() throws -> StreamSocket {
        let deadline = Deadline.after(.seconds(20))
        while true {
            do throws(IPCError) {
                return try StreamSocket.connect(to: Endpoint("unix://\(socket)"), until: deadline)
            } catch {
                guard error.code == .connectionRefused, !deadline.hasPassed else { throw error }
                usleep(1000)
            }
        }
    }

    /// Ticks of 10 ms that a process has used, with its children.
    private func ticks(_ process: pid_t) throws -> Int {
        let text = try String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8)
        let fields = text[text.lastIndex(of: ")")!...].split(separator: " ")
        return Int(fields[12])! + Int(fields[13])!
    }

    @Test func idleCommandsUseNextToNoProcessor() throws {
        try makeKept()
        let tools = [
            ["record", "kept", "-o", recording], ["tap", "kept"], ["top"], ["topic", "subscribe", "a"],
            ["queue", "work", "q"],
            ["event", "wait", "e"], ["latest", "watch", "l"], ["service", "serve", "s", "--", "cat"], ["serve-ui"],
        ]
        // One after the other: each is measured for a time in which nothing is to be done.
        for arguments in tools {
            let tool = try start(arguments)
            let isStarted = isRunning(tool)
            #expect(isStarted, "\(arguments)")
            usleep(500_000)
            let process = tool.peer.child.handle.identifier
            var least = Int.max
            // A tick of two seconds is half a percent. A machine with much to do accounts badly: the best of three counts.
            for _ in 0..<10 where least > 4 {
                let before = try ticks(process)
                sleep(2)
                least = min(least, try ticks(process) - before)
            }
            #expect(least <= 4, "\(arguments): \(least) ticks in two seconds")
            try tool.peer.child.handle.send(.terminate)
            _ = try tool.finish()
        }
        try removeAll()
    }

    @Test(.enabled(if: getuid() == 0, "a pid namespace is needed"))
    func aPeerOfAnotherPidNamespaceHasAUserAndNoNumber() throws {
        let server = try Peer(
            "bash",
            ["-c", "exec unshare --pid --fork '\(product("ipc"))' socket listen unix://\(socket) --credentials 2>&1"])
        #expect(eventually { access(socket, F_OK) == 0 })
        let client = try connected()
        try client.finishWriting()
        let (status, text) = try server.finish()
        #expect(
            status == .exited(0) && text.contains("another pid namespace, user \(getuid()), group \(getgid())"),
            "\(text)")
        try removeAll()
    }

    /// Two commands share a standard input: the one that comes too late for a line ends in order still.
    @Test func commandsThatShareTheirInputEndInOrder() throws {
        let name = channelName()
        var subscription = try Topic<RawBytes>.openOrCreate(name, ChannelOptions(writers: .shared)).makeSubscription()
        let input = try AnonymousPipe()
        let peers = try (0..<2).map { _ in
            Running(
                try Peer(
                    product("ipc"), ["topic", "publish", name], descriptors: [0: input.reader.descriptor]))
        }
        for _ in 0..<20 {
            try input.writer.write(Array("line\n".utf8).span.bytes)
            let count = try subscription.receive(until: .after(.seconds(20))) { (payload) throws(IPCError) in
                payload.byteCount
            }
            #expect(count == 4)
        }
        for peer in peers { try peer.value.child.handle.send(.terminate) }
        for peer in peers { #expect(try peer.value.finish(within: .seconds(20)).status == .exited(143)) }
    }

    private final class Running {
        let value: Peer
        init(_ value: consuming Peer) { self.value = value }
    }
}
