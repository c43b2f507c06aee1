import ArgumentParser
import Glibc
import IPC
import IPCChannels
import SystemPackage

/// `ipc record`: what passes, into a folder, or as lines.
struct RecordCommand: Interruptible {
    static let configuration = CommandConfiguration(
        commandName: "record", abstract: "Record the messages of channels, until interrupted.",
        discussion: """
            The recording is a folder of durable channels with the same names and types. Any program can subscribe to them, with \
            IPC_ROOT set to the folder. Each keeps the newest messages that fit into --capacity. Recording does not affect the \
            participants. What was overwritten before it was recorded is told on standard error.

            With --format, the recording is a file of lines, or standard output without --output: what ipc replay --format prints of \
            a folder. Each line is whole, also if the command is interrupted. A message that does not fit its schema is an error \
            line on standard error.

            Examples:
              ipc record market/quotes orders -o today.ipc
              ipc replay today.ipc --speed 10
              IPC_ROOT=$PWD/today.ipc ipc topic subscribe market/quotes --from oldest
              ipc record market/quotes --format jsonl -o today.jsonl
              ipc record market/quotes --format csv | grep ,7,
            """)

    @Argument(help: "Channels to record.", completion: ChannelCompletion.anyPattern) var names: [String]
    @Option(
        name: [.customShort("o"), .long],
        help: "Folder of the recording, or file of its lines; it must not exist.") var output: String?
    @Option(help: "Record lines of JSON, or a table.") var format: RecordingExport.Format?
    @Option(
        help: "Bytes that are kept of each channel. (default: 67108864)",
        transform: Numbers.whole(1...1 << 40))
    var capacity: Int?
    @Option(help: "The first message: next, oldest, or last:N.") var from = StartArgument(.next)
    @Option(name: .long, help: "Stop after N messages.", transform: Numbers.count) var count: Int?
    @OptionGroup var permissions: PermissionsOption

    func validate() throws {
        if format == nil, output == nil {
            throw ValidationError("name a folder for the recording by --output, or print lines by --format.")
        }
        if format != nil, capacity != nil {
            throw ValidationError(
                "--format records lines, of which all are kept, so --capacity has no effect; leave it out.")
        }
        if format != nil, output == nil, permissions.permissions != nil {
            throw ValidationError("without --output, there is no file that could have --permissions; leave them out.")
        }
    }

    /// A channel that is recorded.
    private final class Source {
        let name: String
        private var tap: ChannelTap
        private var missed: UInt64 = 0

        init(_ name: String, from start: SubscriptionStart) throws(IPCError) {
            self.name = name
            tap = try ChannelTap(name, from: start)
        }

        /// The next message. Says what was missed before it.
        func next() throws(IPCError) -> [UInt8]? {
            let message = try tap.next()
            if tap.missedBytes != missed {
                printError(
                    "ipc: \(name): \(tap.missedBytes - missed) bytes of the log were overwritten before they were recorded"
                )
                missed = tap.missedBytes
            }
            return message?.bytes
        }
    }

    func perform() async throws {
        guard !names.isEmpty else { throw ValidationError("name at least one channel.") }
        if let output, ProcFiles.status(output) != nil {
            throw IPCError(
                .alreadyExists, "record", output, advice: "it exists already; choose another name, or remove it")
        }
        if let twice = names.first(where: { name in names.count { $0 == name } > 1 }) {
            throw IPCError(.invalidArgument, "record", twice, advice: "it is named twice; name each channel once")
        }
        // All are opened before anything is made.
        var sources: [Source] = []
        for name in names { sources.append(try Source(name, from: from.start)) }
        var recorded = 0
        func tell() { printError("ipc: recorded \(recorded) messages" + (output.map { " in \($0)" } ?? "")) }
        do {
            if let format {
                try await recordLines(sources, format, &recorded)
            } else if let output {
                try await recordChannels(sources, output, &recorded)
            }
        } catch {
            if recorded > 0 { tell() }
            throw error
        }
        tell()
    }

    /// Gives each message to `body`, until the command is interrupted or has enough of them.
    ///
    /// - Parameter body: Records a message of the channel of this number, and returns whether it could.
    private func follow(
        _ sources: [Source], _ recorded: inout Int, _ body: (Int, [UInt8]) throws -> Bool
    ) async throws {
        if count == 0 { return }
        var pause = Self.shortestPause
        while !Task.isCancelled {
            var isIdle = true
            for (index, source) in sources.enumerated() {
                // Not all that comes: another channel has its turn, and an interrupted command ends.
                for _ in 0..<Self.turn {
                    guard !Task.isCancelled, let message = try source.next() else { break }
                    isIdle = false
                    if try body(index, message) { recorded += 1 }
                    if recorded == count { return }
                }
            }
            // Nobody wakes it, since nobody knows of it. The longer nothing comes, the more seldom it looks.
            pause = isIdle ? min(pause * 2, Self.longestPause) : Self.shortestPause
            if isIdle { try? await Task.sleep(for: pause) }
        }
    }

    private static let shortestPause = Duration.milliseconds(1)
    private static let longestPause = Duration.milliseconds(20)
    /// How many messages of one channel are recorded before those of the next.
    private static let turn = 1024

    // MARK: Lines

    private func recordLines(
        _ sources: [Source], _ format: RecordingExport.Format, _ recorded: inout Int
    ) async throws {
        var channels: [(String, MessageSchema)] = []
        for source in sources { channels.append((source.name, try AnyChannel.open(source.name).schema.message)) }
        let export = RecordingExport(format, channels)
        let file = try output.map { (path) throws(IPCError) in
            try LineFile(path, permissions.permissions?.value ?? [.ownerReadWrite])
        }
        func put(_ line: String) throws(IPCError) {
            if let file { try file.put(line) } else { try MessageOutput.put(line: line, grace: .milliseconds(500)) }
        }
        var first: UInt64?
        do {
            if let header = export.header { try put(header) }
            try await follow(sources, &recorded) { index, message in
                let now = MonotonicClock.now
                if first == nil { first = now }
                let elapsed = Int64(truncatingIfNeeded: now - first!)
                let line = MessageFormat.skippingInvalid { () throws(IPCError) in
                    try export.line(sources[index].name, elapsed, message)
                }
                if let line { try put(line) }
                return line != nil
            }
        } catch {
            // What has messages is worth something; what has none is litter.
            if recorded == 0, let output { unsafe unlink(output) }
            throw error
        }
    }

    // MARK: Channels

    private func recordChannels(_ sources: [Source], _ output: String, _ recorded: inout Int) async throws {
        // This makes it, so that nothing of somebody else's is recorded into, or removed.
        guard unsafe mkdir(output, 0o700) == 0 else { throw IPCError("mkdir", output, Errno(rawValue: errno)) }
        let root = ChannelRoot(FilePath(output))
        do {
            if count == 0 { return }
            let capacity = capacity ?? 1 << 26
            let options = ChannelOptions(
                overflow: .overwrite, lifetime: .kept, durability: .syncedWhenAsked, capacity: capacity,
                permissions: permissions.permissions?.value)
            var small = options
            small.capacity = max(capacity / 4, 65_536)
            var tracks: [Track] = []
            for source in sources {
                tracks.append(
                    Track(
                        try AnyChannel.openOrCreate(
                            .topic, source.name, in: root, options, schema: AnyChannel.open(source.name).schema
                        ).topic.makePublisher(),
                        try Topic<RawBytes>.openOrCreate(Recording.timesName(source.name), in: root, small)
                            .makePublisher()))
            }
            try await follow(sources, &recorded) { index, message in
                let now = MonotonicClock.now
                try tracks[index].messages.tryPublish(message)
                try tracks[index].times.tryPublish((0..<8).map { UInt8(truncatingIfNeeded: now >> (8 * $0)) })
                return true
            }
            for track in tracks {
                try track.messages.sync()
                try track.times.sync()
            }
        } catch {
            // As above.
            if recorded == 0 { Self.remove(root) }
            throw error
        }
    }

    /// The channels that one channel is recorded into.
    private final class Track {
        var messages: Topic<RawBytes>.Publisher
        var times: Topic<RawBytes>.Publisher

        init(_ messages: consuming Topic<RawBytes>.Publisher, _ times: consuming Topic<RawBytes>.Publisher) {
            self.messages = messages
            self.times = times
        }
    }

    private static func remove(_ root: ChannelRoot) {
        do throws(IPCError) {
            for name in try root.names() { try Topic<RawBytes>.remove(name.description, in: root) }
            try root.removeIfUnused()
        } catch {
            printError("ipc: \(error)")
        }
    }
}

extension Topic.Publisher where Message == RawBytes {
    /// Publishes where nobody is waited for.
    fileprivate mutating func tryPublish(_ bytes: [UInt8]) throws(IPCError) {
        _ = try unsafe tryPublish(bytes.span.bytes)
    }
}

/// A new file of lines, each of which is whole.
private final class LineFile {
    private let path: String
    private let descriptor: CInt
    /// The size of the whole lines in bytes.
    private var size = 0

    init(_ path: String, _ permissions: FilePermissions) throws(IPCError) {
        self.path = path
        descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw IPCError("open", path, Errno(rawValue: errno)) }
        guard fchmod(descriptor, permissions.rawValue) == 0 else {
            throw IPCError("fchmod", path, Errno(rawValue: errno))
        }
    }

    deinit { close(descriptor) }

    /// - Throws: If there is no room. Then nothing of the line is in the file.
    func put(_ line: String) throws(IPCError) {
        let bytes = Array((line + "\n").utf8)
        var start = 0
        while start < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                unsafe Glibc.write(descriptor, buffer.baseAddress! + start, buffer.count - start)
            }
            guard count >= 0 else {
                let error = Errno(rawValue: errno)
                if error == .interrupted { continue }
                // What cannot be cut off either is told of by the same error.
                _ = ftruncate(descriptor, size)
                throw IPCError("write", path, error)
            }
            start += count
        }
        size += bytes.count
    }
}
