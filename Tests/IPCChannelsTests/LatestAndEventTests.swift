import Glibc
import IPC
import IPCChannels
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(10))) struct LatestTests {
    @Test(arguments: [ChannelOptions.Writers.exclusive, .shared])
    func theNewestValueIsGotAndOldOnesArePassedOver(writers: ChannelOptions.Writers) throws {
        var options = LatestOptions()
        options.writers = writers
        let latest = try Latest<UInt64>.openOrCreate(channelName(), options)
        var setter = try latest.makeSetter()
        var early = try latest.makeGetter()
        #expect(try early.get() == nil)
        for number in 0..<100_000 as Range<UInt64> { try setter.set(number) }
        #expect(try early.get() == 99_999)
        #expect(try early.get() == 99_999)
        var late = try latest.makeGetter()
        #expect(try late.get() == 99_999)
        let none = failure { () throws(IPCError) in _ = try late.next(until: .after(.milliseconds(10))) }
        #expect(none?.code == .timedOut)
        try setter.set(1)
        #expect(try late.next(until: .immediate) == 1)
    }

    @Test func anOptionalIsUnset() throws {
        let latest = try Latest<UInt64?>.create(channelName())
        var setter = try latest.makeSetter()
        var getter = try latest.makeGetter()
        #expect(try getter.get() == .none)
        try setter.set(7)
        #expect(try getter.get() == .some(7))
        try setter.set(nil)
        #expect(try getter.get() == .some(nil))
    }

    @Test func aValueIsNeverTornAndTheLastOneStays() throws {
        let name = channelName()
        var options = LatestOptions()
        options.lifetime = .kept
        let latest = try Latest<SIMD4<Int64>>.openOrCreate(name, options)
        defer { try? Latest<SIMD4<Int64>>.remove(name) }
        let setter = try Peer(product("ChannelPeer"), ["set-latest", name])
        _ = try setter.said()
        var getter = try latest.makeGetter()
        var last: Int64 = -1
        for _ in 0..<2000 {
            guard let words = try getter.get() else { continue }
            #expect(words.wrappedSum() == 0 && words.x >= last)
            last = words.x
        }
        try setter.kill()
        let final = try getter.get()
        var late = try latest.makeGetter()
        #expect(try final == late.get() && final != nil)
        // Whoever comes next sets on.
        var next = try latest.makeSetter()
        try next.set(SIMD4(-1, 1, 0, 0))
        #expect(try getter.get()?.x == -1)
    }
}

extension LatestTests {
    @Test func bytesOfAnyLength() throws {
        let latest = try Latest<RawBytes>.openOrCreate(channelName())
        var setter = try latest.makeSetter()
        var getter = try latest.makeGetter()
        #expect(try getter.get { (bytes) throws(IPCError) in bytes.byteCount } == nil)
        for count in [1, 100, 20_000, 7, 0] {
            try setter.set([UInt8](repeating: 1, count: 9).span.bytes)
            try setter.set([UInt8](repeating: UInt8(count % 251), count: count).span.bytes)
            let sum = try getter.next(until: .immediate) { (bytes) throws(IPCError) in
                (0..<bytes.byteCount).reduce(0) { $0 + Int(bytes.unsafeLoad(fromByteOffset: $1, as: UInt8.self)) }
            }
            #expect(sum == count * (count % 251))
        }
    }
}

@Suite(.timeLimit(.minutes(10))) struct EventTests {
    @Test func noticesAreCountedUntilTheyAreTaken() throws {
        let event = try Event.openOrCreate(channelName())
        let (first, second) = (Box(try event.makeParticipant()), Box(try event.makeParticipant()))
        let early = first.value.tryWait()
        #expect(!early)
        first.value.notify(count: 3)
        #expect(second.value.pending == 3)
        try second.value.wait(until: .immediate)
        try first.value.wait()
        let (third, fourth) = (first.value.tryWait(), first.value.tryWait())
        #expect(third && !fourth)
        let none = failure { () throws(IPCError) in try second.value.wait(until: .after(.milliseconds(20))) }
        #expect(none?.code == .timedOut)
        // It counts for nobody who comes later.
        first.value.notifyAll()
        let late = failure { () throws(IPCError) in try second.value.wait(until: .after(.milliseconds(20))) }
        #expect(late?.code == .timedOut)
    }

    @Test func oneOrAllWaitersInOtherProcessesWake() throws {
        let name = channelName()
        let participant = try Event.openOrCreate(name).makeParticipant()
        var waiters: [Box<Peer>] = []
        for _ in 0..<3 { waiters.append(Box(try Peer(product("ChannelPeer"), ["wait-event", name]))) }
        for waiter in waiters { #expect(try waiter.value.said() == "ready\n") }
        // One notice ends one wait, of whichever of them; a dead one takes none.
        try waiters[0].value.kill()
        participant.notify(count: 2)
        for waiter in waiters.dropFirst() {
            let (status, text) = try waiter.value.finish()
            #expect(status == .exited(0) && text == "notified\n")
        }
        #expect(participant.pending == 0)
        let more = (
            Box(try Peer(product("ChannelPeer"), ["wait-event", name])),
            Box(try Peer(product("ChannelPeer"), ["wait-event", name]))
        )
        #expect(try more.0.value.said() == "ready\n")
        #expect(try more.1.value.said() == "ready\n")
        // They may not have begun to wait: again until they have.
        for waiter in [more.0, more.1] {
            while try waiter.value.child.tryWait() == nil {
                participant.notifyAll()
                usleep(1000)
            }
        }
    }

    /// Arrays hold no values that cannot be copied.
    final class Box<Value: ~Copyable> {
        let value: Value
        init(_ value: consuming Value) { self.value = value }
    }
}
