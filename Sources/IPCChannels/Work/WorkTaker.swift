import CIPCShims
import Glibc
import IPC

/// A message that was taken: no other process has it.
@usableFromInline
struct TakenWork: Sendable {
    let position: UInt64
    let header: FrameHeader
    let state: Work.State

    /// The size of the message in bytes.
    var byteCount: Int { Int(header.length) - Work.prefixSize }
}

/// Takes work from a log for one worker or server. Each message is taken by one of them.
struct WorkTaker: ~Copyable {
    let membership: Membership
    private let memory: ChannelMemory
    private let spins: Int?
    private let head: SharedUInt64
    private let returnCount: SharedUInt64
    /// Everything before it was checked, unless work was returned since.
    private var position: UInt64 = 0
    private var returns: UInt64 = 0
    private var unlisted: UInt64 = 0
    /// The next entry of set-aside work to check; nil once all were checked since the last return.
    private var nextAside: Int?
    /// The earliest time at which delayed work is due, by the wall clock.
    private var nextDue = UInt64.max
    /// The number of attempts to take work.
    private var looks = 0
    private static var attemptsBetweenDeathChecks: Int { 8 }

    init(_ membership: Membership, _ waiting: WaitStrategy) {
        let memory = membership.memory
        head = memory.workHead
        returnCount = memory.workReturns
        spins = waiting.spins
        self.memory = memory
        self.membership = membership
        membership.finishJoining()
    }

    /// Takes the next message, waiting for it.
    ///
    /// - Returns: Nil if there was none until the deadline.
    mutating func take(until deadline: Deadline) throws(IPCError) -> TakenWork? {
        if let work = try tryTake() { return work }
        return try takeLater(until: deadline)
    }

    @inline(never)
    private mutating func takeLater(until deadline: Deadline) throws(IPCError) -> TakenWork? {
        var wait = ThreadWait(spins, until: deadline)
        while true {
            while !hasNews {
                // The message then arrives together with the frame header, not after it.
                memory.prefetchWork(at: position)
                switch wait.next() {
                case .poll: continue
                // A dead writer's claim hides what comes after it.
                case .check: if memory.isDeathCheckDue() { try memory.recoverDeadParticipants() }
                case .sleep: try sleep(&wait)
                case .end:
                    // A wake-up goes to one taker. If this one got it together with the deadline, it is passed on.
                    if wait.hasSlept, hasNews { memory.waitingReaders.wakeOneIfNeeded(memory) }
                    return nil
                }
            }
            if let work = try tryTake() { return work }
            // Other takers may win each time.
            if deadline.hasPassed { return nil }
        }
    }

    /// Whether there may be work since the last attempt.
    private var hasNews: Bool {
        memory.isCommitted(position) || returnCount.ordered != returns || head.ordered > position
            || WallClock.hasReached(nextDue)
    }

    @inline(never)
    private func sleep(_ wait: inout ThreadWait) throws(IPCError) {
        // The work of a dead worker becomes available, too. After the first sleep, the waiting processes share this check.
        if wait.hasSlept { try memory.recoverDeadParticipantsInTurn() } else { try memory.recoverDeadParticipants() }
        if hasNews { return }
        wait.sleep(
            in: memory.waitingReaders, of: memory, until: WallClock.deadline(nextDue), unless: readiness().check)
    }

    /// Takes the next message, suspended until there is one.
    ///
    /// - Returns: Nil if there was none until the deadline, or the taker is to stop.
    /// - Throws: ``/IPC/IPCError/Code/cancelled``, and nothing was taken.
    nonisolated(nonsending) mutating func take(
        until deadline: Deadline, unless stopping: Stopping? = nil
    ) async throws(IPCError) -> TakenWork? {
        var hasLooked = false
        while stopping?.isAsked != true {
            // Checked before anything is taken, so that a loop that always finds work ends as well.
            if Task.isCancelled { throw .cancelled("take work", memory.name.description) }
            if let work = try tryTake() { return work }
            hasLooked.toggle()
            if hasLooked, look() { continue }
            // Other takers may win each time.
            guard try await readiness(stopping).wait(until: deadline, spins: spins, "take work") else {
                return try tryTake()
            }
        }
        return nil
    }

    /// Polls for work for as long as a task may.
    private func look() -> Bool {
        for _ in 0..<WaitStrategy.attemptsOfTask(spins) {
            if hasNews { return true }
            // The message then arrives together with the frame header, not after it.
            memory.prefetchWork(at: position)
            ipc_pause()
        }
        return false
    }

    /// The same as a condition to wait for.
    func readiness(_ stopping: Stopping? = nil) -> ChannelReadiness {
        let (memory, position, returns, head, returnCount) = (memory, position, returns, head, returnCount)
        let nextDue = nextDue
        return ChannelReadiness(
            membership: membership, place: memory.waitingReaders, end: WallClock.deadline(nextDue)
        ) {
            memory.isCommitted(position) || returnCount.ordered != returns || head.ordered > position
                || WallClock.hasReached(nextDue) || stopping?.isAsked == true
        }
    }

    /// Takes the first available message; nil if there is none.
    mutating func tryTake() throws(IPCError) -> TakenWork? {
        guard !memory.isInherited else { throw memory.isInheritedError }
        // A taker that always finds work checks for dead participants as well: perhaps no other process does, and their work
        // must be recovered.
        looks &+= 1
        if looks % Self.attemptsBetweenDeathChecks == 0, memory.isDeathCheckDue() {
            try memory.recoverDeadParticipants()
        }
        let seen = returnCount.published
        if seen != returns || WallClock.hasReached(nextDue) { lookForReturns(seen) }
        if nextAside != nil, let work = takeAside() { return work }
        var left = memory.frameLimit
        while left > 0 {
            left &-= 1
            guard let header = try memory.workFrame(at: &position) else { break }
            let here = position
            if header.isMessage {
                let word = memory.workState(at: here)
                let state = Work.State(word: word.published)
                // Set-aside work is taken through its entry, once it is due.
                if state.stage == Work.Stage.available, !state.isAside {
                    // The word contains the lap: if the frame was replaced meanwhile, the exchange fails.
                    guard state.isOf(lap: memory.workLap(at: here)) else {
                        if head.published > here { continue }
                        throw memory.corrupted("the work at \(here) has the wrong lap")
                    }
                    let taken = state.taken(by: membership.slot)
                    guard word.exchange(state.word, for: taken.word).exchanged else { continue }
                    position = here &+ header.size
                    KillPoint.reach(.workTaken)
                    return TakenWork(position: here, header: header, state: taken)
                }
            }
            position = here &+ header.size
        }
        return nil
    }

    @inline(never)
    private mutating func lookForReturns(_ seen: UInt64) {
        returns = seen
        (nextAside, nextDue) = (0, .max)
        let unlisted = memory.unlistedReturns.ordered
        if unlisted != self.unlisted { position = 0 }
        self.unlisted = unlisted
    }

    /// Takes the next set-aside message that is available and due.
    @inline(never)
    private mutating func takeAside() -> TakenWork? {
        let entries = memory.asideEntries
        let now = entries.isEmpty ? 0 : WallClock.now
        while let entry = nextAside, entry < entries.upperBound {
            nextAside = entry + 1
            guard let here = memory.asidePosition(entry), let header = memory.asideFrame(entry, here) else { continue }
            let word = memory.workState(at: here)
            let state = Work.State(word: word.published)
            guard state.stage == Work.Stage.available, state.isAside, state.isOf(lap: memory.workLap(at: here)) else {
                continue
            }
            // Written before the work was returned, and so visible with its state.
            let due = memory.aside(entry, LogLayout.Aside.due).relaxed
            guard due <= now else {
                nextDue = min(nextDue, due)
                continue
            }
            let taken = state.taken(by: membership.slot)
            guard word.exchange(state.word, for: taken.word).exchanged else { continue }
            KillPoint.reach(.workTaken)
            return TakenWork(position: here, header: header, state: taken)
        }
        nextAside = nil
        return nil
    }

    /// The same for a taker that only polls: it also checks for dead participants now and then.
    mutating func poll() throws(IPCError) -> TakenWork? {
        if let work = try tryTake() { return work }
        if memory.isDeathCheckDue() { try memory.recoverDeadParticipants() }
        return nil
    }
}
