import CIPCShims
import Glibc
import SystemPackage

/// A file mapped twice in a row, so that what runs over its end goes on at its beginning: a ring without a seam.
///
/// The file must not shrink while it is mapped: touching what is gone is SIGBUS.
@safe
package final class MirroredMapping: @unchecked Sendable {
    /// The first of `2 * byteCount` bytes.
    package let base: UnsafeMutableRawPointer
    /// The size of the file, and so of each half: a whole number of pages.
    package let byteCount: Int

    /// - Parameter prefaulting: Map its pages now, so that the first use of each is no page fault.
    package init(
        _ descriptor: CInt, _ name: String, byteCount: Int, access: MemoryAccess, prefaulting: Bool = false
    ) throws(IPCError) {
        guard byteCount > 0, byteCount % Page.size == 0, byteCount <= Int.max / 2 else {
            throw IPCError(
                .invalidArgument, "mmap", name,
                advice: "the size of a ring must be a multiple of the page size, \(Page.size) bytes")
        }
        let protection = access == .readOnly ? PROT_READ : PROT_READ | PROT_WRITE
        let address = unsafe ipc_map_twice(descriptor, byteCount, protection, prefaulting ? 1 : 0)
        guard let address = unsafe address, unsafe address != ipc_map_failed() else {
            throw IPCError("mmap", name, Errno(rawValue: errno))
        }
        unsafe self.base = address
        self.byteCount = byteCount
    }

    deinit { unsafe munmap(base, 2 * byteCount) }
}
