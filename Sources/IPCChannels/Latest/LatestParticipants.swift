public import IPC

extension Latest {
    /// A setter of a ``Latest``. One thread at a time may use it.
    ///
    /// Setting does not block. The one exception: with shared writers, it waits for another setter that was stopped while it set a
    /// value, a whole log ago.
    public struct Setter: ~Copyable, Sendable {
        var publisher: Topic<Value>.Publisher

        init(_ writer: consuming LogWriter) { publisher = Topic<Value>.Publisher(writer) }
    }
}

extension Latest.Setter where Value: BitwiseCopyable {
    /// Sets the value.
    public mutating func set(_ value: Value) throws(IPCError) { try publisher.publish(value) }
}

extension Latest.Setter where Value == RawBytes {
    /// Sets the value to a copy of the bytes.
    ///
    /// - Throws: ``/IPC/IPCError/Code/messageTooLarge`` for more than half the log.
    public mutating func set(_ bytes: RawSpan) throws(IPCError) { try publisher.publish(bytes) }

    /// Sets the value to what `fill` writes, at most `byteCount` bytes.
    public mutating func set(
        upTo byteCount: Int, _ fill: (inout OutputRawSpan) throws(IPCError) -> Void
    ) throws(IPCError) {
        try publisher.publish(upTo: byteCount, fill)
    }
}

extension Latest {
    /// A getter of a ``Latest``. One thread at a time may use it.
    public struct Getter: ~Copyable, @unchecked Sendable {
        // `@unchecked`: ownership limits it to one thread at a time.
        var subscription: Topic<Value>.Subscription
        /// The size of the newest value taken; the reader keeps a copy of the value.
        private var byteCount: Int?

        init(_ subscription: consuming Topic<Value>.Subscription) { self.subscription = subscription }

        /// Moves to a value at least as new as this call.
        ///
        /// - Returns: Whether there was a newer one than before.
        private mutating func update() throws(IPCError) -> Bool {
            if subscription.reader.memory.publishesLatest {
                guard let count = try subscription.reader.takeLatest() else { return false }
                byteCount = count
                return true
            }
            // Everything set before this call begins before this position.
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

        /// Borrows the newest value's bytes, at least as new as this call; nil before the first.
        mutating func lendNewest<Result>(
            _ body: (RawSpan) throws(IPCError) -> Result
        ) throws(IPCError) -> Result? {
            if try !update() { try subscription.reader.checkLiveness() }
            return byteCount == nil ? nil : try lendHeld(body)
        }

        /// Borrows the value taken last.
        private func lendHeld<Result>(_ body: (RawSpan) throws(IPCError) -> Result) throws(IPCError) -> Result {
            try unsafe body(RawSpan(_unsafeStart: subscription.reader.overrun.copy, byteCount: byteCount ?? 0))
        }

        /// As ``lendNewest(_:)``, once there is a newer value, suspended meanwhile.
        nonisolated(nonsending) mutating func lendNext<Result>(
            until deadline: Deadline, _ body: (RawSpan) throws(IPCError) -> Result
        ) async throws(IPCError) -> Result {
            var hasLooked = false
            while try !update() {
                if subscription.reader.look(subscription.spins, unless: &hasLooked) { continue }
                try await subscription.waitForMessage(until: deadline)
            }
            return try lendHeld(body)
        }

        /// As ``lendNewest(_:)``, once there is a newer value.
        mutating func lendNext<Result>(
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
}

extension Latest.Getter where Value: BitwiseCopyable {
    /// Returns the newest value, at least as new as this call; nil before the first. Does not block.
    ///
    /// - Throws: ``/IPC/IPCError/Code/corrupted`` if a setter that does not use this library wrote an invalid value, such as an
    ///   enumeration value that is none of its cases. Throws it until the next value is set.
    public mutating func get() throws(IPCError) -> Value? {
        guard try lendNewest({ (_) throws(IPCError) in }) != nil else { return nil }
        return try heldValue()
    }

    /// The value taken last.
    private func heldValue() throws(IPCError) -> Value {
        try unsafe subscription.value(subscription.reader.overrun.copy, byteCount: byteCount ?? 0)
    }

    /// Waits for a value newer than the previous one, and returns the newest.
    ///
    /// - Throws: ``/IPC/IPCError/Code/timedOut``; ``/IPC/IPCError/Code/corrupted`` as `get()`.
    public mutating func next(until deadline: Deadline = .never) throws(IPCError) -> Value {
        try lendNext(until: deadline) { (_) throws(IPCError) in }
        return try heldValue()
    }

    /// Waits for a value newer than the previous one, suspended meanwhile, and returns the newest.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``.
    public nonisolated(nonsending) mutating func next(
        until deadline: Deadline = .never
    ) async throws(IPCError) -> Value {
        try await lendNext(until: deadline) { (_) throws(IPCError) in }
        return try heldValue()
    }

    /// The newest value, each time there is a newer one, as an asynchronous sequence. One loop at a time.
    public consuming func values() -> ChannelSequence<Value> {
        let box = Box(self)
        return ChannelSequence { () async throws(IPCError) in try await box.value.next() }
    }
}

extension Latest.Getter where Value == RawBytes {
    /// Borrows a copy of the newest value, at least as new as this call; nil before the first. Does not block.
    public mutating func get<Result>(_ body: (RawSpan) throws(IPCError) -> Result) throws(IPCError) -> Result? {
        try lendNewest(body)
    }

    /// Waits for a value newer than the previous one, and borrows a copy of the newest.
    ///
    /// - Throws: ``/IPC/IPCError/Code/timedOut``.
    public mutating func next<Result>(
        until deadline: Deadline = .never, _ body: (RawSpan) throws(IPCError) -> Result
    ) throws(IPCError) -> Result {
        try lendNext(until: deadline, body)
    }

    /// Waits for a value newer than the previous one, suspended meanwhile, and borrows a copy of the newest.
    public nonisolated(nonsending) mutating func next<Result>(
        until deadline: Deadline = .never, _ body: (RawSpan) throws(IPCError) -> Result
    ) async throws(IPCError) -> Result {
        try await lendNext(until: deadline, body)
    }
}

extension Latest.Getter: ChannelSource {
    public mutating func readiness() -> ChannelReadiness { subscription.readiness() }
}
