public import IPC

// Closures that throw errors of their own: ``ClosureError``.

extension ServiceChannel.Client where Request == RawBytes, Reply == RawBytes {
    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public mutating func call<Value>(
        _ request: RawSpan, replyLimit: Int, until deadline: Deadline = .never, retries: Int = 0,
        _ body: (RawSpan) throws -> Value
    ) throws -> Result<Value, Failure> {
        var closure = ClosureError()
        do throws(IPCError) {
            return try call(request, replyLimit: replyLimit, until: deadline, retries: retries) {
                (bytes) throws(IPCError) in
                try closure.catching { try body(bytes) }
            }
        } catch { throw closure.original(of: error) }
    }

    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public nonisolated(nonsending) mutating func call<Value>(
        _ request: RawSpan, replyLimit: Int, until deadline: Deadline = .never, retries: Int = 0,
        _ body: (RawSpan) throws -> Value
    ) async throws -> Result<Value, Failure> {
        var closure = ClosureError()
        do throws(IPCError) {
            return try await call(request, replyLimit: replyLimit, until: deadline, retries: retries) {
                (bytes) throws(IPCError) in
                try closure.catching { try body(bytes) }
            }
        } catch { throw closure.original(of: error) }
    }

    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public mutating func call<Value>(
        _ request: RawSpan, replyLimit: Int, _ options: CallOptions, until deadline: Deadline = .never,
        _ body: (RawSpan) throws -> Value
    ) throws -> Result<Value, Failure> {
        var closure = ClosureError()
        do throws(IPCError) {
            return try call(request, replyLimit: replyLimit, options, until: deadline) { (bytes) throws(IPCError) in
                try closure.catching { try body(bytes) }
            }
        } catch { throw closure.original(of: error) }
    }

    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public nonisolated(nonsending) mutating func call<Value>(
        _ request: RawSpan, replyLimit: Int, _ options: CallOptions, until deadline: Deadline = .never,
        _ body: (RawSpan) throws -> Value
    ) async throws -> Result<Value, Failure> {
        var closure = ClosureError()
        do throws(IPCError) {
            return try await call(request, replyLimit: replyLimit, options, until: deadline) {
                (bytes) throws(IPCError) in
                try closure.catching { try body(bytes) }
            }
        } catch { throw closure.original(of: error) }
    }
}

extension PendingCall where Reply == RawBytes {
    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public consuming func wait<Value>(
        _ body: (RawSpan) throws -> Value
    ) throws -> Result<Value, Failure> {
        var closure = ClosureError()
        do throws(IPCError) {
            return try wait { (bytes) throws(IPCError) in
                try closure.catching { try body(bytes) }
            }
        } catch { throw closure.original(of: error) }
    }

    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public nonisolated(nonsending) consuming func wait<Value>(
        _ body: (RawSpan) throws -> Value
    ) async throws -> Result<Value, Failure> {
        var closure = ClosureError()
        do throws(IPCError) {
            return try await wait { (bytes) throws(IPCError) in
                try closure.catching { try body(bytes) }
            }
        } catch { throw closure.original(of: error) }
    }
}

extension ServiceChannel.Call where Request == RawBytes, Reply == RawBytes {
    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public borrowing func withRequest<Value>(
        _ body: (RawSpan) throws -> Value
    ) throws -> Value {
        var closure = ClosureError()
        do throws(IPCError) {
            return try withRequest { (bytes) throws(IPCError) in
                try closure.catching { try body(bytes) }
            }
        } catch { throw closure.original(of: error) }
    }
}
