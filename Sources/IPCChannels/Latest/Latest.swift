public import IPC

/// A channel of which only the newest value counts: a position, a temperature, a configuration.
///
/// ```swift
/// // One process:
/// var setter = try Latest<Pose>.create("robot/pose").makeSetter()
/// try setter.set(pose)
/// // Any number of others:
/// var getter = try Latest<Pose>.create("robot/pose").makeGetter()
/// let pose = try getter.get()              // nil before the first
/// let next = try getter.next(until: .after(.seconds(1)))
/// ```
///
/// Setting never waits for a reader, however slow or dead, and getting never waits for a writer: a value that is being
/// written is not there yet. The last whole value stays when its writer dies. It is a topic that overwrites, whose readers
/// pass over all but the newest message.
public struct Latest<Value: BitwiseCopyable>: Sendable {
    static var pattern: UInt32 { 3 }

    /// Such as `robot/pose`.
    public var name: ChannelName { channel.name }
    private let channel: Channel

    /// Creates it, or opens it if it exists; then its own options hold.
    ///
    /// - Parameters:
    ///   - writers: Whether several may set it at the same time.
    ///   - lifetime: Whether the value goes with the last participant.
    ///   - capacity: Bytes of its log; at least two values have to fit.
    /// - Throws: As ``Topic/create(_:_:_:)``.
    public static func create(
        _ name: String, writers: ChannelOptions.Writers = .exclusive, lifetime: ChannelOptions.Lifetime = .whileUsed,
        capacity: Int = 65_536, maximumReaders: Int = 64, _ policy: CreationPolicy = .openExisting
    ) throws(IPCError) -> Latest {
        let room = max(capacity, 4 * LogLayout.Frame.size(payload: MemoryLayout<Value>.size))
        return try Latest(
            name,
            ChannelOptions(
                writers: writers, overflow: .overwrite, lifetime: lifetime, capacity: room,
                maximumReaders: maximumReaders),
            policy)
    }

    /// Opens one that exists.
    public static func open(_ name: String) throws(IPCError) -> Latest { try Latest(name, nil, .openExisting) }

    private init(_ name: String, _ options: ChannelOptions?, _ policy: CreationPolicy) throws(IPCError) {
        channel = try Channel(
            name, pattern: Self.pattern, "latest value", MessageType.of(Value.self), options, policy)
    }

    /// Joins as one that sets the value.
    public func makeSetter() throws(IPCError) -> LatestSetter<Value> {
        LatestSetter(try LogWriter(channel.join(.writer)))
    }

    /// Joins as one that gets the value.
    public func makeGetter(waiting: Waiting = .sleeping()) throws(IPCError) -> LatestGetter<Value> {
        LatestGetter(Subscription(try LogReader(channel.join(.reader), from: .last(1)), waiting))
    }

    /// Removes it, whoever uses it.
    public static func remove(_ name: String) throws(IPCError) { try Channel.remove(name) }
}

/// One that sets a ``Latest``. One thread at a time may use it.
public struct LatestSetter<Value: BitwiseCopyable>: ~Copyable, Sendable {
    private var publisher: Publisher<Value>

    init(_ writer: consuming LogWriter) { publisher = Publisher(writer) }

    /// Sets the value. Does not block; with shared writers, only for another that is stopped in the middle of this, a
    /// whole log ago.
    public mutating func set(_ value: Value) throws(IPCError) { try publisher.publish(value) }
}

/// One that gets a ``Latest``. One thread at a time may use it.
public struct LatestGetter<Value: BitwiseCopyable>: ~Copyable, @unchecked Sendable {
    // `@unchecked`: the value is one thread's at a time by its ownership.
    private var subscription: Subscription<Value>
    private var value: Value?
    /// As many messages as the log can hold: after so many, we are past all that was there when we began.
    private let bound: Int

    init(_ subscription: consuming Subscription<Value>) {
        bound = subscription.reader.capacity / LogLayout.Frame.size(payload: MemoryLayout<Value>.size)
        self.subscription = subscription
    }

    /// The newest value, at least as new as this call; nil before the first. Does not block.
    public mutating func get() throws(IPCError) -> Value? {
        for _ in 0...bound {
            guard let newer = try subscription.tryReceive() else { break }
            value = newer
        }
        return value
    }

    /// Waits for a value that is newer than the last one that was got, and gets the newest.
    ///
    /// - Throws: ``IPC/IPCError/Code/timedOut``.
    public mutating func next(until deadline: Deadline = .never) throws(IPCError) -> Value {
        let next = try subscription.receive(until: deadline)
        value = next
        return try get() ?? next
    }
}
