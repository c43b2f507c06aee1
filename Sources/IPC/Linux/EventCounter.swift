import CIPCShims
import Glibc
public import SystemPackage

/// A counter in the kernel that can be waited for like any descriptor (`eventfd`): the cheapest notice between processes
/// that can be polled.
///
/// It has no name: inherit it, or send it over a Unix socket. Safe from any thread and process. Where a sandbox or an old kernel
/// has no read that does not wait (`RWF_NOWAIT`), the first call that needs one sets `O_NONBLOCK`, for all who share it.
public struct EventCounter: ~Copyable, Sendable {
    private let owned: OwnedDescriptor

    /// How much a `take(until:)` takes.
    public enum Mode: Hashable, Sendable {
        /// All that was added: several notices become one.
        case all
        /// One at a time: every notice is taken once, as with a semaphore (`EFD_SEMAPHORE`).
        case one
    }

    /// Makes a counter.
    public init(initial: UInt32 = 0, _ mode: Mode = .all) throws(IPCError) {
        let flags = CInt(EFD_CLOEXEC) | (mode == .one ? CInt(EFD_SEMAPHORE) : 0)
        self.owned = OwnedDescriptor(adopting: try systemCall { ipc_eventfd(initial, flags) }.orThrow("eventfd", ""))
    }

    /// Takes over a counter that was inherited or received.
    public init(adopting descriptor: consuming OwnedDescriptor) { self.owned = descriptor }

    /// The descriptor, lent: readable while the counter is not zero.
    public var descriptor: FileDescriptor { owned.descriptor }

    /// Adds to the counter and wakes who waits.
    ///
    /// Waits only if the counter would exceed 2^64-2.
    public borrowing func add(_ amount: UInt64 = 1) throws(IPCError) {
        var amount = amount
        let raw = owned.rawValue
        while true {
            switch retryingInterrupts({ unsafe write(raw, &amount, 8) }) {
            case .success: return
            case .failure(.resourceTemporarilyUnavailable):
                // It does not block.
                _ = try Readiness.writable.wait(for: raw, until: .never)
            case .failure(let errno): throw IPCError("write", "eventfd", errno)
            }
        }
    }

    /// Takes what was added, waiting while it is zero.
    ///
    /// - Throws: ``IPCError/Code/timedOut``.
    public borrowing func take(until deadline: Deadline = .never) throws(IPCError) -> UInt64 {
        var value: UInt64 = 0
        let raw = owned.rawValue
        if deadline == .never {
            switch retryingInterrupts({ unsafe read(raw, &value, 8) }) {
            case .success: return value
            case .failure(.resourceTemporarilyUnavailable): break  // it does not block
            case .failure(let errno): throw IPCError("read", "eventfd", errno)
            }
        }
        while true {
            if let value = try tryTake() { return value }
            guard try Readiness.readable.wait(for: raw, until: deadline) else { throw .timedOut("read", "eventfd") }
        }
    }

    /// Takes what was added; nil while it is zero.
    public borrowing func tryTake() throws(IPCError) -> UInt64? {
        var value: UInt64 = 0
        let raw = owned.rawValue
        let result = unsafe withUnsafeMutablePointer(to: &value) { pointer in
            var vector = unsafe iovec(iov_base: pointer, iov_len: 8)
            return retryingInterrupts { unsafe ipc_preadv2(raw, &vector, 1, IPC_RWF_NOWAIT) }
        }
        switch result {
        case .success: return value
        case .failure(.resourceTemporarilyUnavailable): return nil
        case .failure(let errno) where errno.isRefusedFlag: return try takeWithoutBlocking()
        case .failure(let errno): throw IPCError("read", "eventfd", errno)
        }
    }

    /// Where the kernel cannot be asked for one read that does not wait, all reads are made not to.
    private borrowing func takeWithoutBlocking() throws(IPCError) -> UInt64? {
        var value: UInt64 = 0
        let raw = owned.rawValue
        let flags = try systemCall { ipc_fcntl_int(raw, F_GETFL, 0) }.orThrow("fcntl", "eventfd")
        if flags & O_NONBLOCK == 0 {
            _ = try systemCall { ipc_fcntl_int(raw, F_SETFL, flags | O_NONBLOCK) }.orThrow("fcntl", "eventfd")
        }
        switch retryingInterrupts({ unsafe read(raw, &value, 8) }) {
        case .success: return value
        case .failure(.resourceTemporarilyUnavailable): return nil
        case .failure(let errno): throw IPCError("read", "eventfd", errno)
        }
    }

    /// Closes the descriptor and reports the error that `deinit` cannot.
    public consuming func close() throws(IPCError) { try owned.close() }

    /// Gives the descriptor away: the caller closes it from now on.
    public consuming func release() -> FileDescriptor { owned.release() }
}
