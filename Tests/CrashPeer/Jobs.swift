import Glibc
import IPC
import IPCChannels

/// Producers and workers of the queue, until the machine crashes.
enum Jobs {
    private static let channel = TestedChannel.jobs

    static func send(writer: UInt64, epoch: UInt64, seed: UInt64) throws(IPCError) {
        var random = SplitMix(seed &+ epoch << 32 &+ writer)
        var producer = try channel.queue().makeProducer()
        let counts = try Counts(channel)
        var number: UInt64 = 0
        while true {
            for _ in 0..<Int.random(in: 1...20, using: &random) {
                let message = Message(.init(epoch: epoch, writer: writer, number: number), counts.all)
                let bytes = message.bytes(random.size())
                // The workers are slower: it is full most of the time.
                while try !producer.trySend(bytes.span.bytes) { usleep(1000) }
                number += 1
                counts.set(writer, number)
            }
            let sent = counts.all
            try producer.sync()
            for (writer, count) in zip(TestedChannel.writers, sent) where count > 0 {
                Report.synced(channel.name, epoch, writer, count)
            }
        }
    }

    /// Takes a few jobs, acknowledges most of them, syncs, and tells so.
    static func work(epoch: UInt64, seed: UInt64) throws(IPCError) {
        var random = SplitMix(seed &+ epoch << 32 &+ 99)
        let queue = try channel.queue()
        var worker = try queue.makeWorker()
        // It sends nothing: what it is there for is to sync the acknowledgements.
        var producer = try queue.makeProducer()
        while true {
            var acked: [Message.Key] = []
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                guard let job = try worker.tryNext() else {
                    usleep(2000)
                    continue
                }
                let message = try job.withBytes { (bytes) throws(IPCError) in Message(bytes) }
                guard let message else {
                    Report.say("fault \(channel.name) \(epoch): a worker got a torn job of \(job.byteCount) bytes")
                    exit(1)
                }
                // Some go back, and come again.
                if Int.random(in: 0..<10, using: &random) == 0 { continue }
                Report.say("acking \(message.key.words)")
                try job.acknowledge()
                acked.append(message.key)
            }
            guard !acked.isEmpty else { continue }
            try producer.sync()
            Report.say("acked " + acked.map(\.words).joined(separator: " "))
        }
    }
}

extension Message.Key {
    /// As in a report.
    var words: String { "\(epoch) \(writer) \(number)" }
}
