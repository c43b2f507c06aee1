import IPC

// For processes that only read: an observer, a tap, a description. They have no slot and no lock, and store nothing.
extension ChannelMemory {
    /// Opens a channel's files read-only, so only read permission is needed.
    convenience init(observing name: ChannelName, in place: ChannelPlace) throws(IPCError) {
        try self.init(name, in: place, logAccess: .readOnly, controlAccess: .readOnly)
    }

    /// Opens a channel's files for a guest.
    ///
    /// - Returns: Nil if the channel takes no guests.
    /// - Throws: ``/IPC/IPCError/Code/notReady`` if it has no participants.
    static func opened(forGuest name: ChannelName, in place: ChannelPlace) throws(IPCError) -> ChannelMemory? {
        let memory = try ChannelMemory(
            name, in: place, logAccess: .readOnly, controlAccess: .readOnly, isGuest: true)
        guard memory.guestSlots > 0 else { return nil }
        memory.lookAtGuests()
        guard memory.guests != nil else {
            throw IPCError(
                .notReady, "subscribe", name.description,
                advice:
                    "a subscriber that may write only its own cursor needs a participant with write permission in the same IPC namespace; wait until one has joined, or observe the channel"
            )
        }
        return memory
    }

    /// Opens a channel's files with what a recovery and a test of others' locks need, if this user may write there; otherwise
    /// read-only.
    static func opened(_ name: ChannelName, in root: ChannelRoot) throws(IPCError) -> ChannelMemory {
        do throws(IPCError) {
            return try ChannelMemory(name, in: .root(root), logAccess: .readOnly)
        } catch {
            guard error.code == .permissionDenied else { throw error }
            return try ChannelMemory(observing: name, in: .root(root))
        }
    }

    /// Whether it was removed: it is marked as removed, or its files are gone. A system call.
    ///
    /// - Throws: ``/IPC/IPCError/Code/inherited``.
    var isGone: Bool {
        get throws(IPCError) {
            guard !isInherited else { throw isInheritedError }
            // The flag is set before the files go. For an observer it is enough: nobody has to wake it or wait for it.
            if isRemoved { return true }
            guard case .root = place else { return false }
            return try FileStatus(of: descriptor, name.description).linkCount == 0
        }
    }

    /// Checks that there may be more to see.
    ///
    /// - Parameter hasNews: Called after the channel was found to be gone: what was published before that is read first.
    /// - Throws: ``/IPC/IPCError/Code/removed``; ``/IPC/IPCError/Code/inherited``.
    func checkObserved(unless hasNews: () -> Bool) throws(IPCError) {
        guard try isGone, !hasNews() else { return }
        throw IPCError(
            .removed, "observe channel", name.description,
            advice:
                "its last participant has left, or it was removed (by `ipc rm`, a program, or systemd's RemoveIPC); observe it again once it is created again"
        )
    }
}

/// How long an observer sleeps between two polls: nobody knows of it, so nobody wakes it. Longer each time.
struct ObserverPause {
    private var next: UInt64 = 50_000
    private static let longest: UInt64 = 10_000_000

    /// In nanoseconds.
    mutating func take() -> UInt64 {
        defer { next = min(2 * next, Self.longest) }
        return next
    }
}
