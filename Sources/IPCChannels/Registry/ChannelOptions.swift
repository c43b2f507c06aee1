public import SystemPackage

/// What a channel is like; decided by who creates it.
public struct ChannelOptions: Hashable, Sendable {
    /// Who may write.
    public enum Writers: Hashable, Sendable {
        /// One at a time: fastest. A second one is refused while the first lives.
        case exclusive
        /// Many processes at once.
        case shared
    }

    /// What a writer does when a reader is a whole log behind.
    public enum Overflow: Hashable, Sendable {
        /// It waits, or fails, as its call says: no message is lost.
        case block
        /// It overwrites the oldest. The reader is told how many it missed.
        case overwrite
    }

    /// What becomes of the channel when nobody uses it any more.
    public enum Lifetime: Hashable, Sendable {
        /// It goes with its last participant.
        case whileUsed
        /// It stays until it is removed.
        case kept
    }

    /// Whether the messages outlive the machine's crash, as far as its disk does.
    ///
    /// A durable channel is a log in files, in a folder of your choice (``ChannelRoot``) that should be on a disk. It is
    /// always kept. Each message has a checksum; whoever joins first looks at all, and cuts what was not wholly written.
    public enum Durability: Hashable, Sendable {
        /// It lives in memory. Messages survive the death of every process, but not that of the machine.
        case none
        /// What is published before a call of `sync()` is on the disk when that returns.
        case syncedWhenAsked
        /// As if `sync()` was called whenever so many bytes were published since.
        case syncedEvery(bytes: Int)
        /// As if `sync()` was called after each message.
        public static var syncedEachMessage: Durability { .syncedEvery(bytes: 1) }
    }

    public var writers: Writers
    public var overflow: Overflow
    public var lifetime: Lifetime
    public var durability: Durability
    /// Bytes of the log, rounded up to a power of two of at least 64 KiB. A message may take up to half of it. Where more
    /// memory can be spared, four times a core's own cache may double the messages per second: a writer gets lines that the
    /// reader's core still holds more slowly than those that it has let go of. Between cores that share no cache, large messages go
    /// several times as fast through a log of twice their caches: the reader gets them from memory then, and not line by line from
    /// the writer's cache.
    public var capacity: Int
    /// How many readers and writers there may be at once; at most 1024 of each.
    public var maximumReaders: Int
    public var maximumWriters: Int
    /// Who may use it, readers as well as writers: a participant writes to its files. Who may only read them can observe a topic or a
    /// latest value (``Topic/observe(from:waiting:)``). Set whatever the umask is. In a root for a group (``ChannelRoot``) with 0660,
    /// the files are the group's.
    public var permissions: FilePermissions
    /// Of a topic and a latest value: who may subscribe, or get it, but not write to it, as for `chmod`: 0060 for the group, 0006 for
    /// everybody. Such a *guest* may read the files, and write nothing but its own cursor, which holds writers back where the channel
    /// does not overwrite. It cannot damage a message, nor keep others from joining (`Documentation/roles.md`). Nobody if it is empty.
    ///
    /// For those who may write to the channel (``permissions``) nothing changes; all of them have to be in one IPC namespace.
    public var subscriberPermissions: FilePermissions = []
    /// Of a work queue.
    var retries = RetryPolicy()
    /// Of a service; nil for no limit.
    var maximumWaiting: Int?

    public init(
        writers: Writers = .exclusive, overflow: Overflow = .block, lifetime: Lifetime = .whileUsed,
        durability: Durability = .none, capacity: Int = 1 << 20, maximumReaders: Int = 64, maximumWriters: Int = 64,
        permissions: FilePermissions = .ownerReadWrite
    ) {
        self.writers = writers
        self.overflow = overflow
        self.lifetime = lifetime
        self.durability = durability
        self.capacity = capacity
        self.maximumReaders = maximumReaders
        self.maximumWriters = maximumWriters
        self.permissions = permissions
    }
}
