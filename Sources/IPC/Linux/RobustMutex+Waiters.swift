import Synchronization

extension RobustMutex {
    /// The mutex's first word: the holder's thread, and a bit that says that somebody waits, so that an unlock, or the
    /// kernel at the holder's death, wakes one. (The kernel's robust futexes: `FUTEX_WAITERS`.)
    var word: UnsafePointer<Atomic<UInt32>> {
        unsafe UnsafeRawPointer(raw).assumingMemoryBound(to: Atomic<UInt32>.self)
    }

    private static var waiters: UInt32 { 0x8000_0000 }
    private static var ownerDied: UInt32 { 0x4000_0000 }

    func markWaiters() { unsafe word.pointee.bitwiseOr(Self.waiters, ordering: .relaxed) }

    /// Says that somebody waits.
    ///
    /// - Returns: What the word is then; nil if it need not be waited for.
    func announceWaiter() -> UInt32? {
        let seen = unsafe word.pointee.load(ordering: .relaxed)
        guard seen & ~Self.waiters != 0, seen & Self.ownerDied == 0 else { return nil }
        if seen & Self.waiters != 0 { return seen }
        let marked = seen | Self.waiters
        return unsafe word.pointee.compareExchange(expected: seen, desired: marked, ordering: .relaxed).exchanged
            ? marked : nil
    }
}
