import ArgumentParser
import Glibc
import IPC
import IPCChannels
import SystemPackage

/// A channel's name, as an argument.
struct ChannelArgument: ParsableArguments {
    @Argument(help: "The channel's name, such as market/quotes.", completion: ChannelCompletion.ofCommand)
    var name: String
}

/// What the commands that make a channel, if it is not there yet, have in common.
///
/// The groups of options below repeat it, and are not made of one another: in a debug build, ArgumentParser checks a group anew, four
/// times, for each group around it, and every start of the command took a tenth of a second for that.
protocol ChannelCreation {
    var keep: Bool { get }
    var permissions: PermissionsArgument? { get }
}

extension ChannelCreation {
    /// Nil to take an existing channel as it is, and to make one as is usual.
    var lifetime: ChannelOptions.Lifetime? { keep ? .kept : nil }
}

private enum CreationHelp {
    static let keep: ArgumentHelp =
        "Keep the channel after its last participant has left. A queue is always kept."
    static let permissions: ArgumentHelp =
        "Octal permissions of the channel; the umask does not apply. (default for a new channel: 0600)"
    static let capacity: ArgumentHelp =
        "Log size in bytes, 1 to 1099511627776. (default for a new channel: 1048576; for a latest value: 65536)"
}

private let capacities = Numbers.whole(1...1 << 40)

/// How to make a channel that has no other options: an event.
struct CreationOptions: ParsableArguments, ChannelCreation {
    @Flag(name: .long, help: CreationHelp.keep) var keep = false
    @Option(name: .long, help: CreationHelp.permissions) var permissions: PermissionsArgument?
}

/// Who may use a channel that is made.
struct PermissionsOption: ParsableArguments {
    @Option(name: .long, help: CreationHelp.permissions) var permissions: PermissionsArgument?
}

/// How to make a topic, or a latest value.
struct BroadcastCreationOptions: ParsableArguments, ChannelCreation {
    @Option(name: .long, help: CreationHelp.capacity, transform: capacities) var capacity: Int?
    @Flag(name: .long, help: CreationHelp.keep) var keep = false
    @Option(name: .long, help: CreationHelp.permissions) var permissions: PermissionsArgument?
    @Option(
        name: .long,
        help: """
            Octal permissions of users who may subscribe but not write: 0060 for the group, 0006 for all others. \
            Users whom --permissions allows to write can subscribe already.
            """
    )
    var subscriberPermissions: PermissionsArgument?

    var options: ChannelOptions {
        ChannelOptions(
            lifetime: lifetime, capacity: capacity, permissions: permissions?.value,
            subscriberPermissions: subscriberPermissions?.value)
    }
}

/// How to make a work queue, and what becomes of jobs that are not done.
struct QueueCreationOptions: ParsableArguments, ChannelCreation {
    @Option(name: .long, help: CreationHelp.capacity, transform: capacities) var capacity: Int?
    @Flag(name: .long, help: CreationHelp.keep) var keep = false
    @Option(name: .long, help: CreationHelp.permissions) var permissions: PermissionsArgument?
    @Option(
        name: .long,
        help: "Attempts after which a job is a dead letter. Fixed when the queue is created. (default: 5)",
        transform: Numbers.positive)
    var attempts: Int?
    @Option(
        name: .long,
        help: """
            Seconds before a rejected job is tried again: a fixed delay (0.5), one that doubles up to a limit (0.1..60), \
            or none. Fixed when the queue is created.
            """,
        transform: Self.backoff)
    var backoff: RetryBackoff?

    var options: ChannelOptions {
        ChannelOptions(lifetime: lifetime, capacity: capacity, permissions: permissions?.value)
    }

    static func backoff(_ text: String) throws -> RetryBackoff {
        if text == "none" { return .none }
        let parts = text.split(separator: "..", omittingEmptySubsequences: false)
        // "0.1...60" is Swift's, and would be up to 0.6 s here.
        guard !parts.contains(where: { $0.hasPrefix(".") }) else {
            throw ValidationError("expected two numbers of seconds with .. between them, each starting with a digit.")
        }
        let times = try parts.map { try Numbers.seconds(String($0)) }
        switch times.count {
        case 1: return .fixed(times[0])
        case 2: return .exponential(first: times[0], limit: times[1])
        default: throw ValidationError("expected none, a number of seconds, or two with .. between them.")
        }
    }
}

/// How to make a service.
struct ServiceCreationOptions: ParsableArguments, ChannelCreation {
    @Option(
        name: .long,
        help: """
            Maximum bytes of one client's calls and replies, 1 to \(ServiceOptions.capacities.upperBound). \
            The log is four times as large. (default for a new service: 1048576)
            """,
        transform: Numbers.whole(ServiceOptions.capacities))
    var capacity: Int?
    @Flag(name: .long, help: CreationHelp.keep) var keep = false
    @Option(name: .long, help: CreationHelp.permissions) var permissions: PermissionsArgument?
    @Option(
        name: .long,
        help: """
            Maximum number of calls that wait for a server, 1 to \(ServiceOptions.waitingLimits.upperBound); further calls \
            fail at once (exit code 75). Fixed when the service is created. (default: no limit)
            """,
        transform: Numbers.whole(ServiceOptions.waitingLimits))
    var maximumWaiting: Int?

    var options: ServiceOptions {
        ServiceOptions(
            capacity: capacity, lifetime: lifetime, maximumWaiting: maximumWaiting, permissions: permissions?.value)
    }

    /// The same without `maximumWaiting`, as options of the channel.
    var channelOptions: ChannelOptions {
        ChannelOptions(
            lifetime: lifetime, capacity: capacity.map { 4 * max($0, 65_536) }, permissions: permissions?.value)
    }
}

/// Permissions in octal digits.
struct PermissionsArgument: ExpressibleByArgument, Sendable, CustomStringConvertible {
    let value: FilePermissions

    init(value: FilePermissions) { self.value = value }

    init?(argument: String) {
        guard let number = Numbers.permissions(argument) else { return nil }
        value = FilePermissions(rawValue: number)
    }

    var description: String { value.octal }
}

extension AnyChannel {
    /// A topic or a latest value of whatever type, made now if there is none.
    static func openOrCreate(
        _ pattern: ChannelPattern, _ name: String, _ creation: BroadcastCreationOptions
    ) throws(IPCError) -> AnyChannel {
        try openOrCreate(pattern, name, creation.options, defaults: ChannelOptions(writers: .shared))
    }

    /// A work queue of whatever type, made now if there is none.
    static func openOrCreate(_ name: String, _ creation: QueueCreationOptions) throws(IPCError) -> AnyChannel {
        try openOrCreate(
            .workQueue, name, creation.options, maximumAttempts: creation.attempts, backoff: creation.backoff)
    }
}

extension [UInt8] {
    /// As a string if it is text, in hexadecimal digits if not.
    var json: (String, JSONValue) {
        if let text = String(validating: self, as: UTF8.self) { return ("text", .string(text)) }
        return ("hex", .string(hexadecimal))
    }
}
