/// What is in a topic after a crash, looked at message by message from the oldest on.
struct KeptMessages {
    private let channel: String
    private let history: History
    private var last: [UInt64: Message.Key] = [:]  // of each writer
    private var counts: [History.Stream: UInt64] = [:]
    /// In the log, about.
    private(set) var bytes = 0
    private(set) var faults: [String] = []
    /// How many messages there are of each writer in each epoch that is not all gone.
    private(set) var settled: [History.Stream: UInt64] = [:]

    init(_ channel: String, _ history: History) {
        self.channel = channel
        self.history = history
    }

    mutating func add(_ payload: RawSpan) {
        bytes += payload.byteCount + 32
        guard let message = Message(payload) else {
            faults.append("torn message of \(payload.byteCount) bytes after \(place)")
            return
        }
        let key = message.key
        if let before = last[key.writer] {
            let isNext =
                key.epoch == before.epoch
                ? key.number == before.number + 1 : key.epoch > before.epoch && key.number == 0
            if !isNext {
                faults.append("writer \(key.writer): \(key.epoch)/\(key.number) after \(before.epoch)/\(before.number)")
            }
        }
        last[key.writer] = key
        counts[stream(key.epoch, key.writer)] = key.number + 1

        // What others had published before this was begun comes before it, unless it is too old to be there.
        for (writer, count) in zip(TestedChannel.writers, message.counts) where writer != key.writer && count > 0 {
            guard let other = last[writer] else { continue }
            if (other.epoch, other.number + 1) < (key.epoch, count) {
                faults.append(
                    "\(key.epoch)/\(key.number) of writer \(key.writer) is there, and \(key.epoch)/\(count - 1) of writer \(writer) is not before it: that writer is at \(other.epoch)/\(other.number)"
                )
            }
        }
    }

    /// - Parameter isWhole: Whether the log is so short that nothing was overwritten, or would be had it been kept.
    mutating func finish(isWhole: Bool) {
        for (stream, synced) in history.synced where stream.channel == channel {
            let there = counts[stream]
            if let there, there < synced {
                faults.append(
                    "writer \(stream.writer): \(synced) messages of epoch \(stream.epoch) were synced, \(there) are there; \(place)"
                )
            }
            if there == nil, synced > 0, isWhole || isNewer(stream) {
                faults.append(
                    "writer \(stream.writer): \(synced) messages of epoch \(stream.epoch) were synced, none is there; \(place)"
                )
            }
            if let there, let settled = history.settled[stream], there > settled {
                faults.append(
                    "writer \(stream.writer): \(settled) messages of epoch \(stream.epoch) were left by the crash, and now there are \(there)"
                )
            }
        }
        settled = counts
    }

    /// Whether messages of an older epoch are there: then the newer one's are not overwritten.
    private func isNewer(_ stream: History.Stream) -> Bool { counts.keys.contains { $0.epoch < stream.epoch } }

    private func stream(_ epoch: UInt64, _ writer: UInt64) -> History.Stream {
        History.Stream(channel: channel, epoch: epoch, writer: writer)
    }

    private var place: String {
        let ends = last.values.sorted { $0.writer < $1.writer }.map {
            "writer \($0.writer) ends at \($0.epoch)/\($0.number)"
        }
        return "\(bytes) bytes are kept" + ends.map { ", " + $0 }.joined()
    }
}
