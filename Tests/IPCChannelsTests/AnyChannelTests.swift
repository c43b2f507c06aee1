import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

/// Channels of types that a program does not know, beside participants that do.
@Suite(.timeLimit(.minutes(5))) struct AnyChannelTests {
    private struct Quote: BitwiseCopyable, Equatable {
        var symbol: UInt64
        var price: Double
    }

    private enum Refusal: Error, BitwiseCopyable { case negative, odd }

    private final class Box<Value: ~Copyable>: @unchecked Sendable {
        var value: Value
        init(_ value: consuming Value) { self.value = value }
    }

    private func bytes<Value: BitwiseCopyable>(_ value: Value) -> [UInt8] {
        withUnsafeBytes(of: value) { Array($0) }
    }

    @Test func aTopicOfAnyType() throws {
        let topic = try Topic<Quote>.create(channelName(), ChannelOptions(writers: .shared))
        var subscription = try topic.makeSubscription()
        var publisher = try topic.makePublisher()
        let any = try AnyChannel.open(topic.name.description)
        #expect(any.pattern == .topic && any.messageSize == 16 && any.messageType.hasSuffix("Quote"))
        var reader = try any.makeReader()
        var writer = try any.makeWriter()
        let quote = Quote(symbol: 7, price: 12.5)
        try writer.write(bytes(quote).span.bytes)
        #expect(try writer.tryWrite(bytes(quote).span.bytes))
        #expect(try subscription.receive(until: .immediate) == quote)
        try publisher.publish(quote)
        for _ in 0..<3 { #expect(try reader.receive(until: .immediate) == bytes(quote)) }
        #expect(try reader.tryReceive() == nil)
        // What is not of the type's size is not written, and what is not of the pattern is told.
        let short = failure { () throws(IPCError) in try writer.write(([1] as [UInt8]).span.bytes) }
        #expect(short?.code == .invalidArgument && short?.advice.contains("16 bytes") == true)
        let wrong = [
            failure { () throws(IPCError) in try reader.take(until: .immediate).reject() },
            failure { () throws(IPCError) in try reader.wait(until: .immediate) },
            failure { () throws(IPCError) in _ = try writer.call([UInt8]().span.bytes, until: .immediate) },
            failure { () throws(IPCError) in try writer.notify() },
        ]
        #expect(wrong.allSatisfy { $0?.code == .wrongType && $0?.advice.contains("it is a topic") == true })
        let delayed = failure { () throws(IPCError) in
            try writer.write(bytes(quote).span.bytes, JobOptions(delay: .seconds(1)))
        }
        #expect(delayed?.code == .invalidArgument)
    }

    @Test func aQueueOfAnyType() throws {
        let queue = try WorkQueue<UInt64>.create(channelName(), ChannelOptions(lifetime: .whileUsed))
        var producer = try queue.makeProducer()
        let any = try AnyChannel.open(queue.name.description)
        var reader = try any.makeReader()
        var writer = try any.makeWriter()
        try producer.send(1)
        try writer.write(bytes(UInt64(2)).span.bytes)
        let first = try reader.take(until: .immediate)
        #expect(try first.bytes == bytes(UInt64(1)))
        #expect(first.attempt == 1 && first.deadLetter == nil && !first.isCancelled)
        first.reject()
        let second = try reader.take(until: .immediate)
        #expect(second.attempt == 2)
        try second.acknowledge()
        guard let third = try reader.tryTake() else { throw IPCError(.notFound, "take", "", advice: "no job") }
        try third.release()
        let again = try reader.take(until: .immediate)
        #expect(again.attempt == 1)
        // Nothing that can be done with a call; the job comes again.
        do throws(IPCError) {
            try again.reply([UInt8]().span.bytes)
            Issue.record("replied to a job")
        } catch { #expect(error.code == .wrongType) }
        let last = try reader.take(until: .immediate)
        #expect(last.attempt == 2)
        try last.acknowledge()
        let none = try reader.tryTake() == nil
        #expect(none)
    }

    @Test func aServiceOfAnyTypeIsCalledAndServed() throws {
        let service = try ServiceChannel<UInt64, Double, Refusal>.create(channelName())
        let any = try AnyChannel.open(service.name.description)
        // Called by one that does not know its types.
        var writer = try any.makeWriter()
        let server = Box(try service.makeServer())
        let serving = try PlainThread { () throws(IPCError) in
            for _ in 0..<2 {
                try server.value.serveNext(until: .after(.seconds(20))) { (number) throws(Refusal) in
                    guard number % 2 == 0 else { throw .odd }
                    return Double(number) / 2
                }
            }
        }
        let deadline = Deadline.after(.seconds(20))
        #expect(try writer.call(bytes(UInt64(4)).span.bytes, until: deadline) == .reply(bytes(2.0)))
        #expect(try writer.call(bytes(UInt64(5)).span.bytes, until: deadline) == .failure([1]))
        #expect(serving.join() == nil)
        let wrong = failure { () throws(IPCError) in _ = try writer.call(([1] as [UInt8]).span.bytes, until: .immediate)
        }
        #expect(wrong?.code == .invalidArgument)
        // Served by one that does not.
        var reader = try any.makeReader()
        var client = try service.makeClient()
        let first = try client.begin(8, CallOptions(metadata: ["a": "b"]), until: deadline)
        let second = try client.begin(9, until: deadline)
        let taken = try reader.take(until: deadline)
        #expect(try taken.bytes == bytes(UInt64(8)))
        #expect(taken.metadata == ["a": "b"])
        try taken.reply(bytes(4.0).span.bytes)
        guard let refused = try reader.tryTake() else { throw IPCError(.notFound, "take", "", advice: "no call") }
        try refused.fail(([1] as [UInt8]).span.bytes)
        #expect(try first.wait() == .success(4))
        #expect(try second.wait() == .failure(.odd))
    }

    @Test func aLatestValueAndAnEvent() throws {
        let latest = try Latest<UInt64>.create(channelName())
        let value = try AnyChannel.open(latest.name.description)
        var reader = try value.makeReader()
        var writer = try value.makeWriter()
        var getter = try latest.makeGetter()
        #expect(try reader.tryReceive() == nil)
        try writer.write(bytes(UInt64(3)).span.bytes)
        #expect(try getter.get() == 3)
        #expect(try reader.receive(until: .immediate) == bytes(UInt64(3)))
        let event = try Event.create(channelName())
        let any = try AnyChannel.open(event.name.description, until: .after(.seconds(5)))
        let participant = try event.makeParticipant()
        var waiter = try any.makeReader()
        var notifier = try any.makeWriter()
        try notifier.notify(count: 2)
        try participant.wait(until: .immediate)
        try waiter.wait(until: .immediate)
        #expect(failure { () throws(IPCError) in try waiter.wait(until: .immediate) }?.code == .timedOut)
        #expect(failure { () throws(IPCError) in _ = try AnyChannel.open(channelName()) }?.code == .notFound)
    }

    @Test(arguments: ChannelPattern.allCases) func oneIsCreatedIfThereIsNone(pattern: ChannelPattern) throws {
        let name = channelName()
        let channel = try AnyChannel.openOrCreate(pattern, name, ChannelOptions(lifetime: .whileUsed))
        #expect(channel.messageSize == nil && channel.pattern == pattern)
        let writer = try channel.makeWriter()
        let again = try AnyChannel.openOrCreate(pattern, name)
        #expect(again.messageType == channel.messageType)
        let other: ChannelPattern = pattern == .topic ? .latest : .topic
        #expect(failure { () throws(IPCError) in _ = try AnyChannel.openOrCreate(other, name) }?.code == .wrongType)
        writer.close()
    }

    @Test func itWaitsInTasksAndWaitSets() async throws {
        let queue = try WorkQueue<UInt64>.create(channelName(), ChannelOptions(lifetime: .whileUsed))
        let any = try await AnyChannel.open(queue.name.description, until: .after(.seconds(5)))
        var reader = try any.makeReader()
        var writer = try any.makeWriter()
        let set = try WaitSet()
        let sent = Task {
            try await Task.sleep(for: .milliseconds(20))
            var producer = try queue.makeProducer()
            try await producer.send(1)
        }
        let ready = try await set.wait(until: .after(.seconds(20))) { (sources) throws(IPCError) in
            sources.add(&reader)
        }
        #expect(ready == [0])
        try await sent.value
        let job = try await reader.take(until: .after(.seconds(20)))
        try job.acknowledge()
        try await writer.write(bytes(UInt64(2)).span.bytes, JobOptions(timeToLive: .seconds(60)))
        let next = try await reader.take(until: .after(.seconds(20)))
        try next.acknowledge()
    }

    /// What is reserved and given up with its writer holds nobody back.
    @Test func aWriterThatEndsGivesUpWhatItReserved() throws {
        let topic = try Topic<Quote>.create(channelName(), ChannelOptions(writers: .shared))
        let any = try AnyChannel.open(topic.name.description)
        var subscription = try topic.makeSubscription()
        do {
            var writer = try any.makeWriter()
            _ = try writer.reserve(16, until: .immediate)
            let second = failure { () throws(IPCError) in _ = try writer.reserve(16, until: .immediate) }
            let synced = failure { () throws(IPCError) in try writer.sync(until: .immediate) }
            #expect(second?.code == .invalidArgument && synced?.code == .invalidArgument)
        }
        var publisher = try topic.makePublisher()
        try publisher.publish(Quote(symbol: 1, price: 2))
        #expect(try subscription.receive(until: .after(.seconds(5))) == Quote(symbol: 1, price: 2))
    }

    @Test(arguments: [ChannelOptions.Overflow.block, .overwrite])
    func aLoanIsTheSameMessageUntilItEnds(overflow: ChannelOptions.Overflow) throws {
        let topic = try Topic<RawBytes>.create(channelName(), ChannelOptions(overflow: overflow))
        var publisher = try topic.makePublisher()
        var reader = try AnyChannel.open(topic.name.description).makeReader()
        for text in ["one", "second"] { try publisher.publish(text.utf8.span.bytes) }
        #expect(try reader.borrow(until: .immediate).count == 3)
        #expect(try reader.borrow(until: .immediate).count == 3 && reader.tryBorrow()?.count == 3)
        #expect(failure { () throws(IPCError) in _ = try reader.tryReceive() }?.code == .invalidArgument)
        try reader.advance()
        #expect(failure { () throws(IPCError) in try reader.advance() }?.code == .invalidArgument)
        #expect(try reader.receive(until: .immediate) == Array("second".utf8))
    }

    @Test func aSchemaFitsItsPattern() throws {
        let number = MessageSchema.integer(byteCount: 8, isSigned: false)
        let calls = ChannelSchema.calls(request: number, reply: number, failure: number)
        for (pattern, schema) in [
            (.topic, calls), (.event, .messages(number)), (.service, .messages(number)),
            (.workQueue, .messages(.framed(number))), (.latest, .messages(.framed(number))),
        ] as [(ChannelPattern, ChannelSchema)] {
            let error = failure { () throws(IPCError) in
                _ = try AnyChannel.create(pattern, channelName(), schema: schema)
            }
            #expect(error?.code == .invalidArgument, "\(pattern): \(error as Any)")
        }
        // One of a service that nothing is said of is that of the command.
        let name = channelName()
        _ = try AnyChannel.create(.service, name, ChannelOptions(lifetime: .kept))
        _ = try ServiceChannel<RawBytes, RawBytes, CommandFailure>.open(name)
        try ServiceChannel<RawBytes, RawBytes, CommandFailure>.remove(name)
    }

    /// Whoever writes to a channel that was removed finds out after one message at most, and every time from then on.
    @Test(arguments: [ChannelOptions.Writers.exclusive, .shared]) func aWriterFindsOutThatItsChannelIsGone(
        writers: ChannelOptions.Writers
    ) throws {
        let name = channelName()
        let topic = try Topic<UInt64>.create(name, ChannelOptions(writers: writers))
        var publishers = [Box(try topic.makePublisher())]
        if writers == .shared { publishers.append(Box(try topic.makePublisher())) }
        for publisher in publishers { try publisher.value.publish(1) }
        try Topic<UInt64>.remove(name)
        for publisher in publishers {
            _ = try? publisher.value.publish(2)
            for _ in 0..<1000 {
                #expect(failure { () throws(IPCError) in try publisher.value.publish(3) }?.code == .removed)
                #expect(failure { () throws(IPCError) in _ = try publisher.value.tryPublish(3) }?.code == .removed)
            }
        }
    }

    /// An option that has no effect is not passed over.
    @Test func anOptionWithoutEffectIsRefused() throws {
        for (pattern, options, attempts, waiting, named) in [
            (.topic, ChannelOptions(), 3, nil, "maximumAttempts"), (.topic, ChannelOptions(), nil, 3, "maximumWaiting"),
            (.service, ChannelOptions(), 3, nil, "maximumAttempts"),
            (.service, ChannelOptions(writers: .exclusive), nil, nil, "writers"),
            (.latest, ChannelOptions(overflow: .block), nil, nil, "overflow"),
            (.latest, ChannelOptions(durability: .syncedWhenAsked), nil, nil, "durability"),
            (.event, ChannelOptions(capacity: 1 << 20), nil, nil, "capacity"),
            (.workQueue, ChannelOptions(), nil, 3, "maximumWaiting"),
        ] as [(ChannelPattern, ChannelOptions, Int?, Int?, String)] {
            let name = channelName()
            for isNew in [true, false] {
                let error = failure { () throws(IPCError) in
                    _ =
                        isNew
                        ? try AnyChannel.create(
                            pattern, name, options, maximumAttempts: attempts, maximumWaiting: waiting)
                        : try AnyChannel.openOrCreate(
                            pattern, name, options, maximumAttempts: attempts, maximumWaiting: waiting)
                }
                #expect(error?.code == .invalidArgument && error?.advice.contains(named) == true, "\(error as Any)")
                #expect(error?.resource == name)
            }
        }
        // What it is in any case may be said.
        let name = channelName()
        _ = try AnyChannel.create(.latest, name, ChannelOptions(overflow: .overwrite, lifetime: .kept))
        try Topic<RawBytes>.remove(name)
    }

    /// An answer has the size of its type.
    @Test func anAnswerHasTheSizeOfItsType() throws {
        struct Refusal: Error, BitwiseCopyable { var code: UInt32 }
        let name = channelName()
        let service = try ServiceChannel<UInt64, UInt64, Refusal>.create(name)
        let any = try AnyChannel.open(name)
        var client = try service.makeClient()
        var server = try any.makeReader()
        for (answer, isFailure) in [([UInt8](repeating: 0, count: 3), false), ([1], true)] {
            let call = try client.begin(7, until: .after(.seconds(30)))
            let taken = try server.take(until: .after(.seconds(30)))
            var found: IPCError?
            do throws(IPCError) {
                if isFailure { try taken.fail(answer.span.bytes) } else { try taken.reply(answer.span.bytes) }
            } catch { found = error }
            #expect(found?.code == .invalidArgument && found?.advice.contains("\(answer.count)") == true)
            do throws(IPCError) { _ = try call.wait() } catch { found = error }
            #expect(found?.code == .brokenPipe)
        }
    }

    /// A handle is of the type that it was opened with, though another channel has the name by now.
    @Test func anotherChannelOfTheNameIsNotJoined() throws {
        let name = channelName()
        _ = try Topic<Quote>.create(name, ChannelOptions(writers: .shared, lifetime: .kept))
        let any = try AnyChannel.open(name)
        try Topic<Quote>.remove(name)
        _ = try Topic<UInt64>.create(name, ChannelOptions(writers: .shared, lifetime: .kept))
        #expect(failure { () throws(IPCError) in _ = try any.makeWriter() }?.code == .wrongType)
        try Topic<UInt64>.remove(name)
    }

    private func check(_ error: IPCError?, _ text: String) {
        #expect(error?.code == .corrupted && error?.advice.contains(text) == true, "\(String(describing: error))")
    }

    private func written(_ byteCount: Int) -> [UInt8] { [UInt8](repeating: 1, count: byteCount) }

    /// As the next one.
    @Test func aMessageOfAnotherSizeThanItsTypeIsAnErrorForATask() async throws {
        let topic = try Topic<Quote>.create(channelName(), ChannelOptions(writers: .shared))
        let any = try AnyChannel.open(topic.name.description)
        var reader = try any.makeReader()
        var publisher = try any.topic.makePublisher()
        for size in [15, 16] { try await publisher.publish(written(size).span.bytes) }
        do throws(IPCError) {
            _ = try await reader.receive(until: .immediate)
            Issue.record("it was received")
        } catch { check(error, "15 bytes instead of the 16 of Quote") }
        #expect(try await reader.receive(until: .immediate) == written(16))
    }

    /// A participant that does not use this library may write anything. Whoever reads it gets an error, once, and what comes after it.
    @Test func aMessageOfAnotherSizeThanItsTypeIsAnError() throws {
        let topic = try Topic<Quote>.create(channelName(), ChannelOptions(writers: .shared))
        let any = try AnyChannel.open(topic.name.description)
        var reader = try any.makeReader()
        var publisher = try any.topic.makePublisher()
        for size in [0, 15, 17, 600] {
            for _ in 0..<2 { try publisher.publish(written(size).span.bytes) }
            let text = "\(size) bytes instead of the 16 of Quote"
            check(failure { () throws(IPCError) in _ = try reader.receive(until: .immediate) }, text)
            check(failure { () throws(IPCError) in _ = try reader.tryReceive() }, text)
        }
        try publisher.publish(written(16).span.bytes)
        #expect(try reader.receive(until: .immediate) == written(16))
        // A header has to be whole.
        let framed = try Topic<Framed<Quote>>.create(channelName(), ChannelOptions(writers: .shared))
        let anyFramed = try AnyChannel.open(framed.name.description)
        var framedReader = try anyFramed.makeReader()
        var framedPublisher = try anyFramed.topic.makePublisher()
        try framedPublisher.publish(written(15).span.bytes)
        try framedPublisher.publish(written(16).span.bytes)
        let text = "15 bytes, fewer than the 16 of its header"
        check(failure { () throws(IPCError) in _ = try framedReader.receive(until: .immediate) }, text)
        #expect(try framedReader.receive(until: .immediate).count == 16)
        // A value is read again and again.
        let latest = try Latest<UInt32>.create(channelName())
        let anyLatest = try AnyChannel.open(latest.name.description)
        var getter = try anyLatest.makeReader()
        var setter = try anyLatest.latest.makeSetter()
        try setter.set(written(3).span.bytes)
        for _ in 0..<2 {
            check(failure { () throws(IPCError) in _ = try getter.tryReceive() }, "3 bytes instead of the 4 of UInt32")
        }
        try setter.set(written(4).span.bytes)
        #expect(try getter.receive(until: .immediate) == written(4))
    }
}
