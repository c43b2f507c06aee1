import CIPCShims
import Glibc
import Synchronization
import SystemPackage

/// A condition variable in shared memory: wait, with a ``SharedMutex`` let go meanwhile, until another process signals.
///
/// ```swift
/// try mutex.withLock { () throws(IPCError) in
///     _ = try notEmpty.wait(mutex, until: deadline) { count > 0 }
/// }
/// ```
///
/// Built on a futex and a sequence number, since the C library's process-shared condition variable is not robust: a
/// process that dies in it can block all others for ever. Here a dead waiter costs at most an unneeded system call per
/// signal. Safe from any thread and process.
public struct SharedCondition: Sendable {
    /// How many bytes it takes in the memory.
    public static let byteCount = 64

    private let object: PlacedObject

    /// Creates a condition in memory that is still zero, at a multiple of 64.
    ///
    /// - Throws: ``IPCError/Code/alreadyExists``; ``IPCError/Code/wrongType`` if something else lies there.
    public static func create(in mapping: MemoryMapping, at offset: Int) throws(IPCError) -> SharedCondition {
        try make(in: mapping, at: offset, mayExist: false)
    }

    /// Attaches to a condition, and creates it if the memory is still zero.
    ///
    /// - Throws: ``IPCError/Code/wrongType`` if something else lies there; ``IPCError/Code/notReady`` if another process is in
    ///   the middle of creating it for more than a second.
    public static func openOrCreate(in mapping: MemoryMapping, at offset: Int) throws(IPCError) -> SharedCondition {
        try make(in: mapping, at: offset, mayExist: true)
    }

    private static func make(
        in mapping: MemoryMapping, at offset: Int, mayExist: Bool
    ) throws(IPCError) -> SharedCondition {
        unsafe SharedCondition(
            object: try .create(
                .condition, in: mapping, at: offset, byteCount: byteCount, mayExist: mayExist, { _ in 0 }))
    }

    /// Attaches to a condition, waiting until it was created.
    ///
    /// - Throws: ``IPCError/Code/notReady`` if nobody created one; ``IPCError/Code/wrongType`` if something else lies there.
    public static func open(
        in mapping: MemoryMapping, at offset: Int, until deadline: Deadline = .after(.seconds(1))
    ) throws(IPCError) -> SharedCondition {
        SharedCondition(object: try .open(.condition, in: mapping, at: offset, byteCount: byteCount, until: deadline))
    }

    /// Counts signals; waiters sleep on it.
    private var sequence: UnsafePointer<Atomic<UInt32>> {
        unsafe UnsafePointer(object.body.assumingMemoryBound(to: Atomic<UInt32>.self))
    }
    /// How many may sleep. A dead waiter is never taken off, which only costs its system call.
    private var waiters: UnsafePointer<Atomic<UInt32>> {
        unsafe UnsafePointer((object.body + 4).assumingMemoryBound(to: Atomic<UInt32>.self))
    }

    /// Lets `mutex` go, waits for a signal, and locks `mutex` again.
    ///
    /// It may wake for no reason: check what you wait for, in a loop, or use `wait(_:until:for:)`.
    /// - Parameters:
    ///   - mutex: Held by the calling thread, and held again when this returns or throws ``IPCError/Code/ownerDied``.
    ///   - deadline: When to give up.
    /// - Returns: False if the deadline passed.
    /// - Throws: ``IPCError/Code/ownerDied`` if the mutex's holder died meanwhile: it is locked; repair the state and
    ///   call ``SharedMutex/markConsistent()``.
    public func wait(_ mutex: SharedMutex, until deadline: Deadline = .never) throws(IPCError) -> Bool {
        // Read while the mutex is held: a signal after it was let go changes the number, and the futex does not sleep.
        let seen = unsafe sequence.pointee.load(ordering: .relaxed)
        // Sequentially consistent, as is the signaller's look at it after its own increment: one of the two sees the other.
        unsafe waiters.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
        defer { unsafe waiters.pointee.wrappingSubtract(1, ordering: .relaxed) }
        try mutex.unlock()
        let isSignaled = try unsafe FutexCalls.wait(
            UnsafeRawPointer(sequence), whileEqual: seen, until: deadline, object.name)
        // Its holder lets it go soon, or dies and is found dead.
        guard try mutex.lock() == .acquired else {
            throw IPCError(
                .ownerDied, "wait", object.name,
                advice:
                    "the holder of the mutex died; this thread holds it now: repair the state, and mark it consistent")
        }
        return isSignaled
    }

    /// Waits until `predicate` holds, however often it is woken before.
    ///
    /// - Returns: Whether the predicate holds; false only if the deadline passed.
    public func wait(
        _ mutex: SharedMutex, until deadline: Deadline = .never, for predicate: () -> Bool
    ) throws(IPCError) -> Bool {
        while !predicate() {
            if try !wait(mutex, until: deadline) { return predicate() }
        }
        return true
    }

    /// The same, with a predicate that throws errors of its own: they pass unchanged, with the mutex held.
    @_disfavoredOverload
    public func wait(
        _ mutex: SharedMutex, until deadline: Deadline = .never, for predicate: () throws -> Bool
    ) throws -> Bool {
        while try !predicate() {
            if try !wait(mutex, until: deadline) { return try predicate() }
        }
        return true
    }

    /// Wakes one waiter. No system call if nobody waits.
    public func signal() { wake(1) }

    /// Wakes all waiters. No system call if nobody waits.
    public func broadcast() { wake(.max) }

    private func wake(_ count: Int) {
        unsafe sequence.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
        if unsafe waiters.pointee.load(ordering: .sequentiallyConsistent) > 0 {
            unsafe FutexCalls.wake(UnsafeRawPointer(sequence), count: count)
        }
    }
}
