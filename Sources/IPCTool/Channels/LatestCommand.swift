import ArgumentParser
import IPC
import IPCChannels

/// `ipc latest`: a value of which only the newest counts.
struct LatestCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "latest", abstract: "Set, get and watch a value of which only the newest counts.",
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
            abstract: "Set the value: the argument, or each message of standard input in turn.")

        @OptionGroup var channel: ChannelArgument
        @Argument(help: "The value. Without one, values are read from standard input.") var value: String?
        @OptionGroup var creation: BroadcastCreationOptions
        @OptionGroup var framing: FramingOption

        func validate() throws { try framing.checkArguments(value.map { [$0] } ?? []) }

        func perform() async throws {
            let latest = try Latest<RawBytes>.openOrCreate(channel.name, creation)
            var setter = try latest.makeSetter()
            let type = try setter.carriedType
            var source = MessageSource(value.map { [$0] } ?? [], framing.framing)
            while let message = try await source.next() {
                try type.check(message)
                try unsafe setter.set(message.span.bytes)
            }
        }
    }

    struct Get: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Print the value.",
            discussion: """
                Exit code 4 if none was set yet. With --timeout it waits for one, and for the channel itself: exit code 3 if there \
                is none by then. It takes no part in the channel: it is enough to be allowed to read it.
                """)

        @OptionGroup var channel: ChannelArgument
        @OptionGroup var framing: FramingOption
        @OptionGroup var format: FormatOption
        @OptionGroup var timeout: TimeoutOption

        func validate() throws { try framing.check(format) }

        func perform() async throws {
            let output = ValueOutput(framing, format)
            if timeout.timeout != nil { return try output.write(try await waitForValue(until: timeout.deadline)) }
            var getter = try Latest<RawBytes>.openAnyType(channel.name).makeObserver()
            guard let value = try getter.get({ $0.array }) else {
                throw IPCError(
                    .notFound, "get", channel.name, advice: "no value was set yet; set one, or wait with --timeout")
            }
            try output.write(value)
        }

        /// The channel may be made, or made anew, meanwhile. Nobody wakes one that takes no part.
        private func waitForValue(until deadline: Deadline) async throws -> [UInt8] {
            while true {
                do throws(IPCError) {
                    var getter = try Latest<RawBytes>.openAnyType(channel.name).makeObserver()
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
        @Option(name: .long, help: "End after so many.", transform: Numbers.count) var count: Int?
        @OptionGroup var creation: BroadcastCreationOptions
        @OptionGroup var framing: FramingOption
        @OptionGroup var format: FormatOption
        @OptionGroup var timeout: TimeoutOption

        func validate() throws { try framing.check(format) }

        func perform() async throws {
            var getter = try Latest<RawBytes>.openOrCreate(channel.name, creation).makeGetter()
            let output = ValueOutput(framing, format)
            for _ in 0..<(count ?? .max) {
                try output.write(try await getter.next(until: timeout.deadline) { $0.array })
            }
        }
    }

    struct Observe: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Print the newest value whenever it changes, without taking part.",
            discussion: "For whoever may only read the channel. It has to be there.")

        @OptionGroup var channel: ChannelArgument
        @Option(name: .long, help: "End after so many.", transform: Numbers.count) var count: Int?
        @OptionGroup var framing: FramingOption
        @OptionGroup var format: FormatOption
        @OptionGroup var timeout: TimeoutOption

        func validate() throws { try framing.check(format) }

        func perform() async throws {
            var observer = try Latest<RawBytes>.openAnyType(channel.name).makeObserver()
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
        commandName: "event", abstract: "Notify and wait: something has happened.",
        discussion: """
            Examples:
              ipc event wait build/done && ./deploy
              ipc event notify build/done
            """,
        subcommands: [Notify.self, Wait.self, InfoCommand.self])

    struct Notify: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "End a wait, now or later.",
            discussion: "A notice that nobody has taken is kept with --keep only.")

        @OptionGroup var channel: ChannelArgument
        @Option(name: .long, help: "End so many waits. (default: 1)", transform: Numbers.count) var count: Int?
        @Flag(name: .long, help: "End all waits that are under way, and none that comes later.") var all = false
        @OptionGroup var creation: CreationOptions

        func validate() throws {
            if all, count != nil { throw ValidationError("--all or --count, not both.") }
        }

        func perform() async throws {
            let participant = try creation.event(channel.name).makeParticipant()
            if all { participant.notifyAll() } else { participant.notify(count: count ?? 1) }
        }
    }

    struct Wait: Interruptible {
        static let configuration = CommandConfiguration(abstract: "Wait until somebody notifies.")

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
