import CIPCShims
import Glibc
import IPC

/// Locks on single bytes, held by an open file description (OFD locks): the kernel reports from them who lives.
enum ByteLock {
    /// The byte of the file that locks a whole folder.
    static let ofFolder: Int64 = 0

    /// Takes the lock without blocking; false if another open file description holds it.
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

    /// Whether another open file description holds a lock on any of the `count` bytes from `byte` on.
    static func isTaken(
        _ descriptor: CInt, _ byte: Int64, count: Int64 = 1, _ name: String
    ) throws(IPCError) -> Bool {
        try retryingInterrupts { ipc_bytes_are_locked(descriptor, off_t(byte), off_t(count)) }
            .orThrow("fcntl F_OFD_GETLK", name) != 0
    }

    /// How long to wait for a lock by default. A process that holds one for that long was stopped or is hostile.
    static var patience: Deadline { .after(.seconds(5)) }

    /// Takes a lock by repeated attempts until the deadline. Blocks; holders need the lock for microseconds.
    ///
    /// - Parameters:
    ///   - descriptor: The locked file, whose path is `path`; for the error.
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
