public import IPC
public import SystemPackage

/// A channel that delivers only the newest value: a position, a temperature, a configuration.
///
/// ```swift
/// struct Pose: BitwiseCopyable { var x = 0.0, y = 0.0, angle = 0.0 }
///
/// // One process:
/// var setter = try Latest<Pose>.openOrCreate("robot/pose").makeSetter()
/// try setter.set(Pose(x: 1))
/// // Any number of others:
/// var getter = try Latest<Pose>.openOrCreate("robot/pose").makeGetter()
/// let pose = try getter.get()              // nil before the first
/// let next = try getter.next(until: .after(.seconds(1)))
/// ```
///
/// Setting never waits for a reader, even a slow or dead one. Getting never waits for a writer: a value is invisible until it
/// is completely written. The last complete value stays when its writer dies. It is a topic that overwrites, whose readers skip
/// all but the newest message.
///
/// `Value` is a `BitwiseCopyable` type without pointers, ``RawBytes``, or ``Coded``.
public struct Latest<Value>: Sendable {
    /// Such as `robot/pose`.
    public var name: ChannelName { channel.name }
    private let channel: Channel

    init(
        _ name: String, in root: ChannelRoot, _ type: MessageType, _ opening: LatestOpening, allowsPrefix: Bool = false
    ) throws(IPCError) {
        channel = try Channel(
            name, in: root, .latest, type, opening.channel(type.size), usual: LatestOptions.usual(type.size),
            allowsPrefix: allowsPrefix)
    }

    /// The names of the fields that the channel's values have beyond those of `Value`; none unless it was opened with
    /// ``SchemaCompatibility/prefix``.
    ///
    /// - Throws: ``/IPC/IPCError/Code/notFound`` if the channel does not exist any more; ``/IPC/IPCError/Code/corrupted``.
    public var additionalFields: [String] { get throws(IPCError) { try channel.additionalFields() } }

    init(_ channel: Channel) { self.channel = channel }

    /// An unnamed latest value of bytes on the descriptors of its files. They must stay open while it is used.
    package init(bytesOn descriptors: ChannelDescriptors) throws(IPCError) where Value == RawBytes {
        channel = try Channel(on: descriptors, .latest, .bytes)
    }

    /// Joins as a setter.
    public func makeSetter() throws(IPCError) -> Latest<Value>.Setter {
        Setter(try LogWriter(channel.join(.writer)))
    }

    /// Joins as a getter. If this user may not write to the channel but the channel accepts guests, it joins as a guest.
    public func makeGetter(waiting: WaitStrategy = .sleeping()) throws(IPCError) -> Latest<Value>.Getter {
        try getter(LogReader(channel.joinAsReader(), from: .last(1)), waiting)
    }

    /// Observes the value without joining. Needs only read permission for the channel's files.
    ///
    /// - Throws: ``/IPC/IPCError/Code/notFound`` if the channel does not exist; ``/IPC/IPCError/Code/permissionDenied``.
    public func makeObserver(waiting: WaitStrategy = .sleeping()) throws(IPCError) -> Latest<Value>.Observer {
        Observer(try getter(LogReader(observing: channel.observe(), from: .last(1)), waiting))
    }

    private func getter(_ reader: consuming LogReader, _ waiting: WaitStrategy) throws(IPCError) -> Latest<Value>.Getter
    {
        let wholeByteCount = try channel.wholeByteCount(reader.memory)
        return Getter(
            Topic<Value>.Subscription(reader, waiting, channel.type.checks, wholeByteCount: wholeByteCount))
    }

    /// Removes the channel, even while it is in use.
    public static func remove(_ name: String, in root: ChannelRoot = .current) throws(IPCError) {
        try Channel.remove(name, in: root)
    }
}

/// What is asked of a ``Latest`` when it is created or opened. What is nil is not asked for: ``ChannelOptions``.
public struct LatestOptions: Hashable, Sendable {
    /// Whether several processes may set the value at the same time; nil for ``ChannelOptions/Writers/exclusive``.
    public var writers: ChannelOptions.Writers?
    /// Whether the value ends with the last participant; nil for ``ChannelOptions/Lifetime/whileUsed``.
    public var lifetime: ChannelOptions.Lifetime?
    /// The size of the log in bytes, rounded up to a power of two of at least 64 KiB and four values; nil for the smallest.
    public var capacity: Int?
    /// The maximum number of getters at a time; at most 1024. Nil for 64.
    public var maximumReaders: Int?
    /// Who may use it, as a getter or as a setter: every participant writes to its files. Nil for 0600. A user who may only
    /// read them can observe it (``Latest/makeObserver(waiting:)``). Independent of the umask.
    public var permissions: FilePermissions?
    /// Who may get the value, but not set it: ``ChannelOptions/subscriberPermissions``.
    public var subscriberPermissions: FilePermissions?

    public init(
        writers: ChannelOptions.Writers? = nil, lifetime: ChannelOptions.Lifetime? = nil, capacity: Int? = nil,
        maximumReaders: Int? = nil, permissions: FilePermissions? = nil, subscriberPermissions: FilePermissions? = nil
    ) {
        self.writers = writers
        self.lifetime = lifetime
        self.capacity = capacity
        self.maximumReaders = maximumReaders
        self.permissions = permissions
        self.subscriberPermissions = subscriberPermissions
    }

    /// - Parameter size: The size of a value in bytes.
    func channel(_ size: Int) -> ChannelOptions {
        ChannelOptions(
            writers: writers, lifetime: lifetime,
            // An invalid capacity is refused later; it must not become the minimum here.
            capacity: capacity.map { $0 > 0 ? max($0, Self.leastCapacity(size)) : $0 },
            maximumReaders: maximumReaders, permissions: permissions, subscriberPermissions: subscriberPermissions)
    }

    static func usual(_ size: Int) -> ChannelAttributes {
        var usual = ChannelAttributes.usual(for: .latest)
        usual.capacity = ChannelAttributes.roundedCapacity(leastCapacity(size))
        return usual
    }

    private static func leastCapacity(_ size: Int) -> Int { 4 * LogLayout.Frame.size(payload: size) }
}

/// ``Channel/Opening``, with the options of a latest value.
enum LatestOpening {
    case create(LatestOptions)
    case open
    case openOrCreate(LatestOptions)

    /// - Parameter size: The size of a value in bytes.
    func channel(_ size: Int) -> Channel.Opening {
        switch self {
        case .create(let options): .create(options.channel(size))
        case .open: .open
        case .openOrCreate(let options): .openOrCreate(options.channel(size))
        }
    }
}
