import IPC

extension Membership {
    /// How long a task sleeps at most, in nanoseconds, where nobody would tell it of a death.
    private static var sliceAmongStrangers: UInt64 { SleepingPlace.slice }
    /// The same while what a death has left cannot be seen to yet.
    private static var sliceAfterDeath: UInt64 { 1_000_000 }

    /// Waits without a thread, to be woken in a place.
    ///
    /// - Parameters:
    ///   - slice: How long at most, in nanoseconds, before `isReady` is asked again, where that may change untold.
    ///   - isReady: Whether there is nothing to wait for. Asked again after each wake-up.
    /// - Returns: False if the deadline passed first.
    /// - Throws: ``IPC/IPCError/Code/cancelled``.
    nonisolated(nonsending) func wait(
        in place: SleepingPlace, until deadline: Deadline, atMost slice: UInt64 = .max, _ operation: String,
        unless isReady: () -> Bool
    ) async throws(IPCError) -> Bool {
        while !isReady() {
            guard !deadline.hasPassed else { return false }
            let bell = try ChannelWaits.shared.bell(in: memory.bellRoot, for: .current)
            let (joins, longest) = try prepare(bell, atMost: slice)
            let until = Deadline(nanoseconds: longest == .max ? .max : MonotonicClock.now &+ longest)

            var begun: Reactor.Wait?
            let outcome = try await Reactor.park(until: min(deadline, until)) { wait in
                begun = wait
                let hasDeath = ChannelWaits.shared.add(wait, token)
                leaveWord(of: bell, in: place)
                // Last looks: at what is waited for, at who takes part, and for a death that was told before we could hear.
                return !isReady() && memory.joins.relaxed == joins && (!hasDeath || longest <= Self.sliceAfterDeath)
            }
            if let begun { ChannelWaits.shared.remove(begun, token) }
            if case .cancelled = outcome { throw .cancelled(operation, memory.name.description) }
        }
        return true
    }

    /// Asks to have a bell of the program rung once, when there is something.
    ///
    /// - Returns: False if there is something already.
    func arm(
        _ bell: Bell, in place: SleepingPlace, atMost slice: UInt64, unless isReady: () -> Bool
    ) throws(IPCError) -> Bool {
        while true {
            let (joins, longest) = try prepare(bell, atMost: slice)
            leaveWord(of: bell, in: place)
            if isReady() { return false }
            guard memory.joins.relaxed == joins else { continue }
            if longest != .max { ChannelWaits.shared.ring(bell, token, after: longest) }
            return true
        }
    }

    /// Sees to it that a wake-up, or a death, would be told by a bell.
    ///
    /// - Returns: How many had joined until then, and how long to sleep at most, in nanoseconds.
    private func prepare(_ bell: Bell, atMost slice: UInt64) throws(IPCError) -> (joins: UInt32, longest: UInt64) {
        let joins = memory.joins.relaxed
        let outlook = try ChannelWaits.shared.prepare(self, bell, joins: joins)
        var longest = SleepingPlace.isRegistered ? slice : min(slice, SleepingPlace.sliceWithoutFence)
        if outlook.hasStrangers || outlook.hasDeath { longest = min(longest, try seeToTheDead(outlook)) }
        return (joins, longest)
    }

    /// Asks to be woken by a bell. What follows is a last look.
    private func leaveWord(of bell: Bell, in place: SleepingPlace) {
        memory.bell(role, slot).ordered = bell.word(token)
        place.announce()
    }

    /// Recovers what the dead have left.
    ///
    /// - Returns: How long to sleep at most.
    private func seeToTheDead(_ outlook: ChannelWaits.Outlook) throws(IPCError) -> UInt64 {
        try Recovery.tryRun(memory)
        // One may have acknowledged, and died before it moved the head.
        if memory.carriesWork { try memory.advanceWorkHead() }
        if outlook.hasDeath {
            guard try Recovery.isDone(memory) else { return Self.sliceAfterDeath }
            ChannelWaits.shared.settleDeath(self)
        }
        return outlook.hasStrangers ? Self.sliceAmongStrangers : .max
    }
}
