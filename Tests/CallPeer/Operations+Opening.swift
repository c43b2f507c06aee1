import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport

// Channels created and opened in each way, and writers that tasks share.

let openingOperations: [Operation] = [
    Operation("Topic.create(_:in:_:)") {
        let name = channelName()
        return Attempt(undo: { try Topic<UInt64>.remove(name) }) { _ = try Topic<UInt64>.create(name) }
    },
    Operation("Topic.openOrCreate(_:in:_:)") {
        let name = channelName()
        return Attempt(undo: { try Topic<UInt64>.remove(name) }) { _ = try Topic<UInt64>.openOrCreate(name) }
    },
    Operation("Topic.open(_:in:until:)") {
        let channel = try Topic<UInt64>.create(channelName())
        let holder = Giveable(try channel.makePublisher())
        return Attempt(end: { holder.give() }) {
            _ = try Topic<UInt64>.open(channel.name.description, until: .after(.seconds(10)))
        }
    },
    Operation("Topic.open(_:in:until:) async") {
        let channel = try Topic<UInt64>.create(channelName())
        let holder = Giveable(try channel.makePublisher())
        return Attempt(
            end: { holder.give() },
            suspending: {
                _ = try await Topic<UInt64>.open(channel.name.description, until: .after(.seconds(10)))
            })
    },
    Operation("Topic.create(_:in:_:)") {
        let name = channelName()
        return Attempt(undo: { try Topic<Framed<UInt64>>.remove(name) }) {
            _ = try Topic<Framed<UInt64>>.create(name)
        }
    },
    Operation("Topic.openOrCreate(_:in:_:)") {
        let name = channelName()
        return Attempt(undo: { try Topic<Framed<UInt64>>.remove(name) }) {
            _ = try Topic<Framed<UInt64>>.openOrCreate(name)
        }
    },
    Operation("Topic.open(_:in:)", "Topic.open(_:in:until:)", "Topic.open(_:in:until:) async") {
        let channel = try Topic<Framed<UInt64>>.create(channelName())
        let holder = Giveable(try channel.makePublisher())
        return Attempt(
            end: { holder.give() },
            suspending: {
                let name = channel.name.description
                _ = try Topic<Framed<UInt64>>.open(name)
                _ = try await Topic<Framed<UInt64>>.open(name, until: .after(.seconds(10)))
                try blocking { _ = try Topic<Framed<UInt64>>.open(name, until: .after(.seconds(10))) }
            })
    },
    Operation("Latest.create(_:in:_:)") {
        let name = channelName()
        return Attempt(undo: { try Latest<UInt64>.remove(name) }) { _ = try Latest<UInt64>.create(name) }
    },
    Operation("Latest.openOrCreate(_:in:_:)") {
        let name = channelName()
        return Attempt(undo: { try Latest<UInt64>.remove(name) }) { _ = try Latest<UInt64>.openOrCreate(name) }
    },
    Operation("Latest.open(_:in:until:)") {
        let channel = try Latest<UInt64>.create(channelName())
        let holder = Giveable(try channel.makeSetter())
        return Attempt(end: { holder.give() }) {
            _ = try Latest<UInt64>.open(channel.name.description, until: .after(.seconds(10)))
        }
    },
    Operation("Latest.open(_:in:until:) async") {
        let channel = try Latest<UInt64>.create(channelName())
        let holder = Giveable(try channel.makeSetter())
        return Attempt(
            end: { holder.give() },
            suspending: {
                _ = try await Latest<UInt64>.open(channel.name.description, until: .after(.seconds(10)))
            })
    },
    Operation("ServiceChannel.create(_:in:_:)") {
        let name = channelName()
        return Attempt(undo: { try ServiceChannel<UInt64, UInt64, Fault>.remove(name) }) {
            _ = try ServiceChannel<UInt64, UInt64, Fault>.create(name)
        }
    },
    Operation("ServiceChannel.openOrCreate(_:in:_:)") {
        let name = channelName()
        return Attempt(undo: { try ServiceChannel<UInt64, UInt64, Fault>.remove(name) }) {
            _ = try ServiceChannel<UInt64, UInt64, Fault>.openOrCreate(name)
        }
    },
    Operation("ServiceChannel.open(_:in:until:)") {
        let channel = try ServiceChannel<UInt64, UInt64, Fault>.create(channelName())
        let holder = Giveable(try channel.makeClient())
        return Attempt(end: { holder.give() }) {
            _ = try ServiceChannel<UInt64, UInt64, Fault>.open(channel.name.description, until: .after(.seconds(10)))
        }
    },
    Operation("ServiceChannel.open(_:in:until:) async") {
        let channel = try ServiceChannel<UInt64, UInt64, Fault>.create(channelName())
        let holder = Giveable(try channel.makeClient())
        return Attempt(
            end: { holder.give() },
            suspending: {
                _ = try await ServiceChannel<UInt64, UInt64, Fault>.open(
                    channel.name.description, until: .after(.seconds(10)))
            })
    },
    Operation("WorkQueue.create(_:in:_:maximumAttempts:backoff:)") {
        let name = channelName()
        return Attempt(undo: { try WorkQueue<UInt64>.remove(name) }) {
            _ = try WorkQueue<UInt64>.create(name, smallQueue)
        }
    },
    Operation("WorkQueue.openOrCreate(_:in:_:maximumAttempts:backoff:)") {
        let name = channelName()
        return Attempt(undo: { try WorkQueue<UInt64>.remove(name) }) {
            _ = try WorkQueue<UInt64>.openOrCreate(name, smallQueue)
        }
    },
    Operation("WorkQueue.open(_:in:until:)") {
        let channel = try WorkQueue<UInt64>.create(channelName(), smallQueue)
        let holder = Giveable(try channel.makeProducer())
        return Attempt(end: { holder.give() }) {
            _ = try WorkQueue<UInt64>.open(channel.name.description, until: .after(.seconds(10)))
        }
    },
    Operation("WorkQueue.open(_:in:until:) async") {
        let channel = try WorkQueue<UInt64>.create(channelName(), smallQueue)
        let holder = Giveable(try channel.makeProducer())
        return Attempt(
            end: { holder.give() },
            suspending: {
                _ = try await WorkQueue<UInt64>.open(channel.name.description, until: .after(.seconds(10)))
            })
    },
    Operation("Event.create(_:in:_:)") {
        let name = channelName()
        return Attempt(undo: { try Event.remove(name) }) { _ = try Event.create(name) }
    },
    Operation("Event.openOrCreate(_:in:_:)") {
        let name = channelName()
        return Attempt(undo: { try Event.remove(name) }) { _ = try Event.openOrCreate(name) }
    },
    Operation("Event.open(_:in:until:)") {
        let channel = try Event.create(channelName())
        let holder = Giveable(try channel.makeParticipant())
        return Attempt(end: { holder.give() }) {
            _ = try Event.open(channel.name.description, until: .after(.seconds(10)))
        }
    },
    Operation("Event.open(_:in:until:) async") {
        let channel = try Event.create(channelName())
        let holder = Giveable(try channel.makeParticipant())
        return Attempt(
            end: { holder.give() },
            suspending: {
                _ = try await Event.open(channel.name.description, until: .after(.seconds(10)))
            })
    },
    Operation(
        "Topic.makeSharedPublisher()", "Topic.SharedPublisher.publish(_:until:)",
        "Topic.SharedPublisher.publish(_:until:) async", "Topic.SharedPublisher.tryPublish(_:)"
    ) {
        let topic = try Topic<UInt64>.create(channelName(), smallLog)
        let holder = Giveable(try topic.makeSubscription())
        return Attempt(
            end: { holder.give() },
            suspending: {
                let publisher = try topic.makeSharedPublisher()
                try await publisher.publish(1, until: .after(.seconds(10)))
                try require(try publisher.tryPublish(1), "room")
                try blocking { try publisher.publish(1, until: .after(.seconds(10))) }
            })
    },
    Operation(
        "WorkQueue.makeSharedProducer()", "WorkQueue.SharedProducer.send(_:_:until:)",
        "WorkQueue.SharedProducer.send(_:_:until:) async", "WorkQueue.SharedProducer.trySend(_:)"
    ) {
        let queue = try WorkQueue<UInt64>.create(channelName(), smallQueue)
        let holder = Giveable(try queue.makeWorker())
        return Attempt(
            end: { holder.give() },
            suspending: {
                let producer = try queue.makeSharedProducer()
                try await producer.send(1, until: .after(.seconds(10)))
                try require(try producer.trySend(1), "room")
                try blocking { try producer.send(1, until: .after(.seconds(10))) }
                try queue.purge()
            })
    },
    Operation(
        "ServiceChannel.makeSharedClient(waiting:)", "ServiceChannel.SharedClient.begin(_:_:until:)",
        "ServiceChannel.SharedClient.begin(_:_:until:) async", "ServiceChannel.SharedClient.call(_:_:until:)",
        "ServiceChannel.SharedClient.call(_:_:until:) async"
    ) {
        let service = try ServiceChannel<UInt64, UInt64, Fault>.create(channelName())
        let holder = Giveable(try service.makeClient())
        return Attempt(
            end: { holder.give() },
            suspending: {
                let client = try service.makeSharedClient()
                var server = try service.makeServer()
                let deadline = Deadline.after(.seconds(10))
                let first = try await client.begin(7, until: deadline)
                try await server.next(until: deadline).reply(8)
                try require(try await first.wait().get() == 8, "the reply")
                try blocking {
                    let second = try client.begin(7, until: deadline)
                    try server.next(until: deadline).reply(8)
                    try require(try second.wait().get() == 8, "the reply")
                }
            })
    },
    Operation(
        "ServiceChannel.SharedClient.begin(_:replyLimit:_:until:)",
        "ServiceChannel.SharedClient.begin(_:replyLimit:_:until:) async",
        "ServiceChannel.SharedClient.call(_:replyLimit:_:until:) async"
    ) {
        let service = try ServiceChannel<RawBytes, RawBytes, Fault>.create(channelName())
        let holder = Giveable(try service.makeClient())
        return Attempt(
            end: { holder.give() },
            suspending: {
                let client = try service.makeSharedClient()
                var server = try service.makeServer()
                let deadline = Deadline.after(.seconds(10))
                let first = try await client.begin(three().span.bytes, replyLimit: 10, until: deadline)
                try await server.next(until: deadline).reply(three().span.bytes)
                try require(try await first.wait { $0.byteCount }.get() == 3, "the reply")
            })
    },
    Operation("Topic.SharedPublisher.sync(until:)", "WorkQueue.SharedProducer.sync(until:)") {
        let root = ChannelRoot(FilePath(scratchFolder + "/root"))
        let durable = ChannelOptions(durability: .syncedWhenAsked, capacity: 65_536)
        let publisher = Giveable(try Topic<UInt64>.create(channelName(), in: root, durable).makeSharedPublisher())
        let producer = Giveable(try WorkQueue<UInt64>.create(channelName(), in: root, durable).makeSharedProducer())
        return Attempt(
            end: {
                publisher.give()
                producer.give()
            }
        ) {
            try publisher.value!.sync(until: .after(.seconds(10)))
            try producer.value!.sync(until: .after(.seconds(10)))
        }
    },
    Operation("AnyChannel.open(_:in:)", "AnyChannel.open(_:in:until:)", "AnyChannel.open(_:in:until:) async") {
        let event = try Event.create(channelName())
        let holder = Giveable(try event.makeParticipant())
        return Attempt(
            end: { holder.give() },
            suspending: {
                let name = event.name.description
                _ = try AnyChannel.open(name)
                _ = try await AnyChannel.open(name, until: .after(.seconds(10)))
                try blocking { _ = try AnyChannel.open(name, until: .after(.seconds(10))) }
            })
    },
    Operation("AnyChannel.openOrCreate(_:_:in:_:defaults:schema:maximumAttempts:backoff:maximumWaiting:)") {
        let name = channelName()
        return Attempt(undo: { try Topic<RawBytes>.remove(name) }) { _ = try AnyChannel.openOrCreate(.topic, name) }
    },
    Operation(
        "AnyChannel.create(_:_:in:_:defaults:schema:maximumAttempts:backoff:maximumWaiting:)",
        "ChannelSchema.init(json:)", "MessageSchema.init(json:)", "MessageSchema.init(of:)", "MessageSchema.json(of:)",
        "MessageSchema.message(json:)", "InlineString.init(_:)", "InlineList.init(_:)", "InlineList.append(_:)"
    ) {
        let name = channelName()
        return Attempt(undo: { try Topic<RawBytes>.remove(name) }) {
            let schema = try MessageSchema(of: UInt64.self)
            let value = try schema.json(of: schema.message(json: "7"))
            let text = try InlineString<8>(value)
            var list = try InlineList<UInt8, 2>([1])
            try list.append(2)
            let again = try MessageSchema(json: schema.json)
            try require(again == schema && text == "7" && list.count == 2)
            let whole = try ChannelSchema(json: ChannelSchema.messages(schema).json)
            _ = try AnyChannel.create(.topic, name, schema: whole)
        }
    },
    Operation(
        "AnyChannel.makeObserver(from:waiting:)", "ChannelReader.borrow(until:)", "ChannelReader.tryBorrow()",
        "ChannelReader.advance()", "ChannelWriter.reserve(_:until:)", "ChannelWriter.commit(_:)",
        "ChannelWriter.abandon()", "ChannelWriter.sync(until:)", "Topic.open(_:in:compatibility:)",
        "Latest.open(_:in:compatibility:)"
    ) {
        let root = ChannelRoot(FilePath(scratchFolder + "/root"))
        let durable = ChannelOptions(writers: .shared, durability: .syncedWhenAsked, capacity: 65_536)
        let topic = try Topic<UInt64>.create(channelName(), in: root, durable)
        let latest = try Latest<UInt64>.create(channelName(), in: root, LatestOptions(lifetime: .kept))
        return Attempt {
            let name = topic.name.description
            _ = try Topic<UInt64>.open(name, in: root, compatibility: .prefix).additionalFields
            _ = try Latest<UInt64>.open(latest.name.description, in: root, compatibility: .prefix).additionalFields
            let channel = try AnyChannel.open(name, in: root)
            var observer = try channel.makeObserver()
            var writer = try channel.makeWriter()
            _ = try writer.reserve(8, until: .immediate)
            try writer.abandon()
            _ = try writer.reserve(8, until: .immediate)
            try writer.commit(8)
            try writer.sync(until: .after(.seconds(10)))
            try require(try observer.borrow(until: .after(.seconds(10))).count == 8, "the message")
            try observer.advance()
            try require(try observer.tryBorrow() == nil, "no more")
        }
    },
    Operation(
        "AnyChannel.makeReader(from:waiting:)", "AnyChannel.makeWriter(waiting:)", "ChannelReader.receive(until:)",
        "ChannelReader.tryReceive()", "ChannelReader.receive(until:) async", "ChannelReader.borrow(until:) async",
        "ChannelWriter.write(_:_:until:)", "ChannelWriter.write(_:_:until:) async", "ChannelWriter.tryWrite(_:)",
        "ChannelWriter.tryTellLost(_:)"
    ) {
        let topic = try Topic<UInt64>.create(channelName(), ChannelOptions(writers: .shared, capacity: 65_536))
        let holder = Giveable(try topic.makePublisher())
        return Attempt(
            end: { holder.give() },
            suspending: {
                let channel = try any(topic.name)
                var message = [UInt8](repeating: 1, count: 8)
                var reader = try channel.makeReader()
                var writer = try channel.makeWriter()
                try await writer.write(message.span.bytes, until: .after(.seconds(10)))
                message = try await reader.receive(until: .after(.seconds(10)))
                try require(try writer.tryTellLost(1), "room")
                try require(try writer.tryWrite(message.span.bytes), "room")
                try require(try reader.tryReceive() == message, "the message")
                try require(try writer.tryWrite(message.span.bytes), "room")
                try require(try await reader.borrow(until: .after(.seconds(10))).count == 8, "the message")
                try reader.advance()
            })
    },
    Operation(
        "ChannelWriter.write(_:origin:_:until:)", "ChannelWriter.write(_:origin:_:until:) async",
        "ChannelWriter.tryWrite(_:origin:)", "ChannelWriter.newestOrigins()", "ChannelWriter.messages(from:)",
        "ChannelWriter.jobState(at:)",
        "AnyChannel.newestOrigins()", "AnyChannel.jobState(at:)", "AnyChannel.participants()"
    ) {
        let queue = try WorkQueue<UInt64>.create(channelName(), ChannelOptions(lifetime: .whileUsed, capacity: 65_536))
        let holder = Giveable(try queue.makeProducer())
        return Attempt(
            end: { holder.give() },
            suspending: {
                let channel = try any(queue.name)
                let message = [UInt8](repeating: 1, count: 8)
                var reader = try channel.makeReader()
                var writer = try channel.makeWriter()
                let place = try await writer.write(
                    message.span.bytes, origin: origin, until: .after(.seconds(10)))
                try require(try writer.tryWrite(message.span.bytes, origin: origin) != nil, "room")
                try require(try writer.newestOrigins() == [origin] && channel.newestOrigins() == [origin], "origins")
                try require(try channel.participants().count == 3, "participants")
                try require(try writer.messages(from: origin.machine).contains { $0.position == place }, "the message")
                let first = try await reader.take(until: .after(.seconds(10)))
                try require(first.origin == origin, "its origin")
                try first.acknowledge()
                // An attempt that failed has left others.
                while let job = try reader.tryTake() { try job.acknowledge() }
                let states = [try writer.jobState(at: place), try channel.jobState(at: place)]
                try require(states.allSatisfy { $0 == .acknowledged(attempts: 1) }, "that it is done")
            })
    },
    Operation(
        "ChannelReader.take(until:)", "ChannelReader.take(until:) async", "ChannelReader.tryTake()",
        "TakenMessage.acknowledge()", "TakenMessage.release()"
    ) {
        let queue = try WorkQueue<UInt64>.create(channelName(), smallQueue)
        let holder = Giveable(try queue.makeProducer())
        return Attempt(
            end: { holder.give() },
            suspending: {
                let channel = try any(queue.name)
                var reader = try channel.makeReader()
                var writer = try channel.makeWriter()
                try await writer.write([UInt8](repeating: 1, count: 8).span.bytes, until: .after(.seconds(10)))
                try await reader.take(until: .after(.seconds(10))).release()
                guard let job = try reader.tryTake() else { throw Mistake.unexpected("no job") }
                try job.acknowledge()
            })
    },
    Operation(
        "ChannelWriter.call(_:replyLimit:_:until:)", "ChannelWriter.call(_:replyLimit:_:until:) async",
        "ChannelWriter.begin(_:replyLimit:_:until:)", "ChannelWriter.begin(_:replyLimit:_:until:) async",
        "PendingOutcome.wait(until:)", "PendingOutcome.wait(until:) async", "PendingOutcome.readiness()",
        "TakenMessage.reply(_:)", "TakenMessage.fail(_:)"
    ) {
        let service = try ServiceChannel<RawBytes, RawBytes, Fault>.create(channelName())
        let holder = Giveable(try service.makeClient())
        return Attempt(
            end: { holder.give() },
            suspending: {
                let channel = try any(service.name)
                var reader = try channel.makeReader()
                var client = try channel.makeWriter()
                var call = try await client.begin(three().span.bytes, replyLimit: 10, until: .after(.seconds(10)))
                _ = try call.readiness()
                try await reader.take(until: .after(.seconds(10))).reply(three().span.bytes)
                let outcome = try await call.wait(until: .after(.seconds(10)))
                try require(outcome == .reply(three()), "the reply")
            })
    },
    Operation(
        "ChannelReader.wait(until:)", "ChannelReader.wait(until:) async", "ChannelWriter.notify(count:)",
        "ChannelWriter.notifyAll()", "ChannelReader.eventCounts()", "ChannelReader.waitForNotices(after:until:) async",
        "ChannelWriter.notifyCarried(count:)", "ChannelWriter.notifyAllCarried()"
    ) {
        let event = try Event.create(channelName())
        let holder = Giveable(try event.makeParticipant())
        return Attempt(
            end: { holder.give() },
            suspending: {
                let channel = try any(event.name)
                var reader = try channel.makeReader()
                var writer = try channel.makeWriter()
                let counts = try reader.eventCounts()
                try writer.notifyCarried(count: 1)
                try writer.notifyAllCarried()
                try writer.notify(count: 1)
                let more = try await reader.waitForNotices(after: counts, until: .after(.seconds(10)))
                try require(more.notices == counts.notices + 1, "the notice of this machine")
                try await reader.wait(until: .after(.seconds(10)))
            })
    },
]
