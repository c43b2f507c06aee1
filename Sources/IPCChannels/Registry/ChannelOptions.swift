public import SystemPackage

/// What is asked of a channel when it is created or opened. What is nil is not asked for: a new channel then has the default of
/// its pattern, and an existing one may have any value. What it has is in ``ChannelAttributes``.
public struct ChannelOptions: Hashable, Sendable {
    /// How many writers there may be.
    public enum Writers: Hashable, Sendable {
        /// One at a time; this is the fastest. A second one is refused while the first is alive.
        case exclusive
        /// Many processes at once.
        case shared
    }

    /// What a writer does when a reader is a whole log behind.
    public enum Overflow: Hashable, Sendable {
        /// It waits or fails, as each call specifies: no message is lost.
        case block
        /// It overwrites the oldest messages. The reader learns how many it missed.
        case overwrite
    }

    /// What happens to the channel when it is no longer used.
    public enum Lifetime: Hashable, Sendable {
        /// It is removed with its last participant.
        case whileUsed
        /// It stays until it is removed.
        case kept
    }

    /// Whether messages survive a crash of the machine, as far as its disk does.
    ///
    /// A durable channel is a log in files, in a folder of your choice (``ChannelRoot``) that should be on a disk. It is always
    /// kept. Each message has a checksum. The first participant to join checks all messages: an incomplete one and everything
    /// after it are discarded.
    public enum Durability: Hashable, Sendable {
        /// It lives in memory. Messages survive the death of every process, but not of the machine.
        case none
        /// `sync()` returns when everything published before the call is on disk.
        case syncedWhenAsked
        /// As if `sync()` were called each time this many bytes have been published.
        case syncedEvery(bytes: Int)
        /// As if `sync()` were called after each message.
        public static var syncedEachMessage: Durability { .syncedEvery(bytes: 1) }
    }

    /// Nil for the pattern's own: exclusive for a topic, shared for a work queue.
    public var writers: Writers?
    /// Nil for ``Overflow/block``.
    public var overflow: Overflow?
    /// Nil for the pattern's own: kept for a work queue and a durable channel, otherwise ``Lifetime/whileUsed``.
    public var lifetime: Lifetime?
    /// Nil for ``Durability/none``.
    public var durability: Durability?
    /// The size of the log in bytes, rounded up to a power of two of at least 64 KiB; nil for 1 MiB. A message may take up to
    /// half of it. A larger log can be faster. Four times the private cache of a core may double the message rate: a writer gets
    /// lines that the reader's core still holds more slowly than evicted ones. Between cores that share no cache, large messages
    /// are several times faster through a log of twice the caches' size: the reader then fetches them from memory, not line by
    /// line from the writer's cache.
    public var capacity: Int?
    /// The maximum number of readers and of writers at a time; at most 1024 each. Nil for 64.
    public var maximumReaders: Int?
    public var maximumWriters: Int?
    /// Who may use the channel, as a reader or as a writer: every participant writes to its files. Nil for 0600. A user who may
    /// only read them can observe a topic or a latest value (``Topic/makeObserver(from:waiting:)``). Independent of the umask. In a
    /// root for a group (``ChannelRoot``) with 0660, the files belong to the group.
    public var permissions: FilePermissions?
    /// For a topic or a latest value: who may subscribe or get, but not write, as for `chmod`: 0060 for the group, 0006 for
    /// everybody. Such a *guest* may read the files, and write nothing but its own cursor, which causes back-pressure unless
    /// the channel overwrites. It can neither damage a message nor prevent others from joining (`Documentation/roles.md`).
    /// Nobody if nil or empty. 0040 is the same as 0060. Permissions for the owner, to write without reading, or for users who
    /// may write to the channel through ``permissions`` are refused (``/IPC/IPCError/Code/invalidArgument``).
    ///
    /// Nothing changes for users who may write to the channel (``permissions``), except that all of them must be in one IPC
    /// namespace.
    public var subscriberPermissions: FilePermissions?
    /// For a work queue.
    var maximumAttempts: Int?
    var backoff: RetryBackoff?
    /// For a service; nil for no limit.
    var maximumWaiting: Int?

    public init(
        writers: Writers? = nil, overflow: Overflow? = nil, lifetime: Lifetime? = nil, durability: Durability? = nil,
        capacity: Int? = nil, maximumReaders: Int? = nil, maximumWriters: Int? = nil,
        permissions: FilePermissions? = nil, subscriberPermissions: FilePermissions? = nil
    ) {
        self.writers = writers
        self.overflow = overflow
        self.lifetime = lifetime
        self.durability = durability
        self.capacity = capacity
        self.maximumReaders = maximumReaders
        self.maximumWriters = maximumWriters
        self.permissions = permissions
        self.subscriberPermissions = subscriberPermissions
    }
}
