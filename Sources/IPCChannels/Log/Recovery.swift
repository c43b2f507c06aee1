import IPC
import Synchronization

/// Takes back what the dead have left: run by whoever notices. Killed at any point, the next one does it again.
///
/// Whoever settles a slot holds the lock of the slot's byte meanwhile, which its dead owner has lost: so nobody else settles it, and
/// nobody takes it. What needs a look at the whole log is done with the gate open.
enum Recovery {
    private typealias Slot = (role: Membership.Role, slot: Int)

    /// What a recovery came to.
    struct Report {
        /// Whether somebody was dead.
        var hasFound = false
        /// Whether nothing is left: it had the gate, nobody else settles a slot (who may die at it, and may be one whose death
        /// nobody is told of), and no claim was left because of a living rival.
        var isComplete = false
    }

    /// Recovers every slot whose owner is dead, unless another thread or process is at it.
    ///
    /// - Returns: Whether there was one.
    @discardableResult
    static func tryRun(_ memory: ChannelMemory) throws(IPCError) -> Bool { try run(memory).hasFound }

    /// The same, with all that there is to say of it.
    static func run(_ memory: ChannelMemory) throws(IPCError) -> Report {
        var report = Report()
        // Our descriptor's locks do not exclude other threads that use it.
        guard memory.isRecovering.compareExchange(expected: false, desired: true, ordering: .acquiring).exchanged else {
            return report
        }
        defer { memory.isRecovering.store(false, ordering: .releasing) }
        guard try memory.tryLockGate() else { return report }
        report.isComplete = true

        var settling: [Slot] = []
        // One that wrote rubbish does not keep others from being recovered.
        var failure: IPCError?
        for (role, slot) in memory.othersSlots {
            do throws(IPCError) {
                switch try settle(memory, role, slot) {
                case .isAlive: break
                case .isOpen: report.isComplete = false
                case .isCleared: report.hasFound = true
                case .hasWork: settling.append((role, slot))
                }
            } catch {
                failure = error
            }
        }
        memory.unlockGate()
        do throws(IPCError) {
            if !settling.isEmpty {
                let count = try finish(memory, settling)
                if count > 0 { report.hasFound = true }
                if count < settling.count { report.isComplete = false }
            }
        } catch {
            failure = error
        }
        // Whom they held back goes on; and they may have committed, or read, without waking anyone.
        if report.hasFound { memory.wakeEverybody() }
        if let failure { throw failure }
        return report
    }

    /// Recovers all slots at once, by one that is alone in the channel and has the gate.
    static func runAlone(_ memory: ChannelMemory) throws(IPCError) {
        for (role, slot) in memory.othersSlots {
            guard try settle(memory, role, slot) == .hasWork else { continue }
            defer { release(memory, [(role, slot)]) }
            try memory.giveUpWork(of: role, slot, isDead: true)
            clear(memory, role, slot)
        }
    }

    private enum Outcome {
        case isAlive, isCleared, hasWork
        /// It cannot be settled yet.
        case isOpen
    }

    /// Under the gate. Where there is work to give up, the slot's byte stays locked.
    private static func settle(
        _ memory: ChannelMemory, _ role: Membership.Role, _ slot: Int
    ) throws(IPCError) -> Outcome {
        let byte = LogLayout.LockByte.participant(role, slot)
        // Whoever lives holds it; so does whoever settles the slot already.
        let file = memory.lockFile(role)
        guard try ByteLock.tryTake(file, byte, memory.name.description) else {
            let isSettling = role != .guest && memory.state(role, slot).acquired == LogLayout.SlotState.settling
            return isSettling ? .isOpen : .isAlive
        }
        var isKept = false
        defer { if !isKept { ByteLock.release(file, byte) } }
        if role == .writer {
            guard try giveUpClaim(memory, slot) else { return .isOpen }
        }
        guard memory.hasWork(of: role) else {
            KillPoint.reach(.recoverSlot)
            clear(memory, role, slot)
            return .isCleared
        }
        memory.state(role, slot).ordered = LogLayout.SlotState.settling
        isKept = true
        return .hasWork
    }

    /// Gives up the work of dead participants, with the gate open, and makes their slots free. A slot that may have left work behind a
    /// claim of a living writer stays, for the next recovery.
    ///
    /// - Returns: How many slots are free now.
    private static func finish(_ memory: ChannelMemory, _ settling: [Slot]) throws(IPCError) -> Int {
        defer { release(memory, settling) }
        KillPoint.reach(.recoverSettling)
        var settled: [Slot] = []
        for (role, slot) in settling where try memory.giveUpWork(of: role, slot, isDead: true) {
            settled.append((role, slot))
        }
        guard !settled.isEmpty else { return 0 }
        KillPoint.reach(.recoverSlot)
        try memory.lockGate()
        for (role, slot) in settled { clear(memory, role, slot) }
        memory.unlockGate()
        return settled.count
    }

    private static func release(_ memory: ChannelMemory, _ slots: [Slot]) {
        for (role, slot) in slots {
            ByteLock.release(memory.lockFile(role), LogLayout.LockByte.participant(role, slot))
        }
    }

    private static func clear(_ memory: ChannelMemory, _ role: Membership.Role, _ slot: Int) {
        let process = memory.process(role, slot).relaxed
        memory.clear(role, slot)
        if memory.controlAccess == .readWrite { memory.recoveries.add(1) }
        ChannelLog.recovered(memory.name, role, process)
    }

    /// Turns the claim of a dead writer, if it has one that it did not commit, into a skipped frame.
    ///
    /// A claim and an attempt that lost look alike: both are an intent at a position that the tail has passed. The winner
    /// is the one that ends where the next claim begins. The tail is loaded before the intents, and those before the
    /// stamps, so that a claim which is committed meanwhile is seen in one place or the other.
    ///
    /// - Returns: False if it cannot be told yet, because a living writer tries to claim the same place: it will soon know.
    private static func giveUpClaim(_ memory: ChannelMemory, _ slot: Int) throws(IPCError) -> Bool {
        typealias Intent = LogLayout.WriterSlot
        guard memory.hasSharedWriters else { return true }
        let intent = memory.writer(slot, Intent.intentPosition).ordered
        let sequence = memory.writer(slot, Intent.sequence)
        guard intent != LogLayout.unclaimed else { return true }
        let tail = memory.tail.ordered
        guard LogLayout.Frame.isAligned(intent) else { throw memory.corrupted("a claim is not aligned") }
        // Behind by more than the log, it cannot be a claim: those hold all writers back.
        guard intent < tail, tail - intent <= UInt64(memory.capacity) else { return true }

        var boundaries: Set<UInt64> = [tail]
        var rivals: [UInt64] = []
        for other in 0..<memory.usedWriters {
            let position = memory.writer(other, Intent.intentPosition).ordered
            guard position != LogLayout.unclaimed else { continue }
            boundaries.insert(position)
            guard position == intent else { continue }
            if other != slot, try mayGoOn(memory, other) { return false }
            rivals.append(memory.writer(other, Intent.intentLength).relaxed)
        }
        let isCommitted = memory.isCommitted(intent)
        let header = unsafe FrameHeader(memory.log + Int(truncatingIfNeeded: intent & memory.mask))
        // What was looked at is of this place only if no writer had gone round to it by then. An attempt that lost holds nobody
        // back: then another frame is there, or half of one.
        guard !memory.mayBeOverwritten(intent) else { return true }
        if isCommitted {
            // Its own, if it died between the stamp and the count.
            if header.writer == UInt32(slot), header.sequence == sequence.relaxed {
                memory.tellOfLatest(intent, header.kind)
                sequence.relaxed &+= 1
            }
            return true
        }
        let winner = rivals.sorted().first { length in
            length > 0 && LogLayout.Frame.isAligned(length) && length <= 2 &* memory.maximumFrame
                && (boundaries.contains(intent &+ length) || memory.isCommitted(intent &+ length))
        }
        guard let winner else { throw memory.corrupted("a dead writer's claim at \(intent) has no end") }
        guard winner == memory.writer(slot, Intent.intentLength).relaxed else { return true }
        let log = try memory.writableLog()
        let frame = unsafe log.base + Int(truncatingIfNeeded: intent & memory.mask)
        let skipped = FrameHeader(
            length: UInt32(truncatingIfNeeded: Int(winner) - LogLayout.Frame.headerSize - memory.trailerSize),
            kind: LogLayout.Kind.skipped,
            sequence: sequence.relaxed, writer: UInt32(slot),
            units: UInt32(truncatingIfNeeded: winner / UInt64(LogLayout.Frame.alignment)))
        unsafe skipped.store(at: frame)
        if memory.isDurable { unsafe Checksum.seal(frame, skipped, at: intent, memory) }
        KillPoint.reach(.recoverHeader)
        unsafe SharedWord(frame).published = intent ^ memory.key
        KillPoint.reach(.recoverSkip)
        sequence.relaxed &+= 1
        return true
    }

    /// Whether the owner of an intent lives, so that it may still win or lose the place.
    private static func mayGoOn(_ memory: ChannelMemory, _ writer: Int) throws(IPCError) -> Bool {
        if memory.ownSlot.map({ $0 == (.writer, writer) }) ?? false { return true }
        guard memory.state(.writer, writer).acquired == LogLayout.SlotState.taken else { return false }
        return try memory.isAlive(.writer, writer)
    }
}
