import CIPCShims
import Glibc
import IPC
import Synchronization

/// A participant's slot in a channel, and the lock on it, which the kernel releases when the participant ends.
///
/// A class, because a job or a call that a participant delivers retains the slot until it is finished.
@usableFromInline
final class Membership: Sendable {
    typealias Role = ParticipantRole

    let memory: ChannelMemory
    let role: Role
    let slot: Int
    /// Identifies the participant within this process.
    let token = nextToken.add(1, ordering: .relaxed).newValue
    private static let nextToken = Atomic<UInt32>(0)
    /// For a participant whose messages are answered: the bytes of its calls that have not ended.
    let outstanding = Atomic(0)
    /// Released with the membership; it registers the participant as one that waits without a thread.
    let companion = Locked<(any AnyObject & Sendable)?>(nil)
    /// Whether the membership lock is still held for it.
    private let isJoining = Atomic(true)

    private init(_ memory: ChannelMemory, _ role: Role, _ slot: Int) {
        self.memory = memory
        self.role = role
        self.slot = slot
    }

    /// Joins a channel that exists. If its last participant has left without removing the files, they are removed first.
    ///
    /// - Parameter open: Opens the channel and checks that it is the expected one. Called again if the channel was removed
    ///   meanwhile.
    /// - Throws: ``/IPC/IPCError/Code/limitReached`` if all slots are taken; ``/IPC/IPCError/Code/addressInUse`` if there is
    ///   another exclusive writer; ``/IPC/IPCError/Code/timedOut`` if a stopped process holds the membership lock.
    static func join(
        as role: Role, _ open: () throws(IPCError) -> ChannelMemory
    ) throws(IPCError) -> Membership {
        // First of all: the fences of sleepers do not reach a process that has not registered.
        _ = WaitQueue.isRegistered
        let patience = ByteLock.patience
        while true {
            let memory = try open()
            guard let membership = try memory.join(as: role, until: patience) else {
                try remove(memory)
                continue
            }
            return membership
        }
    }

    /// Joins an existing channel as a guest.
    ///
    /// - Throws: ``/IPC/IPCError/Code/permissionDenied``; ``/IPC/IPCError/Code/notReady`` if the channel has no participants;
    ///   ``/IPC/IPCError/Code/limitReached``.
    static func joinAsGuest(_ memory: ChannelMemory) throws(IPCError) -> Membership {
        _ = WaitQueue.isRegistered
        return try memory.joinAsGuest()
    }

    static func settled(_ memory: ChannelMemory, _ role: Role, _ slot: Int) -> Membership {
        memory.ownSlot = (role, slot)
        OwnSlots.add(memory, role, slot)
        return Membership(memory, role, slot)
    }

    /// Releases the membership lock, which is held from ``join(as:_:)`` until the slot is set up. A guest does not hold it.
    func finishJoining() {
        KillPoint.reach(.joinCursor)
        isJoining.store(false, ordering: .relaxed)
        if role != .guest { memory.unlockMembership() }
    }

    deinit {
        // A forked child does not own it; the slot is still the parent's.
        guard !memory.isInherited else { return }
        // Released outside its own lock.
        let companion = companion.withLock { $0.take() }
        _ = consume companion
        OwnSlots.remove(memory, role, slot)
        if role == .guest { return memory.leaveAsGuest(slot) }
        // If the slot was never set up, the membership lock is still held.
        if !isJoining.load(ordering: .relaxed) {
            // The slot belongs to this participant until it is cleared below, so what it has can be given up first.
            _ = try? memory.hooks?.settle(role, slot, isDead: false, in: memory)
            // If the lock cannot be taken, the kernel releases the slot's lock anyway, and the slot is recovered.
            guard (try? memory.lockMembership()) != nil else { return }
        }
        KillPoint.reach(.leaveSlot)
        memory.clear(role, slot)
        ByteLock.release(memory.descriptor, LogLayout.LockByte.participant(role, slot))
        // In a root that this user may not change, the channel stays for a user who may remove it.
        let isLast = !memory.isKept && !memory.hasLivingParticipants && (try? memory.checkRemovable()) != nil
        if isLast { memory.isRemoved = true }
        KillPoint.reach(.removeFlag)
        memory.unlockMembership()
        if isLast { try? Self.remove(memory) }
        KillPoint.reach(.leaveWake)
        // What this participant held back can go on.
        memory.wakeEverybody()
    }

    /// Removes the folder of a removed channel, unless another channel has the name by now.
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
    /// Takes a slot. The membership lock stays held until ``Membership/finishJoining()``.
    ///
    /// - Returns: Nil if the channel is removed.
    fileprivate func join(
        as role: Membership.Role, until patience: Deadline
    ) throws(IPCError) -> Membership? {
        while true {
            if !isDurable { try Recovery.tryRun(self) }
            try lockMembership(until: patience)
            do throws(IPCError) {
                if isRemoved {
                    unlockMembership()
                    return nil
                }
                try joinGuests()
                if isDurable { try DurableRecovery.runIfAlone(self) }
                var isOneReleased = false
                if let slot = try takeSlot(role, &isOneReleased) { return .settled(self, role, slot) }
                // A dead participant's slot is free once it is settled.
                let mayBeFree = isOneReleased ? true : try hasDeadParticipants
                guard mayBeFree, !patience.hasPassed else { throw isFull(role) }
            } catch {
                unlockMembership()
                throw error
            }
            unlockMembership()
            if try !Recovery.tryRun(self) { usleep(200) }  // another process or thread settles it
        }
    }

    /// How many slots of a role may be taken.
    private func slotCount(_ role: Membership.Role) -> Int {
        if role == .reader { return readerSlots }
        return hasSharedWriters ? writerSlots : 1
    }

    /// Takes a free slot. Requires the membership lock.
    ///
    /// - Parameter isOneReleased: Set if one is free, but whoever freed it has not released its lock yet.
    /// - Returns: Nil if none can be taken now.
    private func takeSlot(_ role: Membership.Role, _ isOneReleased: inout Bool) throws(IPCError) -> Int? {
        for slot in 0..<slotCount(role) {
            let byte = LogLayout.LockByte.participant(role, slot)
            guard state(role, slot).acquired == LogLayout.SlotState.free else { continue }
            guard try ByteLock.tryTake(descriptor, byte, name.description) else {
                isOneReleased = true
                continue
            }
            KillPoint.reach(.joinSlot)
            enter(role, slot)
            let used = role == .reader ? usedReaderCount : usedWriterCount
            if used.relaxed <= UInt32(slot) { used.ordered = UInt32(slot + 1) }
            // After the slot is visibly taken and before it holds anybody back: a waiter has to know whose death to watch for. This
            // is a store-then-load pair: the joining process adds to the joins and then loads the sleepers' counts; a sleeper
            // counts itself and then loads the joins. Both are sequentially consistent, so at least one sees the other.
            joins.add(1)
            try announceJoin(role, slot)
            return slot
        }
        return nil
    }

    /// Announces a join to all sleepers, after it was counted.
    func announceJoin(_ role: Membership.Role, _ slot: Int) throws(IPCError) {
        KillPoint.reach(.joinAnnounced)
        var areAllTold = true
        for queue in queues where !queue.announceJoin(self) { areAllTold = false }
        if areAllTold { return }
        // Leaves again, so that nobody waits for a participant that it does not watch.
        clear(role, slot)
        ByteLock.release(lockFile(role), LogLayout.LockByte.participant(role, slot))
        throw IPCError(
            "join channel", name.description, .tooManyOpenFiles,
            advice: "no descriptor is free to wake the waiting participants; close some, or raise the limit (ulimit -n)"
        )
    }

    func enter(_ role: Membership.Role, _ slot: Int) {
        process(role, slot).relaxed = UInt32(bitPattern: getpid())
        namespace(role, slot).relaxed = PIDNamespace.current
        state(role, slot).ordered = LogLayout.SlotState.taken
    }

    private func isFull(_ role: Membership.Role) -> IPCError {
        let count = slotCount(role)
        if role == .writer, !hasSharedWriters {
            return IPCError(
                .addressInUse, "write to channel", name.description,
                advice:
                    "process \(process(role, 0).relaxed) is already writing to it; end that process, or create the channel with shared writers"
            )
        }
        return IPCError(
            .limitReached, "join channel", name.description,
            advice:
                "all its \(count) \(role == .reader ? "reader" : "writer") slots are taken; create it with a higher \(role == .reader ? "maximumReaders" : "maximumWriters")"
        )
    }
}
