import Glibc
import IPC

// Channels that are not kept, and that nobody is left to remove: a program that ends without leaving (top-level variables are
// never destroyed) or is killed leaves its channels behind.
extension ChannelRoot {
    /// Removes a channel that is neither kept nor used by a living participant.
    ///
    /// - Returns: Whether it was removed.
    package func removeIfDead(_ name: ChannelName) throws(IPCError) -> Bool {
        let memory = try ChannelMemory(name, in: .root(self), logAccess: .readOnly)
        guard !memory.isKept, !memory.hasLivingParticipants else { return false }
        try memory.checkRemovable()
        try memory.lockMembership()
        return try removeLocked(memory)
    }

    /// The same, if it was used: one that nobody has joined yet may be about to be.
    func removeIfAbandoned(_ name: ChannelName) -> Bool {
        do throws(IPCError) {
            let memory = try ChannelMemory(name, in: .root(self), logAccess: .readOnly)
            guard memory.isAbandoned else { return false }
            try memory.checkRemovable()
            // Whoever holds the lock looks after the channel.
            guard try memory.tryLockMembership() else { return false }
            return try removeLocked(memory)
        } catch {
            // Whatever else has this name, it is not an abandoned channel that this user may remove.
            return error.code == .notFound
        }
    }

    /// Whether a channel is there that is as good as none. One that this user cannot look at is not.
    func isAbandoned(_ name: ChannelName) -> Bool {
        (try? ChannelMemory(name, in: .root(self), logAccess: .readOnly))?.isAbandoned ?? false
    }

    private func removeLocked(_ memory: ChannelMemory) throws(IPCError) -> Bool {
        let isDead = !memory.hasLivingParticipants
        if isDead { memory.isRemoved = true }
        memory.unlockMembership()
        // Guests do not keep a channel, and may wait in it.
        if isDead { try memory.takeAway() }
        return isDead
    }

    /// Whoever creates a channel looks at a few others, so that what crashed programs leave does not pile up.
    ///
    /// Only at this user's own: in a root for a group, each looks after theirs. What cannot be looked at or removed stays: the
    /// channel that was created matters, and `ipc clean` tells.
    func removeAFewAbandoned(besides created: ChannelName) {
        guard let folder = try? RootFolder.open(self), let entries = try? folder.entries(), !entries.isEmpty else {
            return
        }
        let start = Int.random(in: 0..<entries.count)
        for entry in 0..<min(entries.count, Self.lookedAt) {
            let entry = entries[(start + entry) % entries.count]
            guard let name = ChannelName(folder: entry), name != created,
                let status = try? folder.status(of: entry), status.owner == geteuid()
            else { continue }
            _ = removeIfAbandoned(name)
        }
    }

    private static var lookedAt: Int { 4 }
}

extension ChannelMemory {
    /// Whether it is not kept, was joined, and has no living participant: as good as none.
    var isAbandoned: Bool { !isKept && joinCount > 0 && !hasLivingParticipants }
}
