import CIPCShims
import Glibc
public import SystemPackage

/// A file that is read and written as memory, shared with every process that maps it.
///
/// ```swift
/// let file = try MappedFile.create(at: "/var/lib/app/index", byteCount: 1 << 30)
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

    /// Creates a file of a size, its space reserved and zeroed.
    ///
    /// - Parameters:
    ///   - permissions: Who may open it; the process's umask takes bits away.
    ///   - policy: Whether it may exist; then it is opened, and grown if it is smaller.
    /// - Throws: ``IPCError/Code/alreadyExists``; ``IPCError/Code/noSpace``.
    public static func create(
        at path: FilePath, byteCount: Int, permissions: FilePermissions = .ownerReadWrite,
        _ policy: CreationPolicy = .exclusive
    ) throws(IPCError) -> MappedFile {
        try path.check("open")
        let (raw, isNew) = try policy.opening { flags in
            openFile(path, O_RDWR | flags, mode: permissions.rawValue)
        }.orThrow("open", path.string, advice: refusedLinkAdvice)
        do throws(IPCError) {
            let object = try regularFile(raw, path)
            try object.reserve(byteCount, fileSystem: path.string)
            return MappedFile(object: object, access: .readWrite)
        } catch {
            if isNew { unsafe path.withPlatformString { _ = unsafe Glibc.unlink($0) } }
            throw error
        }
    }

    /// Opens a file that exists.
    ///
    /// - Throws: ``IPCError/Code/notFound``; ``IPCError/Code/wrongType`` if it is not a regular file.
    public static func open(_ path: FilePath, access: MemoryAccess = .readOnly) throws(IPCError) -> MappedFile {
        try path.check("open")
        let flags = (access == .readOnly ? O_RDONLY : O_RDWR) | O_NONBLOCK
        let raw = try openFile(path, flags).orThrow("open", path.string, advice: refusedLinkAdvice)
        return MappedFile(object: try regularFile(raw, path), access: access)
    }

    /// Takes over a file's descriptor, such as one that was inherited or received.
    ///
    /// - Parameter access: What it is open for.
    /// - Throws: ``IPCError/Code/wrongType`` if it is not a regular file.
    public init(adopting descriptor: consuming OwnedDescriptor, access: MemoryAccess) throws(IPCError) {
        let raw = descriptor.release().rawValue
        self.init(object: try Self.regularFile(raw, FilePath("/proc/self/fd/\(raw)")), access: access)
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
