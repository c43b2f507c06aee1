import CIPCShims
import Glibc
public import SystemPackage

/// A file that is read and written as memory, shared with every process that maps it.
///
/// ```swift
/// let file = try MappedFile.create("/var/lib/app/index", byteCount: 1 << 30)
/// let window = try file.map(4096..<8192)
/// window.store(UInt64(7), at: 0)
/// try window.sync()
/// ```
///
/// Writes reach other processes at once, and the disk at some time: nothing is durable before ``MemoryMapping/sync(_:_:)``.
/// If another process cuts the file short, touching what is gone is SIGBUS: map what only trusted users can write to, and read other
/// files by `pread`. (`Documentation/trust.md`) A symbolic link that another user may have put in the file's place is not followed.
public struct MappedFile: ~Copyable, Sendable {
    private let object: MemoryObject
    /// What it was opened for.
    public let access: MemoryAccess

    /// Creates a file, which must not exist, its space reserved and zeroed.
    ///
    /// - Parameters:
    ///   - path: Where.
    ///   - byteCount: Its size. All of it is reserved, so that a full disk is an error now, not SIGBUS later.
    ///   - permissions: Who may open it, whatever the process's umask is.
    /// - Throws: ``IPCError/Code/alreadyExists``; ``IPCError/Code/notFound`` without its folder; ``IPCError/Code/noSpace``.
    public static func create(
        _ path: FilePath, byteCount: Int, permissions: FilePermissions = .ownerReadWrite
    ) throws(IPCError) -> MappedFile {
        try path.check("open")
        let raw = try openFile(path, O_RDWR | O_CREAT | O_EXCL, mode: permissions.rawValue)
            .orThrow("open", path.string, advice: refusedLinkAdvice)
        return try finishing(raw, path, byteCount, permissions)
    }

    /// Opens a file, which must exist.
    ///
    /// - Parameters:
    ///   - path: Where.
    ///   - access: What it is opened for.
    /// - Throws: ``IPCError/Code/notFound``; ``IPCError/Code/wrongType`` if it is not a regular file;
    ///   ``IPCError/Code/permissionDenied``: open what you may not write to with ``MemoryAccess/readOnly``.
    public static func open(_ path: FilePath, access: MemoryAccess = .readWrite) throws(IPCError) -> MappedFile {
        try path.check("open")
        guard let object = try existing(path, access) else {
            throw IPCError("open", path.string, .noSuchFileOrDirectory)
        }
        return MappedFile(object: object, access: access)
    }

    /// Opens a file, waiting until it exists and is not empty, as its creator makes it.
    ///
    /// - Throws: ``IPCError/Code/timedOut`` if nobody created it; ``IPCError/Code/notReady`` if it is empty at the deadline;
    ///   ``IPCError/Code/wrongType``, ``IPCError/Code/permissionDenied``.
    public static func open(
        _ path: FilePath, access: MemoryAccess = .readWrite, until deadline: Deadline
    ) throws(IPCError) -> MappedFile {
        try path.check("open")
        while true {
            let object = try waitingForCreation(
                in: path.removingLastComponent(), until: deadline, "open", path.string
            ) { () throws(IPCError) in try existing(path, access) }
            // False if it was removed meanwhile: then another one is waited for.
            if try object.waitForSize("open", until: deadline) { return MappedFile(object: object, access: access) }
        }
    }

    /// Opens a file, suspended until it exists and is not empty, as its creator makes it.
    ///
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``.
    public nonisolated(nonsending) static func open(
        _ path: FilePath, access: MemoryAccess = .readWrite, until deadline: Deadline
    ) async throws(IPCError) -> MappedFile {
        try path.check("open")
        while true {
            let object = try await waitingForCreation(
                in: path.removingLastComponent(), until: deadline, "open", path.string
            ) { () throws(IPCError) in try existing(path, access) }
            if try await object.waitForSize("open", until: deadline) {
                return MappedFile(object: object, access: access)
            }
        }
    }

    /// Opens a file for reading and writing, and creates it if there is none.
    ///
    /// - Parameters:
    ///   - path: Where.
    ///   - byteCount: Its size, which one that exists has to have. To open one that has grown, use ``open(_:access:)``.
    ///   - permissions: Who may open it; nil for 0600 if it is created, and for whatever it has if it exists.
    /// - Throws: ``IPCError/Code/incompatibleOptions`` if it exists with another size, or with other permissions than were
    ///   asked for; ``IPCError/Code/wrongType``; ``IPCError/Code/noSpace``; ``IPCError/Code/permissionDenied``.
    public static func openOrCreate(
        _ path: FilePath, byteCount: Int, permissions: FilePermissions? = nil
    ) throws(IPCError) -> MappedFile {
        try path.check("open")
        let mode = permissions ?? .ownerReadWrite
        let (raw, isNew) = try openingOrCreating { flags in
            openFile(path, O_RDWR | O_NONBLOCK | flags, mode: mode.rawValue)
        }.orThrow("open", path.string, advice: refusedLinkAdvice)
        if isNew { return try finishing(raw, path, byteCount, mode) }
        let object = try regularFile(raw, path)
        try object.join("open", byteCount, permissions, fileSystem: path.string)
        return MappedFile(object: object, access: .readWrite)
    }

    /// Gives a new file its permissions and its size, or removes it.
    private static func finishing(
        _ raw: CInt, _ path: FilePath, _ byteCount: Int, _ permissions: FilePermissions
    ) throws(IPCError) -> MappedFile {
        do throws(IPCError) {
            let object = try regularFile(raw, path)
            try setPermissions(permissions, of: raw, path.string)
            try object.reserve(byteCount, fileSystem: path.string)
            return MappedFile(object: object, access: .readWrite)
        } catch {
            unsafe path.withPlatformString { _ = unsafe Glibc.unlink($0) }
            throw error
        }
    }

    /// Nil if there is none.
    private static func existing(_ path: FilePath, _ access: MemoryAccess) throws(IPCError) -> MemoryObject? {
        let flags = (access == .readOnly ? O_RDONLY : O_RDWR) | O_NONBLOCK
        let result = openFile(path, flags)
        if case .failure(.noSuchFileOrDirectory) = result { return nil }
        return try regularFile(try result.orThrow("open", path.string, advice: refusedLinkAdvice), path)
    }

    /// Takes over a file's descriptor, such as one that was inherited or received.
    ///
    /// - Parameters:
    ///   - descriptor: The file's.
    ///   - access: What it is open for.
    /// - Throws: ``IPCError/Code/wrongType`` if it is not a regular file.
    public init(adopting descriptor: consuming OwnedDescriptor, access: MemoryAccess) throws(IPCError) {
        let raw = descriptor.release().rawValue
        self.init(object: try Self.regularFile(raw, SystemPaths.descriptor(raw)), access: access)
    }

    /// The same of a file whose path is known, for errors.
    package init(
        adopting descriptor: consuming OwnedDescriptor, of path: FilePath, access: MemoryAccess
    ) throws(IPCError) {
        self.init(object: try Self.regularFile(descriptor.release().rawValue, path), access: access)
    }

    private init(object: consuming MemoryObject, access: MemoryAccess) {
        self.object = object
        self.access = access
    }

    private static func regularFile(_ raw: CInt, _ path: FilePath) throws(IPCError) -> MemoryObject {
        let object = MemoryObject(owned: OwnedDescriptor(adopting: raw), name: path.string)
        guard try FileStatus(of: raw, path.string).isRegularFile else {
            throw IPCError(.wrongType, "open", path.string, advice: "only regular files can be mapped")
        }
        return object
    }

    /// The descriptor, lent.
    public var descriptor: FileDescriptor { object.owned.descriptor }

    /// Its size in bytes now.
    public var byteCount: Int { get throws(IPCError) { try object.size } }

    /// Makes the file larger, its new space reserved and zero, or smaller. Mappings keep their range; touching what was
    /// cut off is SIGBUS, in every process.
    public borrowing func resize(to byteCount: Int) throws(IPCError) {
        if byteCount > (try object.size) {
            try object.reserve(byteCount, fileSystem: object.name)
        } else {
            try object.truncate(to: byteCount)
        }
    }

    /// How changes to a mapping spread.
    public enum Sharing: Hashable, Sendable {
        /// To all who map the file, and to the file.
        case shared
        /// To nobody: a changed page becomes this process's own copy.
        case privateCopy
    }

    /// Maps the file, or a window of it that need not lie on pages.
    ///
    /// - Parameters:
    ///   - range: Which bytes; nil for all.
    ///   - sharing: Whether changes are seen by others. A private copy can be written even of a read-only file.
    ///   - prefaulting: Read it in now.
    /// - Throws: ``IPCError/Code/invalidArgument`` if the file is smaller, or empty.
    public borrowing func map(
        _ range: Range<Int>? = nil, _ sharing: Sharing = .shared, prefaulting: Bool = false
    ) throws(IPCError) -> MemoryMapping {
        try object.map(
            range, access: sharing == .privateCopy ? .readWrite : access, isShared: sharing == .shared,
            prefaulting: prefaulting)
    }

    /// Closes the descriptor; mappings remain.
    public consuming func close() throws(IPCError) { try object.owned.close() }

    /// Gives the descriptor away: the caller closes it from now on.
    public consuming func release() -> FileDescriptor { object.owned.release() }
}
