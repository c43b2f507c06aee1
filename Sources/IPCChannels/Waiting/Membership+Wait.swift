import IPC

extension Membership {
    /// How long a task sleeps, in nanoseconds, while what a death has left cannot be seen to yet: longer each time.
    private static var firstPauseAfterDeath: UInt64 { 1_000_000 }
    private static var longestPauseAfterDeath: UInt64 { 10_000_000 }

    /// Waits without a thread, to be woken in a place.
    ///
    /// - Parameter isReady: Whether there is nothing to wait for. Asked again after each wake-up, from any thread.
    /// - Returns: False if the deadline passed first.
    /// - Throws: ``IPC/IPCError/Code/cancelled``; as ``ChannelMemory/checkPresence()``.
    nonisolated(nonsending) func wait(
        in place: SleepingPlace, until deadline: Deadline, _ operation: String,
        unless isReady: @escaping ChannelWaits.Check
    ) async throws(IPCError) -> Bool {
        var shared: Bell?
        var pause = Pause()
        while !isReady() {
            guard !deadline.hasPassed else { return false }
            let bell = try ChannelWaits.shared.bell(in: memory.bellFolder, for: .current)
            let outlook = try prepare(&pause)

            var begun: Reactor.Wait?
            var needsShared = false
            let outcome = try await Reactor.park(until: min(deadline, pause.end)) { wait in
                guard
                    let deaths = ChannelWaits.shared.add(
                        .init(wait: wait, bell: bell, place: place, isReady: isReady), or: shared, token)
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
            if needsShared { shared = try ChannelWaits.shared.bell(in: memory.bellFolder, for: .shared) }
        }
        return true
    }

    /// Asks to have a bell of the program rung once, when there is something.
    ///
    /// - Returns: False if there is something already.
    func arm(_ bell: Bell, in place: SleepingPlace, unless isReady: @escaping ChannelWaits.Check) throws(IPCError)
        -> Bool
    {
        var shared: Bell?
        var pause = Pause()
        for _ in 0..<Self.attemptsToArm {
            let outlook = try prepare(&pause)
            guard let deaths = ChannelWaits.shared.arm(bell, or: shared, token, isReady) else {
                shared = try ChannelWaits.shared.bell(in: memory.bellFolder, for: .shared)
                continue
            }
            place.announce()
            if isReady() { return false }
            guard hasNoNews(outlook, deaths, isReady) else { continue }
            if pause.end != .never {
                // Of a look for want of a fence only the news are told: whoever is rung for nothing arms the bell again, and would
                // be rung for nothing again.
                ChannelWaits.shared.ring(bell, token, at: pause.end, if: pause.isForFence ? isReady : nil)
            }
            return true
        }
        // Others join and die all the time: the bell is rung for another look in a while.
        ChannelWaits.shared.ring(bell, token, at: Deadline(nanoseconds: MonotonicClock.now &+ SleepingPlace.slice))
        return true
    }

    private static var attemptsToArm: Int { 64 }

    /// A last look: at what is waited for, at who takes part, and for a death that was told before we could hear.
    private func hasNoNews(_ outlook: ChannelWaits.Outlook, _ deaths: UInt64, _ isReady: () -> Bool) -> Bool {
        !isReady() && memory.joinCount == outlook.joins && deaths == outlook.deaths && !memory.isInherited
    }

    /// Until when a wait lasts at most: not for ever where something is to be looked at again.
    private struct Pause {
        var length: UInt64 = 0
        var end = Deadline.never
        var isFirst = true
        /// Whether it ends only because the kernel made no fence.
        var isForFence = false
    }

    /// Sees to it that a wake-up, or a death, would be told, and to what the dead have left.
    private func prepare(_ pause: inout Pause) throws(IPCError) -> ChannelWaits.Outlook {
        try memory.checkPresence()
        let outlook = try ChannelWaits.shared.prepare(self)
        pause.end = .never
        pause.isForFence = false
        if outlook.deaths != outlook.settled {
            if try seeToTheDead() {
                ChannelWaits.shared.settleDeaths(self, upTo: outlook.deaths)
            } else {
                pause.length = min(max(2 * pause.length, Self.firstPauseAfterDeath), Self.longestPauseAfterDeath)
                pause.end = Deadline(nanoseconds: MonotonicClock.now &+ pause.length)
            }
        } else if pause.isFirst, !SleepingPlace.canFence {
            // What a waker has told without a fence is seen by then.
            pause.end = Deadline(nanoseconds: MonotonicClock.now &+ SleepingPlace.sliceWithoutFence)
            pause.isForFence = true
        }
        pause.isFirst = false
        return outlook
    }

    /// Recovers what the dead have left.
    ///
    /// - Returns: Whether nothing is left.
    private func seeToTheDead() throws(IPCError) -> Bool {
        try Recovery.run(memory).isComplete
    }
}
