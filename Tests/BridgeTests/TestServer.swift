#if NATS
    import Glibc
    import IPC
    import Synchronization
    import SystemPackage
    import TestSupport

    @testable import IPCBridge

    /// A folder of this test in /tmp, removed with its content when it is forgotten.
    final class TestFolder: Sendable {
        let path = "/tmp/" + uniqueName()

        init() throws {
            guard mkdir(path, 0o700) == 0 else { throw TestServerError.folder(path, errno) }
        }

        deinit { _ = try? ChildProcess("rm", ["-rf", path]).wait() }

        func write(_ name: String, _ text: String) throws -> String {
            let file = try FileDescriptor.open(
                FilePath(path + "/" + name), .writeOnly, options: [.create, .truncate], permissions: [.ownerReadWrite])
            try file.closeAfter { _ = try file.writeAll(text.utf8) }
            return path + "/" + name
        }
    }

    enum TestServerError: Error { case folder(String, Int32), port }

    /// A nats-server on loopback with JetStream in a folder of its own; it is killed with this object, or with this process.
    final class TestServer: Sendable {
        static let program =
            getenv("IPC_TEST_NATS_SERVER").map { String(cString: $0) } ?? ".build-python/bin/nats-server"

        let port: UInt16
        let folder: TestFolder
        private let configuration: String
        private let child = Mutex<ChildProcess?>(nil)
        private let guardian: ProcessGuardian

        var url: String { "nats://127.0.0.1:\(port)" }

        /// - Parameter more: Lines of the server's configuration beside where it listens and stores.
        init(_ more: String = "", name: String = "one", port: UInt16? = nil, folder: TestFolder? = nil) throws {
            let folder = try folder ?? TestFolder()
            self.folder = folder
            let port = try port ?? freePort()
            self.port = port
            guardian = try ProcessGuardian()
            configuration = try folder.write(
                name + ".conf",
                """
                server_name: \(name)
                listen: "127.0.0.1:\(port)"
                jetstream { store_dir: "\(folder.path)/\(name)", max_file: 4G, max_mem: 256M }
                log_file: "\(folder.path)/\(name).log"
                \(more)

                """)
            try start()
        }

        // Before the folder goes.
        deinit { kill() }

        /// Starts it, again on the same port and store.
        func start() throws {
            let started = try ChildProcess(
                Self.program, ["-c", configuration], environment: .inherited, workingDirectory: nil,
                standardError: .discarded, descriptors: [:], processGroup: .new, guardian: guardian)
            put(started)
        }

        private func put(_ started: consuming ChildProcess) {
            var taken: ChildProcess? = started
            child.withLock { $0 = taken.take() }
        }

        /// SIGKILL, and waits for its end.
        func kill() {
            child.withLock { child in
                // Its number may be another's as soon as it was waited for.
                if let number = child?.handle.identifier { guardian.forget(number) }
                child = nil
            }
        }

        func connect(_ name: String = "test") throws -> NATSConnection {
            try NATSConnection(ServerConfiguration(servers: [url]), name: name)
        }
    }

    /// Three servers that replicate to each other.
    final class TestCluster: Sendable {
        let servers: [TestServer]

        var urls: [String] { servers.map { $0.url } }

        init() throws {
            let folder = try TestFolder()
            let routes = try (0..<3).map { _ in try freePort() }
            let list = routes.map { "\"nats://127.0.0.1:\($0)\"" }.joined(separator: ", ")
            servers = try (0..<3).map { index in
                try TestServer(
                    "cluster { name: test, listen: \"127.0.0.1:\(routes[index])\", routes: [\(list)] }",
                    name: "s\(index)", folder: folder)
            }
        }

        func connect(_ name: String = "test") throws -> NATSConnection {
            try NATSConnection(ServerConfiguration(servers: urls), name: name)
        }
    }

    /// A port of loopback that nobody has now.
    func freePort() throws -> UInt16 {
        let descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
            }
        }
        guard isBound else { throw TestServerError.port }
        return UInt16(bigEndian: address.sin_port)
    }
#endif
