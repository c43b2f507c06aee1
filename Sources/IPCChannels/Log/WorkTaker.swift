import CIPCShims
import Glibc
import IPC

/// A message that was taken: nobody else has it.
struct TakenWork {
    let position: UInt64
    let header: FrameHeader
    let state: Work.State
}

/// Takes work from a log for one worker or server: each message is taken by one of them.
struct WorkTaker: ~Copyable {
    let membership: Membership
    private let spins: Int?
    private let cursor: SharedWord
    private let head: SharedWord
    private let returnCount: SharedWord
    /// What lies before was looked at, unless something was given back since.
    private var position: UInt64 = 0
    private var returns: UInt64 = 0

    init(_ membership: Membership, _ waiting: Waiting) {
        let memory = membership.memory
        cursor = memory.reader(membership.slot, LogLayout.ReaderSlot.cursor)
        head = memory.workHead
        returnCount = memory.workReturns
        spins = waiting.spins
        self.membership = membership
        membership.finishJoining()
    }

    /// Takes the next, waiting for it.
    ///
    /// - Returns: nil if there was none until the deadline.
    mutating func take(until deadline: Deadline) throws(IPCError) -> TakenWork? {
        let memory = membership.memory
        let readers = memory.sleepingReaders
        var count = 0
        while true {
            if let work = try tryTake() { return work }
            let (position, returns, head, returnCount) = (position, returns, head, returnCount)
            func hasNews() -> Bool {
                memory.isCommitted(position) || returnCount.published != returns || head.published > position
            }
            while !hasNews() {
                count += 1
                guard count % 64 == 0 else {
                    ipc_pause()
                    continue
                }
                if deadline.hasPassed { return nil }
                guard let spins, count >= spins else {
                    if count % 1024 == 0 { sched_yield() }
                    // A dead writer's claim hides what comes after it.
                    if count % 65_536 == 0 { try Recovery.tryRun(memory) }
                    continue
                }
                // What a dead worker had is work for us, too.
                if try Recovery.tryRun(memory) { continue }
                readers.sleep(until: deadline, unless: hasNews)
            }
            // Others may be quicker each time.
            if deadline.hasPassed { return try tryTake() }
        }
    }

    /// Takes the first that nobody has; nil if there is none.
    mutating func tryTake() throws(IPCError) -> TakenWork? {
        let memory = membership.memory
        // While we look, nothing from here on is overwritten: first all is held, and then what the head held until now.
        cursor.ordered = 0
        defer { cursor.published = .max }
        let seen = returnCount.ordered
        if seen != returns {
            returns = seen
            position = 0
        }
        position = max(position, head.ordered)
        cursor.ordered = position
        while let header = try memory.workFrame(at: position) {
            let here = position
            if header.kind == LogLayout.Kind.message {
                let word = memory.workState(at: here)
                let state = Work.State(word: word.published)
                if state.stage == Work.Stage.available {
                    let taken = Work.State(
                        Work.Stage.taken, attempts: state.attempts + 1, retries: state.retries, slot: membership.slot)
                    guard word.exchange(state.word, for: taken.word).exchanged else { continue }
                    position = here &+ UInt64(header.units) * 32
                    KillPoint.reach(.workTaken)
                    return TakenWork(position: here, header: header, state: taken)
                }
            }
            position = here &+ UInt64(header.units) * 32
        }
        return nil
    }
}
