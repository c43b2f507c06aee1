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

    public var writers: Writers
    public var overflow: Overflow
    public var lifetime: Lifetime
    /// Bytes of the log, rounded up to a power of two of at least 64 KiB. A message may take up to half of it.
    public var capacity: Int
    /// How many readers and writers there may be at once; at most 1024 of each.
    public var maximumReaders: Int
    public var maximumWriters: Int
    /// Who may use it, readers as well as writers: a participant writes to its files.
    public var permissions: FilePermissions

    public init(
        writers: Writers = .exclusive, overflow: Overflow = .block, lifetime: Lifetime = .whileUsed,
        capacity: Int = 1 << 20, maximumReaders: Int = 64, maximumWriters: Int = 64,
        permissions: FilePermissions = .ownerReadWrite
    ) {
        self.writers = writers
        self.overflow = overflow
        self.lifetime = lifetime
        self.capacity = capacity
        self.maximumReaders = maximumReaders
        self.maximumWriters = maximumWriters
        self.permissions = permissions
    }
}
