import CIPCShims
import Glibc
import Synchronization

/// A lock within this process. Not Swift's `Mutex`, which the thread sanitizer does not know.
///
/// In a child of fork it is free, whichever thread of the parent held it: that thread is not there to let it go. What it guards may be
/// half changed then; whoever goes on with that in the child has to make it anew.
@safe
package final class PrivateLock: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    /// When the mutex was made, as ``ipc_forks()`` counts; ``isRenewing`` while it is made anew.
    private let forks = Atomic(ipc_forks())
    private static let isRenewing = UInt64.max

    package init() {
        ipc_count_forks()
        unsafe mutex = .allocate(capacity: 1)
        unsafe mutex.initialize(to: pthread_mutex_t())
        unsafe pthread_mutex_init(mutex, nil)
    }

    deinit {
        unsafe pthread_mutex_destroy(mutex)
        unsafe mutex.deallocate()
    }

    package func withLock<Value: ~Copyable, Failure>(_ body: () throws(Failure) -> Value) throws(Failure) -> Value {
        // Relaxed: it changes in a child of fork only, before that has other threads but for those that meet here.
        if forks.load(ordering: .relaxed) != ipc_forks() { renew() }
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        return try body()
    }

    private func renew() {
        let now = ipc_forks()
        while true {
            let old = forks.load(ordering: .acquiring)
            if old == now { return }
            guard old != Self.isRenewing,
                forks.compareExchange(expected: old, desired: Self.isRenewing, ordering: .acquiring).exchanged
            else {
                sched_yield()
                continue
            }
            unsafe mutex.initialize(to: pthread_mutex_t())
            unsafe pthread_mutex_init(mutex, nil)
            forks.store(now, ordering: .releasing)
            return
        }
    }
}

/// A value that is changed under a lock.
package final class Locked<Value: Sendable>: @unchecked Sendable {
    private let lock = PrivateLock()
    private var value: Value

    package init(_ value: Value) { self.value = value }

    package func withLock<Result>(_ body: (inout Value) -> Result) -> Result { lock.withLock { body(&value) } }
}
