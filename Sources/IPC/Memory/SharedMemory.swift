import CIPCShims
import Glibc
public import SystemPackage

/// A shared memory object with a name (`shm_open`): the same pages in every process that maps it.
///
/// ```swift
/// let memory = try SharedMemory.create("/frames", byteCount: 1 << 20)
/// let mapping = try memory.map()
/// mapping.store(UInt32(42), at: 0)
/// ```
///
/// The object lives until ``unlink(_:)`` *and* the last mapping has gone, whatever becomes of its creator. It has no
/// locks of its own: see ``SharedMutex`` and ``SharedSemaphore``. A peer that may be hostile can shrink a named object under
/// a mapping and so kill its users by SIGBUS: share ``AnonymousMemory`` with seals with it instead.
public struct SharedMemory: ~Copyable, Sendable {
    private let object: MemoryObject
    /// What it was opened for.
    public let access: MemoryAccess

    /// Creates an object, which must not exist, reserves its memory, and zeroes it.
    ///
    /// - Parameters:
    ///   - name: `/frames`: one slash, then up to 255 bytes.
    ///   - byteCount: Its size. All of it is reserved, so that a full `/dev/shm` is an error now, not SIGBUS later.
    ///   - permissions: Who may open it, whatever the process's umask is.
    /// - Throws: ``IPCError/Code/alreadyExists``, ``IPCError/Code/noSpace``, ``IPCError/Code/invalidName``.
    public static func create(
        _ name: String, byteCount: Int, permissions: FilePermissions = .ownerReadWrite
    ) throws(IPCError) -> SharedMemory {
        let name = try ResourceName(name).description
        let raw = try shmOpen(name, O_RDWR | O_CREAT | O_EXCL, permissions).orThrow("shm_open", name)
        return try finishing(MemoryObject(owned: OwnedDescriptor(adopting: raw), name: name), byteCount, permissions)
    }

    /// Opens an object, which must exist.
    ///
    /// While its creator is giving it a size, this waits for up to a second.
    ///
    /// - Parameters:
    ///   - name: Such as `/frames`.
    ///   - access: What it is opened for.
    /// - Throws: ``IPCError/Code/notFound``; ``IPCError/Code/permissionDenied``; ``IPCError/Code/notReady`` if it still has
    ///   size 0 after that second: its creator may have died.
    public static func open(_ name: String, access: MemoryAccess = .readWrite) throws(IPCError) -> SharedMemory {
        let name = try ResourceName(name).description
        guard let object = try existing(name, access), try object.waitForSize("shm_open", until: .after(.seconds(1)))
        else { throw IPCError("shm_open", name, .noSuchFileOrDirectory) }
        return SharedMemory(object: object, access: access)
    }

    /// Opens an object, waiting until it exists and its creator has given it a size.
    ///
    /// - Throws: ``IPCError/Code/timedOut`` if nobody created it; ``IPCError/Code/notReady`` if it has size 0 at the deadline.
    public static func open(
        _ name: String, access: MemoryAccess = .readWrite, until deadline: Deadline
    ) throws(IPCError) -> SharedMemory {
        let name = try ResourceName(name).description
        while true {
            let object = try waitingForCreation(in: SystemPaths.sharedMemory, until: deadline, "shm_open", name) {
                () throws(IPCError) in try existing(name, access)
            }
            // False if it was removed meanwhile: then another one is waited for.
            if try object.waitForSize("shm_open", until: deadline) {
                return SharedMemory(object: object, access: access)
            }
        }
    }

    /// Opens an object, suspended until it exists and its creator has given it a size.
    ///
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``.
    public nonisolated(nonsending) static func open(
        _ name: String, access: MemoryAccess = .readWrite, until deadline: Deadline
    ) async throws(IPCError) -> SharedMemory {
        let name = try ResourceName(name).description
        while true {
            let object = try await waitingForCreation(in: SystemPaths.sharedMemory, until: deadline, "shm_open", name) {
                () throws(IPCError) in try existing(name, access)
            }
            if try await object.waitForSize("shm_open", until: deadline) {
                return SharedMemory(object: object, access: access)
            }
        }
    }

    /// Opens an object for reading and writing, and creates it if there is none.
    ///
    /// - Parameters:
    ///   - name: Such as `/frames`: one slash, then up to 255 bytes.
    ///   - byteCount: Its size, which one that exists has to have.
    ///   - permissions: Who may open it; nil for 0600 if it is created, and for whatever it has if it exists.
    /// - Throws: ``IPCError/Code/incompatibleOptions`` if it exists with another size, or with other permissions than were
    ///   asked for; ``IPCError/Code/noSpace``; ``IPCError/Code/permissionDenied``.
    public static func openOrCreate(
        _ name: String, byteCount: Int, permissions: FilePermissions? = nil
    ) throws(IPCError) -> SharedMemory {
        let name = try ResourceName(name).description
        let (raw, isNew) = try openingOrCreating { flags in
            shmOpen(name, O_RDWR | flags, permissions ?? .ownerReadWrite)
        }.orThrow("shm_open", name)
        let object = MemoryObject(owned: OwnedDescriptor(adopting: raw), name: name)
        if isNew { return try finishing(object, byteCount, permissions ?? .ownerReadWrite) }
        try object.join("shm_open", byteCount, permissions, fileSystem: SystemPaths.sharedMemory.string)
        return SharedMemory(object: object, access: .readWrite)
    }

    private static func shmOpen(_ name: String, _ flags: CInt, _ permissions: FilePermissions) -> Result<CInt, Errno> {
        retryingInterrupts { unsafe ipc_shm_open(name, flags, permissions.rawValue) }
    }

    /// Gives a new object its permissions and its size, or removes it.
    private static func finishing(
        _ object: consuming MemoryObject, _ byteCount: Int, _ permissions: FilePermissions
    ) throws(IPCError) -> SharedMemory {
        do throws(IPCError) {
            try setPermissions(permissions, of: object.owned.rawValue, object.name)
            // A process that opens it meanwhile sees size 0 until all is reserved, and waits.
            try object.reserve(byteCount, fileSystem: SystemPaths.sharedMemory.string)
        } catch {
            unsafe shm_unlink(object.name)
            throw error
        }
        return SharedMemory(object: object, access: .readWrite)
    }

    /// Nil if there is none.
    private static func existing(_ name: String, _ access: MemoryAccess) throws(IPCError) -> MemoryObject? {
        switch shmOpen(name, access == .readOnly ? O_RDONLY : O_RDWR, []) {
        case .success(let raw): return MemoryObject(owned: OwnedDescriptor(adopting: raw), name: name)
        case .failure(.noSuchFileOrDirectory): return nil
        case .failure(let errno): throw IPCError("shm_open", name, errno)
        }
    }

    /// Takes over a descriptor of shared memory, such as one that was inherited or received.
    ///
    /// - Parameters:
    ///   - descriptor: The memory's.
    ///   - access: What it is open for.
    public init(adopting descriptor: consuming OwnedDescriptor, access: MemoryAccess = .readWrite) {
        let name = "shared memory \(descriptor.rawValue)"
        self.object = MemoryObject(owned: descriptor, name: name)
        self.access = access
    }

    private init(object: consuming MemoryObject, access: MemoryAccess) {
        self.object = object
        self.access = access
    }

    /// Removes a name. Mappings of it go on. The C function is `shm_unlink`.
    public static func unlink(_ name: String) throws(IPCError) {
        let name = try ResourceName(name).description
        _ = try retryingInterrupts { unsafe shm_unlink(name) }.orThrow("shm_unlink", name)
    }

    /// The name, with its slash.
    public var name: String { object.name }

    /// The descriptor, lent.
    public var descriptor: FileDescriptor { object.owned.descriptor }

    /// Its size in bytes now.
    public var byteCount: Int { get throws(IPCError) { try object.size } }

    /// Who may open it.
    public var permissions: FilePermissions {
        get throws(IPCError) { try FileStatus(of: object.owned.rawValue, object.name).mode }
    }

    /// Makes it larger; a smaller size is ignored, since shrinking would be SIGBUS for its users. Existing mappings do
    /// not grow: map again.
    ///
    /// - Throws: ``IPCError/Code/noSpace``; ``IPCError/Code/permissionDenied`` if it was opened for reading.
    public borrowing func grow(to byteCount: Int) throws(IPCError) {
        guard access == .readWrite else {
            throw IPCError(.permissionDenied, "grow", name, advice: "it was opened for reading; open it for writing")
        }
        try object.reserve(byteCount, fileSystem: SystemPaths.sharedMemory.string)
    }

    /// Maps it, or a part of it.
    ///
    /// - Parameters:
    ///   - range: Which bytes; nil for all.
    ///   - access: What for; nil for what it was opened for.
    ///   - prefaulting: Touch every page now (`MAP_POPULATE`), so that no page fault delays a later access.
    /// - Throws: ``IPCError/Code/invalidArgument`` if it is smaller than that.
    public borrowing func map(
        _ range: Range<Int>? = nil, access: MemoryAccess? = nil, prefaulting: Bool = false
    ) throws(IPCError) -> MemoryMapping {
        try object.map(range, access: access ?? self.access, prefaulting: prefaulting)
    }

    /// Closes the descriptor; mappings and the name remain.
    public consuming func close() throws(IPCError) { try object.owned.close() }

    /// Gives the descriptor away: the caller closes it from now on.
    public consuming func release() -> FileDescriptor { object.owned.release() }
}
