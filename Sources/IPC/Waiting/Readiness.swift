import CIPCShims
import Glibc
import SystemPackage

/// What a wait for a descriptor is for.
///
/// Every deadline on a descriptor is kept here; the asynchronous calls will wait for the same readiness without a thread.
package struct Readiness: OptionSet, Sendable {
    package let rawValue: Int16
    package init(rawValue: Int16) { self.rawValue = rawValue }

    package static let readable = Readiness(rawValue: Int16(POLLIN))
    package static let writable = Readiness(rawValue: Int16(POLLOUT))

    /// Waits until `descriptor` is ready, or broken, or the deadline has passed.
    ///
    /// - Returns: False if the deadline passed first.
    package func wait(for descriptor: CInt, until deadline: Deadline) throws(IPCError) -> Bool {
        var request = pollfd(fd: descriptor, events: rawValue, revents: 0)
        while true {
            let result: Result<CInt, Errno>
            if deadline == .never {
                result = systemCall { unsafe ipc_ppoll(&request, 1, nil) }
            } else {
                // Relative, so it is computed anew after an interruption.
                let now = MonotonicClock.now
                var time = timespec(nanoseconds: deadline.nanoseconds > now ? deadline.nanoseconds - now : 0)
                result = systemCall { unsafe ipc_ppoll(&request, 1, &time) }
            }
            switch result {
            case .success(let count): return count > 0
            case .failure(.interrupted): continue
            case .failure(let errno): throw IPCError("ppoll", "descriptor \(descriptor)", errno)
            }
        }
    }
}

/// Runs `attempt`, which never blocks, until it succeeds; waits for readiness in between.
///
/// - Parameter attempt: Returns nil if it would have to block.
/// - Returns: Nil if the deadline passed first.
@inline(__always)
package func waiting<Value>(
    for readiness: Readiness, of descriptor: CInt, until deadline: Deadline,
    _ attempt: () throws(IPCError) -> Value?
) throws(IPCError) -> Value? {
    while true {
        if let value = try attempt() { return value }
        if try !readiness.wait(for: descriptor, until: deadline) { return nil }
    }
}
