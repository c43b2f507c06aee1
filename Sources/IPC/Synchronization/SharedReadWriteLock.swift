import CIPCShims
import Glibc
import Synchronization
import SystemPackage

/// A robust lock in shared memory for many readers or one writer.
///
/// ```swift
/// let lock = try SharedReadWriteLock.create(in: mapping, at: 0)
/// let price = try lock.withReadLock { mapping.load(Double.self, at: 4096) }
/// try lock.withWriteLock(repair: { resetPrices() }) { mapping.store(1.5, at: 4096) }
/// ```
///
/// A dead reader is noticed and its place used again. A dead writer leaves the state suspect: readers get
/// ``IPCError/Code/ownerDied`` until a writer has repaired it. The C library's process-shared `pthread_rwlock_t` knows
/// neither: a process that dies with it blocks all others for ever.
///
/// It is a "big-reader" lock: a reader holds one of 16 robust mutexes, each on a cache line of its own, a writer all of
/// them. So reading costs no system call and shares no cache line with other readers; writing is dear; the seventeenth
/// concurrent reader waits. Not recursive; a lock belongs to the thread that took it.
///
/// Locks need mutual trust: the C library keeps pointers in a robust mutex, so whoever can write to the memory can make its other
/// users read and write where it wants. With a peer that is not trusted, use a socket. (`Documentation/trust.md`)
public struct SharedReadWriteLock: Sendable {
    /// How many readers can hold it at once.
    public static let concurrentReaders = 16
    /// How many bytes it takes in the memory.
    public static let byteCount = 64 * (1 + concurrentReaders)

    private let object: PlacedObject

    /// What is known of the guarded state.
    private enum Condition {
        static let whole: UInt32 = 0
        /// A writer is at work; if nobody holds the lock, it died.
        static let changing: UInt32 = 1
        /// A writer died, and the present one has not declared the state repaired.
        static let suspect: UInt32 = 2
    }

    /// Creates a lock in memory that is still zero, at a multiple of 64.
    ///
    /// - Throws: ``IPCError/Code/alreadyExists``; ``IPCError/Code/wrongType`` if something else lies there.
    public static func create(in mapping: MemoryMapping, at offset: Int) throws(IPCError) -> SharedReadWriteLock {
        try make(in: mapping, at: offset, mayExist: false)
    }

    /// Attaches to a lock, and creates it if the memory is still zero.
    ///
    /// - Throws: ``IPCError/Code/wrongType`` if something else lies there; ``IPCError/Code/notReady`` if another process is in
    ///   the middle of creating it for more than a second.
    public static func openOrCreate(
        in mapping: MemoryMapping, at offset: Int
    ) throws(IPCError) -> SharedReadWriteLock {
        try make(in: mapping, at: offset, mayExist: true)
    }

    private static func make(
        in mapping: MemoryMapping, at offset: Int, mayExist: Bool
    ) throws(IPCError) -> SharedReadWriteLock {
        unsafe SharedReadWriteLock(
            object: try .create(
                .readWriteLock, in: mapping, at: offset, byteCount: byteCount, mayExist: mayExist
            ) { memory in
                for index in 0...concurrentReaders {
                    let result = unsafe RobustMutex.initialize(memory + mutexOffset(index))
                    if result != 0 { return result }
                }
                return 0
            })
    }

    /// Attaches to a lock, waiting until it was created.
    ///
    /// - Throws: ``IPCError/Code/notReady`` if nobody created one; ``IPCError/Code/wrongType`` if something else lies there.
    public static func open(
        in mapping: MemoryMapping, at offset: Int, until deadline: Deadline = .after(.seconds(1))
    ) throws(IPCError) -> SharedReadWriteLock {
        SharedReadWriteLock(
            object: try .open(.readWriteLock, in: mapping, at: offset, byteCount: byteCount, until: deadline))
    }

    /// From the body: first the condition, then the writers' mutex on the same cache line, then a line per reader.
    private static func mutexOffset(_ index: Int) -> Int {
        index == concurrentReaders ? 8 : 64 * (index + 1) - PlacedObject.headerSize
    }
    private func mutex(_ index: Int) -> RobustMutex {
        unsafe RobustMutex(object.body + Self.mutexOffset(index), object.name)
    }
    private var writers: RobustMutex { mutex(Self.concurrentReaders) }
    private var condition: UnsafePointer<Atomic<UInt32>> {
        unsafe UnsafePointer(object.body.assumingMemoryBound(to: Atomic<UInt32>.self))
    }

    /// What a reader holds, to be given back to ``unlock(_:)`` once: it cannot be copied, so unlocking twice does not compile.
    ///
    /// A token that is dropped leaves the lock held until its thread ends.
    public struct ReadToken: ~Copyable, Sendable {
        fileprivate let place: Int
    }

    /// Locks it for reading, waiting for a writer.
    ///
    /// - Throws: ``IPCError/Code/timedOut``; ``IPCError/Code/ownerDied`` if a writer died: the lock is not held.
    public func lockForReading(until deadline: Deadline = .never) throws(IPCError) -> ReadToken {
        // Threads start at different places, so that readers rarely meet.
        let start = Int(ipc_gettid()) % Self.concurrentReaders
        for step in 0..<Self.concurrentReaders {
            let place = (start + step) % Self.concurrentReaders
            if let acquisition = try mutex(place).tryLock() { return try admitReader(at: place, acquisition) }
        }
        guard let acquisition = try mutex(start).lock(until: deadline) else { throw .timedOut("lock", object.name) }
        return try admitReader(at: start, acquisition)
    }

    /// Locks it for reading if that needs no wait; nil otherwise.
    public func tryLockForReading() throws(IPCError) -> ReadToken? {
        do throws(IPCError) {
            return try lockForReading(until: .immediate)
        } catch  where error.code == .timedOut {
            return nil
        }
    }

    private func admitReader(at place: Int, _ acquisition: LockAcquisition) throws(IPCError) -> ReadToken {
        // A dead reader changed nothing; a dead writer is told by the condition.
        if acquisition == .ownerDied { try mutex(place).markConsistent() }
        // Relaxed: it was written before the writer let this mutex go, or died.
        guard unsafe condition.pointee.load(ordering: .relaxed) == Condition.whole else {
            try mutex(place).unlock()
            throw IPCError(
                .ownerDied, "lock for reading", object.name,
                advice:
                    "a writer died in the middle of a change; lock it for writing, repair the state, and mark it consistent"
            )
        }
        return ReadToken(place: place)
    }

    /// Unlocks it after reading, in the thread that locked it.
    ///
    /// - Parameter token: From this lock.
    /// - Throws: ``IPCError/Code/permissionDenied`` in another thread than the one that locked it.
    public func unlock(_ token: consuming ReadToken) throws(IPCError) { try mutex(token.place).unlock() }

    /// Locks it for writing, waiting for readers and another writer.
    ///
    /// - Returns: ``LockAcquisition/ownerDied`` if a writer died with it: repair the state and call ``markConsistent()``.
    /// - Throws: ``IPCError/Code/timedOut``; an error of the system if this thread reads it already. The lock is not held then.
    public func lockForWriting(until deadline: Deadline = .never) throws(IPCError) -> LockAcquisition {
        guard let acquisition = try writers.lock(until: deadline) else { throw .timedOut("lock", object.name) }
        var taken = 0
        do throws(IPCError) {
            if acquisition == .ownerDied { try writers.markConsistent() }
            while taken < Self.concurrentReaders {
                guard let acquisition = try mutex(taken).lock(until: deadline) else {
                    throw .timedOut("lock", object.name)
                }
                taken += 1
                if acquisition == .ownerDied { try mutex(taken - 1).markConsistent() }
            }
        } catch {
            // Whatever the reason, such as a thread that reads it already (EDEADLK): the lock is as it was.
            try unlock(places: taken)
            throw error
        }
        let isWhole = unsafe condition.pointee.load(ordering: .relaxed) == Condition.whole
        // Relaxed: the mutexes order it for everyone who gets one of them.
        unsafe condition.pointee.store(isWhole ? Condition.changing : Condition.suspect, ordering: .relaxed)
        return isWhole ? .acquired : .ownerDied
    }

    /// Declares the state repaired, after ``LockAcquisition/ownerDied``. Only the writer may.
    public func markConsistent() { unsafe condition.pointee.store(Condition.changing, ordering: .relaxed) }

    /// Unlocks it after writing, in the thread that locked it. State not declared repaired stays suspect.
    public func unlockAfterWriting() throws(IPCError) {
        if unsafe condition.pointee.load(ordering: .relaxed) == Condition.changing {
            unsafe condition.pointee.store(Condition.whole, ordering: .relaxed)
        }
        try unlock(places: Self.concurrentReaders)
    }

    private func unlock(places: Int) throws(IPCError) {
        for place in 0..<places { try mutex(place).unlock() }
        try writers.unlock()
    }

    /// Runs `body` with the lock held for reading.
    public func withReadLock<Value>(
        until deadline: Deadline = .never, _ body: () throws(IPCError) -> Value
    ) throws(IPCError) -> Value {
        try read(until: deadline, body) { $0 }
    }

    /// The same, with a closure that throws errors of its own: they pass unchanged.
    @_disfavoredOverload
    public func withReadLock<Value>(
        until deadline: Deadline = .never, _ body: () throws -> Value
    ) throws -> Value {
        try read(until: deadline, body) { $0 }
    }

    private func read<Value, Failure: Error>(
        until deadline: Deadline, _ body: () throws(Failure) -> Value, _ lift: (IPCError) -> Failure
    ) throws(Failure) -> Value {
        let token = try lifting(lift) { () throws(IPCError) in try lockForReading(until: deadline) }
        let value: Value
        do throws(Failure) {
            value = try body()
        } catch {
            try release(token, lift)
            throw error
        }
        try release(token, lift)
        return value
    }

    private func release<Failure: Error>(
        _ token: consuming ReadToken, _ lift: (IPCError) -> Failure
    ) throws(Failure) {
        do throws(IPCError) { try unlock(token) } catch { throw lift(error) }
    }

    /// Runs `body` with the lock held for writing.
    ///
    /// - Parameters:
    ///   - deadline: When to give up waiting for the lock.
    ///   - repair: Makes the state whole after a writer died, before `body` runs. Without it, the error
    ///     ``IPCError/Code/ownerDied`` is thrown, and the state stays suspect.
    ///   - body: Must not unlock it.
    public func withWriteLock<Value>(
        until deadline: Deadline = .never, repair: (() throws(IPCError) -> Void)? = nil,
        _ body: () throws(IPCError) -> Value
    ) throws(IPCError) -> Value {
        try write(until: deadline, repair, body) { $0 }
    }

    /// The same, with closures that throw errors of their own: they pass unchanged.
    @_disfavoredOverload
    public func withWriteLock<Value>(
        until deadline: Deadline = .never, repair: (() throws -> Void)? = nil, _ body: () throws -> Value
    ) throws -> Value {
        try write(until: deadline, repair, body) { $0 }
    }

    private func write<Value, Failure: Error>(
        until deadline: Deadline, _ repair: (() throws(Failure) -> Void)?, _ body: () throws(Failure) -> Value,
        _ lift: (IPCError) -> Failure
    ) throws(Failure) -> Value {
        let acquisition = try lifting(lift) { () throws(IPCError) in try lockForWriting(until: deadline) }
        let value: Value
        do throws(Failure) {
            if acquisition == .ownerDied {
                guard let repair else {
                    throw lift(
                        IPCError(
                            .ownerDied, "lock for writing", object.name,
                            advice: "a writer died in the middle of a change, and no repair was given; pass repair:"))
                }
                try repair()
                markConsistent()
            }
            value = try body()
        } catch {
            try lifting(lift) { () throws(IPCError) in try unlockAfterWriting() }
            throw error
        }
        try lifting(lift) { () throws(IPCError) in try unlockAfterWriting() }
        return value
    }
}
