import ArgumentParser
import Glibc
import IPC
import IPCBenchmarks
import IPCChannels

/// `ipc top`: channels, live.
struct TopCommand: Interruptible {
    static let configuration = CommandConfiguration(
        commandName: "top",
        abstract: "Show channels live: rates, depths, slowest reader, participants, and which are dead.",
        discussion: """
            "behind" is the number of bytes that the slowest reader has not read. For a queue or a service with a log of up to \
            64 MiB, it is the number of waiting and taken messages.

            With a name, it shows that channel: its participants, and its newest messages, as JSON if it has a schema.

            Keys: r, d, n sort by rate, depth, name; / filters by a part of the name; up, down and Enter open a channel, \
            Escape returns; q quits. Without a terminal, it prints a table every interval.
            """)

    @Argument(help: "Show only this channel.", completion: ChannelCompletion.anyPattern) var name: String?
    @Option(
        help: "Seconds between refreshes. (default: 1)",
        transform: Numbers.decimal("a number of seconds from 0.1 to 3600", 0.1...3600))
    var interval = 1.0
    @Option(help: "Stop after N refreshes.", transform: Numbers.count) var count: Int?

    func perform() async throws {
        let isTerminal = isatty(STDOUT_FILENO) == 1 && isatty(STDIN_FILENO) == 1
        let terminal = isTerminal ? Terminal() : nil
        defer { terminal?.restore() }
        // One that cannot be looked at is an error now, and not an empty screen.
        if let name { _ = try ChannelDescription(ChannelName(name), countsMessages: false) }
        var screen = TopScreen(opened: name)
        for look in 0..<(count ?? .max) {
            try screen.update()
            if let terminal {
                terminal.draw(screen.lines(width: terminal.size.columns), rows: terminal.size.rows)
            } else {
                try MessageOutput.put(line: (look > 0 ? "\n" : "") + screen.lines(width: .max).joined(separator: "\n"))
            }
            if look + 1 == count { return }
            let next = Deadline.after(.nanoseconds(Int64(interval * 1e9)))
            if let terminal {
                while let key = try await terminal.key(until: next) {
                    if screen.press(key) == .quit { return }
                    terminal.draw(screen.lines(width: terminal.size.columns), rows: terminal.size.rows)
                }
            } else {
                try await Task.sleep(for: .seconds(interval))
            }
        }
    }
}

extension ChannelDescription {
    /// Whether its messages are taken and acknowledged.
    var carriesWork: Bool { pattern == .workQueue || pattern == .service }

    /// Of what is taken and acknowledged, how much there is: `3 waiting, 1 taken`; nil if there is nothing.
    var workText: String? {
        guard carriesWork, messageCount > 0 else { return nil }
        return "\(max(messageCount - takenCount, 0)) waiting, \(takenCount) taken"
    }
}

/// What `ipc top` shows, and how it answers to keys.
struct TopScreen {
    fileprivate struct Row {
        var channel: ChannelDescription
        var rate: Double

        /// How many bytes the slowest reader is behind; of a queue and a service, those of all that is not done.
        var backlog: Int {
            if channel.workText != nil { return max(channel.occupiedBytes - channel.doneBytes, 0) + channel.asideBytes }
            return channel.participants.compactMap(\.backlog).max() ?? 0
        }

        /// The same for people; nil if there is nothing.
        var behind: String? { channel.workText ?? (backlog > 0 ? Table.size(backlog) : nil) }
    }

    /// Bytes of the largest log whose messages are counted at each look.
    private static let countedCapacity = 1 << 26

    enum Sort { case rate, depth, name }
    enum Answer { case goOn, quit }

    private var rows: [String: Row] = [:]
    /// How many are there, and cannot be looked at.
    private var unreadable = 0
    private var bridges = BridgeLines()
    private var lastLook: ContinuousClock.Instant?
    private var sort = Sort.rate
    private var filter = ""
    private var isFiltering = false
    private var selected = 0
    private var opened: String?
    private var recent: [String] = []
    /// The longest message that is shown, in characters.
    private static let longestShown = 1000

    /// - Parameter opened: The channel that is looked into.
    init(opened: String? = nil) { self.opened = opened }

    /// - Throws: If the root cannot be looked at: then there is nothing to show, and none of it would be true.
    mutating func update() throws(IPCError) {
        let root = ChannelRoot.current
        let now = ContinuousClock.now
        let elapsed = lastLook.map { (now - $0) / .seconds(1) } ?? 0
        var fresh: [String: Row] = [:]
        unreadable = 0
        bridges = BridgeLines()
        for name in try root.names() {
            let channel: ChannelDescription
            do throws(IPCError) {
                // To count messages walks through the log: that is done for the one that is looked into, and for queues that are
                // not too large.
                let isOpened = opened == name.description
                let description = try ChannelDescription(name, in: root, countsMessages: isOpened)
                channel =
                    !isOpened && description.carriesWork && description.attributes.capacity <= Self.countedCapacity
                    ? try ChannelDescription(name, in: root) : description
                if BridgeLines.isStatus(name) { try bridges.add(description, in: root) }
            } catch {
                if Inventory.isToBeTold(error, name, in: root) { unreadable += 1 }
                continue
            }
            let before = rows[name.description]?.channel.publishedCount
            let published = before.map { channel.publishedCount >= $0 ? Double(channel.publishedCount - $0) : 0 } ?? 0
            fresh[name.description] = Row(channel: channel, rate: elapsed > 0 ? published / elapsed : 0)
        }
        rows = fresh
        lastLook = now
        if let opened { look(into: opened) }
    }

    private mutating func look(into name: String) {
        guard var tap = try? ChannelTap(name, from: .last(8)) else { return }
        // With bytes, also what has no usable schema can be looked at.
        let schema = (try? AnyChannel.open(name).schema.message) ?? .bytes
        let format = MessageFormat(schema, of: name, isRaw: false)
        recent = []
        while let message = try? tap.next(), recent.count < 8 {
            let text = try? format.printable(message.bytes, limit: Self.longestShown)
            recent.append(text ?? Table.printable(message.bytes, limit: 60) + "  (does not fit the schema)")
        }
    }

    fileprivate var shown: [Row] {
        let all = rows.values.filter { filter.isEmpty || $0.channel.name.description.contains(filter) }
        return all.sorted { left, right in
            let names = left.channel.name.description < right.channel.name.description
            switch sort {
            case .rate: return left.rate == right.rate ? names : left.rate > right.rate
            case .depth: return left.backlog == right.backlog ? names : left.backlog > right.backlog
            case .name: return names
            }
        }
    }

    mutating func press(_ key: Terminal.Key) -> Answer {
        if isFiltering {
            switch key {
            case .character(let character): filter.append(character)
            case .backspace: _ = filter.popLast()
            case .enter: isFiltering = false
            case .escape: (isFiltering, filter) = (false, "")
            default: break
            }
            return .goOn
        }
        switch key {
        case .character("q"): return .quit
        case .character("r"): sort = .rate
        case .character("d"): sort = .depth
        case .character("n"): sort = .name
        case .character("/"): isFiltering = true
        case .up: selected = max(selected - 1, 0)
        case .down: selected = min(selected + 1, max(shown.count - 1, 0))
        case .enter:
            if selected < shown.count {
                opened = shown[selected].channel.name.description
                look(into: opened!)
            }
        case .escape: (opened, recent) = (nil, [])
        default: break
        }
        return .goOn
    }

    /// Control characters are escaped: types and commands have the names that others chose.
    func lines(width: Int) -> [String] { content(width: width).map(\.escapingControls) }

    private func content(width: Int) -> [String] {
        let shown = shown
        let rate = shown.reduce(0) { $0 + $1.rate }
        var lines = [
            "\(shown.count) channels, \(Self.number(rate)) messages/s"
                + (unreadable > 0 ? ", \(unreadable) more cannot be read: ipc ls channel" : "")
                + (isFiltering || !filter.isEmpty ? "  /\(filter)" : "")
        ]
        lines += bridges.heads
        if let opened {
            let rest = rows[opened].map { detail($0) } ?? ["", "\(opened): there is no such channel now"]
            return (lines + rest).flatMap { Self.wrapped($0, width) }
        }
        var table = [
            [
                "name", "pattern", "messages/s", "published", "behind", "readers", "writers", "dead", "recovered",
                "bytes", "type",
            ]
        ]
        for row in shown {
            let participants = row.channel.participants
            func count(_ role: ChannelDescription.Participant.Role) -> String {
                "\(participants.count { $0.role == role && $0.isAlive })"
            }
            table.append([
                row.channel.name.description, "\(row.channel.pattern)", Self.number(row.rate),
                "\(row.channel.publishedCount)", row.behind ?? "-", count(.reader),
                count(.writer),
                "\(participants.count { !$0.isAlive })", "\(row.channel.recoveryCount)",
                row.channel.messageSize.map { "\($0)" } ?? "-", row.channel.messageType,
            ])
        }
        let text = TableFormat.aligned(table, numeric: [2, 3, 4, 5, 6, 7, 8, 9]).split(separator: "\n").map(String.init)
        for (index, line) in text.enumerated() {
            lines.append((width != .max && index == selected + 1 ? "> " : width == .max ? "" : "  ") + line)
        }
        return lines.map { String($0.prefix(width)) }
    }

    private static func wrapped(_ line: String, _ width: Int) -> [String] {
        guard line.count > width else { return [line] }
        return [String(line.prefix(width))] + wrapped(String(line.dropFirst(width)), width)
    }

    private func detail(_ row: Row) -> [String] {
        let channel = row.channel
        let work = channel.workText.map { ": \($0)" } ?? ""
        var lines = [
            "",
            "\(channel.name)  \(channel.pattern)  \(channel.messageType)\(channel.messageSize.map { "  \($0) bytes" } ?? "")",
            "\(Self.number(row.rate)) messages/s, \(channel.messageCount) in the log of \(Table.size(channel.attributes.capacity))\(work)",
            "",
        ]
        for participant in channel.participants {
            let role = "\(participant.role)"
            let behind = participant.backlog.map { "  \(Table.size($0)) behind" } ?? ""
            lines.append(
                "\(role)  \(participant.process)  \(ProcFiles.command(participant.process))\(behind)\(participant.isAlive ? "" : "  dead")"
            )
        }
        lines += (bridges.carried[channel.name.description] ?? []).map(\.line)
        return lines + ["", "newest:"] + recent.map { "  " + $0 }
    }

    private static func number(_ value: Double) -> String {
        value >= 1e6
            ? "\((value / 1e5).rounded() / 10) M"
            : value >= 1e3 ? "\((value / 100).rounded() / 10) k" : "\(Int(value.rounded()))"
    }
}

extension TopScreen {
    /// The same for a page.
    var json: JSONValue {
        .array(
            shown.map { row in
                let channel = row.channel
                let participants = channel.participants.map { participant in
                    JSONValue.members([
                        ("role", .string("\(participant.role)")),
                        ("process", .integer(Int(participant.process))), ("alive", .bool(participant.isAlive)),
                    ])
                }
                return .members([
                    ("name", .string(channel.name.description)), ("pattern", .string("\(channel.pattern)")),
                    ("type", .string(channel.messageType)), ("rate", .decimal(row.rate)),
                    ("published", .integer(Int(clamping: channel.publishedCount))),
                    ("behind", JSONValue(row.behind)),
                    ("bridges", .array((bridges.carried[channel.name.description] ?? []).map { .string($0.line) })),
                    ("participants", .array(participants)),
                ])
            })
    }
}
