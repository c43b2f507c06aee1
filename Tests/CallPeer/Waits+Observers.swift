import IPC
import IPCChannels
import TestSupport

// Those that look without taking part: at what nobody sends.

let observerWaits: [Wait] = [
    Wait("Topic.Observer.receive(until:)", "Topic.Observer.tryReceive()") {
        let topic = try Topic<UInt64>.openOrCreate(channelName(), smallLog)
        let (publisher, observer) = (Box(try topic.makePublisher()), Box(try topic.makeObserver()))
        return Wait.Case(
            call: .blocking { deadline in try observer.value.receive(until: deadline) == 7 },
            release: { try publisher.value.publish(7) },
            tries: [("tryReceive", { try observer.value.tryReceive() != nil })])
    },
    Wait("Topic.Observer.receive(until:) async") {
        let topic = try Topic<UInt64>.openOrCreate(channelName(), smallLog)
        let (publisher, observer) = (Box(try topic.makePublisher()), Box(try topic.makeObserver()))
        return Wait.Case(
            call: .suspending { deadline in try await observer.value.receive(until: deadline) == 7 },
            release: { try publisher.value.publish(7) })
    },
    Wait("Topic.Observer.receive(until:_:)", "Topic.Observer.tryReceive(_:)") {
        let topic = try Topic<RawBytes>.openOrCreate(channelName(), smallLog)
        let (publisher, observer) = (Box(try topic.makePublisher()), Box(try topic.makeObserver()))
        return Wait.Case(
            call: .blocking { deadline in
                try observer.value.receive(until: deadline) { (bytes) throws(IPCError) in bytes.byteCount == 3 }
            }, release: { try publisher.value.publish(three().span.bytes) },
            tries: [
                ("tryReceive", { try observer.value.tryReceive { (bytes) throws(IPCError) in bytes.byteCount } != nil })
            ])
    },
    Wait("Topic.Observer.receive(until:_:) async") {
        let topic = try Topic<RawBytes>.openOrCreate(channelName(), smallLog)
        let (publisher, observer) = (Box(try topic.makePublisher()), Box(try topic.makeObserver()))
        return Wait.Case(
            call: .suspending { deadline in
                try await observer.value.receive(until: deadline) { (bytes) throws(IPCError) in bytes.byteCount == 3 }
            }, release: { try publisher.value.publish(three().span.bytes) })
    },
    Wait("Topic.Observer.receive(until:)") {
        let topic = try Topic<Coded<Int, NumberCoder>>.openOrCreate(channelName(), smallLog)
        let (publisher, observer) = (Box(try topic.makePublisher()), Box(try topic.makeObserver()))
        return Wait.Case(
            call: .blocking { deadline in try observer.value.receive(until: deadline) == 7 },
            release: { try publisher.value.publish(7) })
    },
    Wait("Topic.Observer.receive(until:) async") {
        let topic = try Topic<Coded<Int, NumberCoder>>.openOrCreate(channelName(), smallLog)
        let (publisher, observer) = (Box(try topic.makePublisher()), Box(try topic.makeObserver()))
        return Wait.Case(
            call: .suspending { deadline in
                try await observer.value.receive(until: deadline) == 7
            }, release: { try publisher.value.publish(7) })
    },
    Wait("Topic.Observer.receive(until:_:)", "Topic.Observer.tryReceive(_:)") {
        let topic = try Topic<Framed<UInt64>>.openOrCreate(channelName(), smallLog)
        let (publisher, observer) = (Box(try topic.makePublisher()), Box(try topic.makeObserver()))
        return Wait.Case(
            call: .blocking { deadline in
                try observer.value.receive(until: deadline) { (_, bytes) throws(IPCError) in bytes.byteCount == 3 }
            }, release: { try publisher.value.publish(7, three().span.bytes) },
            tries: [
                (
                    "tryReceive",
                    { try observer.value.tryReceive { (_, bytes) throws(IPCError) in bytes.byteCount } != nil }
                )
            ])
    },
    Wait("Topic.Observer.receive(until:_:) async") {
        let topic = try Topic<Framed<UInt64>>.openOrCreate(channelName(), smallLog)
        let (publisher, observer) = (Box(try topic.makePublisher()), Box(try topic.makeObserver()))
        return Wait.Case(
            call: .suspending { deadline in
                try await observer.value.receive(until: deadline) { (_, bytes) throws(IPCError) in
                    bytes.byteCount == 3
                }
            }, release: { try publisher.value.publish(7, three().span.bytes) })
    },
    Wait("Latest.Observer.next(until:)") {
        let latest = try Latest<UInt64>.openOrCreate(channelName())
        let (setter, observer) = (Box(try latest.makeSetter()), Box(try latest.makeObserver()))
        return Wait.Case(
            call: .blocking { deadline in try observer.value.next(until: deadline) == 7 },
            release: { try setter.value.set(7) })
    },
    Wait("Latest.Observer.next(until:) async") {
        let latest = try Latest<UInt64>.openOrCreate(channelName())
        let (setter, observer) = (Box(try latest.makeSetter()), Box(try latest.makeObserver()))
        return Wait.Case(
            call: .suspending { deadline in try await observer.value.next(until: deadline) == 7 },
            release: { try setter.value.set(7) })
    },
    Wait("Latest.Observer.next(until:_:)") {
        let latest = try Latest<RawBytes>.openOrCreate(channelName())
        let (setter, observer) = (Box(try latest.makeSetter()), Box(try latest.makeObserver()))
        return Wait.Case(
            call: .blocking { deadline in
                try observer.value.next(until: deadline) { (bytes) throws(IPCError) in bytes.byteCount == 3 }
            }, release: { try setter.value.set(three().span.bytes) })
    },
    Wait("Latest.Observer.next(until:_:) async") {
        let latest = try Latest<RawBytes>.openOrCreate(channelName())
        let (setter, observer) = (Box(try latest.makeSetter()), Box(try latest.makeObserver()))
        return Wait.Case(
            call: .suspending { deadline in
                try await observer.value.next(until: deadline) { (bytes) throws(IPCError) in bytes.byteCount == 3 }
            }, release: { try setter.value.set(three().span.bytes) })
    },
]
