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
    /// Nil if all bytes of the right count are a message.
    @usableFromInline let checks: MessageChecks?

    init(_ reader: consuming LogReader, _ waiting: Waiting, _ checks: MessageChecks?) {
        self.reader = reader
        spins = waiting.spins
        self.checks = checks
    }

    /// Where the next message begins: for ``SubscriptionStart/position(_:)`` of a later subscription.
    public var position: ChannelPosition { ChannelPosition(channel: reader.memory.key, offset: reader.position) }

    /// How many messages were overwritten before they were received, since the last time this was asked. Always 0 where
    /// the topic does not overwrite. A gap is counted when the next message of the same publisher has come. Where publishers are
    /// shared, and a subscription begins before the next message, what is lost of the older ones before the first is received is not
    /// counted.
    public mutating func takeMissed() -> UInt64 {
        defer { reader.overrun.missed = 0 }
        return reader.overrun.missed
    }

    /// Passes over the next message without a look at what is in it, such as one that `receive` cannot bear.
    ///
    /// - Returns: False if there is none yet.
    /// - Throws: ``IPC/IPCError/Code/corrupted`` if what is there is no message at all.
    public mutating func skip() throws(IPCError) -> Bool {
        guard let (header, _) = try unsafe reader.next() else {
            try reader.lookAround()
            return false
        }
        reader.advance(past: header)
        return true
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
    ///   library wrote what cannot be a message, such as a number of bytes that it does not have, or a number in the place of an
    ///   enumeration that is none of its cases: that is passed over, and the next call receives the next message.
    @inlinable
    public mutating func receive(until deadline: Deadline = .never) throws(IPCError) -> Message {
        while true {
            if let message = try takeValue() { return message }
            if spins != 0, reader.spin() { continue }
            guard try reader.wait(until: deadline, spins: spins) else { try failTimedOut() }
        }
    }

    /// Receives the next message if there is one.
    ///
    /// - Throws: As ``receive(until:)``, but ``IPC/IPCError/Code/timedOut``.
    @inlinable
    public mutating func tryReceive() throws(IPCError) -> Message? {
        if let message = try takeValue() { return message }
        try reader.lookAround()
        return nil
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
    mutating func takeValue() throws(IPCError) -> Message? {
        guard let (header, payload) = try unsafe reader.next() else { return nil }
        guard Int(header.length) == MemoryLayout<Message>.size, checks == nil else {
            return try unsafe takeChecked(header, payload)
        }
        // The size was just checked; the type is the one that the channel was opened for; all its bit patterns are values.
        let message = unsafe payload.loadUnaligned(as: Message.self)
        reader.advance(past: header)
        return message
    }

    /// The same for a type that has checks, or a message that is none. It counts as read whatever it is: another call would not
    /// find it any better, and it would hold the publishers back.
    @inlinable @inline(never)
    mutating func takeChecked(_ header: FrameHeader, _ payload: UnsafeMutableRawPointer) throws(IPCError) -> Message {
        defer { reader.advance(past: header) }
        return try unsafe value(payload, byteCount: Int(header.length))
    }

    /// - Parameter payload: May change while it is read.
    @inlinable
    func value(_ payload: UnsafeRawPointer, byteCount: Int) throws(IPCError) -> Message {
        guard byteCount == MemoryLayout<Message>.size else { try failWrongLength(byteCount) }
        guard let checks else { return unsafe payload.loadUnaligned(as: Message.self) }
        do throws(MessageChecks.Invalid) { return try unsafe checks.value(at: payload) } catch { try fail(error) }
    }

    @usableFromInline @inline(never)
    func failWrongLength(_ count: Int) throws(IPCError) -> Never {
        throw IPCError(
            .corrupted, "receive", reader.memory.name.description,
            advice:
                "a message has \(count) bytes instead of the \(MemoryLayout<Message>.size) of \(Message.self); the participant that wrote it is not of this library: find it, and correct it"
        )
    }

    @usableFromInline @inline(never)
    func fail(_ invalid: MessageChecks.Invalid) throws(IPCError) -> Never {
        guard let checks else { preconditionFailure("only checks find a message invalid") }
        throw checks.error(invalid, "receive", reader.memory.name)
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
        if let result = try take({ (_, payload) throws(IPCError) in try body(payload) }) { return result }
        try reader.lookAround()
        return nil
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
        if count == 0 { try reader.lookAround() }
        return count
    }
}
