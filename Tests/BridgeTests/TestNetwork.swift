#if NATS
    import Foundation
    import Glibc
    import IPC
    import IPCBridge
    import IPCChannels
    import Synchronization
    import SystemPackage
    import TestSupport
    import Testing

    /// A server, and machines with bridges, of one test: a machine is a root of channels and a process that runs a bridge.
    ///
    /// All of it is on this host, and goes with the test.
    final class TestNetwork: Sendable {
        private struct State {
            var server: RunningChild?
            var machines: [TestMachine] = []
        }

        /// The server's program, or nothing if the tests that need one cannot run.
        static let serverProgram =
            getenv("IPC_TEST_NATS_SERVER").map { String(cString: $0) }
            ?? (access(TestServer.program, X_OK) == 0 ? TestServer.program : nil)

        let folder: String
        let port: Int
        private let state = Mutex(State())

        init() throws {
            folder = "/tmp/" + uniqueName()
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
            port = try Self.freePort()
            try startServer()
        }

        /// A port that nobody listens to.
        private static func freePort() throws -> Int {
            let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            defer { close(socket) }
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let result = withUnsafeMutablePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(socket, $0, length) == 0 ? getsockname(socket, $0, &length) : -1
                }
            }
            try #require(result == 0)
            return Int(UInt16(bigEndian: address.sin_port))
        }

        func startServer() throws {
            let program = try #require(Self.serverProgram, "IPC_TEST_NATS_SERVER does not name a NATS server")
            let child = try RunningChild(
                program,
                ["-a", "127.0.0.1", "-p", "\(port)", "-js", "-sd", folder + "/jetstream", "-l", folder + "/server.log"])
            state.withLock { $0.server = child }
        }

        /// The server's store is lost: it starts again with an empty one.
        func loseStore() throws {
            killServer()
            try FileManager.default.removeItem(atPath: folder + "/jetstream")
            try startServer()
        }

        func killServer() { state.withLock { $0.server.take() }?.kill() }

        func signalServer(_ signal: Signal) throws { try state.withLock { try $0.server?.send(signal) } }

        /// - Parameter file: What its files are called, where several machines have one name.
        func machine(_ name: String, file: String? = nil) -> TestMachine {
            let machine = TestMachine(name, file: file ?? name, in: self)
            state.withLock { $0.machines.append(machine) }
            return machine
        }

        /// Ends all processes, and removes all files.
        func end() {
            let machines = state.withLock { $0.machines }
            for machine in machines { machine.end() }
            killServer()
            try? FileManager.default.removeItem(atPath: folder)
        }
    }

    final class TestMachine: Sendable {
        let name: String
        let root: ChannelRoot
        private let file: String
        private let network: TestNetwork
        private let bridge = Mutex<RunningChild?>(nil)

        /// - Parameters:
        ///   - file: What its configuration and its log are named after; nil for its name.
        ///   - root: That of another machine; nil for one of its own.
        init(_ name: String, file: String? = nil, in network: TestNetwork, root: ChannelRoot? = nil) {
            self.name = name
            self.file = file ?? name
            self.network = network
            self.root = root ?? ChannelRoot(FilePath("/dev/shm/\(uniqueName())"))
        }

        private var configuration: String { "\(network.folder)/\(file).json" }

        /// Says what is carried.
        ///
        /// - Parameters:
        ///   - rules: The content of `channels`.
        ///   - other: A network with another server than that of its own.
        func configure(_ rules: String, at other: TestNetwork? = nil) throws {
            let port = other?.port ?? network.port
            let json =
                #"{"machine": "\#(name)", "servers": ["nats://127.0.0.1:\#(port)"], "channels": [\#(rules)]}"#
            try json.write(toFile: configuration, atomically: true, encoding: .utf8)
        }

        /// - Parameter killPoint: Where the bridge dies, as `KillPoint` says.
        func startBridge(killedAt killPoint: String? = nil) throws {
            let child = try RunningChild(
                product("ipc-bridge"), ["run", "--config", configuration],
                environment: ["IPC_ROOT": root.path, "IPC_BRIDGE_KILL_POINT": killPoint],
                log: "\(network.folder)/\(file).log")
            bridge.withLock { $0 = child }
        }

        /// Whether the bridge that was started has not ended.
        var isBridgeRunning: Bool { bridge.withLock { $0?.isRunning ?? false } }

        func killBridge() { bridge.withLock { $0.take() }?.kill() }

        func signalBridge(_ signal: Signal) throws { try bridge.withLock { try $0?.send(signal) } }

        /// Starts a worker or a server: `Tests/BridgePeer`.
        func startPeer(_ arguments: String...) throws -> Peer {
            let peer = try Peer(product("BridgePeer"), arguments, environment: ["IPC_ROOT=\(root.path)"])
            #expect(try peer.said().contains("ready"))
            return peer
        }

        /// What the bridge has logged.
        var log: String { (try? String(contentsOfFile: "\(network.folder)/\(file).log", encoding: .utf8)) ?? "" }

        /// What its bridge says of its carriers.
        func carriers() throws -> [JSONValue] {
            for report in try BridgeReport.all(in: root) {
                if case .array(let carriers)? = report.status["carriers"] { return carriers }
            }
            return []
        }

        /// Waits until the bridge has joined a topic.
        ///
        /// - Parameters:
        ///   - readers: Of the bridge and others: of a topic that blocks, a carrier has two.
        ///   - writers: Of the bridge and others: one for each other machine.
        func waitForParticipants(of channel: String, readers: Int, writers: Int) async throws {
            try await wait("\(name) carries \(channel); its bridge says \(log)") {
                let description = try ChannelDescription(ChannelName(channel), in: self.root)
                let living = description.participants.filter(\.isAlive)
                return living.count { $0.role == .reader } >= readers && living.count { $0.role == .writer } >= writers
            }
        }

        func end() {
            killBridge()
            try? FileManager.default.removeItem(atPath: root.path)
        }
    }

    /// A participant, in an array or beside another one.
    final class Box<Value: ~Copyable> {
        var value: Value
        init(_ value: consuming Value) { self.value = value }
    }

    /// A child process that can be killed from any task.
    final class RunningChild: Sendable {
        private let child: ChildProcess

        init(_ program: String, _ arguments: [String], environment: [String: String?] = [:], log: String? = nil) throws
        {
            var shell = ["-c", "exec \"$0\" \"$@\" >>\"${IPC_TEST_LOG:-/dev/null}\" 2>&1", program]
            shell += arguments
            child = try ChildProcess(
                "/bin/sh", shell, environment: .changing(environment.merging(["IPC_TEST_LOG": log]) { $1 }),
                standardInput: .empty)
        }

        func send(_ signal: Signal) throws { try child.handle.send(signal) }

        var isRunning: Bool { child.handle.isAlive }

        func kill() {
            try? child.handle.send(.kill)
            _ = try? child.wait(until: .after(.seconds(10)))
        }
    }

    /// Waits until something is so, and looks every 20 ms.
    func wait(
        _ what: @autoclosure () -> String, for time: Duration = .seconds(60), until isSo: () throws -> Bool
    ) async throws {
        let end = ContinuousClock.now + time
        while try !isSo() {
            try #require(ContinuousClock.now < end, "it took longer than \(time) until \(what())")
            try await Task.sleep(for: .milliseconds(20))
        }
    }
#endif
