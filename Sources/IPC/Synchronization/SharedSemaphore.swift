import CIPCShims
import Glibc
import SystemPackage

/// A counting semaphore in shared memory: so many may go on, the others wait.
///
/// ```swift
/// let slots = try SharedSemaphore.create(in: mapping, at: 0, value: 8)   // the others: SharedSemaphore.open
/// try slots.wait(until: .after(.seconds(1)))
/// ```
///
/// A semaphore has no owner: a process that dies between `wait(until:)` and ``post()`` leaves it taken, for good.
/// Guard state with a ``SharedMutex``, which tells; count things with a semaphore. Safe from any thread and process.
/// The C functions are `sem_wait` and its kin.
@safe
public struct SharedSemaphore: @unchecked Sendable {
    // `@unchecked`: the pointer is into the object's memory, which is made for sharing.
    /// How many bytes it takes in the memory.
    public static let byteCount = 64

    private let object: PlacedObject
    /// Into the object's memory.
    @usableFromInline let raw: UnsafeMutablePointer<sem_t>

    private init(_ object: PlacedObject) {
        self.object = object
        unsafe raw = object.body.assumingMemoryBound(to: sem_t.self)
    }

    /// Creates a semaphore in memory that is still zero.
    ///
    /// - Parameters:
    ///   - mapping: The memory.
    ///   - offset: Where: a multiple of 64.
    ///   - value: How many may go on before one has to wait.
    /// - Throws: ``IPCError/Code/alreadyExists``; ``IPCError/Code/wrongType`` if something else lies there;
    ///   ``IPCError/Code/invalidArgument`` above `SEM_VALUE_MAX`.
    public static func create(
        in mapping: MemoryMapping, at offset: Int, value: UInt32
    ) throws(IPCError) -> SharedSemaphore {
        try make(in: mapping, at: offset, value: value, mayExist: false)
    }

    /// Attaches to a semaphore, and creates it if the memory is still zero.
    ///
    /// - Parameters:
    ///   - mapping: Shared memory.
    ///   - offset: Where it lies there, in bytes.
    ///   - value: How many may go on before one has to wait, if it is created. The value of one that exists is whatever its users
    ///     have made of it.
    /// - Throws: ``IPCError/Code/wrongType`` if something else lies there; ``IPCError/Code/notReady`` if another process is in
    ///   the middle of creating it for more than a second; ``IPCError/Code/invalidArgument`` above `SEM_VALUE_MAX`.
    public static func openOrCreate(
        in mapping: MemoryMapping, at offset: Int, value: UInt32
    ) throws(IPCError) -> SharedSemaphore {
        try make(in: mapping, at: offset, value: value, mayExist: true)
    }

    private static func make(
        in mapping: MemoryMapping, at offset: Int, value: UInt32, mayExist: Bool
    ) throws(IPCError) -> SharedSemaphore {
        unsafe SharedSemaphore(
            try .create(
                .semaphore, in: mapping, at: offset, byteCount: byteCount, mayExist: mayExist
            ) { memory in
                unsafe sem_init(memory.assumingMemoryBound(to: sem_t.self), 1, value) == 0 ? 0 : errno
            })
    }

    /// Attaches to a semaphore, waiting until it was created.
    ///
    /// - Throws: ``IPCError/Code/notReady`` if nobody created one; ``IPCError/Code/wrongType`` if something else lies there.
    public static func open(
        in mapping: MemoryMapping, at offset: Int, until deadline: Deadline = .after(.seconds(1))
    ) throws(IPCError) -> SharedSemaphore {
        SharedSemaphore(try .open(.semaphore, in: mapping, at: offset, byteCount: byteCount, until: deadline))
    }

    var name: String { object.name }

    /// Takes one, waiting while there is none.
    ///
    /// - Throws: ``IPCError/Code/timedOut``.
    @inlinable
    public func wait(until deadline: Deadline = .never) throws(IPCError) {
        // Nearly every wait ends here; what follows needs a larger stack frame.
        if deadline == .never {
            // The memory stays mapped for the call, even if nobody else needs us any more.
            let result = unsafe sem_wait(raw)
            withExtendedLifetime(self) {}
            if result == 0 { return }
        }
        try waitAgain(until: deadline)
    }

    @usableFromInline @inline(never)
    func waitAgain(until deadline: Deadline) throws(IPCError) {
        if let errno = unsafe SemaphoreCalls.wait(raw, until: deadline) {
            throw SemaphoreCalls.waitError(errno, object.name)
        }
    }

    /// Takes one if there is one.
    public func tryWait() throws(IPCError) -> Bool { try unsafe SemaphoreCalls.tryWait(raw, object.name) }

    /// Gives one back, and wakes a waiter.
    ///
    /// - Throws: ``IPCError/Code/limitReached`` at `SEM_VALUE_MAX`.
    @inlinable
    public func post() throws(IPCError) {
        let result = unsafe sem_post(raw)
        withExtendedLifetime(self) {}
        if result != 0 { try failToPost() }
    }

    @usableFromInline @inline(never)
    func failToPost() throws(IPCError) {
        throw SemaphoreCalls.postError(Errno(rawValue: errno), object.name)
    }

    /// How many there are now. It may have changed when the caller looks at it.
    public var value: Int { unsafe SemaphoreCalls.value(raw) }
}

/// The calls that semaphores in a mapping and named ones share.
enum SemaphoreCalls {
    /// The error, or nil when one was taken. It does not take the name, nor does ``post(_:)``: keeping a string alive for
    /// an error that does not come costs more than the call.
    @inline(__always)
    static func wait(_ raw: UnsafeMutablePointer<sem_t>, until deadline: Deadline) -> Errno? {
        let result: Result<CInt, Errno>
        if deadline == .never {
            result = retryingInterrupts { unsafe sem_wait(raw) }
        } else {
            var time = deadline.timespec  // absolute, so an interrupted wait goes on with what is left
            result = retryingInterrupts { unsafe ipc_sem_clockwait(raw, &time) }
        }
        guard case .failure(let errno) = result else { return nil }
        return errno
    }

    @inline(never)
    static func waitError(_ errno: Errno, _ name: String) -> IPCError {
        errno == .timedOut ? .timedOut("sem_wait", name) : IPCError("sem_wait", name, errno)
    }

    static func tryWait(_ raw: UnsafeMutablePointer<sem_t>, _ name: String) throws(IPCError) -> Bool {
        switch retryingInterrupts({ unsafe sem_trywait(raw) }) {
        case .success: return true
        case .failure(.resourceTemporarilyUnavailable): return false
        case .failure(let errno): throw IPCError("sem_trywait", name, errno)
        }
    }

    @inline(__always)
    static func post(_ raw: UnsafeMutablePointer<sem_t>) -> Errno? {
        guard case .failure(let errno) = systemCall({ unsafe sem_post(raw) }) else { return nil }
        return errno
    }

    @inline(never)
    static func postError(_ errno: Errno, _ name: String) -> IPCError {
        guard errno != .overflow else {
            return IPCError(
                .limitReached, "sem_post", name, errno: errno,
                advice: "its value is at the maximum, 2147483647; find the process that posts without waiting")
        }
        return IPCError("sem_post", name, errno)
    }

    static func value(_ raw: UnsafeMutablePointer<sem_t>) -> Int {
        var value: CInt = 0
        unsafe sem_getvalue(raw, &value)
        return Int(value)
    }
}
