import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

/// A picture: 21 bytes, so that the bytes after it are not aligned.
private struct Picture: BitwiseCopyable, Equatable {
    enum Format: BitwiseCopyable, Hashable { case gray, color, depth }

    var mark = TypeValidationTests.Order.mark
    var number: UInt32
    var format = Format.color
    var exposure: Float? = 0.5
}

private typealias Pictures = Topic<Framed<Picture>>

private struct Mistake: Error, Equatable {}

// The blocking calls, which an asynchronous function has no name for.

private func publish(
    _ numbers: Range<UInt32>, _ pixels: [UInt8], by publisher: inout Pictures.Publisher
) throws(IPCError) {
    for number in numbers { try publisher.publish(Picture(number: number), pixels.span.bytes, until: .immediate) }
}

private func receive(by subscription: inout Pictures.Subscription) throws(IPCError) -> (Picture, [UInt8]) {
    try subscription.receive(until: .immediate) { (picture, pixels) throws(IPCError) in (picture, pixels.array) }
}

private func receive(by observer: inout Pictures.Observer) throws(IPCError) -> (Picture, [UInt8]) {
    try observer.receive(until: .after(.seconds(60))) { (picture, pixels) throws(IPCError) in (picture, pixels.array) }
}

private nonisolated(nonsending) func asyncFailure(_ body: () async throws(IPCError) -> Void) async -> IPCError? {
    do throws(IPCError) {
        try await body()
        return nil
    } catch {
        return error
    }
}

private func refuse(_ picture: Picture, _ pixels: RawSpan) throws(IPCError) { Issue.record("it was called") }

private func append(_ bytes: [UInt8], to target: inout OutputRawSpan) {
    for byte in bytes { target.append(byte, as: UInt8.self) }
}

/// Messages that are a header with bytes after it.
@Suite(.timeLimit(.minutes(5))) struct FramedTests {
    /// Long enough for a busy machine; no call is to reach it.
    private let deadline = Deadline.after(.seconds(60))

    private static let kinds = [
        ChannelOptions(), ChannelOptions(writers: .shared), ChannelOptions(overflow: .overwrite),
        ChannelOptions(writers: .shared, overflow: .overwrite), ChannelOptions(durability: .syncedWhenAsked),
    ]

    private func pixels(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ count) } }

    @Test(arguments: kinds) func whatIsPublishedIsReceived(options: ChannelOptions) throws {
        let topic = try Pictures.create(channelName(), options)
        defer { try? Pictures.remove(topic.name.description) }
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        var observer = try topic.makeObserver()
        for count in [0, 1, 3, 8, 1000, 10_000] {
            let pixels = pixels(count)
            let picture = Picture(number: UInt32(count), exposure: count % 2 == 0 ? nil : 0.25)
            try publisher.publish(picture, pixels.span.bytes, until: deadline)
            #expect(try publisher.tryPublish(picture, pixels.span.bytes))
            // Less than there is room for.
            try publisher.publish(picture, upTo: count + 50, until: deadline) { append(pixels, to: &$0) }
            let isPublished = try publisher.tryPublish(picture, upTo: count) { target in
                #expect(target.freeCapacity == count)
                append(pixels, to: &target)
            }
            #expect(isPublished)
            for attempt in 0..<4 {
                let found: (Picture, [UInt8])?
                if attempt % 2 == 0 {
                    found = try subscription.receive(until: deadline) { ($0, $1.array) }
                } else {
                    found = try subscription.tryReceive { ($0, $1.array) }
                }
                #expect(found?.0 == picture && found?.1 == pixels, "\(count), \(attempt)")
                let observed = try receive(by: &observer)
                #expect(observed.0 == picture && observed.1 == pixels, "\(count), \(attempt)")
            }
        }
        #expect(try subscription.tryReceive { (_, _) in true } == nil)
        #expect(try observer.tryReceive { (_, _) in true } == nil)
        let late = failure { () throws(IPCError) in
            try subscription.receive(until: .after(.milliseconds(5))) { (_, _) throws(IPCError) in }
        }
        #expect(late?.code == .timedOut)
    }

    /// A header without checks, one without bytes, and one that is refused.
    @Test func headersOfAllKinds() throws {
        struct Empty: BitwiseCopyable {}
        struct Plain: BitwiseCopyable, Equatable { var width: UInt16, height: UInt8 }

        let empty = try Topic<Framed<Empty>>.create(channelName())
        var nothing = try empty.makePublisher()
        var none = try empty.makeSubscription()
        for count in [0, 5] {
            try nothing.publish(Empty(), pixels(count).span.bytes)
            #expect(try none.receive(until: deadline) { (_, bytes) in bytes.array } == pixels(count))
        }

        let plain = try Topic<Framed<Plain>>.create(channelName())
        var publisher = try plain.makePublisher()
        var subscription = try plain.makeSubscription()
        try publisher.publish(Plain(width: 640, height: 48), pixels(9).span.bytes)
        let (header, bytes) = try subscription.receive(until: deadline) { ($0, $1.array) }
        #expect(header == Plain(width: 640, height: 48) && bytes == pixels(9))

        struct Address: BitwiseCopyable { var pointer: UnsafeRawPointer? }
        let refused = failure { () throws(IPCError) in _ = try Topic<Framed<Address>>.create(channelName()) }
        #expect(refused?.code == .wrongType && refused?.resource.contains("pointer") == true)
    }

    @Test(arguments: [ChannelOptions.Writers.exclusive, .shared])
    func sizesThatCannotBeAreErrors(writers: ChannelOptions.Writers) throws {
        let topic = try Pictures.create(channelName(), ChannelOptions(writers: writers, capacity: 65_536))
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        let picture = Picture(number: 1)
        for count in [-1, -21, -22, .min, 32_768, .max - 21, .max - 20, .max] {
            let errors = [
                failure { () throws(IPCError) in
                    try publisher.publish(picture, upTo: count, until: .immediate) { (_) throws(IPCError) in
                        Issue.record("it was called")
                    }
                },
                failure { () throws(IPCError) in
                    _ = try publisher.tryPublish(picture, upTo: count) { (_) throws(IPCError) in
                        Issue.record("it was called")
                    }
                },
            ]
            #expect(errors.allSatisfy { $0?.code == .messageTooLarge }, "\(count): \(errors)")
            if count < 0 { #expect(errors[0]?.advice.contains("the size is \(count);") == true) }
        }
        let large = [UInt8](repeating: 1, count: 32_768)
        let error = failure { () throws(IPCError) in try publisher.publish(picture, large.span.bytes) }
        #expect(error?.code == .messageTooLarge && error?.advice.contains("32789 bytes") == true)
        // Half of the log, with the headers.
        let pixels = pixels(32_768 - 32 - 21)
        try publisher.publish(picture, pixels.span.bytes, until: deadline)
        #expect(try subscription.receive(until: deadline) { $1.array } == pixels)
        let longer = pixels + [1]
        let refused = failure { () throws(IPCError) in _ = try publisher.tryPublish(picture, longer.span.bytes) }
        #expect(refused?.code == .messageTooLarge)
    }

    @Test func aFullTopicWaits() throws {
        let topic = try Pictures.create(channelName(), ChannelOptions(capacity: 65_536))
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        let pixels = pixels(1000)
        var count: UInt32 = 0
        while try publisher.tryPublish(Picture(number: count), pixels.span.bytes) { count += 1 }
        #expect(count > 30)
        let isPublished = try publisher.tryPublish(Picture(number: 0), upTo: 1000) { _ in
            Issue.record("it was called")
        }
        #expect(!isPublished)
        let late = [
            failure { () throws(IPCError) in
                try publisher.publish(Picture(number: 0), pixels.span.bytes, until: .after(.milliseconds(5)))
            },
            failure { () throws(IPCError) in
                try publisher.publish(Picture(number: 0), upTo: 1000, until: .after(.milliseconds(5))) {
                    (_) throws(IPCError) in
                    Issue.record("it was called")
                }
            },
        ]
        #expect(late.allSatisfy { $0?.code == .timedOut })
        for number in 0..<count { #expect(try receive(by: &subscription).0.number == number) }
        #expect(try publisher.tryPublish(Picture(number: count), pixels.span.bytes))
        #expect(try receive(by: &subscription) == (Picture(number: count), pixels))
    }

    @Test(arguments: [ChannelOptions.Writers.exclusive, .shared])
    func aTopicThatOverwritesLosesWholeMessages(writers: ChannelOptions.Writers) throws {
        let topic = try Pictures.create(
            channelName(), ChannelOptions(writers: writers, overflow: .overwrite, capacity: 65_536))
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        var observer = try topic.makeObserver()
        for number in 0..<1000 as Range<UInt32> {
            let pixels = pixels(Int(number))
            try publisher.publish(Picture(number: number), upTo: 1000) { append(pixels, to: &$0) }
        }
        var last: UInt32 = 0
        while let (picture, bytes) = try subscription.tryReceive({ ($0, $1.array) }) {
            #expect(picture.number > last && bytes == pixels(Int(picture.number)))
            last = picture.number
        }
        #expect(last == 999 && subscription.takeMissed() > 900)
        while let number = try observer.tryReceive({ (picture, _) in picture.number }) { last = number + 1 }
        #expect(last == 1000 && observer.takeMissed() > 900)
    }

    @Test(arguments: [ChannelOptions.Overflow.block, .overwrite])
    func anInvalidHeaderIsAnErrorAndTheNextMessageArrives(overflow: ChannelOptions.Overflow) async throws {
        let topic = try Pictures.create(channelName(), ChannelOptions(overflow: overflow))
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        var observer = try topic.makeObserver()
        let log = try TypeValidationTests.Log(topic.name)
        let format = MemoryLayout<Picture>.offset(of: \.format)!
        // Nil of a number is a byte after it.
        let exposure = MemoryLayout<Picture>.offset(of: \.exposure)! + 4
        for (offset, field) in [(format, "Picture>.format,"), (exposure, "Picture>.exposure,")] {
            for attempt in 0..<5 {
                try publish(1..<2, [1, 2, 3], by: &publisher)
                log.write([77], at: offset)
                try publish(2..<3, [4, 5], by: &publisher)
                let error: IPCError?
                switch attempt {
                case 0: error = failure { () throws(IPCError) in _ = try receive(by: &subscription) }
                case 1:
                    error = failure { () throws(IPCError) in _ = try subscription.tryReceive(refuse) }
                case 2:
                    error = await asyncFailure { () async throws(IPCError) in
                        try await subscription.receive(until: deadline, refuse)
                    }
                case 3: error = failure { () throws(IPCError) in _ = try receive(by: &observer) }
                default:
                    error = await asyncFailure { () async throws(IPCError) in
                        try await observer.receive(until: deadline, refuse)
                    }
                }
                #expect(error?.code == .corrupted && error?.resource == topic.name.description)
                #expect(
                    error?.advice.contains("77 in ") == true && error?.advice.contains(field) == true,
                    "\(String(describing: error))")
                if attempt < 3 {
                    #expect(try receive(by: &subscription) == (Picture(number: 2), [4, 5]))
                    #expect(throws: IPCError.self) { try receive(by: &observer) }
                } else {
                    #expect(throws: IPCError.self) { try receive(by: &subscription) }
                    #expect(try receive(by: &subscription).1 == [4, 5])
                }
                #expect(try receive(by: &observer).0 == Picture(number: 2))
            }
        }
        // By a loop.
        try publish(1..<2, [1], by: &publisher)
        log.write([77], at: format)
        do {
            for try await _ in subscription.messages() { Issue.record("received") }
        } catch { #expect(error.code == .corrupted) }
    }

    @Test(arguments: [ChannelOptions.Overflow.block, .overwrite])
    func aMessageThatIsShorterThanTheHeaderIsAnError(overflow: ChannelOptions.Overflow) throws {
        let topic = try Pictures.create(channelName(), ChannelOptions(writers: .shared, overflow: overflow))
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        var stranger = try AnyChannel.open(topic.name.description).topic.makePublisher()
        for count in [0, 1, 20] {
            try stranger.publish(pixels(count).span.bytes)
            try publisher.publish(Picture(number: 7), [UInt8]().span.bytes)
            let error = failure { () throws(IPCError) in _ = try receive(by: &subscription) }
            #expect(error?.code == .corrupted, "\(count)")
            #expect(error?.advice.contains("\(count) bytes, fewer than the 21 of its header, Picture") == true)
            #expect(try receive(by: &subscription) == (Picture(number: 7), []))
        }
        // The same where the header has no checks.
        let numbers = try Topic<Framed<UInt64>>.create(channelName(), ChannelOptions(writers: .shared))
        var received = try numbers.makeSubscription()
        var writer = try AnyChannel.open(numbers.name.description).topic.makePublisher()
        for count in [7, 8] { try writer.publish([UInt8](repeating: 1, count: count).span.bytes) }
        let error = failure { () throws(IPCError) in _ = try received.tryReceive { (_, _) throws(IPCError) in } }
        #expect(error?.code == .corrupted && error?.advice.contains("7 bytes") == true)
        #expect(try received.receive(until: deadline) { (number, bytes) in bytes.byteCount == 0 ? number : 0 } != 0)
    }

    @Test(arguments: [ChannelOptions.Writers.exclusive, .shared])
    func closuresThatThrow(writers: ChannelOptions.Writers) throws {
        let topic = try Pictures.create(channelName(), ChannelOptions(writers: writers))
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        var observer = try topic.makeObserver()
        // The message is abandoned.
        #expect(throws: Mistake()) {
            try publisher.publish(Picture(number: 1), upTo: 9) { target in
                append([1, 2, 3], to: &target)
                throw Mistake()
            }
        }
        #expect(throws: Mistake()) {
            try publisher.tryPublish(Picture(number: 1), upTo: 9) { _ in throw Mistake() }
        }
        let own = IPCError(.notFound, "read", "camera", advice: "there is none")
        let thrown = failure { () throws(IPCError) in
            try publisher.publish(Picture(number: 1), upTo: 9) { (_) throws(IPCError) in throw own }
        }
        #expect(thrown?.code == .notFound && thrown?.resource == "camera")
        #expect(try subscription.tryReceive { (_, _) in true } == nil)
        // The message counts as not received by a subscription, and as received by an observer.
        try publisher.publish(Picture(number: 2), ([1] as [UInt8]).span.bytes)
        #expect(throws: Mistake()) { try subscription.receive(until: deadline) { (_, _) in throw Mistake() } }
        #expect(throws: Mistake()) { try subscription.tryReceive { (_, _) in throw Mistake() } }
        #expect(try receive(by: &subscription) == (Picture(number: 2), [1]))
        #expect(throws: Mistake()) { try observer.receive(until: deadline) { (_, _) in throw Mistake() } }
        #expect(try observer.tryReceive { (_, _) in true } == nil)
        try publisher.publish(Picture(number: 3), [1].span.bytes)
        #expect(throws: Mistake()) { try observer.tryReceive { (_, _) in throw Mistake() } }
    }

    @Test func closuresThatThrowInTasks() async throws {
        let topic = try Pictures.create(channelName())
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        var observer = try topic.makeObserver()
        await #expect(throws: Mistake()) {
            try await publisher.publish(Picture(number: 1), upTo: 9) { _ in throw Mistake() }
        }
        try publish(2..<3, [1], by: &publisher)
        await #expect(throws: Mistake()) { try await subscription.receive { (_, _) in throw Mistake() } }
        await #expect(throws: Mistake()) { try await observer.receive { (_, _) in throw Mistake() } }
        #expect(try receive(by: &subscription) == (Picture(number: 2), [1]))
    }

    @Test func tasksPublishAndReceive() async throws {
        let topic = try Pictures.create(channelName(), ChannelOptions(capacity: 65_536))
        let subscription = try topic.makeSubscription()
        let observed = try topic.makeObserver().messages()
        let count: UInt32 = 500
        let publishing = Task {
            // More than the log has room for: each of them waits.
            var publisher = try topic.makePublisher()
            for number in 0..<count {
                let pixels = pixels(Int(number))
                if number % 2 == 0 {
                    try await publisher.publish(Picture(number: number), pixels.span.bytes, until: deadline)
                } else {
                    try await publisher.publish(Picture(number: number), upTo: 1000, until: deadline) {
                        append(pixels, to: &$0)
                    }
                }
            }
            publisher.close()
        }
        let observing = Task {
            for try await (picture, bytes) in observed {
                #expect(bytes == pixels(Int(picture.number)))
                if picture.number + 1 == count { break }
            }
        }
        var next: UInt32 = 0
        for try await (picture, bytes) in subscription.messages() {
            #expect(picture == Picture(number: next) && bytes == pixels(Int(next)))
            next += 1
            if next == count { break }
        }
        try await publishing.value
        // It may have missed the last message, and waits.
        observing.cancel()
        try await observing.value
    }

    @Test func aWaitInATaskIsCancelledAndEndsInTime() async throws {
        let topic = try Pictures.create(channelName())
        var subscription = try topic.makeSubscription()
        let late = await asyncFailure { () async throws(IPCError) in
            try await subscription.receive(until: .after(.milliseconds(5))) { (_, _) throws(IPCError) in }
        }
        #expect(late?.code == .timedOut)
        let waiting = Task { () async -> IPCError? in
            await asyncFailure { () async throws(IPCError) in
                var subscription = try topic.makeSubscription()
                try await subscription.receive { (_, _) throws(IPCError) in }
            }
        }
        try await Task.sleep(for: .milliseconds(20))
        waiting.cancel()
        #expect(await waiting.value?.code == .cancelled)
    }

    @Test func itIsOpenedInEachWay() async throws {
        let name = channelName()
        #expect(failure { () throws(IPCError) in _ = try Pictures.open(name) }?.code == .notFound)
        #expect(
            failure { () throws(IPCError) in _ = try Pictures.open(name, until: .after(.milliseconds(5))) }?.code
                == .timedOut)
        let opening = Task { try await Pictures.open(name, until: deadline).name }
        let participant = try Pictures.openOrCreate(name).makeSubscription()
        #expect(try await opening.value.description == name)
        #expect(try Pictures.openOrCreate(name).name.description == name)
        #expect(failure { () throws(IPCError) in _ = try Pictures.create(name) }?.code == .alreadyExists)
        participant.close()
    }

    @Test func anotherHeaderIsRefusedWithTheDifference() throws {
        enum Other {
            struct Picture: BitwiseCopyable {
                enum Format: BitwiseCopyable { case gray, color }
                var mark: UInt64, number: UInt32, format: Format, exposure: Float?
            }
        }
        enum Wide {
            struct Picture: BitwiseCopyable { var mark: UInt64, number: UInt64 }
        }
        let topic = try Pictures.create(channelName())
        let name = topic.name.description
        defer { try? Pictures.remove(name) }
        let errors = [
            failure { () throws(IPCError) in _ = try Topic<Framed<Other.Picture>>.open(name) },
            failure { () throws(IPCError) in _ = try Topic<Framed<Wide.Picture>>.openOrCreate(name) },
            failure { () throws(IPCError) in _ = try Topic<Picture>.open(name) },
            failure { () throws(IPCError) in _ = try Topic<RawBytes>.open(name) },
        ]
        let differences = [
            "format has 3 cases (gray, color, depth), and 2 cases (gray, color) in this program",
            "number is UInt32, and UInt64 in this program", "it is Framed<Picture>, and Picture in this program",
            "it is Framed<Picture>, and bytes in this program",
        ]
        for (error, difference) in zip(errors, differences) {
            #expect(
                error?.code == .wrongType && error?.advice.contains(difference) == true, "\(String(describing: error))")
        }
    }

    @Test func aProgramThatDoesNotKnowTheTypeShowsIt() throws {
        struct Size: BitwiseCopyable, Equatable { var width: UInt16, depth: UInt8? }
        let topic = try Topic<Framed<Size>>.create(channelName(), ChannelOptions(writers: .shared))
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        let any = try AnyChannel.open(topic.name.description)
        #expect(any.messageSize == nil && any.messageType == "Framed<Size>")
        var reader = try any.makeReader()
        try publisher.publish(Size(width: 640, depth: nil), Array("text".utf8).span.bytes)
        try publisher.publish(Size(width: 1, depth: 8), upTo: 5) { append([255, 1], to: &$0) }
        let shown = [
            #"{"header":{"width":640,"depth":null},"bytes":"text"}"#,
            #"{"header":{"width":1,"depth":8},"bytes":{"hex":"ff01"}}"#,
        ]
        let schema = any.schema.message
        var writer = try any.makeWriter()
        for json in shown {
            let bytes = try reader.receive(until: deadline)
            #expect(try schema.json(of: bytes) == json)
            #expect(try schema.message(json: json) == bytes)
            // The header's four bytes, and what follows without a gap.
            #expect(bytes.count == MemoryLayout<Size>.size + (json == shown[0] ? 4 : 2))
            try writer.write(bytes.span.bytes, until: deadline)
        }
        for _ in 0..<2 {
            let first = try subscription.receive(until: deadline) { ($0, $1.array) }
            #expect(first == (Size(width: 640, depth: nil), Array("text".utf8)))
            let second = try subscription.receive(until: deadline) { ($0, $1.array) }
            #expect(second == (Size(width: 1, depth: 8), [255, 1]))
        }
    }
}
