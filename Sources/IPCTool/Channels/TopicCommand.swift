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
              tail -f log | ipc topic publish logs/web
              IPC_ROOT=/dev/shm/traders ipc topic observe market/quotes
            """,
        subcommands: [Publish.self, Subscribe.self, Observe.self, InfoCommand.self])

    struct Publish: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Publish messages: the arguments, or standard input.")

        @OptionGroup var channel: ChannelArgument
        @Argument(help: "Messages. Without any, they are read from standard input.") var messages: [String] = []
        @OptionGroup var framing: FramingOption
        @OptionGroup var creation: CreationOptions
        @OptionGroup var subscribers: SubscriberPermissionsOption
        @OptionGroup var timeout: TimeoutOption

        func perform() async throws {
            let topic = try Topic<RawBytes>.openOrCreate(channel.name, creation, subscribers)
            var publisher = try topic.makePublisher()
            let type = publisher.carriedType
            var source = MessageSource(messages, framing.framing)
            while let message = try await source.next() {
                try type.check(message)
                try await unsafe publisher.publish(message.span.bytes, until: timeout.deadline)
            }
        }
    }

    struct Subscribe: Interruptible {
        static let configuration = CommandConfiguration(abstract: "Print messages as they come.")

        @OptionGroup var channel: ChannelArgument
        @Option(help: "The first message: next, oldest, last:N, or a position.") var from = StartArgument(.next)
        @Option(name: .long, help: "End after so many messages.", transform: Numbers.count) var count: Int?
        @OptionGroup var framing: FramingOption
        @OptionGroup var format: FormatOption
        @OptionGroup var creation: CreationOptions
        @OptionGroup var subscribers: SubscriberPermissionsOption
        @OptionGroup var timeout: TimeoutOption

        func perform() async throws {
            let topic = try Topic<RawBytes>.openOrCreate(channel.name, creation, subscribers)
            var subscription = try topic.subscribe(from: from.start)
            let output = TopicOutput(framing, format)
            for _ in 0..<(count ?? .max) {
                let bytes = try await subscription.receive(until: timeout.deadline) { $0.array }
                try output.write(bytes, missed: subscription.takeMissed())
            }
        }
    }

    struct Observe: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Print messages as they come, without taking part.",
            discussion: """
                For whoever may only read the channel: it writes nothing, holds nobody back, and is told what it missed. The topic has
                to be there; it ends with an error when that was taken away.
                """)

        @OptionGroup var channel: ChannelArgument
        @Option(help: "The first message: next, oldest, last:N, or a position.") var from = StartArgument(.next)
        @Option(name: .long, help: "End after so many messages.", transform: Numbers.count) var count: Int?
        @OptionGroup var framing: FramingOption
        @OptionGroup var format: FormatOption
        @OptionGroup var timeout: TimeoutOption

        func perform() async throws {
            var observer = try Topic<RawBytes>.openAnyType(channel.name).observe(from: from.start)
            let output = TopicOutput(framing, format)
            for _ in 0..<(count ?? .max) {
                let bytes = try await observer.receive(until: timeout.deadline) { $0.array }
                try output.write(bytes, missed: observer.takeMissed())
            }
        }
    }
}

/// Where received messages go.
private struct TopicOutput {
    private let output: MessageOutput
    private let isJSON: Bool

    init(_ framing: FramingOption, _ format: FormatOption) {
        output = MessageOutput(framing: framing.framing)
        isJSON = format.format == .json
    }

    /// - Parameter missed: How many messages were lost before this one.
    func write(_ bytes: [UInt8], missed: UInt64) throws {
        if missed > 0 { printError("ipc: \(missed) messages were overwritten before they were received") }
        if isJSON { try MessageOutput.put(line: JSON.object([bytes.json]).text) } else { try output.write(bytes) }
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
            guard let count = Int(argument.dropFirst(5)), count >= 0 else { return nil }
            start = .last(count)
        default:
            guard let position = ChannelPosition(argument) else { return nil }
            start = .position(position)
        }
        description = argument
    }
}
