import Glibc
import IPC
import IPCChannels

/// Compares what is on the disk with what was said before the crashes.
struct Check {
    let history: History
    /// The epoch that begins now.
    let epoch: UInt64

    init(_ history: History, epoch: UInt64) {
        self.history = history
        self.epoch = epoch
    }

    /// - Returns: Whether all is as it has to be. What is not was said.
    func run() throws(IPCError) -> Bool {
        var isRight = true
        for channel in TestedChannel.topics { isRight = try check(topic: channel) && isRight }
        isRight = try check(queue: TestedChannel.jobs) && isRight
        return isRight
    }

    private func check(topic channel: TestedChannel) throws(IPCError) -> Bool {
        let topic = try channel.topic()
        var kept = KeptMessages(channel.name, history)
        var subscription = try topic.makeSubscription(from: .oldest)
        while true {
            let more: Void? = try subscription.tryReceive { (bytes) throws(IPCError) in kept.add(bytes) }
            if more == nil { break }
        }
        kept.finish(isWhole: kept.bytes < channel.keptAtLeast)
        guard kept.faults.isEmpty else { return say(kept.faults, channel) }
        // Nothing was published by this one.
        var publisher = try topic.makePublisher()
        try publisher.sync()
        say(kept.settled, channel)
        return true
    }

    private func check(queue channel: TestedChannel) throws(IPCError) -> Bool {
        let queue = try channel.queue()
        var jobs = KeptJobs(channel.name, history)
        var worker = try queue.makeWorker()
        var taken: [Held] = []  // until all are
        while let job = try worker.tryNext() {
            try job.withBytes { (bytes) throws(IPCError) in jobs.add(bytes) }
            taken.append(Held(job))
        }
        withExtendedLifetime(taken) { jobs.finish() }
        taken = []
        guard jobs.faults.isEmpty else { return say(jobs.faults, channel) }
        var producer = try queue.makeProducer()
        try producer.sync()
        say(jobs.settled, channel)
        return true
    }

    private final class Held {
        let job: WorkQueue<RawBytes>.Job
        init(_ job: consuming WorkQueue<RawBytes>.Job) { self.job = job }
    }

    private func say(_ faults: [String], _ channel: TestedChannel) -> Bool {
        for fault in faults.prefix(5) {
            Report.say("fault \(channel.name) at the beginning of epoch \(epoch): \(fault)")
        }
        if faults.count > 5 { Report.say("fault \(channel.name): and \(faults.count - 5) more") }
        return false
    }

    private func say(_ settled: [History.Stream: UInt64], _ channel: TestedChannel) {
        for (stream, count) in settled where stream.epoch < epoch && history.settled[stream] == nil {
            Report.say("settled \(channel.name) \(stream.epoch) \(stream.writer) \(count)")
        }
    }
}
