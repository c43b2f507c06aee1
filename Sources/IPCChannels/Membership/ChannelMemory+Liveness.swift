import Glibc
import IPC

// The participants of a channel, and which of them live.
extension ChannelMemory {
    /// Makes a slot free, so that it holds nothing back. The caller wakes those that wait.
    func clear(_ role: Membership.Role, _ slot: Int) {
        switch role {
        case .reader, .guest: cursor(role, slot).ordered = .max
        case .writer:
            writer(slot, LogLayout.WriterSlot.intentPosition).ordered = LogLayout.unclaimed
            withdrawRoomRequest(of: slot)
        }
        wakeUpWord(role, slot).ordered = 0
        state(role, slot).ordered = LogLayout.SlotState.free
    }

    /// Every slot that is not free, except this participant's own. A guest sees only the slots of guests, since it can change no
    /// others.
    var othersSlots: [(role: Membership.Role, slot: Int)] {
        usedSlots.filter { role, slot in
            if isGuest, role != .guest { return false }
            // A test does not report the lock of its own descriptor, so its own slot would look dead.
            if let ownSlot, ownSlot == (role, slot) { return false }
            return state(role, slot).acquired != LogLayout.SlotState.free
        }
    }

    /// Whether another participant lives. Guests do not count: they do not keep a channel.
    var hasLivingParticipants: Bool {
        // If the kernel does not answer, one may live.
        othersSlots.contains { (role, slot) in
            guard role != .guest else { return false }
            do throws(IPCError) { return try isAlive(role, slot) } catch { return true }
        }
    }

    /// Whether a reader lives: a subscriber, a worker or a server. Guests do not count.
    var hasLivingReader: Bool {
        get throws(IPCError) {
            for slot in 0..<usedReaders where state(.reader, slot).acquired == LogLayout.SlotState.taken {
                if OwnSlots.contains(self, .reader, slot) { return true }
                if try isAlive(.reader, slot) { return true }
            }
            return false
        }
    }

    /// Whether a dead participant's slot is not settled yet. Guests do not count: what they say of themselves holds nobody up.
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

    /// Whether the owner of a taken slot lives, according to the kernel, or another process settles what it left. With read-only
    /// access locks cannot be tested: then a process with the owner's pid counts as the owner, and one of another pid namespace as
    /// alive.
    func isAlive(_ role: Membership.Role, _ slot: Int) throws(IPCError) -> Bool {
        guard controlAccess == .readWrite || isGuest && role == .guest else {
            guard namespace(role, slot).relaxed == PIDNamespace.current else { return true }
            let process = pid_t(bitPattern: process(role, slot).relaxed)
            return process > 0 && (kill(process, 0) == 0 || errno == EPERM)
        }
        return try isLocked(role, slot)
    }

    private func isLocked(_ role: Membership.Role, _ slot: Int) throws(IPCError) -> Bool {
        try ByteLock.isTaken(lockFile(role), LogLayout.LockByte.participant(role, slot), name.description)
    }
}
