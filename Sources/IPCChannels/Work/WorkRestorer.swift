import IPC

/// Restores the work in a durable log after a crash: taken work is available again, and work that is set aside has both its
/// entry and its bit.
struct WorkRestorer: FrameRestorer {
    private let memory: ChannelMemory
    private let log: MirroredMapping
    /// The entry of each position.
    private var aside: [UInt64: Int] = [:]
    /// The first frame that is neither done nor set aside.
    private var head: UInt64?

    init(_ memory: ChannelMemory, _ log: MirroredMapping) {
        self.memory = memory
        self.log = log
        for entry in 0..<memory.asideCount {
            // Of two entries for one position, the later is dropped.
            guard let position = memory.asidePosition(entry), aside[position] == nil else {
                memory.drop(entry)
                continue
            }
            aside[position] = entry
        }
    }

    mutating func see(_ header: FrameHeader, at position: UInt64) {
        let word = word(at: position)
        var state = Work.State(word: word.relaxed)
        if state.stage == Work.Stage.taken { state = state.returned }
        let isDone = state.stage == Work.Stage.done
        let entry = aside.removeValue(forKey: position)
        if let entry { settle(entry, stands: !isDone) }
        word.relaxed = (entry != nil && !isDone ? state.aside : state.notAside).word
        if head == nil, !isDone, entry == nil { head = position }
    }

    func finish(oldest: UInt64, end: UInt64) {
        // Work that the head had passed belongs to an older lap.
        for (position, entry) in aside { settle(entry, stands: position < oldest && isUndone(at: position)) }
        memory.workHead.relaxed = head ?? end
    }

    private func settle(_ entry: Int, stands: Bool) {
        if stands {
            memory.aside(entry, LogLayout.Aside.owner).relaxed = LogLayout.Aside.stands
        } else {
            memory.drop(entry)
        }
    }

    /// Whether there is unfinished work at `position` that is set aside. If it was taken, makes it available.
    private func isUndone(at position: UInt64) -> Bool {
        guard let header = DurableRecovery.frame(memory, log, at: position, .max),
            header.isMessage
        else { return false }
        let word = word(at: position)
        let state = Work.State(word: word.relaxed)
        guard state.stage != Work.Stage.done, state.isOf(lap: memory.workLap(at: position)) else { return false }
        word.relaxed = (state.stage == Work.Stage.taken ? state.returned : state).aside.word
        return true
    }

    private func word(at position: UInt64) -> SharedUInt64 {
        let offset = Int(truncatingIfNeeded: position & memory.mask) + LogLayout.Frame.headerSize
        return unsafe SharedUInt64(log.base + offset)
    }
}
