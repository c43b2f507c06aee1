import IPC

/// What makes a log a work queue: each frame's payload begins with 32 bytes whose first word says what became of it, and
/// `control` has the oldest frame that is not done.
///
/// The head holds writers back as a reader's cursor does. Who looks through the frames from the head on holds them back by
/// its own cursor meanwhile, so that no frame is overwritten between a look at its stamp and the claim of its word.
enum QueuedWork {
    static let pattern: UInt32 = 2
    /// Bytes before the message in each payload.
    static let prefixSize = 32

    /// The first word: what, how often it was handed out, to whom.
    struct State: Equatable {
        static let available: UInt64 = 0
        static let taken: UInt64 = 1
        static let done: UInt64 = 2
        let word: UInt64

        init(word: UInt64) { self.word = word }
        init(_ what: UInt64, attempts: Int, slot: Int = 0) {
            word = what | UInt64(UInt16(clamping: attempts)) << 8 | UInt64(UInt32(slot)) << 32
        }
        var what: UInt64 { word & 0xff }
        var attempts: Int { Int(word >> 8 & 0xffff) }
        var slot: Int { Int(word >> 32) }
    }
}

extension ChannelMemory {
    var queueHead: SharedWord { word(LogLayout.queueHead) }
    /// Counts work that was given back: whoever looked past it begins at the head again.
    var queueReturns: SharedWord { word(LogLayout.queueReturns) }

    func workState(at position: UInt64) -> SharedWord {
        unsafe SharedWord(log + Int(truncatingIfNeeded: position & mask) + LogLayout.Frame.headerSize)
    }

    /// The frame at `position` if it is committed and can be work.
    func workFrame(at position: UInt64) throws(IPCError) -> FrameHeader? {
        guard position % UInt64(LogLayout.Frame.alignment) == 0 else { throw corrupted("a position is not aligned") }
        guard let header = try LogPositions.frame(self, at: position) else { return nil }
        guard header.kind != LogLayout.Kind.message || header.length >= UInt32(QueuedWork.prefixSize) else {
            throw corrupted("the frame at \(position) is too short for a queue")
        }
        return header
    }

    /// Moves the head past all that is done. Anyone may: whoever looked at a frame that others have passed meanwhile loses
    /// the exchange.
    ///
    /// - Returns: Whether it moved.
    @discardableResult
    func advanceQueueHead() throws(IPCError) -> Bool {
        var hasMoved = false
        while true {
            let head = queueHead.published
            guard let header = try workFrame(at: head) else { return hasMoved }
            if header.kind == LogLayout.Kind.message {
                guard QueuedWork.State(word: workState(at: head).published).what == QueuedWork.State.done else {
                    return hasMoved
                }
            }
            if queueHead.exchange(head, for: head &+ UInt64(header.units) * 32).exchanged { hasMoved = true }
        }
    }

    /// Gives back all that a worker has and did not acknowledge. Under the gate, or by the worker itself.
    func returnWork(of slot: Int) throws(IPCError) {
        let cursor = reader(slot, LogLayout.ReaderSlot.cursor)
        cursor.ordered = 0
        var position = queueHead.ordered
        cursor.ordered = position
        let memory = try writableLog()
        var hasReturned = false
        while let header = try workFrame(at: position) {
            if header.kind == LogLayout.Kind.message {
                let word = unsafe SharedWord(
                    memory.base + Int(truncatingIfNeeded: position & mask) + LogLayout.Frame.headerSize)
                let state = QueuedWork.State(word: word.published)
                if state.what == QueuedWork.State.taken, state.slot == slot {
                    word.published = QueuedWork.State(QueuedWork.State.available, attempts: state.attempts).word
                    hasReturned = true
                    KillPoint.reach(.recoverWork)
                }
            }
            position &+= UInt64(header.units) * 32
        }
        if hasReturned { tellOfReturns() }
    }

    func tellOfReturns() {
        queueReturns.add(1)
        sleepingReaders.wake()
    }
}
