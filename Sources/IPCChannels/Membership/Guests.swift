import Glibc
import IPC

// Guests: they may subscribe and write nothing but a slot of their own.
extension ChannelMemory {
    /// Attaches the guests' memory, or makes it. Called once, before the participant takes its slot. Requires the membership lock.
    func joinGuests() throws(IPCError) {
        lookAtGuests()
        guard guestSlots > 0, guests == nil else { return }
        // The segment ends with the last process that has it attached. If a participant lives, the segment exists, but this process
        // cannot attach it.
        guard !hasLivingParticipants else {
            throw IPCError(
                .permissionDenied, "join channel", name.description,
                advice:
                    "its participants' System V segment cannot be attached: they are in another IPC namespace (a container), or a sandbox refuses it; join in the same namespace, or create the channel without subscriberPermissions"
            )
        }
        try makeGuests()
    }

    /// Takes a guest's slot. This needs no membership lock: the holder of the lock on the slot's byte owns the slot, and guests do
    /// not keep a channel.
    func joinAsGuest() throws(IPCError) -> Membership {
        let patience = Deadline.after(.seconds(1))
        // Whoever settles a dead guest's slot holds its lock as if the guest lived, for microseconds if nothing comes in between. So slots
        // that all seem taken are looked at again for a while.
        var refusal: Deadline?
        while true {
            var isOneReleased = false
            for slot in 0..<guestSlots {
                let byte = LogLayout.LockByte.guest(slot)
                guard state(.guest, slot).acquired == LogLayout.SlotState.free else { continue }
                guard try ByteLock.tryTake(descriptor, byte, name.description) else {
                    // Another guest enters it now, or whoever freed it has not released its lock yet.
                    isOneReleased = true
                    continue
                }
                KillPoint.reach(.joinSlot)
                enter(.guest, slot)
                guestMemory.usedSlots.raise(to: UInt32(slot + 1))
                // As for other participants: see ``takeSlot(_:)``.
                guestMemory.joins.add(1)
                try announceJoin(.guest, slot)
                return .settled(self, .guest, slot)
            }
            // A dead guest's slot is free once it is settled. The wait is limited, because a hostile guest can mark all slots as
            // taken for ever.
            let mayBeFree = isOneReleased ? true : try hasDeadGuests
            if mayBeFree { refusal = nil } else if refusal == nil { refusal = .after(.milliseconds(300)) }
            guard !patience.hasPassed, refusal?.hasPassed != true else { break }
            if try !Recovery.tryRun(self) { usleep(200) }  // another process or thread settles it
        }
        throw IPCError(
            .limitReached, "subscribe", name.description,
            advice: "all its \(guestSlots) guest slots are taken; create it with a higher maximumReaders")
    }

    /// Restores a guest's own slot, where another guest has overwritten it.
    func rewriteSlot(guest slot: Int) {
        if state(.guest, slot).acquired != LogLayout.SlotState.taken { enter(.guest, slot) }
        guestMemory.usedSlots.raise(to: UInt32(slot + 1))
    }

    func leaveAsGuest(_ slot: Int) {
        KillPoint.reach(.leaveSlot)
        clear(.guest, slot)
        ByteLock.release(descriptor, LogLayout.LockByte.guest(slot))
        KillPoint.reach(.leaveWake)
        // What this guest held back can go on.
        wakeEverybody()
    }
}
