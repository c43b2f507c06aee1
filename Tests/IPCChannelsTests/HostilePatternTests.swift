import Glibc
import IPC
import TestSupport
import Testing

@testable import IPCChannels

/// The other patterns, as ``HostileTests`` has topics.
@Suite(.serialized, .timeLimit(.minutes(5))) struct HostilePatternTests {
    @Test(arguments: [ChannelOptions.Durability.none, .syncedWhenAsked])
    func aWorkQueuesThreads(durability: ChannelOptions.Durability) throws {
        var options = Scribbler.options
        options.durability = durability
        let queue = try WorkQueue<RawBytes>.openOrCreate(channelName(), options, maximumAttempts: 30_000)
        // Rubbish may say that a job was handed out too often, or is too old.
        defer {
            try? WorkQueue<RawBytes>.remove(queue.name.description + "/dead-letters")
            try? WorkQueue<RawBytes>.remove(queue.name.description)
        }
        try Scribbler.run(over: queue.name) { (index, steps) throws(IPCError) in
            let message = Scribbler.message
            if index < 2 {
                var producer = try queue.makeProducer()
                while steps.next() {
                    if Bool.random() {
                        try producer.send(message.span.bytes, until: Scribbler.soon)
                    } else {
                        _ = try producer.trySend(message.span.bytes)
                    }
                    if durability != .none { try producer.sync(until: Scribbler.soon) }
                }
            } else {
                var worker = try queue.makeWorker()
                while steps.next() {
                    guard let job = index == 2 ? try worker.next(until: Scribbler.soon) : try worker.tryNext() else {
                        continue
                    }
                    try job.withBytes { (payload) throws(IPCError) in Scribbler.read(payload) }
                    if Bool.random() { try job.acknowledge() } else { job.reject() }
                }
            }
        }
    }

    @Test func aWorkQueuesTasks() async throws {
        let queue = try WorkQueue<RawBytes>.openOrCreate(channelName(), Scribbler.options, maximumAttempts: 30_000)
        // Rubbish may say that a job was handed out too often, or is too old.
        defer {
            try? WorkQueue<RawBytes>.remove(queue.name.description + "/dead-letters")
            try? WorkQueue<RawBytes>.remove(queue.name.description)
        }
        try await Scribbler.run(over: queue.name) { (index, steps) async throws(IPCError) in
            let message = Scribbler.message
            if index < 2 {
                var producer = try queue.makeProducer()
                while steps.next() { try await producer.send(message.span.bytes, until: Scribbler.soon) }
            } else {
                var worker = try queue.makeWorker()
                while steps.next() {
                    let job = try await worker.next(until: Scribbler.soon)
                    try job.withBytes { (payload) throws(IPCError) in Scribbler.read(payload) }
                    if Bool.random() { try job.acknowledge() } else { job.reject() }
                }
            }
        }
    }

    private struct Refusal: Error, BitwiseCopyable {}

    private static func service() throws -> ServiceChannel<RawBytes, RawBytes, Refusal> {
        var options = ServiceOptions()
        (options.capacity, options.lifetime, options.maximumServers, options.maximumClients) = (65_536, .kept, 4, 4)
        return try ServiceChannel<RawBytes, RawBytes, Refusal>.openOrCreate(channelName(), options)
    }

    @Test func aServicesThreads() throws {
        let service = try Self.service()
        try Scribbler.run(over: service.name) { (index, steps) throws(IPCError) in
            let message = Scribbler.message
            if index < 2 {
                var client = try service.makeClient()
                while steps.next() {
                    let call = try client.begin(
                        message.span.bytes, replyLimit: 300, until: Scribbler.soon, retries: 2)
                    _ = try call.wait { (payload) throws(IPCError) in Scribbler.read(payload) }
                }
            } else {
                var server = try service.makeServer()
                while steps.next() {
                    guard let call = index == 2 ? try server.next(until: Scribbler.soon) : try server.tryNext() else {
                        continue
                    }
                    try call.withRequest { (payload) throws(IPCError) in Scribbler.read(payload) }
                    if Bool.random() { try call.reply(message.span.bytes.extracting(first: 300)) }
                }
            }
        }
    }

    @Test func aServicesTasks() async throws {
        let service = try Self.service()
        try await Scribbler.run(over: service.name) { (index, steps) async throws(IPCError) in
            let message = Scribbler.message
            if index < 2 {
                var client = try service.makeClient()
                while steps.next() {
                    let call = try await client.begin(
                        message.span.bytes, replyLimit: 300, until: Scribbler.soon, retries: 2)
                    _ = try await call.wait { (payload) throws(IPCError) in Scribbler.read(payload) }
                }
            } else {
                var server = try service.makeServer()
                while steps.next() {
                    let call = try await server.next(until: Scribbler.soon)
                    try call.withRequest { (payload) throws(IPCError) in Scribbler.read(payload) }
                    if Bool.random() { try call.reply(message.span.bytes.extracting(first: 300)) }
                }
            }
        }
    }

    private static func latest(_ writers: ChannelOptions.Writers) throws -> Latest<RawBytes> {
        var options = LatestOptions()
        (options.writers, options.lifetime) = (writers, .kept)
        return try Latest<RawBytes>.openOrCreate(channelName(), options)
    }

    private static func set(_ latest: Latest<RawBytes>, while steps: Scribbler.Steps) throws(IPCError) {
        let message = Scribbler.message
        var setter = try latest.makeSetter()
        while steps.next() { try setter.set(message.span.bytes) }
    }

    @Test(arguments: [ChannelOptions.Writers.exclusive, .shared])
    func aLatestValuesThreads(writers: ChannelOptions.Writers) throws {
        let latest = try Self.latest(writers)
        try Scribbler.run(over: latest.name) { (index, steps) throws(IPCError) in
            if index < 2 {
                try Self.set(latest, while: steps)
            } else {
                var getter = try latest.makeGetter()
                while steps.next() {
                    if index == 2 {
                        _ = try getter.get { (payload) throws(IPCError) in Scribbler.read(payload) }
                    } else {
                        try getter.next(until: Scribbler.soon) { (payload) throws(IPCError) in Scribbler.read(payload) }
                    }
                }
            }
        }
    }

    @Test(arguments: [ChannelOptions.Writers.exclusive, .shared])
    func aLatestValuesTasks(writers: ChannelOptions.Writers) async throws {
        let latest = try Self.latest(writers)
        try await Scribbler.run(over: latest.name) { (index, steps) async throws(IPCError) in
            if index < 2 {
                try Self.set(latest, while: steps)
            } else {
                var getter = try latest.makeGetter()
                while steps.next() {
                    try await getter.next(until: Scribbler.soon) { (payload) throws(IPCError) in Scribbler.read(payload)
                    }
                }
            }
        }
    }

    @Test(arguments: [ChannelOptions.Writers.exclusive, .shared])
    func aLatestValuesObservers(writers: ChannelOptions.Writers) throws {
        let latest = try Self.latest(writers)
        try Scribbler.run(over: latest.name) { (index, steps) throws(IPCError) in
            if index < 2 {
                try Self.set(latest, while: steps)
            } else {
                var observer = try latest.makeObserver()
                while steps.next() {
                    if index == 2 {
                        _ = try observer.get { (payload) throws(IPCError) in Scribbler.read(payload) }
                    } else {
                        try observer.next(until: Scribbler.soon) { (payload) throws(IPCError) in Scribbler.read(payload)
                        }
                    }
                }
            }
        }
    }

    @Test func anEventsThreads() throws {
        let event = try Event.openOrCreate(channelName(), EventOptions(lifetime: .kept, maximumParticipants: 8))
        try Scribbler.run(over: event.name) { (index, steps) throws(IPCError) in
            let participant = try event.makeParticipant()
            while steps.next() {
                switch index {
                case 0: participant.notify(count: 3)
                case 1: participant.notifyAll()
                case 2: try participant.wait(until: Scribbler.soon)
                default: _ = participant.tryWait()
                }
            }
        }
    }

    @Test func anEventsTasks() async throws {
        let event = try Event.openOrCreate(channelName(), EventOptions(lifetime: .kept, maximumParticipants: 8))
        try await Scribbler.run(over: event.name) { (index, steps) async throws(IPCError) in
            let participant = try event.makeParticipant()
            while steps.next() {
                if index < 2 { participant.notify() } else { try await participant.wait(until: Scribbler.soon) }
            }
        }
    }
}
