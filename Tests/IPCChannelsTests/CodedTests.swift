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

    struct JSON: MessageCoder {
        func encode<Value: Encodable>(_ value: Value) throws -> [UInt8] { try Array(JSONEncoder().encode(value)) }
        func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
            try JSONDecoder().decode(type, from: Data(bytes))
        }
    }

    struct PropertyLists: MessageCoder {
        func encode<Value: Encodable>(_ value: Value) throws -> [UInt8] {
            try Array(PropertyListEncoder().encode(value))
        }
        func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
            try PropertyListDecoder().decode(type, from: Data(bytes))
        }
    }

    @Test func aCoderIsReplaceable() throws {
        let topic = try Topic<Coded<Order>>.create(channelName())
        var publisher = try topic.makePublisher()
        var subscription = try topic.subscribe()
        let order = Order(customer: "Ada", items: ["gear": 3, "cam": 1])
        try publisher.publish(order, with: JSON())
        try publisher.publish(order, with: PropertyLists())
        #expect(try subscription.receive(with: JSON(), until: .immediate) == order)
        #expect(try subscription.receive(with: PropertyLists(), until: .immediate) == order)
        // The wrong coder is told, and the next message is not lost.
        try publisher.publish(order, with: JSON())
        try publisher.publish(order, with: JSON())
        let wrong = failure { () throws(IPCError) in _ = try subscription.receive(with: PropertyLists()) }
        #expect(wrong?.code == .corrupted && wrong?.advice.contains("same coder") == true)
        #expect(try subscription.receive(with: JSON(), until: .immediate) == order)
    }

    enum Problem: Error, Codable, Equatable { case unknown(String), empty }
    private typealias Orders = Service<Coded<Order>, Coded<[String]>, CodedFailure<Problem>>

    private static func answer(_ order: Order) throws(Problem) -> [String] {
        guard !order.customer.isEmpty else { throw .unknown("nobody, with \(order.items.count) items") }
        return order.items.keys.sorted()
    }

    @Test func aServiceOfCodedValues() throws {
        let service = try Orders.create(channelName())
        var client = try service.makeClient()
        var server = try service.makeServer()
        let order = Order(customer: "Ada", items: ["gear": 3, "cam": 1])
        for _ in 0..<500 {
            let call = try client.begin(order, with: JSON(), until: .after(.seconds(10)))
            try server.serveNext(with: JSON(), until: .immediate, Self.answer)
            #expect(try call.wait(with: JSON()) == .success(["cam", "gear"]))
            let nobody = try client.begin(
                Order(customer: "", items: [:]), with: JSON(), CallOptions(metadata: ["a": "b"]),
                until: .after(.seconds(10)))
            let taken = try server.next(until: .immediate)
            #expect(taken.metadata == ["a": "b"])
            let request = try taken.request(with: JSON())
            do throws(Problem) { _ = try Self.answer(request) } catch { try taken.fail(error, with: JSON()) }
            #expect(try nobody.wait(with: JSON()) == .failure(.unknown("nobody, with 0 items")))
        }
        func error(
            _ replyLimit: Int = 4096,
            _ answer: (inout Server<Coded<Order>, Coded<[String]>, CodedFailure<Problem>>)
                throws(IPCError) -> Void
        ) throws -> (server: IPCError?, client: IPCError?) {
            let call = try client.begin(order, with: JSON(), replyLimit: replyLimit, until: .after(.milliseconds(200)))
            let ofServer = failure { () throws(IPCError) in try answer(&server) }
            do throws(IPCError) { _ = try call.wait(with: JSON()) } catch { return (ofServer, error) }
            return (ofServer, nil)
        }
        // What does not fit is told to both; a failure, too.
        let large = try error(10) { (server) throws(IPCError) in try server.serveNext(with: JSON(), Self.answer) }
        #expect(large.server?.code == .messageTooLarge && large.client?.code == .messageTooLarge)
        let failed = try error(10) { (server) throws(IPCError) in
            try server.serveNext(with: JSON()) { (_) throws(Problem) in throw .unknown("a long reason") }
        }
        #expect(failed.server?.code == .messageTooLarge && failed.client?.code == .messageTooLarge)
        // Who has another coder is told, and its caller at once.
        let wrong = try error { (server) throws(IPCError) in try server.serveNext(with: PropertyLists(), Self.answer) }
        #expect(wrong.server?.code == .corrupted && wrong.server?.advice.contains("same coder") == true)
        #expect(wrong.client?.code == .brokenPipe)
        let answered = try error { (server) throws(IPCError) in
            try server.next().reply(["x"], with: PropertyLists())
        }
        #expect(answered.server == nil && answered.client?.code == .corrupted)
        #expect(try ChannelDescription(service.name).messageCount == 0)
    }

    @Test func aServiceOfCodedValuesInTasks() async throws {
        let service = try Orders.create(channelName())
        let serving = Task {
            try await service.serve(with: JSON()) { (order, context) async throws(Problem) in
                try Self.answer(order) + [context.metadata["tenant"] ?? "none"]
            }
        }
        var client = try service.makeClient()
        let order = Order(customer: "Ada", items: ["gear": 3, "cam": 1])
        let options = CallOptions(metadata: ["tenant": "acme"])
        let reply = try await client.call(order, with: JSON(), options, until: .after(.seconds(30)))
        #expect(reply == .success(["cam", "gear", "acme"]))
        let nobody = Order(customer: "", items: ["gear": 3])
        let failure = try await client.call(nobody, with: JSON(), until: .after(.seconds(30)))
        #expect(failure == .failure(.unknown("nobody, with 1 items")))
        do throws(IPCError) {
            _ = try await client.call(order, with: PropertyLists(), until: .after(.seconds(30)))
            Issue.record("answered")
        } catch { #expect(error.code == .brokenPipe) }
        serving.cancel()
        try await serving.value
    }

    @Test func theTypesOfAServiceAreCheckedByName() throws {
        let name = channelName()
        let server = try Orders.create(name).makeServer()
        let failures = [
            failure { () throws(IPCError) in
                _ = try Service<Coded<Order>, Coded<Order>, CodedFailure<Problem>>.open(name)
            },
            failure { () throws(IPCError) in _ = try Service<RawBytes, RawBytes, Wrong>.open(name) },
        ]
        #expect(failures.allSatisfy { $0?.code == .wrongType && $0?.advice.contains("Problem") == true })
        server.close()
    }

    private enum Wrong: Error, BitwiseCopyable { case wrong }

    @Test func theTypeIsCheckedByName() throws {
        let name = channelName()
        let publisher = try Topic<Coded<Order>>.create(name).makePublisher()
        let error = failure { () throws(IPCError) in _ = try Topic<Coded<[String]>>.open(name) }
        #expect(error?.code == .wrongType && error?.advice.contains("Order") == true)
        let value = failure { () throws(IPCError) in _ = try Topic<RawBytes>.open(name) }
        #expect(value?.code == .wrongType)
        publisher.close()
    }
}
