public import IPC

/// One writer of a ``Topic``.
///
/// A message is visible to all subscribers at once, when the call returns; or, if the process dies before that, to none.
/// Calls block only while a subscriber of a topic that does not overwrite is a whole log behind. No call allocates. One
/// thread at a time may use it.
public struct Publisher<Message>: ~Copyable, @unchecked Sendable {
    // `@unchecked`: it is one thread's at a time by its ownership; the memory is shared by atomics.
    @usableFromInline var writer: LogWriter

    init(_ writer: consuming LogWriter) { self.writer = writer }

    /// Waits until all that was published before this call, by whomever, is on the disk: `msync`.
    ///
    /// - Parameter deadline: How long to wait for messages that others have begun before, and not finished. The disk itself takes
    ///   the time that it takes.
    /// - Throws: ``IPC/IPCError/Code/unsupported`` where the topic is not durable; ``IPC/IPCError/Code/timedOut``; what `msync`
    ///   says. Blocks the thread.
    public mutating func sync(until deadline: Deadline = .never) throws(IPCError) { try writer.sync(until: deadline) }

    /// Leaves the topic; what was published stays.
    public consuming func close() {}

    @usableFromInline @inline(never)
    func failTimedOut() throws(IPCError) -> Never {
        throw IPCError(
            .timedOut, "publish", writer.memory.name.description,
            advice:
                "a subscriber is a whole log behind; allow more time, enlarge the log, or create the topic to overwrite"
        )
    }
}

extension Publisher where Message: BitwiseCopyable {
    /// Publishes a value.
    ///
    /// - Parameter deadline: How long to wait for subscribers that are a log behind.
    /// - Throws: ``IPC/IPCError/Code/timedOut``, and the message was not published.
    @inlinable
    public mutating func publish(_ message: Message, until deadline: Deadline = .never) throws(IPCError) {
        guard try put(message, until: deadline) else { try failTimedOut() }
    }

    /// Publishes a value if there is room now.
    @inlinable
    public mutating func tryPublish(_ message: Message) throws(IPCError) -> Bool {
        try put(message, until: .immediate)
    }

    @inlinable @inline(__always)
    mutating func put(_ message: Message, until deadline: Deadline) throws(IPCError) -> Bool {
        guard let payload = unsafe writer.claimAtOnce(MemoryLayout<Message>.size) else {
            return try putSlowly(message, until: deadline)
        }
        unsafe payload.storeBytes(of: message, as: Message.self)
        writer.deliverAtOnce(MemoryLayout<Message>.size)
        return true
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

extension Publisher where Message == RawBytes {
    /// Publishes a copy of the bytes.
    ///
    /// - Throws: ``IPC/IPCError/Code/timedOut``; ``IPC/IPCError/Code/messageTooLarge`` over half the log.
    @inlinable
    public mutating func publish(_ bytes: RawSpan, until deadline: Deadline = .never) throws(IPCError) {
        guard try put(bytes, until: deadline) else { try failTimedOut() }
    }

    /// Publishes a copy of the bytes if there is room now.
    @inlinable
    public mutating func tryPublish(_ bytes: RawSpan) throws(IPCError) -> Bool { try put(bytes, until: .immediate) }

    @inlinable @inline(__always)
    mutating func put(_ bytes: RawSpan, until deadline: Deadline) throws(IPCError) -> Bool {
        guard let payload = unsafe writer.claimAtOnce(bytes.byteCount) else {
            return try putSlowly(bytes, until: deadline)
        }
        unsafe payload.copyBytes(of: bytes)
        writer.deliverAtOnce(bytes.byteCount)
        return true
    }

    @usableFromInline @inline(never)
    mutating func putSlowly(_ bytes: RawSpan, until deadline: Deadline) throws(IPCError) -> Bool {
        guard let payload = try unsafe writer.claimSlowly(bytes.byteCount, until: deadline) else { return false }
        unsafe payload.copyBytes(of: bytes)
        try writer.deliver(bytes.byteCount)
        return true
    }

    /// Publishes what `fill` writes, without a copy: it writes into the log itself.
    ///
    /// ```swift
    /// try publisher.publish(upTo: 1 << 20) { frame in camera.read(into: &frame) }
    /// ```
    ///
    /// - Parameters:
    ///   - byteCount: The most that `fill` may write; the message has as many bytes as it did write.
    ///   - fill: Takes as long as it likes; other publishers go on, subscribers wait at this message. If it throws, the
    ///     message is given up.
    /// - Throws: What `fill` throws, and what ``publish(_:until:)`` does.
    @inlinable
    public mutating func publish(
        upTo byteCount: Int, until deadline: Deadline = .never,
        _ fill: (inout OutputRawSpan) throws(IPCError) -> Void
    ) throws(IPCError) {
        guard try put(upTo: byteCount, until: deadline, fill) else { try failTimedOut() }
    }

    /// Publishes what `fill` writes if there is room now.
    ///
    /// - Returns: False if there is none, and `fill` was not called.
    @inlinable
    public mutating func tryPublish(
        upTo byteCount: Int, _ fill: (inout OutputRawSpan) throws(IPCError) -> Void
    ) throws(IPCError) -> Bool {
        try put(upTo: byteCount, until: .immediate, fill)
    }

    @inlinable @inline(__always)
    mutating func put(
        upTo byteCount: Int, until deadline: Deadline, _ fill: (inout OutputRawSpan) throws(IPCError) -> Void
    ) throws(IPCError) -> Bool {
        guard let payload = unsafe writer.claimAtOnce(byteCount) else {
            return try putSlowly(upTo: byteCount, until: deadline, fill)
        }
        let count = try unsafe filled(payload, byteCount, fill)
        writer.deliverAtOnce(count)
        return true
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

    /// Lets `fill` write to what was claimed, which is abandoned if it throws.
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
