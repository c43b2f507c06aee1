import ArgumentParser
import Glibc
import IPC
import IPCBenchmarks
import IPCChannels

extension SystemObject.Kind: ExpressibleByArgument {}

/// `ipc ls`: all that exists here.
struct ListCommand: Interruptible {
    static let configuration = CommandConfiguration(
        commandName: "ls", abstract: "List IPC objects, and the processes that use them.",
        discussion: """
            Kinds: channel; shm, sem and mq (POSIX); sysv; fifo and pipe (those that are open); unix, tcp and udp (sockets). \
            Anonymous pipes are listed only on request: ipc ls pipe. \
            Only the superuser sees the processes of other users. A star marks objects whose users are all dead; ipc clean \
            removes them. Objects that cannot be read are reported on standard error; the exit code is that of the first such \
            error.

            Examples:
              ipc ls
              ipc ls channel mq
              ipc ls --format json | jq '.[] | select(.stale)'
            """)

    @Argument(help: "List only these kinds.") var kinds: [SystemObject.Kind] = []
    @OptionGroup var format: FormatOption

    func perform() async throws {
        let inventory = Inventory(kinds.isEmpty ? Set(SystemObject.Kind.allCases).subtracting([.pipe]) : Set(kinds))
        if format.format == .json {
            try MessageOutput.put(line: JSON.array(inventory.objects.map(\.json)).text)
        } else {
            var rows = [["kind", "name", "size", "depth", "mode", "owner", "processes", "what"]]
            for object in inventory.objects {
                let holders =
                    object.holders.prefix(3).map { "\($0) \(ProcFiles.command($0))" }
                    + (object.holders.count > 3 ? ["\(object.holders.count - 3) more"] : [])
                rows.append([
                    object.kind.rawValue + (object.staleness == nil ? "" : " *"), object.name, Table.size(object.size),
                    object.depth ?? "-", object.mode ?? "-", object.owner ?? "-",
                    holders.isEmpty ? "-" : holders.joined(separator: ", "), object.staleness ?? object.detail ?? "",
                ])
            }
            try MessageOutput.put(line: TableFormat.aligned(rows, numeric: [2, 3]))
        }
        try inventory.tellFailure()
    }
}

/// `ipc info`: one thing.
struct InfoCommand: Interruptible {
    static let configuration = CommandConfiguration(
        commandName: "info", abstract: "Print all facts about one object: a channel, or any other that ipc ls lists.")

    @Argument(help: "Its name, as ipc ls prints it.", completion: ChannelCompletion.ofCommand) var name: String
    @OptionGroup var format: FormatOption
    @Flag(help: "Print what the channel's messages consist of, as JSON on one line, and nothing else.") var schema =
        false

    func perform() async throws {
        if schema { return try MessageOutput.put(line: AnyChannel.open(name).schema.json) }
        var failure: IPCError?
        if let channelName = try? ChannelName(name) {
            let channel: ChannelDescription?
            do throws(IPCError) { channel = try ChannelDescription(channelName) } catch {
                channel = nil
                if error.code != .notFound { failure = error }
            }
            if let channel { return try show(channel) }
        }
        var found = Inventory(Set(SystemObject.Kind.allCases)).objects.filter { $0.name == name }
        // Where their file system is not mounted they are not listed, and can be opened.
        if !found.contains(where: { $0.kind == .mq }), let queue = Inventory.messageQueue(name) { found.append(queue) }
        guard !found.isEmpty else {
            // There is such a channel, and it cannot be looked at.
            if let failure { throw failure }
            throw IPCError(.notFound, "info", name, advice: "there is no object of this name; ipc ls lists all objects")
        }
        for object in found {
            if format.format == .json {
                try MessageOutput.put(line: object.json.text)
                continue
            }
            let facts: [(String, String?)] = [
                ("kind", object.kind.rawValue), ("name", object.name), ("size", object.size.map { "\($0) B" }),
                ("depth", object.depth), ("mode", object.mode), ("owner", object.owner),
                ("what", object.staleness ?? object.detail),
            ]
            var rows = facts.compactMap { fact in fact.1.map { [fact.0, $0] } }
            rows += object.holders.map { ["process", "\($0)  \(ProcFiles.command($0))"] }
            try MessageOutput.put(line: TableFormat.aligned(rows))
        }
    }

    private static func text(_ backoff: RetryBackoff) -> String {
        switch backoff {
        case .none: "none"
        case .fixed(let delay): "\(delay)"
        case .exponential(let first, let limit): "\(first) to \(limit)"
        }
    }

    private func show(_ channel: ChannelDescription) throws {
        let options = channel.attributes
        func ofWork(_ number: Int) -> JSON { channel.carriesWork ? .integer(number) : .null }
        let facts: [(String, JSON)] = [
            ("name", .string(channel.name.description)), ("pattern", .string("\(channel.pattern)")),
            ("type", .string(channel.messageType)), ("message-size", JSON(channel.messageSize)),
            ("writers", .string(options.writers == .shared ? "shared" : "exclusive")),
            ("overflow", .string(options.overflow == .block ? "block" : "overwrite")),
            ("kept", .bool(options.lifetime == .kept)), ("durable", .bool(options.durability != .none)),
            ("permissions", .string(options.permissions.octal)),
            (
                "subscriber-permissions",
                options.subscriberPermissions.isEmpty ? .null : .string(options.subscriberPermissions.octal)
            ),
            ("capacity", .integer(options.capacity)), ("position", .integer(Int(clamping: channel.position))),
            ("published", .integer(Int(clamping: channel.publishedCount))),
            ("messages", .integer(channel.messageCount)),
            ("taken", .integer(channel.takenCount)), ("notices", .integer(channel.pendingNotices)),
            ("set-aside", ofWork(channel.asideCount)), ("bytes-occupied", ofWork(channel.occupiedBytes)),
            ("bytes-set-aside", ofWork(channel.asideBytes)), ("bytes-done", ofWork(channel.doneBytes)),
            ("attempts", JSON(channel.maximumAttempts)),
            ("backoff", channel.backoff.map { .string(Self.text($0)) } ?? .null),
            ("maximum-waiting", JSON(channel.maximumWaiting)),
            ("redeliveries", .integer(Int(clamping: channel.redeliveryCount))),
            ("recoveries", .integer(Int(clamping: channel.recoveryCount))),
        ]
        if format.format == .json {
            let participants = channel.participants.map { participant in
                JSON.object([
                    ("role", .string("\(participant.role)")),
                    ("process", .integer(Int(participant.process))), ("alive", .bool(participant.isAlive)),
                    ("backlog", JSON(participant.backlog)),
                ])
            }
            return try MessageOutput.put(line: JSON.object(facts + [("participants", .array(participants))]).text)
        }
        func plain(_ value: JSON) -> String { if case .string(let text) = value { text } else { value.text } }
        var rows = facts.filter { $0.1.text != "null" }.map { [$0.0, plain($0.1)] }
        for participant in channel.participants {
            let role = "\(participant.role)"
            let backlog = participant.backlog.map { ", \(Table.size($0)) behind" } ?? ""
            let state = participant.isAlive ? "" : ", dead: other participants recover what it left"
            rows.append([role, "\(participant.process)  \(ProcFiles.command(participant.process))\(backlog)\(state)"])
        }
        try MessageOutput.put(line: TableFormat.aligned(rows))
    }
}
