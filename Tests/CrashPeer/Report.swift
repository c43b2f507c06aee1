import Glibc
import IPC

/// What the host is told, a line each. Whatever a line says happened before the line was written; the host has it when
/// ``say(_:)`` returns, whatever crashes then.
///
/// | line | meaning |
/// |---|---|
/// | `synced CHANNEL EPOCH WRITER COUNT` | the first COUNT messages are on the disk: a sync has returned since they were published |
/// | `settled CHANNEL EPOCH WRITER COUNT` | after a crash there are exactly these, and a sync has returned since |
/// | `acking EPOCH WRITER NUMBER` | this job is about to be acknowledged |
/// | `acked EPOCH WRITER NUMBER…` | it is acknowledged (a few jobs, three numbers each), and a sync has returned since |
/// | `fault …` | what is wrong |
enum Report {
    static func say(_ line: String) {
        let text = Array((line.replacing("\n", with: " ") + "\n").utf8)
        var start = 0
        while start < text.count {
            let count = text.withUnsafeBytes { write(1, $0.baseAddress! + start, $0.count - start) }
            guard count > 0 || errno == EINTR else { exit(2) }  // nobody could be told
            start += max(count, 0)
        }
    }

    static func synced(_ channel: String, _ epoch: UInt64, _ writer: UInt64, _ count: UInt64) {
        say("synced \(channel) \(epoch) \(writer) \(count)")
    }
}

/// What was said since the disk was made, in all epochs.
struct History {
    /// The messages of one writer of one epoch.
    struct Stream: Hashable {
        var channel: String
        var epoch: UInt64
        var writer: UInt64
    }

    /// How many were known to be on the disk.
    var synced: [Stream: UInt64] = [:]
    /// How many there were after the crash that ended the epoch: no more, no fewer.
    var settled: [Stream: UInt64] = [:]
    /// Jobs that may be done, and those that are.
    var acking: Set<Message.Key> = []
    var acked: Set<Message.Key> = []

    /// Reads the lines in a file, or a device: zero bytes after the last line are ignored, and so are other lines.
    init(file path: String) throws {
        guard let file = fopen(path, "r") else { throw IPCError("open", path, .init(rawValue: errno)) }
        defer { fclose(file) }
        while let line = readLine(from: file) {
            let words = line.split(separator: " ")
            guard let kind = words.first, ["synced", "settled", "acking", "acked"].contains(kind) else { continue }
            let rest = words.dropFirst(kind == "synced" || kind == "settled" ? 2 : 1)
            let numbers = rest.compactMap { UInt64($0) }
            guard numbers.count == rest.count, numbers.count >= 3, numbers.count % 3 == 0 else {
                throw IPCError(
                    .invalidArgument, "read history", path,
                    advice:
                        "the line is `\(line)`; a report has a channel, if any, and three numbers, or threes of them")
            }
            switch kind {
            case "synced", "settled":
                let stream = Stream(channel: String(words[1]), epoch: numbers[0], writer: numbers[1])
                synced[stream] = max(synced[stream] ?? 0, numbers[2])
                if kind == "settled" { settled[stream] = numbers[2] }
            case "acking", "acked":
                for index in stride(from: 0, to: numbers.count - 2, by: 3) {
                    let key = Message.Key(epoch: numbers[index], writer: numbers[index + 1], number: numbers[index + 2])
                    acking.insert(key)
                    if kind == "acked" { acked.insert(key) }
                }
            default: continue
            }
        }
    }

    private func readLine(from file: UnsafeMutablePointer<FILE>) -> String? {
        var (line, capacity): (UnsafeMutablePointer<CChar>?, Int) = (nil, 0)
        defer { free(line) }
        guard getline(&line, &capacity, file) > 0, let line, line[0] != 0 else { return nil }
        return String(cString: line).replacing("\n", with: "")
    }
}
