import Glibc
import IPC
import Synchronization

/// A participant's slot in a channel, and the lock on it that the kernel drops when the participant is no more.
///
/// A class, since what a participant hands out (a job, a call) keeps its slot until that is finished.
@usableFromInline
final class Membership: Sendable {
    enum Role { case reader, writer }

    let memory: ChannelMemory
    let role: Role
    let slot: Int
    /// Which participant of this process it is.
    let token = nextToken.add(1, ordering: .relaxed).newValue
    private static let nextToken = Atomic<UInt32>(0)

    private init(_ memory: ChannelMemory, _ role: Role, _ slot: Int) {
        self.memory = memory
        self.role = role
        self.slot = slot
    }

    /// Joins a channel that exists. One whose last participant has left, but has not taken it away, is taken away first.
    ///
    /// - Throws: ``IPC/IPCError/Code/limitReached`` if all slots are taken; ``IPC/IPCError/Code/addressInUse`` if there
    ///   is another exclusive writer.
    static func join(
        _ name: ChannelName, as role: Role, in place: ChannelPlace, logAccess: MemoryAccess? = nil,
        check: (ChannelMemory) throws(IPCError) -> Void
    ) throws(IPCError) -> Membership {
        while true {
            let memory = try ChannelMemory(
                name, in: place, logAccess: logAccess ?? (role == .reader ? .readOnly : .readWrite))
            try check(memory)
            try memory.lockGate()
            if memory.isRemoved {
                memory.unlockGate()
                try remove(memory)
                continue
            }
            do throws(IPCError) {
                if memory.isDurable { try DurableRecovery.runIfAlone(memory) }
                let slot = try takeSlot(memory, role)
                memory.ownSlot = (role, slot)
                return Membership(memory, role, slot)
            } catch {
                memory.unlockGate()
                throw error
            }
        }
    }

    /// The gate is held from ``join(_:as:in:check:)`` until this: the slot has to be set up first.
    func finishJoining() {
        KillPoint.reach(.joinCursor)
        memory.unlockGate()
    }

    private static func takeSlot(_ memory: ChannelMemory, _ role: Role) throws(IPCError) -> Int {
        let isReader = role == .reader
        let isExclusive = !isReader && !memory.hasSharedWriters
        let count = isExclusive ? 1 : isReader ? memory.readerSlots : memory.writerSlots
        _ = try Recovery.run(memory)
        for slot in 0..<count {
            let byte = LogLayout.LockByte.participant(role, slot)
            guard memory.state(role, slot).relaxed == 0,
                try ByteLock.tryTake(memory.descriptor, byte, memory.name.description)
            else { continue }
            KillPoint.reach(.joinSlot)
            memory.state(role, slot).relaxed = 1
            memory.process(role, slot).relaxed = UInt32(getpid())
            memory.namespace(role, slot).relaxed = ProcessWatches.namespace
            let used = unsafe memory.half(isReader ? LogLayout.usedReaderSlots : LogLayout.usedWriterSlots)
            // Releasing: who sees the number sees an idle slot, or what we write there next.
            if unsafe used.pointee.load(ordering: .relaxed) <= UInt32(slot) {
                unsafe used.pointee.store(UInt32(slot + 1), ordering: .sequentiallyConsistent)
            }
            // Before the slot holds anybody back: who waits has to know whose death to look out for.
            memory.joins.relaxed &+= 1
            KillPoint.reach(.joinTold)
            memory.sleepingReaders.tellOfJoin(memory)
            memory.sleepingWriters.tellOfJoin(memory)
            return slot
        }
        if isExclusive {
            throw IPCError(
                .addressInUse, "write to channel", memory.name.description,
                advice:
                    "process \(memory.process(role, 0).relaxed) is writing to it already; end that one, or create the channel with shared writers"
            )
        }
        throw IPCError(
            .limitReached, "join channel", memory.name.description,
            advice:
                "all its \(count) \(isReader ? "reader" : "writer") slots are taken; create it with a higher \(isReader ? "maximumReaders" : "maximumWriters")"
        )
    }

    deinit {
        ChannelWaits.shared.forget(token)
        guard (try? memory.lockGate()) != nil else { return }  // the lock goes anyway, and the slot is recovered
        KillPoint.reach(.leaveSlot)
        let byte = LogLayout.LockByte.participant(role, slot)
        try? memory.giveUpWork(of: role, slot)
        memory.clear(role, slot)
        ByteLock.release(memory.descriptor, byte)
        _ = try? Recovery.run(memory)
        let isLast = !memory.isKept && !memory.hasParticipants
        if isLast { memory.isRemoved = true }
        KillPoint.reach(.removeFlag)
        memory.unlockGate()
        if isLast { try? Self.remove(memory) }
    }

    /// Takes the folder of a removed channel away, unless it is another one's by now.
    static func remove(_ memory: ChannelMemory) throws(IPCError) {
        guard case .root(let root) = memory.place else { return }
        let identity = try memory.identity
        try root.remove(memory.name) { () throws(IPCError) in
            guard let status = try? FileStatus(at: root.folder(memory.name) + "/control") else { return false }
            return status.identity == identity
        }
    }
}

extension ChannelMemory {
    func lockGate() throws(IPCError) {
        try ByteLock.wait(descriptor, LogLayout.LockByte.gate, name.description, until: .after(.seconds(10)))
    }

    /// - Returns: False if another has it.
    func tryLockGate() throws(IPCError) -> Bool {
        try ByteLock.tryTake(descriptor, LogLayout.LockByte.gate, name.description)
    }

    func unlockGate() { ByteLock.release(descriptor, LogLayout.LockByte.gate) }

    // Under the gate:

    var isRemoved: Bool {
        get { unsafe half(LogLayout.removed).pointee.load(ordering: .relaxed) != 0 }
        set { unsafe half(LogLayout.removed).pointee.store(newValue ? 1 : 0, ordering: .relaxed) }
    }

    func state(_ role: Membership.Role, _ slot: Int) -> SharedHalf {
        role == .reader
            ? SharedHalf(self, LogLayout.readerSlot(slot) + LogLayout.ReaderSlot.state)
            : SharedHalf(self, LogLayout.writerSlot(slot, readerSlots: readerSlots) + LogLayout.WriterSlot.state)
    }

    func process(_ role: Membership.Role, _ slot: Int) -> SharedHalf {
        role == .reader
            ? SharedHalf(self, LogLayout.readerSlot(slot) + LogLayout.ReaderSlot.process)
            : SharedHalf(self, LogLayout.writerSlot(slot, readerSlots: readerSlots) + LogLayout.WriterSlot.process)
    }

    func namespace(_ role: Membership.Role, _ slot: Int) -> SharedHalf {
        role == .reader
            ? SharedHalf(self, LogLayout.readerSlot(slot) + LogLayout.ReaderSlot.namespace)
            : SharedHalf(self, LogLayout.writerSlot(slot, readerSlots: readerSlots) + LogLayout.WriterSlot.namespace)
    }

    /// Makes a slot free: what it held back goes on.
    func clear(_ role: Membership.Role, _ slot: Int) {
        switch role {
        case .reader: reader(slot, LogLayout.ReaderSlot.cursor).ordered = .max
        case .writer: writer(slot, LogLayout.WriterSlot.intentPosition).ordered = LogLayout.unclaimed
        }
        bell(role, slot).relaxed = 0
        state(role, slot).relaxed = 0
    }

    /// Whether any slot is taken. Slots of the dead were recovered before.
    var hasParticipants: Bool {
        (0..<usedReaders).contains { state(.reader, $0).relaxed != 0 }
            || (0..<usedWriters).contains { state(.writer, $0).relaxed != 0 }
    }

    /// Whether the owner of a taken slot lives, by the kernel's word.
    func isAlive(_ role: Membership.Role, _ slot: Int) throws(IPCError) -> Bool {
        let byte = LogLayout.LockByte.participant(role, slot)
        return try ByteLock.isTaken(descriptor, byte, name.description)
    }
}

/// A 32-bit word in `control` that needs no ordering: the gate's lock gives it.
@safe
struct SharedHalf {
    private let pointer: UnsafePointer<Atomic<UInt32>>

    init(_ memory: ChannelMemory, _ offset: Int) { unsafe pointer = memory.half(offset) }

    var relaxed: UInt32 {
        get { unsafe pointer.pointee.load(ordering: .relaxed) }
        nonmutating set { unsafe pointer.pointee.store(newValue, ordering: .relaxed) }
    }
}
