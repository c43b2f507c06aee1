import ArgumentParser
import IPC
import IPCChannels

/// `ipc latest`: a value of which only the newest counts.
struct LatestCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "latest", abstract: "Set, get and watch a value; only the newest one counts.",
        discussion: """
            Examples:
              ipc latest set room/temperature 21.5 --keep
              ipc latest get room/temperature
              ipc latest watch room/temperature
              IPC_ROOT=/dev/shm/house ipc latest observe room/temperature
            """,
        subcommands: [Set.self, Get.self, Watch.self, Observe.self, InfoCommand.self])

    struct Set: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Set the value from the argument, or from each message of standard input.")

        @OptionGroup var channel: ChannelArgument
        @Argument(help: "The value; by default, values are read from standard input.") var value: String?
        @OptionGroup var creation: BroadcastCreationOptions
        @OptionGroup var framing: FramingOption

        func validate() throws { try framing.checkArguments(value.map { [$0] } ?? []) }

        func perform() async throws {
            var writer = try AnyChannel.openOrCreate(.latest, channel.name, creation).makeWriter()
            var source = MessageSource(value.map { [$0] } ?? [], framing.framing)
            while let message = try await source.next() {
                try await unsafe writer.write(message.span.bytes)
            }
        }
    }

    struct Get: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Print the value.",
            discussion: """
                The exit code is 4 if no value is set. With --timeout, it waits for the channel and a value; the exit code is 3 if \
                there is none in time. It is not a participant: read access to the channel is enough.
                """)

        @OptionGroup var channel: ChannelArgument
        @OptionGroup var framing: FramingOption
        @OptionGroup var format: FormatOption
        @OptionGroup var timeout: TimeoutOption

        func validate() throws { try framing.check(format) }

        func perform() async throws {
            let output = ValueOutput(framing, format)
            if timeout.timeout != nil { return try output.write(try await waitForValue(until: timeout.deadline)) }
            var getter = try AnyChannel.open(channel.name).latest.makeObserver()
            guard let value = try getter.get({ $0.array }) else {
                throw IPCError(
                    .notFound, "get", channel.name, advice: "no value is set; set one, or wait with --timeout")
            }
            try output.write(value)
        }

        /// The channel may be made, or made anew, meanwhile. Nobody wakes one that takes no part.
        private func waitForValue(until deadline: Deadline) async throws -> [UInt8] {
            while true {
                do throws(IPCError) {
                    var getter = try AnyChannel.open(channel.name).latest.makeObserver()
                    if let value = try getter.get({ $0.array }) { return value }
                    return try await getter.next(until: deadline) { $0.array }
                } catch {
                    guard error.code == .notFound || error.code == .removed else { throw error }
                }
                guard !deadline.hasPassed else {
                    throw IPCError(
                        .timedOut, "get", channel.name,
                        advice: "no value was set before the time-out; set one, or allow more time")
                }
                try await Task.sleep(for: .milliseconds(20))
            }
        }
    }

    struct Watch: Interruptible {
        static let configuration = CommandConfiguration(abstract: "Print the newest value whenever it changes.")

        @OptionGroup var channel: ChannelArgument
        @Option(name: .long, help: "Stop after N values.", transform: Numbers.count) var count: Int?
        @OptionGroup var creation: BroadcastCreationOptions
        @OptionGroup var framing: FramingOption
        @OptionGroup var format: FormatOption
        @OptionGroup var timeout: TimeoutOption

        func validate() throws { try framing.check(format) }

        func perform() async throws {
            var reader = try AnyChannel.openOrCreate(.latest, channel.name, creation).makeReader()
            let output = ValueOutput(framing, format)
            for _ in 0..<(count ?? .max) {
                try output.write(try await reader.receive(until: timeout.deadline))
            }
        }
    }

    struct Observe: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Print the newest value whenever it changes, without being a participant.",
            discussion: "Read access to the channel is enough. The channel must exist.")

        @OptionGroup var channel: ChannelArgument
        @Option(name: .long, help: "Stop after N values.", transform: Numbers.count) var count: Int?
        @OptionGroup var framing: FramingOption
        @OptionGroup var format: FormatOption
        @OptionGroup var timeout: TimeoutOption

        func validate() throws { try framing.check(format) }

        func perform() async throws {
            var observer = try AnyChannel.open(channel.name).latest.makeObserver()
            let output = ValueOutput(framing, format)
            for _ in 0..<(count ?? .max) {
                try output.write(try await observer.next(until: timeout.deadline) { $0.array })
            }
        }
    }
}

/// Where messages go that are printed as they are, or as JSON.
struct ValueOutput {
    private let output: MessageOutput
    private let isJSON: Bool

    init(_ framing: FramingOption, _ format: FormatOption) {
        output = MessageOutput(framing: framing.framing)
        isJSON = format.format == .json
    }

    func write(_ bytes: [UInt8]) throws {
        if isJSON { try MessageOutput.put(line: JSON.object([bytes.json]).text) } else { try output.write(bytes) }
    }
}

/// `ipc event`: something has happened.
struct EventCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "event", abstract: "Notify processes of an event, and wait for one.",
        discussion: """
            Examples:
              ipc event wait build/done && ./deploy
              ipc event notify build/done
            """,
        subcommands: [Notify.self, Wait.self, InfoCommand.self])

    struct Notify: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "End one wait: a current one, or the next.",
            discussion: "Without --keep, pending notices are lost when the last participant leaves.")

        @OptionGroup var channel: ChannelArgument
        @Option(name: .long, help: "End N waits. (default: 1)", transform: Numbers.count) var count: Int?
        @Flag(name: .long, help: "End all current waits, and no later ones.") var all = false
        @OptionGroup var creation: CreationOptions

        func validate() throws {
            if all, count != nil { throw ValidationError("--all and --count exclude each other; leave one out.") }
        }

        func perform() async throws {
            let participant = try creation.event(channel.name).makeParticipant()
            if all { participant.notifyAll() } else { participant.notify(count: count ?? 1) }
        }
    }

    struct Wait: Interruptible {
        static let configuration = CommandConfiguration(abstract: "Wait for a notice.")

        @OptionGroup var channel: ChannelArgument
        @OptionGroup var creation: CreationOptions
        @OptionGroup var timeout: TimeoutOption

        func perform() async throws {
            let participant = try creation.event(channel.name).makeParticipant()
            try await participant.wait(until: timeout.deadline)
        }
    }
}

extension CreationOptions {
    /// An event has no log, and so no capacity, and nothing that could be read only.
    fileprivate func event(_ name: String) throws(IPCError) -> Event {
        try Event.openOrCreate(name, EventOptions(lifetime: lifetime, permissions: permissions?.value))
    }
}
