import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

@testable import IPCChannels

/// A message from another machine has its origin with it, and a carrier finds what it wrote last.
@Suite(.timeLimit(.minutes(1))) struct OriginTests {
    private static let options = [
        ChannelOptions(writers: .exclusive), ChannelOptions(writers: .shared),
        ChannelOptions(writers: .exclusive, overflow: .overwrite),
        ChannelOptions(writers: .shared, overflow: .overwrite),
        ChannelOptions(writers: .exclusive, durability: .syncedWhenAsked),
        ChannelOptions(writers: .shared, durability: .syncedEvery(bytes: 4096)),
        ChannelOptions(writers: .shared, overflow: .overwrite, durability: .syncedWhenAsked),
    ]

    private static func origin(_ number: UInt64, machine: UInt64 = 7) -> MessageOrigin {
        MessageOrigin(machine: machine, channel: ~number, position: number * 64, sequence: number)
    }

    private static func isWhole(_ origin: MessageOrigin) -> Bool {
        origin == Self.origin(origin.sequence, machine: origin.machine)
    }

    private static func channel(
        _ pattern: ChannelPattern = .topic, _ options: ChannelOptions = ChannelOptions(), attempts: Int? = nil,
        _ body: (AnyChannel) throws -> Void
    ) throws {
        let name = channelName()
        var options = options
        (options.lifetime, options.capacity) = (.kept, 65_536)
        let channel = try AnyChannel.create(pattern, name, options, maximumAttempts: attempts)
        defer {
            try? Channel.remove(name)
            try? Channel.remove(name + "/dead-letters")
        }
        try body(channel)
    }

    @Test(arguments: options.indices) func messagesThatWereLostOnTheirWayAreCountedAsMissed(index: Int) throws {
        try Self.channel(.topic, Self.options[index]) { channel in
            var writer = try channel.makeWriter()
            var reader = try channel.makeReader()
            var observer = try channel.makeObserver()
            let bytes: [UInt8] = [1, 2, 3]
            // Often enough that the frames run over the log's end.
            for round in 0..<3000 as Range<UInt64> {
                #expect(try writer.tryTellLost(round))
                try writer.write(bytes.span.bytes)
                #expect(try reader.receive(until: .immediate) == bytes && reader.origin == nil)
                #expect(try observer.tryReceive() == bytes)
                // Another bridge does not tell of it once more.
                if round % 2 == 0 { #expect(reader.takeMissedHere() == 0) }
                #expect(reader.takeMissed() == round && observer.takeMissed() == round)
            }
            // It is no message: nobody waits for it, and nothing is there.
            #expect(try writer.tryTellLost(5))
            #expect(try reader.tryReceive() == nil && reader.takeMissed() == 5)
            #expect(try ChannelDescription(channel.name).participants.count { $0.role == .reader } == 1)
        }
    }

    @Test func onlyTopicsTellOfLostMessages() throws {
        try Self.channel(.workQueue) { channel in
            var writer = try channel.makeWriter()
            do throws(IPCError) {
                _ = try writer.tryTellLost(1)
                Issue.record("a work queue was told")
            } catch { #expect(error.code == .wrongType) }
        }
    }

    /// Sizes around those where the origin needs another cache line.
    private static let sizes = [0, 1, 23, 24, 31, 32, 33, 55, 56, 63, 64, 65, 200, 5000]

    @Test(arguments: options.indices) func aReaderGetsTheOriginOfEachMessage(index: Int) throws {
        try Self.channel(.topic, Self.options[index]) { channel in
            var writer = try channel.makeWriter()
            var reader = try channel.makeReader()
            var observer = try channel.makeObserver()
            var tap = try ChannelTap(channel.name.description)
            // Once more than the log holds, so that frames run over its end.
            for round in 0..<8 {
                for (index, size) in Self.sizes.enumerated() {
                    let bytes = [UInt8](repeating: UInt8(index + 1), count: size)
                    let origin = Self.origin(UInt64(round * 100 + index))
                    let isOurs = (round + index) % 3 == 0
                    let place: ChannelPosition?
                    if isOurs {
                        try writer.write(bytes.span.bytes)
                        place = nil
                    } else if index % 2 == 0 {
                        place = try writer.write(bytes.span.bytes, origin: origin, until: .after(.seconds(10)))
                    } else {
                        place = try writer.tryWrite(bytes.span.bytes, origin: origin)
                        #expect(place != nil)
                    }
                    let expected = isOurs ? nil : origin
                    #expect(try reader.receive(until: .immediate) == bytes)
                    #expect(reader.origin == expected)
                    #expect(try observer.tryReceive() == bytes)
                    #expect(observer.origin == expected)
                    // Nothing new changes nothing.
                    #expect(try reader.tryReceive() == nil)
                    #expect(reader.origin == expected)
                    let message = try tap.next()
                    #expect(message?.origin == expected && message?.bytes == bytes)
                    if let place { #expect(message?.position == place) }
                }
            }
            #expect(try channel.newestOrigins() == [Self.origin(713)])
            #expect(try writer.newestOrigins() == [Self.origin(713)])
        }
    }

    @Test(arguments: [ChannelOptions.Overflow.block, .overwrite])
    func aLoanHasItsOrigin(overflow: ChannelOptions.Overflow) throws {
        try Self.channel(.topic, ChannelOptions(overflow: overflow)) { channel in
            var writer = try channel.makeWriter()
            var reader = try channel.makeReader()
            #expect(reader.origin == nil)
            let start = reader.position
            let first = try writer.write("first".utf8.span.bytes, origin: Self.origin(1))
            try writer.write("ours".utf8.span.bytes)
            let third = try writer.write("third".utf8.span.bytes, origin: Self.origin(3))
            #expect(start == first)
            #expect(try channel.incarnation == first.channel)
            #expect(try reader.borrow(until: .immediate).count == 5)
            #expect(reader.origin == Self.origin(1))
            #expect(try reader.borrow(until: .immediate).count == 5)
            #expect(reader.origin == Self.origin(1))
            try reader.advance()
            #expect(reader.origin == Self.origin(1))
            #expect(try reader.borrow(until: .immediate).count == 4)
            #expect(reader.origin == nil)
            try reader.advance()
            #expect(reader.origin == nil)
            #expect(reader.position == third)
            #expect(try reader.receive(until: .immediate) == Array("third".utf8))
            #expect(reader.origin == Self.origin(3))
            // From a position on.
            var again = try channel.makeReader(from: .position(third))
            #expect(try again.tryReceive() == Array("third".utf8))
            #expect(again.origin == Self.origin(3))
        }
    }

    @Test func anAbandonedMessageInBetweenChangesNothing() throws {
        for overflow in [ChannelOptions.Overflow.block, .overwrite] {
            try Self.channel(.topic, ChannelOptions(writers: .shared, overflow: overflow)) { channel in
                var writer = try channel.makeWriter()
                var reader = try channel.makeReader()
                try writer.write("a".utf8.span.bytes, origin: Self.origin(1))
                _ = try writer.reserve(100, until: .immediate)
                try writer.abandon()
                #expect(try reader.tryReceive() != nil)
                #expect(try reader.tryReceive() == nil)
                #expect(reader.origin == Self.origin(1))
                try writer.write("b".utf8.span.bytes)
                #expect(try reader.tryReceive() != nil)
                #expect(reader.origin == nil)
            }
        }
    }

    @Test func itIsAsLongAsItMayBe() throws {
        try Self.channel(.topic, ChannelOptions(writers: .shared, durability: .syncedWhenAsked)) { channel in
            var writer = try channel.makeWriter()
            var reader = try channel.makeReader()
            let largest = [UInt8](repeating: 3, count: 32_768 - 32 - 8 - 32)
            try writer.write(largest.span.bytes, origin: Self.origin(1), until: .immediate)
            #expect(try reader.tryReceive() == largest)
            #expect(reader.origin == Self.origin(1))
            let larger = largest + [3]
            let error = failure { () throws(IPCError) in try writer.write(larger.span.bytes, origin: Self.origin(2)) }
            #expect(error?.code == .messageTooLarge)
            try writer.write(larger.span.bytes, until: .immediate)
        }
    }

    @Test(arguments: [ChannelOptions.Writers.exclusive, .shared])
    func aLatestValueHasItsOrigin(writers: ChannelOptions.Writers) async throws {
        let name = channelName()
        let options = LatestOptions(writers: writers)
        let latest = try Latest<UInt64>.create(name, options)
        let channel = try AnyChannel.open(latest.name.description)
        var writer = try channel.makeWriter()
        var reader = try channel.makeReader()
        let (one, two, three) = ([1] as [UInt64], [2] as [UInt64], [3] as [UInt64])
        try await writer.write(one.span.bytes, origin: Self.origin(1), until: .after(.seconds(10)))
        try await writer.write(two.span.bytes, origin: Self.origin(2), until: .after(.seconds(10)))
        #expect(try await reader.receive(until: .after(.seconds(10))).first == 2)
        #expect(reader.origin == Self.origin(2))
        #expect(try reader.tryReceive()?.first == 2)
        #expect(reader.origin == Self.origin(2))
        #expect(try channel.newestOrigins() == [Self.origin(2)])
        try await writer.write(three.span.bytes)
        #expect(try reader.tryReceive()?.first == 3)
        #expect(reader.origin == nil)
        var getter = try latest.makeGetter()
        try await writer.write(one.span.bytes, origin: Self.origin(9))
        #expect(try getter.get() == 1)
        let end = try reader.tryReceive()
        #expect(end?.first == 1 && reader.origin == Self.origin(9))
    }

    @Test(arguments: [ChannelOptions.Durability.none, .syncedWhenAsked])
    func aJobKeepsItsOrigin(durability: ChannelOptions.Durability) throws {
        try Self.channel(.workQueue, ChannelOptions(durability: durability), attempts: 2) { channel in
            var writer = try channel.makeWriter()
            var reader = try channel.makeReader()
            let first = try writer.write("first".utf8.span.bytes, origin: Self.origin(1))
            let second = try writer.write(
                "second".utf8.span.bytes, origin: Self.origin(2, machine: 8), JobOptions(timeToLive: .seconds(100)))
            try writer.write("ours".utf8.span.bytes)
            #expect(try channel.jobState(at: first) == .waiting(attempts: 0))
            let job = try reader.take(until: .immediate)
            #expect(job.origin == Self.origin(1))
            #expect(job.position == first)
            #expect(try job.bytes == Array("first".utf8))
            #expect(try writer.jobState(at: first) == .taken(attempts: 1))
            job.reject()
            #expect(try writer.jobState(at: first) == .waiting(attempts: 1))
            let next = try reader.take(until: .immediate)
            let isAgain = next.origin == Self.origin(1)
            #expect(isAgain)
            next.reject()
            // Its attempts are used up: it becomes a dead letter on the way to the next job.
            let other = try reader.take(until: .immediate)
            #expect(other.origin == Self.origin(2, machine: 8))
            #expect(try other.bytes == Array("second".utf8))
            try other.acknowledge()
            #expect(try writer.jobState(at: second) == .acknowledged(attempts: 1))
            guard case .movedToDeadLetters = try channel.jobState(at: first) else {
                Issue.record("\(try channel.jobState(at: first))")
                return
            }
            let ours = try reader.take(until: .immediate)
            #expect(ours.origin == nil)
            try ours.acknowledge()
            let letters = try AnyChannel.open(channel.name.description + "/dead-letters")
            var burier = try letters.makeReader()
            let letter = try burier.take(until: .immediate)
            #expect(letter.origin == Self.origin(1))
            #expect(letter.deadLetter?.reason == .rejected)
            #expect(try letter.bytes == Array("first".utf8))
            try letter.acknowledge()
            // All are done, and kept still.
            #expect(try channel.newestOrigins() == [Self.origin(1), Self.origin(2, machine: 8)])
            let nowhere = ChannelPosition(channel: first.channel, offset: second.offset + 64)
            for place in [nowhere, ChannelPosition(channel: 1, offset: first.offset)] {
                #expect(try channel.jobState(at: place) == .gone)
            }
        }
    }

    /// What is set aside is found although the log was used again around it; a job whose place was used is gone.
    @Test func aJobThatIsSetAsideIsFound() throws {
        try Self.channel(.workQueue) { channel in
            var writer = try channel.makeWriter()
            var reader = try channel.makeReader()
            let held = try writer.write("held".utf8.span.bytes, origin: Self.origin(1))
            let delayed = try writer.write(
                "later".utf8.span.bytes, origin: Self.origin(1, machine: 8), JobOptions(delay: .seconds(1000)))
            let job = try reader.take(until: .immediate)
            var last = held
            for number in 1...200 as ClosedRange<UInt64> {
                let bytes = [UInt8](repeating: 1, count: 1000)
                last = try writer.write(
                    bytes.span.bytes, origin: Self.origin(number, machine: 9), until: .after(.seconds(10)))
                let done = try reader.take(until: .immediate)
                try done.acknowledge()
                if number == 1 { #expect(try writer.jobState(at: last) == .acknowledged(attempts: 1)) }
            }
            let early = ChannelPosition(channel: last.channel, offset: delayed.offset + 128)
            #expect(try writer.jobState(at: early) == .gone)
            #expect(try channel.jobState(at: held) == .taken(attempts: 1))
            #expect(try channel.jobState(at: delayed) == .waiting(attempts: 0))
            #expect(Set(try channel.newestOrigins().map(\.machine)) == [7, 8, 9])
            #expect(try writer.newestOrigins().last == Self.origin(200, machine: 9))
            try job.acknowledge()
        }
    }

    @Test func aChannelTellsWhoIsThere() throws {
        try Self.channel(.topic, ChannelOptions(writers: .shared)) { channel in
            #expect(try channel.participants().isEmpty)
            #expect(try channel.attributes.writers == .shared)
            let writer = try channel.makeWriter()
            let peer = try Peer(product("ChannelPeer"), ["wait", channel.name.description])
            _ = try peer.said()
            let there = try channel.participants()
            #expect(there.map(\.role) == [.reader, .writer] && there.allSatisfy(\.isAlive))
            #expect(there.map(\.isOwn) == [false, true])
            try peer.kill()
            #expect(try channel.participants().filter { $0.role == .reader && $0.isAlive }.isEmpty)
            writer.close()
        }
    }

    @Test func theNewestIsFoundBehindAMessageThatIsNotFinished() throws {
        try Self.channel(.topic, ChannelOptions(writers: .shared)) { channel in
            var writer = try channel.makeWriter()
            try writer.write("a".utf8.span.bytes, origin: Self.origin(1))
            let peer = try Peer(product("ChannelPeer"), ["stop-in-claim", channel.name.description])
            _ = try peer.said()
            try writer.write("b".utf8.span.bytes, origin: Self.origin(2))
            #expect(try channel.newestOrigins() == [Self.origin(2)])
            try peer.kill()
            #expect(try writer.newestOrigins() == [Self.origin(2)])
        }
    }

    @Test func whatIsOverwrittenMeanwhileIsNotBelieved() throws {
        try Self.channel(.topic, ChannelOptions(writers: .shared, overflow: .overwrite)) { channel in
            let first = try Peer(product("ChannelPeer"), ["carry-for-ever", channel.name.description, "7"])
            let second = try Peer(product("ChannelPeer"), ["carry-for-ever", channel.name.description, "8"])
            _ = (try first.said(), try second.said())
            var (found, last) = (0, [UInt64: UInt64]())
            var observer = try channel.makeObserver()
            for _ in 0..<repetitions(2000) {
                for origin in try channel.newestOrigins() {
                    try #require(Self.isWhole(origin), "\(origin)")
                    try #require(origin.sequence >= last[origin.machine] ?? 0)
                    last[origin.machine] = origin.sequence
                    found += 1
                }
                if let message = try observer.tryReceive() {
                    let found = observer.origin
                    let origin = try #require(found)
                    try #require(Self.isWhole(origin), "\(origin)")
                    let number = message.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }
                    try #require(number == origin.sequence)
                }
            }
            #expect(found > 0)
            try first.kill()
            try second.kill()
        }
    }

    /// A carrier dies at an instruction, and again, and its successor goes on: each message is there once, with its origin.
    @Test(
        .timeLimit(.minutes(3)),
        arguments: [
            "claim.length", "claim.intent", "claim.done", "fill.header", "commit.stamp", "commit.latest",
            "commit.sequence", "commit.wake", "block.start",
        ], [(ChannelPattern.topic, 0), (.topic, 1), (.topic, 4), (.topic, 5), (.workQueue, 1), (.workQueue, 5)])
    func eachMessageIsThereOnce(point: String, kind: (pattern: ChannelPattern, options: Int)) throws {
        let options = Self.options[kind.options]
        // An exclusive writer claims nothing in the shared memory.
        if options.writers == .exclusive, point.hasPrefix("claim") || point == "commit.sequence" { return }
        try Self.channel(kind.pattern, options) { channel in
            let count: UInt64 = 200
            let name = channel.name.description
            var deaths = 0
            for after in [1, 2, 17, 40] {
                let after = point == "block.start" ? min(after, 5) : after
                let victim = try ChildProcess(
                    product("ChannelPeer"), ["carry", name, "7", "\(count)"],
                    environment: .only(pairs: ["IPC_ROOT=\(channelRoot)", "IPC_KILL_POINT=\(point):\(after)"]),
                    standardOutput: .discarded, standardError: .discarded)
                if try victim.wait(until: .after(.seconds(30))) == .signaled(.kill) { deaths += 1 }
            }
            #expect(deaths == 4)
            let last = try Peer(product("ChannelPeer"), ["carry", name, "7", "\(count)"])
            #expect(try last.finish().status == .exited(0))
            var reader = try channel.makeReader(from: .oldest)
            for number in 1...count {
                let bytes: [UInt8]
                let origin: MessageOrigin?
                if kind.pattern == .workQueue {
                    let job = try reader.take(until: .after(.seconds(5)))
                    (bytes, origin) = (try job.bytes, job.origin)
                    try job.acknowledge()
                } else {
                    bytes = try reader.receive(until: .after(.seconds(5)))
                    origin = reader.origin
                }
                try #require(origin == Self.origin(number), "\(number): \(origin as Any)")
                let expected = [UInt64](repeating: number, count: 1 + Int(number % 9)).withUnsafeBytes { Array($0) }
                try #require(bytes == expected)
            }
            #expect(try channel.newestOrigins() == [Self.origin(count)])
        }
    }

    @Test func aFrameWithoutRoomHasNoOrigin() throws {
        for durability in [ChannelOptions.Durability.none, .syncedWhenAsked] {
            for overflow in [ChannelOptions.Overflow.block, .overwrite] {
                try Self.channel(.topic, ChannelOptions(writers: .shared, overflow: overflow, durability: durability)) {
                    channel in
                    var writer = try channel.makeWriter()
                    var reader = try channel.makeReader()
                    let memory = try ChannelMemory(channel.name, in: .root(.current), logAccess: .readWrite)
                    for size in [0, 20, 24, 56, 32_000] {
                        let bytes = [UInt8](repeating: 0xff, count: size)
                        let position = try memory.checkedTail()
                        try writer.write(bytes.span.bytes)
                        let frame = memory.log + Int(position & memory.mask)
                        let header = FrameHeader(frame)
                        // Another writer says that there is an origin, in a frame that the payload fills.
                        for units in [header.units, UInt32((size + 32 + 63) / 64)] {
                            let forged = FrameHeader(
                                length: units * 64 - 32, kind: LogLayout.Kind.messageWithOrigin,
                                sequence: header.sequence, writer: header.writer, units: units)
                            #expect(forged.originPlace(trailerSize: memory.trailerSize) == nil)
                            forged.store(at: frame)
                            #expect(try channel.newestOrigins().isEmpty)
                        }
                        #expect(try reader.tryReceive() != nil)
                        #expect(reader.origin == nil)
                    }
                }
            }
        }
    }

    @Test(.timeLimit(.minutes(5)), arguments: [ChannelPattern.topic, .workQueue], [0, 1, 3, 5])
    func nothingInTheLogIsBelieved(pattern: ChannelPattern, index: Int) throws {
        var options = Scribbler.options
        (options.overflow, options.durability) = (
            pattern == .workQueue ? nil : Self.options[index].overflow, Self.options[index].durability
        )
        let channel = try AnyChannel.create(pattern, channelName(), options)
        defer { try? Channel.remove(channel.name.description + "/dead-letters") }
        try Scribbler.run(over: channel.name) { (index, steps) throws(IPCError) in
            let origin = Self.origin(.random(in: 0...1000))
            let message = Scribbler.message
            if index == 0 {
                while steps.next() {
                    var observed = 0
                    observed += (try? channel.newestOrigins().count) ?? 0
                    let place = ChannelPosition(
                        channel: try channel.incarnation, offset: .random(in: 0...4000) * 64)
                    if channel.pattern == .workQueue { _ = try channel.jobState(at: place) }
                    withExtendedLifetime(observed) {}
                }
            } else if index == 1 {
                var writer = try channel.makeWriter()
                while steps.next() {
                    let place = try writer.write(message.span.bytes, origin: origin, until: Scribbler.soon)
                    _ = try writer.newestOrigins()
                    if channel.pattern == .workQueue { _ = try writer.jobState(at: place) }
                }
            } else {
                var reader = try channel.makeReader()
                while steps.next() {
                    if channel.pattern == .workQueue {
                        let job = try reader.take(until: Scribbler.soon)
                        if job.origin == origin { try job.release() } else { try job.acknowledge() }
                    } else {
                        _ = try reader.receive(until: Scribbler.soon)
                        _ = reader.origin
                    }
                }
            }
        }
    }

    @Test func ofADurableChannelTheOriginsAreThereAgain() throws {
        for pattern in [ChannelPattern.topic, .workQueue] {
            try Self.channel(pattern, ChannelOptions(writers: .shared, durability: .syncedWhenAsked)) { channel in
                do {
                    var writer = try channel.makeWriter()
                    for number in 1...50 as ClosedRange<UInt64> {
                        let bytes = [UInt8](repeating: 1, count: Int(number * 7))
                        try writer.write(bytes.span.bytes, origin: Self.origin(number))
                    }
                    try writer.sync(until: .after(.seconds(10)))
                    // A message whose origin is not as it was written is not whole: all before it stays.
                    let memory = try ChannelMemory(channel.name, in: .root(.current), logAccess: .readWrite)
                    let bytes = [UInt8](repeating: 1, count: 9)
                    let place = try writer.write(bytes.span.bytes, origin: Self.origin(51))
                    let frame = memory.log + Int(place.offset & memory.mask)
                    let header = FrameHeader(frame)
                    let trailer = try #require(header.originPlace(trailerSize: memory.trailerSize))
                    SharedUInt64(frame + trailer).relaxed ^= 1
                }
                #expect(try channel.newestOrigins().last?.sequence == 51)
                let writer = try channel.makeWriter()
                #expect(try writer.newestOrigins() == [Self.origin(50)])
                writer.close()
            }
        }
    }
}
