public import IPC

extension Topic {
    /// A subscriber of a ``Topic``.
    ///
    /// Messages arrive in the order in which their publishers claimed space for them. The messages of one publisher arrive in the
    /// order in which it published them. Receiving does not allocate, except to grow the copy buffer to the largest message where
    /// the topic overwrites. One thread at a time may use a subscription.
    public struct Subscription: ~Copyable, @unchecked Sendable {
        // `@unchecked`: ownership limits it to one thread at a time; shared memory is accessed through atomics.
        @usableFromInline var reader: LogReader
        @usableFromInline let spins: Int?
        /// Nil if every bit pattern of the right size is a valid message.
        @usableFromInline let checks: MessageChecks?
        /// The size of the channel's messages, where this program knows only their first fields; otherwise 0.
        @usableFromInline let wholeByteCount: Int

        init(
            _ reader: consuming LogReader, _ waiting: WaitStrategy, _ checks: MessageChecks?, wholeByteCount: Int = 0
        ) {
            self.wholeByteCount = wholeByteCount
            self.reader = reader
            spins = waiting.spins
            self.checks = checks
        }

        /// The position of the next message, for ``SubscriptionStart/position(_:)`` of a later subscription.
        public var position: ChannelPosition { ChannelPosition(channel: reader.memory.key, offset: reader.position) }

        /// Returns the number of messages that were overwritten before they were received, since the previous call: none if the
        /// topic does not overwrite. Messages of other machines that were lost on their way here are counted too. A gap is counted when the next message of the same publisher arrives. With shared publishers
        /// and a start other than the next message, losses before the first received message are not counted.
        public mutating func takeMissed() -> UInt64 {
            defer { reader.overrun.missedElsewhere = 0 }
            return takeMissedHere() &+ reader.overrun.missedElsewhere
        }

        /// The same of this machine alone.
        package mutating func takeMissedHere() -> UInt64 {
            defer { reader.overrun.missed = 0 }
            return reader.overrun.missed
        }

        /// Skips the next message without checking its contents.
        ///
        /// - Returns: False if there is none yet.
        /// - Throws: ``/IPC/IPCError/Code/corrupted`` if the log has no valid frame there.
        public mutating func skip() throws(IPCError) -> Bool {
            guard let (header, _) = try unsafe reader.next() else {
                try reader.checkLiveness()
                return false
            }
            reader.advance(past: header)
            return true
        }

        /// Leaves the topic.
        public consuming func close() {}

        /// Borrows the next payload; nil if there is none.
        @inlinable @inline(__always)
        mutating func take<Result>(_ body: (FrameHeader, RawSpan) throws(IPCError) -> Result) throws(IPCError)
            -> Result?
        {
            guard let (header, payload) = try unsafe reader.next() else { return nil }
            // The payload stays until `advance`; its length was checked against the log.
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
                advice: "no message arrived before the deadline; check that a publisher is running, or allow more time")
        }
    }
}

extension Topic.Subscription where Message: BitwiseCopyable {
    /// Receives the next message, waiting for it.
    ///
    /// - Throws: ``/IPC/IPCError/Code/timedOut``; ``/IPC/IPCError/Code/corrupted`` if a participant that does not use this
    ///   library wrote an invalid message, such as one of the wrong size or with an enumeration value that is none of its
    ///   cases. That message is skipped; the next call receives the one after it.
    @inlinable
    public mutating func receive(until deadline: Deadline = .never) throws(IPCError) -> Message {
        while true {
            if let message = try takeValue() { return message }
            if spins != 0, reader.spin() { continue }
            guard try reader.wait(until: deadline, spins: spins) else { try failTimedOut() }
        }
    }

    /// Receives the next message; nil if there is none.
    ///
    /// - Throws: As `receive(until:)`, except ``/IPC/IPCError/Code/timedOut``.
    @inlinable
    public mutating func tryReceive() throws(IPCError) -> Message? {
        if let message = try takeValue() { return message }
        try reader.checkLiveness()
        return nil
    }

    /// Calls `body` with each message that is available, at most `limit` of them.
    ///
    /// - Returns: The number of messages.
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
        // The size was checked; the channel was opened for this type; every bit pattern of it is a value.
        let message = unsafe payload.loadUnaligned(as: Message.self)
        reader.advance(past: header)
        return message
    }

    /// Takes a message of a type that has checks, or one of the wrong size. An invalid message counts as read: another attempt
    /// would find it just as invalid, and it would hold the publishers back.
    @inlinable @inline(never)
    mutating func takeChecked(_ header: FrameHeader, _ payload: UnsafeMutableRawPointer) throws(IPCError) -> Message {
        defer { reader.advance(past: header) }
        return try unsafe value(payload, byteCount: Int(header.length))
    }

    /// - Parameter payload: May change while it is read.
    @inlinable
    func value(_ payload: UnsafeRawPointer, byteCount: Int) throws(IPCError) -> Message {
        let size = MemoryLayout<Message>.size
        guard byteCount == size || byteCount == wholeByteCount && byteCount > size else {
            try failWrongLength(byteCount)
        }
        guard let checks else { return unsafe payload.loadUnaligned(as: Message.self) }
        do throws(MessageChecks.Invalid) { return try unsafe checks.value(at: payload) } catch { try fail(error) }
    }

    @usableFromInline @inline(never)
    func failWrongLength(_ count: Int) throws(IPCError) -> Never {
        throw IPCError(
            .corrupted, "receive", reader.memory.name.description,
            advice:
                "a message has \(count) bytes instead of the \(MemoryLayout<Message>.size) of \(Message.self); the participant that wrote it does not use this library: find it, and fix it"
        )
    }
}

extension Topic.Subscription {
    @usableFromInline @inline(never)
    func fail(_ invalid: MessageChecks.Invalid) throws(IPCError) -> Never {
        guard let checks else { preconditionFailure("only a type with checks has invalid messages") }
        throw checks.error(invalid, "receive", reader.memory.name)
    }
}

extension Topic.Subscription where Message == RawBytes {
    /// Borrows the next message, waiting for it.
    ///
    /// - Parameters:
    ///   - deadline: When to give up.
    ///   - body: Receives the bytes in the log, without a copy, or a copy if the topic overwrites. The bytes do not change
    ///     while it runs, provided that their publisher uses this library. If it throws, the message counts as not received,
    ///     unless the topic overwrites.
    /// - Throws: What `body` throws; ``/IPC/IPCError/Code/timedOut``; ``/IPC/IPCError/Code/corrupted``.
    @inlinable
    public mutating func receive<Result>(
        until deadline: Deadline = .never, _ body: (RawSpan) throws(IPCError) -> Result
    ) throws(IPCError) -> Result {
        try take(until: deadline) { (_, payload) throws(IPCError) in try body(payload) }
    }

    /// Borrows the next message; nil if there is none.
    @inlinable
    public mutating func tryReceive<Result>(
        _ body: (RawSpan) throws(IPCError) -> Result
    ) throws(IPCError) -> Result? {
        if let result = try take({ (_, payload) throws(IPCError) in try body(payload) }) { return result }
        try reader.checkLiveness()
        return nil
    }

    /// Borrows each message that is available in turn, at most `limit` of them.
    ///
    /// - Returns: The number of messages.
    @inlinable
    public mutating func receiveAvailable(
        limit: Int = .max, _ body: (RawSpan) throws(IPCError) -> Void
    ) throws(IPCError) -> Int {
        var count = 0
        while count < limit, try take({ (_, payload) throws(IPCError) in try body(payload) }) != nil { count += 1 }
        if count == 0 { try reader.checkLiveness() }
        return count
    }
}

extension Topic.Subscription: ChannelSource {
    public mutating func readiness() -> ChannelReadiness { reader.readiness() }
}
