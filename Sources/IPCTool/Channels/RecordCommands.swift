import ArgumentParser
import Glibc
import IPC
import IPCChannels
import SystemPackage

/// A recording: a folder of durable channels, one of the same name and type for each channel that was recorded, and beside
/// it, under `NAME/times`, when each of its messages came. So any program can subscribe to it, from the oldest on.
enum Recording {
    static func timesName(_ name: String) -> String { name + "/times" }
}

/// `ipc replay`: a recording, as it was.
struct ReplayCommand: Interruptible {
    static let configuration = CommandConfiguration(
        commandName: "replay", abstract: "Publish a recording again, with its timing, faster, slower, or step by step.",
        discussion: """
            Each message goes to the channel of the same name, which is created if it does not exist. --prefix changes the names.

            Examples:
              ipc replay today.ipc
              ipc replay today.ipc market/quotes --speed 0 --prefix test
              ipc replay today.ipc market/quotes --format csv > quotes.csv

            With --format, the messages are printed and not published, each with the seconds since the first one and its channel. \
            CSV has a column for each field; a field of a nested structure is a.b, and a list is JSON. A message that does not fit \
            its schema is an error line on standard error.
            """)

    @Argument(help: "Folder that ipc record created.") var recording: String
    @Argument(help: "Replay only these channels.") var names: [String] = []
    @Option(
        help: "Speed relative to the recording; 0 for as fast as possible. (default: 1)",
        transform: Numbers.decimal("a number of at least 0, such as 0.5 or 10", 0...))
    var speed: Double?
    @Flag(help: "Publish a message for each line of standard input (Enter).") var step = false
    @Option(help: "Prefix of the channel names; a slash follows it.") var prefix: String?
    @Option(help: "Print the messages, as lines of JSON or as a table.") var format: RecordingExport.Format?
    @OptionGroup var permissions: PermissionsOption
    @OptionGroup var timeout: TimeoutOption

    func validate() throws {
        if step, speed != nil {
            throw ValidationError(
                "--step waits for standard input before each message, so --speed has no effect; leave one of them out.")
        }
        let ofPublishing = [
            ("--speed", speed != nil), ("--step", step), ("--prefix", prefix != nil),
            ("--permissions", permissions.permissions != nil), ("--timeout", timeout.timeout != nil),
        ]
        if format != nil, let (option, _) = ofPublishing.first(where: { $0.1 }) {
            throw ValidationError(
                "--format prints messages and publishes none, so \(option) has no effect; leave one of them out.")
        }
    }

    private final class Track {
        let name: String
        let schema: MessageSchema
        var messages: ChannelTap
        var times: ChannelTap
        /// Nil if the messages are printed.
        var publisher: Topic<RawBytes>.Publisher?
        var next: (time: UInt64, bytes: [UInt8])?

        /// Begins with the oldest message.
        init(
            _ source: AnyChannel, in root: ChannelRoot, _ publisher: consuming Topic<RawBytes>.Publisher?
        ) throws(IPCError) {
            name = source.name.description
            schema = source.schema.message
            messages = try ChannelTap(name, in: root, from: .oldest)
            times = try ChannelTap(Recording.timesName(name), in: root, from: .oldest)
            self.publisher = publisher
            try advance()
        }

        var messageFormat: MessageFormat { MessageFormat(schema, of: name, isRaw: false) }

        /// The track whose next message is the earliest; nil if none has one.
        static func earliest(of tracks: [Track]) -> Track? {
            tracks.filter { $0.next != nil }.min { $0.next!.time < $1.next!.time }
        }

        nonisolated(nonsending) func publish(_ bytes: [UInt8], until deadline: Deadline) async throws(IPCError) {
            try await unsafe publisher!.publish(bytes.span.bytes, until: deadline)
        }

        /// Takes the next message and its time: the two have the same number, whichever of them is kept for longer.
        func advance() throws(IPCError) {
            next = nil
            guard var message = try messages.next(), var time = try times.next() else { return }
            while message.sequence != time.sequence {
                if message.sequence < time.sequence {
                    guard let later = try messages.next() else { return }
                    message = later
                } else {
                    guard let later = try times.next() else { return }
                    time = later
                }
            }
            guard time.bytes.count == 8 else {
                throw IPCError(
                    .corrupted, "replay", name,
                    advice: "a time has \(time.bytes.count) bytes instead of 8; use a recording of ipc record")
            }
            next = (time.bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }, message.bytes)
        }
    }

    func perform() async throws {
        let root = ChannelRoot(FilePath(recording))
        let recorded = try root.names().map(\.description)
        let all = recorded.filter { !$0.hasSuffix("/times") && recorded.contains(Recording.timesName($0)) }
        for name in names where !all.contains(name) {
            throw IPCError(
                .notFound, "replay", name,
                advice: "it is not in this recording; choose from: \(all.joined(separator: ", "))")
        }
        guard !all.isEmpty else {
            throw IPCError(
                .notFound, "replay", recording, advice: "this is not a recording; ipc record NAME -o FOLDER makes one")
        }
        var tracks: [Track] = []
        for name in names.isEmpty ? all : names {
            let source = try AnyChannel.open(name, in: root)
            if format != nil {
                tracks.append(try Track(source, in: root, nil))
                continue
            }
            let target = (prefix.map { $0 + "/" } ?? "") + name
            let topic = try AnyChannel.openOrCreate(
                .topic, target, ChannelOptions(permissions: permissions.permissions?.value),
                defaults: ChannelOptions(writers: .shared, lifetime: .kept), schema: source.schema
            ).topic
            tracks.append(try Track(source, in: root, topic.makePublisher()))
        }
        if let format { try await export(tracks, format) } else { try await replay(tracks) }
    }

    /// Prints the messages of all tracks, in the order of their times.
    private func export(_ tracks: [Track], _ format: RecordingExport.Format) async throws {
        let export = RecordingExport(format, tracks.map { ($0.name, $0.schema) })
        if let header = export.header { try MessageOutput.put(line: header) }
        var first: UInt64?
        while let track = Track.earliest(of: tracks) {
            try Task.checkCancellation()
            let (time, bytes) = track.next!
            if first == nil { first = time }
            let elapsed = Int64(truncatingIfNeeded: time &- first!)
            let line = MessageFormat.skippingInvalid { () throws(IPCError) in
                try export.line(track.name, elapsed, bytes)
            }
            if let line { try MessageOutput.put(line: line) }
            try track.advance()
        }
    }

    private func replay(_ tracks: [Track]) async throws {
        var (first, start): (UInt64?, UInt64) = (nil, MonotonicClock.now)
        let (longest, speed) = (Double(1 << 62), speed ?? 1)
        var lines = MessageInput(.lines)
        while let track = Track.earliest(of: tracks) {
            let (time, bytes) = track.next!
            if step {
                let text = MessageFormat.skippingInvalid { () throws(IPCError) in
                    try track.messageFormat.printable(bytes, limit: 60)
                }
                printError("\(track.name)  \(text ?? Table.printable(bytes, limit: 60))")
                guard try await lines.next() != nil else { return }
            } else if speed > 0 {
                if first == nil { (first, start) = (time, MonotonicClock.now) }
                // One whose time goes backwards comes at once; one that is due in more than a century, never.
                let elapsed = time > first! ? Double(time - first!) : 0
                let due = start + UInt64(min(elapsed / speed, longest))
                while true {
                    let now = MonotonicClock.now
                    guard due > now else { break }
                    try await Task.sleep(for: .nanoseconds(Int64(clamping: min(due - now, 3_600_000_000_000))))
                }
            }
            try await track.publish(bytes, until: timeout.deadline)
            try track.advance()
        }
    }
}
