public import IPC

extension Topic {
    /// A reader of a ``Topic`` that is not a participant: it needs only read permission for the channel's files.
    ///
    /// ```swift
    /// // As another user, in a root and with permissions (0644) that let it read:
    /// var quotes = try Topic<UInt64>.open("market/quotes", in: ChannelRoot("/dev/shm/traders")).makeObserver(from: .oldest)
    /// for try await quote in quotes.messages() { print(quote) }
    /// ```
    ///
    /// It opens the files read-only, takes no slot and no lock, and writes nothing. Participants therefore do not know about it:
    ///
    /// - It causes no back-pressure. On every topic, even with `overflow: .block`, it misses messages that are overwritten before
    ///   it reads them. ``takeMissed()`` counts them.
    /// - Nothing wakes it. It polls, with pauses that grow from 50 µs to 10 ms, so the first message after a silence can arrive up
    ///   to 10 ms late.
    /// - It does not keep the channel alive. When the channel is removed, or its last participant has left, it receives what was
    ///   published before and then throws ``/IPC/IPCError/Code/removed``.
    /// - It repairs nothing. A message that a shared publisher left unfinished when it died hides everything after it until a
    ///   participant skips it.
    ///
    /// Each message is copied; a copy that was overwritten in the meantime is discarded. One thread at a time may use an observer.
    /// A ``WaitSet`` does not accept it.
    public struct Observer: ~Copyable, Sendable {
        @usableFromInline var subscription: Topic<Message>.Subscription

        init(_ subscription: consuming Topic<Message>.Subscription) { self.subscription = subscription }

        /// The position of the next message, for ``SubscriptionStart/position(_:)`` of a later observer.
        public var position: ChannelPosition { subscription.position }

        /// Returns the number of messages that were overwritten before they were received, since the previous call. A gap is
        /// counted when the next message of the same publisher arrives.
        public mutating func takeMissed() -> UInt64 { subscription.takeMissed() }

        /// Closes the observer.
        public consuming func close() {}
    }
}

extension Topic.Observer where Message: BitwiseCopyable {
    /// Receives the next message, waiting for it.
    ///
    /// - Throws: ``/IPC/IPCError/Code/timedOut``; ``/IPC/IPCError/Code/removed``; ``/IPC/IPCError/Code/corrupted`` for a
    ///   message that is invalid for this type, as `receive(until:)` of ``Topic/Subscription``.
    @inlinable
    public mutating func receive(until deadline: Deadline = .never) throws(IPCError) -> Message {
        try subscription.receive(until: deadline)
    }

    /// Receives the next message; nil if there is none.
    @inlinable
    public mutating func tryReceive() throws(IPCError) -> Message? { try subscription.tryReceive() }

    /// Receives the next message, suspended until there is one.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and no message was taken.
    @inlinable
    public nonisolated(nonsending) mutating func receive(
        until deadline: Deadline = .never
    ) async throws(IPCError) -> Message {
        try await subscription.receive(until: deadline)
    }

    /// The messages as an asynchronous sequence. One loop at a time.
    public consuming func messages() -> ChannelSequence<Message> { subscription.messages() }
}

extension Topic.Observer where Message == RawBytes {
    /// Borrows a copy of the next message, waiting for it.
    ///
    /// - Throws: What `body` throws; the message then counts as received. ``/IPC/IPCError/Code/timedOut``;
    ///   ``/IPC/IPCError/Code/removed``; ``/IPC/IPCError/Code/corrupted``.
    @inlinable
    public mutating func receive<Result>(
        until deadline: Deadline = .never, _ body: (RawSpan) throws(IPCError) -> Result
    ) throws(IPCError) -> Result {
        try subscription.receive(until: deadline, body)
    }

    /// Borrows a copy of the next message; nil if there is none.
    @inlinable
    public mutating func tryReceive<Result>(
        _ body: (RawSpan) throws(IPCError) -> Result
    ) throws(IPCError) -> Result? {
        try subscription.tryReceive(body)
    }

    /// Borrows a copy of the next message, suspended until there is one.
    @inlinable
    public nonisolated(nonsending) mutating func receive<Result>(
        until deadline: Deadline = .never, _ body: (RawSpan) throws(IPCError) -> Result
    ) async throws(IPCError) -> Result {
        try await subscription.receive(until: deadline, body)
    }

    /// Copies of the messages as an asynchronous sequence. One loop at a time.
    public consuming func messages() -> ChannelSequence<[UInt8]> { subscription.messages() }
}
