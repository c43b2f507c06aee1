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
