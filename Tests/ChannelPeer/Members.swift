import IPC
import IPCChannels
import SystemPackage

/// Members of a group, each a user of its own, that make, use and remove channels of all patterns for one another.
enum Members {
    private static let permissions = FilePermissions(rawValue: 0o660)

    static func make(_ name: String) throws {
        let options = ChannelOptions(writers: .shared, lifetime: .kept, permissions: permissions)
        _ = try Topic<UInt64>.openOrCreate(name + "/topic", options)
        _ = try WorkQueue<UInt64>.openOrCreate(name + "/queue", options, maximumAttempts: 1)
        var latest = LatestOptions()
        (latest.writers, latest.lifetime, latest.permissions) = (.shared, .kept, permissions)
        _ = try Latest<UInt64>.openOrCreate(name + "/latest", latest)
        _ = try Event.openOrCreate(name + "/event", EventOptions(lifetime: .kept, permissions: permissions))
        var service = ServiceOptions()
        (service.lifetime, service.permissions) = (.kept, permissions)
        _ = try ServiceChannel<UInt64, UInt64, CommandFailure>.openOrCreate(name + "/service", service)
        ChannelPeer.say("made")
    }

    /// Joins all in every role, waits for each without a thread, and has a job moved to the dead letters.
    static func use(_ name: String) async throws {
        let deadline = Deadline.after(.seconds(20))
        let topic = try Topic<UInt64>.open(name + "/topic")
        var subscription = try topic.makeSubscription()
        async let published: Void = {
            var publisher = try topic.makePublisher()
            try publisher.publish(1)
        }()
        _ = try await subscription.receive(until: deadline)
        try await published

        let queue = try WorkQueue<UInt64>.open(name + "/queue")
        var producer = try queue.makeProducer()
        try await producer.send(2)
        var worker = try queue.makeWorker()
        try await worker.next(until: deadline).reject()
        // It goes to the dead letters, whoever makes that queue.
        _ = try worker.tryNext()
        var letters = try queue.deadLetters().makeWorker()
        try await letters.next(until: deadline).acknowledge()

        let latest = try Latest<UInt64>.open(name + "/latest")
        var setter = try latest.makeSetter()
        try setter.set(3)
        var getter = try latest.makeGetter()
        guard try getter.get() == 3 else { fatalError("another value") }

        let participant = try Event.open(name + "/event").makeParticipant()
        participant.notify()
        try await participant.wait(until: deadline)

        let service = try ServiceChannel<UInt64, UInt64, CommandFailure>.open(name + "/service")
        let server = Task { try await service.serve { $0 + 1 } }
        var client = try service.makeClient()
        guard case .success(5) = try await client.call(4, until: deadline) else { fatalError("another reply") }
        server.cancel()
        _ = await server.result
        ChannelPeer.say("used")
    }

    static func remove(_ name: String) throws {
        for kind in ["topic", "queue", "queue/dead-letters", "latest", "event", "service"] {
            try Topic<UInt64>.remove(name + "/" + kind)
        }
        ChannelPeer.say("removed")
    }
}
