import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport

let latestAndEventWaits: [Wait] = [
    Wait("Latest.Getter.next(until:)") {
        let latest = try Latest<UInt64>.openOrCreate(channelName())
        let (getter, setter) = (Box(try latest.makeGetter()), Box(try latest.makeSetter()))
        return Wait.Case(
            call: .blocking { deadline in try getter.value.next(until: deadline) == 7 },
            release: { try setter.value.set(7) })
    },
    Wait("Latest.Getter.next(until:) async") {
        let latest = try Latest<UInt64>.openOrCreate(channelName())
        let (getter, setter) = (Box(try latest.makeGetter()), Box(try latest.makeSetter()))
        return Wait.Case(
            call: .suspending { deadline in try await getter.value.next(until: deadline) == 7 },
            release: { try setter.value.set(7) })
    },
    Wait("Latest.Getter.next(until:_:)") {
        let latest = try Latest<RawBytes>.openOrCreate(channelName())
        let (getter, setter) = (Box(try latest.makeGetter()), Box(try latest.makeSetter()))
        return Wait.Case(
            call: .blocking { deadline in
                try getter.value.next(until: deadline) { (bytes) throws(IPCError) in bytes.byteCount == 3 }
            }, release: { try setter.value.set(three().span.bytes) })
    },
    Wait("Latest.Getter.next(until:_:) async") {
        let latest = try Latest<RawBytes>.openOrCreate(channelName())
        let (getter, setter) = (Box(try latest.makeGetter()), Box(try latest.makeSetter()))
        return Wait.Case(
            call: .suspending { deadline in
                try await getter.value.next(until: deadline) { (bytes) throws(IPCError) in bytes.byteCount == 3 }
            }, release: { try setter.value.set(three().span.bytes) })
    },
    Wait("Event.Participant.wait(until:)", "Event.Participant.tryWait()") {
        let event = try Event.openOrCreate(channelName())
        let (waiter, notifier) = (Box(try event.makeParticipant()), Box(try event.makeParticipant()))
        return Wait.Case(
            call: .blocking { deadline in
                try waiter.value.wait(until: deadline)
                return true
            }, release: { notifier.value.notify() }, tries: [("tryWait", { waiter.value.tryWait() })])
    },
    Wait("Event.Participant.wait(until:) async") {
        let event = try Event.openOrCreate(channelName())
        let (waiter, notifier) = (Box(try event.makeParticipant()), Box(try event.makeParticipant()))
        return Wait.Case(
            call: .suspending { deadline in
                try await waiter.value.wait(until: deadline)
                return true
            }, release: { notifier.value.notify() })
    },
]
