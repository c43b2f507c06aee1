public import IPC
public import SystemPackage

/// A channel of which only the newest value counts: a position, a temperature, a configuration.
///
/// ```swift
/// struct Pose: BitwiseCopyable { var x = 0.0, y = 0.0, angle = 0.0 }
///
/// // One process:
/// var setter = try Latest<Pose>.create("robot/pose").makeSetter()
/// try setter.set(Pose(x: 1))
/// // Any number of others:
/// var getter = try Latest<Pose>.create("robot/pose").makeGetter()
/// let pose = try getter.get()              // nil before the first
/// let next = try getter.next(until: .after(.seconds(1)))
/// ```
///
/// Setting never waits for a reader, however slow or dead, and getting never waits for a writer: a value that is being
/// written is not there yet. The last whole value stays when its writer dies. It is a topic that overwrites, whose readers
/// pass over all but the newest message.
///
/// `Value` is a `BitwiseCopyable` type without pointers, or ``RawBytes``.
public struct Latest<Value>: Sendable {
    /// Such as `robot/pose`.
    public var name: ChannelName { channel.name }
    private let channel: Channel

    init(
        _ name: String, in root: ChannelRoot, _ type: MessageType, _ options: ChannelOptions?,
        _ policy: CreationPolicy
    ) throws(IPCError) {
        channel = try Channel(name, in: root, .latest, type, options, policy)
    }

    init(_ channel: Channel) { self.channel = channel }

    /// One of bytes without a name, on the descriptors of its files; they have to stay open while it is used.
    package init(bytesOn descriptors: ChannelDescriptors) throws(IPCError) where Value == RawBytes {
        channel = try Channel(on: descriptors, .latest, .bytes)
    }

    /// Joins as one that sets the value.
    public func makeSetter() throws(IPCError) -> LatestSetter<Value> {
        LatestSetter(try LogWriter(channel.join(.writer)))
    }

    /// Joins as one that gets the value: as a guest if this user may not write to the channel, and it takes guests.
    public func makeGetter(waiting: Waiting = .sleeping()) throws(IPCError) -> LatestGetter<Value> {
        LatestGetter(
            Subscription(try LogReader(channel.joinAsReader(), from: .last(1)), waiting, channel.type.checks))
    }

    /// Looks at the value without taking part, which takes permission to read the channel's files, and no more.
    ///
    /// - Throws: ``IPC/IPCError/Code/notFound`` if nobody uses it any more; ``IPC/IPCError/Code/permissionDenied``.
    public func observe(waiting: Waiting = .sleeping()) throws(IPCError) -> LatestObserver<Value> {
        let reader = try LogReader(observing: channel.observe(), from: .last(1))
        return LatestObserver(LatestGetter(Subscription(reader, waiting, channel.type.checks)))
    }

    /// Removes it, whoever uses it.
    public static func remove(_ name: String, in root: ChannelRoot = .current) throws(IPCError) {
        try Channel.remove(name, in: root)
    }
}

/// What a ``Latest`` is like; decided by who creates it.
public struct LatestOptions: Hashable, Sendable {
    /// Whether several may set it at the same time.
    public var writers = ChannelOptions.Writers.exclusive
    /// Whether the value goes with the last participant.
    public var lifetime = ChannelOptions.Lifetime.whileUsed
    /// Bytes of its log, rounded up to a power of two of at least 64 KiB. Four of the largest values should fit.
    public var capacity = 65_536
    /// How many may get it at once; at most 1024.
    public var maximumReaders = 64
    /// Who may use it, getters as well as setters: a participant writes to its files. Who may only read them can observe it
    /// (``Latest/observe(waiting:)``). Set whatever the umask is.
    public var permissions = FilePermissions.ownerReadWrite
    /// Who may get it, but not set it: ``ChannelOptions/subscriberPermissions``.
    public var subscriberPermissions: FilePermissions = []

    public init() {}

    /// - Parameter size: Bytes of a value.
    func channel(size: Int) -> ChannelOptions {
        var options = ChannelOptions(
            writers: writers, overflow: .overwrite, lifetime: lifetime,
            capacity: max(capacity, 4 * LogLayout.Frame.size(payload: size)), maximumReaders: maximumReaders,
            permissions: permissions)
        options.subscriberPermissions = subscriberPermissions
        return options
    }
}

extension Latest where Value: BitwiseCopyable {
    /// Creates it, or opens it if it exists; then its own options hold.
    ///
    /// - Throws: As ``Topic/create(_:_:_:)``.
    public static func create(
        _ name: String, in root: ChannelRoot = .current, _ options: LatestOptions = LatestOptions(),
        _ policy: CreationPolicy = .openExisting
    ) throws(IPCError) -> Latest {
        try Latest(name, in: root, MessageType.of(Value.self), options.channel(size: MemoryLayout<Value>.size), policy)
    }

    /// Opens one that exists.
    public static func open(_ name: String, in root: ChannelRoot = .current) throws(IPCError) -> Latest {
        try Latest(name, in: root, MessageType.of(Value.self), nil, .openExisting)
    }
}

extension Latest where Value == RawBytes {
    /// Creates one of bytes, or opens it if it exists; then its own options hold.
    public static func create(
        _ name: String, in root: ChannelRoot = .current, _ options: LatestOptions = LatestOptions(),
        _ policy: CreationPolicy = .openExisting
    ) throws(IPCError) -> Latest {
        try Latest(name, in: root, .bytes, options.channel(size: 0), policy)
    }

    /// Opens one of bytes that exists.
    public static func open(_ name: String, in root: ChannelRoot = .current) throws(IPCError) -> Latest {
        try Latest(name, in: root, .bytes, nil, .openExisting)
    }
}
