import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport

// Participants of channels: readers of what nobody sends, writers into logs that nobody reads, callers without a server.

let smallLog = ChannelOptions(capacity: 65_536)

let topicWaits: [Wait] = [
    Wait("Subscription.receive(until:)", "Subscription.tryReceive()") {
        let (topic, publisher) = try newTopic()
        let subscription = Box(try topic.subscribe())
        return Wait.Case(
            call: .blocking { deadline in try subscription.value.receive(until: deadline) == 7 },
            release: { try publisher.value.publish(7) },
            tries: [("tryReceive", { try subscription.value.tryReceive() != nil })])
    },
    Wait("Subscription.receive(until:) async") {
        let (topic, publisher) = try newTopic()
        let subscription = Box(try topic.subscribe())
        return Wait.Case(
            call: .suspending { deadline in try await subscription.value.receive(until: deadline) == 7 },
            release: { try publisher.value.publish(7) })
    },
    Wait("Subscription.receive(until:_:)", "Subscription.tryReceive(_:)") {
        let (topic, publisher) = try newByteTopic()
        let subscription = Box(try topic.subscribe())
        return Wait.Case(
            call: .blocking { deadline in
                try subscription.value.receive(until: deadline) { (bytes) throws(IPCError) in bytes.byteCount == 3 }
            }, release: { try publisher.value.publish(three().span.bytes) },
            tries: [
                (
                    "tryReceive",
                    { try subscription.value.tryReceive { (bytes) throws(IPCError) in bytes.byteCount } != nil }
                )
            ])
    },
    Wait("Subscription.receive(until:_:) async") {
        let (topic, publisher) = try newByteTopic()
        let subscription = Box(try topic.subscribe())
        return Wait.Case(
            call: .suspending { deadline in
                try await subscription.value.receive(until: deadline) { (bytes) throws(IPCError) in bytes.byteCount == 3
                }
            }, release: { try publisher.value.publish(three().span.bytes) })
    },
    Wait("Subscription.receive(with:until:)") {
        let (topic, publisher) = try newCodedTopic()
        let subscription = Box(try topic.subscribe())
        return Wait.Case(
            call: .blocking { deadline in try subscription.value.receive(with: NumberCoder(), until: deadline) == 7 },
            release: { try publisher.value.publish(7, with: NumberCoder()) })
    },
    Wait("Subscription.receive(with:until:) async") {
        let (topic, publisher) = try newCodedTopic()
        let subscription = Box(try topic.subscribe())
        return Wait.Case(
            call: .suspending { deadline in
                try await subscription.value.receive(with: NumberCoder(), until: deadline) == 7
            }, release: { try publisher.value.publish(7, with: NumberCoder()) })
    },
    Wait("Publisher.publish(_:until:)", "Publisher.tryPublish(_:)") {
        let (topic, publisher) = try newTopic()
        let subscription = Box(try topic.subscribe())
        try fill { try publisher.value.tryPublish(1) }
        return Wait.Case(
            call: .blocking { deadline in
                try publisher.value.publish(7, until: deadline)
                return true
            }, release: { try fill { try subscription.value.tryReceive() != nil } },
            tries: [("tryPublish", { try publisher.value.tryPublish(7) })])
    },
    Wait("Publisher.publish(_:until:) async") {
        let (topic, publisher) = try newTopic()
        let subscription = Box(try topic.subscribe())
        try fill { try publisher.value.tryPublish(1) }
        return Wait.Case(
            call: .suspending { deadline in
                try await publisher.value.publish(7, until: deadline)
                return true
            }, release: { try fill { try subscription.value.tryReceive() != nil } })
    },
    Wait("Publisher.publish(upTo:until:_:)", "Publisher.tryPublish(upTo:_:)", "Publisher.publish(_:until:)") {
        let (publisher, subscription) = try fullByteTopic()
        return Wait.Case(
            call: .blocking { deadline in
                try publisher.value.publish(upTo: 3, until: deadline) { (_) throws(IPCError) in }
                try publisher.value.publish(three().span.bytes, until: deadline)
                return true
            }, release: { try empty(subscription) },
            tries: [
                ("tryPublish(upTo:)", { try publisher.value.tryPublish(upTo: 900) { (_) throws(IPCError) in } }),
                ("tryPublish", { try publisher.value.tryPublish(kilobyte().span.bytes) }),
            ])
    },
    Wait("Publisher.publish(_:until:) async") {
        let (publisher, subscription) = try fullByteTopic()
        return Wait.Case(
            call: .suspending { deadline in
                try await publisher.value.publish(kilobyte().span.bytes, until: deadline)
                return true
            }, release: { try empty(subscription) })
    },
    Wait("Publisher.publish(upTo:until:_:) async") {
        let (publisher, subscription) = try fullByteTopic()
        return Wait.Case(
            call: .suspending { deadline in
                try await publisher.value.publish(upTo: 900, until: deadline) { (_) throws(IPCError) in }
                return true
            }, release: { try empty(subscription) })
    },
    Wait("Publisher.publish(_:with:until:)") {
        let (publisher, subscription) = try fullCodedTopic()
        return Wait.Case(
            call: .blocking { deadline in
                try publisher.value.publish(7, with: NumberCoder(), until: deadline)
                return true
            },
            release: { try fill { (try? subscription.value.receive(with: NumberCoder(), until: .immediate)) != nil } })
    },
    Wait("Publisher.publish(_:with:until:) async") {
        let (publisher, subscription) = try fullCodedTopic()
        return Wait.Case(
            call: .suspending { deadline in
                try await publisher.value.publish(7, with: NumberCoder(), until: deadline)
                return true
            },
            release: { try fill { (try? subscription.value.receive(with: NumberCoder(), until: .immediate)) != nil } })
    },
    Wait("Publisher.sync(until:)") {
        let topic = try Topic<UInt64>.create(
            channelName(), in: ChannelRoot(FilePath(scratchFolder + "/root")),
            ChannelOptions(durability: .syncedWhenAsked, capacity: 65_536))
        let publisher = Box(try topic.makePublisher())
        return Wait.Case(
            call: .blocking { deadline in
                try publisher.value.publish(1, until: .after(.seconds(1)))
                try publisher.value.sync(until: deadline)
                return true
            }, release: {}, mayBeReady: true)
    },
    Wait("WaitSet.wait(until:_:)") {
        let (topic, publisher) = try newTopic()
        let subscription = Box(try topic.subscribe())
        let set = Box(try WaitSet())
        let pipe = Box(try AnonymousPipe())
        return Wait.Case(
            call: .blocking { deadline in
                try set.value.wait(until: deadline) { (sources) throws(IPCError) in
                    sources.add(&subscription.value)
                    sources.add(pipe.value.reader.descriptor)
                } == [0]
            }, release: { try publisher.value.publish(7) })
    },
    Wait("WaitSet.wait(until:_:) async") {
        let (topic, publisher) = try newTopic()
        let subscription = Box(try topic.subscribe())
        let set = Box(try WaitSet())
        let pipe = Box(try AnonymousPipe())
        return Wait.Case(
            call: .suspending { deadline in
                try await set.value.wait(until: deadline) { (sources) throws(IPCError) in
                    sources.add(&subscription.value)
                    sources.add(pipe.value.reader.descriptor)
                } == [0]
            }, release: { try publisher.value.publish(7) })
    },
]

private func newTopic() throws -> (Topic<UInt64>, Box<Publisher<UInt64>>) {
    let topic = try Topic<UInt64>.create(channelName(), smallLog)
    return (topic, Box(try topic.makePublisher()))
}

private func newByteTopic() throws -> (Topic<RawBytes>, Box<Publisher<RawBytes>>) {
    let topic = try Topic<RawBytes>.create(channelName(), smallLog)
    return (topic, Box(try topic.makePublisher()))
}

private func newCodedTopic() throws -> (Topic<Coded<Int>>, Box<Publisher<Coded<Int>>>) {
    let topic = try Topic<Coded<Int>>.create(channelName(), smallLog)
    return (topic, Box(try topic.makePublisher()))
}

private func fullByteTopic() throws -> (Box<Publisher<RawBytes>>, Box<Subscription<RawBytes>>) {
    let (topic, publisher) = try newByteTopic()
    let subscription = Box(try topic.subscribe())
    try fill { try publisher.value.tryPublish(kilobyte().span.bytes) }
    try fill { try publisher.value.tryPublish(three().span.bytes) }
    return (publisher, subscription)
}

private func fullCodedTopic() throws -> (Box<Publisher<Coded<Int>>>, Box<Subscription<Coded<Int>>>) {
    let (topic, publisher) = try newCodedTopic()
    let subscription = Box(try topic.subscribe())
    try fill {
        do throws(IPCError) {
            try publisher.value.publish(1, with: NumberCoder(), until: .immediate)
            return true
        } catch {
            guard error.code == .timedOut else { throw error }
            return false
        }
    }
    return (publisher, subscription)
}

private func empty(_ subscription: Box<Subscription<RawBytes>>) throws {
    try fill { try subscription.value.tryReceive { (bytes) throws(IPCError) in bytes.byteCount } != nil }
}

let queueWaits: [Wait] = [
    Wait("Worker.next(until:)", "Worker.tryNext()") {
        let (queue, producer) = try newWorkQueue()
        let worker = Box(try queue.makeWorker())
        return Wait.Case(
            call: .blocking { deadline in
                try worker.value.next(until: deadline).acknowledge()
                return true
            }, release: { try producer.value.send(7) },
            tries: [("tryNext", { try worker.value.tryNext() != nil })])
    },
    Wait("Worker.next(until:) async") {
        let (queue, producer) = try newWorkQueue()
        let worker = Box(try queue.makeWorker())
        return Wait.Case(
            call: .suspending { deadline in
                try await worker.value.next(until: deadline).acknowledge()
                return true
            }, release: { try producer.value.send(7) })
    },
    Wait("Worker.workNext(until:_:)") {
        let (queue, producer) = try newWorkQueue()
        let worker = Box(try queue.makeWorker())
        return Wait.Case(
            call: .blocking { deadline in try worker.value.workNext(until: deadline) { $0 == 7 }.get() },
            release: { try producer.value.send(7) })
    },
    Wait("Worker.workNext(until:_:)") {
        let queue = try WorkQueue<RawBytes>.create(channelName(), smallQueue)
        let (worker, producer) = (Box(try queue.makeWorker()), Box(try queue.makeProducer()))
        return Wait.Case(
            call: .blocking { deadline in try worker.value.workNext(until: deadline) { $0.byteCount == 3 }.get() },
            release: { try producer.value.send(three().span.bytes) })
    },
    Wait("Producer.send(_:until:)", "Producer.trySend(_:)") {
        let (queue, producer) = try newWorkQueue()
        try fill { try producer.value.trySend(1) }
        return Wait.Case(
            call: .blocking { deadline in
                try producer.value.send(7, until: deadline)
                return true
            }, release: { try empty(queue) }, tries: [("trySend", { try producer.value.trySend(7) })])
    },
    Wait("Producer.send(_:until:) async") {
        let (queue, producer) = try newWorkQueue()
        try fill { try producer.value.trySend(1) }
        return Wait.Case(
            call: .suspending { deadline in
                try await producer.value.send(7, until: deadline)
                return true
            }, release: { try empty(queue) })
    },
    Wait("Producer.send(_:until:)", "Producer.send(_:until:) async", "Producer.trySend(_:)") {
        let queue = try WorkQueue<RawBytes>.create(channelName(), smallQueue)
        let producer = Box(try queue.makeProducer())
        try fill { try producer.value.trySend(kilobyte().span.bytes) }
        return Wait.Case(
            call: .suspending { deadline in
                try await producer.value.send(kilobyte().span.bytes, until: deadline)
                return true
            },
            release: {
                var worker = try queue.makeWorker()
                while let job = try worker.tryNext() { try job.acknowledge() }
            }, tries: [("trySend", { try producer.value.trySend(kilobyte().span.bytes) })])
    },
    Wait("Producer.send(_:_:until:)", "Producer.send(_:_:until:) async") {
        let (queue, producer) = try newWorkQueue()
        try fill { try producer.value.trySend(1) }
        return Wait.Case(
            call: .suspending { deadline in
                try await producer.value.send(7, JobOptions(timeToLive: .seconds(60)), until: deadline)
                return true
            }, release: { try empty(queue) })
    },
    Wait("Producer.send(_:_:until:)") {
        let (queue, producer) = try newWorkQueue()
        try fill { try producer.value.trySend(1) }
        return Wait.Case(
            call: .blocking { deadline in
                try producer.value.send(7, JobOptions(delay: .seconds(60)), until: deadline)
                return true
            }, release: { try empty(queue) })
    },
    Wait("WorkQueue.redrive(limit:until:)") {
        let (queue, letters) = try newQueueAndLetters()
        let (producer, letter) = (Box(try queue.makeProducer()), Box(try letters.makeProducer()))
        try letter.value.send(7)
        try fill { try producer.value.trySend(1) }
        return Wait.Case(
            call: .blocking { deadline in
                _ = (producer, letter)
                return try queue.redrive(until: deadline) == 1
            }, release: { try empty(queue) })
    },
    Wait("Producer.sync(until:)") {
        let queue = try WorkQueue<UInt64>.create(
            channelName(), in: ChannelRoot(FilePath(scratchFolder + "/root")),
            ChannelOptions(writers: .shared, durability: .syncedWhenAsked, capacity: 65_536))
        let producer = Box(try queue.makeProducer())
        return Wait.Case(
            call: .blocking { deadline in
                try producer.value.send(1, until: .after(.seconds(1)))
                try producer.value.sync(until: deadline)
                return true
            }, release: {}, mayBeReady: true)
    },
]

/// It goes with its last participant.
let smallQueue = ChannelOptions(writers: .shared, lifetime: .whileUsed, capacity: 65_536)

/// The letters go with their last participant, too.
func newQueueAndLetters() throws -> (WorkQueue<UInt64>, letters: WorkQueue<UInt64>) {
    let queue = try WorkQueue<UInt64>.create(channelName(), smallQueue)
    return (queue, try WorkQueue<UInt64>.create(queue.name.description + "/dead-letters", smallQueue))
}

private func newWorkQueue() throws -> (WorkQueue<UInt64>, Box<Producer<UInt64>>) {
    let queue = try WorkQueue<UInt64>.create(channelName(), smallQueue)
    return (queue, Box(try queue.makeProducer()))
}

private func empty(_ queue: WorkQueue<UInt64>) throws {
    var worker = try queue.makeWorker()
    while let job = try worker.tryNext() { try job.acknowledge() }
}

let serviceWaits: [Wait] = [
    Wait("Client.call(_:until:retries:)") {
        let service = try newService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .blocking { deadline in try client.value.call(7, until: deadline).get() == 8 },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("Client.call(_:until:retries:) async") {
        let service = try newService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .suspending { deadline in try await client.value.call(7, until: deadline).get() == 8 },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("Client.begin(_:until:retries:)") {
        let service = try newService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .blocking { deadline in try client.value.begin(7, until: deadline).wait().get() == 8 },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("Client.begin(_:until:retries:) async") {
        let service = try newService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .suspending { deadline in try await client.value.begin(7, until: deadline).wait().get() == 8 },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("Client.call(_:replyLimit:until:retries:_:)") {
        let service = try newByteService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .blocking { deadline in
                try client.value.call(three().span.bytes, replyLimit: 100, until: deadline) {
                    (reply) throws(IPCError) in
                    reply.byteCount == 3
                }.get()
            }, release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("Client.call(_:replyLimit:until:retries:_:) async") {
        let service = try newByteService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .suspending { deadline in
                try await client.value.call(three().span.bytes, replyLimit: 100, until: deadline) {
                    (reply) throws(IPCError) in reply.byteCount == 3
                }.get()
            }, release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("Client.begin(_:replyLimit:until:retries:)") {
        let service = try newByteService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .blocking { deadline in
                let call = try client.value.begin(three().span.bytes, replyLimit: 100, until: deadline)
                return try call.wait { (reply) throws(IPCError) in reply.byteCount == 3 }.get()
            }, release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("Client.begin(_:replyLimit:until:retries:) async") {
        let service = try newByteService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .suspending { deadline in
                let call = try await client.value.begin(three().span.bytes, replyLimit: 100, until: deadline)
                return try await call.wait { (reply) throws(IPCError) in reply.byteCount == 3 }.get()
            }, release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("Client.call(_:_:until:)") {
        let service = try newService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .blocking { deadline in try client.value.call(7, labelled, until: deadline).get() == 8 },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("Client.call(_:_:until:) async") {
        let service = try newService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .suspending { deadline in try await client.value.call(7, labelled, until: deadline).get() == 8 },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("Client.begin(_:_:until:)") {
        let service = try newService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .blocking { deadline in
                try client.value.begin(7, labelled, until: deadline).wait().get() == 8
            },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("Client.begin(_:_:until:) async") {
        let service = try newService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .suspending { deadline in
                try await client.value.begin(7, labelled, until: deadline).wait().get() == 8
            },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("Client.call(_:replyLimit:_:until:_:)") {
        let service = try newByteService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .blocking { deadline in
                try client.value.call(three().span.bytes, replyLimit: 100, labelled, until: deadline) {
                    (reply) throws(IPCError) in reply.byteCount == 3
                }.get()
            }, release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("Client.call(_:replyLimit:_:until:_:) async") {
        let service = try newByteService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .suspending { deadline in
                try await client.value.call(three().span.bytes, replyLimit: 100, labelled, until: deadline) {
                    (reply) throws(IPCError) in reply.byteCount == 3
                }.get()
            }, release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("Client.begin(_:replyLimit:_:until:)") {
        let service = try newByteService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .blocking { deadline in
                let call = try client.value.begin(three().span.bytes, replyLimit: 100, labelled, until: deadline)
                return try call.wait { (reply) throws(IPCError) in reply.byteCount == 3 }.get()
            }, release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("Client.begin(_:replyLimit:_:until:) async") {
        let service = try newByteService()
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .suspending { deadline in
                let call = try await client.value.begin(
                    three().span.bytes, replyLimit: 100, labelled, until: deadline)
                return try await call.wait { (reply) throws(IPCError) in reply.byteCount == 3 }.get()
            }, release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("Client.call(_:with:replyLimit:_:until:)") {
        let service = try CodedService.create(channelName())
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .blocking { deadline in
                try client.value.call(7, with: NumberCoder(), until: deadline).get() == 8
            },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("Client.call(_:with:replyLimit:_:until:) async") {
        let service = try CodedService.create(channelName())
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .suspending { deadline in
                try await client.value.call(7, with: NumberCoder(), until: deadline).get() == 8
            },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("Client.begin(_:with:replyLimit:_:until:)") {
        let service = try CodedService.create(channelName())
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .blocking { deadline in
                try client.value.begin(7, with: NumberCoder(), until: deadline).wait(with: NumberCoder()).get() == 8
            },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("Client.begin(_:with:replyLimit:_:until:) async") {
        let service = try CodedService.create(channelName())
        let client = Box(try service.makeClient())
        return Wait.Case(
            call: .suspending { deadline in
                let call = try await client.value.begin(7, with: NumberCoder(), until: deadline)
                return try await call.wait(with: NumberCoder()).get() == 8
            },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("Server.serveNext(with:until:_:)") {
        let service = try CodedService.create(channelName())
        let server = Box(try service.makeServer())
        let client = Box(try service.makeClient())
        let calls = Box<[CodedWaiting]>([])
        return Wait.Case(
            call: .blocking { deadline in
                try server.value.serveNext(with: NumberCoder(), until: deadline) { (request) throws(CodedFault) in
                    request + 1
                }
                return true
            }, release: { calls.value.append(CodedWaiting(try client.value.begin(7, with: NumberCoder()))) })
    },
    Wait("Server.next(until:)", "Server.tryNext()") {
        let service = try newService()
        let server = Box(try service.makeServer())
        let client = Box(try service.makeClient())
        let calls = Box<[Waiting]>([])
        return Wait.Case(
            call: .blocking { deadline in
                try server.value.next(until: deadline).reply(8)
                return true
            }, release: { calls.value.append(Waiting(try client.value.begin(7))) },
            tries: [("tryNext", { try server.value.tryNext() != nil })])
    },
    Wait("Server.next(until:) async") {
        let service = try newService()
        let server = Box(try service.makeServer())
        let client = Box(try service.makeClient())
        let calls = Box<[Waiting]>([])
        return Wait.Case(
            call: .suspending { deadline in
                try await server.value.next(until: deadline).reply(8)
                return true
            }, release: { calls.value.append(Waiting(try client.value.begin(7))) })
    },
    Wait("Server.serveNext(until:_:)") {
        let service = try newService()
        let server = Box(try service.makeServer())
        let client = Box(try service.makeClient())
        let calls = Box<[Waiting]>([])
        return Wait.Case(
            call: .blocking { deadline in
                try server.value.serveNext(until: deadline) { (request) throws(Fault) in request + 1 }
                return true
            }, release: { calls.value.append(Waiting(try client.value.begin(7))) })
    },
]

/// With something beside the request.
private let labelled = CallOptions(metadata: ["tenant": "acme"])

/// A call that has been made.
private final class Waiting {
    let call: PendingCall<UInt64, Fault>
    init(_ call: consuming PendingCall<UInt64, Fault>) { self.call = call }
}

private func newService() throws -> Service<UInt64, UInt64, Fault> { try .create(channelName()) }
private func newByteService() throws -> Service<RawBytes, RawBytes, Fault> { try .create(channelName()) }

private func serve(_ service: Service<UInt64, UInt64, Fault>) throws {
    var server = try service.makeServer()
    try server.serveNext(until: .after(.seconds(20))) { (request) throws(Fault) in request + 1 }
}

/// A call of coded values that has been made.
private final class CodedWaiting {
    let call: PendingCall<Coded<Int>, CodedFailure<CodedFault>>
    init(_ call: consuming PendingCall<Coded<Int>, CodedFailure<CodedFault>>) { self.call = call }
}

private func serve(_ service: CodedService) throws {
    var server = try service.makeServer()
    try server.serveNext(with: NumberCoder(), until: .after(.seconds(20))) { (request) throws(CodedFault) in
        request + 1
    }
}

private func serve(_ service: Service<RawBytes, RawBytes, Fault>) throws {
    var server = try service.makeServer()
    try server.next(until: .after(.seconds(20))).reply(three().span.bytes)
}

let latestAndEventWaits: [Wait] = [
    Wait("LatestGetter.next(until:)") {
        let latest = try Latest<UInt64>.create(channelName())
        let (getter, setter) = (Box(try latest.makeGetter()), Box(try latest.makeSetter()))
        return Wait.Case(
            call: .blocking { deadline in try getter.value.next(until: deadline) == 7 },
            release: { try setter.value.set(7) })
    },
    Wait("LatestGetter.next(until:) async") {
        let latest = try Latest<UInt64>.create(channelName())
        let (getter, setter) = (Box(try latest.makeGetter()), Box(try latest.makeSetter()))
        return Wait.Case(
            call: .suspending { deadline in try await getter.value.next(until: deadline) == 7 },
            release: { try setter.value.set(7) })
    },
    Wait("LatestGetter.next(until:_:)") {
        let latest = try Latest<RawBytes>.create(channelName())
        let (getter, setter) = (Box(try latest.makeGetter()), Box(try latest.makeSetter()))
        return Wait.Case(
            call: .blocking { deadline in
                try getter.value.next(until: deadline) { (bytes) throws(IPCError) in bytes.byteCount == 3 }
            }, release: { try setter.value.set(three().span.bytes) })
    },
    Wait("LatestGetter.next(until:_:) async") {
        let latest = try Latest<RawBytes>.create(channelName())
        let (getter, setter) = (Box(try latest.makeGetter()), Box(try latest.makeSetter()))
        return Wait.Case(
            call: .suspending { deadline in
                try await getter.value.next(until: deadline) { (bytes) throws(IPCError) in bytes.byteCount == 3 }
            }, release: { try setter.value.set(three().span.bytes) })
    },
    Wait("EventParticipant.wait(until:)", "EventParticipant.tryWait()") {
        let event = try Event.create(channelName())
        let (waiter, notifier) = (Box(try event.join()), Box(try event.join()))
        return Wait.Case(
            call: .blocking { deadline in
                try waiter.value.wait(until: deadline)
                return true
            }, release: { notifier.value.notify() }, tries: [("tryWait", { waiter.value.tryWait() })])
    },
    Wait("EventParticipant.wait(until:) async") {
        let event = try Event.create(channelName())
        let (waiter, notifier) = (Box(try event.join()), Box(try event.join()))
        return Wait.Case(
            call: .suspending { deadline in
                try await waiter.value.wait(until: deadline)
                return true
            }, release: { notifier.value.notify() })
    },
]
