import CIPCShims
import Glibc
import IPC

/// Locks of single bytes, held by an open file description: the kernel's word on who lives.
enum ByteLock {
    /// Takes the lock, unless another has it.
    static func tryTake(_ descriptor: CInt, _ byte: Int64, _ name: String) throws(IPCError) -> Bool {
        switch retryingInterrupts({ ipc_byte_lock(descriptor, off_t(byte)) }) {
        case .success: return true
        case .failure(.resourceTemporarilyUnavailable), .failure(.permissionDenied): return false
        case .failure(let errno): throw IPCError("fcntl F_OFD_SETLK", name, errno)
        }
    }

    static func release(_ descriptor: CInt, _ byte: Int64) {
        _ = retryingInterrupts { ipc_byte_unlock(descriptor, off_t(byte)) }
    }

    /// Whether another open file description has it, or one of the `count` from it on.
    static func isTaken(
        _ descriptor: CInt, _ byte: Int64, count: Int64 = 1, _ name: String
    ) throws(IPCError) -> Bool {
        try retryingInterrupts { ipc_bytes_are_locked(descriptor, off_t(byte), off_t(count)) }
            .orThrow("fcntl F_OFD_GETLK", name) != 0
    }

    /// How long a lock is waited for, where nothing else is said. Whoever keeps it for as long was stopped, or means harm.
    static var patience: Deadline { .after(.seconds(5)) }

    /// Takes a lock by repeated attempts, until the deadline. Holders need it for microseconds.
    ///
    /// - Parameters:
    ///   - descriptor: Of the file that is locked, whose path is `path`, for the error.
    static func wait(
        _ name: String, _ descriptor: CInt, _ path: String, until deadline: Deadline,
        _ tryTake: () throws(IPCError) -> Bool
    ) throws(IPCError) {
        while try !tryTake() {
            guard !deadline.hasPassed else {
                throw IPCError(.timedOut, "lock", name, advice: LockHolders.told(descriptor, path))
            }
            usleep(200)
        }
    }
}
