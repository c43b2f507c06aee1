import Glibc
import IPC
import NIOCore
import NIOPosix
import SystemPackage

/// A thousand connections that echo, served by this library's asynchronous calls and by SwiftNIO's `NIOAsyncChannel`, in
/// turn, each in a process of its own; prints messages per second of each, and the ratio.
///
///     swift run -c release EchoComparison [CONNECTIONS] [ROUNDS]
@main struct EchoComparison {
    static let size = 64

    static func main() async throws {
        let arguments = CommandLine.arguments.dropFirst()
        if arguments.first == "serve-ipc" { return try await serveWithIPC(arguments.last!) }
        if arguments.first == "serve-nio" { return try await serveWithNIO(arguments.last!) }
        let connections = arguments.first.flatMap(Int.init) ?? 1000
        let rounds = arguments.dropFirst().first.flatMap(Int.init) ?? 5
        var limit = rlimit(rlim_cur: 0, rlim_max: 0)
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)

        var rates: [String: [Double]] = [:]
        for _ in 0..<rounds {
            for server in ["serve-ipc", "serve-nio"] {
                rates[server, default: []].append(try measure(server, connections))
            }
        }
        let medians = rates.mapValues { $0.sorted()[$0.count / 2] }
        let (ours, theirs) = (medians["serve-ipc"]!, medians["serve-nio"]!)
        print("\(connections) connections, \(size) B, \(rounds) rounds in turn, echoes per second:")
        print("  swift-ipc        \(Int(ours))")
        print("  NIOAsyncChannel  \(Int(theirs))")
        print("  ratio            \((ours / theirs * 100).rounded() / 100)")
    }

    /// Starts a server, and drives all connections from one thread, one message at a time on each.
    private static func measure(_ server: String, _ count: Int) throws -> Double {
        let path = "/tmp/ipc-bench-echo-\(getpid()).sock"
        let child = try ChildProcess("/proc/self/exe", [server, path])
        defer {
            try? child.handle.send(.kill)
            _ = try? child.wait(until: .after(.seconds(10)))
            unlink(path)
        }
        let endpoint = Endpoint.unix(FilePath(path))
        var descriptors: [CInt] = []
        defer { for descriptor in descriptors { close(descriptor) } }
        while descriptors.count < count {
            do throws(IPCError) {
                descriptors.append(
                    try StreamSocket.connect(to: endpoint, until: .after(.seconds(5))).release().rawValue)
            } catch {
                guard [.notFound, .connectionRefused].contains(error.code) else { throw error }
                usleep(10_000)  // it is not there yet
            }
        }
        let message = [UInt8](repeating: 7, count: size)
        for descriptor in descriptors { write(descriptor, message, size) }
        var requests = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        var buffer = [UInt8](repeating: 0, count: 4096)
        let clock = ContinuousClock()
        func run(_ duration: Duration) -> Int {
            let end = clock.now + duration
            var echoes = 0
            while clock.now < end {
                poll(&requests, nfds_t(count), 1000)
                for request in requests where request.revents != 0 {
                    echoes += read(request.fd, &buffer, 4096) / size
                    write(request.fd, message, size)
                }
            }
            return echoes
        }
        _ = run(.milliseconds(300))
        return Double(run(.seconds(1)))
    }

    private static func serveWithIPC(_ path: String) async throws {
        let listener = try StreamListener(.unix(FilePath(path)), backlog: 4096)
        try await listener.serve(concurrency: 4096) { connection in
            var bytes = [UInt8](repeating: 0, count: 4096)
            while true {
                let count = try await receive(connection, &bytes)
                if count == 0 { return }
                try await connection.write(bytes.span.extracting(first: count).bytes)
            }
        }
    }

    private static nonisolated(nonsending) func receive(
        _ socket: borrowing StreamSocket, _ bytes: inout [UInt8]
    ) async throws(IPCError) -> Int {
        var elements = bytes.mutableSpan
        var buffer = elements.mutableBytes
        return try await socket.read(into: &buffer)
    }

    private static func serveWithNIO(_ path: String) async throws {
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.backlog, value: 4096)
            .bind(unixDomainSocketPath: path) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                }
            }
        try await withThrowingDiscardingTaskGroup { group in
            try await server.executeThenClose { clients in
                for try await client in clients {
                    group.addTask {
                        try await client.executeThenClose { inbound, outbound in
                            for try await bytes in inbound { try await outbound.write(bytes) }
                        }
                    }
                }
            }
        }
    }
}
