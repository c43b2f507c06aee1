import IPC
import SystemPackage
import TestSupport
import Testing

@testable import IPCChannels

/// The error that `body` throws.
private nonisolated(nonsending) func failure(_ body: () async throws(IPCError) -> Void) async -> IPCError? {
    do throws(IPCError) {
        try await body()
        return nil
    } catch {
        return error
    }
}

/// The error that the call ends with.
private func error<Reply, Failure>(of call: consuming PendingCall<Reply, Failure>) -> IPCError?
where Reply: BitwiseCopyable {
    do throws(IPCError) {
        _ = try call.wait()
        return nil
    } catch {
        return error
    }
}

private nonisolated(nonsending) func asynchronousError<Reply, Failure>(
    of call: consuming PendingCall<Reply, Failure>
) async -> IPCError? where Reply: BitwiseCopyable {
    do throws(IPCError) {
        _ = try await call.wait()
        return nil
    } catch {
        return error
    }
}

/// Bytes in shared memory that are no value of the channel's type are errors that name the field, whichever call meets them.
@Suite(.timeLimit(.minutes(5))) struct TypeValidationTests {
    enum Side: BitwiseCopyable, Hashable { case buy, sell, hold }
    struct Inner: BitwiseCopyable { var count: Int16, side: Side }
    struct Order: BitwiseCopyable {
        var number = Self.mark
        var side = Side.sell
        var flag = true
        var limit: Int32? = 7
        var sides: [3 of Side] = [.buy, .sell, .hold]
        var pair: (Bool, Inner?) = (false, Inner(count: 1, side: .hold))
        var letter: Unicode.Scalar = "ß"

        /// Where the message is found in the log.
        static let mark: UInt64 = 0x5157_4946_5449_5043
    }
    enum Refusal: Error, BitwiseCopyable, Hashable { case late, full }
    struct Receipt: BitwiseCopyable { var number = Order.mark, isPaid = true }

    /// Long enough for a busy machine; no call is to reach it.
    private let deadline = Deadline.after(.seconds(60))
    private static let sideOffset = MemoryLayout<Order>.offset(of: \.side)!

    private func expectInvalid(_ error: IPCError?, _ channel: ChannelName, _ path: String, _ value: Int) {
        #expect(error?.code == .corrupted && error?.resource == channel.description, "\(String(describing: error))")
        #expect(
            error?.advice.contains("\(value) in ") == true && error?.advice.contains(path) == true,
            "\(String(describing: error))")
    }

    @Test func eachFieldIsCheckedByItsPath() throws {
        let topic = try Topic<Order>.openOrCreate(channelName())
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        let log = try Log(topic.name)
        func offset<Field>(_ path: KeyPath<Order, Field>) -> Int { MemoryLayout<Order>.offset(of: path)! }
        let innerSide = MemoryLayout<Inner>.offset(of: \.side)!
        let cases: [(offset: Int, bytes: [UInt8], path: String, value: Int)] = [
            (offset(\.side), [3], "Order.side,", 3), (offset(\.flag), [2], "Order.flag,", 2),
            (offset(\.limit) + 4, [2], "Order.limit,", 2), (offset(\.sides) + 2, [255], "Order.sides[2],", 255),
            (offset(\.pair.0), [9], "Order.pair.0,", 9),
            // Nil is the first number that no case has; what comes after it is neither.
            (offset(\.pair.1) + innerSide, [4], "Order.pair.1.side,", 4),
            (offset(\.letter), [0, 0xd8, 0, 0], "Order.letter,", 0xd800),
            (offset(\.letter), [0, 0, 0x11, 0], "Order.letter,", 0x11_0000),
        ]
        for (offset, bytes, path, value) in cases {
            try publisher.publish(Order())
            log.write(bytes, at: offset)
            let error = failure { () throws(IPCError) in _ = try subscription.tryReceive() }
            expectInvalid(error, topic.name, path, value)
            // It is passed over.
            #expect(try subscription.tryReceive() == nil)
        }
        try publisher.publish(Order())
        log.write([3], at: offset(\.pair.1) + innerSide)
        let order = try subscription.receive()
        #expect(order.pair.1 == nil && order.side == .sell && order.letter == "ß" && order.limit == 7)
    }

    struct Marked<Value: BitwiseCopyable>: BitwiseCopyable {
        var mark: UInt64
        var value: Value
    }

    /// What is in a byte is either a value, the same as in `known`, or an error.
    private func expect<Value: BitwiseCopyable & Equatable>(_ known: [Value?]) throws {
        let topic = try Topic<Marked<Value>>.openOrCreate(channelName(), ChannelOptions(capacity: 65_536))
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        let log = try Log(topic.name)
        for byte in UInt8.min ... .max {
            try publisher.publish(Marked(mark: Order.mark, value: known[0]!))
            log.write([byte], at: MemoryLayout<Marked<Value>>.offset(of: \.value)!)
            let expected = Int(byte) < known.count ? known[Int(byte)] : nil
            let result = Result { () throws(IPCError) in try subscription.tryReceive()?.value }
            switch result {
            case .success(let value): #expect(expected != nil && value == expected, "\(byte) of \(Value.self)")
            case .failure(let error): #expect(expected == nil && error.code == .corrupted, "\(byte) of \(Value.self)")
            }
        }
    }

    @Test func everyByteIsAValueOrAnError() throws {
        try expect([false, true] as [Bool?])
        try expect([false, true, .some(nil)] as [Bool??])
        try expect([.buy, .sell, .hold] as [Side?])
        try expect([.buy, .sell, .hold, .some(.some(nil)), .some(nil)] as [Side???])
        try expect([.plus, .minus] as [FloatingPointSign?])
        try expect((UInt8.min ... .max).map { Int8(bitPattern: $0) })
    }

    /// Nil by a byte after the value: for nil, whatever else is there does not matter.
    @Test func anOptionalNumberIsCheckedByItsMark() throws {
        struct Message: BitwiseCopyable { var mark = Order.mark, value: Int32?? = 5 }
        let topic = try Topic<Message>.openOrCreate(channelName())
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        let log = try Log(topic.name)
        let cases: [(marks: [UInt8], value: Int32???)] = [
            ([0, 0], 0x0403_0201), ([1, 0], .some(.some(nil))), ([0, 1], .some(nil)), ([1, 1], .some(nil)),
            ([9, 1], .some(nil)), ([2, 0], nil), ([0, 2], nil), ([0, 255], nil),
        ]
        for (marks, expected) in cases {
            try publisher.publish(Message())
            log.write([1, 2, 3, 4] + marks, at: MemoryLayout<Message>.offset(of: \.value)!)
            let result = Result { () throws(IPCError) in try subscription.tryReceive()!.value }
            switch (result, expected) {
            case (.success(let value), .some(let expected)):
                #expect(value == expected, "\(marks)")
                #expect((value == nil) == (expected == nil), "\(marks)")
            case (.failure(let error), .none): #expect(error.code == .corrupted, "\(marks)")
            default: Issue.record("\(marks): \(result)")
            }
        }
    }

    @Test func anEnumerationOfManyCasesIsCheckedInBothBytes() throws {
        struct Message: BitwiseCopyable { var mark = Order.mark, wide: Wide? = .c0 }
        #expect(MemoryLayout<Message>.size == 10)
        let topic = try Topic<Message>.openOrCreate(channelName())
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        let log = try Log(topic.name)
        for (bytes, isValue) in [([3, 1], true), ([4, 1], true), ([5, 1], false), ([0, 2], false)] as [([UInt8], Bool)]
        {
            try publisher.publish(Message())
            log.write(bytes, at: 8)
            let result = Result { () throws(IPCError) in try subscription.tryReceive() }
            guard case .success(let message) = result else {
                #expect(!isValue, "\(bytes)")
                continue
            }
            #expect(isValue && message?.wide == (bytes[0] == 3 ? .c259 : nil))
        }
    }

    @Test(arguments: [ChannelOptions.Overflow.block, .overwrite])
    func aTopicsMessagesAreCheckedByEveryCall(overflow: ChannelOptions.Overflow) throws {
        let topic = try Topic<Order>.openOrCreate(channelName(), ChannelOptions(overflow: overflow))
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        let log = try Log(topic.name)
        for attempt in 0..<3 {
            try publisher.publish(Order())
            log.write([77], at: Self.sideOffset)
            let error = failure { () throws(IPCError) in
                switch attempt {
                case 0: _ = try subscription.receive(until: deadline)
                case 1: _ = try subscription.tryReceive()
                default: _ = try subscription.receiveAvailable { (_) throws(IPCError) in }
                }
            }
            expectInvalid(error, topic.name, "Order.side", 77)
        }
        try publisher.publish(Order(side: .hold))
        #expect(try subscription.receive(until: deadline).side == .hold)
    }

    @Test func aTopicsMessagesAreCheckedByTasks() async throws {
        let topic = try Topic<Order>.openOrCreate(channelName())
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        let log = try Log(topic.name)
        #expect(try publisher.tryPublish(Order()))
        log.write([77], at: Self.sideOffset)
        let error = await failure { () async throws(IPCError) in
            _ = try await subscription.receive(until: deadline)
        }
        expectInvalid(error, topic.name, "Order.side", 77)
        #expect(try publisher.tryPublish(Order()))
        log.write([77], at: Self.sideOffset)
        do {
            for try await _ in subscription.messages() { Issue.record("received") }
        } catch { expectInvalid(error, topic.name, "Order.side", 77) }
    }

    @Test func aLatestValueIsCheckedByEveryCall() async throws {
        let latest = try Latest<Order>.openOrCreate(channelName())
        var setter = try latest.makeSetter()
        var getter = try latest.makeGetter()
        let log = try Log(latest.name)
        func setInvalid() throws {
            try setter.set(Order())
            log.write([77], at: Self.sideOffset)
        }
        try setInvalid()
        for _ in 0..<2 {
            let error = failure { () throws(IPCError) in _ = try getter.get() }
            expectInvalid(error, latest.name, "Order.side", 77)
        }
        try setInvalid()
        let blocking = failure { () throws(IPCError) in _ = try getter.next(until: deadline) }
        expectInvalid(blocking, latest.name, "Order.side", 77)
        try setInvalid()
        let waiting = await failure { () async throws(IPCError) in _ = try await getter.next(until: deadline) }
        expectInvalid(waiting, latest.name, "Order.side", 77)
        try setter.set(Order(side: .hold))
        #expect(try getter.get()?.side == .hold)
    }

    /// Each call passes over the one that is none, and has the job behind it.
    @Test func aJobIsCheckedByEveryCallAndIsADeadLetterAtOnce() async throws {
        let queue = try WorkQueue<Order>.openOrCreate(channelName(), maximumAttempts: 6)
        defer {
            try? WorkQueue<Order>.remove(queue.name.description)
            try? WorkQueue<Order>.remove(queue.name.description + "/dead-letters")
        }
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        let log = try Log(queue.name)
        func sendInvalidAndThenValid() throws {
            #expect(try producer.trySend(Order()))
            log.write([77], at: Self.sideOffset)
            #expect(try producer.trySend(Order(number: 1, side: .hold)))
        }
        func expect(_ job: consuming WorkQueue<Order>.Job) throws {
            #expect(job.message.side == .hold && job.attempt == 1)
            try job.acknowledge()
        }
        func expectByBlockingCalls() throws {
            try sendInvalidAndThenValid()
            try expect(worker.next(until: deadline))
            try sendInvalidAndThenValid()
            if let job = try worker.tryNext() { try expect(job) } else { Issue.record("the next job did not come") }
            try sendInvalidAndThenValid()
            #expect(try worker.workNext(until: deadline) { $0.side } == .hold)
        }
        try expectByBlockingCalls()
        try sendInvalidAndThenValid()
        let job = try await worker.next(until: deadline)
        try expect(job)
        try sendInvalidAndThenValid()
        let working = Task {
            try await queue.work { delivery in
                #expect(delivery.message.side == .hold)
                try delivery.acknowledge()
                withUnsafeCurrentTask { $0?.cancel() }
            }
        }
        while try !queue.browse().isEmpty, !deadline.hasPassed { try await Task.sleep(for: .milliseconds(1)) }
        working.cancel()
        try await working.value
        try sendInvalidAndThenValid()
        for try await delivery in try queue.makeWorker().jobs() {
            #expect(delivery.message.side == .hold)
            try delivery.acknowledge()
            break
        }
        #expect(try queue.browse().isEmpty)
        let letters = try queue.deadLetters().browse()
        #expect(letters.count == 6)
        for letter in letters {
            #expect(letter.deadLetter?.reason == .invalid && letter.deadLetter?.attempts == 0)
            #expect(letter.bytes.count == MemoryLayout<Order>.size)
            // What is wrong with it, for whoever looks.
            let error = failure { () throws(IPCError) in _ = try letter.message }
            expectInvalid(error, try queue.deadLetters().name, "Order.side", 77)
        }
    }

    /// What another program has sent, or damage: it does not come again and again.
    @Test func whatCannotBeAMessageIsADeadLetterAtOnce() throws {
        let queue = try WorkQueue<UInt64>.openOrCreate(channelName())
        let name = queue.name.description
        defer {
            try? WorkQueue<UInt64>.remove(name)
            try? WorkQueue<UInt64>.remove(name + "/dead-letters")
        }
        var stranger = try AnyChannel.open(name).workQueue.makeProducer()
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        for count in [0, 7, 9, 1000] {
            try stranger.send([UInt8](repeating: 5, count: count).span.bytes)
            try producer.send(UInt64(count))
        }
        // Too short to be work at all: there is nothing of it to keep.
        do {
            var writer = try LogWriter(queue.channel.join(.writer))
            let payload = try #require(try unsafe writer.claim(8, until: .immediate))
            unsafe payload.storeBytes(of: UInt64.max, as: UInt64.self)
            try writer.deliver(8)
        }
        try producer.send(12)
        #expect(try ChannelDescription(queue.name).messageCount == 9)
        let first = try worker.next(until: .immediate)
        #expect(first.message == 0 && first.attempt == 1)
        try first.acknowledge()
        let second = try worker.next(until: .immediate)
        #expect(second.message == 7)
        try second.acknowledge()
        #expect(try worker.workNext(until: .immediate) { $0 } == 9)
        for number in [1000, 12] as [UInt64] {
            guard let job = try worker.tryNext() else {
                Issue.record("\(number) did not come")
                return
            }
            #expect(job.message == number)
            try job.acknowledge()
        }
        #expect(try ChannelDescription(queue.name).messageCount == 0)

        let letters = try queue.deadLetters()
        let found = try letters.browse()
        #expect(found.map(\.bytes.count) == [0, 7, 9, 1000])
        #expect(found.allSatisfy { $0.deadLetter?.reason == .invalid && $0.deadLetter?.process == 0 })
        #expect(failure { () throws(IPCError) in _ = try found[1].message }?.advice.contains("7 bytes") == true)
        // One that takes letters passes over them as well, and leaves them where they are.
        do {
            var reader = try letters.makeWorker()
            var sender = try letters.makeProducer()
            try sender.send(3)
            let letter = try reader.next(until: .immediate)
            #expect(letter.message == 3)
            try letter.acknowledge()
            let none = try reader.tryNext() == nil
            #expect(none)
        }
        #expect(try letters.browse().count == 4)
        // Sent back, they come back once: the queue's worker is not the only one that goes on.
        #expect(try queue.redrive(until: .after(.seconds(5))) == 4)
        try producer.send(13)
        #expect(try worker.next(until: .immediate).message == 13)
        #expect(try letters.browse().count == 4 && letters.purge() == 4)
    }

    @Test func aJobThatWasHandedOutDoesNotChange() throws {
        let queue = try WorkQueue<Order>.openOrCreate(channelName())
        defer { try? WorkQueue<Order>.remove(queue.name.description) }
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        try producer.send(Order())
        let job = try worker.next()
        try Log(queue.name).write([77], at: Self.sideOffset)
        #expect(job.message.side == .sell && job.message.limit == 7)
        let delivery = WorkQueue.SharedJob(job)
        #expect(delivery.message.side == .sell)
        try delivery.acknowledge()
    }

    @Test func aRequestIsCheckedByEveryCall() throws {
        let service = try ServiceChannel<Order, Bool, Refusal>.openOrCreate(channelName())
        var client = try service.makeClient()
        var server = try service.makeServer()
        let log = try Log(service.name)
        for attempt in 0..<3 {
            let pending = try client.begin(Order(), until: deadline)
            log.write([77], at: Self.sideOffset)
            let error = failure { () throws(IPCError) in
                switch attempt {
                case 0: _ = try server.next(until: deadline).request
                case 1: _ = try server.tryNext()!.request
                default: try server.serveNext(until: deadline) { (_) throws(Refusal) in true }
                }
            }
            expectInvalid(error, service.name, "Order.side", 77)
            // Its caller is told at once.
            let lost = IPCChannelsTests.error(of: pending)
            #expect(lost?.code == .brokenPipe)
        }
    }

    @Test func aRequestIsCheckedByTasks() async throws {
        let service = try ServiceChannel<Order, Bool, Refusal>.openOrCreate(channelName())
        var client = try service.makeClient()
        let log = try Log(service.name)
        let pending = try await client.begin(Order(), until: deadline)
        log.write([77], at: Self.sideOffset)
        let serving = Task {
            try await service.serve { (_) throws(Refusal) in
                Issue.record("handed out")
                return true
            }
        }
        let lost = await asynchronousError(of: pending)
        #expect(lost?.code == .brokenPipe)
        // The next one is served.
        serving.cancel()
        _ = await serving.result
        var server = try service.makeServer()
        let second = try await client.begin(Order(), until: deadline)
        log.write([77], at: Self.sideOffset)
        let error = await failure { () async throws(IPCError) in _ = try await server.next(until: deadline).request }
        expectInvalid(error, service.name, "Order.side", 77)
        let secondLost = await asynchronousError(of: second)
        #expect(secondLost?.code == .brokenPipe)
    }

    /// The request begins with the mark, too; the outcome comes 32 bytes after it.
    @Test(arguments: [false, true]) func aReplyAndAFailureAreChecked(fails: Bool) throws {
        let service = try ServiceChannel<UInt64, Receipt, Refusal>.openOrCreate(channelName())
        var client = try service.makeClient()
        var server = try service.makeServer()
        let log = try Log(service.name)
        let pending = try client.begin(Order.mark, until: deadline)
        let call = try server.next(until: deadline)
        if fails { try call.fail(.full) } else { try call.reply(Receipt()) }
        log.write([77], at: fails ? 32 : 8)
        let error = IPCChannelsTests.error(of: pending)
        expectInvalid(error, service.name, fails ? "Refusal," : "Receipt.isPaid,", 77)

        let next = try client.begin(1, until: deadline)
        try server.next(until: deadline).fail(.full)
        guard case .failure(.full) = try next.wait() else {
            Issue.record("no failure")
            return
        }
    }

    @Test(arguments: [false, true]) func aReplyAndAFailureAreCheckedByTasks(fails: Bool) async throws {
        let service = try ServiceChannel<UInt64, Receipt, Refusal>.openOrCreate(channelName())
        var client = try service.makeClient()
        var server = try service.makeServer()
        let log = try Log(service.name)
        let pending = try await client.begin(Order.mark, until: deadline)
        let call = try await server.next(until: deadline)
        if fails { try call.fail(.full) } else { try call.reply(Receipt()) }
        log.write([77], at: fails ? 32 : 8)
        let error = await asynchronousError(of: pending)
        expectInvalid(error, service.name, fails ? "Refusal," : "Receipt.isPaid,", 77)
    }

    /// Enough cases for two bytes.
    // swift-format-ignore
    enum Wide: BitwiseCopyable, Equatable {
        case c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15
        case c16, c17, c18, c19, c20, c21, c22, c23, c24, c25, c26, c27, c28, c29, c30, c31
        case c32, c33, c34, c35, c36, c37, c38, c39, c40, c41, c42, c43, c44, c45, c46, c47
        case c48, c49, c50, c51, c52, c53, c54, c55, c56, c57, c58, c59, c60, c61, c62, c63
        case c64, c65, c66, c67, c68, c69, c70, c71, c72, c73, c74, c75, c76, c77, c78, c79
        case c80, c81, c82, c83, c84, c85, c86, c87, c88, c89, c90, c91, c92, c93, c94, c95
        case c96, c97, c98, c99, c100, c101, c102, c103, c104, c105, c106, c107, c108, c109, c110, c111
        case c112, c113, c114, c115, c116, c117, c118, c119, c120, c121, c122, c123, c124, c125, c126, c127
        case c128, c129, c130, c131, c132, c133, c134, c135, c136, c137, c138, c139, c140, c141, c142, c143
        case c144, c145, c146, c147, c148, c149, c150, c151, c152, c153, c154, c155, c156, c157, c158, c159
        case c160, c161, c162, c163, c164, c165, c166, c167, c168, c169, c170, c171, c172, c173, c174, c175
        case c176, c177, c178, c179, c180, c181, c182, c183, c184, c185, c186, c187, c188, c189, c190, c191
        case c192, c193, c194, c195, c196, c197, c198, c199, c200, c201, c202, c203, c204, c205, c206, c207
        case c208, c209, c210, c211, c212, c213, c214, c215, c216, c217, c218, c219, c220, c221, c222, c223
        case c224, c225, c226, c227, c228, c229, c230, c231, c232, c233, c234, c235, c236, c237, c238, c239
        case c240, c241, c242, c243, c244, c245, c246, c247, c248, c249, c250, c251, c252, c253, c254, c255
        case c256, c257, c258, c259
    }
}
