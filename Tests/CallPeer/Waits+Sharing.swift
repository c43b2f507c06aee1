import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport

// Openers that wait for a creator, and writers that tasks share.

let openingWaits: [Wait] = [
    Wait("Topic.open(_:in:until:)") {
        let name = channelName()
        let made = Box<Topic<UInt64>.Publisher?>(nil)
        return Wait.Case(
            call: .blocking { deadline in
                _ = try Topic<UInt64>.open(name, until: deadline)
                return true
            }, release: { made.value = try Topic<UInt64>.create(name).makePublisher() })
    },
    Wait("Topic.open(_:in:until:) async") {
        let name = channelName()
        let made = Box<Topic<UInt64>.Publisher?>(nil)
        return Wait.Case(
            call: .suspending { deadline in
                _ = try await Topic<UInt64>.open(name, until: deadline)
                return true
            }, release: { made.value = try Topic<UInt64>.create(name).makePublisher() })
    },
    Wait("WorkQueue.open(_:in:until:)") {
        let name = channelName()
        let made = Box<WorkQueue<UInt64>.Producer?>(nil)
        return Wait.Case(
            call: .blocking { deadline in
                _ = try WorkQueue<UInt64>.open(name, until: deadline)
                return true
            }, release: { made.value = try WorkQueue<UInt64>.create(name, smallQueue).makeProducer() })
    },
    Wait("WorkQueue.open(_:in:until:) async") {
        let name = channelName()
        let made = Box<WorkQueue<UInt64>.Producer?>(nil)
        return Wait.Case(
            call: .suspending { deadline in
                _ = try await WorkQueue<UInt64>.open(name, until: deadline)
                return true
            }, release: { made.value = try WorkQueue<UInt64>.create(name, smallQueue).makeProducer() })
    },
    Wait("ServiceChannel.open(_:in:until:)") {
        let name = channelName()
        let made = Box<ServiceChannel<UInt64, UInt64, Fault>.Client?>(nil)
        return Wait.Case(
            call: .blocking { deadline in
                _ = try ServiceChannel<UInt64, UInt64, Fault>.open(name, until: deadline)
                return true
            }, release: { made.value = try ServiceChannel<UInt64, UInt64, Fault>.create(name).makeClient() })
    },
    Wait("ServiceChannel.open(_:in:until:) async") {
        let name = channelName()
        let made = Box<ServiceChannel<UInt64, UInt64, Fault>.Client?>(nil)
        return Wait.Case(
            call: .suspending { deadline in
                _ = try await ServiceChannel<UInt64, UInt64, Fault>.open(name, until: deadline)
                return true
            }, release: { made.value = try ServiceChannel<UInt64, UInt64, Fault>.create(name).makeClient() })
    },
    Wait("Latest.open(_:in:until:)") {
        let name = channelName()
        let made = Box<Latest<UInt64>.Setter?>(nil)
        return Wait.Case(
            call: .blocking { deadline in
                _ = try Latest<UInt64>.open(name, until: deadline)
                return true
            }, release: { made.value = try Latest<UInt64>.create(name).makeSetter() })
    },
    Wait("Latest.open(_:in:until:) async") {
        let name = channelName()
        let made = Box<Latest<UInt64>.Setter?>(nil)
        return Wait.Case(
            call: .suspending { deadline in
                _ = try await Latest<UInt64>.open(name, until: deadline)
                return true
            }, release: { made.value = try Latest<UInt64>.create(name).makeSetter() })
    },
    Wait("Event.open(_:in:until:)") {
        let name = channelName()
        let made = Box<Event.Participant?>(nil)
        return Wait.Case(
            call: .blocking { deadline in
                _ = try Event.open(name, until: deadline)
                return true
            }, release: { made.value = try Event.create(name).makeParticipant() })
    },
    Wait("Event.open(_:in:until:) async") {
        let name = channelName()
        let made = Box<Event.Participant?>(nil)
        return Wait.Case(
            call: .suspending { deadline in
                _ = try await Event.open(name, until: deadline)
                return true
            }, release: { made.value = try Event.create(name).makeParticipant() })
    },
    Wait("AnyChannel.open(_:in:until:)") {
        let name = channelName()
        let made = Box<Event.Participant?>(nil)
        return Wait.Case(
            call: .blocking { deadline in
                _ = try AnyChannel.open(name, until: deadline)
                return true
            }, release: { made.value = try Event.create(name).makeParticipant() })
    },
    Wait("AnyChannel.open(_:in:until:) async") {
        let name = channelName()
        let made = Box<Event.Participant?>(nil)
        return Wait.Case(
            call: .suspending { deadline in
                _ = try await AnyChannel.open(name, until: deadline)
                return true
            }, release: { made.value = try Event.create(name).makeParticipant() })
    },
]

let sharedWriterWaits: [Wait] = [
    Wait("Topic.SharedPublisher.publish(_:until:)", "Topic.SharedPublisher.tryPublish(_:)") {
        let topic = try Topic<UInt64>.create(channelName(), smallLog)
        let (publisher, subscription) = (try topic.makeSharedPublisher(), Box(try topic.makeSubscription()))
        try fill { try publisher.tryPublish(1) }
        return Wait.Case(
            call: .blocking { deadline in
                try publisher.publish(7, until: deadline)
                return true
            }, release: { try fill { try subscription.value.tryReceive() != nil } },
            tries: [("tryPublish", { try publisher.tryPublish(7) })])
    },
    Wait("Topic.SharedPublisher.publish(_:until:) async", "Topic.SharedPublisher.tryPublish(_:)") {
        let topic = try Topic<RawBytes>.create(channelName(), smallLog)
        let (publisher, subscription) = (try topic.makeSharedPublisher(), Box(try topic.makeSubscription()))
        try fill { try publisher.tryPublish(kilobyte().span.bytes) }
        return Wait.Case(
            call: .suspending { deadline in
                try await publisher.publish(kilobyte().span.bytes, until: deadline)
                return true
            }, release: { try empty(subscription) },
            tries: [("tryPublish", { try publisher.tryPublish(kilobyte().span.bytes) })])
    },
    Wait("Topic.SharedPublisher.publish(_:until:)", "Topic.SharedPublisher.publish(_:until:) async") {
        let topic = try Topic<Coded<Int, NumberCoder>>.create(channelName(), smallLog)
        let (publisher, subscription) = (try topic.makeSharedPublisher(), Box(try topic.makeSubscription()))
        while (try? publisher.publish(1, until: .immediate)) != nil {}
        return Wait.Case(
            call: .suspending { deadline in
                try await publisher.publish(7, until: deadline)
                return true
            }, release: { try fill { try subscription.value.skip() } })
    },
    Wait("WorkQueue.SharedProducer.send(_:_:until:)", "WorkQueue.SharedProducer.trySend(_:)") {
        let queue = try WorkQueue<UInt64>.create(channelName(), smallQueue)
        let producer = try queue.makeSharedProducer()
        try fill { try producer.trySend(1) }
        return Wait.Case(
            call: .blocking { deadline in
                try producer.send(7, until: deadline)
                return true
            }, release: { try empty(queue) }, tries: [("trySend", { try producer.trySend(7) })])
    },
    Wait("WorkQueue.SharedProducer.send(_:_:until:) async", "WorkQueue.SharedProducer.trySend(_:)") {
        let queue = try WorkQueue<RawBytes>.create(channelName(), smallQueue)
        let producer = try queue.makeSharedProducer()
        try fill { try producer.trySend(kilobyte().span.bytes) }
        return Wait.Case(
            call: .suspending { deadline in
                try await producer.send(kilobyte().span.bytes, until: deadline)
                return true
            },
            release: {
                var worker = try queue.makeWorker()
                while let job = try worker.tryNext() { try job.acknowledge() }
            }, tries: [("trySend", { try producer.trySend(kilobyte().span.bytes) })])
    },
    Wait("ServiceChannel.SharedClient.call(_:_:until:)") {
        let service = try newService()
        let client = try service.makeSharedClient()
        return Wait.Case(
            call: .blocking { deadline in try client.call(7, until: deadline).get() == 8 },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ServiceChannel.SharedClient.call(_:_:until:) async") {
        let service = try newService()
        let client = try service.makeSharedClient()
        return Wait.Case(
            call: .suspending { deadline in try await client.call(7, labelled, until: deadline).get() == 8 },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ServiceChannel.SharedClient.begin(_:_:until:)") {
        let service = try newService()
        let client = try service.makeSharedClient()
        return Wait.Case(
            call: .blocking { deadline in try client.begin(7, until: deadline).wait().get() == 8 },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ServiceChannel.SharedClient.begin(_:_:until:) async") {
        let service = try newService()
        let client = try service.makeSharedClient()
        return Wait.Case(
            call: .suspending { deadline in try await client.begin(7, until: deadline).wait().get() == 8 },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ServiceChannel.SharedClient.begin(_:replyLimit:_:until:)") {
        let service = try newByteService()
        let client = try service.makeSharedClient()
        return Wait.Case(
            call: .blocking { deadline in
                let call = try client.begin(three().span.bytes, replyLimit: 100, until: deadline)
                return try call.wait { (reply) throws(IPCError) in reply.byteCount == 3 }.get()
            }, release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ServiceChannel.SharedClient.begin(_:replyLimit:_:until:) async") {
        let service = try newByteService()
        let client = try service.makeSharedClient()
        return Wait.Case(
            call: .suspending { deadline in
                let call = try await client.begin(three().span.bytes, replyLimit: 100, until: deadline)
                return try await call.wait { (reply) throws(IPCError) in reply.byteCount == 3 }.get()
            }, release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ServiceChannel.SharedClient.call(_:replyLimit:_:until:) async") {
        let service = try CodedService.create(channelName(), smallService)
        let client = try service.makeSharedClient()
        return Wait.Case(
            call: .suspending { deadline in try await client.call(7, until: deadline).get() == 8 },
            release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("Topic.SharedPublisher.sync(until:)", "WorkQueue.SharedProducer.sync(until:)") {
        let root = ChannelRoot(FilePath(scratchFolder + "/root"))
        let durable = ChannelOptions(durability: .syncedWhenAsked, capacity: 65_536)
        let publisher = try Topic<UInt64>.create(channelName(), in: root, durable).makeSharedPublisher()
        let producer = try WorkQueue<UInt64>.create(channelName(), in: root, durable).makeSharedProducer()
        return Wait.Case(
            call: .blocking { deadline in
                try publisher.sync(until: deadline)
                try producer.sync(until: deadline)
                return true
            }, release: {}, mayBeReady: true)
    },
    Wait("ServiceChannel.SharedClient.call(_:replyLimit:_:until:)") {
        let service = try CodedService.create(channelName(), smallService)
        let client = try service.makeSharedClient()
        return Wait.Case(
            call: .blocking { deadline in try client.call(7, until: deadline).get() == 8 },
            release: { try serve(service) }, isReleasedByCall: true)
    },
]

/// Readers and writers of channels whose type is not known.
let anyChannelWaits: [Wait] = [
    Wait("ChannelReader.receive(until:)", "ChannelReader.tryReceive()") {
        let topic = try Topic<UInt64>.create(channelName(), smallLog)
        let (publisher, reader) = (Box(try topic.makePublisher()), Box(try any(topic.name).makeReader()))
        return Wait.Case(
            call: .blocking { deadline in try reader.value.receive(until: deadline).count == 8 },
            release: { try publisher.value.publish(7) },
            tries: [("tryReceive", { try reader.value.tryReceive() != nil })])
    },
    Wait("ChannelReader.receive(until:) async") {
        let latest = try Latest<UInt64>.create(channelName())
        let (setter, reader) = (Box(try latest.makeSetter()), Box(try any(latest.name).makeReader()))
        return Wait.Case(
            call: .suspending { deadline in try await reader.value.receive(until: deadline).count == 8 },
            release: { try setter.value.set(7) })
    },
    Wait("ChannelReader.take(until:)", "ChannelReader.tryTake()") {
        let queue = try WorkQueue<UInt64>.create(channelName(), smallQueue)
        let (producer, reader) = (Box(try queue.makeProducer()), Box(try any(queue.name).makeReader()))
        return Wait.Case(
            call: .blocking { deadline in
                try reader.value.take(until: deadline).acknowledge()
                return true
            }, release: { try producer.value.send(7) },
            tries: [
                (
                    "tryTake",
                    {
                        guard let job = try reader.value.tryTake() else { return false }
                        try job.acknowledge()
                        return true
                    }
                )
            ])
    },
    Wait("ChannelReader.take(until:) async") {
        let queue = try WorkQueue<UInt64>.create(channelName(), smallQueue)
        let (producer, reader) = (Box(try queue.makeProducer()), Box(try any(queue.name).makeReader()))
        return Wait.Case(
            call: .suspending { deadline in
                try await reader.value.take(until: deadline).acknowledge()
                return true
            }, release: { try producer.value.send(7) })
    },
    Wait("ChannelReader.wait(until:)") {
        let event = try Event.create(channelName())
        let (notifier, reader) = (Box(try event.makeParticipant()), Box(try any(event.name).makeReader()))
        return Wait.Case(
            call: .blocking { deadline in
                try reader.value.wait(until: deadline)
                return true
            }, release: { notifier.value.notify() })
    },
    Wait("ChannelReader.wait(until:) async") {
        let event = try Event.create(channelName())
        let (notifier, reader) = (Box(try event.makeParticipant()), Box(try any(event.name).makeReader()))
        return Wait.Case(
            call: .suspending { deadline in
                try await reader.value.wait(until: deadline)
                return true
            }, release: { notifier.value.notify() })
    },
    Wait("ChannelReader.waitForNotices(after:until:) async") {
        let event = try Event.create(channelName())
        let (notifier, reader) = (Box(try event.makeParticipant()), Box(try any(event.name).makeReader()))
        let counts = try reader.value.eventCounts()
        return Wait.Case(
            call: .suspending { deadline in
                _ = try await reader.value.waitForNotices(after: counts, until: deadline)
                return true
            }, release: { notifier.value.notify() })
    },
    Wait("ChannelWriter.write(_:_:until:)", "ChannelWriter.tryWrite(_:)") {
        let topic = try Topic<RawBytes>.create(channelName(), smallLog)
        let (subscription, writer) = (Box(try topic.makeSubscription()), Box(try any(topic.name).makeWriter()))
        try fill { try writer.value.tryWrite(kilobyte().span.bytes) }
        return Wait.Case(
            call: .blocking { deadline in
                try writer.value.write(kilobyte().span.bytes, until: deadline)
                return true
            }, release: { try empty(subscription) },
            tries: [("tryWrite", { try writer.value.tryWrite(kilobyte().span.bytes) })])
    },
    Wait("ChannelReader.borrow(until:) async") {
        let topic = try Topic<UInt64>.create(channelName(), smallLog)
        let (publisher, reader) = (Box(try topic.makePublisher()), Box(try any(topic.name).makeReader()))
        return Wait.Case(
            call: .suspending { deadline in
                let count = try await reader.value.borrow(until: deadline).count
                try reader.value.advance()
                return count == 8
            }, release: { try publisher.value.publish(7) })
    },
    Wait("ChannelReader.borrow(until:)", "ChannelReader.tryBorrow()") {
        let topic = try Topic<UInt64>.create(channelName(), smallLog)
        let (publisher, reader) = (Box(try topic.makePublisher()), Box(try any(topic.name).makeReader()))
        return Wait.Case(
            call: .blocking { deadline in
                let count = try reader.value.borrow(until: deadline).count
                try reader.value.advance()
                return count == 8
            },
            release: { try publisher.value.publish(7) },
            tries: [
                (
                    "tryBorrow",
                    {
                        guard try reader.value.tryBorrow() != nil else { return false }
                        try reader.value.advance()
                        return true
                    }
                )
            ])
    },
    Wait("ChannelWriter.sync(until:)") {
        let root = ChannelRoot(FilePath(scratchFolder + "/root"))
        let durable = ChannelOptions(durability: .syncedWhenAsked, capacity: 65_536)
        let topic = try Topic<UInt64>.create(channelName(), in: root, durable)
        let writer = Box(try AnyChannel.open(topic.name.description, in: root).makeWriter())
        return Wait.Case(
            call: .blocking { deadline in
                try writer.value.sync(until: deadline)
                return true
            }, release: {}, mayBeReady: true)
    },
    Wait("ChannelWriter.reserve(_:until:)") {
        let topic = try Topic<RawBytes>.create(channelName(), smallLog)
        let (subscription, writer) = (Box(try topic.makeSubscription()), Box(try any(topic.name).makeWriter()))
        try fill { try writer.value.tryWrite(kilobyte().span.bytes) }
        return Wait.Case(
            call: .blocking { deadline in
                _ = try writer.value.reserve(1000, until: deadline)
                try writer.value.commit(1000)
                return true
            }, release: { try empty(subscription) })
    },
    Wait("ChannelWriter.write(_:_:until:) async") {
        let topic = try Topic<RawBytes>.create(channelName(), smallLog)
        let (subscription, writer) = (Box(try topic.makeSubscription()), Box(try any(topic.name).makeWriter()))
        try fill { try writer.value.tryWrite(kilobyte().span.bytes) }
        return Wait.Case(
            call: .suspending { deadline in
                try await writer.value.write(kilobyte().span.bytes, until: deadline)
                return true
            }, release: { try empty(subscription) })
    },
    Wait(
        "ChannelWriter.write(_:origin:_:until:)", "ChannelWriter.tryWrite(_:origin:)", "ChannelWriter.tryTellLost(_:)"
    ) {
        let topic = try Topic<RawBytes>.create(channelName(), smallLog)
        let (subscription, writer) = (Box(try topic.makeSubscription()), Box(try any(topic.name).makeWriter()))
        try fill { try writer.value.tryWrite(kilobyte().span.bytes) }
        try fill { try writer.value.tryTellLost(1) }
        return Wait.Case(
            call: .blocking { deadline in
                try writer.value.write(kilobyte().span.bytes, origin: origin, until: deadline)
                return true
            }, release: { try empty(subscription) },
            tries: [
                ("tryWrite", { try writer.value.tryWrite(kilobyte().span.bytes, origin: origin) != nil }),
                ("tryTellLost", { try writer.value.tryTellLost(1) }),
            ])
    },
    Wait("ChannelWriter.write(_:origin:_:until:) async") {
        let topic = try Topic<RawBytes>.create(channelName(), smallLog)
        let (subscription, writer) = (Box(try topic.makeSubscription()), Box(try any(topic.name).makeWriter()))
        try fill { try writer.value.tryWrite(kilobyte().span.bytes) }
        return Wait.Case(
            call: .suspending { deadline in
                try await writer.value.write(kilobyte().span.bytes, origin: origin, until: deadline)
                return true
            }, release: { try empty(subscription) })
    },
    Wait("ChannelWriter.call(_:replyLimit:_:until:)") {
        let service = try newByteService()
        let writer = Box(try any(service.name).makeWriter())
        return Wait.Case(
            call: .blocking { deadline in
                try writer.value.call(three().span.bytes, until: deadline) == .reply(three())
            }, release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ChannelWriter.call(_:replyLimit:_:until:) async") {
        let service = try newByteService()
        let writer = Box(try any(service.name).makeWriter())
        return Wait.Case(
            call: .suspending { deadline in
                try await writer.value.call(three().span.bytes, until: deadline) == .reply(three())
            }, release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ChannelWriter.begin(_:replyLimit:_:until:)", "PendingOutcome.wait(until:)") {
        let service = try newByteService()
        let writer = Box(try any(service.name).makeWriter())
        return Wait.Case(
            call: .blocking { deadline in
                var call = try writer.value.begin(three().span.bytes)
                return try call.wait(until: deadline) == .reply(three())
            }, release: { try serve(service) }, isReleasedByCall: true)
    },
    Wait("ChannelWriter.begin(_:replyLimit:_:until:) async", "PendingOutcome.wait(until:) async") {
        let service = try newByteService()
        let writer = Box(try any(service.name).makeWriter())
        return Wait.Case(
            call: .suspending { deadline in
                var call = try await writer.value.begin(three().span.bytes)
                return try await call.wait(until: deadline) == .reply(three())
            }, release: { try serve(service) }, isReleasedByCall: true)
    },
]

let origin = MessageOrigin(machine: 1, channel: 2, position: 3, sequence: 4)

func any(_ name: ChannelName) throws -> AnyChannel { try AnyChannel.open(name.description) }
