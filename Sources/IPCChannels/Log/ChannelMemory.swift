import CIPCShims
import Glibc
import IPC
import Synchronization
import SystemPackage

/// A channel's files, open and mapped, and its fixed properties, checked once against the files' sizes.
///
/// Each participant has one of its own: its descriptor of `locks` carries the lock that says that it lives.
@safe @usableFromInline
final class ChannelMemory: @unchecked Sendable {
    let name: ChannelName
    let place: ChannelPlace
    /// The root that it is in, whatever has its path by now; nil for one without a name.
    let folder: RootFolder?
    /// For one without a name: where its bells are, once somebody asked.
    let currentFolder = Locked<RootFolder?>(nil)
    /// `locks`; a guest's is `subscribers`, and an observer's is `control`.
    private let file: WithheldDescriptor
    /// `subscribers`, of a participant of a channel with guests.
    private let guestFile: WithheldDescriptor?
    private let guestDescriptor: CInt
    /// What guests write; nil until somebody joined, and in a channel without guests.
    private(set) var guests: GuestMemory?
    /// Whether it is a guest's: that writes to ``guests`` only.
    let isGuest: Bool
    /// Which file `control` is: a channel of the same name that was made anew is another one.
    let identity: [UInt64]
    private let controlMapping: WithheldMapping
    private let logMapping: MirroredMapping
    /// The first byte of `control`. Here, and not asked of the mapping, since that would retain it each time.
    private let control: UnsafeMutableRawPointer
    /// The first byte of the log, which is mapped twice in a row.
    @usableFromInline let log: UnsafeMutableRawPointer
    /// An observer's is for reading only: it stores nothing in either file.
    let controlAccess: MemoryAccess
    private let logAccess: MemoryAccess
    let logIdentity: [UInt64]
    /// The slot of the participant that this is: set once, when it joins.
    var ownSlot: (role: Membership.Role, slot: Int)?
    /// How many forks lay between the program and this process when it was opened; see ``isInherited``.
    @usableFromInline let forks = ipc_forks()
    /// Whether a thread of this process holds the gate by our descriptor, whose lock does not exclude other threads.
    let gateIsHeld = Atomic(false)
    /// Whether a thread of this process settles what the dead have left, likewise.
    let isRecovering = Atomic(false)
    /// When somebody who only polls last looked after the dead, and last read the clock for it, by the coarse clock.
    let lastLook = Atomic(ipc_coarse_now())
    let lastAsked = Atomic<UInt64>(0)
    let looksWithoutClock = Atomic<UInt32>(0)
    let lastLookAfterCallers = Atomic(ipc_coarse_now())

    let readerSlots: Int
    let writerSlots: Int
    /// How many guests there may be; 0 in a channel without.
    let guestSlots: Int
    private let guestPermissions: FilePermissions
    /// Whose `control` is.
    private let (owner, group): (uid_t, gid_t)
    @usableFromInline let capacity: Int
    @usableFromInline let key: UInt64
    /// Bytes of the largest frame.
    let maximumFrame: UInt64
    /// More frames than a log has: a walk that is not over by then goes on at the next call.
    let frameLimit: Int
    let hasSharedWriters: Bool
    let overwrites: Bool
    let isKept: Bool
    let isDurable: Bool
    /// Of a durable log: how many bytes are published before a sync; UInt64.max for when it is asked for.
    let syncBytes: UInt64
    /// Of its files, as they were when it was opened.
    let permissions: FilePermissions
    let pattern: ChannelPattern
    let messageType: MessageType
    let retryPolicy: RetryPolicy
    /// Of a service: how many calls may wait that no server has taken; 0 for no limit.
    let maximumWaiting: Int

    /// Opens and maps a channel's files.
    ///
    /// - Parameters:
    ///   - controlAccess: For reading only, nothing may be called that changes the channel: neither the slots' calls nor a
    ///   recovery.
    ///   - isGuest: Whether it is for a guest, who then may read both only.
    /// - Throws: ``IPC/IPCError/Code/notFound``; ``IPC/IPCError/Code/corrupted`` if they are no channel's.
    init(
        _ name: ChannelName, in place: ChannelPlace, logAccess: MemoryAccess, controlAccess: MemoryAccess = .readWrite,
        isGuest: Bool = false
    ) throws(IPCError) {
        self.isGuest = isGuest
        let files = try ChannelOpening(name, in: place)
        folder = files.root
        let opened = try files.control(controlAccess)
        self.controlAccess = controlAccess
        let raw = opened.rawValue
        let status = try FileStatus(of: raw, name.description)
        identity = status.identity
        let size = status.isRegularFile ? status.size : 0
        func corrupted(_ what: String) -> IPCError {
            IPCError(
                .corrupted, "open channel", name.description, advice: "\(what); remove the channel, and create it again"
            )
        }
        guard size >= LogLayout.slots else { throw corrupted("its control file is too short") }
        let controlMapping = try WithheldMapping(raw, name.description, byteCount: size, controlAccess)
        let control = controlMapping.mapping
        typealias Fixed = LogLayout.Fixed
        func number(_ offset: Int) -> Int { Int(control.load(UInt32.self, at: offset)) }
        guard control.load(UInt64.self, at: Fixed.magic) == LogLayout.magic else {
            throw corrupted("its control file is not a channel's")
        }
        let version = number(Fixed.version)
        guard version == LogLayout.version else {
            throw IPCError(
                .wrongType, "open channel", name.description,
                advice:
                    "its layout has version \(version), this library has \(LogLayout.version); use the same release on both sides"
            )
        }
        let capacity = control.load(UInt64.self, at: Fixed.capacity)
        guard capacity.nonzeroBitCount == 1, capacity >= 65_536, capacity <= 1 << 40 else {
            throw corrupted("the size of its log is \(capacity)")
        }
        let (readers, writers) = (number(Fixed.readerSlots), number(Fixed.writerSlots))
        let length = number(Fixed.typeNameLength)
        guard length <= Fixed.typeNameCapacity else { throw corrupted("the name of its type has \(length) bytes") }

        guard let pattern = ChannelPattern(rawValue: UInt32(number(Fixed.pattern))) else {
            throw corrupted("its pattern is \(number(Fixed.pattern))")
        }
        guard (1...LogLayout.maximumSlots).contains(readers), (1...LogLayout.maximumSlots).contains(writers),
            LogLayout.controlByteCount(
                pattern, capacity: Int(capacity), readerSlots: readers, writerSlots: writers) <= size
        else { throw corrupted("its control file has no room for \(readers) readers and \(writers) writers") }
        let guests = number(Fixed.guestSlots)
        guard guests <= LogLayout.maximumSlots else { throw corrupted("it is to have \(guests) guests") }
        let flags = UInt32(number(Fixed.flags))
        key = control.load(UInt64.self, at: Fixed.key) | 1 << 63
        self.name = name
        self.place = place
        permissions = status.mode
        (owner, group) = (status.owner, status.group)
        guestSlots = guests
        guestPermissions = FilePermissions(rawValue: CModeT(truncatingIfNeeded: number(Fixed.guestPermissions) & 0o666))
        self.capacity = Int(capacity)
        frameLimit = Int(capacity) / LogLayout.Frame.alignment + 1
        maximumFrame = LogLayout.Frame.maximumSize(capacity: Int(capacity))
        readerSlots = readers
        writerSlots = writers
        hasSharedWriters = flags & LogLayout.Flag.sharedWriters != 0
        overwrites = flags & LogLayout.Flag.overwrites != 0
        isKept = flags & LogLayout.Flag.isKept != 0
        isDurable = flags & LogLayout.Flag.isDurable != 0
        let syncBytes = control.load(UInt64.self, at: Fixed.syncBytes)
        self.syncBytes = syncBytes > UInt64(Int.max) ? .max : max(syncBytes, 1)
        self.pattern = pattern
        let typeName = control.withBytes { bytes in
            String(
                decoding: (0..<length).map {
                    unsafe bytes.unsafeLoad(fromByteOffset: Fixed.typeName + $0, as: UInt8.self)
                }, as: UTF8.self)
        }
        messageType = MessageType(
            name: typeName, size: number(Fixed.typeSize), stride: number(Fixed.typeStride),
            alignment: number(Fixed.typeAlignment), fingerprint: control.load(UInt64.self, at: Fixed.typeFingerprint))
        retryPolicy = pattern == .workQueue ? RetryPolicy(control) : RetryPolicy()
        maximumWaiting = pattern == .service ? number(Fixed.maximumWaiting) : 0
        self.controlMapping = controlMapping
        unsafe self.control = control.pointer(at: 0, byteCount: size)
        (logMapping, logIdentity) = try Self.mapLog(files, Int(capacity), logAccess, prefaulting: !isDurable)
        unsafe log = logMapping.base
        self.logAccess = logAccess
        if isGuest {
            // Before anything is asked of it: whoever has no guests has no such file.
            file = try guests > 0 ? files.subscribers() : opened
        } else {
            file = try controlAccess == .readWrite ? files.locks(status) : opened
        }
        if controlAccess == .readWrite, guests > 0 {
            let subscribers = try files.subscribers()
            guestDescriptor = subscribers.rawValue
            guestFile = consume subscribers
        } else {
            guestDescriptor = file.rawValue
            guestFile = nil
        }
        _ = try systemCall { unsafe ipc_withhold_memory(log, 2 * Int(capacity)) }
            .orThrow("open channel", name.description)
    }

    deinit {
        unsafe ipc_release_memory(log)
    }

    /// The largest log whose pages are mapped at once: a participant that joins takes some milliseconds for it then.
    private static let prefaultedCapacity = 64 << 20

    private static func mapLog(
        _ files: borrowing ChannelOpening, _ capacity: Int, _ access: MemoryAccess, prefaulting: Bool
    ) throws(IPCError) -> (MirroredMapping, identity: [UInt64]) {
        let path = files.path + "/log"
        let file = try files.log(access)
        let raw = file.rawValue
        let status = try FileStatus(of: raw, path)
        guard status.isRegularFile, status.size >= capacity else {
            throw IPCError(
                .corrupted, "open channel", path,
                advice:
                    "the log has \(status.size) bytes instead of \(capacity); remove the channel, and create it again"
            )
        }
        // Not of a file on a disk: that would read all of it in, or write all of it back.
        let mapping = try MirroredMapping(
            raw, path, byteCount: capacity, access: access,
            prefaulting: prefaulting && capacity <= prefaultedCapacity)
        try file.close()
        return (mapping, status.identity)
    }

    /// The log, to be written to: a reader that recovers maps it once more.
    func writableLog() throws(IPCError) -> MirroredMapping {
        if logAccess == .readWrite { return logMapping }
        let files = try ChannelOpening(name, in: place)
        let (log, identity) = try Self.mapLog(files, capacity, .readWrite, prefaulting: false)
        // Another channel may have the name by now.
        guard identity == logIdentity else { throw isRemovedError }
        return log
    }

    /// What its creator chose.
    var options: ChannelOptions {
        var options = ChannelOptions(
            writers: hasSharedWriters ? .shared : .exclusive, overflow: overwrites ? .overwrite : .block,
            lifetime: isKept ? .kept : .whileUsed,
            durability: !isDurable ? .none : syncBytes == .max ? .syncedWhenAsked : .syncedEvery(bytes: Int(syncBytes)),
            capacity: capacity, maximumReaders: readerSlots, maximumWriters: writerSlots, permissions: permissions)
        options.subscriberPermissions = guestPermissions
        return options
    }

    /// That this user may take the channel away.
    ///
    /// - Throws: ``IPC/IPCError/Code/permissionDenied``.
    func checkRemovable() throws(IPCError) { try folder?.checkRemovable(name) }

    var descriptor: CInt { file.rawValue }

    /// Whose bytes tell who lives, of those that have a role.
    func lockFile(_ role: Membership.Role) -> CInt { role == .guest ? guestDescriptor : descriptor }

    var mask: UInt64 { UInt64(capacity - 1) }
    /// Bytes of the largest payload.
    @usableFromInline var maximumPayload: Int {
        Int(maximumFrame) - LogLayout.Frame.headerSize - trailerSize
    }
    /// Bytes of a frame after the payload.
    var trailerSize: Int { isDurable ? LogLayout.Frame.checksumSize : 0 }
}

/// A mapping that no child of a fork has: there its file would stay open, and with it the locks on it.
private final class WithheldMapping: Sendable {
    let mapping: MemoryMapping

    init(_ descriptor: CInt, _ name: String, byteCount: Int, _ access: MemoryAccess) throws(IPCError) {
        // No other thread forks between the mapping and its entry.
        ipc_hold_forks()
        defer { ipc_release_forks() }
        let mapping = try MemoryMapping(
            descriptor, name, offset: 0, byteCount: byteCount, access: access, isShared: true, prefaulting: false)
        let address = unsafe mapping.pointer(at: 0, byteCount: byteCount)
        _ = try systemCall { unsafe ipc_withhold_memory(address, byteCount) }.orThrow("open channel", name)
        self.mapping = mapping
    }

    deinit { unsafe ipc_release_memory(mapping.pointer(at: 0, byteCount: mapping.byteCount)) }
}

// Guests: who may subscribe, and write nothing but a slot of their own.
extension ChannelMemory {
    /// Of a channel with guests, in which somebody has joined.
    var guestMemory: GuestMemory {
        guard let guests else { preconditionFailure("only where guests are looked at is a slot of theirs used") }
        return guests
    }

    private var guestWord: SharedWord { word(LogLayout.guests) }
    private var guestTime: SharedWord { word(LogLayout.guestsTime) }

    /// Looks where guests are, if somebody has joined.
    func lookAtGuests() {
        guard guestSlots > 0, guests == nil else { return }
        guests = GuestMemory(guestWord.published, made: guestTime.relaxed, slots: guestSlots)
    }

    /// Looks where guests are, or makes that place, under the gate. Once, before the participant is one.
    func joinGuests() throws(IPCError) {
        lookAtGuests()
        guard guestSlots > 0, guests == nil else { return }
        // It goes with the last one that has it: if somebody lives, it is there, and we do not see it.
        guard !hasLivingParticipants else {
            throw IPCError(
                .permissionDenied, "join channel", name.description,
                advice:
                    "its participants' System V segment cannot be attached: they are in another IPC namespace (a container), or a sandbox refuses it; join where they are, or create the channel without subscriberPermissions"
            )
        }
        let made = try GuestMemory(slots: guestSlots, name)
        guestWord.published = 0
        guestTime.relaxed = try made.share(
            owner, group, permissions.union(ChannelFiles.readsAndWrites(guestPermissions)), name)
        guestWord.published = made.word
        guests = made
    }
}

extension ChannelMemory {
    // Offsets are those of the layout, and slots below the counts that were checked against the file's size.

    func word(_ offset: Int) -> SharedWord { unsafe SharedWord(control + offset) }

    func half(_ offset: Int) -> UnsafePointer<Atomic<UInt32>> {
        unsafe UnsafeRawPointer(control + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
    }

    func reader(_ slot: Int, _ field: Int) -> SharedWord { word(LogLayout.readerSlot(slot) + field) }
    func writer(_ slot: Int, _ field: Int) -> SharedWord {
        word(LogLayout.writerSlot(slot, readerSlots: readerSlots) + field)
    }

    /// Whether this process was forked from the one that opened it: then it has no part in the channel.
    @inlinable @inline(__always)
    var isInherited: Bool { forks != ipc_forks() }

    /// That the channel is there, and this process has a part in it. A system call: for slow paths.
    ///
    /// - Throws: ``IPC/IPCError/Code/removed``; ``IPC/IPCError/Code/inherited``.
    func checkPresence() throws(IPCError) {
        guard !isInherited else { throw isInheritedError }
        guard case .root = place else { return }  // one without a name has no links
        guard try FileStatus(of: descriptor, name.description).linkCount > 0 else { throw isRemovedError }
    }

    var isInheritedError: IPCError {
        IPCError(
            .inherited, "use channel", name.description,
            advice:
                "this process was forked from the one that joined, and has no part in the channel; join again here, or start children by exec"
        )
    }

    private var isRemovedError: IPCError {
        IPCError(
            .removed, "use channel", name.description,
            advice:
                "its files were removed while it was in use (by `ipc rm`, a program, or systemd's RemoveIPC); join again: it is made anew"
        )
    }

    var joins: SharedHalf { SharedHalf(self, LogLayout.joins) }
    var recoveries: SharedHalf { SharedHalf(self, LogLayout.recoveries) }
    var tail: SharedWord { word(LogLayout.tail) }
    var synced: SharedWord { word(LogLayout.synced) }
    var frontier: SharedWord { word(LogLayout.frontier) }

    var latest: SharedWord { word(LogLayout.latest) }

    /// Whether setters tell which value is the newest: where there may be several, a claim of another may lie before it.
    var tellsLatest: Bool { pattern == .latest && hasSharedWriters }

    /// Raises the newest value to the one that was committed at `position`.
    func tellOfLatest(_ position: UInt64, _ kind: UInt32) {
        if tellsLatest, kind == LogLayout.Kind.message { latest.raise(to: position | 1) }
    }

    // Guests could not sleep, nor wake anybody, in `control`.
    var readerQueue: SharedWord { guests?.word(LogLayout.Guests.readerQueue) ?? word(LogLayout.readerQueue) }
    var writerQueue: SharedWord { guests?.word(LogLayout.Guests.writerQueue) ?? word(LogLayout.writerQueue) }
    var sleepingReaders: SleepingPlace { SleepingPlace(readerQueue, .readers) }
    var sleepingWriters: SleepingPlace { SleepingPlace(writerQueue, .writers) }

    /// Wherever somebody may sleep: readers, writers, and each caller of a service.
    var queues: [SleepingPlace] {
        let callers = pattern == .service ? (0..<usedWriters).compactMap { try? sleepingCaller(UInt32($0)) } : []
        return [sleepingReaders, sleepingWriters] + callers
    }

    /// Wakes whoever waits for anything: what held somebody back is gone.
    func wakeEverybody() {
        for queue in queues { queue.wakeIfNeeded(self) }
    }

    /// Whether the frame at `position` is committed.
    func isCommitted(_ position: UInt64) -> Bool {
        // Aligned, whatever a peer stored: an unaligned atomic access ends the process on some processors. Sequentially
        // consistent: a sleeper's last look, and pairs of acknowledgements, look after they told.
        let place = position & mask & ~(UInt64(LogLayout.Frame.alignment) - 1)
        return unsafe SharedWord(log + Int(truncatingIfNeeded: place)).ordered == position ^ key
    }

    func corrupted(_ what: String) -> IPCError {
        IPCError(
            .corrupted, "channel", name.description,
            advice:
                "\(what); a participant that is not of this library may have written there: remove the channel, and create it again"
        )
    }
}
