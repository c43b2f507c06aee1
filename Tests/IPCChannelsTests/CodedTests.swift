import Foundation
import IPC
import IPCChannels
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(10))) struct CodedTests {
    struct Order: Codable, Equatable {
        var customer: String
        var items: [String: Int]
    }

    enum JSON: MessageCoder {
        static func encode<Value: Encodable>(_ value: Value) throws -> [UInt8] {
            try Array(JSONEncoder().encode(value))
        }
        static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
            try JSONDecoder().decode(type, from: Data(bytes))
        }
    }

    /// Says that it is the other one.
    enum Liar: MessageCoder {
        static var name: String { "JSON" }
        static func encode<Value: Encodable>(_ value: Value) throws -> [UInt8] {
            try Array(PropertyListEncoder().encode(value))
        }
        static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
            try PropertyListDecoder().decode(type, from: Data(bytes))
        }
    }

    /// Of another name, in the same format.
    enum Other: MessageCoder {
        static func encode<Value: Encodable>(_ value: Value) throws -> [UInt8] { try JSON.encode(value) }
        static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
            try JSON.decode(type, from: bytes)
        }
    }

    private static let order = Order(customer: "Ada", items: ["gear": 3, "cam": 1])

    @Test func aTopicOfCodedValues() throws {
        let topic = try Topic<Coded<Order, JSON>>.create(channelName())
        let name = topic.name.description
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        var observer = try topic.makeObserver()
        try publisher.publish(Self.order)
        #expect(try publisher.tryPublish(Self.order))
        #expect(try subscription.receive(until: .immediate) == Self.order)
        #expect(try subscription.tryReceive() == Self.order)
        #expect(try subscription.tryReceive() == nil)
        #expect(try observer.receive(until: .immediate) == Self.order)
        // What the coder refuses is told, and the next message is not lost.
        var lies = try Topic<Coded<Order, Liar>>.open(name).makeSubscription(from: .oldest)
        let wrong = failure { () throws(IPCError) in _ = try lies.receive() }
        #expect(wrong?.code == .corrupted && wrong?.advice.contains("JSON could not decode") == true)
        let other = failure { () throws(IPCError) in _ = try Topic<Coded<Order, Other>>.open(name) }
        #expect(other?.code == .wrongType && other?.advice.contains("Other") == true)
    }

    @Test func aQueueOfCodedValues() throws {
        let name = channelName()
        let queue = try WorkQueue<Coded<Order, JSON>>.create(name, ChannelOptions(lifetime: .whileUsed))
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        try producer.send(Self.order)
        try producer.send(Self.order, JobOptions(timeToLive: .seconds(60)))
        #expect(try producer.trySend(Self.order))
        let job = try worker.next(until: .immediate)
        #expect(try job.message == Self.order)
        try job.acknowledge()
        #expect(try worker.workNext(until: .immediate) { $0.items.count } == 2)
        // What the coder refuses becomes a dead letter at once.
        var lies = try WorkQueue<Coded<Order, Liar>>.open(name).makeWorker()
        #expect(throws: IPCError.self) { try lies.workNext(until: .immediate) { _ in } }
        #expect(try ChannelDescription(queue.deadLetters().name).messageCount == 1)
        try WorkQueue<RawBytes>.remove(queue.deadLetters().name.description)
    }

    @Test func aLatestCodedValue() throws {
        let latest = try Latest<Coded<Order, JSON>>.create(channelName())
        var setter = try latest.makeSetter()
        var getter = try latest.makeGetter()
        #expect(try getter.get() == nil)
        try setter.set(Self.order)
        #expect(try getter.next(until: .immediate) == Self.order)
        #expect(try getter.get() == Self.order)
    }

    @Test func codedValuesInTasks() async throws {
        let topic = try Topic<Coded<Order, JSON>>.create(channelName())
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        try await publisher.publish(Self.order)
        #expect(try await subscription.receive(until: .immediate) == Self.order)
        try await publisher.publish(Self.order)
        var messages = subscription.messages().makeAsyncIterator()
        #expect(try await messages.next() == Self.order)
        let latest = try Latest<Coded<Order, JSON>>.create(channelName())
        var setter = try latest.makeSetter()
        var getter = try latest.makeGetter()
        try setter.set(Self.order)
        #expect(try await getter.next(until: .immediate) == Self.order)
        let queue = try WorkQueue<Coded<Order, JSON>>.create(channelName(), ChannelOptions(lifetime: .whileUsed))
        var producer = try queue.makeProducer()
        try await producer.send(Self.order)
        for try await job in try queue.makeWorker().jobs() {
            #expect(try job.message == Self.order)
            try job.acknowledge()
            break
        }
    }

    enum Problem: Error, Codable, Equatable { case unknown(String), empty }
    private typealias Orders = ServiceChannel<Coded<Order, JSON>, Coded<[String], JSON>, CodedFailure<Problem>>

    private static func answer(_ order: Order) throws(Problem) -> [String] {
        guard !order.customer.isEmpty else { throw .unknown("nobody, with \(order.items.count) items") }
        return order.items.keys.sorted()
    }

    @Test func aServiceOfCodedValues() throws {
        let service = try Orders.openOrCreate(channelName())
        var client = try service.makeClient()
        var server = try service.makeServer()
        let order = Order(customer: "Ada", items: ["gear": 3, "cam": 1])
        for _ in 0..<500 {
            let call = try client.begin(order, until: .after(.seconds(10)))
            try server.serveNext(until: .immediate, Self.answer)
            #expect(try call.wait() == .success(["cam", "gear"]))
            let nobody = try client.begin(
                Order(customer: "", items: [:]), CallOptions(metadata: ["a": "b"]),
                until: .after(.seconds(10)))
            let taken = try server.next(until: .immediate)
            #expect(taken.metadata == ["a": "b"])
            let request = try taken.request
            do throws(Problem) { _ = try Self.answer(request) } catch { try taken.fail(error) }
            #expect(try nobody.wait() == .failure(.unknown("nobody, with 0 items")))
        }
        func error(
            _ replyLimit: Int = 4096,
            _ answer: (inout ServiceChannel<Coded<Order, JSON>, Coded<[String], JSON>, CodedFailure<Problem>>.Server)
                throws(IPCError) -> Void
        ) throws -> (server: IPCError?, client: IPCError?) {
            let call = try client.begin(order, replyLimit: replyLimit, until: .after(.milliseconds(200)))
            let ofServer = failure { () throws(IPCError) in try answer(&server) }
            do throws(IPCError) { _ = try call.wait() } catch { return (ofServer, error) }
            return (ofServer, nil)
        }
        // What does not fit is told to both; a failure, too.
        let large = try error(10) { (server) throws(IPCError) in try server.serveNext(Self.answer) }
        #expect(large.server?.code == .messageTooLarge && large.client?.code == .messageTooLarge)
        let failed = try error(10) { (server) throws(IPCError) in
            try server.serveNext() { (_) throws(Problem) in throw .unknown("a long reason") }
        }
        #expect(failed.server?.code == .messageTooLarge && failed.client?.code == .messageTooLarge)
        // Who has another coder is told, and its caller at once.
        var liar = try ServiceChannel<Coded<Order, Liar>, Coded<[String], Liar>, CodedFailure<Problem>>
            .open(service.name.description).makeServer()
        let wrong = try error { (_) throws(IPCError) in try liar.serveNext(Self.answer) }
        #expect(wrong.server?.code == .corrupted && wrong.server?.advice.contains("could not decode") == true)
        #expect(wrong.client?.code == .brokenPipe)
        let answered = try error { (_) throws(IPCError) in try liar.next().reply(["x"]) }
        #expect(answered.server == nil && answered.client?.code == .corrupted)
        #expect(try ChannelDescription(service.name).messageCount == 0)
    }

    @Test func aServiceOfCodedValuesInTasks() async throws {
        let service = try Orders.openOrCreate(channelName())
        let serving = Task {
            try await service.serve() { (order, context) async throws(Problem) in
                try Self.answer(order) + [context.metadata["tenant"] ?? "none"]
            }
        }
        var client = try service.makeClient()
        let order = Order(customer: "Ada", items: ["gear": 3, "cam": 1])
        let options = CallOptions(metadata: ["tenant": "acme"])
        let reply = try await client.call(order, options, until: .after(.seconds(30)))
        #expect(reply == .success(["cam", "gear", "acme"]))
        let nobody = Order(customer: "", items: ["gear": 3])
        let failure = try await client.call(nobody, until: .after(.seconds(30)))
        #expect(failure == .failure(.unknown("nobody, with 1 items")))
        serving.cancel()
        try await serving.value
    }

    @Test func theTypesOfAServiceAreCheckedByName() throws {
        let name = channelName()
        let server = try Orders.openOrCreate(name).makeServer()
        let failures = [
            failure { () throws(IPCError) in
                _ = try ServiceChannel<Coded<Order, JSON>, Coded<Order, JSON>, CodedFailure<Problem>>.open(name)
            },
            failure { () throws(IPCError) in _ = try ServiceChannel<RawBytes, RawBytes, Wrong>.open(name) },
        ]
        #expect(failures.allSatisfy { $0?.code == .wrongType && $0?.advice.contains("Problem") == true })
        server.close()
    }

    private enum Wrong: Error, BitwiseCopyable { case wrong }

    @Test func theTypeIsCheckedByName() throws {
        let name = channelName()
        let publisher = try Topic<Coded<Order, JSON>>.openOrCreate(name).makePublisher()
        let error = failure { () throws(IPCError) in _ = try Topic<Coded<[String], JSON>>.open(name) }
        #expect(error?.code == .wrongType && error?.advice.contains("Order") == true)
        let value = failure { () throws(IPCError) in _ = try Topic<RawBytes>.open(name) }
        #expect(value?.code == .wrongType)
        publisher.close()
    }
}
