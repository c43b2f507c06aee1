import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport

// Channels: made, opened, joined, used and removed. All go with their last participant.

let channelOperations: [Operation] =
    openingOperations + serviceOperations + queueOperations + [
        Operation("Topic.create(_:in:_:)") {
            let name = channelName()
            return Attempt(undo: { try Topic<UInt64>.remove(name) }) {
                _ = try Topic<UInt64>.openOrCreate(
                    name, ChannelOptions(capacity: 65_536, permissions: [.ownerReadWrite, .groupRead]))
            }
        },
        // Kept on a disk.
        Operation("Topic.create(_:in:_:)", "Topic.makePublisher()", "Topic.makeSubscription(from:waiting:)") {
            let (name, root) = (channelName(), ChannelRoot(FilePath(scratchFolder + "/root")))
            let options = ChannelOptions(durability: .syncedWhenAsked, capacity: 65_536)
            let topic = try Topic<UInt64>.openOrCreate(name, in: root, options)
            return Attempt {
                var publisher = try topic.makePublisher()
                var subscription = try topic.makeSubscription()
                try publisher.publish(1)
                try publisher.sync()
                try require(try subscription.tryReceive() == 1)
            }
        },
        // With guests, who write System V shared memory.
        Operation("Topic.makePublisher()", "Topic.makeSubscription(from:waiting:)") {
            var options = ChannelOptions(writers: .shared, lifetime: .kept, capacity: 65_536)
            options.subscriberPermissions = .groupRead
            let topic = try Topic<UInt64>.openOrCreate(channelName(), options)
            return Attempt(end: { try? Topic<UInt64>.remove(topic.name.description) }) {
                var publisher = try topic.makePublisher()
                var subscription = try topic.makeSubscription()
                try publisher.publish(1)
                try require(try subscription.tryReceive() == 1)
            }
        },
        Operation("Topic.open(_:in:)", "Topic.makePublisher()", "Topic.makeSubscription(from:waiting:)") {
            let topic = try Topic<UInt64>.openOrCreate(channelName(), smallLog)
            let holder = Giveable(try topic.makePublisher())
            _ = holder
            return Attempt(end: { holder.give() }) {
                var subscription = try Topic<UInt64>.open(topic.name.description).makeSubscription()
                try require(try subscription.tryReceive() == nil, "nothing")
            }
        },
        Operation(
            "Topic.makePublisher()", "Topic.makeSubscription(from:waiting:)",
            "Topic.Subscription.receiveAvailable(limit:_:)"
        ) {
            let topic = try Topic<UInt64>.openOrCreate(
                channelName(), ChannelOptions(writers: .shared, lifetime: .kept, capacity: 65_536))
            return Attempt(end: { try? Topic<UInt64>.remove(topic.name.description) }) {
                var publisher = try topic.makePublisher()
                var subscription = try topic.makeSubscription()
                try publisher.publish(1, until: .after(.seconds(10)))
                try require(try subscription.receiveAvailable { (_) throws(IPCError) in } == 1, "a message")
            }
        },
        Operation("ChannelSequence.Iterator.next() async", "ChannelSequence.Iterator.next(isolation:) async") {
            let topic = try Topic<UInt64>.openOrCreate(channelName(), smallLog)
            let publisher = Box(try topic.makePublisher())
            return Attempt(suspending: {
                let messages = try topic.makeSubscription().messages()
                try await publisher.value.publish(1)
                var iterator = messages.makeAsyncIterator()
                try require(try await iterator.next() == 1, "a message")
            })
        },
        Operation("Topic.remove(_:in:)") {
            let topic = try Topic<UInt64>.openOrCreate(channelName(), smallLog)
            return Attempt { try Topic<UInt64>.remove(topic.name.description) }
        },
        Operation(
            "ChannelDescription.init(_:in:countsMessages:)", "ChannelTap.init(_:in:from:)", "ChannelTap.next(limit:)",
            "ChannelRoot.names()", "ChannelName.init(_:)"
        ) {
            let topic = try Topic<UInt64>.openOrCreate(channelName(), smallLog)
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
        Operation("ReadinessDescriptor.init(in:)", "ChannelReadiness.arm(_:)") {
            let topic = try Topic<UInt64>.openOrCreate(channelName(), smallLog)
            let subscription = Box(try topic.makeSubscription())
            return Attempt {
                let bell = try ReadinessDescriptor()
                try require(try subscription.value.readiness().arm(bell), "nothing")
                bell.clear()
            }
        },
        Operation("WaitSet.init(in:)") { Attempt { _ = try WaitSet() } },
        Operation("Event.open(_:in:)", "Event.makeParticipant(waiting:)") {
            let event = try Event.openOrCreate(channelName())
            let holder = Giveable(try event.makeParticipant())
            return Attempt(end: { holder.give() }) {
                let participant = try Event.open(event.name.description).makeParticipant()
                participant.notify()
                try participant.wait(until: .after(.seconds(10)))
            }
        },
        Operation("Event.remove(_:in:)") {
            let event = try Event.openOrCreate(channelName())
            return Attempt { try Event.remove(event.name.description) }
        },
        Operation("Latest.create(_:in:_:)") {
            let name = channelName()
            return Attempt(undo: { try Latest<UInt64>.remove(name) }) { _ = try Latest<UInt64>.openOrCreate(name) }
        },
        Operation("Topic.makeObserver(from:waiting:)", "Topic.Subscription.skip()") {
            let topic = try Topic<UInt64>.openOrCreate(channelName(), smallLog)
            let holder = Giveable(try topic.makePublisher())
            return Attempt(end: { holder.give() }) {
                var observer = try topic.makeObserver()
                var subscription = try topic.makeSubscription()
                try require(try observer.tryReceive() == nil, "nothing")
                try require(try !subscription.skip(), "nothing")
            }
        },
        Operation("Latest.makeObserver(waiting:)", "Latest.Observer.get()") {
            let latest = try Latest<UInt64>.openOrCreate(channelName())
            let holder = Giveable(try latest.makeSetter())
            return Attempt(end: { holder.give() }) {
                var observer = try latest.makeObserver()
                try require(try observer.get() == nil, "nothing")
            }
        },
        Operation("Latest.Observer.get(_:)") {
            let latest = try Latest<RawBytes>.openOrCreate(channelName())
            let holder = Giveable(try latest.makeSetter())
            return Attempt(end: { holder.give() }) {
                var observer = try latest.makeObserver()
                try require(try observer.get { (bytes) throws(IPCError) in bytes.byteCount } == nil, "nothing")
            }
        },
        Operation(
            "Latest.open(_:in:)", "Latest.makeGetter(waiting:)", "Latest.makeSetter()", "Latest.Getter.get()",
            "Latest.Setter.set(_:)"
        ) {
            let latest = try Latest<UInt64>.openOrCreate(channelName())
            let holder = Giveable(try latest.makeGetter())
            return Attempt(end: { holder.give() }) {
                let again = try Latest<UInt64>.open(latest.name.description)
                var setter = try again.makeSetter()
                var getter = try again.makeGetter()
                try setter.set(7)
                try require(try getter.get() == 7, "the value")
            }
        },
        Operation("Latest.Getter.get(_:)", "Latest.Setter.set(upTo:_:)") {
            let latest = try Latest<RawBytes>.openOrCreate(channelName())
            let holder = Giveable(try latest.makeGetter())
            return Attempt(end: { holder.give() }) {
                var setter = try latest.makeSetter()
                var getter = try latest.makeGetter()
                try setter.set(upTo: 3) { (_) throws(IPCError) in }
                try require(try getter.get { (bytes) throws(IPCError) in bytes.byteCount } == 0, "the value")
            }
        },
        Operation("Latest.remove(_:in:)") {
            let latest = try Latest<UInt64>.openOrCreate(channelName())
            return Attempt { try Latest<UInt64>.remove(latest.name.description) }
        },
    ]

private let queueOperations: [Operation] = [
    Operation(
        "WorkQueue.open(_:in:)", "WorkQueue.makeProducer()", "WorkQueue.makeWorker(waiting:)",
        "WorkQueue.Job.acknowledge()", "WorkQueue.Job.withBytes(_:)"
    ) {
        let queue = try WorkQueue<RawBytes>.openOrCreate(channelName(), smallQueue)
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
    Operation("WorkQueue.Producer.send(_:_:until:)", "WorkQueue.Producer.send(_:_:until:) async") {
        let queue = try WorkQueue<UInt64>.openOrCreate(channelName(), smallQueue)
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
        let queue = try WorkQueue<UInt64>.openOrCreate(channelName(), smallQueue)
        let producer = Giveable(try queue.makeProducer())
        try producer.value?.send(7)
        return Attempt(end: { producer.give() }) {
            try require(try queue.browse().first?.message == 7, "the message")
        }
    },
    Operation("WorkQueue.purge()") {
        let queue = try WorkQueue<UInt64>.openOrCreate(channelName(), smallQueue)
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
    Operation("WorkQueue.collectDeadLetters()") {
        let (queue, letters) = try newQueueAndLetters()
        let (producer, holder) = (Giveable(try queue.makeProducer()), Giveable(try letters.makeProducer()))
        try producer.value?.send(7, JobOptions(timeToLive: .nanoseconds(1)))
        return Attempt(
            end: {
                producer.give()
                holder.give()
            }
        ) { _ = try queue.collectDeadLetters() }
    },
    Operation("WorkQueue.deadLetters()") {
        let queue = try WorkQueue<UInt64>.openOrCreate(channelName(), smallQueue)
        let holder = Giveable(try queue.makeProducer())
        return Attempt(
            undo: { try WorkQueue<UInt64>.remove(try queue.deadLetters().name.description) }, end: { holder.give() }
        ) { _ = try queue.deadLetters() }
    },
    Operation("WorkQueue.remove(_:in:)") {
        let queue = try WorkQueue<UInt64>.openOrCreate(channelName(), smallQueue)
        return Attempt { try WorkQueue<UInt64>.remove(queue.name.description) }
    },
    Operation(
        "WorkQueue.work(concurrency:_:) async", "WorkQueue.SharedJob.acknowledge()", "WorkQueue.SharedJob.withBytes(_:)"
    ) {
        let queue = try WorkQueue<RawBytes>.openOrCreate(channelName(), smallQueue)
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

func blocking(_ body: () throws -> Void) throws { try body() }

private let serviceOperations: [Operation] = [
    Operation(
        "ServiceChannel.open(_:in:)", "ServiceChannel.makeClient(waiting:)", "ServiceChannel.makeServer(waiting:)",
        "ServiceChannel.Call.fail(_:)",
        "ServiceChannel.Call.identifyCaller()",
        "ServiceChannel.Call.reply(_:)", "ServiceChannel.Call.release()", "ServiceChannel.Call.withRequest(_:)",
        "PendingCall.readiness()", "PendingCall.wait()",
        "PendingCall.wait(_:)"
    ) {
        let service = try ServiceChannel<RawBytes, RawBytes, Fault>.openOrCreate(channelName())
        let holder = Giveable(try service.makeClient())
        return Attempt(end: { holder.give() }) {
            let again = try ServiceChannel<RawBytes, RawBytes, Fault>.open(service.name.description)
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
    Operation(
        "PendingCall.wait() async", "PendingCall.wait(_:) async", "PendingCall.wait()", "ServiceChannel.Call.reply(_:)"
    ) {
        let service = try ServiceChannel<UInt64, UInt64, Fault>.openOrCreate(channelName())
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
        "ServiceChannel.Call.reply(_:)", "ServiceChannel.Call.fail(_:)", "PendingCall.wait()"
    ) {
        let service = try CodedService.openOrCreate(channelName())
        let holder = Giveable(try service.makeClient())
        return Attempt(end: { holder.give() }) {
            var client = try service.makeClient()
            var server = try service.makeServer()
            let deadline = Deadline.after(.seconds(10))
            let first = try client.begin(7, until: deadline)
            let call = try server.next(until: deadline)
            try require(try call.request == 7, "the request")
            try call.reply(8)
            try require(try first.wait().get() == 8, "the reply")
            let second = try client.begin(7, until: deadline)
            try server.next(until: deadline).fail(CodedFault())
            // The coder knows numbers only.
            try require((try? second.wait()) == nil, "the failure")
        }
    },
    Operation("PendingCall.wait() async", "ServiceChannel.serve(concurrency:_:) async") {
        let service = try CodedService.openOrCreate(channelName())
        let client = Box(try service.makeClient())
        return Attempt(suspending: {
            try await untilCancelled { cancel in
                let call = try await client.value.begin(7, until: .after(.seconds(10)))
                try await service.serve() { (request, _) async throws(CodedFault) in
                    cancel()
                    return request + 1
                }
                try require(try await call.wait().get() == 8, "the reply")
            }
        })
    },
    Operation("ServiceChannel.remove(_:in:)") {
        let service = try ServiceChannel<UInt64, UInt64, Fault>.openOrCreate(channelName())
        return Attempt { try ServiceChannel<UInt64, UInt64, Fault>.remove(service.name.description) }
    },
    Operation("ServiceChannel.serve(concurrency:_:) async", "CallContext.identifyCaller()") {
        let service = try ServiceChannel<UInt64, UInt64, Fault>.openOrCreate(channelName())
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
