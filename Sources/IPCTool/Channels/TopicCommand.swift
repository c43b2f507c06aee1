import ArgumentParser
import IPC
import IPCChannels

/// `ipc topic`: every subscriber gets every message.
struct TopicCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "topic", abstract: "Publish and subscribe: every subscriber gets every message.",
        discussion: """
            Examples:
              ipc topic subscribe market/quotes --from oldest
              ipc topic publish market/quotes 'ACME 12.5'
              ipc topic create market/trades --schema trade.json
              ipc topic publish market/trades '{"symbol":7,"price":12.5}'
              tail -f log | ipc topic publish logs/web
              IPC_ROOT=/dev/shm/traders ipc topic observe market/quotes
            """,
        subcommands: [Create.self, Publish.self, Subscribe.self, Observe.self, InfoCommand.self])

    struct Publish: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Publish messages from the arguments, or from standard input.",
            discussion: """
                Later subscribers do not get these messages, except with --from oldest while the topic exists. If the topic has \
                no subscriber when the first message is published, a note on standard error says so; the exit code is 0. \
                Publishing waits while a subscriber is a whole log behind; after a second, a note names that subscriber.

                If the topic has a schema, each message is JSON that fits it. An error names the field (exit code 64).
                """)

        @OptionGroup var channel: ChannelArgument
        @Argument(help: "Messages; by default, they are read from standard input.") var messages: [String] = []
        @OptionGroup var framing: FramingOption
        @OptionGroup var raw: RawOption
        @OptionGroup var creation: BroadcastCreationOptions
        @OptionGroup var timeout: TimeoutOption
        @Flag(name: .shortAndLong, help: "Print no note if the topic has no subscriber.") var quiet = false

        func validate() throws { try framing.checkArguments(messages) }

        func perform() async throws {
            let topic = try AnyChannel.openOrCreate(.topic, channel.name, creation)
            var writer = try topic.makeWriter()
            let format = MessageFormat(topic, framing.framing, isRaw: raw.raw)
            var source = MessageSource(messages, framing.framing)
            var progress = SendingProgress(of: "message", to: channel.name) { [name = channel.name] in
                Hindrance.ofTopic(name)
            }
            while let given = try await source.next() {
                let message = try progress.message(given, format)
                // Before the first is published: who comes after that does not get it.
                let isToNobody = progress.count == 0 && !quiet && !Hindrance.hasReader(channel.name)
                try await progress.send(until: { timeout.deadline }) { (deadline) async throws(IPCError) in
                    try await unsafe writer.write(message.span.bytes, until: deadline)
                }
                if isToNobody { printError("ipc: \(channel.name): the topic has no subscriber now") }
            }
        }
    }

    struct Subscribe: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Print messages as they arrive.",
            discussion: """
                If the topic has no publisher after a second, a note on standard error says so.

                If the topic has a schema, each message is printed as JSON. A message that does not fit the schema is an error \
                line on standard error, and the command continues.
                """)

        @OptionGroup var channel: ChannelArgument
        @Option(help: "The first message: next, oldest, last:N, or a position.") var from = StartArgument(.next)
        @Option(name: .long, help: "Stop after N messages.", transform: Numbers.count) var count: Int?
        @OptionGroup var framing: FramingOption
        @OptionGroup var raw: RawOption
        @OptionGroup var format: FormatOption
        @OptionGroup var creation: BroadcastCreationOptions
        @OptionGroup var timeout: TimeoutOption

        func validate() throws { try framing.check(format) }

        func perform() async throws {
            let topic = try AnyChannel.openOrCreate(.topic, channel.name, creation)
            // Bytes of whatever size: what is wrong with a message is told of it alone.
            var reader = try topic.topic.makeSubscription(from: from.start)
            let output = TopicOutput(MessageFormat(topic, framing.framing, isRaw: raw.raw), format)
            let note = TopicCommand.noteWithoutPublisher(channel.name)
            defer { note.end() }
            for _ in 0..<(count ?? .max) {
                let bytes = try await reader.receive(until: timeout.deadline) { $0.array }
                note.end()
                try output.write(bytes, missed: reader.takeMissed())
            }
        }
    }

    struct Observe: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Print messages as they arrive, without being a participant.",
            discussion: """
                Read access to the channel is enough: it writes nothing, holds no publisher back, and reports the messages that \
                it missed. The topic must exist; when the topic is removed, the command ends with an error.

                If the topic has a schema, each message is printed as JSON. A message that does not fit the schema is an error \
                line on standard error, and the command continues.
                """)

        @OptionGroup var channel: ChannelArgument
        @Option(help: "The first message: next, oldest, last:N, or a position.") var from = StartArgument(.next)
        @Option(name: .long, help: "Stop after N messages.", transform: Numbers.count) var count: Int?
        @OptionGroup var framing: FramingOption
        @OptionGroup var raw: RawOption
        @OptionGroup var format: FormatOption
        @OptionGroup var timeout: TimeoutOption

        func validate() throws { try framing.check(format) }

        func perform() async throws {
            let topic = try AnyChannel.open(channel.name)
            var observer = try topic.topic.makeObserver(from: from.start)
            let output = TopicOutput(MessageFormat(topic, framing.framing, isRaw: raw.raw), format)
            let note = TopicCommand.noteWithoutPublisher(channel.name)
            defer { note.end() }
            for _ in 0..<(count ?? .max) {
                let bytes = try await observer.receive(until: timeout.deadline) { $0.array }
                note.end()
                try output.write(bytes, missed: observer.takeMissed())
            }
        }
    }

    /// Nothing comes: the name may be wrong.
    fileprivate static func noteWithoutPublisher(_ name: String) -> WaitNote {
        WaitNote {
            Hindrance.hasWriter(name)
                ? nil : "\(name): the topic has no publisher now; waiting (ipc ls channel lists the names in use)"
        }
    }
}

/// Where received messages go.
private struct TopicOutput {
    private let output: ValueOutput

    init(_ messages: MessageFormat, _ format: FormatOption) { output = ValueOutput(messages, format) }

    /// - Parameter missed: How many messages were lost before this one.
    func write(_ bytes: [UInt8], missed: UInt64) throws {
        if missed > 0 { printError("ipc: \(missed) messages were overwritten before they were received") }
        try output.write(bytes)
    }
}

/// Where a subscription starts.
struct StartArgument: ExpressibleByArgument, Sendable, CustomStringConvertible {
    let start: SubscriptionStart
    let description: String

    init(_ start: SubscriptionStart) {
        self.start = start
        description = "next"
    }

    init?(argument: String) {
        switch argument {
        case "next": start = .next
        case "oldest": start = .oldest
        case _ where argument.hasPrefix("last:"):
            guard let count = Numbers.digits(argument.dropFirst(5), as: Int.self) else { return nil }
            start = .last(count)
        default:
            guard let position = ChannelPosition(argument) else { return nil }
            start = .position(position)
        }
        description = argument
    }
}
