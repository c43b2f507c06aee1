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

    /// Creates an object, reserves its memory, and zeroes it.
    ///
    /// - Parameters:
    ///   - name: `/frames`: one slash, then up to 255 bytes.
    ///   - byteCount: Its size. All of it is reserved, so that a full `/dev/shm` is an error now, not SIGBUS later.
    ///   - permissions: Who may open it; the process's umask takes bits away.
    ///   - policy: Whether it may exist already; then it is opened, and grown to `byteCount` if it is smaller.
    /// - Throws: ``IPCError/Code/alreadyExists``, ``IPCError/Code/noSpace``, ``IPCError/Code/invalidName``.
    public static func create(
        _ name: String, byteCount: Int, permissions: FilePermissions = .ownerReadWrite,
        _ policy: CreationPolicy = .exclusive
    ) throws(IPCError) -> SharedMemory {
        let name = try ResourceName(name).description
        let (raw, isNew) = try policy.opening { flags in
            retryingInterrupts { unsafe ipc_shm_open(name, O_RDWR | flags, permissions.rawValue) }
        }.orThrow("shm_open", name)
        let object = MemoryObject(owned: OwnedDescriptor(adopting: raw), name: name)
        do throws(IPCError) {
            // Whoever opens it meanwhile sees size 0 until all is reserved, and waits.
            try object.reserve(byteCount, fileSystem: "/dev/shm")
        } catch {
            if isNew { unsafe shm_unlink(name) }
            throw error
        }
        return SharedMemory(object: object, access: .readWrite)
    }

    /// Opens an object that exists, waiting while its creator has not sized it yet.
    ///
    /// - Parameter deadline: How long to wait for the size. The wait is short unless the creator died in the middle.
    /// - Throws: ``IPCError/Code/notFound``; ``IPCError/Code/notReady`` if it has size 0 still at the deadline.
    public static func open(
        _ name: String, access: MemoryAccess = .readWrite, until deadline: Deadline = .after(.seconds(1))
    ) throws(IPCError) -> SharedMemory {
        let name = try ResourceName(name).description
        let flags = access == .readOnly ? O_RDONLY : O_RDWR
        let raw = try retryingInterrupts { unsafe ipc_shm_open(name, flags, 0) }.orThrow("shm_open", name)
        let object = MemoryObject(owned: OwnedDescriptor(adopting: raw), name: name)
        if try object.size == 0 {
            let watch = try FileWatch(FilePath("/proc/self/fd/\(raw)"), for: IN_MODIFY | IN_ATTRIB)
            while try object.size == 0 {
                guard try watch.wait(until: deadline) else {
                    throw IPCError(
                        .notReady, "shm_open", name,
                        advice:
                            "it was created but never given a size; its creator may have died: unlink it and start again"
                    )
                }
            }
        }
        return SharedMemory(object: object, access: access)
    }

    /// Takes over a descriptor of shared memory, such as one that was inherited or received.
    ///
    /// - Parameter access: What it is open for.
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
        try object.reserve(byteCount, fileSystem: "/dev/shm")
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
