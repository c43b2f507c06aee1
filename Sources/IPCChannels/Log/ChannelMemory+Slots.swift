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
        role == .reader
            ? SharedHalf(self, LogLayout.readerSlot(slot) + ofReader)
            : SharedHalf(self, LogLayout.writerSlot(slot, readerSlots: readerSlots) + ofWriter)
    }

    var usedReaderCount: SharedHalf { SharedHalf(self, LogLayout.usedReaderSlots) }
    var usedWriterCount: SharedHalf { SharedHalf(self, LogLayout.usedWriterSlots) }

    /// How many reader slots have ever been used: what lies above needs no look.
    var usedReaders: Int { min(readerSlots, Int(usedReaderCount.acquired)) }
    var usedWriters: Int { min(writerSlots, Int(usedWriterCount.acquired)) }

    /// Makes a slot free: what it held back goes on. Whoever does this wakes those who wait.
    func clear(_ role: Membership.Role, _ slot: Int) {
        switch role {
        case .reader: reader(slot, LogLayout.ReaderSlot.cursor).ordered = .max
        case .writer: writer(slot, LogLayout.WriterSlot.intentPosition).ordered = LogLayout.unclaimed
        }
        bell(role, slot).ordered = 0
        state(role, slot).ordered = LogLayout.SlotState.free
    }

    /// Every slot that is not free, but our own.
    var othersSlots: [(role: Membership.Role, slot: Int)] {
        let all = (0..<usedReaders).map { (Membership.Role.reader, $0) } + (0..<usedWriters).map { (.writer, $0) }
        return all.filter { role, slot in
            // Our own lock does not show as another's; our own slot is not dead.
            !(ownSlot.map { $0 == (role, slot) } ?? false) && state(role, slot).acquired != LogLayout.SlotState.free
        }
    }

    /// Whether somebody else lives.
    var hasLivingParticipants: Bool {
        // Where the kernel does not answer, somebody may.
        othersSlots.contains { (role, slot) in
            do throws(IPCError) { return try isAlive(role, slot) } catch { return true }
        }
    }

    /// Whether somebody's place is not settled yet.
    var hasDeadParticipants: Bool {
        get throws(IPCError) {
            for (role, slot) in othersSlots {
                if state(role, slot).acquired == LogLayout.SlotState.settling { return true }
                if try !isAlive(role, slot) { return true }
            }
            return false
        }
    }

    /// Whether the owner of a taken slot lives, by the kernel's word; or somebody settles what it has left. One that may only read the
    /// channel cannot ask for locks, and takes a process of that number for it.
    func isAlive(_ role: Membership.Role, _ slot: Int) throws(IPCError) -> Bool {
        guard controlAccess == .readWrite else {
            guard namespace(role, slot).relaxed == ProcessWatches.namespace else { return true }
            let process = pid_t(bitPattern: process(role, slot).relaxed)
            return process > 0 && (kill(process, 0) == 0 || errno == EPERM)
        }
        return try isLocked(role, slot)
    }

    private func isLocked(_ role: Membership.Role, _ slot: Int) throws(IPCError) -> Bool {
        try ByteLock.isTaken(descriptor, LogLayout.LockByte.participant(role, slot), name.description)
    }
}

/// A 32-bit word in `control`.
@safe
struct SharedHalf {
    private let pointer: UnsafePointer<Atomic<UInt32>>

    init(_ memory: ChannelMemory, _ offset: Int) { unsafe pointer = memory.half(offset) }

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
}
