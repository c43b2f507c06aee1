public import IPC

/// One that looks at a ``Topic`` without taking part: for whoever may only read the channel's files.
///
/// ```swift
/// // As another user, in a root and with permissions (0644) that let it read:
/// var quotes = try Topic<UInt64>.open("market/quotes", in: ChannelRoot("/dev/shm/traders")).observe(from: .oldest)
/// for try await quote in quotes.messages() { print(quote) }
/// ```
///
/// It opens the files for reading only, takes no slot and no lock, and writes nothing. So nobody knows of it:
///
/// - It holds nobody back. Of every topic, also of one that waits for its subscribers, it misses what is overwritten before it has
///   read that, and is told how much: ``takeMissed()``.
/// - Nobody wakes it. While it waits it looks again and again, with pauses of 50 µs at first and of 10 ms later: a message comes up to
///   10 ms late after a silence.
/// - It keeps no channel. When the last participant has left, or somebody has removed the channel, it gets what was published before,
///   and then the error ``IPC/IPCError/Code/removed``.
/// - It repairs nothing. What a shared publisher had begun when it died hides what comes after it, until a participant skips that.
///
/// Each message is copied, and is what it seems: a copy that was overwritten meanwhile is thrown away. One thread at a time may use
/// it. A ``WaitSet`` does not take it.
public struct Observer<Message>: ~Copyable, Sendable {
    @usableFromInline var subscription: Subscription<Message>

    init(_ subscription: consuming Subscription<Message>) { self.subscription = subscription }

    /// Where the next message begins: for ``SubscriptionStart/position(_:)`` of a later one.
    public var position: ChannelPosition { subscription.position }

    /// How many messages were overwritten before they were received, since the last time this was asked. A gap is counted when the
    /// next message of the same publisher has come.
    public mutating func takeMissed() -> UInt64 { subscription.takeMissed() }

    /// Ends it.
    public consuming func close() {}
}

extension Observer where Message: BitwiseCopyable {
    /// Receives the next message, waiting for it.
    ///
    /// - Throws: ``IPC/IPCError/Code/timedOut``; ``IPC/IPCError/Code/removed``; ``IPC/IPCError/Code/corrupted`` for what cannot be a
    ///   message of this type, as ``Subscription/receive(until:)``.
    @inlinable
    public mutating func receive(until deadline: Deadline = .never) throws(IPCError) -> Message {
        try subscription.receive(until: deadline)
    }

    /// Receives the next message if there is one.
    @inlinable
    public mutating func tryReceive() throws(IPCError) -> Message? { try subscription.tryReceive() }

    /// Receives the next message, suspended until there is one.
    ///
    /// - Throws: As the blocking call; ``IPC/IPCError/Code/cancelled``, and no message was taken.
    @inlinable
    public nonisolated(nonsending) mutating func receive(
        until deadline: Deadline = .never
    ) async throws(IPCError) -> Message {
        try await subscription.receive(until: deadline)
    }

    /// The messages as they come. One loop at a time.
    public consuming func messages() -> ChannelSequence<Message> { subscription.messages() }
}

extension Observer where Message == RawBytes {
    /// Lends a copy of the next message, waiting for it.
    ///
    /// - Throws: As `body` does, and the message counts as received; ``IPC/IPCError/Code/timedOut``; ``IPC/IPCError/Code/removed``;
    ///   ``IPC/IPCError/Code/corrupted``.
    @inlinable
    public mutating func receive<Result>(
        until deadline: Deadline = .never, _ body: (RawSpan) throws(IPCError) -> Result
    ) throws(IPCError) -> Result {
        try subscription.receive(until: deadline, body)
    }

    /// Lends a copy of the next message if there is one.
    @inlinable
    public mutating func tryReceive<Result>(
        _ body: (RawSpan) throws(IPCError) -> Result
    ) throws(IPCError) -> Result? {
        try subscription.tryReceive(body)
    }

    /// Lends a copy of the next message, suspended until there is one.
    @inlinable
    public nonisolated(nonsending) mutating func receive<Result>(
        until deadline: Deadline = .never, _ body: (RawSpan) throws(IPCError) -> Result
    ) async throws(IPCError) -> Result {
        try await subscription.receive(until: deadline, body)
    }

    /// Copies of the messages as they come. One loop at a time.
    public consuming func messages() -> ChannelSequence<[UInt8]> { subscription.messages() }
}

extension Observer {
    /// Receives the next value, waiting for it.
    ///
    /// - Throws: As ``Subscription/receive(with:until:)``; ``IPC/IPCError/Code/removed``.
    public mutating func receive<Value>(
        with coder: some MessageCoder, until deadline: Deadline = .never
    ) throws(IPCError) -> Value where Message == Coded<Value> {
        try subscription.receive(with: coder, until: deadline)
    }

    /// Receives the next value, suspended until there is one.
    public nonisolated(nonsending) mutating func receive<Value>(
        with coder: some MessageCoder, until deadline: Deadline = .never
    ) async throws(IPCError) -> Value where Message == Coded<Value> {
        try await subscription.receive(with: coder, until: deadline)
    }
}
