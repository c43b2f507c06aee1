import ArgumentParser
import Glibc
import IPC
import SystemPackage

extension Endpoint {
    var isUnixSocket: Bool {
        switch self {
        case .unix, .unixAbstract: true
        case .tcp, .udp: false
        }
    }
}

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

    static func check(_ credentials: Bool, _ endpoint: Endpoint) throws {
        if credentials, !endpoint.isUnixSocket {
            throw ValidationError(
                "--credentials needs a Unix socket; the kernel does not know the peer of other sockets.")
        }
    }

    struct Listen: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Accept a connection; send standard input, and print what arrives.",
            discussion: """
                A descriptor that the peer passes is reported on standard error; what can be read from it within a second is \
                printed, up to 1 MiB. With UDP, one datagram is printed; with --keep, all of them, a line each.

                With --exec, each command is a process group of its own. When this program ends, for whatever reason, the \
                commands end too, with the processes that they started: by SIGTERM, and after two seconds by SIGKILL; or at once \
                if this program was killed.
                """)

        @Argument(help: "tcp://HOST:PORT, udp://HOST:PORT, unix:///PATH, or unix-abstract:NAME.") var endpoint: Endpoint
        @Flag(help: "Accept further connections after the first.") var keep = false
        @Flag(help: "Print the peer's process, user and group, as reported by the kernel.") var credentials = false
        @Option(help: "Run this command for each connection, as its standard input and output.") var exec: String?
        @OptionGroup var timeout: TimeoutOption

        /// More than commands have between SIGTERM and SIGKILL.
        var patience: Duration { exec == nil ? .seconds(1) : .seconds(10) }

        func validate() throws {
            if case .udp = endpoint, exec != nil || credentials {
                throw ValidationError("--exec and --credentials need connections, and UDP has none.")
            }
            try SocketCommand.check(credentials, endpoint)
        }

        func perform() async throws {
            if case .udp = endpoint { return try await receiveDatagrams() }
            // Before the listener, so that the process that watches over commands has nothing of it.
            let commands = try exec.map { (script) throws(IPCError) in try ConnectionCommands(script) }
            do {
                try await acceptConnections(commands)
            } catch {
                await commands?.end()
                throw error
            }
            await commands?.end()
        }

        private func acceptConnections(_ commands: ConnectionCommands?) async throws {
            let listener = SharedReference(try StreamListener(endpoint))
            printError("ipc: listening on \(try listener.value.localEndpoint ?? endpoint)")
            repeat {
                let connection = SharedReference(try await listener.value.accept(until: timeout.deadline))
                do throws(IPCError) {
                    if credentials {
                        let peer = try connection.value.peerCredentials
                        printError("ipc: \(peer.text)")
                    }
                    if let commands {
                        try await commands.run(connection)
                    } else {
                        try await Conversation(connection).run()
                    }
                } catch {
                    // What one client does, such as to reset its connection, is no matter to the next.
                    guard keep, error.code != .cancelled, !error.resource.hasPrefix("standard ") else { throw error }
                    printError("ipc: \(error)")
                }
            } while keep
        }

        private func receiveDatagrams() async throws {
            let socket = SharedReference(try DatagramSocket(endpoint))
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
    }

    struct Connect: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Connect; send standard input, and print what arrives.",
            discussion: "With UDP, each line of standard input is sent as a datagram.")

        @Argument(help: "tcp://HOST:PORT, udp://HOST:PORT, unix:///PATH, or unix-abstract:NAME.") var endpoint: Endpoint
        @Option(name: .customLong("pass-fd"), help: "First pass this file, open for reading, to the peer.")
        var passed: String?
        @Flag(help: "Print the peer's process, user and group, as reported by the kernel.") var credentials = false
        @OptionGroup var timeout: TimeoutOption

        func validate() throws {
            if passed != nil, !endpoint.isUnixSocket {
                throw ValidationError("--pass-fd needs a Unix socket: unix:///PATH or unix-abstract:NAME.")
            }
            try SocketCommand.check(credentials, endpoint)
        }

        func perform() async throws {
            if case .udp = endpoint { return try await sendDatagrams() }
            let connection = SharedReference(try await StreamSocket.connect(to: endpoint, until: timeout.deadline))
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
            let socket = SharedReference(try DatagramSocket.connect(to: endpoint, until: timeout.deadline))
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
