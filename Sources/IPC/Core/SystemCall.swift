import Glibc
package import SystemPackage

/// The result of a C call that reports failure by -1 and `errno`, tried again for as long as a signal interrupts it.
///
/// Not for calls that wait with a relative time-out, nor for `close`, which must be called once even if it fails.
@inline(__always)
package func retryingInterrupts<Value: FixedWidthInteger>(_ call: () -> Value) -> Result<Value, Errno> {
    while true {
        switch systemCall(call) {
        case .failure(.interrupted): continue
        case let result: return result
        }
    }
}

/// The result of a C call that reports failure by -1 and `errno`.
@inline(__always)
package func systemCall<Value: FixedWidthInteger>(_ call: () -> Value) -> Result<Value, Errno> {
    let value = call()
    return value == -1 ? .failure(Errno(rawValue: errno)) : .success(value)
}

extension Result where Failure == Errno {
    /// The value, or the system's error as an ``IPCError``.
    @inline(__always)
    package func orThrow(
        _ operation: @autoclosure () -> String, _ resource: @autoclosure () -> String,
        advice: (Errno) -> String? = { _ in nil }
    ) throws(IPCError) -> Success {
        switch self {
        case .success(let value): return value
        case .failure(let errno): throw IPCError(operation(), resource(), errno, advice: advice(errno))
        }
    }
}

/// Patterns such as `.failure(.interrupted)`. Without this one, they mean swift-system's `~=`, which takes any `Error`
/// and so allocates a box for the number at every comparison.
@inline(__always)
package func ~= (pattern: Errno, value: Errno) -> Bool { pattern.rawValue == value.rawValue }
