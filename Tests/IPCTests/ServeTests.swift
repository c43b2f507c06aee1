import Glibc
import IPC
import Synchronization
import SystemPackage
import TestSupport
import Testing

/// Connections that are handled as they come, so many at a time.
@Suite(.timeLimit(.minutes(10))) struct ServeTests {
    private struct Refusal: Error, Equatable {
        let number: UInt8
    }

    /// How many handlers run.
    private final class Load: Sendable {
        private let now = Atomic(0)
        private let highest = Atomic(0)
        var most: Int { highest.load(ordering: .relaxed) }
        func begin() { highest.max(now.add(1, ordering: .relaxed).newValue, ordering: .relaxed) }
        func end() { now.subtract(1, ordering: .relaxed) }
    }

    private static func read(_ socket: borrowing StreamSocket, within: Duration = .seconds(60)) async throws -> [UInt8]
    {
        var bytes = [UInt8](repeating: 0, count: 16)
        var elements = bytes.mutableSpan
        var buffer = elements.mutableBytes
        let count = try await socket.read(into: &buffer, until: .after(within))
        return Array(bytes[..<count])
    }

    private static func newListener() throws -> (SharedReference<StreamListener>, Endpoint) {
        let address = Endpoint.unixAbstract(AbstractName(uniqueName()))
        return (SharedReference(try StreamListener(address)), address)
    }

    @Test func notMoreHandlersRunAtOnceThanAreAllowed() async throws {
        let (listener, address) = try Self.newListener()
        let load = Load()
        let server = Task {
            try await listener.value.serve(concurrency: 3) { connection in
                load.begin()
                defer { load.end() }
                try await connection.write(([1] as [UInt8]).span.bytes)
                _ = try await Self.read(connection)
            }
        }
        var clients: [SharedReference<StreamSocket>] = []
        for _ in 0..<9 {
            clients.append(SharedReference(try await StreamSocket.connect(to: address, until: .after(.seconds(60)))))
        }
        for client in clients[..<3] { #expect(try await Self.read(client.value) == [1]) }
        // The others wait until one has gone.
        await #expect(throws: IPCError.self) { try await Self.read(clients[3].value, within: .milliseconds(30)) }
        for index in 3..<9 {
            try clients[index - 3].value.finishWriting()
            #expect(try await Self.read(clients[index].value) == [1])
        }
        #expect(load.most == 3)
        server.cancel()
        try await server.value
    }

    @Test(arguments: [false, true]) func cancellationEndsItAtOnce(isBusy: Bool) async throws {
        let clock = ContinuousClock()
        var fastest = Duration.seconds(60)
        // The fastest of several: on a busy machine, a thread may have to wait for its turn.
        for _ in 0..<10 where fastest > .milliseconds(10) {
            let (listener, address) = try Self.newListener()
            let server = Task {
                try await listener.value.serve { connection in
                    try await connection.write(([1] as [UInt8]).span.bytes)
                    _ = try await Self.read(connection)
                }
            }
            var client: SharedReference<StreamSocket>?
            if isBusy {
                client = SharedReference(try await StreamSocket.connect(to: address, until: .after(.seconds(60))))
                #expect(try await Self.read(client!.value) == [1])
            }
            let start = clock.now
            server.cancel()
            try await server.value
            fastest = min(fastest, clock.now - start)
            // Closed by the server.
            if let client { #expect(try await Self.read(client.value).isEmpty) }
        }
        #expect(fastest < .milliseconds(10))
    }

    @Test func whatAHandlerThrowsIsToldAndEndsItsConnectionOnly() async throws {
        let (listener, address) = try Self.newListener()
        let told = Told()
        let server = Task {
            try await Self.serve(listener) { (refusal: Refusal) in told.all.withLock { $0.append(refusal) } }
        }
        for number in 0..<4 as Range<UInt8> {
            let client = try await StreamSocket.connect(to: address, until: .after(.seconds(60)))
            // Every other one is refused.
            #expect(try await Self.read(client) == (number % 2 == 0 ? [number] : []))
            if number % 2 == 0 { #expect(try await Self.read(client).isEmpty) }
        }
        server.cancel()
        try await server.value
        #expect(told.all.withLock { $0 } == [Refusal(number: 1), Refusal(number: 3)])
    }

    private static func serve(
        _ listener: SharedReference<StreamListener>, told: @escaping @Sendable (Refusal) -> Void
    ) async throws {
        let next = SharedReference(Next())
        try await listener.value.serve(onFailure: told) { (connection) async throws(Refusal) in
            let own = next.value.number.add(1, ordering: .relaxed).oldValue
            guard own % 2 == 0 else { throw Refusal(number: own) }
            do { try await connection.write([own].span.bytes) } catch { throw Refusal(number: 99) }
        }
    }

    private final class Told: Sendable {
        let all = Mutex<[Refusal]>([])
    }

    private struct Next: ~Copyable, Sendable {
        let number = Atomic<UInt8>(0)
    }

    @Test func whatNobodyAskedToBeToldOfIsWrittenToStandardError() throws {
        let name = uniqueName()
        let errors = try AnonymousPipe()
        let server = try Peer.role("serve-failing", "unix-abstract:\(name)", descriptors: [2: errors.writer.descriptor])
        _ = try server.said()
        let client = try StreamSocket.connect(to: .unixAbstract(AbstractName(name)), until: .after(.seconds(20)))
        #expect(try client.readToEnd(until: .after(.seconds(20))).isEmpty)
        let line = try bytes(capacity: 4096) { (buffer) throws(IPCError) in
            try errors.reader.read(into: &buffer, until: .after(.seconds(20)))
        }
        let text = String(decoding: line, as: UTF8.self)
        // In one line, whatever the error's text has.
        #expect(text.hasSuffix("\n") && text.dropLast().contains("\n") == false, "\(text)")
        #expect(text.contains(name) && text.contains("coffee"), "\(text)")
        try server.kill()
    }

    @Test func aThousandConnectionsLeaveNoDescriptor() throws {
        let (status, text) = try Peer.role("serve-many", "unix-abstract:\(uniqueName())").finish(within: .seconds(300))
        #expect(status == .exited(0))
        #expect(text == "served 1000 left 0\n")
    }

    @Test func withoutADescriptorItGoesOnWhenAHandlerHasEnded() throws {
        let name = uniqueName()
        let server = try Peer.role("serve-exhausted", "unix-abstract:\(name)")
        _ = try server.said()
        var clients: [SharedReference<StreamSocket>] = []
        for _ in 0..<8 {
            let address = Endpoint.unixAbstract(AbstractName(name))
            clients.append(SharedReference(try StreamSocket.connect(to: address, until: .after(.seconds(20)))))
        }
        for index in clients.indices {
            let got = try bytes(capacity: 8) { (buffer) throws(IPCError) in
                try clients[index].value.read(into: &buffer, until: .after(.seconds(20)))
            }
            #expect(got == [1])
            try clients[index].value.finishWriting()
        }
        try server.kill()
    }

    @Test func packetsAreServedToo() async throws {
        let address = Endpoint.unixAbstract(AbstractName(uniqueName()))
        let listener = SharedReference(try PacketListener(address))
        let server = Task {
            try await listener.value.serve { connection in try await connection.send(([7] as [UInt8]).span.bytes) }
        }
        let client = try PacketSocket.connect(to: address, until: .after(.seconds(60)))
        let got = try bytes(capacity: 8) { (buffer) throws(IPCError) in
            try client.receive(into: &buffer, until: .after(.seconds(60)))
        }
        #expect(got == [7])
        server.cancel()
        try await server.value
    }

    @Test func noHandlersAtAllIsAnError() async throws {
        let (listener, _) = try Self.newListener()
        do {
            try await listener.value.serve(concurrency: 0) { _ in }
            Issue.record("it serves without handlers")
        } catch {
            #expect(error.code == .invalidArgument)
        }
    }
}
