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
        "Keep the channel when its last participant has gone. A queue is always kept."
    static let permissions: ArgumentHelp =
        "Who may use the channel, as for chmod, whatever the umask is. (default: 0600 if it is made now)"
    static let capacity: ArgumentHelp =
        "Bytes of the log, 1 to 1099511627776. (default: 1048576, of a latest value 65536, if it is made now)"
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
        help:
            "Who may subscribe, but not write to it, as for chmod: 0060 for the group, 0006 for all others. Those whom --permissions lets write take part already."
    )
    var subscriberPermissions: PermissionsArgument?

    var topic: ChannelOptions {
        ChannelOptions(
            lifetime: lifetime, capacity: capacity, permissions: permissions?.value,
            subscriberPermissions: subscriberPermissions?.value)
    }

    var latest: LatestOptions {
        LatestOptions(
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
        help: "After so many, a job goes to the dead letters: 5 if nothing is said. Fixed when the queue is created.",
        transform: Numbers.positive)
    var attempts: Int?
    @Option(
        name: .long,
        help:
            "When a rejected job comes again, in seconds: 0.5; or twice as late each time, from the first to the longest: 0.1..60; or none. Fixed when the queue is created.",
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
            throw ValidationError("two numbers of seconds with .. between them are needed, each with a digit first.")
        }
        let times = try parts.map { try Numbers.seconds(String($0)) }
        switch times.count {
        case 1: return .fixed(times[0])
        case 2: return .exponential(first: times[0], limit: times[1])
        default: throw ValidationError("none, one number of seconds, or two with .. between them, are needed.")
        }
    }
}

/// How to make a service.
struct ServiceCreationOptions: ParsableArguments, ChannelCreation {
    @Option(
        name: .long,
        help:
            "Bytes that the calls of one client may take, with their replies, 1 to \(ServiceOptions.capacities.upperBound). The log has four times as many. (default: 1048576, if it is made now)",
        transform: Numbers.whole(ServiceOptions.capacities))
    var capacity: Int?
    @Flag(name: .long, help: CreationHelp.keep) var keep = false
    @Option(name: .long, help: CreationHelp.permissions) var permissions: PermissionsArgument?
    @Option(
        name: .long,
        help:
            "If so many calls wait that no server has taken, 1 to \(ServiceOptions.waitingLimits.upperBound), new ones fail at once (exit code 75). Fixed when the service is created; no limit if nothing is said.",
        transform: Numbers.whole(ServiceOptions.waitingLimits))
    var maximumWaiting: Int?

    var options: ServiceOptions {
        ServiceOptions(
            capacity: capacity, lifetime: lifetime, maximumWaiting: maximumWaiting, permissions: permissions?.value)
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

extension Topic where Message == RawBytes {
    /// A topic of whatever type, made now if there is none.
    static func openOrCreate(
        _ name: String, _ creation: BroadcastCreationOptions
    ) throws(IPCError) -> Topic { try openAnyType(name, orCreate: creation.topic) }
}

extension WorkQueue where Message == RawBytes {
    static func openOrCreate(
        _ name: String, _ creation: QueueCreationOptions
    ) throws(IPCError) -> WorkQueue {
        try openAnyType(
            name, orCreate: creation.options, maximumAttempts: creation.attempts, backoff: creation.backoff)
    }
}

extension Latest where Value == RawBytes {
    static func openOrCreate(
        _ name: String, _ creation: BroadcastCreationOptions
    ) throws(IPCError) -> Latest { try openAnyType(name, orCreate: creation.latest) }
}

extension CarriedType {
    /// Checks a message against the type that its channel carries.
    func check(_ message: [UInt8]) throws(IPCError) {
        guard let size, size != message.count else { return }
        throw IPCError(
            .invalidArgument, "send", channel,
            advice:
                "its messages are of the type \(name), of \(size) bytes, and this one has \(message.count); use --hex or --whole"
        )
    }
}

extension [UInt8] {
    /// As a string if it is text, in hexadecimal digits if not.
    var json: (String, JSON) {
        if let text = String(validating: self, as: UTF8.self) { return ("text", .string(text)) }
        return ("hex", .string(Hex.text(self)))
    }
}
