import IPC

// For those who only look: an observer, a tap, a description. They have no slot and no lock, and store nothing.
extension ChannelMemory {
    /// Opens a channel's files for reading only, which is all the permission that it takes.
    convenience init(observing name: ChannelName, in place: ChannelPlace) throws(IPCError) {
        try self.init(name, in: place, logAccess: .readOnly, controlAccess: .readOnly)
    }

    /// Opens them for a guest.
    ///
    /// - Returns: Nil if the channel takes none.
    /// - Throws: ``IPC/IPCError/Code/notReady`` if nobody takes part in it.
    static func opened(forGuest name: ChannelName, in place: ChannelPlace) throws(IPCError) -> ChannelMemory? {
        let memory = try ChannelMemory(
            name, in: place, logAccess: .readOnly, controlAccess: .readOnly, isGuest: true)
        guard memory.guestSlots > 0 else { return nil }
        memory.lookAtGuests()
        guard memory.guests != nil else {
            throw IPCError(
                .notReady, "subscribe", name.description,
                advice:
                    "one that may write nothing but its own cursor needs a participant that may write more, in the same IPC namespace; wait until one has joined, or observe it"
            )
        }
        return memory
    }

    /// Opens them for what a recovery and a look at others' locks take as well, if this user may write there.
    static func opened(_ name: ChannelName, in root: ChannelRoot) throws(IPCError) -> ChannelMemory {
        do throws(IPCError) {
            return try ChannelMemory(name, in: .root(root), logAccess: .readOnly)
        } catch {
            guard error.code == .permissionDenied else { throw error }
            return try ChannelMemory(observing: name, in: .root(root))
        }
    }

    /// Whether it was taken away, by whoever says so, or with its files. A system call.
    ///
    /// - Throws: ``IPC/IPCError/Code/inherited``.
    var isGone: Bool {
        get throws(IPCError) {
            guard !isInherited else { throw isInheritedError }
            // Nobody has to wake an observer, nor to wait for it: so it looks at the word as well, which comes before the files go.
            if isRemoved { return true }
            guard case .root = place else { return false }
            return try FileStatus(of: descriptor, name.description).linkCount == 0
        }
    }

    /// That there may be more to see.
    ///
    /// - Parameter hasNews: Asked after it was found to be gone: what was published before that is seen first.
    /// - Throws: ``IPC/IPCError/Code/removed``; ``IPC/IPCError/Code/inherited``.
    func checkObserved(unless hasNews: () -> Bool) throws(IPCError) {
        guard try isGone, !hasNews() else { return }
        throw IPCError(
            .removed, "observe channel", name.description,
            advice:
                "its last participant has left, or it was removed (by `ipc rm`, a program, or systemd's RemoveIPC); observe it again when it is made anew"
        )
    }
}

/// How long an observer sleeps between two looks: nobody knows of it, so nobody wakes it. Longer each time.
struct ObserverPause {
    private var next: UInt64 = 50_000
    private static let longest: UInt64 = 10_000_000

    /// In nanoseconds.
    mutating func take() -> UInt64 {
        defer { next = min(2 * next, Self.longest) }
        return next
    }
}
