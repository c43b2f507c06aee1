public import IPC

// Messages in the log itself, for languages whose code cannot be called back.
extension ChannelReader {
    /// Borrows the next message of a topic in the log, without a copy, or a copy if the topic overwrites. Blocks the thread until
    /// there is one. Its size is not checked: see ``AnyChannel/messageSize``.
    ///
    /// - Returns: The message. It is valid until ``advance()``, which has to follow, and while this reader exists. The same message
    ///   again if it was borrowed already.
    /// - Throws: ``/IPC/IPCError/Code/timedOut``; ``/IPC/IPCError/Code/wrongType`` for another pattern;
    ///   ``/IPC/IPCError/Code/removed``; ``/IPC/IPCError/Code/corrupted``.
    @unsafe
    public mutating func borrow(until deadline: Deadline) throws(IPCError) -> UnsafeRawBufferPointer {
        guard channel.pattern == .topic else { throw channel.misused("borrow") }
        if let copy = unsafe borrowedCopy() { return unsafe copy }
        let (header, message) = try unsafe subscription!.pointee.borrow(until: deadline)
        borrowed = header
        return unsafe message
    }

    /// Borrows the next message of a topic in the log, without a copy, or a copy if the topic overwrites, suspended until there is
    /// one. If there is one already, the call neither suspends nor allocates.
    ///
    /// - Returns: As the blocking call.
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and nothing is borrowed.
    @unsafe
    public nonisolated(nonsending) mutating func borrow(
        until deadline: Deadline
    ) async throws(IPCError) -> UnsafeRawBufferPointer {
        guard channel.pattern == .topic else { throw channel.misused("borrow") }
        while true {
            if let message = try unsafe tryBorrow() { return unsafe message }
            try await unsafe subscription!.pointee.waitForMessage(until: deadline)
        }
    }

    /// Borrows the next message of a topic in the log; nil if there is none.
    @unsafe
    public mutating func tryBorrow() throws(IPCError) -> UnsafeRawBufferPointer? {
        guard channel.pattern == .topic else { throw channel.misused("borrow") }
        if let copy = unsafe borrowedCopy() { return unsafe copy }
        guard let (header, message) = try unsafe subscription!.pointee.tryBorrow() else { return nil }
        borrowed = header
        return unsafe message
    }

    /// A message that was borrowed where the topic overwrites: a copy, after which the reader has advanced already.
    private mutating func borrowedCopy() -> UnsafeRawBufferPointer? {
        guard let header = borrowed, header.size == 0 else { return nil }
        return unsafe UnsafeRawBufferPointer(
            start: subscription!.pointee.reader.overrun.copy, count: Int(header.length))
    }

    /// Whether a message is borrowed. Until ``advance()``, no other can be received.
    public var isBorrowing: Bool { borrowed != nil }

    /// The position after the message that is borrowed, or else after the one that was received last: an offset in the log in bytes,
    /// as in ``ChannelPosition``. 0 for a pattern other than a topic.
    public var endPosition: UInt64 {
        guard let subscription = unsafe subscription else { return 0 }
        return unsafe subscription.pointee.reader.position &+ (borrowed?.size ?? 0)
    }

    func checkNothingIsBorrowed() throws(IPCError) {
        guard borrowed != nil else { return }
        throw IPCError(
            .invalidArgument, "receive", channel.name.description,
            advice: "a message is borrowed; end that loan first (advance)")
    }

    /// Ends a loan: the message counts as received.
    ///
    /// - Throws: ``/IPC/IPCError/Code/invalidArgument`` if none was borrowed.
    public mutating func advance() throws(IPCError) {
        guard let header = borrowed else {
            throw IPCError(
                .invalidArgument, "release", channel.name.description,
                advice: "no message is borrowed; borrow one first")
        }
        borrowed = nil
        unsafe subscription!.pointee.reader.advance(past: header)
    }
}

extension Topic.Subscription where Message == RawBytes {
    /// The next message in the log, which counts as received once the reader advances past its header.
    @inline(__always)
    fileprivate mutating func borrow(
        until deadline: Deadline
    ) throws(IPCError) -> (FrameHeader, UnsafeRawBufferPointer) {
        while true {
            if let message = try unsafe borrowNext() { return unsafe message }
            if spins != 0, reader.spin() { continue }
            guard try reader.wait(until: deadline, spins: spins) else { try failTimedOut() }
        }
    }

    /// The same; nil if there is none.
    @inline(__always)
    fileprivate mutating func tryBorrow() throws(IPCError) -> (FrameHeader, UnsafeRawBufferPointer)? {
        if let message = try unsafe borrowNext() { return unsafe message }
        try reader.checkLiveness()
        return nil
    }

    @inline(__always)
    private mutating func borrowNext() throws(IPCError) -> (FrameHeader, UnsafeRawBufferPointer)? {
        guard let (header, payload) = try unsafe reader.next() else { return nil }
        return unsafe (header, UnsafeRawBufferPointer(start: payload, count: Int(header.length)))
    }
}

extension Topic.Publisher where Message == RawBytes {
    /// Where a message of this size goes.
    fileprivate mutating func reserve(
        _ byteCount: Int, until deadline: Deadline
    ) throws(IPCError) -> UnsafeMutableRawPointer {
        guard let payload = try unsafe writer.claim(byteCount, until: deadline) else { throw timedOut }
        return unsafe payload
    }
}

extension LogWriter {
    fileprivate func checkedReadiness(forRoom count: Int) throws(IPCError) -> ChannelReadiness {
        guard count <= maximumPayload else { try failTooLarge(count) }
        return readiness(forRoom: count)
    }
}

extension ChannelWriter {
    /// Reserves room for a message in the log of a topic. Blocks the thread while there is none.
    ///
    /// - Parameters:
    ///   - byteCount: The most that the message may have.
    ///   - deadline: How long to wait for room.
    /// - Returns: Where the message goes. ``commit(_:)`` or ``abandon()`` has to follow.
    /// - Throws: ``/IPC/IPCError/Code/timedOut``; ``/IPC/IPCError/Code/messageTooLarge``; ``/IPC/IPCError/Code/invalidArgument`` if
    ///   room is reserved already, or the channel's messages have another size; ``/IPC/IPCError/Code/wrongType``.
    @unsafe
    public mutating func reserve(
        _ byteCount: Int, until deadline: Deadline
    ) throws(IPCError) -> UnsafeMutableRawBufferPointer {
        guard channel.pattern == .topic else { throw channel.misused("reserve") }
        try checkNothingIsReserved("reserve")
        try check(byteCount)
        let payload = try unsafe publisher!.pointee.reserve(byteCount, until: deadline)
        reserved = byteCount
        return unsafe UnsafeMutableRawBufferPointer(start: payload, count: byteCount)
    }

    /// Publishes what was reserved and written.
    ///
    /// - Parameter byteCount: The size of the message, at most what was reserved.
    /// - Throws: ``/IPC/IPCError/Code/invalidArgument`` if nothing is reserved, or less than this; it stays reserved.
    public mutating func commit(_ byteCount: Int) throws(IPCError) {
        guard let most = reserved, (0...most).contains(byteCount) else {
            throw IPCError(
                .invalidArgument, "commit", channel.name.description,
                advice:
                    "\(byteCount) bytes were to be published, and \(reserved.map { "\($0) are" } ?? "none are") reserved; reserve enough first"
            )
        }
        try check(byteCount)
        let memory = unsafe publisher!.pointee.writer.memory
        guard !memory.isInherited else { throw memory.isInheritedError }
        reserved = nil
        try unsafe publisher!.pointee.writer.deliver(byteCount)
    }

    /// Gives up what was reserved: no reader sees it.
    ///
    /// - Throws: ``/IPC/IPCError/Code/invalidArgument`` if nothing is reserved.
    public mutating func abandon() throws(IPCError) {
        guard reserved != nil else {
            throw IPCError(
                .invalidArgument, "abandon", channel.name.description, advice: "nothing is reserved; reserve first")
        }
        reserved = nil
        unsafe publisher!.pointee.writer.abandon()
    }

    /// The readiness of room for a message of a topic, a latest value or a work queue.
    ///
    /// - Parameter byteCount: The size of the message.
    /// - Throws: ``/IPC/IPCError/Code/invalidArgument`` if the bytes have not the size of the channel's type;
    ///   ``/IPC/IPCError/Code/messageTooLarge``; ``/IPC/IPCError/Code/wrongType``.
    package mutating func readiness(forRoom byteCount: Int) throws(IPCError) -> ChannelReadiness {
        try check(byteCount)
        switch channel.pattern {
        case .topic, .latest: return try unsafe publisher!.pointee.writer.checkedReadiness(forRoom: byteCount)
        case .workQueue: return try producer!.writer.checkedReadiness(forRoom: Work.prefixSize + byteCount)
        default: throw channel.misused("wait for room")
        }
    }

    func checkNothingIsReserved(_ operation: String) throws(IPCError) {
        guard reserved != nil else { return }
        throw IPCError(
            .invalidArgument, operation, channel.name.description,
            advice: "a message is reserved already; commit or abandon it first")
    }

    /// Waits until everything written before this call, by any process, is on disk.
    ///
    /// - Throws: ``/IPC/IPCError/Code/unsupported`` if the channel is not durable; ``/IPC/IPCError/Code/timedOut``; the error of
    ///   `msync`; ``/IPC/IPCError/Code/wrongType`` for a service or an event.
    public mutating func sync(until deadline: Deadline = .never) throws(IPCError) {
        // A claim of this writer's own would count as on the disk.
        try checkNothingIsReserved("sync")
        switch channel.pattern {
        case .topic, .latest: try unsafe publisher!.pointee.sync(until: deadline)
        case .workQueue: try producer!.sync(until: deadline)
        default: throw channel.misused("sync")
        }
    }
}
