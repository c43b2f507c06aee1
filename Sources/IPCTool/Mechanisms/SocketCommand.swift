import ArgumentParser
import Glibc
import IPC
import SystemPackage

extension Endpoint: ExpressibleByArgument {
    public init?(argument: String) {
        guard let endpoint = try? Endpoint(argument) else { return nil }
        self = endpoint
    }
}

/// `ipc socket`: stream sockets, TCP and Unix.
struct SocketCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "socket", abstract: "Listen and connect: TCP, UDP and Unix sockets.",
        discussion: """
            Examples:
              ipc socket listen unix:///tmp/app.sock --keep --credentials
              ipc socket listen tcp://127.0.0.1:9000 --keep --exec cat
              echo hello | ipc socket connect tcp://127.0.0.1:9000
              ipc socket connect unix:///tmp/app.sock --pass-fd /etc/hostname
              ipc socket listen udp://127.0.0.1:9000 --keep
            """,
        subcommands: [Listen.self, Connect.self])

    struct Listen: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Accept a connection, and join it with standard input and output.",
            discussion: """
                A descriptor that the other side passes is told on standard error, and what can be read from it is printed. Of
                UDP, one datagram is printed, a line each with --keep.
                """)

        @Argument(help: "tcp://HOST:PORT, udp://HOST:PORT, unix:///PATH, or unix-abstract:NAME.") var endpoint: Endpoint
        @Flag(help: "Go on with the next connection after the first.") var keep = false
        @Flag(help: "Tell who connected: process, user and group, on the kernel's word.") var credentials = false
        @Option(help: "Give each connection to this command, as its standard input and output.") var exec: String?
        @OptionGroup var timeout: TimeoutOption

        func perform() async throws {
            if case .udp = endpoint { return try await receiveDatagrams() }
            let listener = Shared(try StreamListener(endpoint))
            printError("ipc: listening on \(try listener.value.localEndpoint ?? endpoint)")
            repeat {
                let connection = Shared(try await listener.value.accept(until: timeout.deadline))
                if credentials {
                    let peer = try connection.value.peerCredentials
                    printError("ipc: \(peer.text)")
                }
                if let exec {
                    try await run(exec, connection)
                } else {
                    try await Conversation(connection).run()
                }
            } while keep
        }

        private func receiveDatagrams() async throws {
            let socket = Shared(try DatagramSocket(endpoint))
            printError("ipc: listening on \(try socket.value.localEndpoint ?? endpoint)")
            repeat {
                let bytes = try await Self.receive(socket.value, until: timeout.deadline)
                try MessageOutput(framing: .lines).write(bytes)
            } while keep
        }

        private static nonisolated(nonsending) func receive(
            _ socket: borrowing DatagramSocket, until deadline: Deadline
        ) async throws(IPCError) -> [UInt8] {
            var bytes = [UInt8](repeating: 0, count: 65_536)
            var elements = bytes.mutableSpan
            var buffer = unsafe elements.mutableBytes
            let count = try await socket.receiveBytes(into: &buffer, until: deadline)
            return Array(bytes[..<count])
        }

        private func run(_ command: String, _ connection: Shared<StreamSocket>) async throws {
            let descriptor = connection.value.descriptor
            let child = Shared(
                try ChildProcess("/bin/sh", ["-c", command], descriptors: [0: descriptor, 1: descriptor]))
            do {
                _ = try await child.value.wait()
            } catch {
                try? child.value.handle.send(.terminate)
                throw error
            }
        }
    }

    struct Connect: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Connect, and join the connection with standard input and output.",
            discussion: "To UDP, each line of standard input is sent as a datagram.")

        @Argument(help: "tcp://HOST:PORT, udp://HOST:PORT, unix:///PATH, or unix-abstract:NAME.") var endpoint: Endpoint
        @Option(name: .customLong("pass-fd"), help: "Pass this file, open for reading, to the other side first.")
        var passed: String?
        @Flag(help: "Tell who listens: process, user and group, on the kernel's word.") var credentials = false
        @OptionGroup var timeout: TimeoutOption

        func perform() async throws {
            if case .udp = endpoint { return try await sendDatagrams() }
            let connection = Shared(try await StreamSocket.connect(to: endpoint, until: timeout.deadline))
            if credentials {
                let peer = try connection.value.peerCredentials
                printError("ipc: \(peer.text)")
            }
            if let passed {
                let raw = unsafe Glibc.open(passed, O_RDONLY | O_CLOEXEC)
                guard raw >= 0 else { throw IPCError("open", passed, Errno(rawValue: errno)) }
                let file = OwnedDescriptor(adopting: FileDescriptor(rawValue: raw))
                try connection.value.send(
                    unsafe ([0] as [UInt8]).span.bytes, descriptors: [file.descriptor], until: timeout.deadline)
            }
            try await Conversation(connection).run()
        }

        private func sendDatagrams() async throws {
            let socket = Shared(try DatagramSocket.connect(to: endpoint, until: timeout.deadline))
            var input = MessageInput(.lines)
            while let message = try await input.next() {
                try await unsafe socket.value.send(message.span.bytes, until: timeout.deadline)
            }
        }
    }
}

extension PeerCredentials {
    fileprivate var text: String {
        "process \(process.map { "\($0)" } ?? "of another pid namespace"), user \(user), group \(group)"
    }
}

/// A connection, joined with standard input and output.
private struct Conversation {
    private let connection: Shared<StreamSocket>

    init(_ connection: Shared<StreamSocket>) { self.connection = connection }

    /// Ends when the other side has finished writing.
    func run() async throws {
        let connection = connection
        let sending = Task {
            while true {
                let bytes = try await StandardInput.read()
                if bytes.isEmpty { return try connection.value.finishWriting() }
                try await unsafe connection.value.write(bytes.span.bytes)
            }
        }
        defer { sending.cancel() }
        while true {
            let bytes = try await Self.read(connection)
            if bytes.isEmpty { return }
            try MessageOutput.put(bytes)
        }
    }

    private static func read(_ connection: Shared<StreamSocket>) async throws(IPCError) -> [UInt8] {
        let socket = connection.value.descriptor.rawValue
        try await Reactor.wait(for: .readable, of: socket, until: .never, "read", "connection")
        var chunk = [UInt8](repeating: 0, count: 65_536)
        var elements = chunk.mutableSpan
        var buffer = unsafe elements.mutableBytes
        let isLocal = (try? connection.value.peerCredentials) != nil
        guard isLocal else {
            let count = try await connection.value.read(into: &buffer)
            return Array(chunk[..<count])
        }
        var descriptors = ReceivedDescriptors()
        let count = try connection.value.receive(into: &buffer, descriptors: &descriptors)
        while let descriptor = descriptors.takeFirst() {
            printError("ipc: got a descriptor: \(Self.name(descriptor.descriptor.rawValue))")
            // It is what was asked to be passed: show it.
            if let content = try? Self.content(descriptor) { try? MessageOutput.put(content) }
            if count == 1 { return try await read(connection) }
        }
        return Array(chunk[..<count])
    }

    private static func name(_ descriptor: CInt) -> String {
        var path = [CChar](repeating: 0, count: 4096)
        let count = unsafe readlink("/proc/self/fd/\(descriptor)", &path, path.count - 1)
        return String(decoding: path.prefix(max(count, 0)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func content(_ descriptor: borrowing OwnedDescriptor) throws -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe Glibc.read(descriptor.descriptor.rawValue, &chunk, chunk.count)
            if count <= 0 { return bytes }
            bytes += chunk[..<count]
        }
    }
}
