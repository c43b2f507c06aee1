public import IPC

/// One reader of a ``Topic``.
///
/// Messages come in the order in which their publishers claimed them; those of one publisher in the order in which it
/// published them. No call allocates, but for a copy of the largest message where the topic overwrites. One thread at a
/// time may use it.
public struct Subscription<Message>: ~Copyable, @unchecked Sendable {
    // `@unchecked`: it is one thread's at a time by its ownership; the memory is shared by atomics.
    @usableFromInline var reader: LogReader
    @usableFromInline let spins: Int?

    init(_ reader: consuming LogReader, _ waiting: Waiting) {
        self.reader = reader
        spins = waiting.spins
    }

    /// Where the next message begins: for ``SubscriptionStart/position(_:)`` of a later subscription.
    public var position: UInt64 { reader.position }

    /// How many messages were overwritten before they were received, since the last time this was asked. Always 0 where
    /// the topic does not overwrite. A gap is counted when the next message of the same publisher has come.
    public mutating func takeMissed() -> UInt64 {
        defer { reader.overrun.missed = 0 }
        return reader.overrun.missed
    }

    /// Leaves the topic.
    public consuming func close() {}

    /// Lends the next payload; nil if there is none.
    @inlinable @inline(__always)
    mutating func take<Result>(_ body: (FrameHeader, RawSpan) throws(IPCError) -> Result) throws(IPCError) -> Result? {
        guard let (header, payload) = try unsafe reader.next() else { return nil }
        // The payload stays until we advance; its length was checked against the log.
        let result = try unsafe body(header, RawSpan(_unsafeStart: payload, byteCount: Int(header.length)))
        reader.advance(past: header)
        return result
    }

    @inlinable @inline(__always)
    mutating func take<Result>(
        until deadline: Deadline, _ body: (FrameHeader, RawSpan) throws(IPCError) -> Result
    ) throws(IPCError) -> Result {
        while true {
            if let result = try take(body) { return result }
            if spins != 0, reader.spin() { continue }
            guard try reader.wait(until: deadline, spins: spins) else { try failTimedOut() }
        }
    }

    @usableFromInline @inline(never)
    func failTimedOut() throws(IPCError) -> Never {
        throw IPCError(
            .timedOut, "receive", reader.memory.name.description,
            advice: "no message came before the deadline; check that a publisher lives, or allow more time")
    }
}

extension Subscription where Message: BitwiseCopyable {
    /// Receives the next message, waiting for it.
    ///
    /// - Throws: ``IPC/IPCError/Code/timedOut``; ``IPC/IPCError/Code/corrupted`` if a participant that is not of this
    ///   library wrote what cannot be a message.
    @inlinable
    public mutating func receive(until deadline: Deadline = .never) throws(IPCError) -> Message {
        try take(until: deadline) { (_, payload) throws(IPCError) in try Self.value(payload) }
    }

    /// Receives the next message if there is one.
    @inlinable
    public mutating func tryReceive() throws(IPCError) -> Message? {
        try take { (_, payload) throws(IPCError) in try Self.value(payload) }
    }

    /// Hands over the messages that are there, at most `limit`.
    ///
    /// - Returns: How many there were.
    @inlinable
    public mutating func receiveAvailable(
        limit: Int = .max, _ body: (Message) throws(IPCError) -> Void
    ) throws(IPCError) -> Int {
        var count = 0
        while count < limit, let message = try tryReceive() {
            count += 1
            try body(message)
        }
        return count
    }

    @inlinable @inline(__always)
    static func value(_ payload: RawSpan) throws(IPCError) -> Message {
        guard payload.byteCount == MemoryLayout<Message>.size else { try failWrongLength(payload.byteCount) }
        // The size was just checked; the type is the one that the channel was opened for.
        return unsafe payload.unsafeLoadUnaligned(as: Message.self)
    }

    @usableFromInline @inline(never)
    static func failWrongLength(_ count: Int) throws(IPCError) -> Never {
        throw IPCError(
            .corrupted, "receive", String(describing: Message.self),
            advice:
                "a message has \(count) bytes instead of \(MemoryLayout<Message>.size); a participant that is not of this library may have written it"
        )
    }
}

extension Subscription where Message == RawBytes {
    /// Lends the next message, waiting for it.
    ///
    /// - Parameter body: Gets the bytes where they lie in the log, without a copy, unless the topic overwrites. They do
    ///   not change while it runs, if their publisher is of this library. If it throws, the message counts as not
    ///   received, unless the topic overwrites.
    /// - Throws: As `body` does; ``IPC/IPCError/Code/timedOut``; ``IPC/IPCError/Code/corrupted``.
    @inlinable
    public mutating func receive<Result>(
        until deadline: Deadline = .never, _ body: (RawSpan) throws(IPCError) -> Result
    ) throws(IPCError) -> Result {
        try take(until: deadline) { (_, payload) throws(IPCError) in try body(payload) }
    }

    /// Lends the next message if there is one.
    @inlinable
    public mutating func tryReceive<Result>(
        _ body: (RawSpan) throws(IPCError) -> Result
    ) throws(IPCError) -> Result? {
        try take { (_, payload) throws(IPCError) in try body(payload) }
    }

    /// Lends the messages that are there one after the other, at most `limit`.
    ///
    /// - Returns: How many there were.
    @inlinable
    public mutating func receiveAvailable(
        limit: Int = .max, _ body: (RawSpan) throws(IPCError) -> Void
    ) throws(IPCError) -> Int {
        var count = 0
        while count < limit, try take({ (_, payload) throws(IPCError) in try body(payload) }) != nil { count += 1 }
        return count
    }
}
