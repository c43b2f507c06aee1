import IPC

/// What the first participant of a durable channel does, since the machine may have crashed: it looks at every frame, keeps
/// those that were wholly written up to the first that was not, and cuts the rest. Under the gate.
///
/// After a crash the files hold some of the pages as they were at some time each. What can be relied on: whatever was synced
/// is there; and `frontier` is on the disk before anything is written above the old one. So all that is not less than a
/// log's size before the frontier has not been overwritten, and the frames there follow each other without a gap up to the
/// last that was synced.
enum DurableRecovery {
    static func runIfAlone(_ memory: ChannelMemory) throws(IPCError) {
        let first = LogLayout.LockByte.reader(0)
        let count = LogLayout.LockByte.writer(LogLayout.maximumSlots) - first
        guard try !ByteLock.isTaken(memory.descriptor, first, count: count, memory.name.description) else { return }
        // The processes may be dead without the machine: then their claims become skipped frames, and nothing after them is lost.
        // (If that fails, the log is cut below.) After a crash of the machine the slots are of some time before it, and a claim in
        // them may lie where other messages are: they are not looked at.
        if isOfThisBoot(memory) { try? Recovery.runAlone(memory) }
        try run(memory, memory.writableLog())
    }

    private static func isOfThisBoot(_ memory: ChannelMemory) -> Bool {
        guard let boot = MachineBoot.current else { return false }
        return memory.word(LogLayout.Fixed.boot).relaxed == boot.0
            && memory.word(LogLayout.Fixed.boot + 8).relaxed == boot.1
    }

    private static func run(_ memory: ChannelMemory, _ log: MirroredMapping) throws(IPCError) {
        let frontier = memory.frontier.relaxed
        guard LogLayout.Frame.isAligned(frontier), frontier < LogLayout.farthest else {
            throw memory.corrupted("its frontier is \(frontier)")
        }
        let oldest = memory.oldestSafe
        var position = oldest
        // Where the oldest frame begins is known of a log in its first lap only.
        while oldest > 0, position < frontier, frame(memory, log, at: position, frontier) == nil {
            position += UInt64(LogLayout.Frame.alignment)
        }

        for block in 0..<LogLayout.blockCount { memory.word(LogLayout.blockStarts + block * 8).relaxed = 0 }
        var sequences = [Int: UInt64]()
        var head: UInt64?
        var aside = memory.carriesWork ? asideEntries(memory) : [:]
        var block = UInt64.max
        while let header = frame(memory, log, at: position, frontier) {
            sequences[Int(header.writer)] = header.sequence &+ 1
            if position >> memory.blockShift != block {
                block = position >> memory.blockShift
                let index = Int(block % UInt64(LogLayout.blockCount))
                memory.word(LogLayout.blockStarts + index * 8).relaxed = position
            }
            if memory.carriesWork, header.kind == LogLayout.Kind.message {
                let offset = Int(truncatingIfNeeded: position & memory.mask) + LogLayout.Frame.headerSize
                let word = unsafe SharedWord(log.base + offset)
                var state = Work.State(word: word.relaxed)
                if state.stage == Work.Stage.taken { state = state.returned }
                let isDone = state.stage == Work.Stage.done
                let entry = aside.removeValue(forKey: position)
                if let entry { settle(memory, entry, stands: !isDone) }
                word.relaxed = (entry != nil && !isDone ? state.aside : state.notAside).word
                if head == nil, !isDone, entry == nil { head = position }
            }
            position += header.size
        }
        // What the head had passed is of an older lap.
        for (position, entry) in aside {
            settle(memory, entry, stands: position < oldest && isUndone(memory, log, at: position))
        }
        cut(memory, log, from: position, to: frontier)
        try memory.syncLog(log)
        KillPoint.reach(.durableCut)
        memory.tail.relaxed = position
        memory.workHead.relaxed = head ?? position
        memory.synced.relaxed = position
        forgetParticipants(memory, sequences)
        memory.word(LogLayout.Fixed.boot).relaxed = MachineBoot.current?.0 ?? 0
        memory.word(LogLayout.Fixed.boot + 8).relaxed = MachineBoot.current?.1 ?? 0
        // With the slots, before anybody writes: what they say after another crash is of this time.
        try memory.syncControlAndSlots()
        KillPoint.reach(.durableDone)
    }

    /// Which entries tell of which positions; of two that tell of one, the later is dropped.
    private static func asideEntries(_ memory: ChannelMemory) -> [UInt64: Int] {
        var entries: [UInt64: Int] = [:]
        for entry in 0..<memory.asideCount {
            guard let position = memory.asidePosition(entry), entries[position] == nil else {
                settle(memory, entry, stands: false)
                continue
            }
            entries[position] = entry
        }
        return entries
    }

    private static func settle(_ memory: ChannelMemory, _ entry: Int, stands: Bool) {
        if stands {
            memory.aside(entry, LogLayout.Aside.owner).relaxed = LogLayout.Aside.stands
        } else {
            memory.drop(entry)
        }
    }

    /// Whether there is work at `position` that is set aside and not done. What was taken is available then.
    private static func isUndone(_ memory: ChannelMemory, _ log: MirroredMapping, at position: UInt64) -> Bool {
        guard let header = frame(memory, log, at: position, .max), header.kind == LogLayout.Kind.message else {
            return false
        }
        let offset = Int(truncatingIfNeeded: position & memory.mask) + LogLayout.Frame.headerSize
        let word = unsafe SharedWord(log.base + offset)
        let state = Work.State(word: word.relaxed)
        guard state.stage != Work.Stage.done, state.isOf(lap: memory.workLap(at: position)) else { return false }
        word.relaxed = (state.stage == Work.Stage.taken ? state.returned : state).aside.word
        return true
    }

    /// The header of the frame at `position`, if it was wholly written.
    private static func frame(
        _ memory: ChannelMemory, _ log: MirroredMapping, at position: UInt64, _ frontier: UInt64
    ) -> FrameHeader? {
        guard position < frontier, memory.isCommitted(position) else { return nil }
        let frame = unsafe log.base + Int(truncatingIfNeeded: position & memory.mask)
        let header = unsafe FrameHeader(frame)
        let size = header.size
        guard header.isValid(upTo: memory.maximumFrame), size <= frontier - position,
            UInt64(header.length) + UInt64(LogLayout.Frame.headerSize + memory.trailerSize) <= size,
            header.writer < UInt32(memory.writerSlots), unsafe Checksum.matches(frame, header, at: position, memory)
        else { return nil }
        return header
    }

    /// Takes away the stamps of what was written after the first gap: it must not come back when the gap is filled.
    private static func cut(_ memory: ChannelMemory, _ log: MirroredMapping, from start: UInt64, to frontier: UInt64) {
        var position = start
        while position < frontier {
            let stamp = unsafe SharedWord(log.base + Int(truncatingIfNeeded: position & memory.mask))
            if stamp.relaxed == position ^ memory.key { stamp.relaxed = 0 }
            position += UInt64(LogLayout.Frame.alignment)
        }
    }

    /// There are none.
    private static func forgetParticipants(_ memory: ChannelMemory, _ sequences: [Int: UInt64]) {
        for slot in 0..<memory.readerSlots { memory.clear(.reader, slot) }
        for slot in 0..<memory.writerSlots {
            memory.clear(.writer, slot)
            let sequence = memory.writer(slot, LogLayout.WriterSlot.sequence)
            if let next = sequences[slot] { sequence.relaxed = max(sequence.relaxed, next) }
        }
    }
}
