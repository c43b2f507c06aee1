import CIPCShims
import Glibc
import IPC
import Synchronization

/// Where participants sleep for one kind of news, and are woken without a system call while nobody does.
///
/// Who is about to sleep counts itself in `sleeps`, and then has a last look. Who has news looks at both counts after it told
/// them: if they differ, it wakes everyone, and only then raises `woken` to what it saw of `sleeps`. So a waker that is killed or
/// stopped at any point, or has no descriptor left to tell a task, leaves the difference to the next one; and since neither count ever falls, one that comes late takes no
/// later sleeper's wake-up.
///
/// "Count, then look" and "tell, then look" are a pair of the kind "store mine, look at yours", which takes a full fence on both
/// sides. The waker goes without: the sleeper lets the kernel make one in every process (`membarrier`) between its count and its
/// last look.
///
/// A thread sleeps on the futex `wakes`. A task leaves the word of a ``Bell`` in its slot before it counts itself, and takes it
/// away itself when it is awake; wakers only read it.
@safe @usableFromInline
struct SleepingPlace: @unchecked Sendable {
    /// Whose slots may hold the word of a bell.
    enum Sleepers { case readers, writers, writer(Int) }

    // One address for the three words of `LogLayout.Queue`: a place is passed in registers, since it is where news are told.
    @usableFromInline let queue: SharedWord
    private let sleepers: Sleepers

    /// - Parameter queue: The first of its three words: `LogLayout.Queue`.
    init(_ queue: SharedWord, _ sleepers: Sleepers) {
        self.queue = queue
        self.sleepers = sleepers
    }

    @inlinable @inline(__always)
    var sleeps: SharedWord { queue }
    @inlinable @inline(__always)
    var woken: SharedWord { queue.next }
    private var wakes: UnsafePointer<Atomic<UInt32>> {
        unsafe UnsafeRawPointer(queue.pointer + 2).assumingMemoryBound(to: Atomic<UInt32>.self)
    }

    /// How often somebody was woken here, for people.
    var wakeUpCount: UInt32 { unsafe wakes.pointee.load(ordering: .relaxed) }

    /// Whether the kernel makes a sleeper's fence in this process too. If not, its wakers need fences of their own.
    @usableFromInline static let isRegistered = ipc_barrier_register() == 0
    /// Whether this process may ask for the fence.
    static let canFence = isRegistered && ipc_barrier_everywhere() == 0

    /// How long a thread sleeps at most, in nanoseconds, before it looks again: whoever should wake it may be killed or stopped
    /// before it does.
    static let slice: UInt64 = 50_000_000
    /// How long the first sleep lasts at most where the kernel does not make the fence: what a waker has told is seen by then.
    static let sliceWithoutFence: UInt64 = 1_000_000

    /// Not 0 if somebody may sleep here. By one that told its news before, and that has a fence of its own, or whose process is
    /// registered for those of the sleepers.
    @inlinable @inline(__always)
    var difference: UInt64 { sleeps.relaxed ^ woken.relaxed }

    /// The same by one that told its news by a sequentially consistent exchange or addition.
    var mayHaveSleepers: Bool { sleeps.ordered != woken.ordered }

    /// Wakes one, if somebody may sleep here.
    func wakeOneIfNeeded(_ memory: ChannelMemory) {
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        if difference != 0 { wakeOne(memory) }
    }

    /// Wakes all who sleep here, if somebody may.
    func wakeIfNeeded(_ memory: ChannelMemory) {
        // The news first, for all to see, and then the look.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        if difference != 0 { wake(memory) }
    }

    /// Wakes all who sleep here. Called after a look at the difference.
    @inline(never)
    func wake(_ memory: ChannelMemory) { wake(memory, upTo: .max) }

    /// Wakes one that sleeps here, for news that one can take: a job, or a call. If no thread sleeps, all tasks and bells are told.
    ///
    /// `woken` stays behind if a thread was woken: others may sleep still, and the next news are for them. Who is woken, and does not take
    /// it, passes it on; if it dies or is stopped before, others find it when they look up.
    @inline(never)
    func wakeOne(_ memory: ChannelMemory) { wake(memory, upTo: 1) }

    private func wake(_ memory: ChannelMemory, upTo limit: CInt) {
        // Before the words are read: whoever changes its word after that sees our news at its last look.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        let seen = sleeps.ordered
        KillPoint.reach(.wakeFlag)
        unsafe wakes.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
        KillPoint.reach(.wakeCounted)
        let count = unsafe ipc_futex_wake(UnsafeRawPointer(wakes).assumingMemoryBound(to: UInt32.self), limit)
        guard count < limit else { return }
        // Whoever could not be told stays counted: the next one with news tries again, and meanwhile its own timer looks.
        guard ring(memory) else { return }
        KillPoint.reach(.wakeRung)
        woken.raise(to: seen)
        // More were woken than ever slept: a peer's rubbish, for which every waker would come here. `sleeps` never falls.
        let (rubbish, slept) = (woken.ordered, sleeps.ordered)
        if rubbish > slept { _ = woken.exchange(rubbish, for: slept) }
    }

    /// Tells tasks that somebody joins, of whom they know nothing yet. Nobody is woken by it: they would not be told of news if it
    /// died halfway. Threads look up anyway.
    ///
    /// - Returns: False if one of them could not be told: it would not look for those who join now, whatever they do.
    func tellOfJoin(_ memory: ChannelMemory) -> Bool {
        // The count of joins was raised before, sequentially consistent as these are, and as the sleeper's count and its look at
        // the joins: one of us sees the other.
        !mayHaveSleepers || ring(memory)
    }

    /// - Returns: False if somebody could not be told who may live; the others were.
    private func ring(_ memory: ChannelMemory) -> Bool {
        var areAllTold = true
        switch sleepers {
        case .readers:
            for slot in 0..<memory.usedReaders where !memory.ring(.reader, slot) { areAllTold = false }
            for slot in 0..<memory.usedGuests where !memory.ring(.guest, slot) { areAllTold = false }
        case .writers: for slot in 0..<memory.usedWriters where !memory.ring(.writer, slot) { areAllTold = false }
        case .writer(let slot): areAllTold = memory.ring(.writer, slot)
        }
        return areAllTold
    }

    /// That somebody has counted itself, and was not woken since.
    struct Announcement {
        fileprivate let ticket: UInt64
        fileprivate let seen: UInt32
    }

    /// As ``sleep(until:atMost:unless:)``, by one that looks up now and then: it counts itself again only after a wake-up.
    func sleep(
        _ announcement: inout Announcement?, until deadline: Deadline, atMost slice: UInt64, unless isReady: () -> Bool
    ) {
        let seen = unsafe wakes.pointee.load(ordering: .acquiring)
        if let old = announcement, Self.canFence, old.seen == seen, woken.ordered < old.ticket {
            if isReady() { return }
            futexWait(seen, until: deadline, atMost: slice)
            return
        }
        announcement = Announcement(ticket: announce(), seen: seen)
        if isReady() { return }
        if !Self.canFence {
            futexWait(seen, until: deadline, atMost: min(slice, Self.sliceWithoutFence))
            if isReady() { return }
        }
        futexWait(seen, until: deadline, atMost: slice)
    }

    /// Sleeps until a wake-up, the deadline, or a slice has passed, unless `isReady` says after all that there is something.
    func sleep(until deadline: Deadline, atMost slice: UInt64 = Self.slice, unless isReady: () -> Bool) {
        var announcement: Announcement?
        sleep(&announcement, until: deadline, atMost: slice, unless: isReady)
    }

    /// Sleeps without being counted, which takes no permission to write: until others are woken, or for the time that is given.
    func doze(until deadline: Deadline, atMost slice: UInt64, unless isReady: () -> Bool) {
        let seen = unsafe wakes.pointee.load(ordering: .acquiring)
        if isReady() { return }
        guard futexWait(seen, until: deadline, atMost: slice) == EFAULT else { return }
        // A kernel that takes no read-only memory for it.
        usleep(UInt32(slice / 1000))
    }

    /// - Returns: Why it ended; 0 for a wake-up.
    @discardableResult
    private func futexWait(_ seen: UInt32, until deadline: Deadline, atMost slice: UInt64) -> CInt {
        var time = Deadline(nanoseconds: min(deadline.nanoseconds, MonotonicClock.now &+ slice)).timespec
        let word = unsafe UnsafeRawPointer(wakes).assumingMemoryBound(to: UInt32.self)
        return unsafe ipc_futex_wait(word, seen, &time) < 0 ? errno : 0
    }

    /// Says that somebody is about to sleep, who then has a last look.
    ///
    /// - Returns: The count of those who were.
    @discardableResult
    func announce() -> UInt64 {
        KillPoint.reach(.sleepWord)
        // An exchange, so that whoever sees a later sleeper's count also sees this one's word.
        let count = sleeps.add(1)
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        KillPoint.reach(.sleepFlag)
        if Self.canFence { _ = ipc_barrier_everywhere() }
        return count
    }
}
