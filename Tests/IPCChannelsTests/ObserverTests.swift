import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

@testable import IPCChannels

// The blocking calls, which an asynchronous function has no name for.

private func publish(_ numbers: Range<UInt64>, by publisher: inout Topic<UInt64>.Publisher) throws(IPCError) {
    for number in numbers { try publisher.publish(number) }
}

private func receive<Message: BitwiseCopyable>(
    by observer: inout Topic<Message>.Observer, until deadline: Deadline = .immediate
) throws(IPCError) -> Message {
    try observer.receive(until: deadline)
}

private func next<Value: BitwiseCopyable>(
    by observer: inout Latest<Value>.Observer, until deadline: Deadline
) throws(IPCError) -> Value {
    try observer.next(until: deadline)
}

private func next<Value: BitwiseCopyable>(
    by getter: inout Latest<Value>.Getter, until deadline: Deadline
) throws(IPCError) -> Value {
    try getter.next(until: deadline)
}

/// Those that look at a topic or a latest value without taking part. Their mappings are for reading only: a store would end the
/// process.
@Suite(.timeLimit(.minutes(5))) struct ObserverTests {
    static let kinds = [
        (ChannelOptions.Writers.exclusive, ChannelOptions.Overflow.block), (.shared, .block), (.exclusive, .overwrite),
        (.shared, .overwrite),
    ]

    private static func topic<Message: BitwiseCopyable>(
        _ writers: ChannelOptions.Writers = .exclusive, _ overflow: ChannelOptions.Overflow = .block
    ) throws -> Topic<Message> {
        try Topic<Message>.openOrCreate(
            channelName(), ChannelOptions(writers: writers, overflow: overflow, capacity: 65_536))
    }

    /// All bytes of a channel's files.
    private static func contents(_ name: ChannelName) throws -> [[UInt8]] {
        try ["control", "log"].map { file in
            let path = FilePath(ChannelRoot.current.folder(name) + "/" + file)
            let mapping = try MappedFile.open(path, access: .readOnly).map()
            return mapping.withBytes { bytes in
                (0..<bytes.byteCount).map { bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self) }
            }
        }
    }

    @Test(arguments: kinds)
    func itGetsEveryMessageInOrderAndChangesNothing(
        writers: ChannelOptions.Writers, overflow: ChannelOptions.Overflow
    ) async throws {
        let topic: Topic<UInt64> = try Self.topic(writers, overflow)
        var publisher = try topic.makePublisher()
        try publish(0..<500, by: &publisher)
        let before = try Self.contents(topic.name)
        var all = try topic.makeObserver(from: .oldest)
        for number in 0..<250 as Range<UInt64> { #expect(try receive(by: &all) == number) }
        for number in 250..<500 as Range<UInt64> { #expect(try await all.receive(until: .immediate) == number) }
        #expect(try all.tryReceive() == nil)
        var some = try topic.makeObserver(from: .last(3))
        #expect(try receive(by: &some) == 497)
        var next = try topic.makeObserver()
        let late = failure { () throws(IPCError) in _ = try next.receive(until: .after(.milliseconds(30))) }
        #expect(late?.code == .timedOut)
        let again = try topic.makeObserver(from: .position(some.position))
        #expect(again.position == some.position)
        // It sleeps and looks, and none of it leaves a trace.
        #expect(try Self.contents(topic.name) == before)
        #expect(try ChannelDescription(topic.name).participants.count == 1)
        try publish(7..<8, by: &publisher)
        #expect(try receive(by: &next) == 7)
        #expect(try await all.receive(until: .immediate) == 7)
        #expect(all.takeMissed() == 0 && next.takeMissed() == 0)
    }

    @Test(arguments: kinds)
    func itHoldsNobodyBackAndIsToldWhatItMissed(
        writers: ChannelOptions.Writers, overflow: ChannelOptions.Overflow
    ) throws {
        let topic: Topic<UInt64> = try Self.topic(writers, overflow)
        var publisher = try topic.makePublisher()
        try publisher.publish(0)
        try publisher.publish(1)
        var early = try topic.makeObserver(from: .oldest)
        var observer = try topic.makeObserver()
        // Many times what the log holds.
        for number in 2..<20_000 as Range<UInt64> { #expect(try publisher.tryPublish(number)) }
        for (first, expected) in [(0, 0), (2, 2)] as [(UInt64, UInt64)] {
            var (received, previous) = (UInt64(0), UInt64(0))
            func take(_ number: UInt64) {
                #expect(received == 0 || number > previous)
                (received, previous) = (received + 1, number)
            }
            if first == 0 {
                while let number = try early.tryReceive() { take(number) }
                #expect(received + early.takeMissed() == 20_000 - expected)
            } else {
                while let number = try observer.tryReceive() { take(number) }
                #expect(received + observer.takeMissed() == 20_000 - expected)
            }
            #expect(received > 100 && previous == 19_999)
        }
    }

    /// While a publisher goes round the log as fast as it can: each message is whole, and none is lost without being counted.
    @Test(arguments: kinds)
    func whatIsOverwrittenWhileItIsCopiedIsNotBelieved(
        writers: ChannelOptions.Writers, overflow: ChannelOptions.Overflow
    ) throws {
        let topic: Topic<SIMD64<UInt64>> = try Self.topic(writers, overflow)
        var observer = try topic.makeObserver()
        let isOver = Flag()
        let publishing = Box(try topic.makePublisher())
        let thread = try PlainThread { () throws(IPCError) in
            var number: UInt64 = 0
            while !isOver.isSet {
                try publishing.value.publish(SIMD64(repeating: number))
                number += 1
            }
        }
        var (next, received) = (UInt64(0), 0)
        let end = Deadline.after(.seconds(1))
        while !end.hasPassed || received < 100 {
            let message = try observer.receive(until: .after(.seconds(20)))
            #expect(message == SIMD64(repeating: message[0]))
            let missed = observer.takeMissed()
            #expect(message[0] == next + missed, "\(missed)")
            next = message[0] + 1
            received += 1
            if received % 100 == 0 { usleep(300) }
        }
        isOver.set()
        #expect(thread.join() == nil)
    }

    @Test(arguments: [WaitStrategy.sleeping(), .sleeping(spins: 0), .polling])
    func itWaitsForAnotherProcess(waiting: WaitStrategy) async throws {
        let topic = try Topic<UInt64>.openOrCreate(channelName(), ChannelOptions(writers: .shared, lifetime: .kept))
        defer { try? Topic<UInt64>.remove(topic.name.description) }
        var observer = try topic.makeObserver(waiting: waiting)
        for isTask in [false, true] {
            let peer = try Peer(
                product("ChannelPeer"), ["publish-number", topic.name.description, "\(isTask ? 2 : 1)"])
            let deadline = Deadline.after(.seconds(20))
            let number =
                isTask ? try await observer.receive(until: deadline) : try receive(by: &observer, until: deadline)
            #expect(number == (isTask ? 2 : 1))
            #expect(try peer.finish().status == .exited(0))
        }
        // Whoever polls is told as well when there is nothing.
        let nothing = failure { () throws(IPCError) in _ = try observer.receive(until: .after(.milliseconds(20))) }
        #expect(nothing?.code == .timedOut)
        await #expect(throws: IPCError.self) { _ = try await observer.receive(until: .after(.milliseconds(20))) }
        // By a sequence too, which ends with its task.
        let task = Task { [topic] in
            var numbers: [UInt64] = []
            for try await number in try topic.makeObserver(from: .oldest).messages() {
                numbers.append(number)
                if numbers.count == 2 { withUnsafeCurrentTask { $0?.cancel() } }
            }
            return numbers
        }
        #expect(try await task.value == [1, 2])
    }

    @Test(arguments: [false, true])
    func itGetsTheLastMessagesOfAChannelThatIsGoneAndIsTold(byDeletedFiles: Bool) async throws {
        let topic: Topic<UInt64> = try Self.topic()
        var first = try topic.makeObserver()
        var second = try topic.makeObserver()
        var third = try topic.makeObserver()
        let value = try Latest<UInt64>.openOrCreate(channelName())
        var latest = try value.makeObserver()
        do {
            var publisher = try topic.makePublisher()
            var setter = try value.makeSetter()
            try publish(0..<3, by: &publisher)
            try setter.set(9)
            if byDeletedFiles {
                // They go on, as whoever has them open does.
                for name in [topic.name, value.name] { removeAll(ChannelRoot.current.folder(name)) }
            }
            try publish(3..<4, by: &publisher)
        }
        for number in 0..<4 as Range<UInt64> {
            #expect(try receive(by: &first) == number)
            #expect(try await second.receive(until: .immediate) == number)
            #expect(try third.tryReceive() == number)
        }
        let deadline = Deadline.after(.seconds(20))
        #expect(failure { () throws(IPCError) in _ = try first.receive(until: deadline) }?.code == .removed)
        await #expect(throws: IPCError.self) { _ = try await second.receive(until: deadline) }
        var code: IPCError.Code?
        while code == nil, !deadline.hasPassed {
            code = failure { () throws(IPCError) in _ = try third.tryReceive() }?.code
        }
        #expect(code == .removed)
        #expect(try latest.get() == 9)
        #expect(failure { () throws(IPCError) in _ = try latest.next(until: deadline) }?.code == .removed)
        #expect(failure { () throws(IPCError) in _ = try topic.makeObserver() }?.code == .notFound)
    }

    @Test func aDeadPublishersClaimIsWaitedForUntilAParticipantSkipsIt() throws {
        let topic = try Topic<RawBytes>.openOrCreate(channelName(), ChannelOptions(writers: .shared, lifetime: .kept))
        defer { try? Topic<RawBytes>.remove(topic.name.description) }
        var publisher = try topic.makePublisher()
        var observer = try topic.makeObserver()
        let peer = try Peer(product("ChannelPeer"), ["stop-in-claim", topic.name.description])
        #expect(try peer.said() == "claimed\n")
        try peer.kill()
        let message: [UInt8] = [7]
        try publisher.publish(message.span.bytes)
        let early = failure { () throws(IPCError) in
            try observer.receive(until: .after(.milliseconds(100))) { (_) throws(IPCError) in }
        }
        #expect(early?.code == .timedOut)
        // Whoever joins sees to the dead.
        let subscription = try topic.makeSubscription()
        let bytes = try observer.receive(until: .after(.seconds(20))) { $0.array }
        #expect(bytes == message)
        subscription.close()
    }

    private enum Side: BitwiseCopyable, Equatable { case buy, sell }

    @Test func valuesAndTypesAreChecked() throws {
        let topic: Topic<Side> = try Self.topic()
        // As a program that is not of this library would write them.
        var publisher = try AnyChannel.open(topic.name.description).topic.makePublisher()
        var observer = try topic.makeObserver()
        for message in [[1], [2], [0, 0], [0]] as [[UInt8]] { try publisher.publish(message.span.bytes) }
        #expect(try observer.receive(until: .immediate) == .sell)
        for _ in 0..<2 {
            #expect(failure { () throws(IPCError) in _ = try observer.tryReceive() }?.code == .corrupted)
        }
        #expect(try observer.receive(until: .immediate) == .buy)
        let other = failure { () throws(IPCError) in _ = try Topic<UInt8>.open(topic.name.description).makeObserver() }
        #expect(other?.code == .wrongType)
        // One that was made anew since.
        publisher.close()
        let remade = try Topic<UInt8>.openOrCreate(topic.name.description, ChannelOptions(lifetime: .kept))
        defer { try? Topic<UInt8>.remove(remade.name.description) }
        #expect(failure { () throws(IPCError) in _ = try topic.makeObserver() }?.code == .wrongType)
    }

    @Test(arguments: [ChannelOptions.Writers.exclusive, .shared])
    func aLatestValueIsWholeAndNeverOlder(writers: ChannelOptions.Writers) async throws {
        var options = LatestOptions()
        (options.writers, options.lifetime) = (writers, .kept)
        let latest = try Latest<SIMD4<Int64>>.openOrCreate(channelName(), options)
        defer { try? Latest<SIMD4<Int64>>.remove(latest.name.description) }
        var observer = try latest.makeObserver()
        #expect(try observer.get() == nil)
        let peer = try Peer(product("ChannelPeer"), ["set-latest", latest.name.description])
        var newest: Int64 = -1
        for round in 0..<3000 {
            let deadline = Deadline.after(.seconds(20))
            let value =
                switch round % 3 {
                case 0: try next(by: &observer, until: deadline)
                case 1: try await observer.next(until: deadline)
                default: try #require(try observer.get())
                }
            #expect(value.wrappedSum() == 0)
            #expect(round % 3 == 2 ? value.x >= newest : value.x > newest)
            newest = value.x
        }
        try peer.kill()
    }

    /// A word that tells of a newest value where there is none: no call waits for a hostile setter longer than it was to.
    @Test func aValueThatIsToldOfAndNotThereEndsNoDeadline() async throws {
        var options = LatestOptions()
        options.writers = .shared
        let latest = try Latest<UInt64>.openOrCreate(channelName(), options)
        var setter = try latest.makeSetter()
        try setter.set(1)
        var observer = try latest.makeObserver()
        var getter = try latest.makeGetter()
        #expect(try observer.get() == 1)
        #expect(try getter.get() == 1)
        let memory = try ChannelMemory(latest.name, in: .root(.current), logAccess: .readWrite)
        for value: UInt64 in [1 << 40 | 1, 64 * 900 | 1] {
            memory.latest.ordered = value
            for round in 0..<2 {
                let deadline = Deadline.after(.milliseconds(30))
                do throws(IPCError) {
                    _ = round == 0 ? try next(by: &observer, until: deadline) : try next(by: &getter, until: deadline)
                    Issue.record("there is no value")
                } catch { #expect(error.code == .timedOut) }
                do throws(IPCError) {
                    _ = round == 0 ? try await observer.next(until: deadline) : try await getter.next(until: deadline)
                    Issue.record("there is no value")
                } catch { #expect(error.code == .timedOut) }
            }
        }
    }

    /// As of a writer that says all the time that all was overwritten: what is found after the deadline counts a few times.
    @Test func newsThatBringNothingEndAtTheDeadline() async throws {
        let topic: Topic<UInt64> = try Self.topic()
        var publisher = try topic.makePublisher()
        try publish(0..<1, by: &publisher)
        let memory = try ChannelMemory(observing: topic.name, in: .root(.current))
        var reader = try LogReader(observing: memory, at: 0)
        // There is a message, and it is not taken.
        for _ in 0..<3 { #expect(try Self.wait(&reader, until: .after(.seconds(60)))) }
        #expect(try Self.wait(&reader, until: .immediate))
        var attempts = 0
        while try Self.wait(&reader, until: .immediate), attempts < 100 { attempts += 1 }
        #expect(attempts < 20)
        #expect(try await reader.wait(until: .never, spins: 0))
        #expect(try await !reader.wait(until: .immediate, spins: 0))
    }

    private static func wait(_ reader: inout LogReader, until deadline: Deadline) throws(IPCError) -> Bool {
        try reader.wait(until: deadline, spins: 0)
    }
}
