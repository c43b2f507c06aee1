public import IPC

extension WorkQueue {
    /// A producer of a ``WorkQueue``. One thread at a time may use it.
    public struct Producer: ~Copyable, @unchecked Sendable {
        // `@unchecked`: ownership limits it to one thread at a time; shared memory is accessed through atomics.
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
            unsafe SharedUInt64(payload).relaxed = Work.State(lap: writer.memory.workLap(at: writer.position)).word
            unsafe JobHeader.write(payload, expires: 0)
            unsafe fill(payload + Work.prefixSize)
            try writer.deliver(total)
            return true
        }

        /// The same, with options, and of a job from another machine with its origin.
        mutating func put(
            _ count: Int, _ options: JobOptions, _ origin: MessageOrigin? = nil, until deadline: Deadline,
            _ fill: (UnsafeMutableRawPointer) -> Void
        ) throws(IPCError) -> Bool {
            let total = Work.prefixSize + count
            let memory = writer.memory
            try options.check(memory)
            let claim =
                try unsafe origin == nil
                ? writer.claim(total, until: deadline) : writer.claim(withOrigin: total, until: deadline)
            guard let payload = unsafe claim else { return false }
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
                            "\(memory.asideCount) messages, or three quarters of the log, are already set aside; send it later, or enlarge the log"
                    )
                }
                state = state.aside
            }
            unsafe SharedUInt64(payload).relaxed = state.word
            unsafe JobHeader.write(payload, expires: options.timeToLive.map { WallClock.after($0) } ?? 0)
            unsafe fill(payload + Work.prefixSize)
            if let origin { try writer.deliver(total, origin) } else { try writer.deliver(total) }
            if let entry {
                memory.stand(entry, at: position)
                memory.announceReturns(0)
            }
            return true
        }

        nonisolated(nonsending) mutating func waitForRoom(
            _ count: Int, until deadline: Deadline
        ) async throws(IPCError) {
            guard try await writer.waitForRoom(Work.prefixSize + count, until: deadline) else { throw timedOut }
        }

        /// Sends a copy of the bytes, with options.
        mutating func put(
            _ bytes: RawSpan, _ options: JobOptions, _ origin: MessageOrigin? = nil, until deadline: Deadline
        ) throws(IPCError) -> Bool {
            try unsafe put(bytes.byteCount, options, origin, until: deadline) { target in
                unsafe target.copyBytes(of: bytes)
            }
        }

        var timedOut: IPCError {
            let memory = writer.memory
            let holder = memory.holderOfOldest.map { "process \($0) has the oldest" } ?? "none of them is taken"
            return IPCError(
                .timedOut, "send", memory.name.description,
                advice:
                    "the queue is full of unfinished jobs, and \(holder); add workers, allow more time, or enlarge its log"
            )
        }

        /// Waits until everything sent or acknowledged before this call, by any process, is on disk (`msync`). Blocks the thread.
        ///
        /// - Parameter deadline: How long to wait for earlier messages that other producers have begun and not finished. It does
        ///   not limit the time that the disk takes.
        /// - Throws: ``/IPC/IPCError/Code/unsupported`` if the queue is not durable; ``/IPC/IPCError/Code/timedOut``; the error of
        ///   `msync`.
        public mutating func sync(until deadline: Deadline = .never) throws(IPCError) {
            try writer.sync(until: deadline)
        }

        /// Leaves the queue. Sent messages stay.
        public consuming func close() {}
    }
}

extension WorkQueue.Producer where Message: BitwiseCopyable {
    /// Sends a message. The first free worker gets it.
    ///
    /// - Parameters:
    ///   - message: The value.
    ///   - deadline: How long to wait while the log is full of unfinished jobs.
    /// - Throws: ``/IPC/IPCError/Code/timedOut``, and the message was not sent.
    public mutating func send(_ message: Message, until deadline: Deadline = .never) throws(IPCError) {
        guard try put(message, until: deadline) else { throw timedOut }
    }

    /// Sends a message with a delay or a time to live.
    ///
    /// - Throws: As `send(_:until:)`; ``/IPC/IPCError/Code/limitReached`` if too many delayed messages are waiting.
    public mutating func send(
        _ message: Message, _ options: JobOptions, until deadline: Deadline = .never
    ) throws(IPCError) {
        guard try put(message, options, until: deadline) else { throw timedOut }
    }

    mutating func put(
        _ message: Message, _ options: JobOptions, until deadline: Deadline
    ) throws(IPCError) -> Bool {
        try unsafe put(MemoryLayout<Message>.size, options, until: deadline) { target in
            unsafe target.storeBytes(of: message, as: Message.self)
        }
    }

    /// Sends a message if there is room now.
    ///
    /// - Returns: False if there is none.
    public mutating func trySend(_ message: Message) throws(IPCError) -> Bool { try put(message, until: .immediate) }

    private mutating func put(_ message: Message, until deadline: Deadline) throws(IPCError) -> Bool {
        try unsafe put(MemoryLayout<Message>.size, until: deadline) { target in
            unsafe target.storeBytes(of: message, as: Message.self)
        }
    }

    /// Sends a message, suspended while the log is full of unfinished jobs.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and the message was not sent.
    public nonisolated(nonsending) mutating func send(
        _ message: Message, until deadline: Deadline = .never
    ) async throws(IPCError) {
        while try !trySend(message) { try await waitForRoom(MemoryLayout<Message>.size, until: deadline) }
    }

    /// Sends a message with a delay or a time to live, suspended while the log is full of unfinished jobs.
    public nonisolated(nonsending) mutating func send(
        _ message: Message, _ options: JobOptions, until deadline: Deadline = .never
    ) async throws(IPCError) {
        while try !put(message, options, until: .immediate) {
            try await waitForRoom(MemoryLayout<Message>.size, until: deadline)
        }
    }
}

extension WorkQueue.Producer where Message == RawBytes {
    /// Sends a copy of the bytes. The first free worker gets it.
    ///
    /// - Parameters:
    ///   - bytes: The message.
    ///   - deadline: How long to wait while the log is full of unfinished jobs.
    /// - Throws: ``/IPC/IPCError/Code/timedOut``, and the message was not sent; ``/IPC/IPCError/Code/messageTooLarge``.
    public mutating func send(_ bytes: RawSpan, until deadline: Deadline = .never) throws(IPCError) {
        guard try put(bytes, until: deadline) else { throw timedOut }
    }

    /// Sends a copy of the bytes with a delay or a time to live.
    ///
    /// - Throws: As `send(_:until:)`; ``/IPC/IPCError/Code/limitReached`` if too many delayed messages are waiting.
    public mutating func send(
        _ bytes: RawSpan, _ options: JobOptions, until deadline: Deadline = .never
    ) throws(IPCError) {
        guard try put(bytes, options, until: deadline) else { throw timedOut }
    }

    /// Sends a copy of the bytes if there is room now.
    ///
    /// - Returns: False if there is none.
    public mutating func trySend(_ bytes: RawSpan) throws(IPCError) -> Bool { try put(bytes, until: .immediate) }

    private mutating func put(_ bytes: RawSpan, until deadline: Deadline) throws(IPCError) -> Bool {
        try unsafe put(bytes.byteCount, until: deadline) { target in unsafe target.copyBytes(of: bytes) }
    }

    /// Sends a copy of the bytes, suspended while the log is full of unfinished jobs.
    public nonisolated(nonsending) mutating func send(
        _ bytes: RawSpan, until deadline: Deadline = .never
    ) async throws(IPCError) {
        while try !trySend(bytes) { try await waitForRoom(bytes.byteCount, until: deadline) }
    }

    /// Sends a copy of the bytes with a delay or a time to live, suspended while the log is full of unfinished jobs.
    public nonisolated(nonsending) mutating func send(
        _ bytes: RawSpan, _ options: JobOptions, until deadline: Deadline = .never
    ) async throws(IPCError) {
        while try !put(bytes, options, until: .immediate) {
            try await waitForRoom(bytes.byteCount, until: deadline)
        }
    }
}
