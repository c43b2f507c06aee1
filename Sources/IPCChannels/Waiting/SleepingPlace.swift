import CIPCShims
import Glibc
import IPC
import Synchronization

/// How a participant sleeps, and is woken without a system call while nobody does.
///
/// The flag and the commit are a pair of the kind "store mine, look at yours", which takes a full fence on both sides. The
/// waker goes without: the sleeper lets the kernel make one in every process (`membarrier`) between its flag and its last
/// look. The count of wake-ups is loaded before the flag is set, and raised after it was taken down, so that whoever
/// takes it down late, over the flag of the next sleep, ends that sleep as well.
///
/// A thread sleeps on the count. A task leaves the word of a ``Bell`` in its slot, before it sets the flag.
@safe @usableFromInline
struct SleepingPlace: @unchecked Sendable {
    /// Whose slots may hold the word of a bell.
    enum Sleepers { case readers, writers, writer(Int) }

    /// 1 if somebody may sleep here.
    @usableFromInline let flag: SharedWord
    private let wakes: UnsafePointer<Atomic<UInt32>>
    private let sleepers: Sleepers

    init(_ memory: ChannelMemory, flag: Int, wakes: Int, _ sleepers: Sleepers) {
        self.flag = memory.word(flag)
        unsafe self.wakes = memory.half(wakes)
        self.sleepers = sleepers
    }

    /// Whether the kernel makes a sleeper's fence in this process too. If not, its wakers need fences of their own.
    @usableFromInline static let isRegistered = ipc_barrier_register() == 0

    /// How long a thread sleeps at most, in nanoseconds, before it looks again: whoever commits may be killed before the
    /// wake-up.
    static let slice: UInt64 = 50_000_000
    /// The same where the kernel does not make the fence.
    static let sliceWithoutFence: UInt64 = 1_000_000

    /// Wakes all who sleep here. Called after a look at the flag.
    @inline(never)
    func wake(_ memory: ChannelMemory) {
        guard flag.exchange(0) != 0 else { return }
        KillPoint.reach(.wakeFlag)
        unsafe wakes.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
        unsafe ipc_futex_wake(UnsafeRawPointer(wakes).assumingMemoryBound(to: UInt32.self), .max)
        ring(memory) { $0.exchange(0) }
    }

    /// Tells tasks that somebody joins. Flag and words stay: they know nothing of the joining process yet, and would not be
    /// told if it died halfway. Threads look up anyway.
    func tellOfJoin(_ memory: ChannelMemory) {
        if flag.ordered != 0 { ring(memory, taking: \.ordered) }
    }

    private func ring(_ memory: ChannelMemory, taking word: (SharedWord) -> UInt64) {
        switch sleepers {
        case .readers: for slot in 0..<memory.usedReaders { memory.ring(.reader, slot, taking: word) }
        case .writers: for slot in 0..<memory.usedWriters { memory.ring(.writer, slot, taking: word) }
        case .writer(let slot): memory.ring(.writer, slot, taking: word)
        }
    }

    /// Sleeps until a wake-up, the deadline, or a slice has passed, unless `isReady` says after all that there is something.
    func sleep(until deadline: Deadline, atMost slice: UInt64 = Self.slice, unless isReady: () -> Bool) {
        let seen = unsafe wakes.pointee.load(ordering: .acquiring)
        let isFenced = announce()
        if isReady() { return }
        let longest = MonotonicClock.now &+ (isFenced ? slice : min(slice, Self.sliceWithoutFence))
        var time = Deadline(nanoseconds: min(deadline.nanoseconds, longest)).timespec
        _ = unsafe ipc_futex_wait(UnsafeRawPointer(wakes).assumingMemoryBound(to: UInt32.self), seen, &time)
    }

    /// Says that somebody is about to sleep, who then has a last look.
    ///
    /// - Returns: Whether the kernel made the fence.
    @discardableResult
    func announce() -> Bool {
        flag.ordered = 1
        KillPoint.reach(.sleepFlag)
        return ipc_barrier_everywhere() == 0
    }
}
