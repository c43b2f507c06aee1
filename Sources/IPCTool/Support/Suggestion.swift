import ArgumentParser
import IPCChannels

/// What may have been meant by a word that is no command.
enum Suggestion {
    /// What to say of the first word that is none; nil if all are, or none is like it.
    static func message(_ arguments: [String]) -> String? {
        var command: any ParsableCommand.Type = IPCCommand.self
        var path = ""
        for word in arguments {
            let subcommands = command.configuration.subcommands
            guard !subcommands.isEmpty, !word.hasPrefix("-"), path != "" || word != "help" else { return nil }
            if let next = subcommands.first(where: { $0._commandName == word }) {
                command = next
                path += " " + word
                continue
            }
            let names = subcommands.filter { $0.configuration.shouldDisplay }.map { $0._commandName }
            guard let nearest = nearest(word, among: names) else { return nil }
            return "there is no command \"\(word)\"; did you mean ipc\(path) \(nearest)? ipc\(path) --help lists them"
        }
        return nil
    }

    /// The name that is most like a word, if one is like it.
    static func nearest(_ word: String, among names: [String]) -> String? {
        // Of what is this long, no name is.
        guard word.utf8.count <= 32 else { return nil }
        let ranked = names.map { (name: $0, distance: distance(Array(word.utf8), Array($0.utf8))) }
        let best = ranked.min { $0.distance < $1.distance }
        if let best, best.distance <= max(1, (word.utf8.count + 1) / 3) { return best.name }
        let longer = names.filter { word.utf8.count >= 2 && $0.hasPrefix(word) }
        return longer.count == 1 ? longer[0] : nil
    }

    /// How many bytes have to be inserted, removed, replaced, or exchanged with their neighbours (optimal string alignment).
    private static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var rows = [Array(0...right.count)]
        for i in 0..<left.count {
            var row = [i + 1]
            for j in 0..<right.count {
                var least = min(rows[i][j + 1] + 1, row[j] + 1, rows[i][j] + (left[i] == right[j] ? 0 : 1))
                if i > 0, j > 0, left[i] == right[j - 1], left[i - 1] == right[j] {
                    least = min(least, rows[i - 1][j - 1] + 1)
                }
                row.append(least)
            }
            rows.append(row)
        }
        return rows[left.count][right.count]
    }
}

/// What a shell offers for the name of a channel.
enum ChannelCompletion {
    /// The channels that are there, of the pattern that the command is for.
    static let ofCommand = CompletionKind.custom { words, _, _ in names(of: pattern(words)) }
    static let anyPattern = CompletionKind.custom { _, _, _ in names(of: nil) }

    private static func pattern(_ words: [String]) -> ChannelPattern? {
        switch words.dropFirst().first {
        case "topic": .topic
        case "queue": .workQueue
        case "service": .service
        case "latest": .latest
        case "event": .event
        default: nil
        }
    }

    private static func names(of pattern: ChannelPattern?) -> [String] {
        let names = (try? ChannelRoot.current.names()) ?? []
        guard let pattern else { return names.map(\.description) }
        return names.filter { (try? ChannelDescription($0, countsMessages: false))?.pattern == pattern }.map(
            \.description)
    }
}
