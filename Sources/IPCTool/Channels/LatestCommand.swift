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
              ipc latest create room/state --schema state.json
              ipc latest set room/state '{"temperature":21.5,"isHeated":true}'
              ipc latest watch room/temperature
              IPC_ROOT=/dev/shm/house ipc latest observe room/temperature
            """,
        subcommands: [Create.self, Set.self, Get.self, Watch.self, Observe.self, InfoCommand.self])

    struct Set: Interruptible {
        static let configuration = CommandConfiguration(
            abstract: "Set the value from the argument, or from each message of standard input.",
            discussion: """
                If the channel has a schema, the value is JSON that fits it. An error names the field (exit code 64).
                """)

        @OptionGroup var channel: ChannelArgument
        @Argument(help: "The value; by default, values are read from standard input.") var value: String?
        @OptionGroup var creation: BroadcastCreationOptions
        @OptionGroup var framing: FramingOption
        @OptionGroup var raw: RawOption

        func validate() throws { try framing.checkArguments(value.map { [$0] } ?? []) }

        func perform() async throws {
            let latest = try AnyChannel.openOrCreate(.latest, channel.name, creation)
            var writer = try latest.makeWriter()
            let format = MessageFormat(latest, framing.framing, isRaw: raw.raw)
            var source = MessageSource(value.map { [$0] } ?? [], framing.framing)
            while let given = try await source.next() {
                let message = try format.message(given)
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

                If the channel has a schema, the value is printed as JSON. The exit code is 1 if it does not fit the schema.
                """)

        @OptionGroup var channel: ChannelArgument
        @OptionGroup var framing: FramingOption
        @OptionGroup var raw: RawOption
        @OptionGroup var format: FormatOption
        @OptionGroup var timeout: TimeoutOption

        func validate() throws { try framing.check(format) }

        func perform() async throws {
            if timeout.timeout != nil { return try await waitForValue(until: timeout.deadline) }
            let latest = try AnyChannel.open(channel.name)
            var getter = try latest.latest.makeObserver()
            guard let value = try getter.get({ $0.array }) else {
                throw IPCError(
                    .notFound, "get", channel.name, advice: "no value is set; set one, or wait with --timeout")
            }
            try print(value, of: latest)
        }

        private func print(_ value: [UInt8], of latest: AnyChannel) throws {
            let output = ValueOutput(MessageFormat(latest, framing.framing, isRaw: raw.raw), format)
            if try !output.write(value) { throw ExitCode(1) }
        }

        /// The channel may be made, or made anew, meanwhile. Nobody wakes one that takes no part.
        private func waitForValue(until deadline: Deadline) async throws {
            while true {
                var found: (value: [UInt8], latest: AnyChannel)?
                do throws(IPCError) {
                    let latest = try AnyChannel.open(channel.name)
                    var getter = try latest.latest.makeObserver()
                    if let value = try getter.get({ $0.array }) {
                        found = (value, latest)
                    } else {
                        found = (try await getter.next(until: deadline) { $0.array }, latest)
                    }
                } catch {
                    guard error.code == .notFound || error.code == .removed else { throw error }
                }
                if let found { return try print(found.value, of: found.latest) }
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
        @OptionGroup var raw: RawOption
        @OptionGroup var format: FormatOption
        @OptionGroup var timeout: TimeoutOption

        func validate() throws { try framing.check(format) }

        func perform() async throws {
            let latest = try AnyChannel.openOrCreate(.latest, channel.name, creation)
            var getter = try latest.latest.makeGetter()
            let output = ValueOutput(MessageFormat(latest, framing.framing, isRaw: raw.raw), format)
            for _ in 0..<(count ?? .max) {
                try output.write(try await getter.next(until: timeout.deadline) { $0.array })
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
        @OptionGroup var raw: RawOption
        @OptionGroup var format: FormatOption
        @OptionGroup var timeout: TimeoutOption

        func validate() throws { try framing.check(format) }

        func perform() async throws {
            let latest = try AnyChannel.open(channel.name)
            var observer = try latest.latest.makeObserver()
            let output = ValueOutput(MessageFormat(latest, framing.framing, isRaw: raw.raw), format)
            for _ in 0..<(count ?? .max) {
                try output.write(try await observer.next(until: timeout.deadline) { $0.array })
            }
        }
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
