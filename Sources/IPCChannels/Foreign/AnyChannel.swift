public import IPC

/// A channel of whatever pattern and type, used as bytes: for programs that know a channel only by its name, such as tools,
/// bindings for other languages, and bridges to other machines.
///
/// ```swift
/// let channel = try AnyChannel.open("market/quotes")
/// print(channel.pattern, channel.messageType)
/// var reader = try channel.makeReader()
/// let message = try reader.receive(until: .after(.seconds(1)))
/// ```
///
/// Its participants are participants like any other, with the same guarantees. What they write has to be a value of the
/// channel's type: its size is checked here, its content by whoever reads it.
public struct AnyChannel: Sendable {
    let channel: Channel
    /// The channel's pattern, which decides what its reader and its writer can do.
    public let pattern: ChannelPattern
    /// Such as `market/quotes`.
    public var name: ChannelName { channel.name }
    /// What its messages consist of.
    public let schema: ChannelSchema
    /// The name of the message type, or `bytes`. For a service, all three of its types.
    public var messageType: String { channel.type.name }
    /// The size of each message in bytes, or of a service's requests; nil if it varies.
    public let messageSize: Int?
    /// The size of the header of each message in bytes.
    let headerSize: Int
    /// The sizes of a service's replies and failures in bytes; nil where they vary.
    let replySize, failureSize: Int?

    private init(_ channel: Channel, _ pattern: ChannelPattern, in root: ChannelRoot) throws(IPCError) {
        if pattern == .workQueue {
            try WorkQueue<RawBytes>.checkDeadLetters(channel.name.description, in: root, channel.type)
        }
        self.channel = channel
        self.pattern = pattern
        // A channel that was opened here has the schema of its type.
        schema = channel.type.schema ?? .messages(.bytes)
        // Kept, since every message that is written is held to them.
        let message = schema.message
        messageSize = message.isFixedSize ? message.byteCount : nil
        headerSize = if case .framed(let header) = message { header.byteCount } else { 0 }
        if case .calls(_, let reply, let failure) = schema {
            replySize = reply.isFixedSize ? reply.byteCount : nil
            failureSize = failure.isFixedSize ? failure.byteCount : nil
        } else {
            (replySize, failureSize) = (nil, nil)
        }
    }

    /// Opens a channel, with the pattern and the type that it has.
    ///
    /// - Throws: ``/IPC/IPCError/Code/notFound``; ``/IPC/IPCError/Code/permissionDenied``; ``/IPC/IPCError/Code/corrupted``.
    public static func open(_ name: String, in root: ChannelRoot = .current) throws(IPCError) -> AnyChannel {
        let pattern = try ChannelMemory(observing: ChannelName(name), in: .root(root)).pattern
        let channel = try Channel.ofAnyType(name, in: root, pattern, .open, hooks: pattern.hooks)
        return try AnyChannel(channel, pattern, in: root)
    }

    /// Opens a channel. Blocks the thread until it exists or the deadline passes.
    ///
    /// - Throws: ``/IPC/IPCError/Code/timedOut`` if it was not created before the deadline; ``/IPC/IPCError/Code/permissionDenied``;
    ///   ``/IPC/IPCError/Code/corrupted``.
    public static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) throws(IPCError) -> AnyChannel {
        try Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in try open(name, in: root) }
    }

    /// Opens a channel, suspended until it exists.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``.
    public nonisolated(nonsending) static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) async throws(IPCError) -> AnyChannel {
        try await Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in try open(name, in: root) }
    }

    /// Creates a channel of a schema, which must not exist. Without one it is of bytes; a service fails by a ``CommandFailure`` then.
    ///
    /// - Parameters: As for ``openOrCreate(_:_:in:_:defaults:schema:maximumAttempts:backoff:maximumWaiting:)``.
    /// - Throws: ``/IPC/IPCError/Code/alreadyExists``; ``/IPC/IPCError/Code/invalidArgument``, also for an option that has no effect on
    ///   the pattern; ``/IPC/IPCError/Code/permissionDenied``.
    public static func create(
        _ pattern: ChannelPattern, _ name: String, in root: ChannelRoot = .current,
        _ options: ChannelOptions = ChannelOptions(), defaults: ChannelOptions = ChannelOptions(),
        schema: ChannelSchema? = nil, maximumAttempts: Int? = nil, backoff: RetryBackoff? = nil,
        maximumWaiting: Int? = nil
    ) throws(IPCError) -> AnyChannel {
        var options = options.retrying(maximumAttempts, backoff)
        options.maximumWaiting = maximumWaiting
        try pattern.check(options, name)
        let schema = if let schema { schema } else { try pattern.usualSchema() }
        try pattern.check(schema, name)
        let usual = ChannelAttributes(defaults, or: pattern.usual(for: name, schema))
        try pattern.check(schema, capacity: ChannelAttributes(options, or: usual).capacity, name)
        let channel = try Channel(
            name, in: root, pattern, MessageType(schema), .create(options), usual: usual, hooks: pattern.hooks)
        return try AnyChannel(channel, pattern, in: root)
    }

    /// Opens a channel of whatever type, and creates one if there is none.
    ///
    /// - Parameters:
    ///   - pattern: Its pattern.
    ///   - name: Such as `market/quotes`.
    ///   - root: The folder of channels.
    ///   - options: What is asked of it, also if it exists. Neither a latest value nor a queue has all of them.
    ///   - defaults: What a new one has where `options` asks for nothing; where these do not say, what is usual for the pattern.
    ///   - schema: What its messages consist of; nil for bytes if it is new, and for whatever type if it exists.
    ///   - maximumAttempts: Of a work queue: as for ``WorkQueue``.
    ///   - backoff: Of a work queue: as for ``WorkQueue``.
    ///   - maximumWaiting: Of a service: as for ``ServiceOptions``.
    /// - Throws: ``/IPC/IPCError/Code/wrongType`` if it exists with another pattern, or another type than the schema's;
    ///   ``/IPC/IPCError/Code/incompatibleOptions``; ``/IPC/IPCError/Code/invalidArgument``, also for an option that has no effect on
    ///   the pattern; ``/IPC/IPCError/Code/permissionDenied``.
    public static func openOrCreate(
        _ pattern: ChannelPattern, _ name: String, in root: ChannelRoot = .current,
        _ options: ChannelOptions = ChannelOptions(), defaults: ChannelOptions = ChannelOptions(),
        schema: ChannelSchema? = nil, maximumAttempts: Int? = nil, backoff: RetryBackoff? = nil,
        maximumWaiting: Int? = nil
    ) throws(IPCError) -> AnyChannel {
        let usual = ChannelAttributes(defaults, or: pattern.usual(for: name, schema))
        var options = options.retrying(maximumAttempts, backoff)
        options.maximumWaiting = maximumWaiting
        try pattern.check(options, name)
        let opening = Channel.Opening.openOrCreate(options)
        let channel: Channel
        if let schema {
            try pattern.check(schema, name)
            channel = try Channel(
                name, in: root, pattern, MessageType(schema), opening, usual: usual, hooks: pattern.hooks)
        } else {
            channel = try Channel.ofAnyType(
                name, in: root, pattern, opening, usual: usual, usualType: MessageType(pattern.usualSchema()),
                hooks: pattern.hooks)
        }
        return try AnyChannel(channel, pattern, in: root)
    }

    /// Joins as a reader: a subscriber, a worker, a server, a getter, or a participant that waits.
    ///
    /// - Parameters:
    ///   - start: The first message to receive, of a topic.
    ///   - waiting: How it waits.
    /// - Throws: ``/IPC/IPCError/Code/limitReached`` if all slots are taken; ``/IPC/IPCError/Code/permissionDenied``.
    public func makeReader(
        from start: SubscriptionStart = .next, waiting: WaitStrategy = .sleeping()
    ) throws(IPCError) -> ChannelReader {
        switch pattern {
        case .topic:
            ChannelReader(
                self, subscription: try Topic<RawBytes>(channel).makeSubscription(from: start, waiting: waiting))
        case .latest: ChannelReader(self, getter: try Latest<RawBytes>(channel).makeGetter(waiting: waiting))
        case .workQueue: ChannelReader(self, worker: try WorkQueue<RawBytes>(channel).makeWorker(waiting: waiting))
        case .service: ChannelReader(self, server: try AnyService(channel).makeServer(waiting: waiting))
        case .event: ChannelReader(self, participant: try Event(channel).makeParticipant(waiting: waiting))
        }
    }

    /// Reads a topic or a latest value without joining: as ``Topic/Observer`` and ``Latest/Observer``.
    ///
    /// - Parameters:
    ///   - start: The first message to receive, of a topic.
    ///   - waiting: How it waits.
    /// - Throws: ``/IPC/IPCError/Code/wrongType`` for another pattern; ``/IPC/IPCError/Code/permissionDenied``.
    public func makeObserver(
        from start: SubscriptionStart = .next, waiting: WaitStrategy = .sleeping()
    ) throws(IPCError) -> ChannelReader {
        if pattern == .latest {
            let observer = try latest.makeObserver(waiting: waiting)
            return ChannelReader(self, getter: observer.getter)
        }
        let observer = try topic.makeObserver(from: start, waiting: waiting)
        return ChannelReader(self, subscription: observer.subscription)
    }

    /// Joins as a writer: a publisher, a producer, a client, a setter, or a participant that notifies.
    ///
    /// - Parameter waiting: How it waits for replies.
    /// - Throws: ``/IPC/IPCError/Code/limitReached`` if all slots are taken; ``/IPC/IPCError/Code/addressInUse`` if there may be
    ///   one writer only, and it is alive; ``/IPC/IPCError/Code/permissionDenied``.
    public func makeWriter(waiting: WaitStrategy = .sleeping()) throws(IPCError) -> ChannelWriter {
        switch pattern {
        case .topic: ChannelWriter(self, publisher: try Topic<RawBytes>(channel).makePublisher())
        case .latest: ChannelWriter(self, publisher: try Topic<RawBytes>.Publisher(LogWriter(channel.join(.writer))))
        case .workQueue: ChannelWriter(self, producer: try WorkQueue<RawBytes>(channel).makeProducer())
        case .service: ChannelWriter(self, client: try AnyService(channel).makeClient(waiting: waiting))
        case .event: ChannelWriter(self, participant: try Event(channel).makeParticipant())
        }
    }

    /// The error of a call that is not one of this pattern.
    func misused(_ operation: String) -> IPCError {
        let uses =
            switch pattern {
            case .topic, .latest: "receive from it, and write to it"
            case .workQueue: "take jobs from it, and write to it"
            case .service: "take calls from it, and call it"
            case .event: "wait for it, and notify"
            }
        return IPCError(.wrongType, operation, name.description, advice: "it is \(pattern.withArticle): \(uses)")
    }
}

/// A service whose types are not known here.
typealias AnyService = ServiceChannel<RawBytes, RawBytes, AnyFailure>

/// The bytes of whatever failure.
enum AnyFailure: Error, BitwiseCopyable {}

extension AnyService {
    init(_ channel: Channel) {
        self.init(channel, CallChecks(request: nil, reply: nil, failure: nil))
    }
}

extension ChannelPattern {
    /// What work needs: for channels of any pattern.
    fileprivate var hooks: (any LogHooks)? {
        switch self {
        case .topic, .latest, .event: nil
        case .workQueue: QueueHooks()
        case .service: ServiceHooks()
        }
    }

    fileprivate func usual(for name: String, _ schema: ChannelSchema?) -> ChannelAttributes {
        switch self {
        case .workQueue: WorkQueue<RawBytes>.usual(for: name)
        case .latest: LatestOptions.usual(schema?.message.byteCount ?? 0)
        case .topic, .service, .event: .usual(for: self)
        }
    }

    /// The type of a new channel of which nothing is known.
    fileprivate func usualSchema() throws(IPCError) -> ChannelSchema {
        guard self == .service else { return .messages(.bytes) }
        return .calls(request: .bytes, reply: .bytes, failure: try MessageSchema(of: CommandFailure.self))
    }

    /// Checks that each option that is given has an effect on a channel of this pattern, or is what it always is.
    fileprivate func check(_ options: ChannelOptions, _ name: String) throws(IPCError) {
        func refuse(_ option: String, unless hasEffect: Bool) throws(IPCError) {
            if hasEffect { return }
            throw IPCError(
                .invalidArgument, "open \(self)", name,
                advice: "\(withArticle) has no option \(option); leave it out")
        }
        let usual = ChannelAttributes.usual(for: self)
        if self == .service || self == .event {
            try refuse("writers", unless: options.writers ?? usual.writers == usual.writers)
        }
        if self != .topic, self != .workQueue {
            try refuse("overflow", unless: options.overflow ?? usual.overflow == usual.overflow)
            try refuse("durability", unless: options.durability ?? usual.durability == usual.durability)
        }
        if self == .event {
            try refuse("capacity", unless: options.capacity == nil)
            try refuse("maximumWriters", unless: options.maximumWriters == nil)
        }
        if self != .workQueue {
            try refuse("maximumAttempts", unless: options.maximumAttempts == nil)
            try refuse("backoff", unless: options.backoff == nil)
        }
        if self != .service { try refuse("maximumWaiting", unless: options.maximumWaiting == nil) }
    }
}
