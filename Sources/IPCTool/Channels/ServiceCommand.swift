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
              ipc service call orders/prices '{"symbol":7}'

            In Swift, a service that this command serves is a ServiceChannel<RawBytes, RawBytes, CommandFailure>. Services of other \
            types can be called: requests and replies are JSON.
            """,
        subcommands: [Create.self, Serve.self, Call.self, InfoCommand.self])

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
                For a service of other types than this command's, the request is JSON, and the reply is printed as JSON. If the \
                service fails, its failure is printed as JSON on standard error, and the exit code is 1. ipc schema prints the types.

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
        @Flag(name: .long, help: "Send and print bytes, also if the service has a schema.") var raw = false
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
            if let service = try TypedService(channel.name, creation, isRaw: raw) {
                return try await call(service, bytes, options)
            }
            var client = try CommandService.openOrCreate(channel.name, creation.options).makeClient()
            let note = noteWithoutServer()
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

        private func noteWithoutServer() -> WaitNote {
            WaitNote { [name = channel.name] in
                Hindrance.hasReader(name) ? nil : "\(name): the service has no server now; waiting"
            }
        }

        private func call(_ service: TypedService, _ given: [UInt8], _ options: CallOptions) async throws {
            let request = try service.request.message(given)
            var client = try service.channel.makeWriter()
            let note = noteWithoutServer()
            defer { note.end() }
            let outcome = try await unsafe client.call(
                request.span.bytes, replyLimit: replyLimit, options, until: timeout.deadline)
            switch outcome {
            case .reply(let reply):
                try MessageOutput.put(try service.reply.json(reply).map { Array(($0.text + "\n").utf8) } ?? reply)
            case .failure(let failure):
                printError(try service.failure.printable(failure))
                throw ExitCode(1)
            }
        }
    }
}

/// A service of other types than those of the command's own.
private struct TypedService {
    let channel: AnyChannel
    let request, reply, failure: MessageFormat

    /// - Parameters:
    ///   - creation: What is asked of it.
    ///   - isRaw: Whether messages are bytes, whatever the schema says.
    /// - Returns: Nil if there is no such service.
    init?(_ name: String, _ creation: ServiceCreationOptions, isRaw: Bool) throws {
        let found: AnyChannel
        do throws(IPCError) { found = try AnyChannel.open(name) } catch {
            guard error.code == .notFound else { throw error }
            return nil
        }
        guard case .calls(let request, let reply, let failure) = found.schema, try found.schema != Self.ofCommand else {
            return nil
        }
        // It is there, and has to be as it is asked for.
        channel = try AnyChannel.openOrCreate(.service, name, creation.channelOptions, schema: found.schema)
        if let wanted = creation.maximumWaiting {
            let limit = try ChannelDescription(channel.name, countsMessages: false).maximumWaiting
            guard limit == wanted else {
                throw IPCError(
                    .incompatibleOptions, "open service", name,
                    advice:
                        "maximumWaiting \(wanted) was requested, and it has \(limit.map(String.init) ?? "no limit"); "
                        + "request the same, or leave the option out")
            }
        }
        self.request = MessageFormat(request, of: name, isRaw: isRaw)
        self.reply = MessageFormat(reply, of: name, isRaw: isRaw)
        self.failure = MessageFormat(failure, of: name, isRaw: isRaw)
    }

    private static var ofCommand: ChannelSchema {
        get throws(IPCError) {
            .calls(request: .bytes, reply: .bytes, failure: try MessageSchema(of: CommandFailure.self))
        }
    }
}
