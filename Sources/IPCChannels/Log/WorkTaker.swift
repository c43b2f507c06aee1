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
        while true {
            while !hasNews {
                count += 1
                guard count % 64 == 0 else {
                    // The message comes together with its frame's beginning then, not after it.
                    memory.prefetchWork(at: position)
                    ipc_pause()
                    continue
                }
                if deadline.hasPassed { return nil }
                guard let spins, count >= spins else {
                    guard count % 1024 == 0 else { continue }
                    sched_yield()
                    // A dead writer's claim hides what comes after it.
                    if memory.isLookDue() { try memory.lookAfterTheDead() }
                    continue
                }
                // What a dead worker had is work for us, too.
                try memory.lookAfterTheDead()
                if hasNews { break }
                sleep(until: deadline)
            }
            if let work = try tryTake() { return work }
            // Others may be quicker each time.
            if deadline.hasPassed { return nil }
        }
    }

    /// Whether there may be work since the last look.
    private var hasNews: Bool {
        memory.isCommitted(position) || returnCount.ordered != returns || head.ordered > position
    }

    @inline(never)
    private func sleep(until deadline: Deadline) {
        memory.sleepingReaders.sleep(until: deadline, unless: readiness().check)
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
        return ChannelReadiness(membership: membership, place: memory.sleepingReaders) {
            memory.isCommitted(position) || returnCount.ordered != returns || head.ordered > position
                || stopping?.isAsked == true
        }
    }

    /// Takes the first that nobody has; nil if there is none.
    mutating func tryTake() throws(IPCError) -> TakenWork? {
        guard !memory.isInherited else { throw memory.isInheritedError }
        // One that always finds something looks after the dead as well: nobody else may, and what those have is work, too.
        looks &+= 1
        if looks % Self.looksBetweenTheDead == 0, memory.isLookDue() { try memory.lookAfterTheDead() }
        let seen = returnCount.published
        if seen != returns {
            returns = seen
            position = 0
        }
        var left = memory.frameLimit
        while left > 0 {
            left &-= 1
            guard let header = try memory.workFrame(at: &position) else { break }
            let here = position
            if header.kind == LogLayout.Kind.message {
                let word = memory.workState(at: here)
                let state = Work.State(word: word.published)
                if state.stage == Work.Stage.available {
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

    /// The same by one that only polls: it looks now and then whether a dead participant has what it waits for.
    mutating func poll() throws(IPCError) -> TakenWork? {
        if let work = try tryTake() { return work }
        if memory.isLookDue() { try memory.lookAfterTheDead() }
        return nil
    }
}
