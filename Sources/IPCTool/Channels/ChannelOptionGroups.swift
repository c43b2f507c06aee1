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
    static func openOrCreate(_ name: String, _ creation: CreationOptions) throws(IPCError) -> Topic {
        try openAnyType(name, orCreate: creation.options())
    }
}

extension WorkQueue where Message == RawBytes {
    static func openOrCreate(_ name: String, _ creation: CreationOptions, attempts: Int = 5) throws(IPCError)
        -> WorkQueue
    {
        try openAnyType(name, orCreate: creation.options(keeping: true), maximumAttempts: attempts)
    }
}

extension Latest where Value == RawBytes {
    static func openOrCreate(_ name: String, keep: Bool, _ permissions: PermissionsOption) throws(IPCError) -> Latest {
        var options = LatestOptions()
        options.writers = .shared
        options.lifetime = keep ? .kept : .whileUsed
        options.permissions = permissions.permissions.value
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
