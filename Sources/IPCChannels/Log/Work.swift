import IPC
import Synchronization

/// What makes a log carry work, for a queue's workers or a service's servers: each frame's payload begins with 32 bytes
/// whose first word says what became of it, and `control` has the oldest frame that is not done.
///
/// The head holds writers back as a reader's cursor does. Who looks through the frames from the head on holds them back
/// meanwhile, so that no frame is overwritten between a look at its stamp and the claim of its word.
enum Work {
    static let queuePattern: UInt32 = 2
    static let servicePattern: UInt32 = 5
    /// Bytes before the message in each payload.
    static let prefixSize = 32

    /// What became of it.
    enum Stage {
        static let available: UInt8 = 0
        static let taken: UInt8 = 1
        static let done: UInt8 = 2
        // Of a call; its caller makes it done.
        static let replied: UInt8 = 3
        static let failed: UInt8 = 4
        /// The server's reply was too large.
        static let refused: UInt8 = 5
        /// Its server died, or let go of it.
        static let lost: UInt8 = 6
    }

    /// The first word: the stage, how often it was handed out, for a call what its caller wants, to whom it was handed.
    struct State: Equatable {
        var stage: UInt8
        var attempts: Int
        /// Nobody waits for the reply any more.
        var isCancelled = false
        /// How often another server may still do it if one dies at it; at most 127.
        var retries = 0
        /// The reader's slot.
        var slot = 0

        init(_ stage: UInt8, attempts: Int = 0, retries: Int = 0, slot: Int = 0) {
            self.stage = stage
            self.attempts = attempts
            self.retries = retries
            self.slot = slot
        }

        init(word: UInt64) {
            stage = UInt8(truncatingIfNeeded: word)
            attempts = Int(word >> 8 & 0xffff)
            isCancelled = word >> 24 & 1 != 0
            retries = Int(word >> 25 & 0x7f)
            slot = Int(word >> 32)
        }

        var word: UInt64 {
            UInt64(stage) | UInt64(UInt16(clamping: attempts)) << 8 | (isCancelled ? 1 << 24 : 0)
                | UInt64(min(retries, 127)) << 25 | UInt64(UInt32(slot)) << 32
        }

        func at(_ stage: UInt8) -> State {
            var state = self
            state.stage = stage
            return state
        }

        /// What a job becomes that its worker did not finish.
        var returned: State { State(Stage.available, attempts: attempts, retries: retries) }

        /// What a call becomes that its server did not answer.
        var unanswered: State {
            if isCancelled { return at(Stage.done) }
            guard retries > 0 else { return at(Stage.lost) }
            return State(Stage.available, attempts: attempts, retries: retries - 1)
        }
    }
}

extension ChannelMemory {
    var carriesWork: Bool { pattern == Work.queuePattern || pattern == Work.servicePattern }
    var workHead: SharedWord { word(LogLayout.workHead) }
    /// Counts work that was given back: whoever looked past it begins at the head again.
    var workReturns: SharedWord { word(LogLayout.workReturns) }
    var workScan: SharedWord { word(LogLayout.workScan) }

    func workState(at position: UInt64) -> SharedWord {
        unsafe SharedWord(log + Int(truncatingIfNeeded: position & mask) + LogLayout.Frame.headerSize)
    }

    /// The frame at `position` if it is committed and can be work.
    func workFrame(at position: UInt64) throws(IPCError) -> FrameHeader? {
        guard position % UInt64(LogLayout.Frame.alignment) == 0 else { throw corrupted("a position is not aligned") }
        guard let header = try LogPositions.frame(self, at: position) else { return nil }
        guard header.kind != LogLayout.Kind.message || header.length >= UInt32(Work.prefixSize) else {
            throw corrupted("the frame at \(position) is too short for work")
        }
        return header
    }

    /// Moves the head past all that is done. Anyone may: whoever looked at a frame that others have passed meanwhile loses
    /// the exchange.
    ///
    /// - Returns: Whether it moved.
    @discardableResult
    func advanceWorkHead() throws(IPCError) -> Bool {
        var hasMoved = false
        while true {
            let head = workHead.published
            guard let header = try workFrame(at: head) else { return hasMoved }
            if header.kind == LogLayout.Kind.message {
                guard Work.State(word: workState(at: head).published).stage == Work.Stage.done else { return hasMoved }
            }
            if workHead.exchange(head, for: head &+ UInt64(header.units) * 32).exchanged { hasMoved = true }
        }
    }

    /// Called by whoever made work done: the room that it took is free, if it was the oldest.
    func tellOfDone() throws(IPCError) {
        guard try advanceWorkHead() else { return }
        let writers = sleepingWriters
        // A fence of our own, since this process may not be registered for the sleeper's.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        if writers.flag.relaxed != 0 { writers.wake() }
    }

    func tellOfReturns() {
        workReturns.add(1)
        sleepingReaders.wake()
    }

    // Under the gate:

    /// Settles what a participant that goes, or is dead, leaves behind.
    func giveUpWork(of role: Membership.Role, _ slot: Int) throws(IPCError) {
        switch (pattern, role) {
        case (Work.queuePattern, .reader): try returnWork(of: slot) { $0.returned }
        case (Work.servicePattern, .reader): try returnWork(of: slot) { $0.unanswered }
        case (Work.servicePattern, .writer): try withdrawCalls(of: slot)
        default: break
        }
    }

    private func returnWork(of slot: Int, as settled: (Work.State) -> Work.State) throws(IPCError) {
        var hasReturned = false
        try scanWork { (header, word) throws(IPCError) in
            var state = Work.State(word: word.published)
            while state.stage == Work.Stage.taken, state.slot == slot {
                let next = settled(state)
                let (isOurs, found) = word.exchange(state.word, for: next.word)
                guard isOurs else {
                    state = Work.State(word: found)  // its caller has cancelled it
                    continue
                }
                if next.stage == Work.Stage.lost { try sleepingCaller(header.writer).wake() } else { hasReturned = true }
                KillPoint.reach(.recoverWork)
                break
            }
        }
        if hasReturned { tellOfReturns() }
        try tellOfDone()
    }

    private func withdrawCalls(of slot: Int) throws(IPCError) {
        try scanWork { (header, word) throws(IPCError) in
            guard header.writer == UInt32(slot) else { return }
            withdrawCall(word)
            KillPoint.reach(.callWithdrawn)
        }
        try tellOfDone()
    }

    /// Looks through all messages from the head on, none of which is overwritten meanwhile.
    private func scanWork(_ body: (FrameHeader, SharedWord) throws(IPCError) -> Void) throws(IPCError) {
        workScan.ordered = 0
        defer { workScan.ordered = .max }
        var position = workHead.ordered
        workScan.ordered = position
        let memory = try writableLog()  // ours may be read-only
        while let header = try workFrame(at: position) {
            if header.kind == LogLayout.Kind.message {
                let offset = Int(truncatingIfNeeded: position & mask) + LogLayout.Frame.headerSize
                try body(header, unsafe SharedWord(memory.base + offset))
            }
            position &+= UInt64(header.units) * 32
        }
    }
}
