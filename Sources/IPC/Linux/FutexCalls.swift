import CIPCShims
import Glibc
import SystemPackage

/// The system calls behind ``Futex``, and behind all that sleeps on a word in shared memory.
enum FutexCalls {
    static func wait(
        _ word: UnsafeRawPointer, whileEqual expected: UInt32, until deadline: Deadline, _ name: String
    ) throws(IPCError) -> Bool {
        let address = unsafe word.assumingMemoryBound(to: UInt32.self)
        let result: Result<CInt, Errno>
        if deadline == .never {
            result = systemCall { unsafe ipc_futex_wait(address, expected, nil) }
        } else {
            var time = deadline.timespec
            result = systemCall { unsafe ipc_futex_wait(address, expected, &time) }
        }
        switch result {
        case .success, .failure(.resourceTemporarilyUnavailable), .failure(.interrupted): return true
        case .failure(.timedOut): return false
        case .failure(let errno): throw IPCError("futex", name, errno)
        }
    }

    @discardableResult
    static func wake(_ word: UnsafeRawPointer, count: Int) -> Int {
        unsafe Int(ipc_futex_wake(word.assumingMemoryBound(to: UInt32.self), CInt(clamping: count)))
    }
}
