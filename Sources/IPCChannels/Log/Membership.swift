import CIPCShims
import Glibc
import IPC
import Synchronization

/// A participant's slot in a channel, and the lock on it that the kernel drops when the participant is no more.
///
/// A class, since what a participant hands out (a job, a call) keeps its slot until that is finished.
@usableFromInline
final class Membership: Sendable {
    enum Role {
        case reader, writer
        /// A reader that may write nothing but its own slot.
        case guest
    }

    let memory: ChannelMemory
    let role: Role
    let slot: Int
    /// Which participant of this process it is.
    let token = nextToken.add(1, ordering: .relaxed).newValue
    private static let nextToken = Atomic<UInt32>(0)
    /// Of a service's client: how many bytes its calls take that are not ended.
    let outstanding = Atomic(0)
    /// Whether the gate is held for it still.
    private let isJoining = Atomic(true)

    private init(_ memory: ChannelMemory, _ role: Role, _ slot: Int) {
        self.memory = memory
        self.role = role
        self.slot = slot
    }

    /// Joins a channel that exists. One whose last participant has left, but has not taken it away, is taken away first.
    ///
    /// - Throws: ``IPC/IPCError/Code/limitReached`` if all slots are taken; ``IPC/IPCError/Code/addressInUse`` if there
    ///   is another exclusive writer; ``IPC/IPCError/Code/timedOut`` if a stopped process holds the gate.
    static func join(
        _ name: ChannelName, as role: Role, in place: ChannelPlace, logAccess: MemoryAccess? = nil,
        check: (ChannelMemory) throws(IPCError) -> Void
    ) throws(IPCError) -> Membership {
        // First of all: a process that has not registered takes no part in the fences of those who sleep.
        _ = SleepingPlace.isRegistered
        let patience = ByteLock.patience
        while true {
            let memory = try ChannelMemory(
                name, in: place, logAccess: logAccess ?? (role == .reader ? .readOnly : .readWrite))
            try check(memory)
            guard let membership = try memory.join(as: role, until: patience) else {
                try remove(memory)
                continue
            }
            return membership
        }
    }

    /// Joins as a guest a channel that is there.
    ///
    /// - Returns: Nil if it takes none.
    /// - Throws: ``IPC/IPCError/Code/permissionDenied``; ``IPC/IPCError/Code/notReady`` if no participant is there;
    ///   ``IPC/IPCError/Code/limitReached``.
    static func joinAsGuest(
        _ name: ChannelName, in place: ChannelPlace, check: (ChannelMemory) throws(IPCError) -> Void
    ) throws(IPCError) -> Membership? {
        _ = SleepingPlace.isRegistered
        guard let memory = try ChannelMemory.opened(forGuest: name, in: place) else { return nil }
        try check(memory)
        return try memory.joinAsGuest()
    }

    fileprivate static func settled(_ memory: ChannelMemory, _ role: Role, _ slot: Int) -> Membership {
        memory.ownSlot = (role, slot)
        return Membership(memory, role, slot)
    }

    /// The gate is held from ``join(_:as:in:logAccess:check:)`` until this: the slot has to be set up first. A guest does without.
    func finishJoining() {
        KillPoint.reach(.joinCursor)
        isJoining.store(false, ordering: .relaxed)
        if role != .guest { memory.unlockGate() }
    }

    deinit {
        // A child of fork has no part in it; what there is of it is the parent's.
        guard !memory.isInherited else { return }
        ChannelWaits.shared.forget(token)
        if role == .guest { return memory.leaveAsGuest(slot) }
        // What could not be set up holds the gate still.
        if !isJoining.load(ordering: .relaxed) {
            // Nobody has the slot before we let go of it, so what it had can be given up first.
            _ = try? memory.giveUpWork(of: role, slot)
            guard (try? memory.lockGate()) != nil else { return }  // the lock goes anyway, and the slot is recovered
        }
        KillPoint.reach(.leaveSlot)
        memory.clear(role, slot)
        ByteLock.release(memory.descriptor, LogLayout.LockByte.participant(role, slot))
        // In a root that this user may not change, it stays, for one who may take it away.
        let isLast = !memory.isKept && !memory.hasLivingParticipants && (try? memory.checkRemovable()) != nil
        if isLast { memory.isRemoved = true }
        KillPoint.reach(.removeFlag)
        memory.unlockGate()
        if isLast { try? Self.remove(memory) }
        KillPoint.reach(.leaveWake)
        // Whomever we held back goes on.
        memory.wakeEverybody()
    }

    /// Takes the folder of a removed channel away, unless it is another one's by now.
    static func remove(_ memory: ChannelMemory) throws(IPCError) {
        guard let folder = memory.folder else { return }
        let identity = memory.identity
        // Nil if the whole root has been removed.
        guard let lock = try folder.lock() else { return }
        try folder.removeLeftovers()
        if try folder.identity(of: memory.name) == identity { try folder.remove(memory.name) }
        _ = consume lock
    }
}

extension ChannelMemory {
    /// Takes a slot, and leaves the gate locked until ``Membership/finishJoining()``.
    ///
    /// - Returns: nil if the channel is removed.
    fileprivate func join(
        as role: Membership.Role, until patience: Deadline
    ) throws(IPCError) -> Membership? {
        while true {
            if !isDurable { try Recovery.tryRun(self) }
            try lockGate(until: patience)
            do throws(IPCError) {
                if isRemoved {
                    unlockGate()
                    return nil
                }
                try joinGuests()
                if isDurable { try DurableRecovery.runIfAlone(self) }
                if let slot = try takeSlot(role) { return .settled(self, role, slot) }
                // What a dead one has is free as soon as it is settled.
                guard try hasDeadParticipants, !patience.hasPassed else { throw isFull(role) }
            } catch {
                unlockGate()
                throw error
            }
            unlockGate()
            if try !Recovery.tryRun(self) { usleep(200) }  // another process settles it
        }
    }

    /// How many slots of a role may be taken.
    private func slotCount(_ role: Membership.Role) -> Int {
        if role == .reader { return readerSlots }
        return hasSharedWriters ? writerSlots : 1
    }

    /// Under the gate.
    ///
    /// - Returns: nil if none is free.
    private func takeSlot(_ role: Membership.Role) throws(IPCError) -> Int? {
        for slot in 0..<slotCount(role) {
            let byte = LogLayout.LockByte.participant(role, slot)
            guard state(role, slot).acquired == LogLayout.SlotState.free,
                try ByteLock.tryTake(descriptor, byte, name.description)
            else { continue }
            KillPoint.reach(.joinSlot)
            enter(role, slot)
            let used = role == .reader ? usedReaderCount : usedWriterCount
            if used.relaxed <= UInt32(slot) { used.ordered = UInt32(slot + 1) }
            // After the slot is seen to be taken, and before it holds anybody back: who waits has to know whose death to look out
            // for. A pair: we add to the joins and then look whether somebody sleeps; a sleeper counts itself and then looks at the
            // joins. Both are sequentially consistent, so that one of us sees the other.
            joins.add(1)
            try tellOfJoin(role, slot)
            return slot
        }
        return nil
    }

    /// After it was counted.
    private func tellOfJoin(_ role: Membership.Role, _ slot: Int) throws(IPCError) {
        KillPoint.reach(.joinTold)
        var areAllTold = true
        for queue in queues where !queue.tellOfJoin(self) { areAllTold = false }
        if areAllTold { return }
        // As one that leaves, so that nobody waits for somebody of whom it does not know.
        clear(role, slot)
        ByteLock.release(lockFile(role), LogLayout.LockByte.participant(role, slot))
        throw IPCError(
            "join channel", name.description, .tooManyOpenFiles,
            advice: "no descriptor is free to tell those who wait in it; close some, or raise the limit (ulimit -n)")
    }

    private func enter(_ role: Membership.Role, _ slot: Int) {
        process(role, slot).relaxed = UInt32(bitPattern: getpid())
        namespace(role, slot).relaxed = ProcessWatches.namespace
        state(role, slot).ordered = LogLayout.SlotState.taken
    }

    /// Takes a guest's slot. There is no gate: whoever has the slot's byte has the slot, and no guest keeps a channel.
    fileprivate func joinAsGuest() throws(IPCError) -> Membership {
        let patience = Deadline.after(.seconds(1))
        while true {
            for slot in 0..<guestSlots {
                let byte = LogLayout.LockByte.guest(slot)
                guard state(.guest, slot).acquired == LogLayout.SlotState.free,
                    try ByteLock.tryTake(descriptor, byte, name.description)
                else { continue }
                KillPoint.reach(.joinSlot)
                enter(.guest, slot)
                guestMemory.usedSlots.raise(to: UInt32(slot + 1))
                // As others who join: see ``takeSlot(_:)``.
                guestMemory.joins.add(1)
                try tellOfJoin(.guest, slot)
                return .settled(self, .guest, slot)
            }
            // What a dead one has is free as soon as it is settled; a hostile one may say that it has all for ever.
            guard try hasDeadGuests, !patience.hasPassed else { break }
            if try !Recovery.tryRun(self) { usleep(200) }  // another settles it
        }
        throw IPCError(
            .limitReached, "subscribe", name.description,
            advice: "all \(guestSlots) slots of its guests are taken; create it with a higher maximumReaders")
    }

    /// What a guest says of itself, where another has written over it.
    func sayAgain(guest slot: Int) {
        if state(.guest, slot).acquired != LogLayout.SlotState.taken { enter(.guest, slot) }
        guestMemory.usedSlots.raise(to: UInt32(slot + 1))
    }

    fileprivate func leaveAsGuest(_ slot: Int) {
        KillPoint.reach(.leaveSlot)
        clear(.guest, slot)
        ByteLock.release(descriptor, LogLayout.LockByte.guest(slot))
        KillPoint.reach(.leaveWake)
        // Whomever we held back goes on.
        wakeEverybody()
    }

    private func isFull(_ role: Membership.Role) -> IPCError {
        let count = slotCount(role)
        if role == .writer, !hasSharedWriters {
            return IPCError(
                .addressInUse, "write to channel", name.description,
                advice:
                    "process \(process(role, 0).relaxed) is writing to it already; end that one, or create the channel with shared writers"
            )
        }
        return IPCError(
            .limitReached, "join channel", name.description,
            advice:
                "all its \(count) \(role == .reader ? "reader" : "writer") slots are taken; create it with a higher \(role == .reader ? "maximumReaders" : "maximumWriters")"
        )
    }
}
