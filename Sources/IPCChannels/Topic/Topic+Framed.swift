public import IPC

// Topics of headers with bytes after them.

// As for values and bytes, each call has a fast path that is inlined into the caller's loop: see `Publisher.swift`.

extension Topic.Publisher where Message: FramedMessage {
    /// Publishes a header and a copy of the bytes.
    ///
    /// - Parameters:
    ///   - header: Stored at the start of the message.
    ///   - bytes: Stored directly after the header.
    ///   - deadline: How long to wait for a subscriber that is a whole log behind.
    /// - Throws: ``/IPC/IPCError/Code/timedOut``, and the message was not published; ``/IPC/IPCError/Code/messageTooLarge`` if
    ///   the header and the bytes together take more than half the log.
    @inlinable @inline(__always)
    public mutating func publish(
        _ header: Message.Header, _ bytes: RawSpan, until deadline: Deadline = .never
    ) throws(IPCError) {
        if putAtOnce(header, bytes) { return }
        try publishSlowly(header, bytes, until: deadline)
    }

    /// Publishes a header and a copy of the bytes if there is room now.
    ///
    /// - Returns: False if there is none.
    @inlinable
    public mutating func tryPublish(_ header: Message.Header, _ bytes: RawSpan) throws(IPCError) -> Bool {
        if putAtOnce(header, bytes) { return true }
        return try putSlowly(header, bytes, until: .immediate)
    }

    /// Publishes a header and a copy of the bytes, suspended while a subscriber is a whole log behind.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and the message was not published.
    @inlinable @inline(__always)
    public nonisolated(nonsending) mutating func publish(
        _ header: Message.Header, _ bytes: RawSpan, until deadline: Deadline = .never
    ) async throws(IPCError) {
        while try !tryPublish(header, bytes) {
            try await waitForRoom(Self.size(framing: bytes.byteCount), until: deadline)
        }
    }

    /// Publishes a header and what `fill` writes after it, without a copy: `fill` writes directly into the log.
    ///
    /// ```swift
    /// struct Picture: BitwiseCopyable { var width: UInt32; var height: UInt32 }
    /// var pictures = try Topic<Framed<Picture>>.openOrCreate("camera/pictures").makePublisher()
    /// try pictures.publish(Picture(width: 640, height: 480), upTo: 640 * 480) { pixels in camera.read(into: &pixels) }
    /// ```
    ///
    /// - Parameters:
    ///   - header: Stored at the start of the message, before `fill` is called.
    ///   - byteCount: The most bytes that `fill` may write. As many as it writes follow the header.
    ///   - deadline: How long to wait for a subscriber that is a whole log behind.
    ///   - fill: May take any time: other publishers continue, and subscribers wait at this message. If it throws, the message
    ///     is abandoned.
    /// - Throws: What `fill` throws; ``/IPC/IPCError/Code/timedOut``; ``/IPC/IPCError/Code/messageTooLarge`` if `byteCount` is
    ///   negative, or together with the header more than half the log.
    @inlinable @inline(__always)
    public mutating func publish(
        _ header: Message.Header, upTo byteCount: Int, until deadline: Deadline = .never,
        _ fill: (inout OutputRawSpan) throws(IPCError) -> Void
    ) throws(IPCError) {
        if try putAtOnce(header, upTo: byteCount, fill) { return }
        try publishSlowly(header, upTo: byteCount, until: deadline, fill)
    }

    /// Publishes a header and what `fill` writes after it if there is room now.
    ///
    /// - Returns: False if there is none; `fill` is not called.
    @inlinable
    public mutating func tryPublish(
        _ header: Message.Header, upTo byteCount: Int, _ fill: (inout OutputRawSpan) throws(IPCError) -> Void
    ) throws(IPCError) -> Bool {
        if try putAtOnce(header, upTo: byteCount, fill) { return true }
        return try putSlowly(header, upTo: byteCount, until: .immediate, fill)
    }

    /// Publishes a header and what `fill` writes directly into the log, suspended while a subscriber is a whole log behind.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and the message was not published.
    @inlinable @inline(__always)
    public nonisolated(nonsending) mutating func publish(
        _ header: Message.Header, upTo byteCount: Int, until deadline: Deadline = .never,
        _ fill: (inout OutputRawSpan) throws(IPCError) -> Void
    ) async throws(IPCError) {
        while try !tryPublish(header, upTo: byteCount, fill) {
            try await waitForRoom(Self.size(framing: byteCount), until: deadline)
        }
    }

    /// The size of a message with this many bytes after its header. A negative count stays negative, and a sum that overflows
    /// becomes the largest number: a claim refuses both.
    @inlinable @inline(__always)
    static func size(framing byteCount: Int) -> Int {
        let (size, isTooLarge) = byteCount.addingReportingOverflow(MemoryLayout<Message.Header>.size)
        return byteCount < 0 ? byteCount : isTooLarge ? .max : size
    }

    @inlinable @inline(__always)
    mutating func putAtOnce(_ header: Message.Header, _ bytes: RawSpan) -> Bool {
        let size = Self.size(framing: bytes.byteCount)
        guard let payload = unsafe writer.claimAtOnce(size) else { return false }
        unsafe payload.storeFrame(header, bytes)
        writer.deliverAtOnce(size)
        return true
    }

    @inlinable @inline(never)
    mutating func publishSlowly(
        _ header: Message.Header, _ bytes: RawSpan, until deadline: Deadline
    ) throws(IPCError) {
        guard try putSlowly(header, bytes, until: deadline) else { try failTimedOut() }
    }

    @inlinable @inline(never)
    mutating func putSlowly(
        _ header: Message.Header, _ bytes: RawSpan, until deadline: Deadline
    ) throws(IPCError) -> Bool {
        let size = Self.size(framing: bytes.byteCount)
        guard let payload = try unsafe writer.claimSlowly(size, until: deadline) else { return false }
        unsafe payload.storeFrame(header, bytes)
        try writer.deliver(size)
        return true
    }

    @inlinable @inline(__always)
    mutating func putAtOnce(
        _ header: Message.Header, upTo byteCount: Int, _ fill: (inout OutputRawSpan) throws(IPCError) -> Void
    ) throws(IPCError) -> Bool {
        guard let payload = unsafe writer.claimAtOnce(Self.size(framing: byteCount)) else { return false }
        let size = try unsafe filled(payload, header, byteCount, fill)
        writer.deliverAtOnce(size)
        return true
    }

    @inlinable @inline(never)
    mutating func publishSlowly(
        _ header: Message.Header, upTo byteCount: Int, until deadline: Deadline,
        _ fill: (inout OutputRawSpan) throws(IPCError) -> Void
    ) throws(IPCError) {
        guard try putSlowly(header, upTo: byteCount, until: deadline, fill) else { try failTimedOut() }
    }

    @inlinable @inline(never)
    mutating func putSlowly(
        _ header: Message.Header, upTo byteCount: Int, until deadline: Deadline,
        _ fill: (inout OutputRawSpan) throws(IPCError) -> Void
    ) throws(IPCError) -> Bool {
        guard let payload = try unsafe writer.claimSlowly(Self.size(framing: byteCount), until: deadline) else {
            return false
        }
        let size = try unsafe filled(payload, header, byteCount, fill)
        try writer.deliver(size)
        return true
    }

    /// Stores the header, and calls `fill` with the claimed space after it. Abandons the claim if `fill` throws.
    ///
    /// - Returns: The size of the message.
    @inlinable @inline(__always)
    mutating func filled(
        _ payload: UnsafeMutableRawPointer, _ header: Message.Header, _ byteCount: Int,
        _ fill: (inout OutputRawSpan) throws(IPCError) -> Void
    ) throws(IPCError) -> Int {
        unsafe payload.storeBytes(of: header, as: Message.Header.self)
        let start = unsafe payload + MemoryLayout<Message.Header>.size
        return try unsafe MemoryLayout<Message.Header>.size + filled(start, byteCount, fill)
    }
}

extension UnsafeMutableRawPointer {
    @inlinable @inline(__always)
    func storeFrame<Header: BitwiseCopyable>(_ header: Header, _ bytes: RawSpan) {
        unsafe storeBytes(of: header, as: Header.self)
        unsafe (self + MemoryLayout<Header>.size).copyBytes(of: bytes)
    }
}

extension Topic.Subscription where Message: FramedMessage {
    /// Borrows the next message, waiting for it.
    ///
    /// - Parameters:
    ///   - deadline: When to give up.
    ///   - body: Receives the header, and the bytes in the log, without a copy, or a copy if the topic overwrites. The bytes do
    ///     not change while it runs, provided that their publisher uses this library. If it throws, the message counts as not
    ///     received, unless the topic overwrites.
    /// - Throws: What `body` throws; ``/IPC/IPCError/Code/timedOut``; ``/IPC/IPCError/Code/corrupted`` if a participant that does
    ///   not use this library wrote an invalid header, such as one with an enumeration value that is none of its cases, or a
    ///   message that is shorter than the header. That message is skipped; the next call receives the one after it.
    @inlinable
    public mutating func receive<Result>(
        until deadline: Deadline = .never, _ body: (Message.Header, RawSpan) throws(IPCError) -> Result
    ) throws(IPCError) -> Result {
        while true {
            if let result = try takeFrame(body) { return result }
            if spins != 0, reader.spin() { continue }
            guard try reader.wait(until: deadline, spins: spins) else { try failTimedOut() }
        }
    }

    /// Borrows the next message; nil if there is none.
    ///
    /// - Throws: As `receive(until:_:)`, except ``/IPC/IPCError/Code/timedOut``.
    @inlinable
    public mutating func tryReceive<Result>(
        _ body: (Message.Header, RawSpan) throws(IPCError) -> Result
    ) throws(IPCError) -> Result? {
        if let result = try takeFrame(body) { return result }
        try reader.checkLiveness()
        return nil
    }

    /// Borrows the next message, suspended until there is one.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and no message was taken.
    @inlinable @inline(__always)
    public nonisolated(nonsending) mutating func receive<Result>(
        until deadline: Deadline = .never, _ body: (Message.Header, RawSpan) throws(IPCError) -> Result
    ) async throws(IPCError) -> Result {
        var hasLooked = false
        while true {
            if let result = try takeFrame(body) { return result }
            if reader.look(spins, unless: &hasLooked) { continue }
            try await waitForMessage(until: deadline)
        }
    }

    /// Copies of the messages as an asynchronous sequence. One loop at a time.
    public consuming func messages() -> ChannelSequence<(header: Message.Header, bytes: [UInt8])> {
        let box = Box(self)
        return ChannelSequence { () async throws(IPCError) in
            try await box.value.receive { (header, bytes) throws(IPCError) in (header: header, bytes: bytes.array) }
        }
    }

    /// Borrows the next message; nil if there is none.
    @inlinable @inline(__always)
    mutating func takeFrame<Result>(
        _ body: (Message.Header, RawSpan) throws(IPCError) -> Result
    ) throws(IPCError) -> Result? {
        guard let (frame, payload) = try unsafe reader.next() else { return nil }
        let header = try unsafe takeHeader(frame, payload)
        // The payload stays until `advance`; its length was checked against the log, and is not less than the header's.
        let size = MemoryLayout<Message.Header>.size
        let result = try unsafe body(
            header, RawSpan(_unsafeStart: payload + size, byteCount: Int(frame.length) - size))
        reader.advance(past: frame)
        return result
    }

    @inlinable @inline(__always)
    mutating func takeHeader(
        _ frame: FrameHeader, _ payload: UnsafeMutableRawPointer
    ) throws(IPCError) -> Message.Header {
        guard Int(frame.length) >= MemoryLayout<Message.Header>.size, checks == nil else {
            return try unsafe takeChecked(frame, payload)
        }
        // The length was checked; the channel was opened for this type; every bit pattern of it is a value.
        return unsafe payload.loadUnaligned(as: Message.Header.self)
    }

    /// The header, where its type has checks or the message is too short. An invalid message counts as read: another attempt
    /// would find it just as invalid, and it would hold the publishers back.
    @inlinable @inline(never)
    mutating func takeChecked(
        _ frame: FrameHeader, _ payload: UnsafeMutableRawPointer
    ) throws(IPCError) -> Message.Header {
        do throws(IPCError) { return try unsafe header(payload, byteCount: Int(frame.length)) } catch {
            reader.advance(past: frame)
            throw error
        }
    }

    /// - Parameter payload: May change while it is read.
    @inlinable
    func header(_ payload: UnsafeRawPointer, byteCount: Int) throws(IPCError) -> Message.Header {
        guard byteCount >= MemoryLayout<Message.Header>.size else { try failTooShort(byteCount) }
        guard let checks else { return unsafe payload.loadUnaligned(as: Message.Header.self) }
        do throws(MessageChecks.Invalid) { return try unsafe checks.value(at: payload) } catch { try fail(error) }
    }

    @usableFromInline @inline(never)
    func failTooShort(_ count: Int) throws(IPCError) -> Never {
        throw IPCError(
            .corrupted, "receive", reader.memory.name.description,
            advice:
                "a message has \(count) bytes, fewer than the \(MemoryLayout<Message.Header>.size) of its header, \(Message.Header.self); the participant that wrote it does not use this library: find it, and fix it"
        )
    }
}

extension Topic.Observer where Message: FramedMessage {
    /// Borrows a copy of the next message, waiting for it.
    ///
    /// - Throws: What `body` throws; the message then counts as received. ``/IPC/IPCError/Code/timedOut``;
    ///   ``/IPC/IPCError/Code/removed``; ``/IPC/IPCError/Code/corrupted`` for a message that is invalid for this type, as
    ///   `receive(until:_:)` of ``Topic/Subscription``.
    @inlinable
    public mutating func receive<Result>(
        until deadline: Deadline = .never, _ body: (Message.Header, RawSpan) throws(IPCError) -> Result
    ) throws(IPCError) -> Result {
        try subscription.receive(until: deadline, body)
    }

    /// Borrows a copy of the next message; nil if there is none.
    @inlinable
    public mutating func tryReceive<Result>(
        _ body: (Message.Header, RawSpan) throws(IPCError) -> Result
    ) throws(IPCError) -> Result? {
        try subscription.tryReceive(body)
    }

    /// Borrows a copy of the next message, suspended until there is one.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and no message was taken.
    @inlinable
    public nonisolated(nonsending) mutating func receive<Result>(
        until deadline: Deadline = .never, _ body: (Message.Header, RawSpan) throws(IPCError) -> Result
    ) async throws(IPCError) -> Result {
        try await subscription.receive(until: deadline, body)
    }

    /// Copies of the messages as an asynchronous sequence. One loop at a time.
    public consuming func messages() -> ChannelSequence<(header: Message.Header, bytes: [UInt8])> {
        subscription.messages()
    }
}

// Closures that throw errors of their own: ``ClosureError``.

extension Topic.Publisher where Message: FramedMessage {
    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public mutating func publish(
        _ header: Message.Header, upTo byteCount: Int, until deadline: Deadline = .never,
        _ fill: (inout OutputRawSpan) throws -> Void
    ) throws {
        var closure = ClosureError()
        do throws(IPCError) {
            try publish(header, upTo: byteCount, until: deadline) { (span) throws(IPCError) in
                try closure.catching { try fill(&span) }
            }
        } catch { throw closure.original(of: error) }
    }

    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public mutating func tryPublish(
        _ header: Message.Header, upTo byteCount: Int, _ fill: (inout OutputRawSpan) throws -> Void
    ) throws -> Bool {
        var closure = ClosureError()
        do throws(IPCError) {
            return try tryPublish(header, upTo: byteCount) { (span) throws(IPCError) in
                try closure.catching { try fill(&span) }
            }
        } catch { throw closure.original(of: error) }
    }

    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public nonisolated(nonsending) mutating func publish(
        _ header: Message.Header, upTo byteCount: Int, until deadline: Deadline = .never,
        _ fill: (inout OutputRawSpan) throws -> Void
    ) async throws {
        var closure = ClosureError()
        do throws(IPCError) {
            try await publish(header, upTo: byteCount, until: deadline) { (span) throws(IPCError) in
                try closure.catching { try fill(&span) }
            }
        } catch { throw closure.original(of: error) }
    }
}

extension Topic.Subscription where Message: FramedMessage {
    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public mutating func receive<Value>(
        until deadline: Deadline = .never, _ body: (Message.Header, RawSpan) throws -> Value
    ) throws -> Value {
        var closure = ClosureError()
        do throws(IPCError) {
            return try receive(until: deadline) { (header, bytes) throws(IPCError) in
                try closure.catching { try body(header, bytes) }
            }
        } catch { throw closure.original(of: error) }
    }

    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public mutating func tryReceive<Value>(
        _ body: (Message.Header, RawSpan) throws -> Value
    ) throws -> Value? {
        var closure = ClosureError()
        do throws(IPCError) {
            return try tryReceive { (header, bytes) throws(IPCError) in
                try closure.catching { try body(header, bytes) }
            }
        } catch { throw closure.original(of: error) }
    }

    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public nonisolated(nonsending) mutating func receive<Value>(
        until deadline: Deadline = .never, _ body: (Message.Header, RawSpan) throws -> Value
    ) async throws -> Value {
        var closure = ClosureError()
        do throws(IPCError) {
            return try await receive(until: deadline) { (header, bytes) throws(IPCError) in
                try closure.catching { try body(header, bytes) }
            }
        } catch { throw closure.original(of: error) }
    }
}

extension Topic.Observer where Message: FramedMessage {
    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public mutating func receive<Value>(
        until deadline: Deadline = .never, _ body: (Message.Header, RawSpan) throws -> Value
    ) throws -> Value {
        var closure = ClosureError()
        do throws(IPCError) {
            return try subscription.receive(until: deadline) { (header, bytes) throws(IPCError) in
                try closure.catching { try body(header, bytes) }
            }
        } catch { throw closure.original(of: error) }
    }

    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public mutating func tryReceive<Value>(
        _ body: (Message.Header, RawSpan) throws -> Value
    ) throws -> Value? {
        var closure = ClosureError()
        do throws(IPCError) {
            return try subscription.tryReceive { (header, bytes) throws(IPCError) in
                try closure.catching { try body(header, bytes) }
            }
        } catch { throw closure.original(of: error) }
    }

    /// The same, for a closure that throws errors of its own, which the call throws unchanged.
    @_disfavoredOverload
    public nonisolated(nonsending) mutating func receive<Value>(
        until deadline: Deadline = .never, _ body: (Message.Header, RawSpan) throws -> Value
    ) async throws -> Value {
        var closure = ClosureError()
        do throws(IPCError) {
            return try await subscription.receive(until: deadline) { (header, bytes) throws(IPCError) in
                try closure.catching { try body(header, bytes) }
            }
        } catch { throw closure.original(of: error) }
    }
}
