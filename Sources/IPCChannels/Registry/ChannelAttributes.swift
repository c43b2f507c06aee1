public import SystemPackage

/// What a channel was created with, as ``ChannelDescription`` tells. Each means what it means in ``ChannelOptions``.
public struct ChannelAttributes: Hashable, Sendable {
    public internal(set) var writers = ChannelOptions.Writers.exclusive
    public internal(set) var overflow = ChannelOptions.Overflow.block
    public internal(set) var lifetime = ChannelOptions.Lifetime.whileUsed
    public internal(set) var durability = ChannelOptions.Durability.none
    /// The size of the log in bytes, a power of two.
    public internal(set) var capacity = 1 << 20
    public internal(set) var maximumReaders = 64
    public internal(set) var maximumWriters = 64
    public internal(set) var permissions = FilePermissions.ownerReadWrite
    public internal(set) var subscriberPermissions: FilePermissions = []
    /// For a work queue.
    var retries = RetryPolicy()
    /// For a service; nil for no limit.
    var maximumWaiting: Int?

    init() {}

    /// A new channel's: what the options ask for, and for the rest what is usual for its pattern.
    init(_ options: ChannelOptions, or usual: ChannelAttributes) {
        self = usual
        if let writers = options.writers { self.writers = writers }
        if let overflow = options.overflow { self.overflow = overflow }
        if let durability = options.durability { self.durability = durability }
        if let lifetime = options.lifetime { self.lifetime = lifetime } else if durability != .none { lifetime = .kept }
        if let capacity = options.capacity { self.capacity = Self.roundedCapacity(capacity) }
        if let maximumReaders = options.maximumReaders { self.maximumReaders = maximumReaders }
        if let maximumWriters = options.maximumWriters { self.maximumWriters = maximumWriters }
        if let permissions = options.permissions { self.permissions = permissions }
        if let guests = options.subscriberPermissions { subscriberPermissions = guests }
        if let maximumAttempts = options.maximumAttempts { retries.maximumAttempts = maximumAttempts }
        if let backoff = options.backoff { retries.backoff = backoff }
        if let maximumWaiting = options.maximumWaiting { self.maximumWaiting = maximumWaiting }
    }

    /// What is usual for a pattern.
    static func usual(for pattern: ChannelPattern) -> ChannelAttributes {
        var usual = ChannelAttributes()
        switch pattern {
        case .topic: break
        case .workQueue: (usual.writers, usual.lifetime) = (.shared, .kept)
        // The log has four times what the calls of one client may take.
        case .service: (usual.writers, usual.capacity) = (.shared, 4 << 20)
        case .latest: (usual.overflow, usual.capacity) = (.overwrite, 65_536)
        // It carries no messages.
        case .event: (usual.capacity, usual.maximumWriters) = (65_536, 1)
        }
        return usual
    }

    /// A power of two, so that a mask maps a position to its place in the log.
    static func roundedCapacity(_ wanted: Int) -> Int {
        var capacity = 65_536
        while capacity < wanted { capacity *= 2 }
        return capacity
    }
}

extension ChannelOptions {
    /// The same channel, asked for in all respects.
    init(_ attributes: ChannelAttributes) {
        self.init(
            writers: attributes.writers, overflow: attributes.overflow, lifetime: attributes.lifetime,
            durability: attributes.durability, capacity: attributes.capacity,
            maximumReaders: attributes.maximumReaders, maximumWriters: attributes.maximumWriters,
            permissions: attributes.permissions, subscriberPermissions: attributes.subscriberPermissions)
        maximumAttempts = attributes.retries.maximumAttempts
        backoff = attributes.retries.backoff
        maximumWaiting = attributes.maximumWaiting
    }
}
