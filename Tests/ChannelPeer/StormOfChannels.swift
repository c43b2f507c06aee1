import Glibc
import IPC
import IPCChannels

extension Storm {
    private struct Refusal: Error, BitwiseCopyable {}

    static func channelKinds(_ prefix: String) throws -> [Kind] {
        let topic = try Topic<UInt64>.openOrCreate(prefix + "/topic")
        let (publisher, subscription) = (Box(try topic.makePublisher()), Box(try topic.makeSubscription()))
        let jobs = try WorkQueue<UInt64>.openOrCreate(prefix + "/queue", ChannelOptions(lifetime: .whileUsed))
        let (producer, worker) = (Box(try jobs.makeProducer()), Box(try jobs.makeWorker()))
        let event = try Event.openOrCreate(prefix + "/event")
        let (notifier, waiter) = (Box(try event.makeParticipant()), Box(try event.makeParticipant()))
        return [
            Kind(name: "topic", feed: { try await publisher.value.publish(1) }) {
                _ = try await subscription.value.receive()
            },
            Kind(name: "work queue", feed: { try await producer.value.send(1) }) {
                try await worker.value.next().acknowledge()
            },
            Kind(name: "event", feed: { notifier.value.notify() }) { try await waiter.value.wait() },
            try fullTopic(prefix), try latest(prefix), try waitSet(prefix), try calls(prefix), try serving(prefix),
        ]
    }

    /// A publisher that waits for its subscriber.
    private static func fullTopic(_ prefix: String) throws -> Kind {
        let topic = try Topic<RawBytes>.openOrCreate(prefix + "/full", ChannelOptions(capacity: 65_536))
        let (publisher, subscription) = (Box(try topic.makePublisher()), Box(try topic.makeSubscription()))
        return full("full topic", wordCount: 512, send: { try await publisher.value.publish($0.span.bytes) }) {
            var words: [UInt64] = []
            _ = try subscription.value.receiveAvailable(limit: 4) { (bytes) throws(IPCError) in
                words += bytes.withUnsafeBytes { Array($0.bindMemory(to: UInt64.self)) }
            }
            return words
        }
    }

    /// Only the newest counts.
    private static func latest(_ prefix: String) throws -> Kind {
        let latest = try Latest<UInt64>.openOrCreate(prefix + "/latest")
        let (setter, getter) = (Box(try latest.makeSetter()), Box(try latest.makeGetter()))
        let (newest, seen) = (Box<UInt64>(0), Box<UInt64>(0))
        return Kind(
            name: "latest", isDue: { (_, _) in seen.value < newest.value },
            feed: {
                newest.value += 1
                try setter.value.set(newest.value)
            },
            take: { seen.value = try await getter.value.next() },
            check: { (_, _) in
                guard seen.value == newest.value else { throw Lost(what: "\(seen.value) instead of \(newest.value)") }
            })
    }

    /// One set for a topic and a pipe.
    private static func waitSet(_ prefix: String) throws -> Kind {
        let topic = try Topic<UInt64>.openOrCreate(prefix + "/set")
        let (publisher, subscription) = (Box(try topic.makePublisher()), Box(try topic.makeSubscription()))
        let pipe = Box(try AnonymousPipe())
        let set = Box(try WaitSet())
        return Kind(name: "wait set", feed: { try await publisher.value.publish(1) }) {
            while try subscription.value.tryReceive() == nil {
                _ = try await set.value.wait { (sources) throws(IPCError) in
                    sources.add(&subscription.value)
                    sources.add(pipe.value.reader.descriptor)
                }
            }
        }
    }

    /// A caller, whose server is elsewhere in this process: whatever is answered is its own question's answer.
    private static func calls(_ prefix: String) throws -> Kind {
        let service = try ServiceChannel<UInt64, UInt64, Refusal>.openOrCreate(prefix + "/calls")
        let client = Box(try service.makeClient())
        let server = Task.detached { try await service.serve { $0 &+ 1 } }
        let number = Box<UInt64>(0)
        return Kind(
            name: "calls", isCounted: false, feed: {},
            take: {
                number.value += 1
                let reply = try await client.value.call(number.value).get()
                guard reply == number.value + 1 else { throw Lost(what: "\(reply) to \(number.value)") }
            },
            check: { (_, _) in
                guard try await client.value.call(7).get() == 8 else { throw Lost(what: "the last call") }
            },
            end: {
                server.cancel()
                _ = await server.result
            })
    }

    /// A server, whose caller is elsewhere in this process.
    private static func serving(_ prefix: String) throws -> Kind {
        let service = try ServiceChannel<UInt64, UInt64, Refusal>.openOrCreate(prefix + "/serving")
        let (client, server) = (Box(try service.makeClient()), Box(try service.makeServer()))
        // The call before is answered when the next one is made.
        let pending = Box<PendingCall<UInt64, Refusal>?>(nil)
        return Kind(
            name: "serving",
            feed: {
                if let call = pending.value.take() { try finish(call) }
                pending.value = try await client.value.begin(4)
            },
            take: {
                let call = try await server.value.next()
                let request = try call.request
                try call.reply(request + 1)
            },
            check: { (fed, taken) in
                if let call = pending.value.take() { try finish(call) }
                guard fed == taken else { throw Lost(what: "\(fed) calls, \(taken) answered") }
            })
    }

    /// The reply is there.
    private static func finish(_ call: consuming PendingCall<UInt64, Refusal>) throws {
        let reply = try call.wait().get()
        guard reply == 5 else { throw Lost(what: "\(reply) to 4") }
    }
}
