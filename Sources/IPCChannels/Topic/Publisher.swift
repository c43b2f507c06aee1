public import IPC

extension Topic {
    /// A publisher of a ``Topic``.
    ///
    /// One store makes a message visible to all subscribers, at the latest when the call returns. If the process dies before that
    /// store, no subscriber sees the message. A call blocks only while a subscriber of a topic with `overflow: .block` is a whole
    /// log behind, and, in a durable topic, while it syncs. Publishing a value or bytes does not allocate. One thread at a time may
    /// use a publisher.
    public struct Publisher: ~Copyable, @unchecked Sendable {
        // `@unchecked`: ownership limits it to one thread at a time; shared memory is accessed through atomics.
        @usableFromInline var writer: LogWriter

        init(_ writer: consuming LogWriter) { self.writer = writer }

        /// Waits until everything published before this call, by any process, is on disk (`msync`). Blocks the thread.
        ///
        /// - Parameter deadline: How long to wait for earlier messages that other publishers have begun and not finished. It does
        ///   not limit the time that the disk takes.
        /// - Throws: ``/IPC/IPCError/Code/unsupported`` if the topic is not durable; ``/IPC/IPCError/Code/timedOut``; the error of
        ///   `msync`.
        public mutating func sync(until deadline: Deadline = .never) throws(IPCError) {
            try writer.sync(until: deadline)
        }

        /// Leaves the topic. Published messages stay.
        public consuming func close() {}

        @usableFromInline @inline(never)
        func failTimedOut() throws(IPCError) -> Never { throw timedOut }

        var timedOut: IPCError {
            IPCError(
                .timedOut, "publish", writer.memory.name.description,
                advice:
                    "a subscriber is a whole log behind; allow more time, enlarge the log, or create the topic with overflow overwrite"
            )
        }
    }
}

// Each call has a fast path that is inlined into the caller's loop. Everything else is one function, called last. When
// `publish` was a function itself, it saved seven registers per message and reached two thirds of the message rate (`ipc bench
// --mechanism topic`).

extension Topic.Publisher where Message: BitwiseCopyable {
    /// Publishes a value.
    ///
    /// - Parameters:
    ///   - message: The value.
    ///   - deadline: How long to wait for a subscriber that is a whole log behind.
    /// - Throws: ``/IPC/IPCError/Code/timedOut``, and the message was not published.
    @inlinable @inline(__always)
    public mutating func publish(_ message: Message, until deadline: Deadline = .never) throws(IPCError) {
        if putAtOnce(message) { return }
        try publishSlowly(message, until: deadline)
    }

    /// Publishes a value if there is room now.
    ///
    /// - Returns: False if there is none.
    @inlinable
    public mutating func tryPublish(_ message: Message) throws(IPCError) -> Bool {
        if putAtOnce(message) { return true }
        return try putSlowly(message, until: .immediate)
    }

    @inlinable @inline(__always)
    mutating func putAtOnce(_ message: Message) -> Bool {
        guard let payload = unsafe writer.claimAtOnce(MemoryLayout<Message>.size) else { return false }
        unsafe payload.storeBytes(of: message, as: Message.self)
        writer.deliverAtOnce(MemoryLayout<Message>.size)
        return true
    }

    @inlinable @inline(never)
    mutating func publishSlowly(_ message: Message, until deadline: Deadline) throws(IPCError) {
        guard try putSlowly(message, until: deadline) else { try failTimedOut() }
    }

    @inlinable @inline(never)
    mutating func putSlowly(_ message: Message, until deadline: Deadline) throws(IPCError) -> Bool {
        guard let payload = try unsafe writer.claimSlowly(MemoryLayout<Message>.size, until: deadline) else {
            return false
        }
        unsafe payload.storeBytes(of: message, as: Message.self)
        try writer.deliver(MemoryLayout<Message>.size)
        return true
    }
}

extension Topic.Publisher where Message == RawBytes {
    /// Publishes a copy of the bytes.
    ///
    /// - Throws: ``/IPC/IPCError/Code/timedOut``; ``/IPC/IPCError/Code/messageTooLarge`` for more than half the log.
    @inlinable @inline(__always)
    public mutating func publish(_ bytes: RawSpan, until deadline: Deadline = .never) throws(IPCError) {
        if putAtOnce(bytes) { return }
        try publishSlowly(bytes, until: deadline)
    }

    /// Publishes a copy of the bytes if there is room now.
    ///
    /// - Returns: False if there is none.
    @inlinable
    public mutating func tryPublish(_ bytes: RawSpan) throws(IPCError) -> Bool {
        if putAtOnce(bytes) { return true }
        return try putSlowly(bytes, until: .immediate)
    }

    @inlinable @inline(__always)
    mutating func putAtOnce(_ bytes: RawSpan) -> Bool {
        guard let payload = unsafe writer.claimAtOnce(bytes.byteCount) else { return false }
        unsafe payload.copyBytes(of: bytes)
        writer.deliverAtOnce(bytes.byteCount)
        return true
    }

    @usableFromInline @inline(never)
    mutating func publishSlowly(_ bytes: RawSpan, until deadline: Deadline) throws(IPCError) {
        guard try putSlowly(bytes, until: deadline) else { try failTimedOut() }
    }

    @usableFromInline @inline(never)
    mutating func putSlowly(_ bytes: RawSpan, until deadline: Deadline) throws(IPCError) -> Bool {
        guard let payload = try unsafe writer.claimSlowly(bytes.byteCount, until: deadline) else { return false }
        unsafe payload.copyBytes(of: bytes)
        try writer.deliver(bytes.byteCount)
        return true
    }

    /// Publishes what `fill` writes, without a copy: `fill` writes directly into the log.
    ///
    /// ```swift
    /// try publisher.publish(upTo: 1 << 20) { frame in camera.read(into: &frame) }
    /// ```
    ///
    /// - Parameters:
    ///   - byteCount: The most that `fill` may write. The message has as many bytes as `fill` writes.
    ///   - deadline: How long to wait for a subscriber that is a whole log behind.
    ///   - fill: May take any time: other publishers continue, and subscribers wait at this message. If it throws, the message
    ///     is abandoned.
    /// - Throws: What `fill` throws, and what `publish(_:until:)` throws.
    @inlinable @inline(__always)
    public mutating func publish(
        upTo byteCount: Int, until deadline: Deadline = .never,
        _ fill: (inout OutputRawSpan) throws(IPCError) -> Void
    ) throws(IPCError) {
        if try putAtOnce(upTo: byteCount, fill) { return }
        try publishSlowly(upTo: byteCount, until: deadline, fill)
    }

    /// Publishes what `fill` writes if there is room now.
    ///
    /// - Returns: False if there is none; `fill` is not called.
    @inlinable
    public mutating func tryPublish(
        upTo byteCount: Int, _ fill: (inout OutputRawSpan) throws(IPCError) -> Void
    ) throws(IPCError) -> Bool {
        if try putAtOnce(upTo: byteCount, fill) { return true }
        return try putSlowly(upTo: byteCount, until: .immediate, fill)
    }

    @inlinable @inline(__always)
    mutating func putAtOnce(
        upTo byteCount: Int, _ fill: (inout OutputRawSpan) throws(IPCError) -> Void
    ) throws(IPCError) -> Bool {
        guard let payload = unsafe writer.claimAtOnce(byteCount) else { return false }
        let count = try unsafe filled(payload, byteCount, fill)
        writer.deliverAtOnce(count)
        return true
    }

    @inlinable @inline(never)
    mutating func publishSlowly(
        upTo byteCount: Int, until deadline: Deadline, _ fill: (inout OutputRawSpan) throws(IPCError) -> Void
    ) throws(IPCError) {
        guard try putSlowly(upTo: byteCount, until: deadline, fill) else { try failTimedOut() }
    }

    @inlinable @inline(never)
    mutating func putSlowly(
        upTo byteCount: Int, until deadline: Deadline, _ fill: (inout OutputRawSpan) throws(IPCError) -> Void
    ) throws(IPCError) -> Bool {
        guard let payload = try unsafe writer.claimSlowly(byteCount, until: deadline) else { return false }
        let count = try unsafe filled(payload, byteCount, fill)
        try writer.deliver(count)
        return true
    }
}

extension Topic.Publisher {
    /// Calls `fill` with the claimed space. Abandons the claim if `fill` throws.
    @inlinable @inline(__always)
    mutating func filled(
        _ payload: UnsafeMutableRawPointer, _ byteCount: Int,
        _ fill: (inout OutputRawSpan) throws(IPCError) -> Void
    ) throws(IPCError) -> Int {
        let buffer = unsafe UnsafeMutableRawBufferPointer(start: payload, count: byteCount)
        var span = unsafe OutputRawSpan(buffer: buffer, initializedCount: 0)
        do throws(IPCError) {
            try fill(&span)
        } catch {
            writer.abandon()
            throw error
        }
        return unsafe span.finalize(for: buffer)
    }
}

extension UnsafeMutableRawPointer {
    @inlinable @inline(__always)
    func copyBytes(of bytes: RawSpan) {
        unsafe bytes.withUnsafeBytes { source in
            if let base = source.baseAddress { unsafe copyMemory(from: base, byteCount: source.count) }
        }
    }
}

extension Topic.Publisher {
    /// The readiness of room for a message of `byteCount` bytes.
    public mutating func readiness(forRoom byteCount: Int) -> ChannelReadiness { writer.readiness(forRoom: byteCount) }
}
