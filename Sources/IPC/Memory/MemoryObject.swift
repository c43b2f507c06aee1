import CIPCShims
import Glibc
import SystemPackage

/// What shared memory, anonymous memory and mapped files have in common: a descriptor with a size that can be mapped.
struct MemoryObject: ~Copyable, Sendable {
    let owned: OwnedDescriptor
    let name: String

    var size: Int { get throws(IPCError) { try FileStatus(of: owned.rawValue, name).size } }

    /// Grows to `bytes` and reserves the space now: without that, a full file system is noticed by SIGBUS at the first
    /// touch. The C function is `posix_fallocate`, which never shrinks.
    borrowing func reserve(_ bytes: Int, fileSystem: String) throws(IPCError) {
        guard bytes > 0 else {
            throw IPCError(
                .invalidArgument, "size", name, advice: "the size is \(bytes); it must be at least 1")
        }
        // Memory without a file system's limit is taken until the kernel kills processes for it: they may be anybody's.
        if ipc_is_in_memory(owned.rawValue) != 0, let available = SystemLimits.availableMemory, bytes > available,
            bytes > (try size)
        {
            throw IPCError(
                .noSpace, "reserve", name,
                advice:
                    "\(bytes) bytes were requested, but \(available) are free in memory, which \(fileSystem) uses; request less"
            )
        }
        // What a disk does not have would be taken as far as it goes, and given back: meanwhile others have none.
        if let free = SystemLimits.freeBytes(of: owned.rawValue),
            try bytes - FileStatus(of: owned.rawValue, name).allocated > free
        {
            throw noSpace(bytes, .noSpace, fileSystem)
        }
        var result: CInt
        repeat { result = posix_fallocate(owned.rawValue, 0, off_t(bytes)) } while result == EINTR
        guard result == 0 else {
            let errno = Errno(rawValue: result)
            guard errno == .noSpace || errno == .fileTooLarge else { throw IPCError("posix_fallocate", name, errno) }
            throw noSpace(bytes, errno, fileSystem)
        }
    }

    private borrowing func noSpace(_ bytes: Int, _ errno: Errno, _ fileSystem: String) -> IPCError {
        let free = SystemLimits.freeBytes(of: owned.rawValue) ?? 0
        return IPCError(
            "posix_fallocate", name, errno,
            advice: "\(bytes) bytes were requested, but \(free) are free in \(fileSystem); free some, or enlarge it")
    }

    /// Waits until it has a size, while its creator has not given it one yet.
    ///
    /// - Returns: False if it was removed meanwhile.
    /// - Throws: ``IPCError/Code/notReady`` at the deadline.
    borrowing func waitForSize(_ operation: String, until deadline: Deadline) throws(IPCError) -> Bool {
        guard try size == 0 else { return true }
        let watch = try sizeWatch()
        while true {
            if let hasSize = try hasSizeOrIsGone() { return hasSize }
            guard try watch.wait(until: deadline) else { throw hasNoSize(operation) }
        }
    }

    /// The same, suspended meanwhile.
    nonisolated(nonsending) borrowing func waitForSize(
        _ operation: String, until deadline: Deadline
    ) async throws(IPCError) -> Bool {
        guard try size == 0 else { return true }
        let watch = try sizeWatch()
        while true {
            if let hasSize = try hasSizeOrIsGone() { return hasSize }
            guard try await watch.wait(until: deadline) else { throw hasNoSize(operation) }
        }
    }

    /// True if it has a size, false if it was removed, nil if neither.
    private borrowing func hasSizeOrIsGone() throws(IPCError) -> Bool? {
        let status = try FileStatus(of: owned.rawValue, name)
        if status.size > 0 { return true }
        return status.linkCount > 0 ? nil : false
    }

    private borrowing func sizeWatch() throws(IPCError) -> FileWatch {
        try FileWatch(SystemPaths.descriptor(owned.rawValue), for: .changes)
    }

    private borrowing func hasNoSize(_ operation: String) -> IPCError {
        IPCError(
            .notReady, operation, name,
            advice: "it was created but never given a size; its creator may have died: unlink it, and create it again")
    }

    /// Checks that one that exists is what the caller asked for. If its creator died before it gave it a size, this does.
    borrowing func join(
        _ operation: String, _ byteCount: Int, _ permissions: FilePermissions?, fileSystem: String
    ) throws(IPCError) {
        try checkPermissions(permissions, of: try FileStatus(of: owned.rawValue, name), operation, name)
        do throws(IPCError) {
            _ = try waitForSize(operation, until: .after(.seconds(1)))
        } catch  where error.code == .notReady {
            try reserve(byteCount, fileSystem: fileSystem)
        }
        let size = try self.size
        guard size == byteCount else {
            throw .incompatible(
                operation, name, "size", existing: "\(size) bytes", asked: "\(byteCount) bytes")
        }
    }

    borrowing func truncate(to bytes: Int) throws(IPCError) {
        guard bytes >= 0 else {
            throw IPCError(
                .invalidArgument, "ftruncate", name, advice: "the size is \(bytes); it must be at least 0"
            )
        }
        let raw = owned.rawValue
        _ = try retryingInterrupts { ftruncate(raw, off_t(bytes)) }.orThrow("ftruncate", name)
    }

    /// Maps a part after a check that the object has it: touching beyond the end would be SIGBUS.
    borrowing func map(
        _ range: Range<Int>?, access: MemoryAccess, isShared: Bool = true, prefaulting: Bool
    ) throws(IPCError) -> MemoryMapping {
        let size = try self.size
        let range = range ?? 0..<size
        guard range.lowerBound >= 0, range.upperBound <= size else {
            throw IPCError(
                .invalidArgument, "mmap", name,
                advice: "bytes \(range) were requested, but it has \(size); grow it first, or map less")
        }
        return try MemoryMapping(
            owned.rawValue, name, offset: range.lowerBound, byteCount: range.count, access: access, isShared: isShared,
            prefaulting: prefaulting)
    }
}
