import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport

// Channels: made, opened, joined, used and removed. All go with their last participant.

let channelOperations: [Operation] =
    serviceOperations + queueOperations + [
        Operation("Topic.create(_:in:_:_:)") {
            let name = channelName()
            return Attempt(undo: { try Topic<UInt64>.remove(name) }) {
                _ = try Topic<UInt64>.create(
                    name, ChannelOptions(capacity: 65_536, permissions: [.ownerReadWrite, .groupRead]))
            }
        },
        // Kept on a disk.
        Operation("Topic.create(_:in:_:_:)", "Topic.makePublisher()", "Topic.subscribe(from:waiting:)") {
            let (name, root) = (channelName(), ChannelRoot(FilePath(scratchFolder + "/root")))
            let options = ChannelOptions(durability: .syncedWhenAsked, capacity: 65_536)
            let topic = try Topic<UInt64>.create(name, in: root, options)
            return Attempt {
                var publisher = try topic.makePublisher()
                var subscription = try topic.subscribe()
                try publisher.publish(1)
                try publisher.sync()
                try require(try subscription.tryReceive() == 1)
            }
        },
        // With guests, who write System V shared memory.
        Operation("Topic.makePublisher()", "Topic.subscribe(from:waiting:)") {
            var options = ChannelOptions(writers: .shared, lifetime: .kept, capacity: 65_536)
            options.subscriberPermissions = .groupRead
            let topic = try Topic<UInt64>.create(channelName(), options)
            return Attempt(end: { try? Topic<UInt64>.remove(topic.name.description) }) {
                var publisher = try topic.makePublisher()
                var subscription = try topic.subscribe()
                try publisher.publish(1)
                try require(try subscription.tryReceive() == 1)
            }
        },
        Operation("Topic.open(_:in:)", "Topic.makePublisher()", "Topic.subscribe(from:waiting:)") {
            let topic = try Topic<UInt64>.create(channelName(), smallLog)
            let holder = Giveable(try topic.makePublisher())
            _ = holder
            return Attempt(end: { holder.give() }) {
                var subscription = try Topic<UInt64>.open(topic.name.description).subscribe()
                try require(try subscription.tryReceive() == nil, "nothing")
            }
        },
        Operation("Topic.makePublisher()", "Topic.subscribe(from:waiting:)", "Subscription.receiveAvailable(limit:_:)")
        {
            let topic = try Topic<UInt64>.create(
                channelName(), ChannelOptions(writers: .shared, lifetime: .kept, capacity: 65_536))
            return Attempt(end: { try? Topic<UInt64>.remove(topic.name.description) }) {
                var publisher = try topic.makePublisher()
                var subscription = try topic.subscribe()
                try publisher.publish(1, until: .after(.seconds(10)))
                try require(try subscription.receiveAvailable { (_) throws(IPCError) in } == 1, "a message")
            }
        },
        Operation("ChannelSequence.Iterator.next() async", "ChannelSequence.Iterator.next(isolation:) async") {
            let topic = try Topic<UInt64>.create(channelName(), smallLog)
            let publisher = Box(try topic.makePublisher())
            return Attempt(suspending: {
                let messages = try topic.subscribe().messages()
                try await publisher.value.publish(1)
                var iterator = messages.makeAsyncIterator()
                try require(try await iterator.next() == 1, "a message")
            })
        },
        Operation("Topic.remove(_:in:)") {
            let topic = try Topic<UInt64>.create(channelName(), smallLog)
            return Attempt { try Topic<UInt64>.remove(topic.name.description) }
        },
        Operation(
            "ChannelDescription.init(_:in:countsMessages:)", "ChannelTap.init(_:in:from:)", "ChannelTap.next(limit:)",
            "ChannelRoot.names()", "ChannelName.init(_:)"
        ) {
            let topic = try Topic<UInt64>.create(channelName(), smallLog)
            let publisher = Box(try topic.makePublisher())
            return Attempt {
                let name = try ChannelName(topic.name.description)
                try require(try ChannelRoot.current.names().contains(name), "the name")
                _ = try ChannelDescription(name)
                var tap = try ChannelTap(topic.name.description, from: .next)
                try require(try tap.next() == nil, "nothing")
                withExtendedLifetime(publisher) {}
            }
        },
        Operation("ChannelBell.init(in:)", "ChannelReadiness.arm(_:)") {
            let topic = try Topic<UInt64>.create(channelName(), smallLog)
            let subscription = Box(try topic.subscribe())
            return Attempt {
                let bell = try ChannelBell()
                try require(try subscription.value.readiness().arm(bell), "nothing")
                bell.clear()
            }
        },
        Operation("WaitSet.init(in:)") { Attempt { _ = try WaitSet() } },
        Operation("Event.create(_:lifetime:maximumParticipants:permissions:_:)") {
            let name = channelName()
            return Attempt(undo: { try Event.remove(name) }) { _ = try Event.create(name) }
        },
        Operation("Event.open(_:)", "Event.join(waiting:)") {
            let event = try Event.create(channelName())
            let holder = Giveable(try event.join())
            return Attempt(end: { holder.give() }) {
                let participant = try Event.open(event.name.description).join()
                participant.notify()
                try participant.wait(until: .after(.seconds(10)))
            }
        },
        Operation("Event.remove(_:)") {
            let event = try Event.create(channelName())
            return Attempt { try Event.remove(event.name.description) }
        },
        Operation("Latest.create(_:in:_:_:)") {
            let name = channelName()
            return Attempt(undo: { try Latest<UInt64>.remove(name) }) { _ = try Latest<UInt64>.create(name) }
        },
        Operation("Topic.observe(from:waiting:)", "Subscription.skip()") {
            let topic = try Topic<UInt64>.create(channelName(), smallLog)
            let holder = Giveable(try topic.makePublisher())
            return Attempt(end: { holder.give() }) {
                var observer = try topic.observe()
                var subscription = try topic.subscribe()
                try require(try observer.tryReceive() == nil, "nothing")
                try require(try !subscription.skip(), "nothing")
            }
        },
        Operation("Latest.observe(waiting:)", "LatestObserver.get()") {
            let latest = try Latest<UInt64>.create(channelName())
            let holder = Giveable(try latest.makeSetter())
            return Attempt(end: { holder.give() }) {
                var observer = try latest.observe()
                try require(try observer.get() == nil, "nothing")
            }
        },
        Operation("LatestObserver.get(_:)") {
            let latest = try Latest<RawBytes>.create(channelName())
            let holder = Giveable(try latest.makeSetter())
            return Attempt(end: { holder.give() }) {
                var observer = try latest.observe()
                try require(try observer.get { (bytes) throws(IPCError) in bytes.byteCount } == nil, "nothing")
            }
        },
        Operation(
            "Latest.open(_:in:)", "Latest.makeGetter(waiting:)", "Latest.makeSetter()", "LatestGetter.get()",
            "LatestSetter.set(_:)"
        ) {
            let latest = try Latest<UInt64>.create(channelName())
            let holder = Giveable(try latest.makeGetter())
            return Attempt(end: { holder.give() }) {
                let again = try Latest<UInt64>.open(latest.name.description)
                var setter = try again.makeSetter()
                var getter = try again.makeGetter()
                try setter.set(7)
                try require(try getter.get() == 7, "the value")
            }
        },
        Operation("LatestGetter.get(_:)", "LatestSetter.set(upTo:_:)") {
            let latest = try Latest<RawBytes>.create(channelName())
            let holder = Giveable(try latest.makeGetter())
            return Attempt(end: { holder.give() }) {
                var setter = try latest.makeSetter()
                var getter = try latest.makeGetter()
                try setter.set(upTo: 3) { (_) throws(IPCError) in }
                try require(try getter.get { (bytes) throws(IPCError) in bytes.byteCount } == 0, "the value")
            }
        },
        Operation("Latest.remove(_:in:)") {
            let latest = try Latest<UInt64>.create(channelName())
            return Attempt { try Latest<UInt64>.remove(latest.name.description) }
        },
    ]

private let queueOperations: [Operation] = [
    Operation("WorkQueue.create(_:in:_:maximumAttempts:backoff:_:)") {
        let name = channelName()
        return Attempt(undo: { try WorkQueue<UInt64>.remove(name) }) {
            _ = try WorkQueue<UInt64>.create(name, smallQueue)
        }
    },
    Operation(
        "WorkQueue.open(_:in:)", "WorkQueue.makeProducer()", "WorkQueue.makeWorker(waiting:)",
        "Job.acknowledge()", "Job.withBytes(_:)"
    ) {
        let queue = try WorkQueue<RawBytes>.create(channelName(), smallQueue)
        let holder = Giveable(try queue.makeProducer())
        return Attempt(end: { holder.give() }) {
            let again = try WorkQueue<RawBytes>.open(queue.name.description)
            var producer = try again.makeProducer()
            var worker = try again.makeWorker()
            try producer.send(three().span.bytes, until: .after(.seconds(10)))
            let job = try worker.next(until: .after(.seconds(10)))
            try require(try job.withBytes { (bytes) throws(IPCError) in bytes.byteCount } == 3, "the job")
            try job.acknowledge()
        }
    },
    Operation("Producer.send(_:_:until:)", "Producer.send(_:_:until:) async") {
        let queue = try WorkQueue<UInt64>.create(channelName(), smallQueue)
        let (producer, holder) = (Box(try queue.makeProducer()), Giveable(try queue.makeWorker()))
        return Attempt(
            end: { holder.give() },
            suspending: {
                let options = JobOptions(delay: .seconds(60), timeToLive: .seconds(90))
                try blocking { try producer.value.send(7, options, until: .after(.seconds(10))) }
                try await producer.value.send(7, options, until: .after(.seconds(10)))
            })
    },
    Operation("WorkQueue.browse(limit:)") {
        let queue = try WorkQueue<UInt64>.create(channelName(), smallQueue)
        let producer = Giveable(try queue.makeProducer())
        try producer.value?.send(7)
        return Attempt(end: { producer.give() }) {
            try require(try queue.browse().first?.message == 7, "the message")
        }
    },
    Operation("WorkQueue.purge()") {
        let queue = try WorkQueue<UInt64>.create(channelName(), smallQueue)
        let producer = Giveable(try queue.makeProducer())
        return Attempt(end: { producer.give() }) { _ = try queue.purge() }
    },
    Operation("WorkQueue.redrive(limit:until:)") {
        let (queue, letters) = try newQueueAndLetters()
        let (producer, letter) = (Giveable(try queue.makeProducer()), Giveable(try letters.makeProducer()))
        try letter.value?.send(7)
        return Attempt(
            end: {
                producer.give()
                letter.give()
            }
        ) { _ = try queue.redrive(until: .after(.seconds(10))) }
    },
    Operation("WorkQueue.deadLetters()") {
        let queue = try WorkQueue<UInt64>.create(channelName(), smallQueue)
        let holder = Giveable(try queue.makeProducer())
        return Attempt(
            undo: { try WorkQueue<UInt64>.remove(try queue.deadLetters().name.description) }, end: { holder.give() }
        ) { _ = try queue.deadLetters() }
    },
    Operation("WorkQueue.remove(_:in:)") {
        let queue = try WorkQueue<UInt64>.create(channelName(), smallQueue)
        return Attempt { try WorkQueue<UInt64>.remove(queue.name.description) }
    },
    Operation("WorkQueue.work(concurrency:_:) async", "Delivery.acknowledge()", "Delivery.withBytes(_:)") {
        let queue = try WorkQueue<RawBytes>.create(channelName(), smallQueue)
        let producer = Box(try queue.makeProducer())
        return Attempt(
            again: {},
            suspending: {
                try await untilCancelled { cancel in
                    try await producer.value.send(three().span.bytes, until: .after(.seconds(10)))
                    try await queue.work { delivery in
                        defer { cancel() }
                        try delivery.withBytes { (bytes) throws(IPCError) in _ = bytes.byteCount }
                        try delivery.acknowledge()
                    }
                }
            })
    },
]

private func blocking(_ body: () throws -> Void) throws { try body() }

private let serviceOperations: [Operation] = [
    Operation("Service.create(_:in:_:_:)") {
        let name = channelName()
        return Attempt(undo: { try Service<UInt64, UInt64, Fault>.remove(name) }) {
            _ = try Service<UInt64, UInt64, Fault>.create(name)
        }
    },
    Operation(
        "Service.open(_:in:)", "Service.makeClient(waiting:)", "Service.makeServer(waiting:)", "Call.fail(_:)",
        "Call.identifyCaller()",
        "Call.reply(_:)", "Call.release()", "Call.withRequest(_:)", "PendingCall.readiness()", "PendingCall.wait()",
        "PendingCall.wait(_:)"
    ) {
        let service = try Service<RawBytes, RawBytes, Fault>.create(channelName())
        let holder = Giveable(try service.makeClient())
        return Attempt(end: { holder.give() }) {
            let again = try Service<RawBytes, RawBytes, Fault>.open(service.name.description)
            var client = try again.makeClient()
            var server = try again.makeServer()
            let deadline = Deadline.after(.seconds(10))
            let first = try client.begin(three().span.bytes, replyLimit: 100, until: deadline)
            let call = try server.next(until: deadline)
            try require(try call.withRequest { (bytes) throws(IPCError) in bytes.byteCount } == 3, "the request")
            try require(try call.identifyCaller().user == geteuid(), "the caller's user")
            try call.reply(three().span.bytes)
            _ = try first.readiness()
            _ = try first.wait { (bytes) throws(IPCError) in bytes.byteCount }
            let second = try client.begin(three().span.bytes, replyLimit: 100, until: deadline)
            try server.next(until: deadline).release()
            try server.next(until: deadline).fail(.wrong)
            _ = try second.wait { (bytes) throws(IPCError) in bytes.byteCount }
        }
    },
    Operation("PendingCall.wait() async", "PendingCall.wait(_:) async", "PendingCall.wait()", "Call.reply(_:)") {
        let service = try Service<UInt64, UInt64, Fault>.create(channelName())
        let holder = Giveable(try service.makeClient())
        return Attempt(
            end: { holder.give() },
            suspending: {
                var client = try service.makeClient()
                var server = try service.makeServer()
                let deadline = Deadline.after(.seconds(10))
                let call = try await client.begin(7, until: deadline)
                try await server.next(until: deadline).reply(8)
                try require(try await call.wait().get() == 8, "the reply")
            })
    },
    Operation(
        "Call.request(with:)", "Call.reply(_:with:)", "Call.fail(_:with:)", "PendingCall.wait(with:)"
    ) {
        let service = try CodedService.create(channelName())
        let holder = Giveable(try service.makeClient())
        return Attempt(end: { holder.give() }) {
            var client = try service.makeClient()
            var server = try service.makeServer()
            let deadline = Deadline.after(.seconds(10))
            let first = try client.begin(7, with: NumberCoder(), until: deadline)
            let call = try server.next(until: deadline)
            try require(try call.request(with: NumberCoder()) == 7, "the request")
            try call.reply(8, with: NumberCoder())
            try require(try first.wait(with: NumberCoder()).get() == 8, "the reply")
            let second = try client.begin(7, with: NumberCoder(), until: deadline)
            try server.next(until: deadline).fail(CodedFault(), with: NumberCoder())
            // The coder knows numbers only.
            try require((try? second.wait(with: NumberCoder())) == nil, "the failure")
        }
    },
    Operation("PendingCall.wait(with:) async", "Service.serve(with:concurrency:_:) async") {
        let service = try CodedService.create(channelName())
        let client = Box(try service.makeClient())
        return Attempt(suspending: {
            try await untilCancelled { cancel in
                let call = try await client.value.begin(7, with: NumberCoder(), until: .after(.seconds(10)))
                try await service.serve(with: NumberCoder()) { (request, _) async throws(CodedFault) in
                    cancel()
                    return request + 1
                }
                try require(try await call.wait(with: NumberCoder()).get() == 8, "the reply")
            }
        })
    },
    Operation("Service.remove(_:in:)") {
        let service = try Service<UInt64, UInt64, Fault>.create(channelName())
        return Attempt { try Service<UInt64, UInt64, Fault>.remove(service.name.description) }
    },
    Operation("Service.serve(concurrency:_:) async", "CallContext.identifyCaller()") {
        let service = try Service<UInt64, UInt64, Fault>.create(channelName())
        let client = Box(try service.makeClient())
        return Attempt(suspending: {
            try await untilCancelled { cancel in
                let call = try await client.value.begin(7, until: .after(.seconds(10)))
                let failure = Box<IPCError?>(nil)
                try await service.serve { (request, context) async throws(Fault) in
                    do throws(IPCError) { _ = try context.identifyCaller() } catch { failure.value = error }
                    cancel()
                    return request + 1
                }
                if let error = failure.value { throw error }
                _ = consume call
            }
        })
    },
]

/// Runs a task that `body` is given the cancelling of, and that ends by it.
private func untilCancelled(
    _ body: @escaping @Sendable (_ cancel: @escaping @Sendable () -> Void) async throws -> Void
) async throws {
    let task = Box<Task<Void, any Error>?>(nil)
    task.value = Task(executorPreference: ObservedThread.shared) { try await body { task.value?.cancel() } }
    do {
        try await task.value!.value
    } catch let error as IPCError where error.code == .cancelled {
        return
    }
}
