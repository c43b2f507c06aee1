import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport

// Participants of channels: readers of what nobody sends, writers into logs that nobody reads, callers without a server.

let smallLog = ChannelOptions(capacity: 65_536)

/// A large one has thousands of pages, which are mapped each time.
let smallService = {
    var options = ServiceOptions()
    options.capacity = 65_536
    return options
}()

let topicWaits: [Wait] = [
    Wait("Topic.Subscription.receive(until:)", "Topic.Subscription.tryReceive()") {
        let (topic, publisher) = try newTopic()
        let subscription = Box(try topic.makeSubscription())
        return Wait.Case(
            call: .blocking { deadline in try subscription.value.receive(until: deadline) == 7 },
            release: { try publisher.value.publish(7) },
            tries: [("tryReceive", { try subscription.value.tryReceive() != nil })])
    },
    Wait("Topic.Subscription.receive(until:) async") {
        let (topic, publisher) = try newTopic()
        let subscription = Box(try topic.makeSubscription())
        return Wait.Case(
            call: .suspending { deadline in try await subscription.value.receive(until: deadline) == 7 },
            release: { try publisher.value.publish(7) })
    },
    Wait("Topic.Subscription.receive(until:_:)", "Topic.Subscription.tryReceive(_:)") {
        let (topic, publisher) = try newByteTopic()
        let subscription = Box(try topic.makeSubscription())
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
    Wait("Topic.Subscription.receive(until:_:) async") {
        let (topic, publisher) = try newByteTopic()
        let subscription = Box(try topic.makeSubscription())
        return Wait.Case(
            call: .suspending { deadline in
                try await subscription.value.receive(until: deadline) { (bytes) throws(IPCError) in bytes.byteCount == 3
                }
            }, release: { try publisher.value.publish(three().span.bytes) })
    },
    Wait("Topic.Subscription.receive(until:)") {
        let (topic, publisher) = try newCodedTopic()
        let subscription = Box(try topic.makeSubscription())
        return Wait.Case(
            call: .blocking { deadline in try subscription.value.receive(until: deadline) == 7 },
            release: { try publisher.value.publish(7) })
    },
    Wait("Topic.Subscription.receive(until:) async") {
        let (topic, publisher) = try newCodedTopic()
        let subscription = Box(try topic.makeSubscription())
        return Wait.Case(
            call: .suspending { deadline in
                try await subscription.value.receive(until: deadline) == 7
            }, release: { try publisher.value.publish(7) })
    },
    Wait("Topic.Subscription.receive(until:_:)", "Topic.Subscription.tryReceive(_:)") {
        let (topic, publisher) = try newFramedTopic()
        let subscription = Box(try topic.makeSubscription())
        return Wait.Case(
            call: .blocking { deadline in
                try subscription.value.receive(until: deadline) { (_, bytes) throws(IPCError) in bytes.byteCount == 3 }
            }, release: { try publisher.value.publish(7, three().span.bytes) },
            tries: [
                (
                    "tryReceive",
                    { try subscription.value.tryReceive { (_, bytes) throws(IPCError) in bytes.byteCount } != nil }
                )
            ])
    },
    Wait("Topic.Subscription.receive(until:_:) async") {
        let (topic, publisher) = try newFramedTopic()
        let subscription = Box(try topic.makeSubscription())
        return Wait.Case(
            call: .suspending { deadline in
                try await subscription.value.receive(until: deadline) { (_, bytes) throws(IPCError) in
                    bytes.byteCount == 3
                }
            }, release: { try publisher.value.publish(7, three().span.bytes) })
    },
    Wait("Topic.Publisher.publish(_:until:)", "Topic.Publisher.tryPublish(_:)") {
        let (topic, publisher) = try newTopic()
        let subscription = Box(try topic.makeSubscription())
        try fill { try publisher.value.tryPublish(1) }
        return Wait.Case(
            call: .blocking { deadline in
                try publisher.value.publish(7, until: deadline)
                return true
            }, release: { try fill { try subscription.value.tryReceive() != nil } },
            tries: [("tryPublish", { try publisher.value.tryPublish(7) })])
    },
    Wait("Topic.Publisher.publish(_:until:) async") {
        let (topic, publisher) = try newTopic()
        let subscription = Box(try topic.makeSubscription())
        try fill { try publisher.value.tryPublish(1) }
        return Wait.Case(
            call: .suspending { deadline in
                try await publisher.value.publish(7, until: deadline)
                return true
            }, release: { try fill { try subscription.value.tryReceive() != nil } })
    },
    Wait(
        "Topic.Publisher.publish(upTo:until:_:)", "Topic.Publisher.tryPublish(upTo:_:)",
        "Topic.Publisher.publish(_:until:)"
    ) {
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
    Wait("Topic.Publisher.publish(_:until:) async") {
        let (publisher, subscription) = try fullByteTopic()
        return Wait.Case(
            call: .suspending { deadline in
                try await publisher.value.publish(kilobyte().span.bytes, until: deadline)
                return true
            }, release: { try empty(subscription) })
    },
    Wait("Topic.Publisher.publish(upTo:until:_:) async") {
        let (publisher, subscription) = try fullByteTopic()
        return Wait.Case(
            call: .suspending { deadline in
                try await publisher.value.publish(upTo: 900, until: deadline) { (_) throws(IPCError) in }
                return true
            }, release: { try empty(subscription) })
    },
    Wait("Topic.Publisher.publish(_:until:)") {
        let (publisher, subscription) = try fullCodedTopic()
        return Wait.Case(
            call: .blocking { deadline in
                try publisher.value.publish(7, until: deadline)
                return true
            },
            release: { try fill { (try? subscription.value.receive(until: .immediate)) != nil } })
    },
    Wait("Topic.Publisher.publish(_:until:) async") {
        let (publisher, subscription) = try fullCodedTopic()
        return Wait.Case(
            call: .suspending { deadline in
                try await publisher.value.publish(7, until: deadline)
                return true
            },
            release: { try fill { (try? subscription.value.receive(until: .immediate)) != nil } })
    },
    Wait(
        "Topic.Publisher.publish(_:upTo:until:_:)", "Topic.Publisher.tryPublish(_:upTo:_:)",
        "Topic.Publisher.publish(_:_:until:)", "Topic.Publisher.tryPublish(_:_:)"
    ) {
        let (publisher, subscription) = try fullFramedTopic()
        return Wait.Case(
            call: .blocking { deadline in
                try publisher.value.publish(7, upTo: 3, until: deadline) { (_) throws(IPCError) in }
                try publisher.value.publish(7, three().span.bytes, until: deadline)
                return true
            }, release: { try empty(subscription) },
            tries: [
                ("tryPublish(upTo:)", { try publisher.value.tryPublish(7, upTo: 900) { (_) throws(IPCError) in } }),
                ("tryPublish", { try publisher.value.tryPublish(7, kilobyte().span.bytes) }),
            ])
    },
    Wait("Topic.Publisher.publish(_:_:until:) async") {
        let (publisher, subscription) = try fullFramedTopic()
        return Wait.Case(
            call: .suspending { deadline in
                try await publisher.value.publish(7, kilobyte().span.bytes, until: deadline)
                return true
            }, release: { try empty(subscription) })
    },
    Wait("Topic.Publisher.publish(_:upTo:until:_:) async") {
        let (publisher, subscription) = try fullFramedTopic()
        return Wait.Case(
            call: .suspending { deadline in
                try await publisher.value.publish(7, upTo: 900, until: deadline) { (_) throws(IPCError) in }
                return true
            }, release: { try empty(subscription) })
    },
    Wait("Topic.Publisher.sync(until:)") {
        let topic = try Topic<UInt64>.openOrCreate(
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
        let subscription = Box(try topic.makeSubscription())
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
        let subscription = Box(try topic.makeSubscription())
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

private func newTopic() throws -> (Topic<UInt64>, Box<Topic<UInt64>.Publisher>) {
    let topic = try Topic<UInt64>.openOrCreate(channelName(), smallLog)
    return (topic, Box(try topic.makePublisher()))
}

private func newByteTopic() throws -> (Topic<RawBytes>, Box<Topic<RawBytes>.Publisher>) {
    let topic = try Topic<RawBytes>.openOrCreate(channelName(), smallLog)
    return (topic, Box(try topic.makePublisher()))
}

private func newCodedTopic() throws -> (Topic<Coded<Int, NumberCoder>>, Box<Topic<Coded<Int, NumberCoder>>.Publisher>) {
    let topic = try Topic<Coded<Int, NumberCoder>>.openOrCreate(channelName(), smallLog)
    return (topic, Box(try topic.makePublisher()))
}

private func newFramedTopic() throws -> (Topic<Framed<UInt64>>, Box<Topic<Framed<UInt64>>.Publisher>) {
    let topic = try Topic<Framed<UInt64>>.openOrCreate(channelName(), smallLog)
    return (topic, Box(try topic.makePublisher()))
}

private func fullByteTopic() throws -> (Box<Topic<RawBytes>.Publisher>, Box<Topic<RawBytes>.Subscription>) {
    let (topic, publisher) = try newByteTopic()
    let subscription = Box(try topic.makeSubscription())
    try fill { try publisher.value.tryPublish(kilobyte().span.bytes) }
    try fill { try publisher.value.tryPublish(three().span.bytes) }
    return (publisher, subscription)
}

private func fullCodedTopic() throws -> (
    Box<Topic<Coded<Int, NumberCoder>>.Publisher>, Box<Topic<Coded<Int, NumberCoder>>.Subscription>
) {
    let (topic, publisher) = try newCodedTopic()
    let subscription = Box(try topic.makeSubscription())
    try fill {
        do throws(IPCError) {
            try publisher.value.publish(1, until: .immediate)
            return true
        } catch {
            guard error.code == .timedOut else { throw error }
            return false
        }
    }
    return (publisher, subscription)
}

private func fullFramedTopic() throws -> (
    Box<Topic<Framed<UInt64>>.Publisher>, Box<Topic<Framed<UInt64>>.Subscription>
) {
    let (topic, publisher) = try newFramedTopic()
    let subscription = Box(try topic.makeSubscription())
    try fill { try publisher.value.tryPublish(1, kilobyte().span.bytes) }
    try fill { try publisher.value.tryPublish(1, three().span.bytes) }
    return (publisher, subscription)
}

private func empty(_ subscription: Box<Topic<Framed<UInt64>>.Subscription>) throws {
    try fill { try subscription.value.tryReceive { (_, bytes) throws(IPCError) in bytes.byteCount } != nil }
}

func empty(_ subscription: Box<Topic<RawBytes>.Subscription>) throws {
    try fill { try subscription.value.tryReceive { (bytes) throws(IPCError) in bytes.byteCount } != nil }
}
