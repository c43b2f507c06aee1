public import IPC

extension ServiceChannel {
    /// A client that threads and tasks use at the same time: one slot for all of them.
    ///
    /// A lock is held while a request is copied into the log. Nobody waits under it, neither for room nor for a reply. A
    /// ``Client`` has no lock, and belongs to one thread at a time.
    public final class SharedClient: Sendable {
        let shared: SharedWriter<Client>

        init(_ client: consuming Client) throws(IPCError) { shared = try SharedWriter(client) }

        /// Sends a request that `fill` writes.
        fileprivate func send(
            _ request: Int, replyLimit: Int, _ options: CallOptions, until deadline: Deadline,
            _ fill: (CallFrame) -> Void
        ) throws(IPCError) -> SentCall {
            let parts = try Parts(request, replyLimit, options, shared.memory)
            var call: SentCall?
            let isSent = try shared.write(parts.byteCount, until: deadline) { (client) throws(IPCError) in
                call = try client.trySend(parts, until: deadline, fill)
                return call != nil
            }
            guard isSent, let call else { throw try noRoom(for: parts.byteCount) }
            return call
        }

        /// The same, suspended while there is no room.
        fileprivate nonisolated(nonsending) func send(
            _ request: Int, replyLimit: Int, _ options: CallOptions, until deadline: Deadline,
            _ fill: (CallFrame) -> Void
        ) async throws(IPCError) -> SentCall {
            let parts = try Parts(request, replyLimit, options, shared.memory)
            var call: SentCall?
            let isSent = try await shared.write(parts.byteCount, until: deadline, "call") {
                (client) throws(IPCError) in
                call = try client.trySend(parts, until: deadline, fill)
                return call != nil
            }
            guard isSent, let call else { throw try noRoom(for: parts.byteCount) }
            return call
        }

        private func noRoom(for count: Int) throws(IPCError) -> IPCError {
            try shared.withWriter { (client) throws(IPCError) in client.noRoom(for: count) }
        }
    }

    /// Joins as a client that threads and tasks share. It may have many calls in progress at a time.
    ///
    /// - Throws: As ``makeClient(waiting:)``.
    public func makeSharedClient(waiting: WaitStrategy = .sleeping()) throws(IPCError) -> SharedClient {
        try SharedClient(makeClient(waiting: waiting))
    }
}

extension ServiceChannel.Client: LogWriting {}

extension ServiceChannel {
    /// What a call consists of.
    fileprivate struct Parts {
        let request: Int
        let replyLimit: Int
        let retries: Int
        let metadata: [UInt8]
        /// Its size in the log, for a valid limit.
        var byteCount: Int {
            // The room must also hold a failure.
            let reply = min(max(replyLimit, MemoryLayout<Failure>.size), Int(Int32.max))
            return CallFrame.byteCount(request: request, reply: reply, metadata: metadata.count)
        }

        init(
            _ request: Int, _ replyLimit: Int, _ options: CallOptions, _ memory: ChannelMemory
        ) throws(IPCError) {
            self.request = request
            self.replyLimit = replyLimit
            retries = options.retries
            metadata = try options.checkedMetadata(memory)
        }
    }
}

extension ServiceChannel.Client {
    fileprivate mutating func trySend(
        _ parts: ServiceChannel.Parts, until deadline: Deadline, _ fill: (CallFrame) -> Void
    ) throws(IPCError) -> SentCall? {
        try trySend(
            parts.request, replyLimit: parts.replyLimit, metadata: parts.metadata.count, until: deadline,
            retries: parts.retries
        ) { frame in
            fill(frame)
            frame.setMetadata(parts.metadata)
        }
    }
}

extension ServiceChannel.SharedClient where Request: BitwiseCopyable, Reply: BitwiseCopyable {
    /// Calls, and waits for the reply. Blocks the thread until the deadline at most.
    ///
    /// - Parameters:
    ///   - request: The request.
    ///   - options: Retries and metadata.
    ///   - deadline: When the caller gives up. The server sees it.
    /// - Returns: The reply, or the error that the server threw.
    /// - Throws: As `call(_:_:until:)` of ``ServiceChannel/Client``.
    public func call(
        _ request: Request, _ options: CallOptions = CallOptions(), until deadline: Deadline = .never
    ) throws(IPCError) -> Result<Reply, Failure> {
        try begin(request, options, until: deadline).wait()
    }

    /// Calls, suspended until the reply arrives.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and the server is notified.
    public nonisolated(nonsending) func call(
        _ request: Request, _ options: CallOptions = CallOptions(), until deadline: Deadline = .never
    ) async throws(IPCError) -> Result<Reply, Failure> {
        let call = try await begin(request, options, until: deadline)
        return try await call.wait()
    }

    /// Begins a call. Blocks only while there is no room in the log, or in this client's share of it.
    public func begin(
        _ request: Request, _ options: CallOptions = CallOptions(), until deadline: Deadline = .never
    ) throws(IPCError) -> PendingCall<Reply, Failure> {
        let call = try send(
            MemoryLayout<Request>.size, replyLimit: MemoryLayout<Reply>.size, options, until: deadline
        ) { frame in
            unsafe frame.request.storeBytes(of: request, as: Request.self)
        }
        return PendingCall(shared.membership, call)
    }

    /// Begins a call. Suspended only while there is no room in the log, or in this client's share of it.
    public nonisolated(nonsending) func begin(
        _ request: Request, _ options: CallOptions = CallOptions(), until deadline: Deadline = .never
    ) async throws(IPCError) -> PendingCall<Reply, Failure> {
        let call = try await send(
            MemoryLayout<Request>.size, replyLimit: MemoryLayout<Reply>.size, options, until: deadline
        ) { frame in
            unsafe frame.request.storeBytes(of: request, as: Request.self)
        }
        return PendingCall(shared.membership, call)
    }
}

extension ServiceChannel.SharedClient where Request == RawBytes, Reply == RawBytes {
    /// Begins a call with a copy of the bytes; `wait(_:)` of ``PendingCall`` borrows the reply. Blocks only while there is no room in
    /// the log, or in this client's share of it.
    ///
    /// - Parameters:
    ///   - request: Any number of bytes. Together with the room for the reply, at most half the log.
    ///   - replyLimit: The maximum size of the reply in bytes; this much room is reserved.
    ///   - options: Retries and metadata.
    ///   - deadline: When the caller gives up. The server sees it.
    public func begin(
        _ request: RawSpan, replyLimit: Int, _ options: CallOptions = CallOptions(), until deadline: Deadline = .never
    ) throws(IPCError) -> PendingCall<Reply, Failure> {
        let call = try send(request.byteCount, replyLimit: replyLimit, options, until: deadline) { frame in
            unsafe frame.request.copyBytes(of: request)
        }
        return PendingCall(shared.membership, call)
    }

    /// Begins a call with a copy of the bytes. Suspended only while there is no room in the log, or in this client's share of it.
    public nonisolated(nonsending) func begin(
        _ request: RawSpan, replyLimit: Int, _ options: CallOptions = CallOptions(), until deadline: Deadline = .never
    ) async throws(IPCError) -> PendingCall<Reply, Failure> {
        let call = try await send(request.byteCount, replyLimit: replyLimit, options, until: deadline) { frame in
            unsafe frame.request.copyBytes(of: request)
        }
        return PendingCall(shared.membership, call)
    }
}

extension ServiceChannel.SharedClient
where Request: CodableMessage, Reply: CodableMessage, Request.Coder == Reply.Coder, Failure: CodableFailure {
    /// Calls with a value, encoded by the service's coder, and waits for the reply. Blocks the thread until the deadline at most.
    ///
    /// - Parameters:
    ///   - request: The request.
    ///   - replyLimit: The maximum size in bytes of the encoded reply or failure; this much room is reserved.
    ///   - options: Retries and metadata.
    ///   - deadline: When the caller gives up. The server sees it.
    /// - Throws: As `call` of ``ServiceChannel/Client`` for `Codable` values.
    public func call(
        _ request: Request.Value, replyLimit: Int = 4096, _ options: CallOptions = CallOptions(),
        until deadline: Deadline = .never
    ) throws(IPCError) -> Result<Reply.Value, Failure.Value> {
        let bytes = try Request.Coder.bytes(of: request, shared.memory.name)
        let sent = try send(bytes.count, replyLimit: replyLimit, options, until: deadline) { frame in
            unsafe frame.request.copyBytes(of: bytes.span.bytes)
        }
        return try PendingCall<Reply, Failure>(shared.membership, sent).wait()
    }

    /// Calls with a value, encoded by the service's coder, suspended until the reply arrives.
    ///
    /// - Parameters:
    ///   - request: The request.
    ///   - replyLimit: The maximum size in bytes of the encoded reply or failure; this much room is reserved.
    ///   - options: Retries and metadata.
    ///   - deadline: When the caller gives up. The server sees it.
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and the server is notified.
    public nonisolated(nonsending) func call(
        _ request: Request.Value, replyLimit: Int = 4096, _ options: CallOptions = CallOptions(),
        until deadline: Deadline = .never
    ) async throws(IPCError) -> Result<Reply.Value, Failure.Value> {
        let bytes = try Request.Coder.bytes(of: request, shared.memory.name)
        let sent = try await send(bytes.count, replyLimit: replyLimit, options, until: deadline) { frame in
            unsafe frame.request.copyBytes(of: bytes.span.bytes)
        }
        let call = PendingCall<Reply, Failure>(shared.membership, sent)
        return try await call.wait()
    }
}
