public import IPC

/// Messages that are bytes, of any length up to half the log.
public enum RawBytes: Sendable {}

/// How a call waits for something that another process does.
public enum Waiting: Hashable, Sendable {
    /// Look all the time: least latency, at a core for each waiter. A task gives way to others of its thread now and then.
    case polling
    /// Look so often, some 64 at a time, and then sleep until woken; with 0, sleep at once. A task looks a few times only,
    /// since others wait for its thread.
    case sleeping(spins: Int = 2000)

    var spins: Int? {
        switch self {
        case .polling: nil
        case .sleeping(let spins): max(spins, 0)
        }
    }

    /// Where the count of a thread's looks begins. It may sleep after each 64th, and after the first if it is to look 0 times.
    ///
    /// - Parameter before: Those that were made.
    static func firstLook(_ spins: Int?, after before: Int = 0) -> Int { spins == 0 ? -1 : before }

    /// How often a task looks before others get its thread: for a microsecond or so, or, where it is to poll, for fifty.
    ///
    /// - Parameter spins: Nil to poll.
    static func looksOfTask(_ spins: Int?) -> Int { spins.map { $0 == 0 ? 0 : 64 } ?? 2048 }
}

/// A channel on which every subscriber gets every message.
///
/// ```swift
/// struct Quote: BitwiseCopyable { var symbol: UInt32; var price: Double }
///
/// // One process:
/// var publisher = try Topic<Quote>.create("market/quotes").makePublisher()
/// try publisher.publish(Quote(symbol: 7, price: 12.5))
/// // Any number of others:
/// var quotes = try Topic<Quote>.create("market/quotes").subscribe()
/// let quote = try quotes.receive(until: .after(.seconds(1)))
/// ```
///
/// `Message` is a `BitwiseCopyable` type without pointers, ``RawBytes``, or ``Coded``.
///
/// Two programs have the same type if it has the same name, and the same fields at the same places, down to the last, and if all
/// enumerations in it have the same cases in the same order, with the same raw values. Otherwise the second is refused with
/// ``IPC/IPCError/Code/wrongType``. An enumeration may have no associated values, but may be optional, in a tuple, or in an
/// `InlineArray`. The names are taken from the reflection metadata: a type of a program that was built without it is refused.
///
/// What comes from shared memory is checked before it is a value. A `Bool` that is neither 0 nor 1, an enumeration that is none of
/// its cases, a `Unicode.Scalar` that is a surrogate, and an optional that is neither nil nor a value are errors
/// (``IPC/IPCError/Code/corrupted``), which name the field and what is in it. Types without such fields cost nothing more. What a
/// type of your own asks of its fields beyond that is for you to check: whoever may write to the channel may send any of their
/// values.
///
/// Publishers and subscriptions are participants:
/// each belongs to one thread at a time, and ends when it goes out of scope, or with its process, however that ends. What
/// a dead one held back goes on by itself.
///
/// | | `overflow: .block` | `.overwrite` |
/// |---|---|---|
/// | a slow subscriber | holds the publishers back | misses the oldest, and is told how many |
/// | a dead subscriber | is noticed by the publisher that waits | does not matter |
/// | a dead publisher | all that it published is received; what it had begun is skipped | the same |
/// | a restart | with `lifetime: .kept`, all goes on where it was; else with the first participant anew | the same |
public struct Topic<Message>: Sendable {
    /// Such as `market/quotes`.
    public var name: ChannelName { channel.name }
    private let channel: Channel

    init(
        _ name: String, in root: ChannelRoot, _ type: MessageType, _ options: ChannelOptions?,
        _ policy: CreationPolicy
    ) throws(IPCError) {
        channel = try Channel(name, in: root, .topic, type, options, policy)
    }

    init(_ channel: Channel) { self.channel = channel }

    /// A topic without a name, on the descriptors of its files; they have to stay open while it is used.
    package init(bytesOn descriptors: ChannelDescriptors) throws(IPCError) where Message == RawBytes {
        channel = try Channel(on: descriptors, .topic, .bytes)
    }

    /// Joins as a publisher. It has a slot and a lock of its own.
    ///
    /// - Throws: ``IPC/IPCError/Code/addressInUse`` if the topic has an exclusive publisher that lives;
    ///   ``IPC/IPCError/Code/limitReached`` if it has as many as it may.
    public func makePublisher() throws(IPCError) -> Publisher<Message> {
        Publisher(try LogWriter(channel.join(.writer)))
    }

    /// Joins as a subscriber: as a guest if this user may not write to the channel, and it takes guests
    /// (``ChannelOptions/subscriberPermissions``).
    ///
    /// - Parameters:
    ///   - start: Which message is the first.
    ///   - waiting: How ``Subscription`` waits.
    /// - Throws: ``IPC/IPCError/Code/limitReached`` if there are as many as there may be; for a guest also
    ///   ``IPC/IPCError/Code/notReady`` if nobody else takes part.
    public func subscribe(
        from start: SubscriptionStart = .next, waiting: Waiting = .sleeping()
    ) throws(IPCError) -> Subscription<Message> {
        Subscription(try LogReader(channel.joinAsReader(), from: start), waiting, channel.type.checks)
    }

    /// Looks at it without taking part, which takes permission to read the channel's files, and no more.
    ///
    /// - Parameters:
    ///   - start: Which message is the first.
    ///   - waiting: How ``Observer`` waits.
    /// - Throws: ``IPC/IPCError/Code/notFound`` if nobody uses the topic any more; ``IPC/IPCError/Code/permissionDenied``.
    public func observe(
        from start: SubscriptionStart = .next, waiting: Waiting = .sleeping()
    ) throws(IPCError) -> Observer<Message> {
        Observer(Subscription(try LogReader(observing: channel.observe(), from: start), waiting, channel.type.checks))
    }

    /// Removes a topic, whoever uses it: what was published is still received, their next wait throws
    /// ``IPC/IPCError/Code/removed``, and new ones get a new topic.
    public static func remove(_ name: String, in root: ChannelRoot = .current) throws(IPCError) {
        try Channel.remove(name, in: root)
    }
}

extension Topic where Message: BitwiseCopyable {
    /// Creates a topic of values, or opens it if it exists; then its own options hold.
    ///
    /// - Parameter root: The folder of channels.
    /// - Throws: ``IPC/IPCError/Code/wrongType`` if the type holds an address, which is named, or if the topic carries
    ///   another type; ``IPC/IPCError/Code/noSpace``; ``IPC/IPCError/Code/alreadyExists`` by the policy.
    public static func create(
        _ name: String, in root: ChannelRoot = .current, _ options: ChannelOptions = ChannelOptions(),
        _ policy: CreationPolicy = .openExisting
    ) throws(IPCError) -> Topic {
        try Topic(name, in: root, MessageType.of(Message.self), options, policy)
    }

    /// Opens a topic of values that exists.
    public static func open(_ name: String, in root: ChannelRoot = .current) throws(IPCError) -> Topic {
        try Topic(name, in: root, MessageType.of(Message.self), nil, .openExisting)
    }
}

extension Topic where Message == RawBytes {
    /// Creates a topic of bytes, or opens it if it exists; then its own options hold.
    public static func create(
        _ name: String, in root: ChannelRoot = .current, _ options: ChannelOptions = ChannelOptions(),
        _ policy: CreationPolicy = .openExisting
    ) throws(IPCError) -> Topic {
        try Topic(name, in: root, .bytes, options, policy)
    }

    /// Opens a topic of bytes that exists.
    public static func open(_ name: String, in root: ChannelRoot = .current) throws(IPCError) -> Topic {
        try Topic(name, in: root, .bytes, nil, .openExisting)
    }
}
