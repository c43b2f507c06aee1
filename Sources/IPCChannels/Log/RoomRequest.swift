import IPC

// A writer that waits for much room announces it, and others leave freed room to it.
extension ChannelMemory {
    var roomRequest: SharedUInt64 { word(LogLayout.roomRequest) }

    static var microseconds: UInt64 { Deadline(nanoseconds: MonotonicClock.now).onMachine / 1000 }

    /// Withdraws the request of a writer that leaves or is dead, so that nobody leaves room to it any more. The caller wakes those
    /// that wait.
    func withdrawRoomRequest(of slot: Int) {
        let word = roomRequest.relaxed
        if word & 0xfff == UInt64(slot + 1) { _ = roomRequest.exchange(word, for: 0) }
    }

    /// Whether a writer that needs so many bytes could wait for ever beside others that need few.
    func isMuch(_ size: UInt64) -> Bool { size >= UInt64(capacity / 16) }

    /// Whether another writer waits for much room.
    func isRoomRequested(besides slot: Int?) -> Bool {
        let word = roomRequest.relaxed
        guard word != 0, let slot, word & 0xfff != UInt64(slot + 1) else { return false }
        return isCurrent(roomRequest: word)
    }

    /// Whether a request is still valid. It lasts twice as long as it takes to renew it. One from the future is a peer's invalid
    /// data.
    func isCurrent(roomRequest word: UInt64) -> Bool {
        let (said, now) = (word >> 12, Self.microseconds)
        return word != 0 && said <= now && now - said < Self.roomRequestLifetime
    }

    /// In microseconds.
    private static var roomRequestLifetime: UInt64 { 100_000 }
}
