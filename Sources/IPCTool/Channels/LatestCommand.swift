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
        @Flag(name: .long, help: "If the value is made now, keep it when the last who uses it has gone.") var keep =
            false
        @OptionGroup var permissions: PermissionsOption
        @OptionGroup var subscribers: SubscriberPermissionsOption
        @OptionGroup var framing: FramingOption

        func perform() async throws {
            let latest = try Latest<RawBytes>.openOrCreate(channel.name, keep: keep, permissions, subscribers)
            var setter = try latest.makeSetter()
            let type = setter.carriedType
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
                Exit code 4 if none was set yet, unless --timeout waits for one. It takes no part in the channel: it is enough to be
                allowed to read it.
                """)

        @OptionGroup var channel: ChannelArgument
        @OptionGroup var framing: FramingOption
        @OptionGroup var timeout: TimeoutOption

        func perform() async throws {
            var getter = try Latest<RawBytes>.openAnyType(channel.name).observe()
            let output = MessageOutput(framing: framing.framing)
            if let value = try getter.get({ $0.array }) { return try output.write(value) }
            guard timeout.timeout != nil else {
                throw IPCError(
                    .notFound, "get", channel.name, advice: "no value was set yet; set one, or wait with --timeout")
            }
            try output.write(try await getter.next(until: timeout.deadline) { $0.array })
        }
    }

    struct Watch: Interruptible {
        static let configuration = CommandConfiguration(abstract: "Print the newest value whenever it changes.")

        @OptionGroup var channel: ChannelArgument
        @Option(name: .long, help: "End after so many.", transform: Numbers.count) var count: Int?
        @OptionGroup var permissions: PermissionsOption
        @OptionGroup var subscribers: SubscriberPermissionsOption
        @OptionGroup var framing: FramingOption
        @OptionGroup var timeout: TimeoutOption

        func perform() async throws {
            var getter = try Latest<RawBytes>.openOrCreate(channel.name, keep: false, permissions, subscribers)
                .makeGetter()
            let output = MessageOutput(framing: framing.framing)
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
        @OptionGroup var timeout: TimeoutOption

        func perform() async throws {
            var observer = try Latest<RawBytes>.openAnyType(channel.name).observe()
            let output = MessageOutput(framing: framing.framing)
            for _ in 0..<(count ?? .max) {
                try output.write(try await observer.next(until: timeout.deadline) { $0.array })
            }
        }
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
        @Option(name: .long, help: "End so many waits.", transform: Numbers.count) var count = 1
        @Flag(name: .long, help: "End all waits that are under way, and none that comes later.") var all = false
        @Flag(name: .long, help: "If the event is made now, keep it when the last who uses it has gone.") var keep =
            false
        @OptionGroup var permissions: PermissionsOption

        func perform() async throws {
            let participant = try Event.create(
                channel.name, lifetime: keep ? .kept : .whileUsed, permissions: permissions.permissions.value
            ).join()
            if all { participant.notifyAll() } else { participant.notify(count: count) }
        }
    }

    struct Wait: Interruptible {
        static let configuration = CommandConfiguration(abstract: "Wait until somebody notifies.")

        @OptionGroup var channel: ChannelArgument
        @OptionGroup var permissions: PermissionsOption
        @OptionGroup var timeout: TimeoutOption

        func perform() async throws {
            let participant = try Event.create(channel.name, permissions: permissions.permissions.value).join()
            try await participant.wait(until: timeout.deadline)
        }
    }
}
