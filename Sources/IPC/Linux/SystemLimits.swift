import CIPCShims
import Glibc
import SystemPackage

/// The limits of this system that the mechanisms run into, read afresh at each use, for errors that name the figure.
package enum SystemLimits {
    /// The number in a file of `/proc/sys`, or nil if this system does not have it.
    package static func setting(_ path: String) -> Int? {
        smallFile(path, limit: 64).flatMap { text in Int(text.prefix { "0" <= $0 && $0 <= "9" }) }
    }

    /// What one read of a file of `/proc` brings; nil if there is none, or none any more.
    package static func smallFile(_ path: String, limit: Int = 8192) -> String? {
        guard let raw = try? retryingInterrupts({ unsafe ipc_open_path(path, O_RDONLY | O_CLOEXEC, 0) }).get() else {
            return nil
        }
        let file = OwnedDescriptor(adopting: raw)
        var bytes = [UInt8](repeating: 0, count: limit)
        guard
            let count = try? unsafe bytes.withUnsafeMutableBytes({ buffer in
                try unsafe file.descriptor.read(into: buffer)
            })
        else {
            return nil
        }
        return String(decoding: bytes[..<count], as: UTF8.self)
    }

    /// The soft limit of a resource, such as `RLIMIT_NOFILE`.
    package static func resource(_ resource: CInt) -> UInt64 {
        var limit = rlimit()
        return unsafe ipc_getrlimit(resource, &limit) == 0 ? UInt64(limit.rlim_cur) : 0
    }

    package static var openFiles: UInt64 { resource(IPC_RLIMIT_NOFILE) }

    /// Bytes of memory, with swap, that can be had without others being pushed out; nil if the system does not tell.
    package static var availableMemory: Int? {
        guard let text = smallFile("/proc/meminfo") else { return nil }
        var sum: Int?
        for line in text.split(separator: "\n") where line.hasPrefix("MemAvailable:") || line.hasPrefix("SwapFree:") {
            let words = line.split(separator: " ")
            guard words.count > 1, let kibibytes = Int(words[1]), kibibytes < 1 << 50 else { continue }
            sum = (sum ?? 0) + kibibytes * 1024
        }
        return sum
    }

    /// The largest pipe of a user, in bytes.
    package static var pipeCapacity: Int { setting("/proc/sys/fs/pipe-max-size") ?? 1_048_576 }

    /// Free bytes in the file system that holds `path`.
    package static func freeBytes(at path: String) -> Int {
        var information = statvfs()
        guard unsafe statvfs(path, &information) == 0 else { return 0 }
        return bytes(information.f_bavail, information.f_frsize)
    }

    /// Free bytes in the file system of an open file, without those that are kept for root; nil if it tells of none.
    package static func freeBytes(of descriptor: CInt) -> Int? {
        var information = statvfs()
        guard unsafe fstatvfs(descriptor, &information) == 0, information.f_bavail > 0 else { return nil }
        return bytes(information.f_bavail, information.f_frsize)
    }

    /// Whoever serves a file system may say anything.
    private static func bytes(_ blocks: fsblkcnt_t, _ size: UInt) -> Int {
        let (bytes, overflow) = UInt64(blocks).multipliedReportingOverflow(by: UInt64(size))
        return overflow ? .max : Int(clamping: bytes)
    }

    /// Whether this process could open one more descriptor: tells two meanings of `EMFILE` apart.
    package static var freeDescriptorExists: Bool {
        guard let raw = try? systemCall({ ipc_eventfd(0, O_CLOEXEC) }).get() else { return false }
        close(raw)
        return true
    }
}
