import IPC

/// Run by the first participant of a durable channel, because the machine may have crashed. It checks every frame, keeps those up
/// to the first that was not wholly written, and discards the rest. Requires the membership lock.
///
/// After a crash each page of the files may be from a different time. Two things are certain: what was synced is there, and a new
/// `reservedEnd` is on the disk before anything is written above the old one. So everything from one log's capacity before the
/// reserved end on has not been overwritten, and the frames there follow each other without a gap up to the last synced one.
enum DurableRecovery {
    static func runIfAlone(_ memory: ChannelMemory) throws(IPCError) {
        let first = LogLayout.LockByte.reader(0)
        let count = LogLayout.LockByte.writer(LogLayout.maximumSlots) - first
        guard try !ByteLock.isTaken(memory.descriptor, first, count: count, memory.name.description) else { return }
        // If only the processes died, their claims become skipped frames, and nothing after them is lost. (If that fails, the log
        // is cut below.) After a crash of the machine the slots are from some earlier time, and a claim in them may lie where other
        // messages are, so they are ignored.
        if isOfThisBoot(memory) { try? Recovery.runAlone(memory) }
        try run(memory, memory.writableLog())
    }

    private static func isOfThisBoot(_ memory: ChannelMemory) -> Bool {
        guard let boot = MachineBoot.current else { return false }
        return memory.word(LogLayout.Fixed.boot).relaxed == boot.0
            && memory.word(LogLayout.Fixed.boot + 8).relaxed == boot.1
    }

    private static func run(_ memory: ChannelMemory, _ log: MirroredMapping) throws(IPCError) {
        let reservedEnd = memory.reservedEnd.relaxed
        guard LogLayout.Frame.isAligned(reservedEnd), reservedEnd < LogLayout.farthest else {
            throw memory.corrupted("its reserved end is invalid: \(reservedEnd)")
        }
        let oldest = memory.oldestSafe
        var position = oldest
        // Where the oldest frame begins is known only in a log's first lap; otherwise it is searched for.
        while oldest > 0, position < reservedEnd, frame(memory, log, at: position, reservedEnd) == nil {
            position += UInt64(LogLayout.Frame.alignment)
        }

        for block in 0..<LogLayout.blockCount { memory.word(LogLayout.blockStarts + block * 8).relaxed = 0 }
        var sequences = [Int: UInt64]()
        var restorer = memory.hooks?.restorer(memory, log)
        var block = UInt64.max
        while let header = frame(memory, log, at: position, reservedEnd) {
            sequences[Int(header.writer)] = header.sequence &+ 1
            if position >> memory.blockShift != block {
                block = position >> memory.blockShift
                let index = Int(block % UInt64(LogLayout.blockCount))
                memory.word(LogLayout.blockStarts + index * 8).relaxed = position
            }
            if header.isMessage { restorer?.see(header, at: position) }
            position += header.size
        }
        restorer?.finish(oldest: oldest, end: position)
        cut(memory, log, from: position, to: reservedEnd)
        try memory.syncLog(log)
        KillPoint.reach(.durableCut)
        memory.tail.relaxed = position
        memory.synced.relaxed = position
        forgetParticipants(memory, sequences)
        memory.word(LogLayout.Fixed.boot).relaxed = MachineBoot.current?.0 ?? 0
        memory.word(LogLayout.Fixed.boot + 8).relaxed = MachineBoot.current?.1 ?? 0
        // With the slots, and before anyone writes: after another crash they hold nothing older than this.
        try memory.syncControlAndSlots()
        KillPoint.reach(.durableDone)
    }

    /// The header of the frame at `position`, if it was wholly written.
    static func frame(
        _ memory: ChannelMemory, _ log: MirroredMapping, at position: UInt64, _ reservedEnd: UInt64
    ) -> FrameHeader? {
        guard position < reservedEnd, memory.isCommitted(position) else { return nil }
        let frame = unsafe log.base + Int(truncatingIfNeeded: position & memory.mask)
        let header = unsafe FrameHeader(frame)
        let size = header.size
        guard header.isValid(upTo: memory.maximumFrame), size <= reservedEnd - position,
            UInt64(header.length) + UInt64(LogLayout.Frame.headerSize + memory.trailerSize) <= size,
            header.writer < UInt32(memory.writerSlots), unsafe Checksum.matches(frame, header, at: position, memory)
        else { return nil }
        return header
    }

    /// Clears the stamps of frames after the first gap, so that they do not reappear when the gap is filled.
    private static func cut(_ memory: ChannelMemory, _ log: MirroredMapping, from start: UInt64, to reservedEnd: UInt64)
    {
        var position = start
        while position < reservedEnd {
            let stamp = unsafe SharedUInt64(log.base + Int(truncatingIfNeeded: position & memory.mask))
            if stamp.relaxed == position ^ memory.key { stamp.relaxed = 0 }
            position += UInt64(LogLayout.Frame.alignment)
        }
    }

    /// Clears all slots, since there are no participants, and keeps the sequence numbers.
    private static func forgetParticipants(_ memory: ChannelMemory, _ sequences: [Int: UInt64]) {
        for slot in 0..<memory.readerSlots { memory.clear(.reader, slot) }
        for slot in 0..<memory.writerSlots {
            memory.clear(.writer, slot)
            let sequence = memory.writer(slot, LogLayout.WriterSlot.sequence)
            if let next = sequences[slot] { sequence.relaxed = max(sequence.relaxed, next) }
        }
    }
}
