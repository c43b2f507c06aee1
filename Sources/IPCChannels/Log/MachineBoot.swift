import CIPCShims
import Glibc
import IPC
import SystemPackage

/// Identifies the current boot of the machine, by the kernel's `/proc/sys/kernel/random/boot_id`.
enum MachineBoot {
    /// Nil where the kernel does not provide it.
    static let current: (UInt64, UInt64)? = {
        let raw = unsafe ipc_open_path("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC, 0)
        guard raw >= 0 else { return nil }
        let file = OwnedDescriptor(adopting: FileDescriptor(rawValue: raw))
        var text = [UInt8](repeating: 0, count: 64)
        let count = retryingInterrupts { unsafe read(file.descriptor.rawValue, &text, text.count) }
        guard case .success(let count) = count else { return nil }
        let digits = String(decoding: text.prefix(count), as: UTF8.self).filter(\.isHexDigit)
        guard digits.count == 32, let first = UInt64(digits.prefix(16), radix: 16),
            let second = UInt64(digits.suffix(16), radix: 16)
        else { return nil }
        return (first, second)
    }()
}
