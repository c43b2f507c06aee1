public import IPC

// Closures that throw errors of their own: ``ClosureError``.

extension Latest.Setter where Value == RawBytes {
    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public mutating func set(
        upTo byteCount: Int, _ fill: (inout OutputRawSpan) throws -> Void
    ) throws {
        var closure = ClosureError()
        do throws(IPCError) {
            try set(upTo: byteCount) { (span) throws(IPCError) in
                try closure.catching { try fill(&span) }
            }
        } catch { throw closure.original(of: error) }
    }
}

extension Latest.Getter where Value == RawBytes {
    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public mutating func get<Result>(
        _ body: (RawSpan) throws -> Result
    ) throws -> Result? {
        var closure = ClosureError()
        do throws(IPCError) {
            return try get { (bytes) throws(IPCError) in
                try closure.catching { try body(bytes) }
            }
        } catch { throw closure.original(of: error) }
    }

    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public mutating func next<Result>(
        until deadline: Deadline = .never, _ body: (RawSpan) throws -> Result
    ) throws -> Result {
        var closure = ClosureError()
        do throws(IPCError) {
            return try next(until: deadline) { (bytes) throws(IPCError) in
                try closure.catching { try body(bytes) }
            }
        } catch { throw closure.original(of: error) }
    }

    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public nonisolated(nonsending) mutating func next<Result>(
        until deadline: Deadline = .never, _ body: (RawSpan) throws -> Result
    ) async throws -> Result {
        var closure = ClosureError()
        do throws(IPCError) {
            return try await next(until: deadline) { (bytes) throws(IPCError) in
                try closure.catching { try body(bytes) }
            }
        } catch { throw closure.original(of: error) }
    }
}

extension Latest.Observer where Value == RawBytes {
    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public mutating func get<Result>(
        _ body: (RawSpan) throws -> Result
    ) throws -> Result? {
        var closure = ClosureError()
        do throws(IPCError) {
            return try get { (bytes) throws(IPCError) in
                try closure.catching { try body(bytes) }
            }
        } catch { throw closure.original(of: error) }
    }

    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public mutating func next<Result>(
        until deadline: Deadline = .never, _ body: (RawSpan) throws -> Result
    ) throws -> Result {
        var closure = ClosureError()
        do throws(IPCError) {
            return try next(until: deadline) { (bytes) throws(IPCError) in
                try closure.catching { try body(bytes) }
            }
        } catch { throw closure.original(of: error) }
    }

    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public nonisolated(nonsending) mutating func next<Result>(
        until deadline: Deadline = .never, _ body: (RawSpan) throws -> Result
    ) async throws -> Result {
        var closure = ClosureError()
        do throws(IPCError) {
            return try await next(until: deadline) { (bytes) throws(IPCError) in
                try closure.catching { try body(bytes) }
            }
        } catch { throw closure.original(of: error) }
    }
}
