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

            In Swift it is a ServiceChannel<RawBytes, RawBytes, CommandFailure>.
            """,
        subcommands: [Serve.self, Call.self, InfoCommand.self])

    typealias CommandService = ServiceChannel<RawBytes, RawBytes, CommandFailure>

    struct Serve: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Answer each request with a command: the request is its standard input, its output the reply.",
            discussion: """
                An exit code that is not 0 travels to the caller as the failure.

                The command's environment has, of this call and no other:
                  IPC_ATTEMPT         which time it is handed out: more than 1 if a server died in it
                  IPC_METADATA_KEY    a value that the caller gave by --metadata key=value, for each key
                  IPC_CALLER_PID      the process that calls
                  IPC_CALLER_USER     the number of that process's user, as the kernel says
                Metadata, and which process it is, are the caller's word. In a service of one user (--permissions 0600) the caller is \
                that user, or the superuser; in one for a group each member can call in the name of another \
                (Documentation/roles.md). The last two are missing where the system does not tell: of a caller in another pid \
                namespace, or one that has ended. Metadata whose key has other characters than letters, digits and _ , or whose \
                value has a NUL, and those whose keys differ in case only, are left out.
                """)

        @OptionGroup var channel: ChannelArgument
        @Option(name: .long, help: "How many commands run at a time. (default: 4)", transform: Numbers.positive)
        var concurrency = 4
        @OptionGroup var creation: ServiceCreationOptions
        @Argument(parsing: .postTerminator, help: "A command, after --.") var command: [String] = []

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
                If the service has no server after a second, a line on standard error says so.

                Exit codes of this command itself: 3 if no reply came before --timeout, 75 if as many calls wait as the service was created for \
                (ipc service serve --maximum-waiting).
                """)

        @OptionGroup var channel: ChannelArgument
        @Argument(help: "The request. Without one, all of standard input.") var request: String?
        @Option(
            name: .long, help: "The most bytes that the reply may have. (default: 65536)",
            transform: Numbers.whole(0...Int(Int32.max)))
        var replyLimit = 65_536
        @Option(
            name: .long, help: "How often another server may do the call if one dies in it, at most 127. (default: 0)",
            transform: Numbers.whole(0...127))
        var retries = 0
        @Option(
            name: .long,
            help: ArgumentHelp(
                "A text beside the request, which the command gets as IPC_METADATA_KEY; may be repeated. The key has letters, digits and _ only.",
                valueName: "key=value"),
            transform: CallEnvironment.pair)
        var metadata: [CallEnvironment.Pair] = []
        @OptionGroup var creation: ServiceCreationOptions
        @OptionGroup var timeout: TimeoutOption

        func validate() throws {
            var names: Set<String> = []
            for pair in metadata where !names.insert(pair.key.uppercased()).inserted {
                throw ValidationError("--metadata \(pair.key): this key is given twice; case makes no difference.")
            }
        }

        func perform() async throws {
            var bytes = Array((request ?? "").utf8)
            if request == nil { bytes = try await StandardInput.readToEnd() }
            let options = CallOptions(
                retries: retries,
                metadata: Dictionary(uniqueKeysWithValues: metadata.map { ($0.key, $0.value) }))
            var client = try CommandService.openOrCreate(channel.name, creation.options).makeClient()
            let note = WaitNote { [name = channel.name] in
                Hindrance.hasReader(name) ? nil : "\(name): no server takes its calls now; waiting"
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
