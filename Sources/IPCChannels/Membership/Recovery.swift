import IPC
import Synchronization

/// Recovers what dead participants left. Run by any process that notices a death; if that process is killed at any point, the next
/// one runs it again.
///
/// The process that settles a slot holds the lock on the slot's byte, which the dead owner has lost. So no other process settles
/// the slot or takes it. Work that scans the whole log runs without the membership lock.
enum Recovery {
    private typealias Slot = (role: ParticipantRole, slot: Int)

    /// The result of a recovery.
    struct Report {
        /// Whether somebody was dead.
        var hasFound = false
        /// Whether nothing is left: the membership lock was taken, no other process settles a slot (it may die meanwhile without
        /// anyone noticing), and no claim was left because of a living rival.
        var isComplete = false
    }

    /// Recovers every slot whose owner is dead, unless another thread or process is doing so.
    ///
    /// - Returns: Whether there was one.
    @discardableResult
    static func tryRun(_ memory: ChannelMemory) throws(IPCError) -> Bool { try run(memory).hasFound }

    /// The same with a full report.
    static func run(_ memory: ChannelMemory) throws(IPCError) -> Report {
        var report = Report()
        // Another channel may have the name by now, whose work is settled differently.
        guard memory.carriesWork == (memory.hooks != nil) else { return report }
        // The descriptor's locks do not exclude other threads that use it.
        guard memory.isRecovering.compareExchange(expected: false, desired: true, ordering: .acquiring).exchanged else {
            return report
        }
        defer { memory.isRecovering.store(false, ordering: .releasing) }
        guard try memory.tryLockMembership() else { return report }
        report.isComplete = true

        var settling: [Slot] = []
        // A participant that stored invalid data does not keep others from being recovered.
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
        memory.unlockMembership()
        do throws(IPCError) {
            if !settling.isEmpty {
                let count = try finish(memory, settling)
                if count > 0 { report.hasFound = true }
                if count < settling.count { report.isComplete = false }
            }
        } catch {
            failure = error
        }
        // What dead participants held back can go on. They may also have committed or read without waking anyone.
        if report.hasFound { memory.wakeEverybody() }
        if let failure { throw failure }
        return report
    }

    /// Recovers all slots at once, in a process that is alone in the channel and holds the membership lock.
    static func runAlone(_ memory: ChannelMemory) throws(IPCError) {
        for (role, slot) in memory.othersSlots {
            guard try settle(memory, role, slot) == .hasWork else { continue }
            defer { release(memory, [(role, slot)]) }
            _ = try memory.hooks?.settle(role, slot, isDead: true, in: memory)
            clear(memory, role, slot)
        }
    }

    private enum Outcome {
        case isAlive, isCleared, hasWork
        /// It cannot be settled yet.
        case isOpen
    }

    /// Gives up a dead participant's claim and frees its slot. If it may have left work, the slot's byte stays locked. Requires the
    /// membership lock.
    private static func settle(
        _ memory: ChannelMemory, _ role: ParticipantRole, _ slot: Int
    ) throws(IPCError) -> Outcome {
        let byte = LogLayout.LockByte.participant(role, slot)
        guard !OwnSlots.contains(memory, role, slot) else { return .isAlive }
        // Its living owner holds the lock, or a process that settles it already.
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
        guard memory.hooks?.mayHaveLeft(role, in: memory) ?? false else {
            KillPoint.reach(.recoverSlot)
            clear(memory, role, slot)
            KillPoint.reach(.recoverFreed)
            return .isCleared
        }
        memory.state(role, slot).ordered = LogLayout.SlotState.settling
        isKept = true
        return .hasWork
    }

    /// Settles the work of dead participants without the membership lock, and frees their slots. A slot that may have left work
    /// behind a living writer's claim stays for the next recovery.
    ///
    /// - Returns: How many slots are free now.
    private static func finish(_ memory: ChannelMemory, _ settling: [Slot]) throws(IPCError) -> Int {
        defer { release(memory, settling) }
        KillPoint.reach(.recoverSettling)
        var settled: [Slot] = []
        for (role, slot) in settling where try memory.hooks?.settle(role, slot, isDead: true, in: memory) ?? true {
            settled.append((role, slot))
        }
        guard !settled.isEmpty else { return 0 }
        KillPoint.reach(.recoverSlot)
        try memory.lockMembership()
        for (role, slot) in settled { clear(memory, role, slot) }
        memory.unlockMembership()
        KillPoint.reach(.recoverFreed)
        return settled.count
    }

    private static func release(_ memory: ChannelMemory, _ slots: [Slot]) {
        for (role, slot) in slots {
            ByteLock.release(memory.lockFile(role), LogLayout.LockByte.participant(role, slot))
        }
    }

    private static func clear(_ memory: ChannelMemory, _ role: ParticipantRole, _ slot: Int) {
        let process = memory.process(role, slot).relaxed
        memory.clear(role, slot)
        if memory.controlAccess == .readWrite { memory.recoveries.add(1) }
        Notices.tell(
            .notice, memory.name, "a participant died; its state was recovered",
            ["role": "\(role)", "process": "\(process)"])
    }

    /// Turns a dead writer's uncommitted claim, if it has one, into a skipped frame.
    ///
    /// A claim and a lost attempt look alike: each is an intent at a position that the tail has passed. The winner is the one that
    /// ends where the next claim begins. The tail is loaded before the intents, and the intents before the stamps, so that a claim
    /// committed meanwhile is seen in one place or the other.
    ///
    /// - Returns: False if it is still undecided, because a living writer tries to claim the same place. It will be decided soon.
    private static func giveUpClaim(_ memory: ChannelMemory, _ slot: Int) throws(IPCError) -> Bool {
        typealias Intent = LogLayout.WriterSlot
        guard memory.hasSharedWriters else { return true }
        let intent = memory.writer(slot, Intent.intentPosition).ordered
        let sequence = memory.writer(slot, Intent.sequence)
        guard intent != LogLayout.unclaimed else { return true }
        let tail = memory.tail.ordered
        guard LogLayout.Frame.isAligned(intent) else { throw memory.corrupted("a claim is not aligned") }
        // At or beyond the tail, the attempt never became a claim. More than the log's capacity behind it cannot be one either: a
        // claim holds all writers back.
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
        // What was read belongs to this position only if no writer has overwritten it by then. A lost attempt holds nobody back, so
        // another frame, or half of one, may be there.
        guard !memory.mayBeOverwritten(intent) else { return true }
        if isCommitted {
            // The slot's own frame, if its writer died between the stamp and the new sequence number.
            if header.writer == UInt32(slot), header.sequence == sequence.relaxed {
                memory.publishLatest(intent, header.kind)
                sequence.relaxed &+= 1
            }
            return true
        }
        let winner = rivals.sorted().first { length in
            length > 0 && LogLayout.Frame.isAligned(length) && length <= 2 &* memory.maximumFrame
                && (boundaries.contains(intent &+ length) || memory.isCommitted(intent &+ length))
        }
        guard let winner else { throw memory.corrupted("a dead writer's claim at \(intent) has no valid end") }
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
        unsafe SharedUInt64(frame).published = intent ^ memory.key
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
