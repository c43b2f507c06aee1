import CIPCShims
import IPC
import Synchronization

/// A log that carries work, for the workers of a queue or the servers of a service. The payload of each frame begins with 32
/// bytes, whose first word is its state. `control` holds the head: the oldest frame that is not done.
///
/// The head limits writers as a reader's cursor does. Scanning the frames blocks no writer: what was read of a frame is valid
/// if the head has not passed it since. The word contains the lap, so that even a late exchange succeeds only in the intended
/// frame.
enum Work {
    /// The bytes before the message in each payload.
    static let prefixSize = LogLayout.Frame.workPrefixSize
    /// The maximum number of attempts to exchange a word: more than others can change it meanwhile, if they use this library.
    static let attempts = 1024
    /// The valid limits of waiting calls.
    static let waitingLimits = 1...Int(Int32.max)
    /// The largest delivery count that the word can hold.
    static let countedAttempts = 0x7fff

    /// The stage of work.
    enum Stage {
        static let available: UInt8 = 0
        static let taken: UInt8 = 1
        static let done: UInt8 = 2
        // For a call; the caller makes it done.
        static let replied: UInt8 = 3
        static let failed: UInt8 = 4
        /// The server's reply was too large.
        static let refused: UInt8 = 5
        /// Its server died or dropped it.
        static let lost: UInt8 = 6
        /// Its caller reads the reply in place.
        static let collecting: UInt8 = 7
    }

    /// The first word of the payload.
    struct State: Equatable, Sendable {
        let word: UInt64

        init(word: UInt64) { self.word = word }

        /// The state of a new message.
        ///
        /// - Parameter lap: ``ChannelMemory/workLap(at:)``.
        init(lap: UInt64, retries: Int = 0) {
            word = UInt64(Stage.available) | UInt64(retries) << 5 | lap << 40
        }

        /// Bits 0 to 3.
        var stage: UInt8 { UInt8(truncatingIfNeeded: word) & 0xf }
        /// Bit 4, of a call: the reply is no longer wanted.
        var isCancelled: Bool { word & 0x10 != 0 }
        /// The same bit, of a job that is done: it was moved to the dead letters.
        var isBuried: Bool { stage == Stage.done && word & 0x10 != 0 }
        /// Bits 5 to 11, of a call: how often another server may still repeat it if its server dies.
        var retries: Int { Int(word >> 5 & 0x7f) }
        /// Bits 12 to 26: how often it was delivered.
        var attempts: Int { Int(word >> 12 & UInt64(Work.countedAttempts)) }
        /// Bit 27: it is set aside: it has an entry, and the head passes it.
        var isAside: Bool { word & 1 << 27 != 0 }
        /// Bits 28 to 39: the reader slot that took it last. The bits above are the lap.
        var slot: Int { Int(word >> 28 & 0xfff) }

        func isOf(lap: UInt64) -> Bool { word >> 40 == lap }
        func at(_ stage: UInt8) -> State { State(word: word & ~0xf | UInt64(stage)) }
        var cancelled: State { State(word: word | 0x10) }
        /// The last state of a job that was moved to the dead letters.
        var buried: State { at(Stage.done).cancelled }
        var aside: State { State(word: word | 1 << 27) }
        var notAside: State { State(word: word & ~(1 << 27)) }

        func taken(by slot: Int) -> State {
            let attempts = UInt64(min(attempts + 1, Work.countedAttempts))
            return State(word: word & ~0xff_f7ff_f00f | UInt64(Stage.taken) | attempts << 12 | UInt64(slot) << 28)
        }

        /// The next state of a job that its worker did not finish.
        var returned: State { at(Stage.available) }

        /// The next state of work that was taken and not begun: as if it had never been delivered.
        var released: State {
            if isCancelled { return at(Stage.done) }
            return State(word: at(Stage.available).word - (attempts > 0 ? 1 << 12 : 0))
        }

        /// The next state of a call that its server did not answer.
        var unanswered: State {
            if isCancelled { return at(Stage.done) }
            return retries > 0 ? State(word: at(Stage.available).word - 1 << 5) : at(Stage.lost)
        }
    }
}

extension ChannelMemory {
    var workHead: SharedUInt64 { word(LogLayout.workHead) }
    /// Counts announcements of returned or delayed work: a taker that sees a new count looks at the entries again.
    var workReturns: SharedUInt64 { word(LogLayout.workReturns) }
    var redeliveries: SharedUInt64 { word(LogLayout.redeliveries) }

    /// The upper 24 bits of the word of work at `position`. They differ in each lap, and repeat after 16 million laps.
    func workLap(at position: UInt64) -> UInt64 {
        (position >> UInt64(capacity.trailingZeroBitCount) ^ key) & 0xff_ffff
    }

    func prefetchWork(at position: UInt64) { unsafe ipc_prefetch(log + Int(truncatingIfNeeded: position & mask) + 64) }

    /// The payload of the frame at `position`: the header of the work, then the message.
    func workPayload(at position: UInt64) -> UnsafeMutableRawPointer {
        unsafe log + Int(truncatingIfNeeded: position & mask) + LogLayout.Frame.headerSize
    }

    func workState(at position: UInt64) -> SharedUInt64 { unsafe SharedUInt64(workPayload(at: position)) }

    /// Moves `position` to the head if it is behind. Returns the frame's header if it is committed.
    func workFrame(at position: inout UInt64) throws(IPCError) -> FrameHeader? {
        // Bounded: the head cannot pass this position so often while others do any work; a peer that keeps moving it must not
        // hold this call.
        var left = Self.attemptsToRead
        while left > 0 {
            left &-= 1
            position = max(position, workHead.published)
            guard LogLayout.Frame.isAligned(position) else {
                throw corrupted("a position is not aligned")
            }
            guard isCommitted(position) else { return nil }
            let header = unsafe FrameHeader(log + Int(truncatingIfNeeded: position & mask))
            // What was read belongs to this frame if neither the head, nor therefore the writers, have passed it by now.
            atomicMemoryFence(ordering: .acquiring)
            guard workHead.relaxed <= position else { continue }
            guard header.isValid(upTo: maximumFrame) else {
                throw corrupted("the frame at \(position) is larger than the log allows")
            }
            // Without the word it can be neither taken nor finished: treated as skipped.
            guard header.hasWorkOrNone else { return header.skipped }
            return header
        }
        return nil
    }

    private static var attemptsToRead: Int { 65_536 }

    /// Moves the head past everything that is done, and wakes writers that wait for room. Any participant may call it: the
    /// exchange fails for one that looked at a frame which others have passed meanwhile.
    ///
    /// - Returns: Whether the head moved.
    @discardableResult
    func advanceWorkHead() throws(IPCError) -> Bool {
        var hasMoved = false
        // A pair: each of two participants that acknowledge makes its word done, and then looks at the head and at the other's
        // word. All of it is sequentially consistent, so the later one sees both.
        var position = workHead.ordered
        var left = frameLimit
        while left > 0 {
            left &-= 1
            guard let header = try workFrame(at: &position) else { break }
            if header.isMessage {
                let state = Work.State(word: workState(at: position).ordered)
                guard state.stage == Work.Stage.done || state.isAside else { break }
            }
            let (isOurs, found) = workHead.exchange(position, for: position &+ header.size)
            if isOurs { hasMoved = true } else { position = found }
        }
        // The head was moved by a sequentially consistent exchange. A writer registers as a waiter, and then loads the head: it
        // sees the new head, or this process sees the waiter.
        if hasMoved, waitingWriters.mayHaveWaiters { waitingWriters.wake(self) }
        return hasMoved
    }

    /// Called when work is done. Moves the head; if it cannot move and a writer waits, sets the held work aside.
    func makeRoom() throws(IPCError) {
        if try !advanceWorkHead(), waitingWriters.mayHaveWaiters { try passHeldWork() }
    }

    /// - Parameter count: The number of messages that were returned; 0 if it is unknown, or they are new.
    func announceReturns(_ count: Int = 1) {
        if count > 0 { redeliveries.add(UInt64(count)) }
        workReturns.add(1)
        if waitingReaders.mayHaveWaiters { waitingReaders.wake(self) }
    }

    /// Visits all messages from the head on that existed at the start, and then those that are set aside. Unfinished work that
    /// the head passes meanwhile is set aside by then. A message may be visited twice.
    ///
    /// - Returns: False if it stopped at a frame that is claimed and not committed yet.
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
            if header.isMessage { try body(header, position) }
            position &+= header.size
        }
        return true
    }
}
