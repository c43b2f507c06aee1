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
                .invalidArgument, "size", name, advice: "\(bytes) bytes are asked for; choose a size of at least 1")
        }
        // Memory without a file system's limit is taken until the kernel kills processes for it: they may be anybody's.
        if ipc_is_in_memory(owned.rawValue) != 0, let available = SystemLimits.availableMemory, bytes > available,
            bytes > (try size)
        {
            throw IPCError(
                .noSpace, "reserve", name,
                advice:
                    "\(bytes) bytes are asked for, \(available) are free in memory, which \(fileSystem) is part of; ask for less"
            )
        }
        var result: CInt
        repeat { result = posix_fallocate(owned.rawValue, 0, off_t(bytes)) } while result == EINTR
        guard result == 0 else {
            let errno = Errno(rawValue: result)
            var advice: String?
            if errno == .noSpace || errno == .fileTooLarge {
                let free = SystemLimits.freeBytes(at: fileSystem)
                advice = "\(bytes) bytes are asked for, \(free) are free in \(fileSystem); free some, or enlarge it"
            }
            throw IPCError("posix_fallocate", name, errno, advice: advice)
        }
    }

    borrowing func truncate(to bytes: Int) throws(IPCError) {
        guard bytes >= 0 else {
            throw IPCError(
                .invalidArgument, "ftruncate", name, advice: "\(bytes) bytes are asked for; choose a size of at least 0"
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
                advice: "bytes \(range) are asked for, but it has \(size); grow it first, or map less")
        }
        return try MemoryMapping(
            owned.rawValue, name, offset: range.lowerBound, byteCount: range.count, access: access, isShared: isShared,
            prefaulting: prefaulting)
    }
}
