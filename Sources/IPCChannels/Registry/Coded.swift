import IPC

/// Messages that are `Codable` values, encoded and decoded by a ``MessageCoder`` of your choice.
///
/// ```swift
/// enum JSON: MessageCoder {                        // import Foundation
///     static func encode<Value: Encodable>(_ value: Value) throws -> [UInt8] { try Array(JSONEncoder().encode(value)) }
///     static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
///         try JSONDecoder().decode(type, from: Data(bytes))
///     }
/// }
/// let topic = try Topic<Coded<Parcel, JSON>>.openOrCreate("parcels")
/// var publisher = try topic.makePublisher()
/// var parcels = try topic.makeSubscription()
/// try publisher.publish(parcel)
/// let next = try parcels.receive(until: .after(.seconds(1)))
/// ```
///
/// Every pattern that carries values carries them. Unlike a `BitwiseCopyable` value, they may hold strings and arrays. Each
/// message costs an allocation and two copies.
public enum Coded<Value: Codable, Coder: MessageCoder>: CodableMessage {}

/// ``Coded``, of whatever value and coder.
public protocol CodableMessage: Sendable {
    associatedtype Value: Codable
    associatedtype Coder: MessageCoder
}

/// Converts values to bytes and back. It is a part of the channel's type, so that both sides use the same.
public protocol MessageCoder: Sendable {
    /// The name of the format, by which programs agree on it: `JSON`. The type's own name if nothing else is said.
    static var name: String { get }

    static func encode<Value: Encodable>(_ value: Value) throws -> [UInt8]
    static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value
}

extension MessageCoder {
    public static var name: String { String(describing: Self.self) }

    /// - Throws: ``/IPC/IPCError/Code/invalidArgument`` with the coder's error.
    static func bytes<Value: Encodable>(of value: Value, _ channel: ChannelName) throws(IPCError) -> [UInt8] {
        do { return try encode(value) } catch {
            throw IPCError(
                .invalidArgument, "encode", channel.description, advice: "\(name) could not encode the value: \(error)")
        }
    }

    /// - Throws: ``/IPC/IPCError/Code/corrupted`` with the coder's error.
    static func value<Value: Decodable>(of bytes: [UInt8], _ channel: ChannelName) throws(IPCError) -> Value {
        do { return try decode(Value.self, from: bytes) } catch {
            throw IPCError(
                .corrupted, "decode", channel.description,
                advice:
                    "\(name) could not decode a message of \(bytes.count) bytes: \(error); check what its sender encodes"
            )
        }
    }
}

extension MessageType {
    static func coded<Message: CodableMessage>(_: Message.Type) -> MessageType {
        coded(Message.Value.self, by: Message.Coder.self)
    }

    static func coded<Value, Coder: MessageCoder>(_ type: Value.Type, by _: Coder.Type) -> MessageType {
        @Sendable func make() -> ChannelSchema { .messages(.coded(type: TypeName.short(type), coder: Coder.name)) }
        return MessageType(make(), checks: nil) { make() }
    }
}
