import ArgumentParser
import Glibc
import IPC
import IPCChannels

/// `ipc tap`: what passes over a channel, without taking part.
struct TapCommand: Interruptible {
    static let configuration = CommandConfiguration(
        commandName: "tap", abstract: "Print a channel's messages as they pass, without being a participant.",
        discussion: """
            It takes no slot in the channel, holds no writer back, and takes no message. It reports the log bytes that were \
            overwritten before it read them.

            Examples:
              ipc tap market/quotes --format hex
              ipc tap orders --from oldest --format json | jq .

            If the channel has a schema, each message is printed as JSON: a call's request, for a service. A message that does not \
            fit the schema is an error line on standard error, and the command continues.
            """)

    enum Decoding: String, CaseIterable, ExpressibleByArgument { case text, json, hex }

    @OptionGroup var channel: ChannelArgument
    @Option(name: [.customLong("format"), .customLong("as")], help: "How to print a message.") var decoding = Decoding
        .text
    @Option(help: "The first message: next, oldest, last:N, or a position.") var from = StartArgument(.next)
    @Option(name: .long, help: "Stop after N messages.", transform: Numbers.count) var count: Int?
    @Flag(name: .long, help: "Print bytes, also if the channel has a schema.") var raw = false
    @OptionGroup var timeout: TimeoutOption

    func perform() async throws {
        var tap = try ChannelTap(channel.name, from: from.start)
        let format = try messageFormat
        var (left, missed) = (count ?? .max, UInt64(0))
        var deadline = timeout.deadline
        var isOver = false
        while left > 0 {
            guard let message = try tap.next() else {
                if isOver { return }
                // What has passed until then is to be seen first.
                isOver = try tap.isRemoved
                if isOver { continue }
                guard !deadline.hasPassed else {
                    throw IPCError(.timedOut, "tap", channel.name, advice: "no message passed before the time-out")
                }
                // Nobody wakes it, since nobody knows of it.
                try await Task.sleep(for: .milliseconds(10))
                continue
            }
            if tap.missedBytes != missed {
                printError("ipc: \(tap.missedBytes - missed) bytes of the log were overwritten before they were read")
                missed = tap.missedBytes
            }
            let text = MessageFormat.skippingInvalid { () throws(IPCError) in try line(message, format) }
            if let text { try MessageOutput.put(line: text) }
            left -= 1
            deadline = timeout.deadline
        }
    }

    private var messageFormat: MessageFormat {
        get throws(IPCError) {
            // With bytes, also what has no usable schema can be looked at.
            let schema = raw || decoding == .hex ? .bytes : try AnyChannel.open(channel.name).schema.message
            return MessageFormat(schema, of: channel.name, isRaw: raw)
        }
    }

    private func line(_ message: ChannelTap.Message, _ format: MessageFormat) throws(IPCError) -> String {
        switch decoding {
        case .text: return try format.printable(message.bytes)
        case .hex: return message.bytes.hexadecimal
        case .json:
            var members: [(String, JSONValue)] = [
                ("position", .string(message.position.description)), ("writer", .integer(message.writer)),
                ("sequence", .integer(message.sequence)),
            ]
            if let work = message.work {
                members += [("stage", .string(work.stage.rawValue)), ("attempts", .integer(work.attempts))]
            }
            return JSONValue.members(members + [try format.member(message.bytes)]).text
        }
    }
}
