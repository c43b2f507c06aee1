import CIPCShims
import IPC
import Synchronization

/// What makes a log carry work, for a queue's workers or a service's servers: each frame's payload begins with 32 bytes
/// whose first word says what became of it, and `control` has the oldest frame that is not done.
///
/// The head holds writers back as a reader's cursor does. Who looks through the frames holds nobody back: what it read of a
/// frame counts if the head has not passed it since, and the word tells of which lap it is, so that whoever exchanges it,
/// however late, exchanges it in the frame that was meant.
enum Work {
    /// Bytes before the message in each payload.
    static let prefixSize = 32
    /// How often an exchange of a word is tried that others change: more often than they can, if they are of this library.
    static let attempts = 1024
    /// As many times of handing out as are counted.
    static let countedAttempts = 0x7fff

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
        /// Its caller reads the reply where it lies.
        static let collecting: UInt8 = 7
    }

    /// The first word.
    struct State: Equatable, Sendable {
        let word: UInt64

        init(word: UInt64) { self.word = word }

        /// Of a message that nobody has had yet.
        ///
        /// - Parameter lap: ``ChannelMemory/workLap(at:)``.
        init(lap: UInt64, retries: Int = 0) {
            word = UInt64(Stage.available) | UInt64(retries) << 5 | lap << 40
        }

        /// Bits 0 to 3.
        var stage: UInt8 { UInt8(truncatingIfNeeded: word) & 0xf }
        /// Bit 4, of a call: nobody waits for the reply any more.
        var isCancelled: Bool { word & 0x10 != 0 }
        /// Bits 5 to 11, of a call: how often another server may still do it if one dies at it.
        var retries: Int { Int(word >> 5 & 0x7f) }
        /// Bits 12 to 26: how often it was handed out.
        var attempts: Int { Int(word >> 12 & UInt64(Work.countedAttempts)) }
        /// Bit 27: it has an entry among what is set aside, and the head passes it.
        var isAside: Bool { word & 1 << 27 != 0 }
        /// Bits 28 to 39: to which reader's slot it was handed last. Above is the lap.
        var slot: Int { Int(word >> 28 & 0xfff) }

        func isOf(lap: UInt64) -> Bool { word >> 40 == lap }
        func at(_ stage: UInt8) -> State { State(word: word & ~0xf | UInt64(stage)) }
        var cancelled: State { State(word: word | 0x10) }
        var aside: State { State(word: word | 1 << 27) }
        var notAside: State { State(word: word & ~(1 << 27)) }

        func taken(by slot: Int) -> State {
            let attempts = UInt64(min(attempts + 1, Work.countedAttempts))
            return State(word: word & ~0xff_f7ff_f00f | UInt64(Stage.taken) | attempts << 12 | UInt64(slot) << 28)
        }

        /// What a job becomes that its worker did not finish.
        var returned: State { at(Stage.available) }

        /// What work becomes that was taken and not begun: as if it had never been handed out.
        var released: State {
            if isCancelled { return at(Stage.done) }
            return State(word: at(Stage.available).word - (attempts > 0 ? 1 << 12 : 0))
        }

        /// What a call becomes that its server did not answer.
        var unanswered: State {
            if isCancelled { return at(Stage.done) }
            return retries > 0 ? State(word: at(Stage.available).word - 1 << 5) : at(Stage.lost)
        }
    }
}

extension ChannelPattern {
    var carriesWork: Bool { self == .workQueue || self == .service }
}

extension ChannelMemory {
    var carriesWork: Bool { pattern.carriesWork }
    var workHead: SharedWord { word(LogLayout.workHead) }
    /// Counts work that was given back: whoever looked past it begins at the head again.
    var workReturns: SharedWord { word(LogLayout.workReturns) }
    var redeliveries: SharedWord { word(LogLayout.redeliveries) }

    /// What the word of work at `position` has in its upper 24 bits: another in each lap, until it has come round
    /// 16 million times.
    func workLap(at position: UInt64) -> UInt64 {
        (position >> UInt64(capacity.trailingZeroBitCount) ^ key) & 0xff_ffff
    }

    func prefetchWork(at position: UInt64) { unsafe ipc_prefetch(log + Int(truncatingIfNeeded: position & mask) + 64) }

    /// What lies before the message, and the message, in the frame at `position`.
    func workPayload(at position: UInt64) -> UnsafeMutableRawPointer {
        unsafe log + Int(truncatingIfNeeded: position & mask) + LogLayout.Frame.headerSize
    }

    func workState(at position: UInt64) -> SharedWord { unsafe SharedWord(workPayload(at: position)) }

    /// The header of the frame at `position` if it is committed, after `position` was moved on to the head.
    func workFrame(at position: inout UInt64) throws(IPCError) -> FrameHeader? {
        // More often than the head can pass us while others do anything; a peer that moves it for ever ends the call.
        var left = Self.attemptsToRead
        while left > 0 {
            left &-= 1
            position = max(position, workHead.published)
            guard LogLayout.Frame.isAligned(position) else {
                throw corrupted("a position is not aligned")
            }
            guard isCommitted(position) else { return nil }
            let header = unsafe FrameHeader(log + Int(truncatingIfNeeded: position & mask))
            // What we read is of this frame if the head, and so the writers, had not passed it by then.
            atomicMemoryFence(ordering: .acquiring)
            guard workHead.relaxed <= position else { continue }
            guard header.isValid(upTo: maximumFrame) else {
                throw corrupted("the frame at \(position) cannot be work")
            }
            // Without a word nobody can take it, or make it done.
            guard header.hasWorkOrNone else { return header.skipped }
            return header
        }
        return nil
    }

    private static var attemptsToRead: Int { 65_536 }

    /// Moves the head past all that is done, and wakes those who wait for that room. Anyone may: whoever looked at a frame that
    /// others have passed meanwhile loses the exchange.
    ///
    /// - Returns: Whether it moved.
    @discardableResult
    func advanceWorkHead() throws(IPCError) -> Bool {
        var hasMoved = false
        // A pair: each of two that acknowledge makes its word done and then looks at the head and at the other's word. All of it
        // is sequentially consistent, so that the later one sees both.
        var position = workHead.ordered
        var left = frameLimit
        while left > 0 {
            left &-= 1
            guard let header = try workFrame(at: &position) else { break }
            if header.kind == LogLayout.Kind.message {
                let state = Work.State(word: workState(at: position).ordered)
                guard state.stage == Work.Stage.done || state.isAside else { break }
            }
            let (isOurs, found) = workHead.exchange(position, for: position &+ header.size)
            if isOurs { hasMoved = true } else { position = found }
        }
        // The head was moved by an exchange; a writer that counts itself, and then looks at the head, sees that, or we see it.
        if hasMoved, sleepingWriters.mayHaveSleepers { sleepingWriters.wake(self) }
        return hasMoved
    }

    /// What follows when work is done: moves the head, or, where a writer waits, what holds it out of the way.
    func makeRoom() throws(IPCError) {
        if try !advanceWorkHead(), sleepingWriters.mayHaveSleepers { try passHeldWork() }
    }

    /// - Parameter count: How many messages came back; also 0, where it is not known, or they came for the first time.
    func tellOfReturns(_ count: Int = 1) {
        if count > 0 { redeliveries.add(UInt64(count)) }
        workReturns.add(1)
        if sleepingReaders.mayHaveSleepers { sleepingReaders.wake(self) }
    }

    // By one that has the slot: its owner, or whoever settles it.

    /// Whether a participant of a role may leave work behind.
    func hasWork(of role: Membership.Role) -> Bool {
        pattern == .service || pattern == .workQueue && (role == .reader || usedAside.ordered != 0)
    }

    /// Settles what a participant that goes, or is dead, leaves behind.
    ///
    /// - Returns: False if some of it may lie behind what another is writing still: to be done again once that is there.
    @discardableResult
    func giveUpWork(of role: Membership.Role, _ slot: Int, isDead: Bool = false) throws(IPCError) -> Bool {
        if isDead, carriesWork { settleAside(of: role, slot) }
        switch (pattern, role) {
        // Whoever took something had read all that lies before it.
        case (.workQueue, .reader): try returnWork(of: slot, isDead) { $0.returned }
        case (.service, .reader): try returnWork(of: slot, isDead) { $0.unanswered }
        case (.service, .writer): return try withdrawCalls(of: slot)
        // It may have sent something for later, and not told of it.
        case (.workQueue, .writer): if isDead { tellOfReturns(0) }
        default: break
        }
        return true
    }

    private func returnWork(
        of slot: Int, _ isDead: Bool, as settled: (Work.State) -> Work.State
    ) throws(IPCError) {
        // The dead one, or one that died as it settled this, may have given something back and not told of it.
        var count = 0
        try scanWork { (header, position) throws(IPCError) in
            let word = workState(at: position)
            var state = Work.State(word: word.published)
            for _ in 0..<Work.attempts {
                guard state.stage == Work.Stage.taken, state.slot == slot else { break }
                let next = settled(state)
                if pattern == .workQueue {
                    unsafe JobHeader.setReason(
                        workPayload(at: position), .workerDied, process(.reader, slot).relaxed)
                }
                let (isOurs, found) =
                    next.stage == Work.Stage.available
                    ? handBack(position, header.size, state, as: next) : word.exchange(state.word, for: next.word)
                guard isOurs else {
                    state = Work.State(word: found)  // its caller has cancelled it
                    continue
                }
                switch next.stage {
                case Work.Stage.lost: try sleepingCaller(header.writer).wakeIfNeeded(self)
                case Work.Stage.available: count += 1
                default: if next.isAside { leave(position) }
                }
                KillPoint.reach(.recoverWork)
                break
            }
        }
        if count > 0 || isDead { tellOfReturns(count) }
        try advanceWorkHead()
    }

    /// - Returns: As ``giveUpWork(of:_:isDead:)``: a call may lie behind a claim of another caller.
    private func withdrawCalls(of slot: Int) throws(IPCError) -> Bool {
        let isComplete = try scanWork { (header, position) throws(IPCError) in
            guard header.writer == UInt32(slot) else { return }
            withdrawCall(at: position)
            KillPoint.reach(.callWithdrawn)
        }
        try advanceWorkHead()
        return isComplete
    }

    /// Looks through all messages from the head on that were there at the beginning, and then at what is set aside: what the head passes
    /// meanwhile is there by then. Some may be met twice.
    ///
    /// - Returns: False if it met one before that is claimed and not committed yet.
    @discardableResult
    func scanWork(_ body: (FrameHeader, UInt64) throws(IPCError) -> Void) throws(IPCError) -> Bool {
        let isComplete = try scanLog(body)
        try scanAside(body)
        return isComplete
    }

    private func scanLog(_ body: (FrameHeader, UInt64) throws(IPCError) -> Void) throws(IPCError) -> Bool {
        let end = LogPositions.bound(self)
        var position: UInt64 = 0
        for _ in 0..<frameLimit {
            guard let header = try workFrame(at: &position) else { return !hasSharedWriters || position >= end }
            guard position < end else { break }
            if header.kind == LogLayout.Kind.message { try body(header, position) }
            position &+= header.size
        }
        return true
    }
}
