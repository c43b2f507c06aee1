import IPC
import Synchronization

/// Takes back what the dead have left: run by whoever notices, under the gate. Killed at any point, the next one does it
/// again.
enum Recovery {
    /// Recovers every slot whose owner is dead.
    ///
    /// - Returns: Whether there was one.
    @discardableResult
    static func run(_ memory: ChannelMemory) throws(IPCError) -> Bool {
        var found = false
        for slot in 0..<memory.usedReaders where memory.state(.reader, slot).relaxed != 0 {
            guard try isDead(memory, .reader, slot) else { continue }
            try memory.giveUpWork(of: .reader, slot)
            clear(memory, .reader, slot)
            found = true
        }
        for slot in 0..<memory.usedWriters where memory.state(.writer, slot).relaxed != 0 {
            guard try isDead(memory, .writer, slot) else { continue }
            guard try giveUpClaim(memory, slot) else { continue }
            try memory.giveUpWork(of: .writer, slot)
            KillPoint.reach(.recoverSlot)
            clear(memory, .writer, slot)
            found = true
        }
        if found {
            // The dead may have committed, or read, without waking anyone.
            memory.sleepingReaders.wake(memory)
            memory.sleepingWriters.wake(memory)
        }
        return found
    }

    private static func clear(_ memory: ChannelMemory, _ role: Membership.Role, _ slot: Int) {
        let process = memory.process(role, slot).relaxed
        memory.clear(role, slot)
        memory.recoveries.relaxed &+= 1
        ChannelLog.recovered(memory.name, role, process)
    }

    /// Whether no slot is left that is a dead one's.
    static func isDone(_ memory: ChannelMemory) throws(IPCError) -> Bool {
        for (role, count) in [(Membership.Role.reader, memory.usedReaders), (.writer, memory.usedWriters)] {
            for slot in 0..<count where memory.state(role, slot).relaxed != 0 {
                if try isDead(memory, role, slot) { return false }
            }
        }
        return true
    }

    /// Recovers unless another is at it.
    @discardableResult
    static func tryRun(_ memory: ChannelMemory) throws(IPCError) -> Bool {
        guard try memory.tryLockGate() else { return false }
        defer { memory.unlockGate() }
        return try run(memory)
    }

    private static func isDead(_ memory: ChannelMemory, _ role: Membership.Role, _ slot: Int) throws(IPCError) -> Bool {
        // Our own lock does not show as another's; our own slot is not dead.
        if memory.ownSlot.map({ $0 == (role, slot) }) ?? false { return false }
        return try !memory.isAlive(role, slot)
    }

    /// Turns the claim of a dead writer, if it has one that it did not commit, into a skipped frame.
    ///
    /// A claim and an attempt that lost look alike: both are an intent at a position that the tail has passed. The winner
    /// is the one that ends where the next claim begins. The tail is loaded before the intents, and those before the
    /// stamps, so that a claim which is committed meanwhile is seen in one place or the other.
    ///
    /// - Returns: False if it cannot be told yet, because a living writer tries to claim the same place: it will soon know.
    private static func giveUpClaim(_ memory: ChannelMemory, _ slot: Int) throws(IPCError) -> Bool {
        typealias Slot = LogLayout.WriterSlot
        let intent = memory.writer(slot, Slot.intentPosition).published
        let sequence = memory.writer(slot, Slot.sequence)
        guard intent != LogLayout.unclaimed else { return true }
        let tail = memory.tail.published
        guard LogLayout.Frame.isAligned(intent) else { throw memory.corrupted("a claim is not aligned") }
        // Behind by more than the log, it cannot be a claim: those hold all writers back.
        guard intent < tail, tail - intent <= UInt64(memory.capacity), intent >= memory.oldestSafe else { return true }

        var boundaries: Set<UInt64> = [tail]
        var rivals: [UInt64] = []
        for other in 0..<memory.usedWriters {
            let position = memory.writer(other, Slot.intentPosition).published
            guard position != LogLayout.unclaimed else { continue }
            boundaries.insert(position)
            guard position == intent else { continue }
            if other != slot, memory.state(.writer, other).relaxed != 0, try !isDead(memory, .writer, other) {
                return false
            }
            rivals.append(memory.writer(other, Slot.intentLength).relaxed)
        }
        if memory.isCommitted(intent) {
            // Its own, if it died between the stamp and the count.
            let header = unsafe FrameHeader(memory.log + Int(truncatingIfNeeded: intent & memory.mask))
            if header.writer == UInt32(slot), header.sequence == sequence.relaxed { sequence.relaxed &+= 1 }
            return true
        }
        let winner = rivals.sorted().first { length in
            length > 0 && LogLayout.Frame.isAligned(length) && length <= UInt64(memory.capacity / 2)
                && (boundaries.contains(intent &+ length) || memory.isCommitted(intent &+ length))
        }
        guard let winner else { throw memory.corrupted("a dead writer's claim at \(intent) has no end") }
        guard winner == memory.writer(slot, Slot.intentLength).relaxed else { return true }
        let log = try memory.writableLog()
        let frame = unsafe log.base + Int(truncatingIfNeeded: intent & memory.mask)
        let header = FrameHeader(
            length: UInt32(winner) - UInt32(LogLayout.Frame.headerSize + memory.trailerSize),
            kind: LogLayout.Kind.skipped,
            sequence: sequence.relaxed, writer: UInt32(slot), units: UInt32(winner / UInt64(LogLayout.Frame.alignment)))
        unsafe header.store(at: frame)
        if memory.isDurable { unsafe Checksum.seal(frame, header, at: intent, memory) }
        KillPoint.reach(.recoverHeader)
        unsafe SharedWord(frame).published = intent ^ memory.key
        KillPoint.reach(.recoverSkip)
        sequence.relaxed &+= 1
        return true
    }
}
