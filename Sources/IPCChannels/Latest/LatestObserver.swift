public import IPC

/// One that gets a ``Latest`` without taking part: for whoever may only read the channel's files.
///
/// It writes nothing, so nobody knows of it, and nobody wakes it: while it waits for a newer value it looks again and again, with
/// pauses of up to 10 ms. It keeps no channel: when the last participant has left, or somebody has removed it, it gets the error
/// ``IPC/IPCError/Code/removed``. One thread at a time may use it.
public struct LatestObserver<Value>: ~Copyable, Sendable {
    private var getter: LatestGetter<Value>

    init(_ getter: consuming LatestGetter<Value>) { self.getter = getter }

    /// Ends it.
    public consuming func close() {}
}

extension LatestObserver where Value: BitwiseCopyable {
    /// The newest value, at least as new as this call; nil before the first. Does not block.
    ///
    /// - Throws: As ``LatestGetter/get()``.
    public mutating func get() throws(IPCError) -> Value? { try getter.get() }

    /// Waits for a value that is newer than the last one that was got, and gets the newest.
    ///
    /// - Throws: ``IPC/IPCError/Code/timedOut``; ``IPC/IPCError/Code/removed``; ``IPC/IPCError/Code/corrupted`` as ``get()``.
    public mutating func next(until deadline: Deadline = .never) throws(IPCError) -> Value {
        try getter.next(until: deadline)
    }

    /// Waits for a value that is newer than the last one that was got, suspended meanwhile, and gets the newest.
    ///
    /// - Throws: As the blocking call; ``IPC/IPCError/Code/cancelled``.
    public nonisolated(nonsending) mutating func next(
        until deadline: Deadline = .never
    ) async throws(IPCError) -> Value {
        try await getter.next(until: deadline)
    }

    /// The newest value, whenever there is a newer one. One loop at a time.
    public consuming func values() -> ChannelSequence<Value> { getter.values() }
}

extension LatestObserver where Value == RawBytes {
    /// Lends a copy of the newest value, at least as new as this call; nil before the first. Does not block.
    public mutating func get<Result>(_ body: (RawSpan) throws(IPCError) -> Result) throws(IPCError) -> Result? {
        try getter.get(body)
    }

    /// Waits for a value that is newer than the last one that was got, and lends a copy of the newest.
    ///
    /// - Throws: ``IPC/IPCError/Code/timedOut``; ``IPC/IPCError/Code/removed``.
    public mutating func next<Result>(
        until deadline: Deadline = .never, _ body: (RawSpan) throws(IPCError) -> Result
    ) throws(IPCError) -> Result {
        try getter.next(until: deadline, body)
    }

    /// Waits for a value that is newer than the last one that was got, suspended meanwhile, and lends a copy of the newest.
    public nonisolated(nonsending) mutating func next<Result>(
        until deadline: Deadline = .never, _ body: (RawSpan) throws(IPCError) -> Result
    ) async throws(IPCError) -> Result {
        try await getter.next(until: deadline, body)
    }
}
