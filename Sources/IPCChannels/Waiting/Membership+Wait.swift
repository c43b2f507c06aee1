import IPC

extension Membership {
    /// How long a task sleeps, in nanoseconds, while a dead participant cannot be recovered yet. Doubled each time.
    private static var firstPauseAfterDeath: UInt64 { 1_000_000 }
    private static var longestPauseAfterDeath: UInt64 { 10_000_000 }

    /// Waits in a wait queue without a thread.
    ///
    /// - Parameter isReady: Whether there is nothing to wait for. Called again after each wake-up, from any thread.
    /// - Returns: False if the deadline passed first.
    /// - Throws: ``/IPC/IPCError/Code/cancelled``; as ``ChannelMemory/checkPresence()``.
    nonisolated(nonsending) func wait(
        in place: WaitQueue, until deadline: Deadline, _ operation: String,
        unless isReady: @escaping ChannelWaits.Check
    ) async throws(IPCError) -> Bool {
        var shared: WakeUpPipe?
        var pause = Pause()
        while !isReady() {
            guard !deadline.hasPassed else { return false }
            let pipe = try ChannelWaits.shared.pipe(in: memory.wakeUpFolder, for: .current)
            let outlook = try prepare(&pause)

            var begun: Reactor.Wait?
            var needsShared = false
            let outcome = try await Reactor.park(until: min(deadline, pause.end)) { wait in
                guard
                    let deaths = ChannelWaits.shared.add(
                        .init(wait: wait, pipe: pipe, place: place, isReady: isReady), or: shared, token)
                else {
                    needsShared = true
                    return false
                }
                begun = wait
                place.announce()
                return hasNoNews(outlook, deaths, isReady)
            }
            if let begun { ChannelWaits.shared.remove(begun, token) }
            if case .cancelled = outcome { throw .cancelled(operation, memory.name.description) }
            if needsShared { shared = try ChannelWaits.shared.pipe(in: memory.wakeUpFolder, for: .shared) }
        }
        return true
    }

    /// Arms a wake-up pipe of the program: it is signalled once, when there is something.
    ///
    /// - Returns: False if there is something already.
    func arm(_ pipe: WakeUpPipe, in place: WaitQueue, unless isReady: @escaping ChannelWaits.Check) throws(IPCError)
        -> Bool
    {
        var shared: WakeUpPipe?
        var pause = Pause()
        for _ in 0..<Self.attemptsToArm {
            let outlook = try prepare(&pause)
            guard let deaths = ChannelWaits.shared.arm(pipe, or: shared, token, isReady) else {
                shared = try ChannelWaits.shared.pipe(in: memory.wakeUpFolder, for: .shared)
                continue
            }
            place.announce()
            if isReady() { return false }
            guard hasNoNews(outlook, deaths, isReady) else { continue }
            if pause.end != .never {
                // A check that is due only for want of a fence signals only if there is news. Otherwise the user would arm the pipe
                // again and be signalled for nothing again.
                ChannelWaits.shared.signal(pipe, token, at: pause.end, if: pause.isForFence ? isReady : nil)
            }
            return true
        }
        // Others join and die all the time: the wake-up pipe is signalled for another check after a while.
        ChannelWaits.shared.signal(pipe, token, at: Deadline(nanoseconds: MonotonicClock.now &+ WaitQueue.maximumSleep))
        return true
    }

    private static var attemptsToArm: Int { 64 }

    /// The last check: for what is waited for, for joins, and for deaths that were noticed before this wait was added.
    private func hasNoNews(_ outlook: ChannelWaits.Outlook, _ deaths: UInt64, _ isReady: () -> Bool) -> Bool {
        !isReady() && memory.joinCount == outlook.joins && deaths == outlook.deaths && !memory.isInherited && !isGone
    }

    /// Whether the channel was removed after ``prepare(_:)`` had checked and before this sleeper was announced. The remover saw
    /// nobody to wake, and nobody else is left. The removal flag is set before the files go, so the system call is made only if it
    /// is set.
    private var isGone: Bool { memory.isRemoved && (try? memory.checkPresence()) == nil }

    /// How long a wait may last before something has to be checked again.
    private struct Pause {
        var length: UInt64 = 0
        var end = Deadline.never
        var isFirst = true
        /// Whether it ends only because the kernel made no fence.
        var isForFence = false
    }

    /// Checks that the channel exists, makes sure that wake-ups and deaths are noticed, and recovers dead participants.
    private func prepare(_ pause: inout Pause) throws(IPCError) -> ChannelWaits.Outlook {
        try memory.checkPresence()
        let outlook = try ChannelWaits.shared.prepare(self)
        pause.end = .never
        pause.isForFence = false
        if outlook.deaths != outlook.settled {
            if try recoverDeadParticipants() {
                ChannelWaits.shared.settleDeaths(self, upTo: outlook.deaths)
            } else {
                pause.length = min(max(2 * pause.length, Self.firstPauseAfterDeath), Self.longestPauseAfterDeath)
                pause.end = Deadline(nanoseconds: MonotonicClock.now &+ pause.length)
            }
        } else if pause.isFirst, !WaitQueue.canFence {
            // By then a store of a waker without a fence is visible.
            pause.end = Deadline(nanoseconds: MonotonicClock.now &+ WaitQueue.maximumSleepWithoutFence)
            pause.isForFence = true
        }
        pause.isFirst = false
        return outlook
    }

    /// Recovers dead participants.
    ///
    /// - Returns: Whether nothing is left to recover.
    private func recoverDeadParticipants() throws(IPCError) -> Bool {
        try Recovery.run(memory).isComplete
    }
}
