import CIPCShims
import Glibc
import Synchronization
import SystemPackage

/// What both ends of a pipe have in common: the descriptor, its capacity, and reads and writes that do not block.
///
/// A pipe has no flag per call that says "do not block" as a socket has, except `RWF_NOWAIT`, which kernels before 6.4
/// and named pipes lack. An end for which it is missing is switched to `O_NONBLOCK` at its first call with a deadline,
/// once and for good; its calls without a deadline then wait by `ppoll`.
package struct PipeEnd: ~Copyable, Sendable {
    let owned: OwnedDescriptor
    let name: String
    private let isNonBlocking: Atomic<Bool>

    /// - Throws: ``IPCError/Code/wrongType`` if the descriptor is not a pipe.
    package init(adopting descriptor: consuming OwnedDescriptor, name: String) throws(IPCError) {
        let status = try FileStatus(of: descriptor.rawValue, name)
        guard status.isFIFO else {
            throw IPCError(
                .wrongType, "adopt", name, advice: "this descriptor is not a pipe; pass the descriptor of one")
        }
        let raw = descriptor.rawValue
        let flags = try systemCall { ipc_fcntl_int(raw, F_GETFL, 0) }.orThrow("fcntl", name)
        self.owned = descriptor
        self.name = name
        self.isNonBlocking = Atomic(flags & O_NONBLOCK != 0)
    }

    var rawValue: CInt { owned.rawValue }

    /// Flags for `preadv2` and `pwritev2` that keep the call from blocking.
    var noWaitFlags: CInt { isNonBlocking.load(ordering: .relaxed) ? 0 : IPC_RWF_NOWAIT }

    /// To be called when a call with ``noWaitFlags`` is not supported.
    borrowing func switchToNonBlocking() throws(IPCError) {
        let raw = rawValue
        let flags = try systemCall { ipc_fcntl_int(raw, F_GETFL, 0) }.orThrow("fcntl", name)
        _ = try systemCall { ipc_fcntl_int(raw, F_SETFL, flags | O_NONBLOCK) }.orThrow("fcntl", name)
        // Relaxed: a thread that misses it finds EAGAIN, and waits.
        isNonBlocking.store(true, ordering: .relaxed)
    }

    var capacity: Int {
        get throws(IPCError) {
            let raw = rawValue
            return Int(try systemCall { ipc_fcntl_int(raw, IPC_F_GETPIPE_SZ, 0) }.orThrow("fcntl", name))
        }
    }

    borrowing func setCapacity(_ bytes: Int) throws(IPCError) -> Int {
        let raw = rawValue
        guard bytes > 0, let size = CInt(exactly: bytes) else {
            throw IPCError(
                .invalidArgument, "set capacity of", name, advice: "a pipe's capacity must be one page to 2 GiB")
        }
        let result = systemCall { ipc_fcntl_int(raw, IPC_F_SETPIPE_SZ, size) }
        return Int(
            try result.orThrow("set capacity of", name) { errno in
                switch errno {
                case .notPermitted:
                    let most = SystemLimits.pipeCapacity
                    return "\(bytes) bytes exceed this user's limit of \(most); request less, or raise fs.pipe-max-size"
                case .resourceBusy: return "the pipe holds more than \(bytes) bytes now; read some first"
                default: return nil
                }
            })
    }

    /// Bytes that can be read at once.
    var availableBytes: Int {
        get throws(IPCError) {
            let raw = rawValue
            var available: CInt = 0
            _ = try systemCall { unsafe ipc_fionread(raw, &available) }.orThrow("ioctl", name)
            return Int(available)
        }
    }
}
