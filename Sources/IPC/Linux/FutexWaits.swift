import CIPCShims
import Glibc
import Synchronization

/// Tasks that wait for words in shared memory, without a thread for each: one thread sleeps on up to 127 words
/// (`futex_waitv`, Linux 5.16). Where the kernel lacks the call, a sandbox refuses it, or no thread can be started, a task
/// looks again and again, less and less often.
@safe
final class FutexWaits: @unchecked Sendable {
    // `@unchecked`: the lock guards all that changes.
    static let shared = FutexWaits()

    /// One task that waits for one word.
    @safe
    private final class Entry {
        let word: UnsafePointer<Atomic<UInt32>>
        let expected: UInt32
        let wait: Reactor.Wait
        /// Whether it took a wake-up that was for one sleeper only.
        var isWoken = false

        init(_ word: UnsafePointer<Atomic<UInt32>>, _ expected: UInt32, _ wait: Reactor.Wait) {
            unsafe self.word = word
            self.expected = expected
            self.wait = wait
        }

        var address: UnsafePointer<UInt32> { unsafe UnsafeRawPointer(word).assumingMemoryBound(to: UInt32.self) }
        var hasChanged: Bool { unsafe word.pointee.load(ordering: .acquiring) != expected }
    }

    /// One thread, and those that it sleeps for.
    @safe
    private final class Lane: @unchecked Sendable {
        // `@unchecked`: the lock of all waits guards it.

        static let capacity = 127
        /// Changes when the entries do, so that the thread does not sleep on what was.
        let changes: UnsafeMutablePointer<Atomic<UInt32>>
        var entries: [Entry] = []

        init() {
            unsafe changes = .allocate(capacity: 1)
            unsafe changes.initialize(to: Atomic(0))
        }

        deinit { unsafe changes.deallocate() }

        func tellOfChange() {
            unsafe changes.pointee.wrappingAdd(1, ordering: .releasing)
            unsafe ipc_futex_wake(address, 1)
        }

        var address: UnsafePointer<UInt32> { unsafe UnsafeRawPointer(changes).assumingMemoryBound(to: UInt32.self) }
    }

    private let lock = PrivateLock()
    private var lanes: [Lane] = []
    /// In which process the lanes' threads are.
    private var forks = ipc_forks()
    /// In a child of fork: what waited in its parent. Kept, as a reactor's.
    private var parents: [Lane] = []

    /// Whether the call can be used: false once it failed in a way that a wait does not, which may be later than the first look,
    /// since a program can be put into a sandbox while it runs.
    private let isSupported = Atomic(FutexWaits.probe())

    /// A wait for a word that has another value already ends at once (`EAGAIN`). Every other answer means that the call is not to
    /// be had: sandboxes refuse with whatever error they like.
    private static func probe() -> Bool {
        var word: UInt32 = 0
        return unsafe withUnsafePointer(to: &word) { address in
            unsafe ipc_futex_wait_any([address], [1], 1) == -1 && errno == EAGAIN
        }
    }

    /// Waits while a word has the value `expected`, or until a wake-up.
    ///
    /// - Parameter word: In memory that the caller keeps mapped.
    nonisolated(nonsending) func wait(
        for word: UnsafePointer<Atomic<UInt32>>, whileEqual expected: UInt32, until deadline: Deadline
    ) async throws(IPCError) -> Reactor.Outcome {
        // Relaxed: the worst that a stale value costs is one more wait that is sent here.
        guard isSupported.load(ordering: .relaxed) else {
            return try await unsafe looking(at: word, expected, until: deadline)
        }
        var entry: Entry?
        var hasThread = true
        let outcome = try await Reactor.park(until: deadline) { wait in
            let new = unsafe Entry(word, expected, wait)
            entry = new
            guard !new.hasChanged else { return false }
            hasThread = add(new)
            return hasThread
        }
        guard hasThread else { return try await unsafe looking(at: word, expected, until: deadline) }
        if let entry, remove(entry), !outcome.isReady {
            // It was woken as well, and does not use it: it is another's.
            unsafe ipc_futex_wake(entry.address, 1)
        }
        return outcome
    }

    private nonisolated(nonsending) func looking(
        at word: UnsafePointer<Atomic<UInt32>>, _ expected: UInt32, until deadline: Deadline
    ) async throws(IPCError) -> Reactor.Outcome {
        var pause: UInt64 = 100_000
        while unsafe word.pointee.load(ordering: .acquiring) == expected {
            if deadline.hasPassed { return .deadlinePassed }
            let outcome = try await Reactor.park(
                until: min(deadline, Deadline(nanoseconds: MonotonicClock.now &+ pause))
            ) { _ in true }
            if case .cancelled = outcome { return .cancelled }
            pause = min(2 * pause, 16_000_000)
        }
        return .ready
    }

    /// - Returns: False if there is no thread for it.
    private func add(_ entry: Entry) -> Bool {
        lock.withLock {
            if forks != ipc_forks() {
                // In a child of fork, the threads and the tasks are its parent's.
                forks = ipc_forks()
                parents += lanes
                lanes = []
            }
            let lane: Lane
            if let free = lanes.first(where: { $0.entries.count < Lane.capacity }) {
                lane = free
            } else {
                lane = Lane()
                guard startQuietThread({ self.run(lane) }) == nil else { return false }
                lanes.append(lane)
            }
            lane.entries.append(entry)
            lane.tellOfChange()
            return true
        }
    }

    /// - Returns: Whether it had been woken.
    private func remove(_ entry: Entry) -> Bool {
        lock.withLock {
            for lane in lanes {
                guard let index = lane.entries.firstIndex(where: { $0 === entry }) else { continue }
                lane.entries.remove(at: index)
                lane.tellOfChange()
                break
            }
            return entry.isWoken
        }
    }

    // On a lane's thread. All lanes but the first end when they have nothing to do.

    private func run(_ lane: Lane) {
        var sleeping: [Entry] = []
        while true {
            var changes: UInt32 = 0
            let isNeeded = lock.withLock {
                changes = unsafe lane.changes.pointee.load(ordering: .acquiring)
                sleeping = lane.entries
                guard sleeping.isEmpty, lanes.first !== lane else { return true }
                lanes.removeAll { $0 === lane }
                return false
            }
            guard isNeeded else { return }
            let woken = sleep(lane, changes, sleeping)
            guard woken >= -1 else { return giveUp() }
            // More than one may have been woken at once, and only one is told; the others show by their words.
            let ready = lock.withLock {
                if woken > 0 { take(sleeping[woken - 1], in: lane) }
                // Those that are in the lane still have tasks that wait, and so memory that is mapped.
                let ready = lane.entries.filter { $0.isWoken || $0.hasChanged }
                lane.entries.removeAll { entry in ready.contains { $0 === entry } }
                return ready.map(\.wait)
            }
            for wait in ready { wait.resume() }
        }
    }

    /// The call is refused. All who wait are sent to look by themselves, and nobody is added any more.
    private func giveUp() {
        let waits = lock.withLock {
            isSupported.store(false, ordering: .relaxed)
            let waits = lanes.flatMap { $0.entries.map(\.wait) }
            // Threads that sleep still end: without entries, whose memory may be gone soon, and outside the list.
            for lane in lanes {
                lane.entries.removeAll()
                lane.tellOfChange()
            }
            lanes.removeAll()
            return waits
        }
        for wait in waits { wait.resume() }
    }

    /// One was woken. If its task has given up already, the wake-up is another's.
    private func take(_ entry: Entry, in lane: Lane) {
        if lane.entries.contains(where: { $0 === entry }) {
            entry.isWoken = true
        } else {
            unsafe ipc_futex_wake(entry.address, 1)
        }
    }

    /// - Returns: The place of the word that was woken, with 0 for the lane's own; -1 for none, -2 if there is no such call.
    private func sleep(_ lane: Lane, _ changes: UInt32, _ entries: [Entry]) -> Int {
        var words: [UnsafePointer<UInt32>?] = unsafe [lane.address]
        var expected = [changes]
        for entry in entries {
            unsafe words.append(entry.address)
            expected.append(entry.expected)
        }
        let woken = unsafe Int(ipc_futex_wait_any(words, expected, CInt(words.count)))
        if woken >= 0 || errno == EAGAIN || errno == EINTR { return woken }
        return -2
    }
}

extension Reactor.Outcome {
    var isReady: Bool { if case .ready = self { true } else { false } }
}
