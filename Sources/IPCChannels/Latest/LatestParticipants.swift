public import IPC

/// One that sets a ``Latest``. One thread at a time may use it.
///
/// Setting does not block; with shared writers, only for another that is stopped in the middle of it, a whole log ago.
public struct LatestSetter<Value>: ~Copyable, Sendable {
    var publisher: Publisher<Value>

    init(_ writer: consuming LogWriter) { publisher = Publisher(writer) }
}

extension LatestSetter where Value: BitwiseCopyable {
    /// Sets the value.
    public mutating func set(_ value: Value) throws(IPCError) { try publisher.publish(value) }
}

extension LatestSetter where Value == RawBytes {
    /// Sets the value to a copy of the bytes.
    ///
    /// - Throws: ``IPC/IPCError/Code/messageTooLarge`` over half the log.
    public mutating func set(_ bytes: RawSpan) throws(IPCError) { try publisher.publish(bytes) }

    /// Sets the value to what `fill` writes, at most `byteCount` bytes.
    public mutating func set(
        upTo byteCount: Int, _ fill: (inout OutputRawSpan) throws(IPCError) -> Void
    ) throws(IPCError) {
        try publisher.publish(upTo: byteCount, fill)
    }
}

/// One that gets a ``Latest``. One thread at a time may use it.
public struct LatestGetter<Value>: ~Copyable, @unchecked Sendable {
    // `@unchecked`: the value is one thread's at a time by its ownership.
    var subscription: Subscription<Value>
    /// Bytes of the newest value that was taken; the reader keeps a copy of it.
    private var byteCount: Int?

    init(_ subscription: consuming Subscription<Value>) { self.subscription = subscription }

    /// Goes on to a value at least as new as this call.
    ///
    /// - Returns: Whether there was a newer one than before.
    private mutating func update() throws(IPCError) -> Bool {
        if subscription.reader.memory.tellsLatest {
            guard let count = try subscription.reader.takeLatest() else { return false }
            byteCount = count
            return true
        }
        // Whatever was set before this call begins before this.
        let end = LogPositions.bound(subscription.reader.memory)
        var hasNewer = false
        var left = subscription.reader.memory.frameLimit
        while left > 0 {
            left &-= 1
            subscription.reader.passOver(until: end)
            guard let count = try subscription.take({ (_, payload) throws(IPCError) in payload.byteCount }) else {
                break
            }
            byteCount = count
            hasNewer = true
            guard subscription.reader.position < end else { break }
        }
        return hasNewer
    }

    /// Lends the newest value's bytes, at least as new as this call; nil before the first.
    private mutating func lendNewest<Result>(
        _ body: (RawSpan) throws(IPCError) -> Result
    ) throws(IPCError) -> Result? {
        if try !update() { try subscription.reader.lookAround() }
        return byteCount == nil ? nil : try lendHeld(body)
    }

    /// Lends the value that was taken last.
    private func lendHeld<Result>(_ body: (RawSpan) throws(IPCError) -> Result) throws(IPCError) -> Result {
        try unsafe body(RawSpan(_unsafeStart: subscription.reader.overrun.copy, byteCount: byteCount ?? 0))
    }

    /// As ``lendNewest(_:)``, once there is a newer one, suspended meanwhile.
    private nonisolated(nonsending) mutating func lendNext<Result>(
        until deadline: Deadline, _ body: (RawSpan) throws(IPCError) -> Result
    ) async throws(IPCError) -> Result {
        var hasLooked = false
        while try !update() {
            if subscription.reader.look(subscription.spins, unless: &hasLooked) { continue }
            try await subscription.waitForMessage(until: deadline)
        }
        return try lendHeld(body)
    }

    /// As ``lendNewest(_:)``, once there is a newer one.
    private mutating func lendNext<Result>(
        until deadline: Deadline, _ body: (RawSpan) throws(IPCError) -> Result
    ) throws(IPCError) -> Result {
        while true {
            if try update() { return try lendHeld(body) }
            guard try subscription.reader.wait(until: deadline, spins: subscription.spins) else {
                try subscription.failTimedOut()
            }
        }
    }
}

extension LatestGetter where Value: BitwiseCopyable {
    /// The newest value, at least as new as this call; nil before the first. Does not block.
    ///
    /// - Throws: ``IPC/IPCError/Code/corrupted`` if a setter that is not of this library wrote what cannot be a value, such as a
    ///   number in the place of an enumeration that is none of its cases; until the next value is set.
    public mutating func get() throws(IPCError) -> Value? {
        guard try lendNewest({ (_) throws(IPCError) in }) != nil else { return nil }
        return try heldValue()
    }

    /// The value that was taken last.
    private func heldValue() throws(IPCError) -> Value {
        try unsafe subscription.value(subscription.reader.overrun.copy, byteCount: byteCount ?? 0)
    }

    /// Waits for a value that is newer than the last one that was got, and gets the newest.
    ///
    /// - Throws: ``IPC/IPCError/Code/timedOut``; ``IPC/IPCError/Code/corrupted`` as ``get()``.
    public mutating func next(until deadline: Deadline = .never) throws(IPCError) -> Value {
        try lendNext(until: deadline) { (_) throws(IPCError) in }
        return try heldValue()
    }

    /// Waits for a value that is newer than the last one that was got, suspended meanwhile, and gets the newest.
    ///
    /// - Throws: As the blocking call; ``IPC/IPCError/Code/cancelled``.
    public nonisolated(nonsending) mutating func next(
        until deadline: Deadline = .never
    ) async throws(IPCError) -> Value {
        try await lendNext(until: deadline) { (_) throws(IPCError) in }
        return try heldValue()
    }

    /// The newest value, whenever there is a newer one. One loop at a time.
    public consuming func values() -> ChannelSequence<Value> {
        let held = Held(self)
        return ChannelSequence { () async throws(IPCError) in try await held.participant.next() }
    }
}

extension LatestGetter where Value == RawBytes {
    /// Lends a copy of the newest value, at least as new as this call; nil before the first. Does not block.
    public mutating func get<Result>(_ body: (RawSpan) throws(IPCError) -> Result) throws(IPCError) -> Result? {
        try lendNewest(body)
    }

    /// Waits for a value that is newer than the last one that was got, and lends a copy of the newest.
    ///
    /// - Throws: ``IPC/IPCError/Code/timedOut``.
    public mutating func next<Result>(
        until deadline: Deadline = .never, _ body: (RawSpan) throws(IPCError) -> Result
    ) throws(IPCError) -> Result {
        try lendNext(until: deadline, body)
    }

    /// Waits for a value that is newer than the last one that was got, suspended meanwhile, and lends a copy of the newest.
    public nonisolated(nonsending) mutating func next<Result>(
        until deadline: Deadline = .never, _ body: (RawSpan) throws(IPCError) -> Result
    ) async throws(IPCError) -> Result {
        try await lendNext(until: deadline, body)
    }
}
