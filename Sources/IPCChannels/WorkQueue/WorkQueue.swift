public import IPC

/// A channel whose every message goes to exactly one worker, which acknowledges it.
///
/// ```swift
/// struct Order: BitwiseCopyable { var number: UInt32 }
///
/// // Any number of processes:
/// var producer = try WorkQueue<Order>.create("orders").makeProducer()
/// try producer.send(Order(number: 7))
/// // Any number of others:
/// var worker = try WorkQueue<Order>.create("orders").makeWorker()
/// let job = try worker.next(until: .after(.seconds(1)))
/// ship(job.message)
/// try job.acknowledge()
/// ```
///
/// Work whose worker dies, or rejects it, or lets go of it, goes to another worker, with its attempt counted. What is
/// acknowledged is never handed out again: an acknowledgement is one store. Handed out as often as the queue's creator allows, it
/// goes to the dead-letter queue, ``deadLetters()``, instead.
///
/// A slow worker holds nobody up: what it has is set aside when others need the room behind it. Producers wait, or fail as their call
/// says, while the log is full of work that is not done. Work comes in the order in which it was sent, but for what was given back or
/// sent for later.
///
/// `Message` is a `BitwiseCopyable` type without pointers, or ``RawBytes``.
public struct WorkQueue<Message>: Sendable {
    /// Such as `orders`.
    public var name: ChannelName { channel.name }
    let channel: Channel

    /// What a queue is created with where nothing is said.
    public static var defaultOptions: ChannelOptions { ChannelOptions(writers: .shared, lifetime: .kept) }

    init(
        _ name: String, in root: ChannelRoot, _ type: MessageType, _ options: ChannelOptions?, _ retries: PolicyWish,
        _ policy: CreationPolicy
    ) throws(IPCError) {
        guard options?.overflow != .overwrite else {
            throw IPCError(
                .invalidArgument, "create queue", name, advice: "a work queue loses nothing: it cannot overwrite")
        }
        try retries.check(name)
        try Self.checkDeadLetters(name, in: root, type)
        channel = try Channel(
            name, in: root, .workQueue, type, Self.options(options, name, retries), policy, retries)
    }

    init(_ channel: Channel) { self.channel = channel }

    /// Dead letters have no attempts of their own, by whatever name they are made.
    static func options(_ options: ChannelOptions?, _ name: String, _ retries: PolicyWish) -> ChannelOptions? {
        var options = options
        options?.retries = name.hasSuffix(lettersSuffix) ? .unlimited : retries.policy
        return options
    }

    /// One of bytes without a name, on the descriptors of its files; they have to stay open while it is used.
    package init(bytesOn descriptors: ChannelDescriptors) throws(IPCError) where Message == RawBytes {
        channel = try Channel(on: descriptors, .workQueue, .bytes)
    }

    /// The bytes of each message; nil if they vary.
    var messageSize: Int? { channel.type == .bytes ? nil : channel.type.size }
    /// Nil if all bytes of that count are a message.
    var checks: MessageChecks? { channel.type.checks }

    /// The queue of what was handed out too often: `NAME/dead-letters`. It is kept until it is removed. What is rejected there comes again,
    /// however often. When it is full, its oldest letters make room for new ones.
    public func deadLetters() throws(IPCError) -> WorkQueue {
        var options = try channel.creatorsOptions()
        options.lifetime = .kept
        options.retries = .unlimited
        guard case .root(let root) = channel.place else {
            throw IPCError(.unsupported, "dead letters", name.description, advice: "the queue has no name")
        }
        let letters = try Channel(
            name.description + Self.lettersSuffix, in: root, .workQueue, channel.type, options, .openExisting)
        return WorkQueue(letters)
    }

    func join() throws(IPCError) -> Membership { try channel.join(.reader, logAccess: .readWrite) }

    /// Joins as a producer.
    public func makeProducer() throws(IPCError) -> Producer<Message> { Producer(try LogWriter(channel.join(.writer))) }

    /// Joins as a worker.
    public func makeWorker(waiting: Waiting = .sleeping()) throws(IPCError) -> Worker<Message> {
        Worker(try join(), self, waiting)
    }

    /// Removes a queue and what is in it; its dead letters stay.
    public static func remove(_ name: String, in root: ChannelRoot = .current) throws(IPCError) {
        try Channel.remove(name, in: root)
    }
}

extension WorkQueue where Message: BitwiseCopyable {
    /// Creates a queue of values, or opens it if it exists; then its own options hold.
    ///
    /// - Parameters:
    ///   - root: The folder of channels.
    ///   - options: As for a topic; a queue never overwrites.
    ///   - maximumAttempts: After so many, work goes to the dead letters: 1 to 32,766; 5 if nothing is said.
    ///   - backoff: When rejected work comes again; at once if nothing is said.
    /// - Throws: As ``Topic/create(_:_:_:)``; ``IPC/IPCError/Code/invalidArgument`` if it exists with another maximum or backoff than
    ///   is asked for here.
    public static func create(
        _ name: String, in root: ChannelRoot = .current, _ options: ChannelOptions = defaultOptions,
        maximumAttempts: Int? = nil, backoff: RetryBackoff? = nil, _ policy: CreationPolicy = .openExisting
    ) throws(IPCError) -> WorkQueue {
        try WorkQueue(
            name, in: root, MessageType.of(Message.self), options,
            PolicyWish(maximumAttempts: maximumAttempts, backoff: backoff), policy)
    }

    /// Opens a queue of values that exists.
    public static func open(_ name: String, in root: ChannelRoot = .current) throws(IPCError) -> WorkQueue {
        try WorkQueue(name, in: root, MessageType.of(Message.self), nil, PolicyWish(), .openExisting)
    }
}

extension WorkQueue where Message == RawBytes {
    /// Creates a queue of bytes, or opens it if it exists; then its own options hold.
    public static func create(
        _ name: String, in root: ChannelRoot = .current, _ options: ChannelOptions = defaultOptions,
        maximumAttempts: Int? = nil, backoff: RetryBackoff? = nil, _ policy: CreationPolicy = .openExisting
    ) throws(IPCError) -> WorkQueue {
        try WorkQueue(
            name, in: root, .bytes, options, PolicyWish(maximumAttempts: maximumAttempts, backoff: backoff), policy)
    }

    /// Opens a queue of bytes that exists.
    public static func open(_ name: String, in root: ChannelRoot = .current) throws(IPCError) -> WorkQueue {
        try WorkQueue(name, in: root, .bytes, nil, PolicyWish(), .openExisting)
    }
}
