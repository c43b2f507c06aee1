import IPC
import IPCChannels

/// All that is done with the files of a root, each once; says what comes of each.
enum Attempts {
    private static func attempt(_ what: String, _ body: () throws(IPCError) -> Void) {
        do throws(IPCError) {
            try body()
            ChannelPeer.say("\(what): done")
        } catch {
            ChannelPeer.say("\(what): \(error)")
        }
    }

    /// The root has a queue of this name with two jobs, and one dead letter.
    static func prepare(_ name: String) throws {
        let queue = try WorkQueue<UInt64>.openOrCreate(
            name, ChannelOptions(lifetime: .kept, capacity: 65_536), maximumAttempts: 1)
        var producer = try queue.makeProducer()
        for number in 0..<3 as Range<UInt64> { try producer.send(number) }
        var worker = try queue.makeWorker()
        try worker.next(until: .after(.seconds(10))).reject()
        // Buried by the next look.
        try worker.next(until: .after(.seconds(10))).release()
        guard try ChannelDescription(queue.deadLetters().name).messageCount == 1 else { fatalError("no dead letter") }
    }

    static func all(_ name: String) {
        attempt("names") { () throws(IPCError) in _ = try ChannelRoot.current.names() }
        attempt("create another") { () throws(IPCError) in
            let topic = try Topic<UInt64>.openOrCreate(name + ".other", ChannelOptions(capacity: 65_536))
            var subscription = try topic.makeSubscription()
            let bell = try ReadinessDescriptor()
            _ = try subscription.readiness().arm(bell)
        }
        attempt("describe") { () throws(IPCError) in _ = try ChannelDescription(ChannelName(name)) }
        attempt("observe") { () throws(IPCError) in
            _ = try WorkQueue<UInt64>.open(name).browse()
        }
        attempt("create") { () throws(IPCError) in
            _ = try WorkQueue<UInt64>.openOrCreate(
                name, ChannelOptions(lifetime: .kept, capacity: 65_536), maximumAttempts: 1)
        }
        attempt("send") { () throws(IPCError) in
            var producer = try WorkQueue<UInt64>.open(name).makeProducer()
            try producer.send(1, until: .after(.seconds(5)))
        }
        attempt("work") { () throws(IPCError) in
            var worker = try WorkQueue<UInt64>.open(name).makeWorker()
            if let job = try worker.tryNext() { job.reject() }
            if let job = try worker.tryNext() { job.release() }
        }
        attempt("letters") { () throws(IPCError) in
            var worker = try WorkQueue<UInt64>.open(name).deadLetters().makeWorker()
            if let job = try worker.tryNext() { job.release() }
        }
    }

    static func remove(_ name: String) {
        attempt("remove") { () throws(IPCError) in try WorkQueue<UInt64>.remove(name) }
    }
}
