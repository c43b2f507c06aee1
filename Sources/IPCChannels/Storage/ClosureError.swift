import IPC

/// Passes on what a user's closure throws through code that throws nothing but `IPCError`.
///
/// Each call that takes a closure has two overloads. One takes a closure that throws `IPCError` or nothing, and throws
/// `IPCError`. The other one, which the compiler takes only if the first does not fit, takes a closure that throws anything,
/// and throws that unchanged. It is the first one with this around its closure.
struct ClosureError {
    private var error: (any Error)?

    mutating func catching<Value>(_ body: () throws -> Value) throws(IPCError) -> Value {
        do { return try body() } catch {
            self.error = error
            throw IPCError(.cancelled, "closure", "", advice: "the closure threw an error of its own")
        }
    }

    /// - Parameter thrown: What the call threw.
    func original(of thrown: IPCError) -> any Error { error ?? thrown }
}
