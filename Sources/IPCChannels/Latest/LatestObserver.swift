public import IPC

extension Latest {
    /// A getter of a ``Latest`` that is not a participant: it needs only read permission for the channel's files.
    ///
    /// It writes nothing, so participants do not know about it and nothing wakes it: while it waits for a newer value, it polls,
    /// with pauses of up to 10 ms. It does not keep the channel alive. When the last participant has left, or the channel is
    /// removed, it throws ``/IPC/IPCError/Code/removed``. One thread at a time may use it.
    public struct Observer: ~Copyable, Sendable {
        var getter: Latest<Value>.Getter

        init(_ getter: consuming Latest<Value>.Getter) { self.getter = getter }

        /// Closes the observer.
        public consuming func close() {}
    }
}

extension Latest.Observer where Value: BitwiseCopyable {
    /// Returns the newest value, at least as new as this call; nil before the first. Does not block.
    ///
    /// - Throws: As `get()`.
    public mutating func get() throws(IPCError) -> Value? { try getter.get() }

    /// Waits for a value newer than the previous one, and returns the newest.
    ///
    /// - Throws: ``/IPC/IPCError/Code/timedOut``; ``/IPC/IPCError/Code/removed``; ``/IPC/IPCError/Code/corrupted`` as
    ///   `get()`.
    public mutating func next(until deadline: Deadline = .never) throws(IPCError) -> Value {
        try getter.next(until: deadline)
    }

    /// Waits for a value newer than the previous one, suspended meanwhile, and returns the newest.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``.
    public nonisolated(nonsending) mutating func next(
        until deadline: Deadline = .never
    ) async throws(IPCError) -> Value {
        try await getter.next(until: deadline)
    }

    /// The newest value, each time there is a newer one, as an asynchronous sequence. One loop at a time.
    public consuming func values() -> ChannelSequence<Value> { getter.values() }
}

extension Latest.Observer where Value == RawBytes {
    /// Borrows a copy of the newest value, at least as new as this call; nil before the first. Does not block.
    public mutating func get<Result>(_ body: (RawSpan) throws(IPCError) -> Result) throws(IPCError) -> Result? {
        try getter.get(body)
    }

    /// Waits for a value newer than the previous one, and borrows a copy of the newest.
    ///
    /// - Throws: ``/IPC/IPCError/Code/timedOut``; ``/IPC/IPCError/Code/removed``.
    public mutating func next<Result>(
        until deadline: Deadline = .never, _ body: (RawSpan) throws(IPCError) -> Result
    ) throws(IPCError) -> Result {
        try getter.next(until: deadline, body)
    }

    /// Waits for a value newer than the previous one, suspended meanwhile, and borrows a copy of the newest.
    public nonisolated(nonsending) mutating func next<Result>(
        until deadline: Deadline = .never, _ body: (RawSpan) throws(IPCError) -> Result
    ) async throws(IPCError) -> Result {
        try await getter.next(until: deadline, body)
    }
}
