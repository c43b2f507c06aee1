import ArgumentParser
import IPC
import IPCChannels

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

    func options(keeping: Bool = false) -> ChannelOptions {
        ChannelOptions(writers: .shared, lifetime: keep || keeping ? .kept : .whileUsed, capacity: capacity)
    }
}

extension Topic where Message == RawBytes {
    /// A topic of whatever type, made now if there is none.
    static func openOrCreate(_ name: String, _ creation: CreationOptions) throws(IPCError) -> Topic {
        do throws(IPCError) { return try openAnyType(name) } catch  where error.code == .notFound {
            return try create(name, creation.options())
        }
    }
}

extension WorkQueue where Message == RawBytes {
    static func openOrCreate(_ name: String, _ creation: CreationOptions, attempts: Int = 5) throws(IPCError)
        -> WorkQueue
    {
        do throws(IPCError) { return try openAnyType(name, maximumAttempts: attempts) } catch
            where error.code == .notFound
        {
            return try create(name, creation.options(keeping: true), maximumAttempts: attempts)
        }
    }
}

extension Latest where Value == RawBytes {
    static func openOrCreate(_ name: String, keep: Bool) throws(IPCError) -> Latest {
        do throws(IPCError) { return try openAnyType(name) } catch  where error.code == .notFound {
            var options = LatestOptions()
            options.writers = .shared
            options.lifetime = keep ? .kept : .whileUsed
            return try create(name, options)
        }
    }
}

/// Checks a message against the type that its channel carries.
struct MessageCheck {
    private let name: String
    private let size: Int?
    private let type: String

    init(_ name: String) throws(IPCError) {
        let channel = try ChannelDescription(ChannelName(name))
        self.name = name
        size = channel.messageSize
        type = channel.messageType
    }

    func check(_ message: [UInt8]) throws(IPCError) {
        guard let size, size != message.count else { return }
        throw IPCError(
            .invalidArgument, "send", name,
            advice:
                "its messages are of the type \(type), of \(size) bytes, and this one has \(message.count); use --hex or --whole"
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
