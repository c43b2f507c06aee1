import Glibc
import IPC
import SystemPackage

/// Host names where the system's resolver gets no answer: a name server that takes each question and is silent.
enum ResolverRoles {
    private static func threadCount() -> Int { (try? namesInFolder("/proc/self/task").count) ?? -1 }

    private static func time(_ body: () async throws -> Void) async -> (String, Duration) {
        let start = ContinuousClock.now
        do { try await body() } catch {
            return ((error as? IPCError)?.code.rawValue ?? "\(error)", ContinuousClock.now - start)
        }
        return ("done", ContinuousClock.now - start)
    }

    // Synchronous, so that the blocking calls are meant.
    private static func send(_ socket: borrowing DatagramSocket, _ host: String, _ milliseconds: Int) throws {
        try socket.send(
            ([1] as [UInt8]).span.bytes, to: .udp(host: host, port: 9), until: .after(.milliseconds(milliseconds)))
    }

    private static func connect(_ host: String) throws {
        _ = try StreamSocket.connect(to: .tcp(host: host, port: 9), until: .after(.milliseconds(20)))
    }

    private static func sendToLiteral(_ socket: borrowing DatagramSocket, _ host: String) throws {
        try socket.send(([1] as [UInt8]).span.bytes, to: .udp(host: host, port: 53), until: .after(.seconds(5)))
        _ = try socket.trySend(([1] as [UInt8]).span.bytes, to: .udp(host: host, port: 53))
    }

    /// - Parameter server: An address of this machine, which `resolv.conf` names.
    static func run(_ server: String) async throws {
        let silent = try DatagramSocket(.udp(host: server, port: 53))
        let socket = try DatagramSocket(.udp(host: "127.0.0.1", port: 0))
        let byte: [UInt8] = [1]
        // Asks as the calls below do, so that what belongs to them is there.
        let before = threadCount()
        var (codes, longest) = (Set<String>(), Duration.zero)
        for number in 0..<120 {
            let host = "host-\(number).example"
            let (code, took) = await time {
                switch number % 4 {
                case 0: try send(socket, host, 20)
                case 1: try connect(host)
                case 2:
                    try await socket.send(
                        byte.span.bytes, to: .udp(host: host, port: 9), until: .after(.milliseconds(20)))
                default:
                    _ = try await StreamSocket.connect(to: .tcp(host: host, port: 9), until: .after(.milliseconds(20)))
                }
            }
            codes.insert(code)
            longest = max(longest, took)
        }
        print("codes", codes.sorted(), "in time", longest < .seconds(2))
        print("threads are few", threadCount() - before <= 24)
        let asked = threadCount()
        for _ in 0..<20 { _ = await time { try send(socket, "same.example", 5) } }
        print("the same name takes one more", threadCount() - asked <= 1)
        let (code, took) = await time {
            _ = try socket.trySend(byte.span.bytes, to: .udp(host: "late.example", port: 9))
        }
        print("trySend", code, took < .seconds(1))
        // What needs no answer is as before.
        let literal = await time { try sendToLiteral(socket, server) }
        print("literal", literal.0)
        withExtendedLifetime(silent) {}
        fflush(nil)
    }
}
