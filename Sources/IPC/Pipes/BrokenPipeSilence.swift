import CIPCShims
import Glibc
import Synchronization
package import SystemPackage

/// Writes to a pipe in a way that never raises SIGPIPE, whose default action ends the process.
///
/// Three ways, the cheapest that holds:
/// 1. The process ignored SIGPIPE when the pipe was opened, as servers do: a plain `write` reports `EPIPE`.
/// 2. `RWF_NOSIGNAL` (Linux 6.18) asks for it call by call.
/// 3. Before that, and where a sandbox refuses `pwritev2`, the signal is blocked in the calling thread for the call, and taken
///    away if the call raised it.
///
/// The process's own action for SIGPIPE is never changed. (A program that resets it to the default after opening a
/// pipe asks to be killed by it.)
package struct BrokenPipeSilence: Sendable {
    private let isIgnored: Bool
    private static let kernelLacksNoSignal = Atomic(false)

    package init() { isIgnored = ipc_signal_is_ignored(SIGPIPE) != 0 }

    /// One `write`, or one `pwritev2` with `flags`.
    package func write(_ bytes: RawSpan, to descriptor: CInt, flags: CInt) -> Result<Int, Errno> {
        unsafe bytes.withUnsafeBytes { buffer in
            if isIgnored, flags == 0 {
                return retryingInterrupts { unsafe Glibc.write(descriptor, buffer.baseAddress, buffer.count) }
            }
            var vector = unsafe iovec(
                iov_base: UnsafeMutableRawPointer(mutating: buffer.baseAddress), iov_len: buffer.count)
            // Relaxed: the worst that a stale value costs is one more call that is refused.
            if !Self.kernelLacksNoSignal.load(ordering: .relaxed) {
                let result = retryingInterrupts {
                    unsafe ipc_pwritev2(descriptor, &vector, 1, flags | IPC_RWF_NOSIGNAL)
                }
                guard case .failure(let errno) = result, errno.isRefusedFlag, flags == 0 else { return result }
                Self.kernelLacksNoSignal.store(true, ordering: .relaxed)
            }
            return Self.blockingTheSignal {
                retryingInterrupts {
                    unsafe flags == 0
                        ? Glibc.write(descriptor, buffer.baseAddress, buffer.count)
                        : ipc_pwritev2(descriptor, &vector, 1, flags)
                }
            }
        }
    }

    /// The third way: any write, with SIGPIPE blocked in the calling thread meanwhile.
    package static func blockingTheSignal(_ call: () -> Result<Int, Errno>) -> Result<Int, Errno> {
        var set = SignalSet([.brokenPipe]).raw
        var pending = sigset_t()
        unsafe sigpending(&pending)
        let wasPending = unsafe sigismember(&pending, SIGPIPE) == 1
        var previous = sigset_t()
        unsafe pthread_sigmask(SIG_BLOCK, &set, &previous)
        let result = call()
        if case .failure(.brokenPipe) = result, !wasPending {
            var now = timespec()
            _ = retryingInterrupts { unsafe sigtimedwait(&set, nil, &now) }
        }
        unsafe pthread_sigmask(SIG_SETMASK, &previous, nil)
        return result
    }
}

extension Errno {
    /// What `preadv2` and `pwritev2` fail with if the kernel lacks the flag or the call, or a sandbox refuses it: the same may
    /// work without.
    package var isRefusedFlag: Bool { self == .notSupportedOnSocket || self == .noFunction || self == .notPermitted }
}
