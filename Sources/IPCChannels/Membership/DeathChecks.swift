import CIPCShims
import Glibc
import IPC
import Synchronization

// When waiting and polling participants check for deaths.
extension ChannelMemory {
    /// Whether a polling participant has to check for deaths now; true for only one of the callers. Takes a few nanoseconds and no
    /// system call.
    func isDeathCheckDue() -> Bool {
        let left = checksWithoutClock.load(ordering: .relaxed)
        guard left == 0 else {
            checksWithoutClock.store(left &- 1, ordering: .relaxed)
            return false
        }
        return isDeathCheckDueByClock()
    }

    @inline(never)
    private func isDeathCheckDueByClock() -> Bool {
        let now = ipc_coarse_now()
        // A caller that asks again within a tick of the coarse clock (some milliseconds) asks so often that it need not read the
        // clock each time.
        if lastAsked.exchange(now, ordering: .relaxed) == now { checksWithoutClock.store(3, ordering: .relaxed) }
        return Self.isDue(lastCheck, now, every: Self.pauseBetweenChecks)
    }

    /// Whether `pause` nanoseconds have passed since this last returned true; true for only one of the callers.
    private static func isDue(_ last: borrowing Atomic<UInt64>, _ now: UInt64, every pause: UInt64) -> Bool {
        let before = last.load(ordering: .relaxed)
        guard now &- before >= pause else { return false }
        return last.compareExchange(expected: before, desired: now, ordering: .relaxed).exchanged
    }

    private static var pauseBetweenChecks: UInt64 { 20_000_000 }

    /// The same for a participant that works for callers and has to notice their deaths sooner.
    func isCallerCheckDue() -> Bool {
        Self.isDue(lastCallerCheck, ipc_coarse_now(), every: Self.pauseBetweenCallerChecks)
    }

    private static var pauseBetweenCallerChecks: UInt64 { 4_000_000 }

    /// Checks that the channel exists and recovers dead participants. Called from time to time by a participant that polls,
    /// whatever it waits for.
    func recoverDeadParticipants() throws(IPCError) {
        try checkPresence()
        try Recovery.tryRun(self)
        // A process may have acknowledged and been stopped before it advanced the head.
        try hooks?.advance(self)
    }

    /// The same for one of many sleepers, unless one of them has done it recently.
    func recoverDeadParticipantsInTurn() throws(IPCError) {
        let now = Deadline(nanoseconds: MonotonicClock.now).onMachine
        let last = lastScan.relaxed
        // A time in the future is a peer's invalid data.
        if last <= now, now - last < Self.pauseBetweenScans { return try checkPresence() }
        try checkPresence()
        if try Recovery.run(self).isComplete { lastScan.relaxed = now }
        try hooks?.advance(self)
    }

    /// Half the maximum sleep: a sleeper notices a death within two maximum sleeps.
    private static var pauseBetweenScans: UInt64 { WaitQueue.maximumSleep / 2 }

    private var lastScan: SharedUInt64 { word(LogLayout.lastScan) }
}
