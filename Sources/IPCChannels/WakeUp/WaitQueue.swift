import CIPCShims
import Glibc
import IPC
import Synchronization

/// Where participants sleep until there is news of one kind. While nobody sleeps, a wake takes no system call.
///
/// A sleeper counts itself in `sleeps` and then checks for news a last time. A waker publishes its news and then compares both
/// counts. If they differ, it wakes everyone, and only then raises `woken` to the value of `sleeps` that it saw. So a waker that is
/// killed or stopped at any point, or that has no descriptor left to signal a task, leaves the difference to the next waker.
/// Neither count ever falls, so a late waker takes no later sleeper's wake-up.
///
/// "Count, then check" and "publish, then compare" are a store-then-load pair, which needs a full fence on both sides. The waker
/// omits its fence: between its count and its last check, the sleeper has the kernel make one in every process (`membarrier`).
///
/// A thread sleeps on the futex `wakes`. A task stores the word of a ``WakeUpPipe`` in its slot before it counts itself, and clears
/// it itself when it is awake; wakers only read it.
@safe @usableFromInline
struct WaitQueue: @unchecked Sendable {
    /// Whose slots may hold the word of a wake-up pipe.
    ///
    /// - sharedWriters: Those wait for claims of other writers as well, and count themselves in the readers' queue, too, after their own. So a
    ///   writer that commits looks at one queue only; whoever wakes the readers wakes them first.
    enum Sleepers: Hashable { case readers, writers, sharedWriters, writer(Int) }

    // One address for the three words of `LogLayout.Queue`: the hot path passes the struct in registers.
    @usableFromInline let queue: SharedUInt64
    let sleepers: Sleepers

    /// - Parameter queue: The first of its three words: `LogLayout.Queue`.
    init(_ queue: SharedUInt64, _ sleepers: Sleepers) {
        self.queue = queue
        self.sleepers = sleepers
    }

    @inlinable @inline(__always)
    var sleeps: SharedUInt64 { queue }
    @inlinable @inline(__always)
    var woken: SharedUInt64 { queue.next }
    var wakes: UnsafePointer<Atomic<UInt32>> {
        unsafe UnsafeRawPointer(queue.pointer + 2).assumingMemoryBound(to: Atomic<UInt32>.self)
    }

    /// The queue on the same cache line, wherever both are.
    private var readersOfSharedWriters: WaitQueue {
        unsafe WaitQueue(SharedUInt64(queue.pointer - LogLayout.writersAfterReaders / 8), .readers)
    }

    /// How often this queue was woken; a statistic.
    var wakeUpCount: UInt32 { unsafe wakes.pointee.load(ordering: .relaxed) }

    /// Whether the kernel makes a sleeper's fence in this process too. If not, its wakers need fences of their own.
    @usableFromInline static let isRegistered = ipc_barrier_register() == 0
    /// Whether this process may ask for the fence.
    static let canFence = isRegistered && ipc_barrier_everywhere() == 0

    /// How long a thread sleeps at most, in nanoseconds, before it polls: its waker may be killed or stopped before it wakes
    /// anyone.
    static let maximumSleep: UInt64 = 50_000_000
    /// How long the first sleep lasts at most, in nanoseconds, where the kernel does not make the fence. By then the waker's store
    /// is visible.
    static let maximumSleepWithoutFence: UInt64 = 1_000_000

    /// Not 0 if somebody may sleep here. The caller has published its news before, and either has made a fence or its process is
    /// registered for the sleepers' fences.
    @inlinable @inline(__always)
    var difference: UInt64 { sleeps.relaxed ^ woken.relaxed }

    /// The same for a caller that published its news by a sequentially consistent exchange or addition.
    var mayHaveWaiters: Bool { sleeps.ordered != woken.ordered }

    /// Wakes one sleeper, if there may be one.
    func wakeOneIfNeeded(_ memory: ChannelMemory) {
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        if difference != 0 { wakeOne(memory) }
    }

    /// Wakes all sleepers, if there may be any.
    func wakeIfNeeded(_ memory: ChannelMemory) {
        // Orders the news before the load of the counts.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        if difference != 0 { wake(memory) }
    }

    /// Wakes all sleepers. Called after the counts were found to differ.
    @inline(never)
    func wake(_ memory: ChannelMemory) { wake(memory, upTo: .max) }

    /// Wakes one sleeper, for news that only one can take: a job or a call. If no thread sleeps, all wake-up pipes are signalled.
    ///
    /// If a thread was woken, `woken` is not raised: others may still sleep, and the next news is for them. A thread that is woken
    /// and does not take the news passes it on. If it dies or is stopped first, others find the news after their maximum sleep.
    @inline(never)
    func wakeOne(_ memory: ChannelMemory) { wake(memory, upTo: 1) }

    /// - Returns: False if a sleeper could not be signalled, and stays counted.
    @discardableResult
    private func wake(_ memory: ChannelMemory, upTo limit: CInt) -> Bool {
        // Before the words are read: a sleeper that changes its word after that sees the news at its last check.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        let seen = sleeps.ordered
        // Writers that count here by now, after `seen` was loaded and before `woken` is raised: nobody else would wake them.
        let areWritersSignalled = wakeSharedWriters(memory)
        KillPoint.reach(.wakeFlag)
        unsafe wakes.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
        KillPoint.reach(.wakeCounted)
        let count = unsafe ipc_futex_wake(UnsafeRawPointer(wakes).assumingMemoryBound(to: UInt32.self), limit)
        guard count < limit else { return true }
        // A sleeper that could not be signalled stays counted. The next waker tries again; until then the timer in the sleeper's
        // process polls.
        guard signal(memory), areWritersSignalled else { return false }
        KillPoint.reach(.wakeSignalled)
        // Whoever removed the channel has counted itself as a sleeper, for all writers to find out.
        guard !memory.isRemoved else { return true }
        woken.raise(to: seen)
        // More were woken than ever slept: a peer stored an invalid value, and every waker would take this slow path. `sleeps`
        // never falls, so lowering `woken` to it is safe.
        let (rubbish, slept) = (woken.ordered, sleeps.ordered)
        if rubbish > slept { _ = woken.exchange(rubbish, for: slept) }
        return true
    }

    /// Of readers: wakes the writers that count among them.
    private func wakeSharedWriters(_ memory: ChannelMemory) -> Bool {
        guard case .readers = sleepers, memory.hasSharedWriters, memory.waitingWriters.mayHaveWaiters else {
            return true
        }
        return memory.waitingWriters.wake(memory, upTo: .max)
    }

    /// Signals sleeping tasks that a participant has joined, which they do not watch yet. It does not raise `woken`: if the joining
    /// process died halfway, later news would not reach them. Threads poll anyway.
    ///
    /// - Returns: False if a sleeper could not be signalled: it would not notice the death of the participant that joins.
    func announceJoin(_ memory: ChannelMemory) -> Bool {
        // The join count was raised before. That is sequentially consistent, as are these loads, the sleeper's count, and its load
        // of the join count: at least one side sees the other.
        !mayHaveWaiters || signal(memory)
    }

    /// - Returns: False if a sleeper that may live could not be signalled; all others were.
    private func signal(_ memory: ChannelMemory) -> Bool {
        var areAllTold = true
        switch sleepers {
        case .readers:
            for slot in 0..<memory.usedReaders where !memory.signal(.reader, slot) { areAllTold = false }
            for slot in 0..<memory.usedGuests where !memory.signal(.guest, slot) { areAllTold = false }
        case .writers, .sharedWriters:
            for slot in 0..<memory.usedWriters where !memory.signal(.writer, slot) { areAllTold = false }
        case .writer(let slot): areAllTold = memory.signal(.writer, slot)
        }
        return areAllTold
    }

    /// Counts a sleeper, which then checks a last time.
    ///
    /// - Returns: The count, with this one.
    @discardableResult
    func announce() -> UInt64 {
        KillPoint.reach(.sleepWord)
        // A read-modify-write: a waker that sees a later sleeper's count also sees this sleeper's word.
        let count = sleeps.add(1)
        if case .sharedWriters = sleepers { readersOfSharedWriters.sleeps.add(1) }
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        KillPoint.reach(.sleepFlag)
        if Self.canFence { _ = ipc_barrier_everywhere() }
        return count
    }
}

extension ChannelMemory {
    // In `control`, guests could neither sleep nor wake anyone: they cannot write to it.
    var readerQueue: SharedUInt64 { guests?.word(LogLayout.Guests.readerQueue) ?? word(LogLayout.readerQueue) }
    var writerQueue: SharedUInt64 { guests?.word(LogLayout.Guests.writerQueue) ?? word(LogLayout.writerQueue) }
    var waitingReaders: WaitQueue { WaitQueue(readerQueue, .readers) }
    var waitingWriters: WaitQueue { WaitQueue(writerQueue, hasSharedWriters ? .sharedWriters : .writers) }

    /// All wait queues: of the readers, of the writers, and of each caller that waits for an answer.
    var queues: [WaitQueue] {
        let callers = hasAnswers ? (0..<usedWriters).compactMap { try? waitingCaller(UInt32($0)) } : []
        return [waitingReaders, waitingWriters] + callers
    }

    /// Wakes everyone: what held a participant back is gone.
    func wakeEverybody() {
        for queue in queues { queue.wakeIfNeeded(self) }
    }

    /// The wait queue of the caller in this slot.
    func waitingCaller(_ slot: UInt32) throws(IPCError) -> WaitQueue {
        guard slot < UInt32(writerSlots) else { throw corrupted("a call has the invalid slot \(slot)") }
        let offset = LogLayout.writerSlot(Int(slot), readerSlots: readerSlots)
        return WaitQueue(word(offset + LogLayout.WriterSlot.callerQueue), .writer(Int(slot)))
    }
}
