import ArgumentParser
import IPC
import IPCChannels

/// `ipc service`: requests, and replies from one of several servers.
struct ServiceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "service", abstract: "Serve and call: each request goes to one server, its reply to the caller.",
        discussion: """
            Examples:
              ipc service serve text/upper -- tr a-z A-Z
              echo hello | ipc service call text/upper

            A Swift program takes part as Service<RawBytes, RawBytes, CommandFailure>.
            """,
        subcommands: [Serve.self, Call.self, InfoCommand.self])

    typealias CommandService = Service<RawBytes, RawBytes, CommandFailure>

    struct Serve: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Answer each request with a command: the request is its standard input, its output the reply.",
            discussion: "An exit code that is not 0 travels to the caller as the failure.")

        @OptionGroup var channel: ChannelArgument
        @Option(name: .long, help: "How many commands run at a time.", transform: Numbers.positive) var concurrency = 4
        @Option(
            name: .long,
            help:
                "If so many calls wait that no server has taken, new ones fail at once. Fixed when the service is created; no limit if nothing is said.",
            transform: Numbers.positive)
        var maximumWaiting: Int?
        @OptionGroup var permissions: PermissionsOption
        @Argument(parsing: .postTerminator, help: "A command, after --.") var command: [String] = []

        /// More than commands have between SIGTERM and SIGKILL.
        var patience: Duration { .seconds(10) }

        func perform() async throws {
            let command = try CommandRun(command)
            var options = permissions.service
            options.maximumWaiting = maximumWaiting
            let service = try CommandService.create(channel.name, options)
            try await service.serve(concurrency: concurrency) { (request, _) async throws(CommandFailure) in
                do {
                    let (status, output) = try await command(request, outputLimit: 1 << 30)
                    switch status {
                    case .exited(0): return output
                    case .exited(let code): throw CommandFailure(code: code)
                    case .signaled(let signal): throw CommandFailure(code: 128 + signal.rawValue)
                    }
                } catch let failure as CommandFailure {
                    throw failure
                } catch {
                    printError("ipc: \(error)")
                    throw CommandFailure(code: 126)
                }
            }
        }
    }

    struct Call: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Call a service, and print its reply. The exit code is the server's.")

        @OptionGroup var channel: ChannelArgument
        @Argument(help: "The request. Without one, all of standard input.") var request: String?
        @Option(name: .long, help: "The most bytes that the reply may have.") var replyLimit = 65_536
        @Option(name: .long, help: "How often another server may do the call if one dies in it.") var retries = 0
        @OptionGroup var permissions: PermissionsOption
        @OptionGroup var timeout: TimeoutOption

        func perform() async throws {
            var bytes = Array((request ?? "").utf8)
            if request == nil { bytes = try await StandardInput.readToEnd() }
            var client = try CommandService.create(channel.name, permissions.service).makeClient()
            let result = try await unsafe client.call(
                bytes.span.bytes, replyLimit: replyLimit, until: timeout.deadline, retries: retries
            ) { $0.array }
            switch result {
            case .success(let reply): try MessageOutput.put(reply)
            // Never as success, whatever a server of another program has sent: an exit code has eight bits.
            case .failure(let failure): throw ExitCode(failure.code & 0xff == 0 ? 1 : failure.code)
            }
        }
    }
}

extension PermissionsOption {
    fileprivate var service: ServiceOptions {
        var options = ServiceOptions()
        options.permissions = permissions.value
        return options
    }
}
