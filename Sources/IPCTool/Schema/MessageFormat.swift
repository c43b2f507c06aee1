import ArgumentParser
import IPC
import IPCChannels

/// `--raw`: messages as bytes, whatever the channel's schema says.
struct RawOption: ParsableArguments {
    @Flag(
        name: .long,
        help: """
            Use the bytes of messages as they are, also if the channel has a schema (ipc schema). Otherwise its messages are \
            JSON, one on a line; --hex, --length-prefixed and --whole also mean bytes.
            """
    )
    var raw = false
}

/// How a command reads and prints the messages of a channel: as JSON by their schema, or as bytes.
struct MessageFormat: Sendable {
    /// Nil for bytes.
    private let schema: MessageSchema?
    private let framing: Framing
    private let channel: String

    /// - Parameters:
    ///   - schema: What the messages consist of.
    ///   - channel: The channel's name, for errors.
    ///   - framing: The framing of bytes. All but lines mean bytes.
    ///   - isRaw: Whether messages are bytes, whatever the schema says.
    init(_ schema: MessageSchema, of channel: String, _ framing: Framing = .lines, isRaw: Bool) {
        self.schema = isRaw || framing != .lines || schema == .bytes ? nil : schema
        self.framing = framing
        self.channel = channel
    }

    init(_ channel: AnyChannel, _ framing: Framing = .lines, isRaw: Bool) {
        self.init(channel.schema.message, of: channel.name.description, framing, isRaw: isRaw)
    }

    /// A message as JSON by its schema; nil for bytes.
    ///
    /// - Throws: `corrupted`, with the field, if it is not a value of the schema.
    func json(_ message: [UInt8]) throws(IPCError) -> JSONValue? {
        guard let schema else { return nil }
        do throws(IPCError) { return try schema.jsonValue(of: message) } catch {
            throw IPCError(error.code, "read message", channel, advice: error.advice)
        }
    }

    /// A message as it is printed, and given to a command.
    ///
    /// - Throws: As ``json(_:)``.
    func framed(_ message: [UInt8]) throws(IPCError) -> [UInt8] {
        framing.framed(try json(message).map { Array($0.text.utf8) } ?? message)
    }

    /// A message as a member of an object: `message`, or `text` or `hex` for bytes.
    ///
    /// - Throws: As ``json(_:)``.
    func member(_ message: [UInt8]) throws(IPCError) -> (String, JSONValue) {
        try json(message).map { ("message", $0) } ?? message.json
    }

    /// A message in a line that has more on it.
    ///
    /// - Throws: As ``json(_:)``.
    func printable(_ message: [UInt8], limit: Int = .max) throws(IPCError) -> String {
        Table.printable(try json(message).map { Array($0.text.utf8) } ?? message, limit: limit)
    }

    /// The bytes of a message from what was given for it.
    ///
    /// - Throws: `invalidArgument`, with the field, if it is not JSON that fits the schema.
    func message(_ given: [UInt8]) throws(IPCError) -> [UInt8] {
        guard let schema else { return given }
        guard let text = String(validating: given, as: UTF8.self) else {
            throw IPCError(
                .invalidArgument, "write message", channel,
                advice: "the message is not UTF-8, and the channel takes JSON; give JSON, or send bytes with --raw")
        }
        do throws(IPCError) { return try schema.message(json: text) } catch {
            throw IPCError(
                error.code, "write message", channel,
                advice: "\(error.advice); ipc schema \(channel) prints the schema, and --raw sends bytes")
        }
    }

    /// What `body` makes of a message; nil if the message does not fit the schema. Standard error then says so.
    static func skippingInvalid<Result>(_ body: () throws(IPCError) -> Result) -> Result? {
        do throws(IPCError) { return try body() } catch {
            printError("ipc: \(error)")
            return nil
        }
    }
}

/// Where messages go that are printed one by one.
struct ValueOutput {
    private let format: MessageFormat
    private let isJSON: Bool

    init(_ format: MessageFormat, _ output: FormatOption) {
        self.format = format
        isJSON = output.format == .json
    }

    /// Prints a message. If it does not fit the schema, standard error says so.
    ///
    /// - Returns: Whether it was printed.
    @discardableResult
    func write(_ message: [UInt8]) throws -> Bool {
        let format = format
        if isJSON {
            guard let member = MessageFormat.skippingInvalid({ () throws(IPCError) in try format.member(message) })
            else { return false }
            try MessageOutput.put(line: JSONValue.members([member]).text)
        } else {
            guard let bytes = MessageFormat.skippingInvalid({ () throws(IPCError) in try format.framed(message) })
            else { return false }
            try MessageOutput.put(bytes)
        }
        return true
    }
}
