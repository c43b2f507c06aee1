import IPC

// Closures that throw errors of their own: ``ClosureError``.

extension WorkQueue.Job where Message == RawBytes {
    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public borrowing func withBytes<Value>(
        _ body: (RawSpan) throws -> Value
    ) throws -> Value {
        var closure = ClosureError()
        do throws(IPCError) {
            return try withBytes { (bytes) throws(IPCError) in
                try closure.catching { try body(bytes) }
            }
        } catch { throw closure.original(of: error) }
    }
}

extension WorkQueue.SharedJob where Message == RawBytes {
    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public func withBytes<Value>(
        _ body: (RawSpan) throws -> Value
    ) throws -> Value {
        var closure = ClosureError()
        do throws(IPCError) {
            return try withBytes { (bytes) throws(IPCError) in
                try closure.catching { try body(bytes) }
            }
        } catch { throw closure.original(of: error) }
    }
}
