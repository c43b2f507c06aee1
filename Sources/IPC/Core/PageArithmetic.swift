import Glibc

/// Offsets rounded to memory pages, as `mmap` wants them.
package enum Page {
    /// The size of a memory page in bytes: 4096 on most machines, 16384 or 65536 on some.
    package static let size = sysconf(CInt(_SC_PAGESIZE))

    package static func roundedDown(_ offset: Int) -> Int { offset & ~(size - 1) }
    package static func roundedUp(_ offset: Int) -> Int { roundedDown(offset + size - 1) }
}
