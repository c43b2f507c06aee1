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
            try MessageOutput.put(line: JSONValue.array(inventory.objects.map(\.json)).text)
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

    private func show(_ channel: ChannelDescription) throws {
        if format.format == .json { return try MessageOutput.put(line: channel.json.text) }
        func plain(_ value: JSONValue) -> String { if case .string(let text) = value { text } else { value.text } }
        var rows = channel.facts.filter { $0.value.text != "null" }.map { [$0.name, plain($0.value)] }
        for participant in channel.participants {
            let role = "\(participant.role)"
            let backlog = participant.backlog.map { ", \(Table.size($0)) behind" } ?? ""
            let state = participant.isAlive ? "" : ", dead: other participants recover what it left"
            rows.append([role, "\(participant.process)  \(ProcFiles.command(participant.process))\(backlog)\(state)"])
        }
        try MessageOutput.put(line: TableFormat.aligned(rows))
    }
}
