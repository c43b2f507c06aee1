public import IPC

extension ServiceChannel {
    /// A client of a ``ServiceChannel``. One thread at a time may use it; any thread may wait for its calls.
    public struct Client: ~Copyable, @unchecked Sendable {
        // `@unchecked`: ownership limits it to one thread at a time; shared memory is accessed through atomics.
        var writer: LogWriter
        private let spins: Int?
        private let checks: CallChecks
        private var limit: WaitingLimit

        init(_ writer: consuming LogWriter, _ waiting: WaitStrategy, _ checks: CallChecks) {
            limit = WaitingLimit(writer.memory.maximumWaiting)
            self.writer = writer
            spins = waiting.spins
            self.checks = checks
        }

        /// Sends a request that `fill` writes, with `metadata` bytes of metadata.
        mutating func send(
            _ request: Int, replyLimit: Int, metadata: Int = 0, until deadline: Deadline, retries: Int,
            _ fill: (CallFrame) -> Void
        ) throws(IPCError) -> SentCall {
            let size = try size(request, replyLimit, metadata, retries)
            if limit.isSet { try limit.check(writer.membership) }
            if !writer.membership.hasRoom(forCall: size.frame) { try waitForOwnRoom(size.frame, until: deadline) }
            guard let payload = try unsafe writer.claim(size.total, until: deadline) else { throw full }
            return unsafe send(payload, size, until: deadline, retries: retries, fill)
        }

        /// The same, if there is room now.
        ///
        /// - Returns: Nil if there is none.
        mutating func trySend(
            _ request: Int, replyLimit: Int, metadata: Int = 0, until deadline: Deadline, retries: Int,
            _ fill: (CallFrame) -> Void
        ) throws(IPCError) -> SentCall? {
            let size = try size(request, replyLimit, metadata, retries)
            if limit.isSet { try limit.check(writer.membership) }
            guard writer.membership.hasRoom(forCall: size.frame),
                let payload = try unsafe writer.claim(size.total, until: .immediate)
            else { return nil }
            return unsafe send(payload, size, until: deadline, retries: retries, fill)
        }

        /// The same, suspended while there is no room.
        nonisolated(nonsending) mutating func send(
            _ request: Int, replyLimit: Int, metadata: Int = 0, until deadline: Deadline, retries: Int,
            _ fill: (CallFrame) -> Void
        ) async throws(IPCError) -> SentCall {
            let size = try size(request, replyLimit, metadata, retries)
            if limit.isSet { try limit.check(writer.membership) }
            let membership = writer.membership
            while true {
                if membership.hasRoom(forCall: size.frame) {
                    if let payload = try unsafe writer.claim(size.total, until: .immediate) {
                        return unsafe send(payload, size, until: deadline, retries: retries, fill)
                    }
                    let hasRoom = try await Permits.lending { () async throws(IPCError) in
                        try await writer.waitForRoom(size.total, until: deadline)
                    }
                    guard hasRoom else { throw full }
                } else {
                    // Calls made by handlers always have room here, so no permit has to be lent.
                    guard try await ownRoom(size.frame).wait(until: deadline, "call") else { throw isOverQuota }
                }
            }
        }

        /// Waits until this client's unfinished calls leave room for another.
        private func waitForOwnRoom(_ byteCount: Int, until deadline: Deadline) throws(IPCError) {
            let membership = writer.membership
            let memory = membership.memory
            var announcement: WaitQueue.Announcement?
            while !membership.hasRoom(forCall: byteCount) {
                try memory.checkPresence()
                if deadline.hasPassed { throw isOverQuota }
                memory.waitingWriters.sleepInTurn(&announcement, in: memory, until: deadline) {
                    membership.hasRoom(forCall: byteCount)
                }
            }
        }

        /// Room beside this client's unfinished calls.
        private func ownRoom(_ byteCount: Int) -> ChannelReadiness {
            let membership = writer.membership
            return ChannelReadiness(membership: membership, place: membership.memory.waitingWriters) {
                membership.hasRoom(forCall: byteCount)
            }
        }

        func requestRoom(for count: Int) -> ChannelReadiness {
            let frame = LogLayout.Frame.size(payload: count)
            return writer.membership.hasRoom(forCall: frame) ? writer.requestRoom(for: count) : ownRoom(frame)
        }

        /// Why there was no room for a call by its deadline.
        func noRoom(for count: Int) -> IPCError {
            writer.membership.hasRoom(forCall: LogLayout.Frame.size(payload: count)) ? full : isOverQuota
        }

        private var isOverQuota: IPCError {
            IPCError(
                .timedOut, "call", writer.memory.name.description,
                advice:
                    "this client's outstanding calls take \(writer.membership.outstanding.load(ordering: .relaxed)) of its \(writer.memory.capacity / 4) bytes; collect or cancel them, or create the service with a larger capacity"
            )
        }

        /// The sizes of a call's parts in bytes.
        private struct Size {
            let request: Int
            let reply: Int
            let metadata: Int
            var total: Int { CallFrame.byteCount(request: request, reply: reply, metadata: metadata) }
            /// Including its header and padding in the log.
            var frame: Int { LogLayout.Frame.size(payload: total) }
        }

        private func size(
            _ request: Int, _ replyLimit: Int, _ metadata: Int, _ retries: Int
        ) throws(IPCError) -> Size {
            guard (0...127).contains(retries), (0...Int(Int32.max)).contains(replyLimit) else {
                throw IPCError(
                    .invalidArgument, "call", writer.memory.name.description,
                    advice:
                        "\(retries) retries and a reply of \(replyLimit) bytes were requested; the limits are 127 and 2 GiB"
                )
            }
            // The room must also hold a failure.
            return Size(request: request, reply: max(replyLimit, MemoryLayout<Failure>.size), metadata: metadata)
        }

        private var full: IPCError {
            IPCError(
                .timedOut, "call", writer.memory.name.description,
                advice: "the log is full of unfinished calls; add servers, allow more time, or enlarge the log")
        }

        private mutating func send(
            _ payload: UnsafeMutableRawPointer, _ size: Size, until deadline: Deadline, retries: Int,
            _ fill: (CallFrame) -> Void
        ) -> SentCall {
            let position = writer.position
            let state = Work.State(lap: writer.memory.workLap(at: position), retries: retries)
            let frame = unsafe CallFrame(
                writing: payload, state, request: size.request, reply: size.reply, metadata: size.metadata,
                until: deadline)
            fill(frame)
            // Before the commit: after it the server can answer, and the call can end.
            writer.membership.outstanding.add(size.frame, ordering: .relaxed)
            writer.commit(size.total, LogLayout.Kind.message)
            return SentCall(
                frame: frame, position: position, byteCount: size.frame, deadline: deadline, spins: spins,
                checks: checks)
        }

        /// Leaves the service, once its calls are finished.
        public consuming func close() {}
    }
}

extension ServiceChannel.Client where Request: BitwiseCopyable, Reply: BitwiseCopyable {
    /// Calls, and waits for the reply. Unlike `begin`, it does no reference counting: the call cannot outlive the client.
    ///
    /// - Parameters:
    ///   - request: The request.
    ///   - deadline: When the caller gives up. The server sees it.
    ///   - retries: How often another server may repeat the call if its server dies in it, at most 127. With 0 the call is
    ///     executed once, or perhaps partly if its server dies.
    /// - Returns: The reply, or the error that the server threw.
    /// - Throws: ``/IPC/IPCError/Code/timedOut``; ``/IPC/IPCError/Code/brokenPipe`` if its server died or dropped the call;
    ///   ``/IPC/IPCError/Code/overloaded`` at once, if the service's limit of waiting calls is reached;
    ///   ``/IPC/IPCError/Code/corrupted`` if a server that does not use this library sent an invalid reply or failure.
    public mutating func call(
        _ request: Request, until deadline: Deadline = .never, retries: Int = 0
    ) throws(IPCError) -> Result<Reply, Failure> {
        let call = try send(request, until: deadline, retries: retries)
        return try writer.membership.finish(call)
    }

    /// Begins a call. Blocks only while there is no room in the log, or in this client's share of it.
    public mutating func begin(
        _ request: Request, until deadline: Deadline = .never, retries: Int = 0
    ) throws(IPCError) -> PendingCall<Reply, Failure> {
        PendingCall(writer.membership, try send(request, until: deadline, retries: retries))
    }

    private mutating func send(_ request: Request, until deadline: Deadline, retries: Int) throws(IPCError) -> SentCall
    {
        try send(
            MemoryLayout<Request>.size, replyLimit: MemoryLayout<Reply>.size, until: deadline, retries: retries
        ) { frame in
            unsafe frame.request.storeBytes(of: request, as: Request.self)
        }
    }
}

extension ServiceChannel.Client where Request == RawBytes, Reply == RawBytes {
    /// Calls with a copy of the bytes, waits for the reply, and borrows it in the log. Unlike `begin`, it does no reference
    /// counting: the call cannot outlive the client.
    ///
    /// ```swift
    /// enum Refusal: Error, BitwiseCopyable { case unknown }
    /// var client = try ServiceChannel<RawBytes, RawBytes, Refusal>.openOrCreate("text/upper").makeClient()
    /// let length = try client.call("hello".utf8Span.span.bytes, replyLimit: 100, until: .after(.seconds(1))) { reply in
    ///     reply.byteCount
    /// }
    /// ```
    ///
    /// - Parameters:
    ///   - request: Any number of bytes. Together with the room for the reply, at most half the log.
    ///   - replyLimit: The maximum size of the reply in bytes; this much room is reserved.
    ///   - deadline: When the caller gives up. The server sees it. Blocks the thread until then at most.
    ///   - retries: How often another server may repeat the call if its server dies in it, at most 127.
    ///   - body: Receives the reply, which does not change while it runs. The reply is gone when it returns.
    /// - Returns: What `body` returned, or the error that the server threw.
    /// - Throws: ``/IPC/IPCError/Code/timedOut``; ``/IPC/IPCError/Code/brokenPipe`` if its server died or dropped the call;
    ///   ``/IPC/IPCError/Code/overloaded`` at once, if the service's limit of waiting calls is reached;
    ///   ``/IPC/IPCError/Code/messageTooLarge`` if the reply or the request is too large; what `body` throws.
    public mutating func call<Value>(
        _ request: RawSpan, replyLimit: Int, until deadline: Deadline = .never, retries: Int = 0,
        _ body: (RawSpan) throws(IPCError) -> Value
    ) throws(IPCError) -> Result<Value, Failure> {
        let call = try send(request, replyLimit: replyLimit, until: deadline, retries: retries)
        return try writer.membership.finish(call, lending: body)
    }

    /// Begins a call with a copy of the bytes. Blocks only while there is no room in the log, or in this client's share of it.
    ///
    /// - Parameters:
    ///   - request: Any number of bytes. Together with the room for the reply, at most half the log.
    ///   - replyLimit: The maximum size of the reply in bytes; this much room is reserved.
    ///   - deadline: When the caller gives up. The server sees it.
    ///   - retries: How often another server may repeat the call if its server dies in it, at most 127.
    public mutating func begin(
        _ request: RawSpan, replyLimit: Int, until deadline: Deadline = .never, retries: Int = 0
    ) throws(IPCError) -> PendingCall<Reply, Failure> {
        PendingCall(
            writer.membership, try send(request, replyLimit: replyLimit, until: deadline, retries: retries))
    }

    @inline(__always)
    private mutating func send(
        _ request: RawSpan, replyLimit: Int, until deadline: Deadline, retries: Int
    ) throws(IPCError) -> SentCall {
        try send(request.byteCount, replyLimit: replyLimit, until: deadline, retries: retries) { frame in
            unsafe frame.request.copyBytes(of: request)
        }
    }
}

// The asynchronous calls. They behave like the blocking calls of the same name, but block no thread.

extension ServiceChannel.Client where Request: BitwiseCopyable, Reply: BitwiseCopyable {
    /// Calls, suspended until the reply arrives.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and the server is notified.
    public nonisolated(nonsending) mutating func call(
        _ request: Request, until deadline: Deadline = .never, retries: Int = 0
    ) async throws(IPCError) -> Result<Reply, Failure> {
        let call = try await begin(request, until: deadline, retries: retries)
        return try await call.wait()
    }

    /// Begins a call. Suspended only while there is no room in the log, or in this client's share of it.
    public nonisolated(nonsending) mutating func begin(
        _ request: Request, until deadline: Deadline = .never, retries: Int = 0
    ) async throws(IPCError) -> PendingCall<Reply, Failure> {
        let call = try await send(
            MemoryLayout<Request>.size, replyLimit: MemoryLayout<Reply>.size, until: deadline, retries: retries
        ) { frame in
            unsafe frame.request.storeBytes(of: request, as: Request.self)
        }
        return PendingCall(writer.membership, call)
    }
}

extension ServiceChannel.Client where Request == RawBytes, Reply == RawBytes {
    /// Calls with a copy of the bytes, suspended until the reply arrives, and borrows it in the log.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and the server is notified.
    public nonisolated(nonsending) mutating func call<Value>(
        _ request: RawSpan, replyLimit: Int, until deadline: Deadline = .never, retries: Int = 0,
        _ body: (RawSpan) throws(IPCError) -> Value
    ) async throws(IPCError) -> Result<Value, Failure> {
        let call = try await begin(request, replyLimit: replyLimit, until: deadline, retries: retries)
        return try await call.wait(body)
    }

    /// Begins a call with a copy of the bytes. Suspended only while there is no room in the log, or in this client's share of
    /// it.
    public nonisolated(nonsending) mutating func begin(
        _ request: RawSpan, replyLimit: Int, until deadline: Deadline = .never, retries: Int = 0
    ) async throws(IPCError) -> PendingCall<Reply, Failure> {
        let call = try await send(
            request.byteCount, replyLimit: replyLimit, until: deadline, retries: retries
        ) { frame in
            unsafe frame.request.copyBytes(of: request)
        }
        return PendingCall(writer.membership, call)
    }
}
