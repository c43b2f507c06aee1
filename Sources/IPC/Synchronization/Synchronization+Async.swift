import CIPCShims
import Glibc
import Synchronization
import SystemPackage

// The calls that wait without a thread. Each is the call of the same name, in an asynchronous function.

extension Futex {
    /// Suspends while the word has the value `expected`.
    ///
    /// - Returns: As the blocking call.
    /// - Throws: ``IPCError/Code/cancelled``.
    public nonisolated(nonsending) func wait(
        whileEqual expected: UInt32, until deadline: Deadline = .never
    ) async throws(IPCError) -> Bool {
        switch unsafe try await FutexWaits.shared.wait(for: word, whileEqual: expected, until: deadline) {
        case .ready, .failed: return true
        case .deadlinePassed: return false
        case .cancelled: throw .cancelled("futex", name)
        }
    }
}

extension SharedSemaphore {
    /// Takes one, suspended while there is none.
    ///
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``, and none was taken.
    public nonisolated(nonsending) func wait(until deadline: Deadline = .never) async throws(IPCError) {
        try await unsafe SemaphoreCalls.wait(raw, until: deadline, name)
    }
}

extension NamedSemaphore {
    /// Takes one, suspended while there is none.
    ///
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``, and none was taken.
    public nonisolated(nonsending) borrowing func wait(until deadline: Deadline = .never) async throws(IPCError) {
        try await unsafe SemaphoreCalls.wait(raw, until: deadline, name)
    }
}

extension SemaphoreCalls {
    /// A waiter, in the upper half of the semaphore's first word: a post wakes somebody only if there is one. The lower
    /// half is the value. (The C library's `struct new_sem`, the same since 2.21.)
    private static var oneWaiter: UInt64 { 1 << 32 }

    nonisolated(nonsending) static func wait(
        _ raw: UnsafeMutablePointer<sem_t>, until deadline: Deadline, _ name: String
    ) async throws(IPCError) {
        if try unsafe tryWait(raw, name) { return }
        let both = unsafe UnsafeRawPointer(raw).assumingMemoryBound(to: Atomic<UInt64>.self)
        let value = unsafe UnsafeRawPointer(raw).assumingMemoryBound(to: Atomic<UInt32>.self)
        unsafe both.pointee.wrappingAdd(oneWaiter, ordering: .sequentiallyConsistent)
        defer { unsafe both.pointee.wrappingSubtract(oneWaiter, ordering: .sequentiallyConsistent) }
        while try unsafe !tryWait(raw, name) {
            switch unsafe try await FutexWaits.shared.wait(for: value, whileEqual: 0, until: deadline) {
            case .ready, .failed: continue
            case .deadlinePassed: throw .timedOut("sem_wait", name)
            case .cancelled: throw .cancelled("sem_wait", name)
            }
        }
    }
}

extension SharedMutex {
    /// Runs `body` with the lock held, suspended while another has it.
    ///
    /// The lock belongs to the thread on which `body` runs; so there is no asynchronous `lock`, and `body` cannot suspend.
    ///
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``, and `body` did not run.
    public nonisolated(nonsending) func withLock<Value>(
        until deadline: Deadline = .never, repair: (() throws(IPCError) -> Void)? = nil,
        _ body: () throws(IPCError) -> Value
    ) async throws(IPCError) -> Value {
        var hasWaited = false
        while true {
            if let acquisition = try tryLock() {
                // Those who sleep may have been many, and one was woken: the next unlock has to wake another.
                if hasWaited { raw.markWaiters() }
                return try finish(acquisition, repair, body)
            }
            guard let seen = raw.announceWaiter() else { continue }
            hasWaited = true
            switch unsafe try await FutexWaits.shared.wait(for: raw.word, whileEqual: seen, until: deadline) {
            case .ready, .failed: continue
            case .deadlinePassed: throw .timedOut("lock", name)
            case .cancelled: throw .cancelled("lock", name)
            }
        }
    }
}

extension RobustMutex {
    /// The mutex's first word: the holder's thread, and a bit that says that somebody waits, so that an unlock, or the
    /// kernel at the holder's death, wakes one. (The kernel's robust futexes: `FUTEX_WAITERS`.)
    var word: UnsafePointer<Atomic<UInt32>> {
        unsafe UnsafeRawPointer(raw).assumingMemoryBound(to: Atomic<UInt32>.self)
    }

    private static var waiters: UInt32 { 0x8000_0000 }
    private static var ownerDied: UInt32 { 0x4000_0000 }

    func markWaiters() { unsafe word.pointee.bitwiseOr(Self.waiters, ordering: .relaxed) }

    /// Says that somebody waits.
    ///
    /// - Returns: What the word is then; nil if it need not be waited for.
    func announceWaiter() -> UInt32? {
        let seen = unsafe word.pointee.load(ordering: .relaxed)
        guard seen & ~Self.waiters != 0, seen & Self.ownerDied == 0 else { return nil }
        if seen & Self.waiters != 0 { return seen }
        let marked = seen | Self.waiters
        return unsafe word.pointee.compareExchange(expected: seen, desired: marked, ordering: .relaxed).exchanged
            ? marked : nil
    }
}
