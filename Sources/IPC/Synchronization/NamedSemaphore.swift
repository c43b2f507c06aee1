import CIPCShims
import Glibc
public import SystemPackage

/// A counting semaphore with a name (`sem_open`), for processes that share no memory.
///
/// It lives in `/dev/shm/sem.NAME` until ``unlink(_:)``, with its value, whatever becomes of its users. Like every
/// semaphore it has no owner: see ``SharedSemaphore``. Safe from any thread and process.
///
/// Whoever may write to it has to be trusted: it can cut the file short, and the next use of the semaphore, in any process, is
/// SIGBUS. So open only what this user, or one of its group, has made; ``readValue(_:)`` is safe whoever made it.
@safe
public struct NamedSemaphore: ~Copyable, @unchecked Sendable {
    let raw: UnsafeMutablePointer<sem_t>  // the C library's mapping; freed by sem_close only
    /// The name, with its slash.
    public let name: String

    /// Creates a semaphore, which must not exist.
    ///
    /// - Parameters:
    ///   - name: `/workers`: at most 251 bytes after the slash.
    ///   - value: How many may go on before one has to wait.
    ///   - permissions: Who may open it, whatever the process's umask is.
    /// - Throws: ``IPCError/Code/alreadyExists``, ``IPCError/Code/invalidName``, ``IPCError/Code/invalidArgument``.
    public static func create(
        _ name: String, value: UInt32, permissions: FilePermissions = .ownerReadWrite
    ) throws(IPCError) -> NamedSemaphore {
        let semaphore = try NamedSemaphore(name, O_CREAT | O_EXCL, permissions, value)
        try semaphore.setPermissions(permissions)
        return semaphore
    }

    /// Opens a semaphore, which must exist.
    ///
    /// - Throws: ``IPCError/Code/notFound``; ``IPCError/Code/permissionDenied``; ``IPCError/Code/corrupted`` if it is none.
    public static func open(_ name: String) throws(IPCError) -> NamedSemaphore { try NamedSemaphore(name, 0, [], 0) }

    /// Opens a semaphore, waiting until it exists.
    ///
    /// - Throws: ``IPCError/Code/timedOut`` if nobody created it; else as ``open(_:)``.
    public static func open(_ name: String, until deadline: Deadline) throws(IPCError) -> NamedSemaphore {
        try waitingForCreation(in: SystemPaths.sharedMemory, until: deadline, "sem_open", name) { () throws(IPCError) in
            try existing(name)
        }
    }

    /// Opens a semaphore, and creates it if there is none.
    ///
    /// - Parameters:
    ///   - name: Such as `/workers`.
    ///   - value: How many may go on before one has to wait, if it is created. The value of one that exists is whatever its
    ///     users have made of it.
    ///   - permissions: Who may open it; nil for 0600 if it is created, and for whatever it has if it exists.
    /// - Throws: ``IPCError/Code/incompatibleOptions`` if it exists with other permissions than were asked for; else as
    ///   ``create(_:value:permissions:)`` and ``open(_:)``.
    public static func openOrCreate(
        _ name: String, value: UInt32, permissions: FilePermissions? = nil
    ) throws(IPCError) -> NamedSemaphore {
        // Tried again if it is removed between the two calls; so many times, so that others cannot keep this from ending.
        for _ in 0..<100 {
            do throws(IPCError) {
                return try create(name, value: value, permissions: permissions ?? .ownerReadWrite)
            } catch {
                guard error.code == .alreadyExists else { throw error }
            }
            guard let semaphore = try existing(name) else { continue }
            if permissions != nil {
                try checkPermissions(
                    permissions, of: try FileStatus(at: SystemPaths.semaphore(semaphore.name)), "sem_open",
                    semaphore.name)
            }
            return semaphore
        }
        throw IPCError("sem_open", name, .fileExists)
    }

    private init(_ name: String, _ flags: CInt, _ permissions: FilePermissions, _ value: UInt32) throws(IPCError) {
        let name = try ResourceName(name, maximumBytes: 251).description
        // The C library maps whatever it finds: a file that is too short would be SIGBUS at the first use.
        let path = SystemPaths.semaphore(name)
        if let status = try? FileStatus(at: path), status.size < MemoryLayout<sem_t>.size {
            throw IPCError(
                .corrupted, "sem_open", name,
                advice: "\(path) is too short to be a semaphore; remove it, and create the semaphore again")
        }
        var raw: UnsafeMutablePointer<sem_t>?
        repeat {
            unsafe raw = ipc_sem_open(name, flags, permissions.rawValue, value)
        } while unsafe raw == ipc_sem_failed() && errno == EINTR
        guard let raw = unsafe raw, unsafe raw != ipc_sem_failed() else {
            throw IPCError("sem_open", name, Errno(rawValue: errno))
        }
        unsafe self.raw = raw
        self.name = name
    }

    /// Nil if there is none.
    static func existing(_ name: String) throws(IPCError) -> NamedSemaphore? {
        do throws(IPCError) {
            return try NamedSemaphore(name, 0, [], 0)
        } catch  where error.code == .notFound {
            return nil
        }
    }

    /// Of a new one, which the C library gives no descriptor of. It is removed if that fails.
    private borrowing func setPermissions(_ permissions: FilePermissions) throws(IPCError) {
        // What the umask may take away, it takes from others; an owner without rights is nobody's wish.
        guard permissions != .ownerReadWrite else { return }
        do throws(IPCError) {
            try IPC.setPermissions(permissions, ofFileAt: FilePath(SystemPaths.semaphore(name)), name) {
                $0.isRegularFile
            }
        } catch {
            unsafe sem_unlink(name)
            throw error
        }
    }

    deinit { unsafe sem_close(raw) }

    /// Removes a name. Who has it open goes on. The C function is `sem_unlink`.
    public static func unlink(_ name: String) throws(IPCError) {
        let name = try ResourceName(name, maximumBytes: 251).description
        _ = try retryingInterrupts { unsafe sem_unlink(name) }.orThrow("sem_unlink", name)
    }

    /// Takes one, waiting while there is none.
    ///
    /// - Throws: ``IPCError/Code/timedOut``.
    public borrowing func wait(until deadline: Deadline = .never) throws(IPCError) {
        if let errno = unsafe SemaphoreCalls.wait(raw, until: deadline) {
            throw SemaphoreCalls.waitError(errno, name)
        }
    }

    /// Takes one if there is one.
    public borrowing func tryWait() throws(IPCError) -> Bool { try unsafe SemaphoreCalls.tryWait(raw, name) }

    /// Gives one back, and wakes a waiter.
    public borrowing func post() throws(IPCError) {
        if let errno = unsafe SemaphoreCalls.post(raw) { throw SemaphoreCalls.postError(errno, name) }
    }

    /// How many there are now. It may have changed when the caller looks at it.
    public var value: Int { unsafe SemaphoreCalls.value(raw) }

    /// Reads how many there are now of a semaphore that need not be trusted: its file is read, and not mapped.
    ///
    /// - Throws: ``IPCError/Code/notFound``; ``IPCError/Code/corrupted`` if it is no semaphore. Never waits.
    public static func readValue(_ name: String) throws(IPCError) -> Int {
        let name = try ResourceName(name, maximumBytes: 251).description
        let path = SystemPaths.semaphore(name)
        // Not waiting: somebody may have put a FIFO there.
        let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC
        let file = OwnedDescriptor(
            adopting: try retryingInterrupts { unsafe ipc_open_path(path, flags, 0) }.orThrow("sem_open", name))
        let raw = file.rawValue
        var words: [UInt32] = [0, 0, 0, 0]
        let size = MemoryLayout<sem_t>.size
        guard try FileStatus(of: raw, name).isRegularFile, try FileStatus(of: raw, name).size >= size,
            try retryingInterrupts({ unsafe pread(raw, &words, 16, 0) }).orThrow("read", name) == 16
        else {
            throw IPCError(.corrupted, "sem_open", name, advice: "\(path) is not a semaphore; remove it")
        }
        // The C library's `struct new_sem`: the value is the lower half of the first word of 64 bits.
        return Int(UInt32(littleEndian: words[0]) & UInt32(CInt.max))
    }

    /// Closes it; name and value remain. There is no error to report.
    public consuming func close() {}
}
