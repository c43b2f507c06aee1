public import IPC

/// Messages that are bytes, of any length up to half the log.
public enum RawBytes: Sendable {}

/// A channel that delivers every message to every subscriber.
///
/// ```swift
/// struct Quote: BitwiseCopyable { var symbol: UInt32; var price: Double }
///
/// // One process:
/// var publisher = try Topic<Quote>.openOrCreate("market/quotes").makePublisher()
/// try publisher.publish(Quote(symbol: 7, price: 12.5))
/// // Any number of others:
/// var quotes = try Topic<Quote>.openOrCreate("market/quotes").makeSubscription()
/// let quote = try quotes.receive(until: .after(.seconds(1)))
/// ```
///
/// `Message` is a `BitwiseCopyable` type without pointers, ``RawBytes``, ``Framed``, or ``Coded``.
///
/// Two programs, in whatever language, have the same type if it has the same schema (``MessageSchema``): its name without the module,
/// or the one that it says (``NamedMessage``), the names, kinds and offsets of all fields, including nested ones, and the cases of all
/// enumerations in it with their order and raw values. Otherwise the second program gets ``/IPC/IPCError/Code/wrongType``, with the
/// first difference. A program that reads may know fewer fields: ``SchemaCompatibility``. An enumeration must not have associated values. It may be optional, in a
/// tuple, or in an `InlineArray`. The names come from reflection metadata: the type is refused in a program built without it.
///
/// Bytes from shared memory are checked before they become a value. A `Bool` that is neither 0 nor 1, an enumeration value that
/// is none of its cases, a `Unicode.Scalar` that is a surrogate, and an optional that is neither nil nor a value throw
/// ``/IPC/IPCError/Code/corrupted``; the error names the field and its content. Types without such fields pay nothing for the
/// check. Check any further rules of your own types yourself: a process that may write to the channel may send any value of
/// their fields.
///
/// Publishers and subscriptions are participants. Each belongs to one thread at a time. It ends when it goes out of scope or
/// when its process ends, in whatever way. What a dead participant held back continues without intervention.
///
/// | | `overflow: .block` | `.overwrite` |
/// |---|---|---|
/// | a slow subscriber | causes back-pressure on the publishers | misses the oldest messages, and learns how many |
/// | a dead subscriber | is detected by the waiting publisher | has no effect |
/// | a dead publisher | its published messages are received; an unfinished one is skipped | the same |
/// | a restart | with `lifetime: .kept`, continues where it was; otherwise starts anew with the first participant | the same |
public struct Topic<Message>: Sendable {
    /// Such as `market/quotes`.
    public var name: ChannelName { channel.name }
    private let channel: Channel

    init(
        _ name: String, in root: ChannelRoot, _ type: MessageType, _ opening: Channel.Opening,
        allowsPrefix: Bool = false
    ) throws(IPCError) {
        channel = try Channel(name, in: root, .topic, type, opening, allowsPrefix: allowsPrefix)
    }

    /// The names of the fields that the topic's messages have beyond those of `Message`; none unless it was opened with
    /// ``SchemaCompatibility/prefix``.
    ///
    /// - Throws: ``/IPC/IPCError/Code/notFound`` if the topic does not exist any more; ``/IPC/IPCError/Code/corrupted``.
    public var additionalFields: [String] { get throws(IPCError) { try channel.additionalFields() } }

    init(_ channel: Channel) { self.channel = channel }

    /// An unnamed topic on the descriptors of its files. They must stay open while it is used.
    package init(bytesOn descriptors: ChannelDescriptors) throws(IPCError) where Message == RawBytes {
        channel = try Channel(on: descriptors, .topic, .bytes)
    }

    /// Joins as a publisher, with a slot and a lock of its own.
    ///
    /// - Throws: ``/IPC/IPCError/Code/addressInUse`` if the topic has an exclusive publisher that is alive;
    ///   ``/IPC/IPCError/Code/limitReached`` if all publisher slots are taken.
    public func makePublisher() throws(IPCError) -> Topic<Message>.Publisher {
        Publisher(try LogWriter(channel.join(.writer)))
    }

    /// Joins as a subscriber. If this user may not write to the channel but the channel accepts guests
    /// (``ChannelOptions/subscriberPermissions``), it joins as a guest.
    ///
    /// - Parameters:
    ///   - start: The first message to receive.
    ///   - waiting: How the ``Topic/Subscription`` waits.
    /// - Throws: ``/IPC/IPCError/Code/limitReached`` if all subscriber slots are taken; for a guest also
    ///   ``/IPC/IPCError/Code/notReady`` if the topic has no participant that may write to it.
    public func makeSubscription(
        from start: SubscriptionStart = .next, waiting: WaitStrategy = .sleeping()
    ) throws(IPCError) -> Topic<Message>.Subscription {
        let reader = try LogReader(channel.joinAsReader(), from: start)
        let wholeByteCount = try channel.wholeByteCount(reader.memory)
        return Subscription(reader, waiting, channel.type.checks, wholeByteCount: wholeByteCount)
    }

    /// Observes the topic without joining. Needs only read permission for the channel's files.
    ///
    /// - Parameters:
    ///   - start: The first message to receive.
    ///   - waiting: How the ``Topic/Observer`` waits.
    /// - Throws: ``/IPC/IPCError/Code/notFound`` if the topic does not exist; ``/IPC/IPCError/Code/permissionDenied``.
    public func makeObserver(
        from start: SubscriptionStart = .next, waiting: WaitStrategy = .sleeping()
    ) throws(IPCError) -> Topic<Message>.Observer {
        let reader = try LogReader(observing: channel.observe(), from: start)
        let wholeByteCount = try channel.wholeByteCount(reader.memory)
        return Observer(Subscription(reader, waiting, channel.type.checks, wholeByteCount: wholeByteCount))
    }

    /// Removes a topic, even while it is in use. Its participants still receive what was published; their next wait throws
    /// ``/IPC/IPCError/Code/removed``. New participants get a new topic.
    public static func remove(_ name: String, in root: ChannelRoot = .current) throws(IPCError) {
        try Channel.remove(name, in: root)
    }
}
