import ArgumentParser
import Glibc
import IPC
import IPCChannels
import SystemPackage

/// A channel's name, as an argument.
struct ChannelArgument: ParsableArguments {
    @Argument(help: "The channel's name, such as market/quotes.")
    var name: String
}

/// How to make a channel that is not there yet.
struct CreationOptions: ParsableArguments {
    @Option(name: .long, help: "Bytes of the log, if the channel is made now.")
    var capacity: Int = 1 << 20

    @Flag(name: .long, help: "If the channel is made now, keep it when its last participant has gone.")
    var keep = false

    @OptionGroup var permissions: PermissionsOption

    func options(keeping: Bool = false) -> ChannelOptions {
        ChannelOptions(
            writers: .shared, lifetime: keep || keeping ? .kept : .whileUsed, capacity: capacity,
            permissions: permissions.permissions.value)
    }
}

/// Who may read a channel that is made, and hold its writers back, but not write to it.
struct SubscriberPermissionsOption: ParsableArguments {
    @Option(
        name: .long,
        help:
            "If the channel is made now: who may subscribe, but not write to it, as for chmod: 0060 for the group, 0006 for all."
    )
    var subscriberPermissions = PermissionsArgument(value: [])
}

/// Who may use a channel that is made.
struct PermissionsOption: ParsableArguments {
    @Option(name: .long, help: "If the channel is made now: who may use it, as for chmod, whatever the umask is.")
    var permissions = PermissionsArgument(value: .ownerReadWrite)
}

/// Permissions in octal digits.
struct PermissionsArgument: ExpressibleByArgument, Sendable, CustomStringConvertible {
    let value: FilePermissions

    init(value: FilePermissions) { self.value = value }

    init?(argument: String) {
        guard let number = mode_t(argument, radix: 8), number <= 0o777 else { return nil }
        value = FilePermissions(rawValue: number)
    }

    var description: String { value.octal }
}

extension Topic where Message == RawBytes {
    /// A topic of whatever type, made now if there is none.
    static func openOrCreate(
        _ name: String, _ creation: CreationOptions, _ subscribers: SubscriberPermissionsOption
    ) throws(IPCError) -> Topic {
        var options = creation.options()
        options.subscriberPermissions = subscribers.subscriberPermissions.value
        return try openAnyType(name, orCreate: options)
    }
}

/// What becomes of jobs that are not done.
struct RetryOptions: ParsableArguments {
    @Option(
        name: .long,
        help: "After so many, a job goes to the dead letters: 5 if nothing is said. Fixed when the queue is created.")
    var attempts: Int?
    @Option(
        name: .long,
        help:
            "When a rejected job comes again, in seconds: 0.5; or twice as late each time, from the first to the longest: 0.1..60; or none. Fixed when the queue is created.",
        transform: Self.backoff)
    var backoff: RetryBackoff?

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

extension WorkQueue where Message == RawBytes {
    static func openOrCreate(
        _ name: String, _ creation: CreationOptions, _ retries: RetryOptions
    ) throws(IPCError) -> WorkQueue {
        try openAnyType(
            name, orCreate: creation.options(keeping: true), maximumAttempts: retries.attempts,
            backoff: retries.backoff)
    }
}

extension Latest where Value == RawBytes {
    static func openOrCreate(
        _ name: String, keep: Bool, _ permissions: PermissionsOption, _ subscribers: SubscriberPermissionsOption
    ) throws(IPCError) -> Latest {
        var options = LatestOptions()
        options.writers = .shared
        options.lifetime = keep ? .kept : .whileUsed
        options.permissions = permissions.permissions.value
        options.subscriberPermissions = subscribers.subscriberPermissions.value
        return try openAnyType(name, orCreate: options)
    }
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
