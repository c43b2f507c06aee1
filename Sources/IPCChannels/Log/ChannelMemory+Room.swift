import IPC

// How far writers may write.
extension ChannelMemory {
    /// Whether a writer that needs `size` bytes from `start` on can make progress.
    func hasRoom(for size: UInt64, from start: UInt64, _ seeker: RoomSeeker) -> Bool {
        guard !isRoomRequested(besides: seeker.slot) else { return false }
        if roomEnd(from: start, seeker) >= start &+ size { return true }
        guard let end = hooks?.wayPast(from: start, for: size, seeker, in: self) else { return false }
        return end <= roomEndByClaims(besides: seeker.slot)
    }

    /// How far writers may write: one log's capacity beyond what holds them back and beyond the oldest uncommitted claim.
    ///
    /// - Parameters:
    ///   - start: The position of the calling writer.
    func roomEnd(from start: UInt64, _ seeker: RoomSeeker) -> UInt64 {
        min(
            hooks?.roomEnd(from: start, seeker, in: self) ?? roomEndByReaders, roomEndByClaims(besides: seeker.slot))
    }

    /// - Parameter slot: The calling writer's slot, if there may be others.
    func roomEndByClaims(besides slot: Int?) -> UInt64 {
        let capacity = UInt64(capacity)
        var lowest = UInt64.max - capacity
        if let slot, let claim = oldestClaim(before: tail.ordered, besides: slot) {
            lowest = min(lowest, claim)
            // The newest value is kept until a newer one is published. (But only while a claim is uncommitted: where only claims of
            // dead writers follow, it must not hold back the writer that would replace it.)
            let word = publishesLatest ? latest.ordered : 0
            if word != 0, word &- 1 < claim { lowest = min(lowest, word &- 1) }
        }
        return lowest &+ capacity
    }

    /// The oldest uncommitted claim before `end`; nil if there is none.
    ///
    /// - Parameter slot: The calling writer's slot: its own claim does not count.
    func oldestClaim(before end: UInt64, besides slot: Int?) -> UInt64? {
        var oldest: UInt64?
        for other in 0..<usedWriters where other != slot {
            let intent = writer(other, LogLayout.WriterSlot.intentPosition).ordered
            // A lost attempt holds nobody back: the place belongs to another writer and is committed, or was overwritten long ago.
            guard intent < oldest ?? end, end - intent <= UInt64(capacity), !isCommitted(intent) else { continue }
            oldest = intent
        }
        return oldest
    }

    /// One log's capacity beyond the slowest reader.
    var roomEndByReaders: UInt64 {
        let capacity = UInt64(capacity)
        var lowest = UInt64.max - capacity
        if !overwrites {
            for slot in 0..<usedReaders {
                lowest = min(lowest, reader(slot, LogLayout.ReaderSlot.cursor).ordered)
            }
            // The cursor of a free slot is ignored: any guest may have written it, and nobody would ever reset it.
            for slot in 0..<usedGuests where state(.guest, slot).ordered != LogLayout.SlotState.free {
                lowest = min(lowest, cursor(.guest, slot).ordered)
            }
        }
        return lowest &+ capacity
    }
}
