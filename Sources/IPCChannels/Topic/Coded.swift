public import IPC

/// Messages that are `Codable` values, written as bytes by a ``MessageCoder`` of your choice.
///
/// ```swift
/// struct JSON: MessageCoder {                        // import Foundation
///     func encode<Value: Encodable>(_ value: Value) throws -> [UInt8] { try Array(JSONEncoder().encode(value)) }
///     func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
///         try JSONDecoder().decode(type, from: Data(bytes))
///     }
/// }
/// let topic = try Topic<Coded<Parcel>>.create("parcels")
/// var publisher = try topic.makePublisher()
/// var parcels = try topic.subscribe()
/// try publisher.publish(parcel, with: JSON())
/// let next = try parcels.receive(with: JSON(), until: .after(.seconds(1)))
/// ```
///
/// Unlike a `BitwiseCopyable` value it may hold strings and arrays, and costs an allocation and two copies each.
public enum Coded<Value: Codable>: Sendable {}

/// Turns values into bytes and back. Both sides of a channel have to use the same one.
public protocol MessageCoder {
    func encode<Value: Encodable>(_ value: Value) throws -> [UInt8]
    func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value
}

extension MessageCoder {
    /// - Throws: ``IPC/IPCError/Code/invalidArgument`` with what the coder threw.
    func bytes<Value: Encodable>(of value: Value, _ channel: ChannelName) throws(IPCError) -> [UInt8] {
        do { return try encode(value) } catch {
            throw IPCError(
                .invalidArgument, "encode", channel.description, advice: "the coder refused the value: \(error)")
        }
    }

    /// - Throws: ``IPC/IPCError/Code/corrupted`` with what the coder threw.
    func value<Value: Decodable>(of bytes: [UInt8], _ channel: ChannelName) throws(IPCError) -> Value {
        do { return try decode(Value.self, from: bytes) } catch {
            throw IPCError(
                .corrupted, "decode", channel.description,
                advice:
                    "the coder refused a message of \(bytes.count) bytes (\(error)); use the same coder on both sides")
        }
    }
}

extension Topic {
    /// Creates a topic of `Codable` values, or opens it if it exists; then its own options hold.
    ///
    /// - Throws: ``IPC/IPCError/Code/wrongType`` if it carries another type, by name.
    public static func create<Value>(
        _ name: String, in root: ChannelRoot = .current, _ options: ChannelOptions = ChannelOptions(),
        _ policy: CreationPolicy = .openExisting
    ) throws(IPCError) -> Topic where Message == Coded<Value> {
        try Topic(name, in: root, .coded(Value.self), options, policy)
    }

    /// Opens a topic of `Codable` values that exists.
    public static func open<Value>(
        _ name: String, in root: ChannelRoot = .current
    ) throws(IPCError) -> Topic where Message == Coded<Value> {
        try Topic(name, in: root, .coded(Value.self), nil, .openExisting)
    }
}

extension MessageType {
    static func coded<Value>(_ type: Value.Type) -> MessageType {
        MessageType(name: "Codable \(MessageType.name(of: type))", size: 0, stride: 0, alignment: 1, fingerprint: 0)
    }
}

extension Publisher {
    /// Publishes a value as the bytes that `coder` makes of it.
    ///
    /// - Throws: ``IPC/IPCError/Code/invalidArgument`` with what the coder threw; as ``publish(_:until:)`` otherwise.
    public mutating func publish<Value>(
        _ value: Value, with coder: some MessageCoder, until deadline: Deadline = .never
    ) throws(IPCError) where Message == Coded<Value> {
        guard try put(encode(value, with: coder), until: deadline) else { try failTimedOut() }
    }

    func encode<Value>(_ value: Value, with coder: some MessageCoder) throws(IPCError) -> [UInt8]
    where Message == Coded<Value> {
        try coder.bytes(of: value, writer.memory.name)
    }

    mutating func put(_ bytes: [UInt8], until deadline: Deadline) throws(IPCError) -> Bool {
        guard let payload = try unsafe writer.claim(bytes.count, until: deadline) else { return false }
        unsafe payload.copyBytes(of: bytes.span.bytes)
        try writer.deliver(bytes.count)
        return true
    }
}

extension Subscription {
    /// Receives the next value, waiting for it.
    ///
    /// - Throws: ``IPC/IPCError/Code/corrupted`` with what the coder threw, and the message is passed over;
    ///   ``IPC/IPCError/Code/timedOut``.
    public mutating func receive<Value>(
        with coder: some MessageCoder, until deadline: Deadline = .never
    ) throws(IPCError) -> Value where Message == Coded<Value> {
        try decode(take(until: deadline) { (_, payload) throws(IPCError) in payload.array }, with: coder)
    }

    func decode<Value>(_ bytes: [UInt8], with coder: some MessageCoder) throws(IPCError) -> Value
    where Message == Coded<Value> {
        try coder.value(of: bytes, reader.memory.name)
    }
}
