public import IPC

/// One writer of a ``WorkQueue``. One thread at a time may use it.
public struct Producer<Message>: ~Copyable, @unchecked Sendable {
    // `@unchecked`: it is one thread's at a time by its ownership; the memory is shared by atomics.
    var writer: LogWriter

    init(_ writer: consuming LogWriter) { self.writer = writer }

    /// Sends what `fill` writes: exactly `count` bytes.
    ///
    /// - Returns: False if there was no room until the deadline.
    mutating func put(
        _ count: Int, until deadline: Deadline, _ fill: (UnsafeMutableRawPointer) -> Void
    ) throws(IPCError) -> Bool {
        let total = Work.prefixSize + count
        guard let payload = try unsafe writer.claim(total, until: deadline) else { return false }
        unsafe SharedWord(payload).relaxed = Work.State(lap: writer.memory.workLap(at: writer.position)).word
        unsafe JobHeader.write(payload, expires: 0)
        unsafe fill(payload + Work.prefixSize)
        try writer.deliver(total)
        return true
    }

    /// The same with options.
    fileprivate mutating func put(
        _ count: Int, _ options: JobOptions, until deadline: Deadline, _ fill: (UnsafeMutableRawPointer) -> Void
    ) throws(IPCError) -> Bool {
        let total = Work.prefixSize + count
        let memory = writer.memory
        guard let payload = try unsafe writer.claim(total, until: deadline) else { return false }
        let (position, size) = (writer.position, writer.claimed)
        var state = Work.State(lap: memory.workLap(at: position))
        var entry: Int?
        if options.delay > .zero {
            do throws(IPCError) {
                entry = try memory.enter(position, byteCount: size, due: WallClock.after(options.delay))
            } catch {
                writer.abandon()
                throw error
            }
            guard entry != nil else {
                writer.abandon()
                throw IPCError(
                    .limitReached, "send", memory.name.description,
                    advice:
                        "\(memory.asideCount) messages, or three quarters of its log, are set aside already; send it later, or enlarge the log"
                )
            }
            state = state.aside
        }
        unsafe SharedWord(payload).relaxed = state.word
        unsafe JobHeader.write(payload, expires: options.timeToLive.map { WallClock.after($0) } ?? 0)
        unsafe fill(payload + Work.prefixSize)
        try writer.deliver(total)
        if let entry {
            memory.stand(entry, at: position)
            memory.tellOfReturns(0)
        }
        return true
    }

    fileprivate nonisolated(nonsending) mutating func waitForRoom(
        _ count: Int, until deadline: Deadline
    ) async throws(IPCError) {
        guard try await writer.waitForRoom(Work.prefixSize + count, until: deadline) else { throw timedOut }
    }

    var timedOut: IPCError {
        let memory = writer.memory
        let holder = memory.holderOfOldest.map { "process \($0) has the oldest" } ?? "none of its work is taken"
        return IPCError(
            .timedOut, "send", memory.name.description,
            advice:
                "the queue is full of work that is not done, and \(holder); add workers, allow more time, or enlarge its log"
        )
    }

    /// Waits until all that was sent or acknowledged before this call, by whomever, is on the disk: `msync`.
    ///
    /// - Parameter deadline: How long to wait for messages that others have begun before, and not finished. The disk itself takes
    ///   the time that it takes.
    /// - Throws: ``IPC/IPCError/Code/unsupported`` where the queue is not durable; ``IPC/IPCError/Code/timedOut``; what `msync`
    ///   says. Blocks the thread.
    public mutating func sync(until deadline: Deadline = .never) throws(IPCError) { try writer.sync(until: deadline) }

    /// Leaves the queue; what was sent stays.
    public consuming func close() {}
}

extension Producer where Message: BitwiseCopyable {
    /// Sends a message to whichever worker is free first.
    ///
    /// - Parameter deadline: How long to wait while the log is full of work that is not done.
    /// - Throws: ``IPC/IPCError/Code/timedOut``, and it was not sent.
    public mutating func send(_ message: Message, until deadline: Deadline = .never) throws(IPCError) {
        guard try put(message, until: deadline) else { throw timedOut }
    }

    /// Sends a message for later, or for some time only.
    ///
    /// - Throws: As ``send(_:until:)``; ``IPC/IPCError/Code/limitReached`` if too many messages wait for their time.
    public mutating func send(
        _ message: Message, _ options: JobOptions, until deadline: Deadline = .never
    ) throws(IPCError) {
        guard try put(message, options, until: deadline) else { throw timedOut }
    }

    private mutating func put(
        _ message: Message, _ options: JobOptions, until deadline: Deadline
    ) throws(IPCError) -> Bool {
        try unsafe put(MemoryLayout<Message>.size, options, until: deadline) { target in
            unsafe target.storeBytes(of: message, as: Message.self)
        }
    }

    /// Sends a message if there is room now.
    public mutating func trySend(_ message: Message) throws(IPCError) -> Bool { try put(message, until: .immediate) }

    private mutating func put(_ message: Message, until deadline: Deadline) throws(IPCError) -> Bool {
        try unsafe put(MemoryLayout<Message>.size, until: deadline) { target in
            unsafe target.storeBytes(of: message, as: Message.self)
        }
    }

    /// Sends a message, suspended while the log is full of work that is not done.
    ///
    /// - Throws: As the blocking call; ``IPC/IPCError/Code/cancelled``. Then it was not sent.
    public nonisolated(nonsending) mutating func send(
        _ message: Message, until deadline: Deadline = .never
    ) async throws(IPCError) {
        while try !trySend(message) { try await waitForRoom(MemoryLayout<Message>.size, until: deadline) }
    }

    /// Sends a message for later, or for some time only, suspended while the log is full of work that is not done.
    public nonisolated(nonsending) mutating func send(
        _ message: Message, _ options: JobOptions, until deadline: Deadline = .never
    ) async throws(IPCError) {
        while try !put(message, options, until: .immediate) {
            try await waitForRoom(MemoryLayout<Message>.size, until: deadline)
        }
    }
}

extension Producer where Message == RawBytes {
    /// Sends a copy of the bytes to whichever worker is free first.
    ///
    /// - Parameter deadline: How long to wait while the log is full of work that is not done.
    /// - Throws: ``IPC/IPCError/Code/timedOut``, and it was not sent; ``IPC/IPCError/Code/messageTooLarge``.
    public mutating func send(_ bytes: RawSpan, until deadline: Deadline = .never) throws(IPCError) {
        guard try put(bytes, until: deadline) else { throw timedOut }
    }

    /// Sends a copy of the bytes for later, or for some time only.
    ///
    /// - Throws: As ``send(_:until:)``; ``IPC/IPCError/Code/limitReached`` if too many messages wait for their time.
    public mutating func send(
        _ bytes: RawSpan, _ options: JobOptions, until deadline: Deadline = .never
    ) throws(IPCError) {
        guard try put(bytes, options, until: deadline) else { throw timedOut }
    }

    private mutating func put(
        _ bytes: RawSpan, _ options: JobOptions, until deadline: Deadline
    ) throws(IPCError) -> Bool {
        try unsafe put(bytes.byteCount, options, until: deadline) { target in unsafe target.copyBytes(of: bytes) }
    }

    /// Sends a copy of the bytes if there is room now.
    public mutating func trySend(_ bytes: RawSpan) throws(IPCError) -> Bool { try put(bytes, until: .immediate) }

    private mutating func put(_ bytes: RawSpan, until deadline: Deadline) throws(IPCError) -> Bool {
        try unsafe put(bytes.byteCount, until: deadline) { target in unsafe target.copyBytes(of: bytes) }
    }

    /// Sends a copy of the bytes, suspended while the log is full of work that is not done.
    public nonisolated(nonsending) mutating func send(
        _ bytes: RawSpan, until deadline: Deadline = .never
    ) async throws(IPCError) {
        while try !trySend(bytes) { try await waitForRoom(bytes.byteCount, until: deadline) }
    }

    /// Sends a copy of the bytes for later, or for some time only, suspended while the log is full of work that is not done.
    public nonisolated(nonsending) mutating func send(
        _ bytes: RawSpan, _ options: JobOptions, until deadline: Deadline = .never
    ) async throws(IPCError) {
        while try !put(bytes, options, until: .immediate) {
            try await waitForRoom(bytes.byteCount, until: deadline)
        }
    }
}
