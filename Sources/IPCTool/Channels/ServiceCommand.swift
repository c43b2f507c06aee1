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
              ipc service serve greet -- sh -c 'echo "hello $IPC_METADATA_NAME"'
              ipc service call greet '' --metadata name=Ada

            In Swift, such a service is a ServiceChannel<RawBytes, RawBytes, CommandFailure>.
            """,
        subcommands: [Serve.self, Call.self, InfoCommand.self])

    typealias CommandService = ServiceChannel<RawBytes, RawBytes, CommandFailure>

    struct Serve: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Answer each request with a command: standard input is the request, standard output the reply.",
            discussion: """
                An exit code other than 0 is passed to the caller, as its failure.

                The command's environment describes its call:
                  IPC_ATTEMPT         number of the delivery: more than 1 if a server died
                  IPC_METADATA_KEY    value of the caller's --metadata key=value, for each key
                  IPC_CALLER_PID      the calling process
                  IPC_CALLER_USER     user number of that process, as reported by the kernel
                The caller states its metadata and process; nothing verifies them. In a service of one user (--permissions 0600), \
                the caller is that user or the superuser; in a service for a group, each member can call in the name of another \
                (Documentation/roles.md). The last two are missing if the kernel cannot identify the caller: in another pid \
                namespace, or after it has ended. Metadata is left out if its key has characters other than letters, digits and _, \
                if its value has a NUL, or if keys differ only in case.
                """)

        @OptionGroup var channel: ChannelArgument
        @Option(name: .long, help: "Maximum number of commands at a time. (default: 4)", transform: Numbers.positive)
        var concurrency = 4
        @OptionGroup var creation: ServiceCreationOptions
        @Argument(parsing: .postTerminator, help: "Command and arguments, after --.") var command: [String] = []

        /// More than commands have between SIGTERM and SIGKILL.
        var patience: Duration { .seconds(10) }

        func prepare() { CallEnvironment.forgetInherited() }

        func perform() async throws {
            let command = try CommandRun(command)
            let service = try CommandService.openOrCreate(channel.name, creation.options)
            try await service.serve(concurrency: concurrency) { (request, call) async throws(CommandFailure) in
                do {
                    let (status, output) = try await command(
                        request, environment: CallEnvironment.variables(call), outputLimit: 1 << 30)
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
            abstract: "Call a service, and print its reply. The exit code is the server's.",
            discussion: """
                If the service has no server after a second, a note on standard error says so.

                Exit codes of this command itself: 3 if no reply arrived before --timeout; 75 if the maximum number of calls is \
                waiting (ipc service serve --maximum-waiting).
                """)

        @OptionGroup var channel: ChannelArgument
        @Argument(help: "The request; by default, all of standard input.") var request: String?
        @Option(
            name: .long, help: "Maximum reply size in bytes. (default: 65536)",
            transform: Numbers.whole(0...Int(Int32.max)))
        var replyLimit = 65_536
        @Option(
            name: .long, help: "How often the call may be repeated if its server dies, at most 127. (default: 0)",
            transform: Numbers.whole(0...127))
        var retries = 0
        @Option(
            name: .long,
            help: ArgumentHelp(
                "Text sent with the request, for IPC_METADATA_KEY; may be repeated. A key has only letters, digits and _.",
                valueName: "key=value"),
            transform: CallEnvironment.pair)
        var metadata: [CallEnvironment.Pair] = []
        @Flag(name: .long, help: "Fail at once, with exit code 75, if no server has joined.") var requireServer = false
        @OptionGroup var creation: ServiceCreationOptions
        @OptionGroup var timeout: TimeoutOption

        func validate() throws {
            var names: Set<String> = []
            for pair in metadata where !names.insert(pair.key.uppercased()).inserted {
                throw ValidationError("--metadata \(pair.key): the key is given twice; case makes no difference.")
            }
        }

        func perform() async throws {
            var bytes = Array((request ?? "").utf8)
            if request == nil { bytes = try await StandardInput.readToEnd() }
            let options = CallOptions(
                retries: retries,
                metadata: Dictionary(uniqueKeysWithValues: metadata.map { ($0.key, $0.value) }),
                requiresServer: requireServer)
            var client = try CommandService.openOrCreate(channel.name, creation.options).makeClient()
            let note = WaitNote { [name = channel.name] in
                Hindrance.hasReader(name) ? nil : "\(name): the service has no server now; waiting"
            }
            defer { note.end() }
            let result = try await unsafe client.call(
                bytes.span.bytes, replyLimit: replyLimit, options, until: timeout.deadline
            ) { $0.array }
            switch result {
            case .success(let reply): try MessageOutput.put(reply)
            // Never as success, whatever a server of another program has sent: an exit code has eight bits.
            case .failure(let failure): throw ExitCode(failure.code & 0xff == 0 ? 1 : failure.code)
            }
        }
    }
}
