import CIPCShims
import Glibc
import SystemPackage

/// The C library's robust, process-shared, error-checking mutex at an address: shared by the mutex and the
/// read-write lock.
@safe
struct RobustMutex {
    let raw: UnsafeMutablePointer<pthread_mutex_t>
    private let name: String

    init(_ memory: UnsafeMutableRawPointer, _ name: String) {
        unsafe self.raw = memory.assumingMemoryBound(to: pthread_mutex_t.self)
        self.name = name
    }

    static func initialize(_ memory: UnsafeMutableRawPointer) -> CInt {
        var attributes = pthread_mutexattr_t()
        unsafe pthread_mutexattr_init(&attributes)
        defer { unsafe pthread_mutexattr_destroy(&attributes) }
        unsafe pthread_mutexattr_setpshared(&attributes, CInt(PTHREAD_PROCESS_SHARED))
        unsafe pthread_mutexattr_setrobust(&attributes, CInt(PTHREAD_MUTEX_ROBUST))
        unsafe pthread_mutexattr_settype(&attributes, CInt(PTHREAD_MUTEX_ERRORCHECK))
        return unsafe pthread_mutex_init(memory.assumingMemoryBound(to: pthread_mutex_t.self), &attributes)
    }

    /// Nil if the deadline passed first.
    func lock(until deadline: Deadline) throws(IPCError) -> LockAcquisition? {
        let result: CInt
        if deadline == .never {
            result = unsafe pthread_mutex_lock(raw)
        } else {
            var time = deadline.timespec
            result = unsafe ipc_mutex_clocklock(raw, &time)
        }
        return try acquisition(result, giveUp: ETIMEDOUT)
    }

    /// Nil if somebody holds it.
    func tryLock() throws(IPCError) -> LockAcquisition? {
        try unsafe acquisition(pthread_mutex_trylock(raw), giveUp: EBUSY)
    }

    func unlock() throws(IPCError) {
        let result = unsafe pthread_mutex_unlock(raw)
        guard result == 0 else {
            throw IPCError("unlock", name, Errno(rawValue: result), advice: "the calling thread does not hold it")
        }
    }

    func markConsistent() throws(IPCError) {
        let result = unsafe pthread_mutex_consistent(raw)
        guard result == 0 else {
            throw IPCError(
                "mark consistent", name, Errno(rawValue: result), advice: "its last holder did not die while it held it"
            )
        }
    }

    private func acquisition(_ result: CInt, giveUp: CInt) throws(IPCError) -> LockAcquisition? {
        switch result {
        case 0: return .acquired
        case EOWNERDEAD: return .ownerDied
        case giveUp: return nil
        case ENOTRECOVERABLE:
            throw IPCError(
                .notRecoverable, "lock", name, errno: Errno(rawValue: result),
                advice: "a holder died, and the next one unlocked it without a repair; create the memory again")
        case EDEADLK:
            throw IPCError(
                .invalidArgument, "lock", name, errno: Errno(rawValue: result),
                advice: "the calling thread already holds it, and it is not recursive")
        default: throw IPCError("lock", name, Errno(rawValue: result))
        }
    }
}
