import Glibc
import IPC
import Synchronization
import SystemPackage

/// Servers by `serve` in a process of their own.
enum ServeRoles {
    /// A thousand clients, twenty at a time, of a server that handles fifty. Says how many descriptors are open afterwards.
    static func many(_ address: Endpoint) async throws {
        // What is made once, such as the thread that waits, before the count.
        _ = try await session(address, clients: 20)
        let before = try await settledDescriptors()
        let served = try await session(address, clients: 1000)
        TestPeer.say("served \(served) left \(try await settledDescriptors() - before)")
    }

    /// How many descriptors are open once the count has stood still for a second: what a task's closure holds is given up a little
    /// after the task's value is there.
    private static func settledDescriptors() async throws -> Int {
        var (count, looks) = (openDescriptors(), 0)
        while looks < 10 {
            try await Task.sleep(for: .milliseconds(100))
            let now = openDescriptors()
            looks = now == count ? looks + 1 : 0
            count = now
        }
        return count
    }

    private static func session(_ address: Endpoint, clients: Int) async throws -> Int {
        let listener = SharedReference(try StreamListener(address))
        let handled = SharedReference(Counter())
        let server = Task {
            try await listener.value.serve(concurrency: 50) { connection in
                try await connection.write(([1] as [UInt8]).span.bytes)
                handled.value.count.wrappingAdd(1, ordering: .relaxed)
            }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<clients {
                if number >= 20 { try await group.next() }
                group.addTask { try await greet(address) }
            }
            try await group.waitForAll()
        }
        server.cancel()
        try await server.value
        return handled.value.count.load(ordering: .relaxed)
    }

    private struct Counter: ~Copyable, Sendable {
        let count = Atomic(0)
    }

    /// Connects, and reads until the server closes.
    private static func greet(_ address: Endpoint) async throws {
        let client = try await StreamSocket.connect(to: address, until: .after(.seconds(60)))
        var bytes: [UInt8] = [0, 0]
        var elements = bytes.mutableSpan
        var total = 0
        var buffer = elements.mutableBytes
        while case let count = try await client.read(into: &buffer, until: .after(.seconds(60))), count > 0 {
            total += count
        }
        guard total == 1 else { throw IPCTestError(text: "\(total) bytes") }
    }

    struct IPCTestError: Error {
        let text: String
    }

    /// A handler that throws, and nobody who was asked to be told.
    static func failing(_ address: Endpoint) async throws {
        let listener = SharedReference(try StreamListener(address))
        TestPeer.say("listening")
        try await listener.value.serve { _ in throw IPCTestError(text: "out of\ncoffee") }
    }

    /// Without descriptors for more than a few connections.
    static func exhausted(_ address: Endpoint) async throws {
        let listener = SharedReference(try StreamListener(address))
        // What the first wait opens.
        _ = try? await listener.value.accept(until: .after(.milliseconds(1)))
        let next = UInt(try AnonymousPipe().reader.descriptor.rawValue)
        var limit = rlimit(rlim_cur: next + 3, rlim_max: next + 3)
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        TestPeer.say("listening")
        try await listener.value.serve { connection in
            try await connection.write(([1] as [UInt8]).span.bytes)
            _ = try await end(connection)
        }
    }

    private static func end(_ connection: borrowing StreamSocket) async throws -> Int {
        var bytes: [UInt8] = [0]
        var elements = bytes.mutableSpan
        var buffer = elements.mutableBytes
        return try await connection.read(into: &buffer)
    }

    private static func openDescriptors() -> Int {
        guard let folder = opendir("/proc/self/fd") else { return -1 }
        defer { closedir(folder) }
        var count = 0
        while readdir(folder) != nil { count += 1 }
        return count
    }
}
