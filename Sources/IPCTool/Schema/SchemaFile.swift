import ArgumentParser
import Glibc
import IPC
import IPCChannels
import SystemPackage

/// A file with a schema as JSON.
enum SchemaFile {
    /// As much as a channel keeps.
    private static let limit = 1 << 20

    /// Reads a channel's schema, or that of its messages.
    ///
    /// - Parameter path: Its path; `-` for standard input.
    static func read(_ path: String) async throws(IPCError) -> ChannelSchema {
        let place = path == "-" ? "standard input" : path
        let bytes = path == "-" ? try await standardInput() : try content(path)
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw IPCError(.invalidArgument, "read schema", place, advice: "it is not UTF-8; give a schema as JSON")
        }
        do throws(IPCError) {
            return try ChannelSchema(json: text)
        } catch {
            throw IPCError(error.code, "read schema", place, advice: error.advice)
        }
    }

    private static func tooLarge(_ place: String) -> IPCError {
        IPCError(
            .invalidArgument, "read schema", place, advice: "it is longer than \(limit) bytes, which no schema may be")
    }

    private static func standardInput() async throws(IPCError) -> [UInt8] {
        var bytes: [UInt8] = []
        while true {
            let more = try await StandardInput.read()
            if more.isEmpty { return bytes }
            bytes += more
            guard bytes.count <= limit else { throw tooLarge("standard input") }
        }
    }

    private static func content(_ path: String) throws(IPCError) -> [UInt8] {
        let number = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard number >= 0 else { throw IPCError("open", path, Errno(rawValue: errno)) }
        defer { close(number) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe Glibc.read(number, &chunk, chunk.count)
            guard count >= 0 else {
                if errno == EINTR { continue }
                throw IPCError("read", path, Errno(rawValue: errno))
            }
            if count == 0 { return bytes }
            bytes += chunk[..<count]
            guard bytes.count <= limit else { throw tooLarge(path) }
        }
    }
}

/// `--schema FILE` of a command that creates a channel.
struct SchemaOption: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp(
            """
            File with the schema as JSON, as ipc schema prints it; - for standard input. {"struct":…} is the schema of a message, \
            and {"message":…} that of a channel. (default: messages are bytes)
            """, valueName: "file"))
    var schema: String?

    func read() async throws -> ChannelSchema {
        guard let schema else { return .messages(.bytes) }
        return try await SchemaFile.read(schema)
    }
}

/// Channels that exist from now on, without any program.
enum KeptChannel {
    /// - Throws: `alreadyExists`; `invalidArgument` if the pattern cannot have this schema, or a message does not fit into the log.
    static func create(
        _ pattern: ChannelPattern, _ name: String, _ options: ChannelOptions, _ schema: ChannelSchema,
        maximumAttempts: Int? = nil, backoff: RetryBackoff? = nil, maximumWaiting: Int? = nil
    ) throws(IPCError) {
        var options = options
        options.lifetime = .kept
        // A queue, a latest value and a service have shared writers, or none of this option.
        let defaults = pattern == .topic || pattern == .latest ? ChannelOptions(writers: .shared) : ChannelOptions()
        _ = try AnyChannel.create(
            pattern, name, options, defaults: defaults, schema: schema, maximumAttempts: maximumAttempts,
            backoff: backoff, maximumWaiting: maximumWaiting)
    }
}

/// What the commands that create a channel say.
private enum CreateHelp {
    static let discussion = """
        Any program can use the channel then, in whatever language. It is kept until ipc rm removes it. The exit code is 6 if \
        there is a channel of this name already.
        """
}

extension TopicCommand {
    struct Create: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Create a topic that is kept, with the schema of its messages.", discussion: CreateHelp.discussion
        )

        @OptionGroup var channel: ChannelArgument
        @OptionGroup var schema: SchemaOption
        @OptionGroup var creation: BroadcastCreationOptions

        func perform() async throws {
            try KeptChannel.create(.topic, channel.name, creation.options, try await schema.read())
        }
    }
}

extension LatestCommand {
    struct Create: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Create a latest value that is kept, with its schema. No value is set.",
            discussion: CreateHelp.discussion)

        @OptionGroup var channel: ChannelArgument
        @OptionGroup var schema: SchemaOption
        @OptionGroup var creation: BroadcastCreationOptions

        func perform() async throws {
            try KeptChannel.create(.latest, channel.name, creation.options, try await schema.read())
        }
    }
}

extension QueueCommand {
    struct Create: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Create a queue, with the schema of its jobs.", discussion: CreateHelp.discussion)

        @OptionGroup var channel: ChannelArgument
        @OptionGroup var schema: SchemaOption
        @OptionGroup var creation: QueueCreationOptions

        func perform() async throws {
            try KeptChannel.create(
                .workQueue, channel.name, creation.options, try await schema.read(),
                maximumAttempts: creation.attempts, backoff: creation.backoff)
        }
    }
}

extension ServiceCommand {
    struct Create: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Create a service that is kept, with the schemas of its calls.", discussion: CreateHelp.discussion
        )

        @OptionGroup var channel: ChannelArgument
        @Option(
            name: .long,
            help: ArgumentHelp(
                """
                File with the schema as JSON: {"request":…,"reply":…,"failure":…}, as ipc schema prints it; - for standard input.
                """, valueName: "file"))
        var schema: String
        @OptionGroup var creation: ServiceCreationOptions

        func perform() async throws {
            try KeptChannel.create(
                .service, channel.name, creation.channelOptions, try await SchemaFile.read(schema),
                maximumWaiting: creation.maximumWaiting)
        }
    }
}
