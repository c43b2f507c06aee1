public import IPC

// Calls with options: retries, and metadata. Each is the call of the same name without them.

extension Client where Request: BitwiseCopyable, Reply: BitwiseCopyable {
    /// Calls, with metadata for whoever answers, and waits for the reply.
    ///
    /// - Parameters:
    ///   - options: Retries and metadata.
    ///   - deadline: When the caller gives up. The server is told of it. Blocks the thread until then at most.
    /// - Returns: The reply, or what the server threw.
    /// - Throws: As ``call(_:until:retries:)``; ``IPC/IPCError/Code/messageTooLarge`` if the metadata have more than
    ///   ``CallOptions/maximumMetadataBytes``.
    public mutating func call(
        _ request: Request, _ options: CallOptions, until deadline: Deadline = .never
    ) throws(IPCError) -> Result<Reply, Failure> {
        let call = try send(request, options, until: deadline)
        return try writer.membership.finish(call)
    }

    /// Begins a call with metadata. Blocks only while the log is full.
    ///
    /// - Throws: As ``begin(_:until:retries:)``; ``IPC/IPCError/Code/messageTooLarge`` if the metadata have too many bytes.
    public mutating func begin(
        _ request: Request, _ options: CallOptions, until deadline: Deadline = .never
    ) throws(IPCError) -> PendingCall<Reply, Failure> {
        PendingCall(writer.membership, try send(request, options, until: deadline))
    }

    private mutating func send(
        _ request: Request, _ options: CallOptions, until deadline: Deadline
    ) throws(IPCError) -> SentCall {
        let metadata = try CallMetadata.bytes(of: options.metadata, writer.memory.name)
        return try send(
            MemoryLayout<Request>.size, replyLimit: MemoryLayout<Reply>.size, metadata: metadata.count,
            until: deadline, retries: options.retries
        ) { frame in
            unsafe frame.request.storeBytes(of: request, as: Request.self)
            frame.setMetadata(metadata)
        }
    }

    /// Calls, with metadata for whoever answers, suspended until the reply is there.
    ///
    /// - Throws: As the blocking call; ``IPC/IPCError/Code/cancelled``, and the server is told.
    public nonisolated(nonsending) mutating func call(
        _ request: Request, _ options: CallOptions, until deadline: Deadline = .never
    ) async throws(IPCError) -> Result<Reply, Failure> {
        let call = try await begin(request, options, until: deadline)
        return try await call.wait()
    }

    /// Begins a call with metadata. Suspended only while the log is full.
    public nonisolated(nonsending) mutating func begin(
        _ request: Request, _ options: CallOptions, until deadline: Deadline = .never
    ) async throws(IPCError) -> PendingCall<Reply, Failure> {
        let metadata = try CallMetadata.bytes(of: options.metadata, writer.memory.name)
        let call = try await send(
            MemoryLayout<Request>.size, replyLimit: MemoryLayout<Reply>.size, metadata: metadata.count,
            until: deadline, retries: options.retries
        ) { frame in
            unsafe frame.request.storeBytes(of: request, as: Request.self)
            frame.setMetadata(metadata)
        }
        return PendingCall(writer.membership, call)
    }
}

extension Client where Request == RawBytes, Reply == RawBytes {
    /// Calls with a copy of the bytes, and with metadata; waits for the reply, and lends it where it lies in the log.
    ///
    /// - Throws: As ``call(_:replyLimit:until:retries:_:)``; ``IPC/IPCError/Code/messageTooLarge`` if the metadata have more than
    ///   ``CallOptions/maximumMetadataBytes``.
    public mutating func call<Value>(
        _ request: RawSpan, replyLimit: Int, _ options: CallOptions, until deadline: Deadline = .never,
        _ body: (RawSpan) throws(IPCError) -> Value
    ) throws(IPCError) -> Result<Value, Failure> {
        let call = try sendBytes(request, replyLimit: replyLimit, options, until: deadline)
        return try writer.membership.finish(call, lending: body)
    }

    /// Begins a call with a copy of the bytes, and with metadata. Blocks only while the log is full.
    ///
    /// - Throws: As ``begin(_:replyLimit:until:retries:)``; ``IPC/IPCError/Code/messageTooLarge`` if the metadata have too many bytes.
    public mutating func begin(
        _ request: RawSpan, replyLimit: Int, _ options: CallOptions, until deadline: Deadline = .never
    ) throws(IPCError) -> PendingCall<Reply, Failure> {
        PendingCall(
            writer.membership, try sendBytes(request, replyLimit: replyLimit, options, until: deadline))
    }

    /// Calls with a copy of the bytes, and with metadata, suspended until the reply is there, and lends it.
    ///
    /// - Throws: As the blocking call; ``IPC/IPCError/Code/cancelled``, and the server is told.
    public nonisolated(nonsending) mutating func call<Value>(
        _ request: RawSpan, replyLimit: Int, _ options: CallOptions, until deadline: Deadline = .never,
        _ body: (RawSpan) throws(IPCError) -> Value
    ) async throws(IPCError) -> Result<Value, Failure> {
        let call = try await begin(request, replyLimit: replyLimit, options, until: deadline)
        return try await call.wait(body)
    }

    /// Begins a call with a copy of the bytes, and with metadata. Suspended only while the log is full.
    public nonisolated(nonsending) mutating func begin(
        _ request: RawSpan, replyLimit: Int, _ options: CallOptions, until deadline: Deadline = .never
    ) async throws(IPCError) -> PendingCall<Reply, Failure> {
        PendingCall(
            writer.membership, try await sendBytes(request, replyLimit: replyLimit, options, until: deadline))
    }
}

extension Client {
    /// Sends a copy of bytes as the request, of whatever type that is.
    mutating func sendBytes(
        _ request: RawSpan, replyLimit: Int, _ options: CallOptions, until deadline: Deadline
    ) throws(IPCError) -> SentCall {
        let metadata = try CallMetadata.bytes(of: options.metadata, writer.memory.name)
        return try send(
            request.byteCount, replyLimit: replyLimit, metadata: metadata.count, until: deadline,
            retries: options.retries
        ) { frame in
            unsafe frame.request.copyBytes(of: request)
            frame.setMetadata(metadata)
        }
    }

    nonisolated(nonsending) mutating func sendBytes(
        _ request: RawSpan, replyLimit: Int, _ options: CallOptions, until deadline: Deadline
    ) async throws(IPCError) -> SentCall {
        let metadata = try CallMetadata.bytes(of: options.metadata, writer.memory.name)
        return try await send(
            request.byteCount, replyLimit: replyLimit, metadata: metadata.count, until: deadline,
            retries: options.retries
        ) { frame in
            unsafe frame.request.copyBytes(of: request)
            frame.setMetadata(metadata)
        }
    }
}
