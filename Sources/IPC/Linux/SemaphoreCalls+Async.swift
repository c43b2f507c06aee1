import Glibc
import Synchronization

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
