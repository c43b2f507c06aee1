import CIPCShims
import Glibc
import IPC

/// A wait of a thread, for any kind of news. It polls, yields its core from time to time, and sleeps after as many attempts as its
/// strategy allows.
///
/// ```text
/// var wait = ThreadWait(spins, until: deadline)
/// while !isReady {
///     switch wait.next() {
///     case .poll: continue
///     case .check: try memory.recoverDeadParticipants()
///     case .sleep:
///         try memory.checkPresence()
///         wait.sleep(in: memory.waitingReaders, of: memory) { isReady }
///     case .end: return false
///     }
/// }
/// ```
struct ThreadWait: ~Copyable {
    enum Step {
        /// Poll again.
        case poll
        /// Poll again and, from time to time, check for deaths. The core has been yielded.
        case check
        /// Check that the channel exists and whether a participant has died, then sleep.
        case sleep
        /// The deadline has passed.
        case end
    }

    let deadline: Deadline
    /// Nil to poll until the deadline.
    private let spins: Int?
    private var attempts: Int
    private var announcement: WaitQueue.Announcement?

    /// How many attempts there are between two reads of the clock.
    private static var batch: Int { 64 }
    private static var attemptsPerYield: Int { 1024 }

    /// - Parameter attempts: The attempts that were made before.
    init(_ spins: Int?, until deadline: Deadline, after attempts: Int = 0) {
        self.spins = spins
        self.deadline = deadline
        // It may sleep after each batch, or at once if it is not to poll at all.
        self.attempts = spins == 0 ? -1 : attempts
    }

    /// Whether it has been counted as a sleeper in this wait.
    var hasSlept: Bool { announcement != nil }

    /// What to do after an attempt that found nothing.
    @inline(__always)
    mutating func next() -> Step {
        attempts &+= 1
        guard attempts % Self.batch == 0 else {
            ipc_pause()
            return .poll
        }
        return nextOfBatch()
    }

    private mutating func nextOfBatch() -> Step {
        if deadline.hasPassed { return .end }
        if let spins, attempts >= spins { return .sleep }
        guard attempts % Self.attemptsPerYield == 0 else { return .poll }
        sched_yield()
        return .check
    }

    /// Sleeps until a wake-up, the deadline, or the maximum sleep, and shares the polls with other threads of this process that
    /// wait for the same: ``WaitQueue/sleepInTurn(_:in:until:atMost:unless:)``.
    ///
    /// - Parameters:
    ///   - end: Another limit of the sleep.
    ///   - isReady: The last check. May be called by another thread while this one sleeps.
    mutating func sleep(
        in queue: WaitQueue, of memory: ChannelMemory, until end: Deadline = .never,
        atMost maximumSleep: UInt64 = WaitQueue.maximumSleep, unless isReady: () -> Bool
    ) {
        queue.sleepInTurn(
            &announcement, in: memory, until: min(deadline, end), atMost: maximumSleep, unless: isReady)
    }

    /// The same without sharing the polls.
    mutating func sleepAlone(in queue: WaitQueue, atMost maximumSleep: UInt64, unless isReady: () -> Bool) {
        queue.sleep(&announcement, until: deadline, atMost: maximumSleep, unless: isReady)
    }
}
