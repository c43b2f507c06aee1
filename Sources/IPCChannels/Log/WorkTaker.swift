import CIPCShims
import Glibc
import IPC

/// A message that was taken: nobody else has it.
@usableFromInline
struct TakenWork: Sendable {
    let position: UInt64
    let header: FrameHeader
    let state: Work.State

    /// Bytes of the message.
    var byteCount: Int { Int(header.length) - Work.prefixSize }
}

/// Takes work from a log for one worker or server: each message is taken by one of them.
struct WorkTaker: ~Copyable {
    let membership: Membership
    private let memory: ChannelMemory
    private let spins: Int?
    private let head: SharedWord
    private let returnCount: SharedWord
    /// What lies before was looked at, unless something was given back since.
    private var position: UInt64 = 0
    private var returns: UInt64 = 0
    private var unlisted: UInt64 = 0
    /// Of what is set aside: from which entry on to look; nil once all were seen since the last return.
    private var nextAside: Int?
    /// When the first of what is not due yet will be, by the wall clock.
    private var nextDue = UInt64.max
    /// How often it was asked for work.
    private var looks = 0
    private static var looksBetweenTheDead: Int { 8 }

    init(_ membership: Membership, _ waiting: Waiting) {
        let memory = membership.memory
        head = memory.workHead
        returnCount = memory.workReturns
        spins = waiting.spins
        self.memory = memory
        self.membership = membership
        membership.finishJoining()
    }

    /// Takes the next, waiting for it.
    ///
    /// - Returns: nil if there was none until the deadline.
    mutating func take(until deadline: Deadline) throws(IPCError) -> TakenWork? {
        if let work = try tryTake() { return work }
        return try takeLater(until: deadline)
    }

    @inline(never)
    private mutating func takeLater(until deadline: Deadline) throws(IPCError) -> TakenWork? {
        var count = Waiting.firstLook(spins)
        var announcement: SleepingPlace.Announcement?
        var isCounted = false
        defer { if isCounted { IdleThreads.end(memory.key) } }
        while true {
            while !hasNews {
                count += 1
                guard count % 64 == 0 else {
                    // The message comes together with its frame's beginning then, not after it.
                    memory.prefetchWork(at: position)
                    ipc_pause()
                    continue
                }
                if deadline.hasPassed {
                    // One wake-up is for one of us: it may be that ours came with the deadline.
                    if announcement != nil, hasNews { memory.sleepingReaders.wakeOneIfNeeded(memory) }
                    return nil
                }
                guard let spins, count >= spins else {
                    guard count % 1024 == 0 else { continue }
                    sched_yield()
                    // A dead writer's claim hides what comes after it.
                    if memory.isLookDue() { try memory.lookAfterTheDead() }
                    continue
                }
                // What a dead worker had is work for us, too. One that goes on sleeping relies on what others have seen meanwhile.
                if isCounted { try memory.lookAfterTheDeadInTurn() } else { try memory.lookAfterTheDead() }
                if hasNews { break }
                if !isCounted { IdleThreads.begin(memory.key) }
                isCounted = true
                sleep(&announcement, until: deadline)
            }
            if let work = try tryTake() { return work }
            // Others may be quicker each time.
            if deadline.hasPassed { return nil }
        }
    }

    /// Whether there may be work since the last look.
    private var hasNews: Bool {
        memory.isCommitted(position) || returnCount.ordered != returns || head.ordered > position
            || WallClock.hasReached(nextDue)
    }

    @inline(never)
    private func sleep(_ announcement: inout SleepingPlace.Announcement?, until deadline: Deadline) {
        memory.sleepingReaders.sleep(
            &announcement, until: min(deadline, WallClock.deadline(nextDue)), atMost: IdleThreads.slice(memory.key),
            unless: readiness().check)
    }

    /// Takes the next, suspended until there is one.
    ///
    /// - Returns: nil if there was none until the deadline, or it is to stop.
    /// - Throws: ``IPC/IPCError/Code/cancelled``, and nothing was taken.
    nonisolated(nonsending) mutating func take(
        until deadline: Deadline, unless stopping: Stopping? = nil
    ) async throws(IPCError) -> TakenWork? {
        var hasLooked = false
        while stopping?.isAsked != true {
            // Before anything is taken: a loop that always finds something ends as well.
            if Task.isCancelled { throw .cancelled("take work", memory.name.description) }
            if let work = try tryTake() { return work }
            hasLooked.toggle()
            if hasLooked, look() { continue }
            // Others may be quicker each time.
            guard try await readiness(stopping).wait(until: deadline, spins: spins, "take work") else {
                return try tryTake()
            }
        }
        return nil
    }

    /// Looks for work for as long as a task may.
    private func look() -> Bool {
        for _ in 0..<Waiting.looksOfTask(spins) {
            if hasNews { return true }
            // The message comes together with its frame's beginning then, not after it.
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
            membership: membership, place: memory.sleepingReaders, end: WallClock.deadline(nextDue)
        ) {
            memory.isCommitted(position) || returnCount.ordered != returns || head.ordered > position
                || WallClock.hasReached(nextDue) || stopping?.isAsked == true
        }
    }

    /// Takes the first that nobody has; nil if there is none.
    mutating func tryTake() throws(IPCError) -> TakenWork? {
        guard !memory.isInherited else { throw memory.isInheritedError }
        // One that always finds something looks after the dead as well: nobody else may, and what those have is work, too.
        looks &+= 1
        if looks % Self.looksBetweenTheDead == 0, memory.isLookDue() { try memory.lookAfterTheDead() }
        let seen = returnCount.published
        if seen != returns || WallClock.hasReached(nextDue) { lookForReturns(seen) }
        if nextAside != nil, let work = takeAside() { return work }
        var left = memory.frameLimit
        while left > 0 {
            left &-= 1
            guard let header = try memory.workFrame(at: &position) else { break }
            let here = position
            if header.kind == LogLayout.Kind.message {
                let word = memory.workState(at: here)
                let state = Work.State(word: word.published)
                // What is set aside is taken from there, once it is due.
                if state.stage == Work.Stage.available, !state.isAside {
                    // Its lap is in the word: if the frame is another one by now, the exchange fails.
                    guard state.isOf(lap: memory.workLap(at: here)) else {
                        if head.published > here { continue }
                        throw memory.corrupted("the work at \(here) is of another lap")
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

    /// Takes the next of what is set aside that nobody has, and that is due.
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
            // Written before the work was given back.
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

    /// The same by one that only polls: it looks now and then whether a dead participant has what it waits for.
    mutating func poll() throws(IPCError) -> TakenWork? {
        if let work = try tryTake() { return work }
        if memory.isLookDue() { try memory.lookAfterTheDead() }
        return nil
    }
}
