import IPC
import IPCChannels
import TestSupport

// Those that look without taking part: at what nobody sends.

let observerWaits: [Wait] = [
    Wait("Observer.receive(until:)", "Observer.tryReceive()") {
        let topic = try Topic<UInt64>.create(channelName(), smallLog)
        let (publisher, observer) = (Box(try topic.makePublisher()), Box(try topic.observe()))
        return Wait.Case(
            call: .blocking { deadline in try observer.value.receive(until: deadline) == 7 },
            release: { try publisher.value.publish(7) },
            tries: [("tryReceive", { try observer.value.tryReceive() != nil })])
    },
    Wait("Observer.receive(until:) async") {
        let topic = try Topic<UInt64>.create(channelName(), smallLog)
        let (publisher, observer) = (Box(try topic.makePublisher()), Box(try topic.observe()))
        return Wait.Case(
            call: .suspending { deadline in try await observer.value.receive(until: deadline) == 7 },
            release: { try publisher.value.publish(7) })
    },
    Wait("Observer.receive(until:_:)", "Observer.tryReceive(_:)") {
        let topic = try Topic<RawBytes>.create(channelName(), smallLog)
        let (publisher, observer) = (Box(try topic.makePublisher()), Box(try topic.observe()))
        return Wait.Case(
            call: .blocking { deadline in
                try observer.value.receive(until: deadline) { (bytes) throws(IPCError) in bytes.byteCount == 3 }
            }, release: { try publisher.value.publish(three().span.bytes) },
            tries: [
                ("tryReceive", { try observer.value.tryReceive { (bytes) throws(IPCError) in bytes.byteCount } != nil })
            ])
    },
    Wait("Observer.receive(until:_:) async") {
        let topic = try Topic<RawBytes>.create(channelName(), smallLog)
        let (publisher, observer) = (Box(try topic.makePublisher()), Box(try topic.observe()))
        return Wait.Case(
            call: .suspending { deadline in
                try await observer.value.receive(until: deadline) { (bytes) throws(IPCError) in bytes.byteCount == 3 }
            }, release: { try publisher.value.publish(three().span.bytes) })
    },
    Wait("Observer.receive(with:until:)") {
        let topic = try Topic<Coded<Int>>.create(channelName(), smallLog)
        let (publisher, observer) = (Box(try topic.makePublisher()), Box(try topic.observe()))
        return Wait.Case(
            call: .blocking { deadline in try observer.value.receive(with: NumberCoder(), until: deadline) == 7 },
            release: { try publisher.value.publish(7, with: NumberCoder()) })
    },
    Wait("Observer.receive(with:until:) async") {
        let topic = try Topic<Coded<Int>>.create(channelName(), smallLog)
        let (publisher, observer) = (Box(try topic.makePublisher()), Box(try topic.observe()))
        return Wait.Case(
            call: .suspending { deadline in
                try await observer.value.receive(with: NumberCoder(), until: deadline) == 7
            }, release: { try publisher.value.publish(7, with: NumberCoder()) })
    },
    Wait("LatestObserver.next(until:)") {
        let latest = try Latest<UInt64>.create(channelName())
        let (setter, observer) = (Box(try latest.makeSetter()), Box(try latest.observe()))
        return Wait.Case(
            call: .blocking { deadline in try observer.value.next(until: deadline) == 7 },
            release: { try setter.value.set(7) })
    },
    Wait("LatestObserver.next(until:) async") {
        let latest = try Latest<UInt64>.create(channelName())
        let (setter, observer) = (Box(try latest.makeSetter()), Box(try latest.observe()))
        return Wait.Case(
            call: .suspending { deadline in try await observer.value.next(until: deadline) == 7 },
            release: { try setter.value.set(7) })
    },
    Wait("LatestObserver.next(until:_:)") {
        let latest = try Latest<RawBytes>.create(channelName())
        let (setter, observer) = (Box(try latest.makeSetter()), Box(try latest.observe()))
        return Wait.Case(
            call: .blocking { deadline in
                try observer.value.next(until: deadline) { (bytes) throws(IPCError) in bytes.byteCount == 3 }
            }, release: { try setter.value.set(three().span.bytes) })
    },
    Wait("LatestObserver.next(until:_:) async") {
        let latest = try Latest<RawBytes>.create(channelName())
        let (setter, observer) = (Box(try latest.makeSetter()), Box(try latest.observe()))
        return Wait.Case(
            call: .suspending { deadline in
                try await observer.value.next(until: deadline) { (bytes) throws(IPCError) in bytes.byteCount == 3 }
            }, release: { try setter.value.set(three().span.bytes) })
    },
]
