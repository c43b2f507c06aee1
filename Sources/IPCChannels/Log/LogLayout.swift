/// The layout of a channel's files: where each field is and who writes it. All layout arithmetic is here;
/// `Documentation/log-format.md` describes the same for other languages.
///
/// All numbers are in the machine's byte order. A position is a count of bytes since the channel was created; it never wraps.
@usableFromInline
enum LogLayout {
    /// "SWIFTIPC" in ASCII, read as a little-endian number.
    static let magic: UInt64 = 0x4350_4954_4649_5753
    static let version: UInt32 = 8

    /// Written once, before any other process sees the channel.
    enum Fixed {
        static let magic = 0  // UInt64
        static let version = 8  // UInt32
        static let pattern = 12  // UInt32
        static let key = 16  // UInt64, its highest bit set
        static let capacity = 24  // UInt64, the size of `log`
        static let readerSlots = 32  // UInt32
        static let writerSlots = 36  // UInt32
        static let flags = 40  // UInt32
        static let guestSlots = 44  // UInt32: the maximum number of guests; 0 for a channel without guests
        static let syncBytes = 72  // UInt64, of a durable log: how many bytes are published before a sync
        static let typeSize = 48  // UInt32
        static let typeStride = 52  // UInt32
        static let typeAlignment = 56  // UInt32
        static let typeNameLength = 60  // UInt32
        static let typeFingerprint = 64  // UInt64
        static let boot = 80  // UInt64, twice: of a durable log, the machine's boot in which it was last checked
        // Of a work queue: see `RetryPolicy`.
        static let maximumAttempts = 96  // UInt32; 0 for no limit
        static let backoff = 100  // UInt32
        static let firstDelay = 104  // UInt64, nanoseconds
        static let longestDelay = 112  // UInt64, nanoseconds
        static let guestPermissions = 124  // UInt32: which permission classes may be guests
        /// Of a service: how many calls may wait that no server has taken.
        static let maximumWaiting = 120  // UInt32; 0 for no limit
        static let typeName = 128  // UTF-8
        static let typeNameCapacity = 384
    }

    /// Bits of ``Fixed/flags``.
    enum Flag {
        static let sharedWriters: UInt32 = 1
        static let overwrites: UInt32 = 2
        static let isKept: UInt32 = 4
        static let isDurable: UInt32 = 8
        /// Each message begins with a word that holds its state. Writers are held back by the oldest message that is not done, not
        /// by the readers' cursors.
        static let carriesWork: UInt32 = 16
        /// Of a log that overwrites: the newest message is kept until there is a newer one.
        static let keepsNewest: UInt32 = 32
        /// The writer of a message waits for its answer.
        static let hasAnswers: UInt32 = 64
    }

    // Words that change. Those of the hot path are 128 bytes apart, so that they share no cache lines: processors fetch lines in
    // pairs.

    /// UInt32, 1 once the channel has been removed; under the membership lock.
    static let removed = 512
    /// UInt64, of a channel with guests: where ``Guests`` is. The identifier of its System V segment plus one in the lower half;
    /// the inode of its IPC namespace in the upper one. Under the membership lock.
    static let guests = 520
    /// UInt64: when that segment's owner was set, in seconds of the machine's clock, so that another segment is not taken for it.
    static let guestsTime = 528
    /// UInt64. Shared writers claim by moving it. An exclusive writer moves it when it enters a block and when it leaves.
    static let tail = 1024
    /// UInt64, the reserved end: writers may have begun to write anywhere below it, so everything more than the log's capacity
    /// before it may be overwritten. Raised by a writer before it writes further.
    static let reservedEnd = 1152
    /// The wait queues of the readers and, on the same cache line, of the writers: see ``Queue``.
    static let readerQueue = 1280
    static let writerQueue = readerQueue + writersAfterReaders
    /// How far the writers' queue is behind the readers', in `control` and where guests write.
    static let writersAfterReaders = 32
    /// UInt32: no slot at or above this number has been used. Under the membership lock.
    static let usedReaderSlots = 1792
    static let usedWriterSlots = 1796
    /// UInt32: counts joins. Under the membership lock.
    static let joins = 1800
    /// UInt32: counts slots that were recovered after a death; a statistic. Under the membership lock.
    static let recoveries = 1804
    /// UInt64, of work (a queue's or a service's): all frames before it are done. Advanced by any process that finds the frame at
    /// it done.
    static let workHead = 1920
    /// UInt64, of work: counts news of what is set aside, such as returns.
    static let workReturns = 1928
    /// UInt64, of work: when a sleeper last checked for deaths, in nanoseconds of the machine's CLOCK_MONOTONIC.
    static let lastScan = 2008
    /// UInt64, of shared writers: which writer waits for much room (its slot plus one, in bits 0 to 11), and when it last said so,
    /// in microseconds of the machine's CLOCK_MONOTONIC.
    static let roomRequest = 2016
    /// UInt64, of work: counts returns; a statistic.
    static let redeliveries = 2000
    /// UInt64, of a durable log: everything before it is on the disk.
    static let synced = 1952
    /// UInt64, of a latest value with shared setters: the position of the newest value with bit 0 set; 0 before the first. Raised
    /// by each setter before its call returns.
    static let latest = 1968
    /// UInt64, of a queue of dead letters: how many were dropped for newer ones.
    static let droppedLetters = 1976
    /// UInt64, of work: counts returns without an entry among what is set aside.
    static let unlistedReturns = 1984
    /// UInt64, of work: no entry of what is set aside has been used at or above this number. Never falls.
    static let usedAside = 1992
    /// UInt64, of an event: counts notices. Changed by notifiers.
    static let eventNotices = 1936
    /// UInt64, of an event: how many of the notices were taken. Changed by waiters.
    static let eventTaken = 1960
    /// UInt64, of an event: how many of the notices, and of the notifications to all, were carried here from another machine. Raised
    /// before the count that they are part of.
    static let eventCarriedNotices = 2024
    static let eventCarriedRounds = 2032
    /// UInt64, of an event: counts notifications to all.
    static let eventRounds = 1944
    /// UInt64, 64 of them: the first frame that starts in each block of the log. Stored by the writer whose frame ends there.
    static let blockStarts = 2048
    static let blockCount = 64
    static let slots = 4096
    static let slotSize = 128

    /// A wait queue: three words. A sleeper raises the first; a waker raises the second to the value that it saw of the first.
    /// While they differ, somebody may sleep. Neither ever falls, so a waker that is late or never finishes takes nobody's wake-up.
    enum Queue {
        static let sleeps = 0  // UInt64: counts sleepers
        static let woken = 8  // UInt64: how many of them were woken
        static let wakes = 16  // UInt32, a futex: counts wake-ups
    }

    /// Written by the reader, except what the membership lock guards.
    enum ReaderSlot {
        static let cursor = 0  // UInt64: everything before it has been read; UInt64.max if it holds nothing back
        static let state = 8  // UInt32, under the membership lock: see ``SlotState``
        static let process = 12  // UInt32: its pid
        static let wakeUpWord = 16  // UInt64: how to wake it while it waits without a thread; 0 otherwise
        static let namespace = 24  // UInt32: the inode of its pid namespace
    }

    /// Written by the writer, except what the membership lock guards.
    enum WriterSlot {
        static let intentPosition = 0  // UInt64: where it tries to claim or has claimed; UInt64.max for none
        static let intentLength = 8  // UInt64: the claim's size in bytes
        static let sequence = 16  // UInt64: the sequence number of this slot's claimed message, or of its next one
        static let state = 24  // UInt32, under the membership lock: see ``SlotState``
        static let process = 28  // UInt32: its pid
        static let namespace = 32  // UInt32, as a reader's
        static let wakeUpWord = 40  // UInt64, as a reader's
        static let callerQueue = 64  // of a service: the wait queue of this caller
    }

    /// The memory that guests may write to: a System V segment, because nobody can shorten it. In a channel that has one, all
    /// participants sleep in its queues.
    enum Guests {
        static let usedSlots = 0  // UInt32: no slot at or above this number has been used
        static let joins = 4  // UInt32: counts joins of guests
        static let readerQueue = 128
        static let writerQueue = readerQueue + writersAfterReaders
        static let slots = 256  // each as a reader's: see ``ReaderSlot``

        static func slot(_ index: Int) -> Int { slots + index * slotSize }
        static func byteCount(_ count: Int) -> Int { slot(count) }
    }

    /// The state of a slot.
    enum SlotState {
        static let free: UInt32 = 0
        /// Its owner holds the lock on its byte, or is dead.
        static let taken: UInt32 = 1
        /// Its owner is dead. The process that settles what it left holds the lock on its byte, or is dead as well.
        static let settling: UInt32 = 2
    }

    /// The maximum number of slots of a kind.
    static let maximumSlots = 1024

    static func readerSlot(_ index: Int) -> Int { slots + index * slotSize }
    static func writerSlot(_ index: Int, readerSlots: Int) -> Int { slots + (readerSlots + index) * slotSize }
    /// Where the entries of what is set aside begin, in a channel that carries work.
    static func aside(readerSlots: Int, writerSlots: Int) -> Int {
        (slots + (readerSlots + writerSlots) * slotSize + 4095) & ~4095
    }

    /// An entry of work that is set aside: the head may pass it although it is not done.
    enum Aside {
        static let size = 32
        static let position = 0  // UInt64: of the frame, with bit 0 set; 0 for none
        /// UInt64: the process that changes the entry, named by its lock's byte; all ones once the entry is valid; 0 when it is
        /// free.
        static let owner = 8
        static let due = 16  // UInt64: not to be delivered before this time, in nanoseconds of CLOCK_REALTIME
        static let byteCount = 24  // UInt64: of the frame
        static let stands = UInt64.max

        /// The number of entries.
        static func count(capacity: Int) -> Int { min(max(capacity / 256, 256), 16_384) }
    }

    static func controlByteCount(
        carriesWork: Bool, capacity: Int, readerSlots: Int, writerSlots: Int
    ) -> Int {
        let count = carriesWork ? Aside.count(capacity: capacity) : 0
        return aside(readerSlots: readerSlots, writerSlots: writerSlots) + count * Aside.size
    }

    /// A frame in the log: this header, then the payload, then unused bytes up to the end of the cache line. A line shared by two
    /// frames would make one more round trip, between the reader of one and the writer of the other.
    @usableFromInline
    enum Frame {
        @usableFromInline static let stamp = 0  // UInt64: the frame's position xor the key, once it is committed
        @usableFromInline static let length = 8  // UInt32: of the payload
        @usableFromInline static let kind = 12  // UInt32
        @usableFromInline static let sequence = 16  // UInt64, counted for each writer slot
        @usableFromInline static let writer = 24  // UInt32: the slot
        @usableFromInline static let units = 28  // UInt32: the size of the frame in cache lines
        @usableFromInline static let headerSize = 32
        @usableFromInline static let alignment = 64
        /// Of work: the bytes at the beginning of the payload that change after the commit.
        static let workPrefixSize = 32
        /// In a durable log, the last bytes of each frame: a checksum of the rest.
        static let checksumSize = 8
        /// Of a message with an origin: the last bytes of its frame, before the checksum.
        static let originSize = 32
        /// The largest frame: half the log, and below 4 GiB, because the header has 32 bits for the payload's length.
        static func maximumSize(capacity: Int) -> UInt64 { min(UInt64(capacity) / 2, 0xffff_ffc0) }

        @inlinable static func size(payload: Int) -> Int {
            (payload &+ headerSize &+ alignment &- 1) & ~(alignment &- 1)
        }

        /// Whether a frame may begin there.
        @inlinable static func isAligned(_ position: UInt64) -> Bool { position % UInt64(alignment) == 0 }

        /// The last position at or before it where a frame may begin.
        static func aligned(_ position: UInt64) -> UInt64 { position & ~(UInt64(alignment) - 1) }
    }

    /// The kind of a frame.
    @usableFromInline
    enum Kind {
        @usableFromInline static let message: UInt32 = 1
        /// Claimed and abandoned, by its writer or by the recovery after the writer's death.
        @usableFromInline static let skipped: UInt32 = 2
        /// A message that was carried here from another machine: its ``MessageOrigin`` is at the end of the frame. A kind of its
        /// own, so that the others are read and written without a look at it.
        @usableFromInline static let messageWithOrigin: UInt32 = 3
        /// No message: the payload begins with the number of messages of another machine that were lost on their way here.
        static let lost: UInt32 = 4

        @inlinable @inline(__always)
        static func isMessage(_ kind: UInt32) -> Bool { kind == message || kind == messageWithOrigin }
    }

    /// The bytes of `locks` whose locks have a meaning; the file itself is empty. In a channel without a name they are bytes of
    /// `control`. A process that can read a file can take a read lock, which blocks all write locks. So `locks` is accessible only
    /// to those who may write to the channel.
    enum LockByte {
        /// Held to join, to leave, to recover and to remove.
        static let membership: Int64 = 0
        static func reader(_ slot: Int) -> Int64 { 0x1_0000 + Int64(slot) }
        static func writer(_ slot: Int) -> Int64 { 0x2_0000 + Int64(slot) }
        /// In the file `subscribers`.
        static func guest(_ slot: Int) -> Int64 { 0x3_0000 + Int64(slot) }
        static func participant(_ role: ParticipantRole, _ slot: Int) -> Int64 {
            switch role {
            case .reader: reader(slot)
            case .writer: writer(slot)
            case .guest: guest(slot)
            }
        }
    }

    @usableFromInline static let unclaimed = UInt64.max
    /// No position comes near it in the life of a machine; one beyond it is a peer's invalid data. Sums of positions and sizes stay
    /// below 2⁶⁴.
    static let farthest: UInt64 = 1 << 62
}

/// The role of a participant in the log.
enum ParticipantRole {
    case reader, writer
    /// A reader that may write nothing but its own slot.
    case guest
}
