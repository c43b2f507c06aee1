public import IPC

// Closures that throw errors of their own: ``ClosureError``.

extension Topic.Subscription where Message == RawBytes {
    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public mutating func receive<Value>(
        until deadline: Deadline = .never, _ body: (RawSpan) throws -> Value
    ) throws -> Value {
        var closure = ClosureError()
        do throws(IPCError) {
            return try receive(until: deadline) { (bytes) throws(IPCError) in
                try closure.catching { try body(bytes) }
            }
        } catch { throw closure.original(of: error) }
    }

    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public mutating func tryReceive<Value>(
        _ body: (RawSpan) throws -> Value
    ) throws -> Value? {
        var closure = ClosureError()
        do throws(IPCError) {
            return try tryReceive { (bytes) throws(IPCError) in
                try closure.catching { try body(bytes) }
            }
        } catch { throw closure.original(of: error) }
    }

    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public mutating func receiveAvailable(
        limit: Int = .max, _ body: (RawSpan) throws -> Void
    ) throws -> Int {
        var closure = ClosureError()
        do throws(IPCError) {
            return try receiveAvailable(limit: limit) { (bytes) throws(IPCError) in
                try closure.catching { try body(bytes) }
            }
        } catch { throw closure.original(of: error) }
    }

    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public nonisolated(nonsending) mutating func receive<Value>(
        until deadline: Deadline = .never, _ body: (RawSpan) throws -> Value
    ) async throws -> Value {
        var closure = ClosureError()
        do throws(IPCError) {
            return try await receive(until: deadline) { (bytes) throws(IPCError) in
                try closure.catching { try body(bytes) }
            }
        } catch { throw closure.original(of: error) }
    }
}

extension Topic.Subscription where Message: BitwiseCopyable {
    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public mutating func receiveAvailable(
        limit: Int = .max, _ body: (Message) throws -> Void
    ) throws -> Int {
        var closure = ClosureError()
        do throws(IPCError) {
            return try receiveAvailable(limit: limit) { (message) throws(IPCError) in
                try closure.catching { try body(message) }
            }
        } catch { throw closure.original(of: error) }
    }
}

extension Topic.Observer where Message == RawBytes {
    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public mutating func receive<Value>(
        until deadline: Deadline = .never, _ body: (RawSpan) throws -> Value
    ) throws -> Value {
        var closure = ClosureError()
        do throws(IPCError) {
            return try subscription.receive(until: deadline) { (bytes) throws(IPCError) in
                try closure.catching { try body(bytes) }
            }
        } catch { throw closure.original(of: error) }
    }

    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public mutating func tryReceive<Value>(
        _ body: (RawSpan) throws -> Value
    ) throws -> Value? {
        var closure = ClosureError()
        do throws(IPCError) {
            return try subscription.tryReceive { (bytes) throws(IPCError) in
                try closure.catching { try body(bytes) }
            }
        } catch { throw closure.original(of: error) }
    }

    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public nonisolated(nonsending) mutating func receive<Value>(
        until deadline: Deadline = .never, _ body: (RawSpan) throws -> Value
    ) async throws -> Value {
        var closure = ClosureError()
        do throws(IPCError) {
            return try await subscription.receive(until: deadline) { (bytes) throws(IPCError) in
                try closure.catching { try body(bytes) }
            }
        } catch { throw closure.original(of: error) }
    }
}

extension Topic.Publisher where Message == RawBytes {
    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public mutating func publish(
        upTo byteCount: Int, until deadline: Deadline = .never, _ fill: (inout OutputRawSpan) throws -> Void
    ) throws {
        var closure = ClosureError()
        do throws(IPCError) {
            try publish(upTo: byteCount, until: deadline) { (span) throws(IPCError) in
                try closure.catching { try fill(&span) }
            }
        } catch { throw closure.original(of: error) }
    }

    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public mutating func tryPublish(
        upTo byteCount: Int, _ fill: (inout OutputRawSpan) throws -> Void
    ) throws -> Bool {
        var closure = ClosureError()
        do throws(IPCError) {
            return try tryPublish(upTo: byteCount) { (span) throws(IPCError) in
                try closure.catching { try fill(&span) }
            }
        } catch { throw closure.original(of: error) }
    }

    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public nonisolated(nonsending) mutating func publish(
        upTo byteCount: Int, until deadline: Deadline = .never, _ fill: (inout OutputRawSpan) throws -> Void
    ) async throws {
        var closure = ClosureError()
        do throws(IPCError) {
            try await publish(upTo: byteCount, until: deadline) { (span) throws(IPCError) in
                try closure.catching { try fill(&span) }
            }
        } catch { throw closure.original(of: error) }
    }
}
