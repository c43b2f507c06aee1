import CIPCShims
import Glibc
import IPC
import Synchronization
import SystemPackage

/// A channel's files, open and mapped, and its fixed properties, checked once against the files' sizes.
///
/// Each participant has one of its own: its descriptor of `locks` holds the lock that shows that it lives.
@safe @usableFromInline
final class ChannelMemory: @unchecked Sendable {
    let name: ChannelName
    let place: ChannelPlace
    /// The root that contains it, even if another folder has that path by now; nil for a channel without a name.
    let folder: RootFolder?
    /// For a channel without a name: the root of its wake-up pipes, once it was needed.
    let currentFolder = Locked<RootFolder?>(nil)
    /// `locks`; for a guest `subscribers`, for an observer `control`.
    private let file: WithheldDescriptor
    /// `subscribers`, for a participant of a channel with guests.
    private let guestFile: WithheldDescriptor?
    private let guestDescriptor: CInt
    /// The memory that guests write to; nil until a participant has joined, and in a channel without guests.
    private(set) var guests: GuestMemory?
    /// Whether this belongs to a guest, which writes to ``guests`` only.
    let isGuest: Bool
    /// Identifies the file `control`: a channel created again under the same name is another channel.
    let identity: [UInt64]
    private let controlMapping: WithheldMapping
    private let logMapping: MirroredMapping
    /// The first byte of `control`. Stored here because asking the mapping for it would retain the mapping each time.
    private let control: UnsafeMutableRawPointer
    /// The first byte of the log, which is mapped twice in a row.
    @usableFromInline let log: UnsafeMutableRawPointer
    /// Read-only for an observer, which stores nothing in either file.
    let controlAccess: MemoryAccess
    private let logAccess: MemoryAccess
    let logIdentity: [UInt64]
    /// The slot of the participant that owns this; set once, when it joins.
    var ownSlot: (role: ParticipantRole, slot: Int)?
    /// The number of forks when it was opened; see ``isInherited``.
    @usableFromInline let forks = ipc_forks()
    /// Whether a thread of this process holds the membership lock through this descriptor. The lock does not exclude other threads
    /// that use the same descriptor.
    let isMembershipLocked = Atomic(false)
    /// Whether a thread of this process runs a recovery; needed for the same reason.
    let isRecovering = Atomic(false)
    /// When a polling participant last checked for deaths, and when it last read the clock for that; by the coarse clock.
    let lastCheck = Atomic(ipc_coarse_now())
    let lastAsked = Atomic<UInt64>(0)
    let checksWithoutClock = Atomic<UInt32>(0)
    let lastCallerCheck = Atomic(ipc_coarse_now())

    let readerSlots: Int
    let writerSlots: Int
    /// The maximum number of guests; 0 in a channel without guests.
    let guestSlots: Int
    let guestPermissions: FilePermissions
    /// The owner and group of `control`.
    private let (owner, group): (uid_t, gid_t)
    @usableFromInline let capacity: Int
    @usableFromInline let key: UInt64
    /// The size of the largest frame in bytes.
    let maximumFrame: UInt64
    /// More frames than a log can hold: a walk that reaches it stops and continues at the next call.
    let frameLimit: Int
    let hasSharedWriters: Bool
    let overwrites: Bool
    let isKept: Bool
    let isDurable: Bool
    /// Of a durable log: how many bytes are published before a sync; UInt64.max if it syncs only on request.
    let syncBytes: UInt64
    /// The permissions of its files when it was opened.
    let permissions: FilePermissions
    /// Whether each message begins with a word that holds its state.
    let carriesWork: Bool
    /// Whether only the newest message counts.
    let keepsNewest: Bool
    /// Whether the writer of a message waits for its answer, in a wait queue of its own.
    let hasAnswers: Bool
    /// The hooks of what is built on the log; nil where there are only plain messages, and for observers.
    let hooks: (any LogHooks)?

    /// Opens and maps a channel's files.
    ///
    /// - Parameters:
    ///   - controlAccess: If read-only, nothing may be called that changes the channel: no slot may be taken and no recovery run.
    ///   - isGuest: Whether it is for a guest, which may only read both files.
    ///   - hooks: Of a log that carries work, for a participant or for a process that recovers.
    /// - Throws: ``/IPC/IPCError/Code/notFound``; ``/IPC/IPCError/Code/corrupted`` if the files are not a channel's;
    ///   ``/IPC/IPCError/Code/wrongType`` if their layout has another version.
    init(
        _ name: ChannelName, in place: ChannelPlace, logAccess: MemoryAccess, controlAccess: MemoryAccess = .readWrite,
        isGuest: Bool = false, hooks: (any LogHooks)? = nil
    ) throws(IPCError) {
        self.isGuest = isGuest
        self.hooks = hooks
        let files = try ChannelOpening(name, in: place)
        folder = files.root
        let opened = try files.control(controlAccess)
        self.controlAccess = controlAccess
        let raw = opened.rawValue
        let status = try FileStatus(of: raw, name.description)
        identity = status.identity
        let size = status.isRegularFile ? status.size : 0
        func corrupted(_ what: String) -> IPCError { Self.unusable(name.description, what) }
        guard size >= LogLayout.slots else { throw corrupted("its control file is too short") }
        let controlMapping = try WithheldMapping(raw, name.description, byteCount: size, controlAccess)
        let control = controlMapping.mapping
        typealias Fixed = LogLayout.Fixed
        func number(_ offset: Int) -> Int { Int(control.load(UInt32.self, at: offset)) }
        guard control.load(UInt64.self, at: Fixed.magic) == LogLayout.magic else {
            throw corrupted("its control file has the wrong magic number")
        }
        let version = number(Fixed.version)
        guard version == LogLayout.version else {
            throw IPCError(
                .wrongType, "open channel", name.description,
                advice:
                    "its layout has version \(version), but this library uses \(LogLayout.version); use the same release on both sides"
            )
        }
        let capacity = control.load(UInt64.self, at: Fixed.capacity)
        guard capacity.nonzeroBitCount == 1, capacity >= 65_536, capacity <= 1 << 40 else {
            throw corrupted("the size of its log is invalid: \(capacity)")
        }
        let (readers, writers) = (number(Fixed.readerSlots), number(Fixed.writerSlots))
        let flags = UInt32(number(Fixed.flags))
        carriesWork = flags & LogLayout.Flag.carriesWork != 0
        keepsNewest = flags & LogLayout.Flag.keepsNewest != 0
        hasAnswers = flags & LogLayout.Flag.hasAnswers != 0
        guard (1...LogLayout.maximumSlots).contains(readers), (1...LogLayout.maximumSlots).contains(writers),
            LogLayout.controlByteCount(
                carriesWork: carriesWork, capacity: Int(capacity), readerSlots: readers, writerSlots: writers) <= size
        else { throw corrupted("its control file is too short for \(readers) readers and \(writers) writers") }
        let guests = number(Fixed.guestSlots)
        guard guests <= LogLayout.maximumSlots else {
            throw corrupted("the number of its guests is invalid: \(guests)")
        }
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
        self.controlMapping = controlMapping
        unsafe self.control = control.pointer(at: 0, byteCount: size)
        (logMapping, logIdentity) = try Self.mapLog(files, Int(capacity), logAccess, prefaulting: !isDurable)
        unsafe log = logMapping.base
        self.logAccess = logAccess
        if isGuest {
            // A channel without guests has no such file; the caller rejects it later.
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

    /// The error for files that cannot be a channel's.
    static func unusable(_ resource: String, _ what: String) -> IPCError {
        IPCError(.corrupted, "open channel", resource, advice: "\(what); remove the channel, and create it again")
    }

    /// The largest log whose pages are mapped at once. Joining then takes some milliseconds.
    private static let prefaultedCapacity = 64 << 20

    private static func mapLog(
        _ files: borrowing ChannelOpening, _ capacity: Int, _ access: MemoryAccess, prefaulting: Bool
    ) throws(IPCError) -> (MirroredMapping, identity: [UInt64]) {
        let path = files.path + "/log"
        let file = try files.log(access)
        let raw = file.rawValue
        let status = try FileStatus(of: raw, path)
        guard status.isRegularFile, status.size >= capacity else {
            throw unusable(path, "the log has \(status.size) bytes instead of \(capacity)")
        }
        // Not for a file on a disk: prefaulting would read all of it in, or write all of it back.
        let mapping = try MirroredMapping(
            raw, path, byteCount: capacity, access: access,
            prefaulting: prefaulting && capacity <= prefaultedCapacity)
        try file.close()
        return (mapping, status.identity)
    }

    /// The log with write access: a reader that recovers maps it a second time.
    func writableLog() throws(IPCError) -> MirroredMapping {
        if logAccess == .readWrite { return logMapping }
        let files = try ChannelOpening(name, in: place)
        let (log, identity) = try Self.mapLog(files, capacity, .readWrite, prefaulting: false)
        // Another channel may have the name by now.
        guard identity == logIdentity else { throw isRemovedError }
        return log
    }

    /// Checks that this user may remove the channel.
    ///
    /// - Throws: ``/IPC/IPCError/Code/permissionDenied``; ``/IPC/IPCError/Code/invalidArgument`` if foreign files are in its
    ///   folder.
    func checkRemovable() throws(IPCError) { try folder?.checkRemovable(name) }

    var descriptor: CInt { file.rawValue }

    /// The file whose locked bytes show which participants of a role live.
    func lockFile(_ role: ParticipantRole) -> CInt { role == .guest ? guestDescriptor : descriptor }

    var mask: UInt64 { UInt64(capacity - 1) }
    /// The size of the largest payload in bytes.
    @usableFromInline var maximumPayload: Int {
        Int(maximumFrame) - LogLayout.Frame.headerSize - trailerSize
    }
    /// The bytes of a frame after the payload.
    var trailerSize: Int { isDurable ? LogLayout.Frame.checksumSize : 0 }
}

/// A mapping that forked children do not get: it would keep its file open there, and with it the locks on it.
private final class WithheldMapping: Sendable {
    let mapping: MemoryMapping

    init(_ descriptor: CInt, _ name: String, byteCount: Int, _ access: MemoryAccess) throws(IPCError) {
        // No other thread may fork between the mapping and its registration.
        ipc_hold_forks()
        defer { ipc_release_forks() }
        let mapping = try MemoryMapping(
            descriptor, name, offset: 0, byteCount: byteCount, access: access, isShared: true, prefaulting: false)
        let address = unsafe mapping.pointer(at: 0, byteCount: byteCount)
        // In a child of fork nothing can be claimed at the tail: it is not aligned there.
        let tail = unsafe (address + LogLayout.tail).assumingMemoryBound(to: UInt64.self)
        _ = try systemCall { unsafe ipc_withhold_marked(address, byteCount, tail) }.orThrow("open channel", name)
        self.mapping = mapping
    }

    deinit { unsafe ipc_release_memory(mapping.pointer(at: 0, byteCount: mapping.byteCount)) }
}

// Guests: they may subscribe and write nothing but a slot of their own.
extension ChannelMemory {
    /// The guests' memory. Requires a channel with guests, in which a participant has joined.
    var guestMemory: GuestMemory {
        guard let guests else {
            preconditionFailure("a guest's slot is used only after the guests' memory is attached")
        }
        return guests
    }

    private var guestWord: SharedUInt64 { word(LogLayout.guests) }
    private var guestTime: SharedUInt64 { word(LogLayout.guestsTime) }

    /// Attaches the guests' memory, if a participant has joined.
    func lookAtGuests() {
        guard guestSlots > 0, guests == nil else { return }
        guests = GuestMemory(guestWord.published, made: guestTime.relaxed, slots: guestSlots)
    }

    /// Makes the guests' memory. Called by the only participant of the channel.
    func makeGuests() throws(IPCError) {
        let made = try GuestMemory(slots: guestSlots, name)
        guestWord.published = 0
        guestTime.relaxed = try made.share(
            owner, group, permissions.union(guestPermissions.readingAndWriting), name)
        guestWord.published = made.word
        guests = made
    }

}

extension ChannelMemory {
    // Unchecked: offsets come from the layout, and slots are below the counts that were checked against the file's size.

    func word(_ offset: Int) -> SharedUInt64 { unsafe SharedUInt64(control + offset) }

    func half(_ offset: Int) -> UnsafePointer<Atomic<UInt32>> {
        unsafe UnsafeRawPointer(control + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
    }

    func reader(_ slot: Int, _ field: Int) -> SharedUInt64 { word(LogLayout.readerSlot(slot) + field) }
    func writer(_ slot: Int, _ field: Int) -> SharedUInt64 {
        word(LogLayout.writerSlot(slot, readerSlots: readerSlots) + field)
    }

    /// Whether this process was forked from the one that opened it, and so is no participant.
    @inlinable @inline(__always)
    var isInherited: Bool { forks != ipc_forks() }

    /// Checks that the channel exists and that this process is not a forked child. A system call, for slow paths.
    ///
    /// - Throws: ``/IPC/IPCError/Code/removed``; ``/IPC/IPCError/Code/inherited``.
    func checkPresence() throws(IPCError) {
        guard !isInherited else { throw isInheritedError }
        guard case .root = place else { return }  // a channel without a name has no links
        guard try FileStatus(of: descriptor, name.description).linkCount > 0 else { throw isRemovedError }
    }

    var isInheritedError: IPCError {
        IPCError(
            .inherited, "use channel", name.description,
            advice:
                "this process was forked from the one that joined, and is not a participant; join again in this process, or start children with exec"
        )
    }

    var isRemovedError: IPCError {
        IPCError(
            .removed, "use channel", name.description,
            advice:
                "its files were removed while it was in use (by `ipc rm`, a program, or systemd's RemoveIPC); join again, which creates it again"
        )
    }

    var joins: SharedUInt32 { SharedUInt32(self, LogLayout.joins) }
    var recoveries: SharedUInt32 { SharedUInt32(self, LogLayout.recoveries) }
    var tail: SharedUInt64 { word(LogLayout.tail) }
    var synced: SharedUInt64 { word(LogLayout.synced) }
    var reservedEnd: SharedUInt64 { word(LogLayout.reservedEnd) }

    var latest: SharedUInt64 { word(LogLayout.latest) }

    /// Whether setters publish the position of the newest value. Needed where there may be several: another's uncommitted claim may
    /// lie before it.
    var publishesLatest: Bool { keepsNewest && hasSharedWriters }

    /// Raises the newest value's position to `position`, where a message was committed.
    func publishLatest(_ position: UInt64, _ kind: UInt32) {
        if publishesLatest, LogLayout.Kind.isMessage(kind) { latest.raise(to: position | 1) }
    }

    /// Whether the frame at `position` is committed.
    func isCommitted(_ position: UInt64) -> Bool {
        // Aligned, whatever a peer stored: on some processors an unaligned atomic access ends the process. Sequentially consistent:
        // the last check of a sleeper, and paired acknowledgements, load this after their own store.
        let place = position & mask & ~(UInt64(LogLayout.Frame.alignment) - 1)
        return unsafe SharedUInt64(log + Int(truncatingIfNeeded: place)).ordered == position ^ key
    }

    func corrupted(_ what: String) -> IPCError {
        IPCError(
            .corrupted, "channel", name.description,
            advice:
                "\(what); a participant that does not use this library may have written it: remove the channel, and create it again"
        )
    }
}
