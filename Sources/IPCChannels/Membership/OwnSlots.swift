import CIPCShims
import IPC

/// The slots of this process's participants in all channels. Their owners live, so the kernel need not be asked, which takes longer
/// the more locks there are.
enum OwnSlots {
    private struct Slot: Hashable {
        /// The channel's key, which no other channel has.
        let channel: UInt64
        let role: Membership.Role
        let slot: Int
    }

    private struct Slots {
        var all: Set<Slot> = []
        private var forks = ipc_forks()

        /// A forked child has none of its parent's slots.
        mutating func forgetParents() {
            guard forks != ipc_forks() else { return }
            forks = ipc_forks()
            all = []
        }
    }

    private static let slots = Locked(Slots())

    static func add(_ memory: ChannelMemory, _ role: Membership.Role, _ slot: Int) {
        slots.withLock { slots in
            slots.forgetParents()
            slots.all.insert(Slot(channel: memory.key, role: role, slot: slot))
        }
    }

    /// Removes a slot, before its lock is released.
    static func remove(_ memory: ChannelMemory, _ role: Membership.Role, _ slot: Int) {
        slots.withLock { slots in
            slots.forgetParents()
            slots.all.remove(Slot(channel: memory.key, role: role, slot: slot))
        }
    }

    static func contains(_ memory: ChannelMemory, _ role: Membership.Role, _ slot: Int) -> Bool {
        slots.withLock { slots in
            slots.forgetParents()
            return slots.all.contains(Slot(channel: memory.key, role: role, slot: slot))
        }
    }
}
