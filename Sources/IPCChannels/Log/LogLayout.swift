/// Where everything is in a channel's files, and who writes it. Nothing else does arithmetic on the layout;
/// `Documentation/log-format.md` says the same for other languages.
///
/// All numbers are in the machine's byte order. A position is a count of bytes since the channel was made; it never wraps.
@usableFromInline
enum LogLayout {
    /// "SWIFTIPC" in ASCII, read as a little-endian number.
    static let magic: UInt64 = 0x4350_4954_4649_5753
    static let version: UInt32 = 5

    /// What is written once, before anybody else sees the channel.
    enum Fixed {
        static let magic = 0  // UInt64
        static let version = 8  // UInt32
        static let pattern = 12  // UInt32
        static let key = 16  // UInt64, its highest bit set
        static let capacity = 24  // UInt64, the size of `log`
        static let readerSlots = 32  // UInt32
        static let writerSlots = 36  // UInt32
        static let flags = 40  // UInt32
        static let guestSlots = 44  // UInt32: how many guests there may be; 0 for a channel without
        static let syncBytes = 72  // UInt64, of a durable log: how many bytes are published before a sync
        static let typeSize = 48  // UInt32
        static let typeStride = 52  // UInt32
        static let typeAlignment = 56  // UInt32
        static let typeNameLength = 60  // UInt32
        static let typeFingerprint = 64  // UInt64
        static let boot = 80  // UInt64, twice: of a durable log, the machine's boot in which it was last looked through
        // Of a work queue: see `RetryPolicy`.
        static let maximumAttempts = 96  // UInt32; 0 for no limit
        static let backoff = 100  // UInt32
        static let firstDelay = 104  // UInt64, nanoseconds
        static let longestDelay = 112  // UInt64, nanoseconds
        static let guestPermissions = 124  // UInt32: whose classes may be guests
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
    }

    // Words that change, each on a cache line of its own (two, since processors fetch lines in pairs).

    /// UInt32, 1 once the channel has been taken away; under the gate.
    static let removed = 512
    /// UInt64, of a channel with guests: where ``Guests`` is. The number of its System V segment, plus one, in the lower half; the inode
    /// of its IPC namespace in the upper one. Under the gate.
    static let guests = 520
    /// UInt64, with it: when that segment's owner was set, in seconds of the machine's clock, so that it is not taken for another.
    static let guestsTime = 528
    /// UInt64. Shared writers claim by moving it. An exclusive writer moves it when it enters a block, and at its end.
    static let tail = 1024
    /// UInt64: a writer may have begun to write below; so what lies more than the log's capacity before it may be
    /// overwritten. Raised by a writer before it goes on.
    static let frontier = 1152
    /// Where readers sleep, and, on the same cache line, where writers do: see ``Queue``.
    static let readerQueue = 1280
    static let writerQueue = 1312
    /// UInt32: no slot at or above has been used. Under the gate.
    static let usedReaderSlots = 1792
    static let usedWriterSlots = 1796
    /// UInt32: counts how often somebody joined. Under the gate.
    static let joins = 1800
    /// UInt32: counts the slots that were recovered after a death, for people. Under the gate.
    static let recoveries = 1804
    /// UInt64, of work (a queue's or a service's): all frames before it are done. By whoever finds the one at it done.
    static let workHead = 1920
    /// UInt64, of work: counts the news of what is set aside, such as that something was given back.
    static let workReturns = 1928
    /// UInt64, of work: when one of those who sleep looked after the dead last, in nanoseconds of the machine's CLOCK_MONOTONIC.
    static let lastScan = 2008
    /// UInt64: of shared writers, who waits for much room (one more than its slot, in bits 0 to 11), and when it last said so, in
    /// microseconds of the machine's CLOCK_MONOTONIC.
    static let wish = 2016
    /// UInt64, of work: counts what was given back, for people.
    static let redeliveries = 2000
    /// UInt64, of a durable log: all before it is on the disk.
    static let synced = 1952
    /// UInt64, of a latest value with shared setters: the position of the newest value that is set, with bit 0 set; 0 before the
    /// first. Raised by each setter before it is done.
    static let latest = 1968
    /// UInt64, of a queue of dead letters: how many were dropped for newer ones.
    static let droppedLetters = 1976
    /// UInt64, of work: counts what was given back without a place among what is set aside.
    static let unlistedReturns = 1984
    /// UInt64, of work: no entry of what is set aside has been used at or above. Never falls.
    static let usedAside = 1992
    /// UInt64, of an event: notices that nobody has taken. By whoever notifies or waits.
    static let eventNotices = 1936
    /// UInt64, of an event: counts how often all were notified.
    static let eventRounds = 1944
    /// UInt64, 64 of them: the first frame that starts in each block of the log. By whoever's frame ends there.
    static let blockStarts = 2048
    static let blockCount = 64
    static let slots = 4096
    static let slotSize = 128

    /// Where somebody sleeps: three words. Who is about to sleep raises the first, and whoever wakes raises the second to what it
    /// saw of the first: somebody may sleep while they differ. Neither ever falls, so that a waker that comes late, or never
    /// ends, takes nobody's wake-up.
    enum Queue {
        static let sleeps = 0  // UInt64: counts those who were about to sleep
        static let woken = 8  // UInt64: so many of them were woken
        static let wakes = 16  // UInt32, a futex: counts wake-ups
    }

    /// By the reader, but for what the gate guards.
    enum ReaderSlot {
        static let cursor = 0  // UInt64: all before it has been read; UInt64.max when no reader holds the log back
        static let state = 8  // UInt32, under the gate: see ``SlotState``
        static let process = 12  // UInt32: its pid
        static let bell = 16  // UInt64: how to wake it, while it waits without a thread; 0 otherwise
        static let namespace = 24  // UInt32: the inode of its pid namespace
    }

    /// By the writer, but for what the gate guards.
    enum WriterSlot {
        static let intentPosition = 0  // UInt64: where it tries to claim, or has; UInt64.max for nowhere
        static let intentLength = 8  // UInt64: how many bytes
        static let sequence = 16  // UInt64: the number of this slot's message that is claimed, or of its next one
        static let state = 24  // UInt32, under the gate: see ``SlotState``
        static let process = 28  // UInt32: its pid
        static let namespace = 32  // UInt32, as a reader's
        static let bell = 40  // UInt64, as a reader's
        static let callerQueue = 64  // of a service: where this caller sleeps
    }

    /// The memory that guests may write to: a System V segment, since nobody can make that shorter. Where there is one, all sleep there.
    enum Guests {
        static let usedSlots = 0  // UInt32: no slot at or above has been used
        static let joins = 4  // UInt32: counts how often a guest joined
        static let readerQueue = 128
        static let writerQueue = 160
        static let slots = 256  // each as a reader's: see ``ReaderSlot``

        static func slot(_ index: Int) -> Int { slots + index * slotSize }
        static func byteCount(_ count: Int) -> Int { slot(count) }
    }

    /// What a slot is.
    enum SlotState {
        static let free: UInt32 = 0
        /// Its owner holds its byte, or is dead.
        static let taken: UInt32 = 1
        /// Its owner is dead, and whoever settles what it left holds its byte meanwhile, or is dead as well.
        static let settling: UInt32 = 2
    }

    /// The most slots of a kind.
    static let maximumSlots = 1024

    static func readerSlot(_ index: Int) -> Int { slots + index * slotSize }
    static func writerSlot(_ index: Int, readerSlots: Int) -> Int { slots + (readerSlots + index) * slotSize }
    /// Where the entries of what is set aside are, in a channel that carries work.
    static func aside(readerSlots: Int, writerSlots: Int) -> Int {
        (slots + (readerSlots + writerSlots) * slotSize + 4095) & ~4095
    }

    /// An entry of work that is set aside: the head may pass it, though it is not done.
    enum Aside {
        static let size = 32
        static let position = 0  // UInt64: of the frame, with bit 0 set; 0 for none
        /// UInt64: who changes the entry, by the byte of its lock; all ones once it stands; 0 when it is free.
        static let owner = 8
        static let due = 16  // UInt64: not to be handed out before, in nanoseconds of CLOCK_REALTIME
        static let byteCount = 24  // UInt64: of the frame
        static let stands = UInt64.max

        /// How many there are.
        static func count(capacity: Int) -> Int { min(max(capacity / 256, 256), 16_384) }
    }

    static func controlByteCount(_ pattern: ChannelPattern, capacity: Int, readerSlots: Int, writerSlots: Int) -> Int {
        let count = pattern.carriesWork ? Aside.count(capacity: capacity) : 0
        return aside(readerSlots: readerSlots, writerSlots: writerSlots) + count * Aside.size
    }

    /// A frame in the log: this header, then the payload, then unused bytes up to the end of the cache line. A line that two
    /// frames shared would go to and fro once more, between who reads the one and who writes the other.
    @usableFromInline
    enum Frame {
        @usableFromInline static let stamp = 0  // UInt64: the frame's position xor the key, once it is committed
        @usableFromInline static let length = 8  // UInt32: of the payload
        @usableFromInline static let kind = 12  // UInt32
        @usableFromInline static let sequence = 16  // UInt64, counted for each slot of a writer
        @usableFromInline static let writer = 24  // UInt32: the slot
        @usableFromInline static let units = 28  // UInt32: the size of the frame in lines
        @usableFromInline static let headerSize = 32
        @usableFromInline static let alignment = 64
        /// In a durable log, each frame's last bytes: a checksum of the rest.
        static let checksumSize = 8
        /// The largest one: half the log, and below 4 GiB, since its header has 32 bits for the payload's length.
        static func maximumSize(capacity: Int) -> UInt64 { min(UInt64(capacity) / 2, 0xffff_ffc0) }

        @inlinable static func size(payload: Int) -> Int {
            (payload &+ headerSize &+ alignment &- 1) & ~(alignment &- 1)
        }

        /// Whether a frame may begin there.
        @inlinable static func isAligned(_ position: UInt64) -> Bool { position % UInt64(alignment) == 0 }

        /// The last such place that is not after it.
        static func aligned(_ position: UInt64) -> UInt64 { position & ~(UInt64(alignment) - 1) }
    }

    /// What a frame is.
    @usableFromInline
    enum Kind {
        @usableFromInline static let message: UInt32 = 1
        /// Claimed and given up, by its writer or by its writer's death.
        @usableFromInline static let skipped: UInt32 = 2
    }

    /// Bytes of `locks` that stand for something by their lock: the file is empty. Of a channel without a name, bytes of `control`.
    /// Whoever may read a file can lock it for reading, and so keep all from locking it for writing: `locks` is only for those who may
    /// write to the channel.
    enum LockByte {
        /// Held to join, to leave, to recover and to remove.
        static let gate: Int64 = 0
        static func reader(_ slot: Int) -> Int64 { 0x1_0000 + Int64(slot) }
        static func writer(_ slot: Int) -> Int64 { 0x2_0000 + Int64(slot) }
        /// Of the file `subscribers`.
        static func guest(_ slot: Int) -> Int64 { 0x3_0000 + Int64(slot) }
        static func participant(_ role: Membership.Role, _ slot: Int) -> Int64 {
            switch role {
            case .reader: reader(slot)
            case .writer: writer(slot)
            case .guest: guest(slot)
            }
        }
    }

    @usableFromInline static let unclaimed = UInt64.max
    /// No position comes near it in the life of a machine; one beyond it is a peer's rubbish. Sums of positions and sizes stay
    /// below 2⁶⁴.
    static let farthest: UInt64 = 1 << 62
}
