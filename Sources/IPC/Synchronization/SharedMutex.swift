import CIPCShims
import Glibc
import SystemPackage

/// How a lock was acquired.
public enum LockAcquisition: Hashable, Sendable {
    /// The last holder let it go; the state that it guards is whole.
    case acquired
    /// The last holder died with it; the state that it guards may be half changed. Repair it and declare it consistent.
    case ownerDied
}

/// A robust mutual exclusion lock in shared memory: when its holder dies, the next one is told.
///
/// ```swift
/// let mutex = try SharedMutex.create(in: mapping, at: 0)           // one process; the others: SharedMutex.open
/// try mutex.withLock(repair: { rebuildIndex() }) { updateIndex() }
/// ```
///
/// Belongs to the thread that locked it, and is not recursive. An uncontended lock costs no system call. Not Swift's
/// `Mutex`, whose futex is private to one process. The C functions are those of `pthread_mutex_t` with
/// `PTHREAD_PROCESS_SHARED` and `PTHREAD_MUTEX_ROBUST`.
///
/// Locks need mutual trust: the C library keeps pointers in a robust mutex, so whoever can write to the memory can make its other
/// users read and write where it wants. With a peer that is not trusted, use a socket. (`Documentation/trust.md`)
public struct SharedMutex: Sendable {
    /// How many bytes it takes in the memory.
    public static let byteCount = 64

    private let object: PlacedObject

    /// Creates a mutex in memory that is still zero, at a multiple of 64.
    ///
    /// - Throws: ``IPCError/Code/alreadyExists``; ``IPCError/Code/wrongType`` if something else lies there.
    public static func create(in mapping: MemoryMapping, at offset: Int) throws(IPCError) -> SharedMutex {
        try make(in: mapping, at: offset, mayExist: false)
    }

    /// Attaches to a mutex, and creates it if the memory is still zero.
    ///
    /// - Throws: ``IPCError/Code/wrongType`` if something else lies there; ``IPCError/Code/notReady`` if another process is in
    ///   the middle of creating it for more than a second.
    public static func openOrCreate(in mapping: MemoryMapping, at offset: Int) throws(IPCError) -> SharedMutex {
        try make(in: mapping, at: offset, mayExist: true)
    }

    private static func make(
        in mapping: MemoryMapping, at offset: Int, mayExist: Bool
    ) throws(IPCError) -> SharedMutex {
        unsafe SharedMutex(
            object: try .create(
                .mutex, in: mapping, at: offset, byteCount: byteCount, mayExist: mayExist,
                { unsafe RobustMutex.initialize($0) }))
    }

    /// Attaches to a mutex, waiting until it was created.
    ///
    /// - Throws: ``IPCError/Code/notReady`` if nobody created one; ``IPCError/Code/wrongType`` if something else lies there.
    public static func open(
        in mapping: MemoryMapping, at offset: Int, until deadline: Deadline = .after(.seconds(1))
    ) throws(IPCError) -> SharedMutex {
        SharedMutex(object: try .open(.mutex, in: mapping, at: offset, byteCount: byteCount, until: deadline))
    }

    var name: String { object.name }
    var raw: RobustMutex { unsafe RobustMutex(object.body, object.name) }

    /// Locks it, waiting for its holder.
    ///
    /// - Returns: ``LockAcquisition/ownerDied`` if the holder died: it is locked now, but ``markConsistent()`` has to be
    ///   called before ``unlock()``, or nobody will ever get it again.
    /// - Throws: ``IPCError/Code/timedOut``; ``IPCError/Code/notRecoverable`` if somebody unlocked it unrepaired.
    public func lock(until deadline: Deadline = .never) throws(IPCError) -> LockAcquisition {
        guard let acquisition = try raw.lock(until: deadline) else { throw .timedOut("lock", object.name) }
        return acquisition
    }

    /// Locks it if nobody holds it; nil otherwise.
    public func tryLock() throws(IPCError) -> LockAcquisition? { try raw.tryLock() }

    /// Unlocks it.
    ///
    /// - Throws: ``IPCError/Code/permissionDenied`` if this thread does not hold it.
    public func unlock() throws(IPCError) { try raw.unlock() }

    /// Declares the state that it guards repaired, after ``LockAcquisition/ownerDied``.
    public func markConsistent() throws(IPCError) { try raw.markConsistent() }

    /// Runs `body` with the lock held.
    ///
    /// - Parameters:
    ///   - deadline: When to give up waiting for the lock.
    ///   - repair: Makes the guarded state whole after a holder died with it, before `body` runs. Without it, the error
    ///     ``IPCError/Code/ownerDied`` is thrown and the mutex becomes unusable, so that nobody works on torn state.
    ///   - body: Must not unlock it.
    public func withLock<Value>(
        until deadline: Deadline = .never, repair: (() throws(IPCError) -> Void)? = nil,
        _ body: () throws(IPCError) -> Value
    ) throws(IPCError) -> Value {
        try finish(lock(until: deadline), repair, body) { $0 }
    }

    /// The same, with closures that throw errors of their own: they pass unchanged.
    @_disfavoredOverload
    public func withLock<Value>(
        until deadline: Deadline = .never, repair: (() throws -> Void)? = nil, _ body: () throws -> Value
    ) throws -> Value {
        try finish(lock(until: deadline), repair, body) { $0 }
    }

    /// Runs `body`, with the lock held, and unlocks it.
    ///
    /// - Parameter lift: An error of the lock's as the closures' kind of error.
    func finish<Value, Failure: Error>(
        _ acquisition: LockAcquisition, _ repair: (() throws(Failure) -> Void)?, _ body: () throws(Failure) -> Value,
        _ lift: (IPCError) -> Failure
    ) throws(Failure) -> Value {
        if acquisition == .ownerDied {
            do throws(Failure) {
                guard let repair else {
                    throw lift(
                        IPCError(
                            .ownerDied, "lock", object.name,
                            advice: "its holder died, and no repair was given; create the memory again, or pass repair:"
                        ))
                }
                try repair()
                try lifting(lift) { () throws(IPCError) in try markConsistent() }
            } catch {
                try lifting(lift) { () throws(IPCError) in try unlock() }
                throw error
            }
        }
        let value: Value
        do throws(Failure) {
            value = try body()
        } catch {
            try lifting(lift) { () throws(IPCError) in try unlock() }
            throw error
        }
        try lifting(lift) { () throws(IPCError) in try unlock() }
        return value
    }
}

/// Runs a call of this library where another kind of error is thrown.
@inline(__always)
func lifting<Value: ~Copyable, Failure: Error>(
    _ lift: (IPCError) -> Failure, _ call: () throws(IPCError) -> Value
) throws(Failure) -> Value {
    do throws(IPCError) {
        return try call()
    } catch {
        throw lift(error)
    }
}
