import IPC
import Synchronization

/// A participant that writes to a log.
protocol LogWriting: ~Copyable {
    var writer: LogWriter { get set }

    /// What to wait for after an attempt to write `count` bytes found no room.
    func requestRoom(for count: Int) -> ChannelReadiness
}

extension LogWriting where Self: ~Copyable {
    func requestRoom(for count: Int) -> ChannelReadiness { writer.requestRoom(for: count) }
}

/// A writer that threads and tasks use at the same time.
///
/// The lock is held for an attempt, which copies a message into the log and does not wait. Whoever finds no room waits outside of
/// it, each until its own deadline. Those who wait get room in their order, and whoever comes later waits behind them: otherwise a
/// large message would wait for ever beside small ones.
final class SharedWriter<Writer: LogWriting & ~Copyable>: @unchecked Sendable {
    // `@unchecked`: the lock guards the writer and the tickets.
    private let lock = PrivateLock()
    private var writer: Writer
    /// Of those who wait, in their order.
    private var tickets: [UInt64] = []
    private var nextTicket: UInt64 = 1
    /// The first ticket; 0 if nobody waits. Read without the lock by the condition of those who wait.
    private let first = SharedWriterTurn()
    let membership: Membership
    var memory: ChannelMemory { membership.memory }

    /// - Throws: ``/IPC/IPCError/Code/unsupported`` if the channel syncs by itself: the disk would be waited for under the lock.
    init(_ writer: consuming Writer) throws(IPCError) {
        let membership = writer.writer.membership
        guard membership.memory.syncBytes == .max || !membership.memory.isDurable else {
            throw IPCError(
                .unsupported, "share writer", membership.memory.name.description,
                advice:
                    "the channel syncs automatically, so each task would wait for the syncs of the others; create it with durability syncedWhenAsked, or give each task a writer of its own"
            )
        }
        self.membership = membership
        self.writer = writer
    }

    /// Runs `body` while nobody else uses the writer.
    func withWriter<Value: ~Copyable>(
        _ body: (inout Writer) throws(IPCError) -> Value
    ) throws(IPCError) -> Value {
        try lock.withLock { () throws(IPCError) in
            if memory.isInherited { throw memory.isInheritedError }
            return try body(&writer)
        }
    }

    /// Attempts to write if nobody waits for room.
    ///
    /// - Returns: False if there is no room.
    func tryWrite(_ attempt: (inout Writer) throws(IPCError) -> Bool) throws(IPCError) -> Bool {
        try withWriter { (writer) throws(IPCError) in
            guard tickets.isEmpty else { return false }
            return try attempt(&writer)
        }
    }

    /// Attempts to write, and waits for room for `count` bytes after each attempt that found none. Blocks the thread.
    ///
    /// - Returns: False if there was no room by the deadline.
    func write(
        _ count: Int, until deadline: Deadline, _ attempt: (inout Writer) throws(IPCError) -> Bool
    ) throws(IPCError) -> Bool {
        var ticket: UInt64 = 0
        defer { leave(ticket) }
        var wait = ThreadWait(WaitStrategy.sleeping().spins, until: deadline)
        while let room = try attemptInTurn(attempt, count, &ticket) {
            // Also where peers take the room each time.
            if deadline.hasPassed { return false }
            guard try room.block(&wait, atMost: renewal(count)) else { return false }
        }
        return true
    }

    /// The same, suspended meanwhile.
    nonisolated(nonsending) func write(
        _ count: Int, until deadline: Deadline, _ operation: String,
        _ attempt: (inout Writer) throws(IPCError) -> Bool
    ) async throws(IPCError) -> Bool {
        var ticket: UInt64 = 0
        defer { leave(ticket) }
        while let room = try attemptInTurn(attempt, count, &ticket) {
            if deadline.hasPassed { return false }
            let end = renewal(count).map { min(deadline, Deadline(nanoseconds: MonotonicClock.now &+ $0)) } ?? deadline
            _ = try await Permits.lending { () async throws(IPCError) in try await room.wait(until: end, operation) }
        }
        return true
    }

    /// Waits until everything written before this call is on the disk.
    func sync(until deadline: Deadline) throws(IPCError) {
        let (end, slot) = try withWriter { (writer) throws(IPCError) in
            (try writer.writer.syncEnd, writer.writer.isShared ? Int(writer.writer.slot) : nil)
        }
        try memory.sync(upTo: end, besides: slot, until: deadline)
    }

    /// How long to wait at most before the next attempt, in nanoseconds: a request for much room expires.
    private func renewal(_ count: Int) -> UInt64? {
        memory.isMuch(UInt64(truncatingIfNeeded: LogLayout.Frame.size(payload: count))) ? WaitQueue.maximumSleep : nil
    }

    /// - Returns: Nil if the attempt succeeded; otherwise what to wait for.
    private func attemptInTurn(
        _ attempt: (inout Writer) throws(IPCError) -> Bool, _ count: Int, _ ticket: inout UInt64
    ) throws(IPCError) -> ChannelReadiness? {
        try withWriter { (writer) throws(IPCError) in
            if tickets.isEmpty || tickets.first == ticket, try attempt(&writer) { return nil }
            if ticket == 0 {
                ticket = nextTicket
                nextTicket &+= 1
                tickets.append(ticket)
                first.store(tickets[0])
            }
            guard tickets.first == ticket else { return turn(ticket) }
            return writer.requestRoom(for: count)
        }
    }

    /// That it is this ticket's turn.
    private func turn(_ ticket: UInt64) -> ChannelReadiness {
        let first = first
        return ChannelReadiness(membership: membership, place: memory.waitingWriters) { first.load() == ticket }
    }

    /// Ends a wait, and wakes those who are behind it.
    private func leave(_ ticket: UInt64) {
        guard ticket != 0 else { return }
        lock.withLock {
            // In a child of fork nobody waits.
            guard !memory.isInherited, let index = tickets.firstIndex(of: ticket) else { return }
            tickets.remove(at: index)
            guard index == 0 else { return }
            writer.writer.endRoomRequest()
            first.store(tickets.first ?? 0)
            if !tickets.isEmpty, memory.waitingWriters.mayHaveWaiters { memory.waitingWriters.wake(memory) }
        }
    }
}

/// Whose turn it is. Sequentially consistent: a waiter registers before it loads it, and it is stored before the check for waiters.
private final class SharedWriterTurn: Sendable {
    private let ticket = Atomic<UInt64>(0)

    func load() -> UInt64 { ticket.load(ordering: .sequentiallyConsistent) }
    func store(_ value: UInt64) { ticket.store(value, ordering: .sequentiallyConsistent) }
}
