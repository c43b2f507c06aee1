/// What a queue hands out after a crash, all of it held at once.
struct KeptJobs {
    private let channel: String
    private let history: History
    private var handedOut: Set<Message.Key> = []
    private var last: [UInt64: Message.Key] = [:]  // of each writer
    private(set) var faults: [String] = []
    /// How many jobs each writer has sent in each epoch.
    private(set) var settled: [History.Stream: UInt64] = [:]

    init(_ channel: String, _ history: History) {
        self.channel = channel
        self.history = history
    }

    mutating func add(_ payload: RawSpan) {
        guard let message = Message(payload) else {
            faults.append("torn job of \(payload.byteCount) bytes")
            return
        }
        let key = message.key
        if !handedOut.insert(key).inserted { faults.append("job \(key.words) is handed out twice") }
        if history.acked.contains(key) {
            faults.append("job \(key.words) was acknowledged and synced, and is handed out again")
        }
        if let before = last[key.writer], key < before {
            faults.append("job \(key.words) comes after \(before.words)")
        }
        last[key.writer] = key
    }

    /// Each writer's jobs are there from the first to the last, but for those that may be done.
    mutating func finish() {
        var ends: [History.Stream: UInt64] = [:]
        // One that may have been acknowledged was perhaps sent after the last sync, and is lost then, with others before it.
        let all = handedOut.union(history.acking)
        for key in handedOut.union(history.acked) {
            let stream = History.Stream(channel: channel, epoch: key.epoch, writer: key.writer)
            ends[stream] = max(ends[stream] ?? 0, key.number + 1)
        }
        for (stream, synced) in history.synced where stream.channel == channel {
            if let settled = history.settled[stream], let end = ends[stream], end > settled {
                faults.append(
                    "writer \(stream.writer): \(settled) jobs of epoch \(stream.epoch) were left by the crash, and now there are \(end)"
                )
            }
            ends[stream] = max(ends[stream] ?? 0, synced)
        }
        for (stream, end) in ends.sorted(by: { ($0.key.epoch, $0.key.writer) < ($1.key.epoch, $1.key.writer) }) {
            let missing = (0..<end).filter {
                !all.contains(Message.Key(epoch: stream.epoch, writer: stream.writer, number: $0))
            }
            if let first = missing.first {
                faults.append(
                    "writer \(stream.writer): of \(end) jobs of epoch \(stream.epoch), \(history.synced[stream] ?? 0) of which were synced, \(missing.count) are lost, the first is \(first)"
                )
            }
        }
        settled = ends
    }
}
