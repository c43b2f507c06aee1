import Glibc
import IPC
import Synchronization

// The gate, and the slots that it guards.
extension ChannelMemory {
    /// Takes the gate, however long its holder needs it. Holders need it for microseconds.
    ///
    /// - Throws: ``IPC/IPCError/Code/timedOut`` if a process was stopped while it held it.
    func lockGate(until deadline: Deadline = ByteLock.patience) throws(IPCError) {
        let path = folder.map { "\($0.path)/\(name.folder)/locks" } ?? name.description
        try ByteLock.wait(name.description, descriptor, path, until: deadline) { () throws(IPCError) in
            try tryLockGate()
        }
    }

    /// - Returns: False if another has it, in whatever process or thread.
    func tryLockGate() throws(IPCError) -> Bool {
        // The byte's lock belongs to our descriptor, and so to all threads that use it: among them, a flag excludes.
        guard gateIsHeld.compareExchange(expected: false, desired: true, ordering: .acquiring).exchanged else {
            return false
        }
        do throws(IPCError) {
            if try ByteLock.tryTake(descriptor, LogLayout.LockByte.gate, name.description) { return true }
        } catch {
            gateIsHeld.store(false, ordering: .releasing)
            throw error
        }
        gateIsHeld.store(false, ordering: .releasing)
        return false
    }

    func unlockGate() {
        ByteLock.release(descriptor, LogLayout.LockByte.gate)
        gateIsHeld.store(false, ordering: .releasing)
    }

    // Changed under the gate:

    var isRemoved: Bool {
        get { SharedHalf(self, LogLayout.removed).acquired != 0 }
        set { SharedHalf(self, LogLayout.removed).ordered = newValue ? 1 : 0 }
    }

    /// `LogLayout.SlotState`.
    func state(_ role: Membership.Role, _ slot: Int) -> SharedHalf {
        half(role, slot, LogLayout.ReaderSlot.state, LogLayout.WriterSlot.state)
    }

    func process(_ role: Membership.Role, _ slot: Int) -> SharedHalf {
        half(role, slot, LogLayout.ReaderSlot.process, LogLayout.WriterSlot.process)
    }

    func namespace(_ role: Membership.Role, _ slot: Int) -> SharedHalf {
        half(role, slot, LogLayout.ReaderSlot.namespace, LogLayout.WriterSlot.namespace)
    }

    private func half(_ role: Membership.Role, _ slot: Int, _ ofReader: Int, _ ofWriter: Int) -> SharedHalf {
        switch role {
        case .reader: SharedHalf(self, LogLayout.readerSlot(slot) + ofReader)
        case .writer: SharedHalf(self, LogLayout.writerSlot(slot, readerSlots: readerSlots) + ofWriter)
        case .guest: guestMemory.half(LogLayout.Guests.slot(slot) + ofReader)
        }
    }

    var usedReaderCount: SharedHalf { SharedHalf(self, LogLayout.usedReaderSlots) }
    var usedWriterCount: SharedHalf { SharedHalf(self, LogLayout.usedWriterSlots) }

    /// How many reader slots have ever been used: what lies above needs no look.
    var usedReaders: Int { min(readerSlots, Int(usedReaderCount.acquired)) }
    var usedWriters: Int { min(writerSlots, Int(usedWriterCount.acquired)) }
    var usedGuests: Int { guests.map { min(guestSlots, Int($0.usedSlots.acquired)) } ?? 0 }

    /// All slots that have ever been used.
    var usedSlots: [(role: Membership.Role, slot: Int)] {
        (0..<usedReaders).map { (.reader, $0) } + (0..<usedWriters).map { (.writer, $0) }
            + (0..<usedGuests).map { (.guest, $0) }
    }

    /// How often somebody joined: an ordered load, as its parts are.
    var joinCount: UInt32 { joins.ordered &+ (guests?.joins.ordered ?? 0) }

    /// Makes a slot free: what it held back goes on. Whoever does this wakes those who wait.
    func clear(_ role: Membership.Role, _ slot: Int) {
        switch role {
        case .reader, .guest: cursor(role, slot).ordered = .max
        case .writer: writer(slot, LogLayout.WriterSlot.intentPosition).ordered = LogLayout.unclaimed
        }
        bell(role, slot).ordered = 0
        state(role, slot).ordered = LogLayout.SlotState.free
    }

    /// Of one that reads.
    func cursor(_ role: Membership.Role, _ slot: Int) -> SharedWord {
        role == .guest
            ? guestMemory.word(LogLayout.Guests.slot(slot) + LogLayout.ReaderSlot.cursor)
            : reader(slot, LogLayout.ReaderSlot.cursor)
    }

    /// Every slot that is not free, but our own. A guest may change those of guests only, and so sees no others here.
    var othersSlots: [(role: Membership.Role, slot: Int)] {
        usedSlots.filter { role, slot in
            if isGuest, role != .guest { return false }
            // Our own lock does not show as another's; our own slot is not dead.
            if let ownSlot, ownSlot == (role, slot) { return false }
            return state(role, slot).acquired != LogLayout.SlotState.free
        }
    }

    /// Whether somebody else lives, but for guests, who keep no channel.
    var hasLivingParticipants: Bool {
        // Where the kernel does not answer, somebody may.
        othersSlots.contains { (role, slot) in
            guard role != .guest else { return false }
            do throws(IPCError) { return try isAlive(role, slot) } catch { return true }
        }
    }

    /// Whether somebody's place is not settled yet, but for guests: what they say of themselves holds nobody up.
    var hasDeadParticipants: Bool {
        get throws(IPCError) {
            for (role, slot) in othersSlots where role != .guest {
                if state(role, slot).acquired == LogLayout.SlotState.settling { return true }
                if try !isAlive(role, slot) { return true }
            }
            return false
        }
    }

    var hasDeadGuests: Bool {
        get throws(IPCError) {
            for (role, slot) in othersSlots where role == .guest {
                if try !isAlive(role, slot) { return true }
            }
            return false
        }
    }

    /// Whether the owner of a taken slot lives, by the kernel's word; or somebody settles what it has left. One that may only read the
    /// channel cannot ask for locks, and takes a process of that number for it.
    func isAlive(_ role: Membership.Role, _ slot: Int) throws(IPCError) -> Bool {
        guard controlAccess == .readWrite || isGuest && role == .guest else {
            guard namespace(role, slot).relaxed == ProcessWatches.namespace else { return true }
            let process = pid_t(bitPattern: process(role, slot).relaxed)
            return process > 0 && (kill(process, 0) == 0 || errno == EPERM)
        }
        return try isLocked(role, slot)
    }

    private func isLocked(_ role: Membership.Role, _ slot: Int) throws(IPCError) -> Bool {
        try ByteLock.isTaken(lockFile(role), LogLayout.LockByte.participant(role, slot), name.description)
    }
}

/// A 32-bit word in `control`.
@safe
struct SharedHalf {
    private let pointer: UnsafePointer<Atomic<UInt32>>

    init(_ memory: ChannelMemory, _ offset: Int) { unsafe pointer = memory.half(offset) }
    init(_ pointer: UnsafePointer<Atomic<UInt32>>) { unsafe self.pointer = pointer }

    /// For what another word, or the gate, orders.
    var relaxed: UInt32 {
        get { unsafe pointer.pointee.load(ordering: .relaxed) }
        nonmutating set { unsafe pointer.pointee.store(newValue, ordering: .relaxed) }
    }

    var acquired: UInt32 { unsafe pointer.pointee.load(ordering: .acquiring) }

    /// For pairs in which each side stores one word and then looks at the other's.
    var ordered: UInt32 {
        get { unsafe pointer.pointee.load(ordering: .sequentiallyConsistent) }
        nonmutating set { unsafe pointer.pointee.store(newValue, ordering: .sequentiallyConsistent) }
    }

    func add(_ count: UInt32) { unsafe pointer.pointee.wrappingAdd(count, ordering: .sequentiallyConsistent) }

    /// Makes it at least `value`.
    func raise(to value: UInt32) { unsafe pointer.pointee.max(value, ordering: .sequentiallyConsistent) }
}
