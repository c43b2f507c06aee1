public import IPC

/// One caller of a ``Service``. One thread at a time may use it; its calls may be waited for on any.
public struct Client<Request, Reply, Failure: Error & BitwiseCopyable>: ~Copyable, @unchecked Sendable {
    // `@unchecked`: it is one thread's at a time by its ownership; the memory is shared by atomics.
    var writer: LogWriter
    private let spins: Int?
    private let checks: CallChecks
    private var limit: WaitingLimit

    init(_ writer: consuming LogWriter, _ waiting: Waiting, _ checks: CallChecks) {
        limit = WaitingLimit(writer.memory.maximumWaiting)
        self.writer = writer
        spins = waiting.spins
        self.checks = checks
    }

    /// Sends a request that `fill` writes, and as many bytes of metadata.
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

    /// The same, suspended while the log is full.
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
                // No handler's call comes here, so there is no turn to lend.
                let room = ChannelReadiness(membership: membership, place: membership.memory.sleepingWriters) {
                    membership.hasRoom(forCall: size.frame)
                }
                guard try await room.wait(until: deadline, "call") else { throw isOverQuota }
            }
        }
    }

    /// Waits until the calls that this client has not ended leave room for another.
    private func waitForOwnRoom(_ byteCount: Int, until deadline: Deadline) throws(IPCError) {
        let membership = writer.membership
        while !membership.hasRoom(forCall: byteCount) {
            try membership.memory.checkPresence()
            if deadline.hasPassed { throw isOverQuota }
            membership.memory.sleepingWriters.sleep(until: deadline) { membership.hasRoom(forCall: byteCount) }
        }
    }

    private var isOverQuota: IPCError {
        IPCError(
            .timedOut, "call", writer.memory.name.description,
            advice:
                "this client has \(writer.membership.outstanding.load(ordering: .relaxed)) bytes of calls that it has not ended, of \(writer.memory.capacity / 4); collect or cancel them, or create the service with a larger capacity"
        )
    }

    /// Bytes of a call's parts.
    private struct Size {
        let request: Int
        let reply: Int
        let metadata: Int
        var total: Int { CallFrame.byteCount(request: request, reply: reply, metadata: metadata) }
        /// With what comes before and after it in the log.
        var frame: Int { LogLayout.Frame.size(payload: total) }
    }

    private func size(
        _ request: Int, _ replyLimit: Int, _ metadata: Int, _ retries: Int
    ) throws(IPCError) -> Size {
        guard (0...127).contains(retries), (0...Int(Int32.max)).contains(replyLimit) else {
            throw IPCError(
                .invalidArgument, "call", writer.memory.name.description,
                advice:
                    "\(retries) retries and \(replyLimit) bytes are asked for; a call has 0 to 127, and at most 2 GiB")
        }
        // A failure has to fit as well.
        return Size(request: request, reply: max(replyLimit, MemoryLayout<Failure>.size), metadata: metadata)
    }

    private var full: IPCError {
        IPCError(
            .timedOut, "call", writer.memory.name.description,
            advice: "the log is full of calls that are not finished; add servers, allow more time, or enlarge it")
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
        // Before the server can answer, and the call be ended.
        writer.membership.outstanding.add(size.frame, ordering: .relaxed)
        writer.commit(size.total, LogLayout.Kind.message)
        return SentCall(
            frame: frame, position: position, byteCount: size.frame, deadline: deadline, spins: spins, checks: checks)
    }

    /// Leaves the service, once its calls are finished.
    public consuming func close() {}
}

extension Client where Request: BitwiseCopyable, Reply: BitwiseCopyable {
    /// Calls, and waits for the reply. Unlike a call that was begun it counts no references: it cannot outlive the client.
    ///
    /// - Parameters:
    ///   - deadline: When the caller gives up. The server is told of it.
    ///   - retries: How often another server may do the call again if one dies in it, at most 127. With 0 it is done once
    ///     or, if its server died, perhaps in part.
    /// - Returns: The reply, or what the server threw.
    /// - Throws: ``IPC/IPCError/Code/timedOut``; ``IPC/IPCError/Code/brokenPipe`` if its server died, or let go of it;
    ///   ``IPC/IPCError/Code/overloaded`` at once, if as many calls wait as the service was created for;
    ///   ``IPC/IPCError/Code/corrupted`` if a server that is not of this library answered with what cannot be a reply or a
    ///   failure.
    public mutating func call(
        _ request: Request, until deadline: Deadline = .never, retries: Int = 0
    ) throws(IPCError) -> Result<Reply, Failure> {
        let call = try send(request, until: deadline, retries: retries)
        return try writer.membership.finish(call)
    }

    /// Begins a call. Blocks only while the log is full.
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

extension Client where Request == RawBytes, Reply == RawBytes {
    /// Calls with a copy of the bytes, waits for the reply, and lends it where it lies in the log. Unlike a call that was begun it counts
    /// no references: it cannot outlive the client.
    ///
    /// ```swift
    /// enum Refusal: Error, BitwiseCopyable { case unknown }
    /// var client = try Service<RawBytes, RawBytes, Refusal>.create("text/upper").makeClient()
    /// let length = try client.call("hello".utf8Span.span.bytes, replyLimit: 100, until: .after(.seconds(1))) { reply in
    ///     reply.byteCount
    /// }
    /// ```
    ///
    /// - Parameters:
    ///   - request: Any number of bytes; with the room for the reply at most half of the log.
    ///   - replyLimit: The most bytes that the reply may have: so much room is reserved for it.
    ///   - deadline: When the caller gives up. The server is told of it. Blocks the thread until then at most.
    ///   - retries: How often another server may do the call again if one dies in it, at most 127.
    ///   - body: Gets the reply. Nobody changes it meanwhile; it goes when `body` returns.
    /// - Returns: What `body` returned, or what the server threw.
    /// - Throws: ``IPC/IPCError/Code/timedOut``; ``IPC/IPCError/Code/brokenPipe`` if its server died, or let go of it;
    ///   ``IPC/IPCError/Code/overloaded`` at once, if as many calls wait as the service was created for;
    ///   ``IPC/IPCError/Code/messageTooLarge`` if the reply or the request is too large; what `body` throws.
    public mutating func call<Value>(
        _ request: RawSpan, replyLimit: Int, until deadline: Deadline = .never, retries: Int = 0,
        _ body: (RawSpan) throws(IPCError) -> Value
    ) throws(IPCError) -> Result<Value, Failure> {
        let call = try send(request, replyLimit: replyLimit, until: deadline, retries: retries)
        return try writer.membership.finish(call, lending: body)
    }

    /// Begins a call with a copy of the bytes. Blocks only while the log is full.
    ///
    /// - Parameter replyLimit: The most bytes that the reply may have: so much room is reserved for it.
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

// The calls that wait without a thread. Each is the call of the same name, in an asynchronous function.

extension Client where Request: BitwiseCopyable, Reply: BitwiseCopyable {
    /// Calls, suspended until the reply is there.
    ///
    /// - Throws: As the blocking call; ``IPC/IPCError/Code/cancelled``, and the server is told.
    public nonisolated(nonsending) mutating func call(
        _ request: Request, until deadline: Deadline = .never, retries: Int = 0
    ) async throws(IPCError) -> Result<Reply, Failure> {
        let call = try await begin(request, until: deadline, retries: retries)
        return try await call.wait()
    }

    /// Begins a call. Suspended only while the log is full.
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

extension Client where Request == RawBytes, Reply == RawBytes {
    /// Calls with a copy of the bytes, suspended until the reply is there, and lends it where it lies in the log.
    ///
    /// - Throws: As the blocking call; ``IPC/IPCError/Code/cancelled``, and the server is told.
    public nonisolated(nonsending) mutating func call<Value>(
        _ request: RawSpan, replyLimit: Int, until deadline: Deadline = .never, retries: Int = 0,
        _ body: (RawSpan) throws(IPCError) -> Value
    ) async throws(IPCError) -> Result<Value, Failure> {
        let call = try await begin(request, replyLimit: replyLimit, until: deadline, retries: retries)
        return try await call.wait(body)
    }

    /// Begins a call with a copy of the bytes. Suspended only while the log is full.
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
