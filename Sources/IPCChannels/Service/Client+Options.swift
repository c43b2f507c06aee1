public import IPC

// Calls with options: retries and metadata. They behave like the calls of the same name without options.

extension ServiceChannel.Client where Request: BitwiseCopyable, Reply: BitwiseCopyable {
    /// Calls with options, and waits for the reply. Blocks the thread until the deadline at most.
    ///
    /// - Parameters:
    ///   - request: The request.
    ///   - options: Retries, metadata, and whether to wait for a server.
    ///   - deadline: When the caller gives up. The server sees it.
    /// - Returns: The reply, or the error that the server threw.
    /// - Throws: As `call(_:until:retries:)`; ``/IPC/IPCError/Code/messageTooLarge`` if the metadata exceed
    ///   ``CallOptions/maximumMetadataBytes``.
    public mutating func call(
        _ request: Request, _ options: CallOptions, until deadline: Deadline = .never
    ) throws(IPCError) -> Result<Reply, Failure> {
        let call = try send(request, options, until: deadline)
        return try writer.membership.finish(call)
    }

    /// Begins a call with options. Blocks only while there is no room in the log, or in this client's share of it.
    ///
    /// - Throws: As `begin(_:until:retries:)`; ``/IPC/IPCError/Code/messageTooLarge`` if the metadata are too large.
    public mutating func begin(
        _ request: Request, _ options: CallOptions, until deadline: Deadline = .never
    ) throws(IPCError) -> PendingCall<Reply, Failure> {
        PendingCall(writer.membership, try send(request, options, until: deadline))
    }

    private mutating func send(
        _ request: Request, _ options: CallOptions, until deadline: Deadline
    ) throws(IPCError) -> SentCall {
        let metadata = try options.checkedMetadata(writer.memory)
        return try send(
            MemoryLayout<Request>.size, replyLimit: MemoryLayout<Reply>.size, metadata: metadata.count,
            until: deadline, retries: options.retries
        ) { frame in
            unsafe frame.request.storeBytes(of: request, as: Request.self)
            frame.setMetadata(metadata)
        }
    }

    /// Calls with options, suspended until the reply arrives.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and the server is notified.
    public nonisolated(nonsending) mutating func call(
        _ request: Request, _ options: CallOptions, until deadline: Deadline = .never
    ) async throws(IPCError) -> Result<Reply, Failure> {
        let call = try await begin(request, options, until: deadline)
        return try await call.wait()
    }

    /// Begins a call with options. Suspended only while there is no room in the log, or in this client's share of it.
    public nonisolated(nonsending) mutating func begin(
        _ request: Request, _ options: CallOptions, until deadline: Deadline = .never
    ) async throws(IPCError) -> PendingCall<Reply, Failure> {
        let metadata = try options.checkedMetadata(writer.memory)
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

extension ServiceChannel.Client where Request == RawBytes, Reply == RawBytes {
    /// Calls with a copy of the bytes and with options, waits for the reply, and borrows it in the log.
    ///
    /// - Throws: As `call(_:replyLimit:until:retries:_:)`; ``/IPC/IPCError/Code/messageTooLarge`` if the metadata exceed
    ///   ``CallOptions/maximumMetadataBytes``.
    public mutating func call<Value>(
        _ request: RawSpan, replyLimit: Int, _ options: CallOptions, until deadline: Deadline = .never,
        _ body: (RawSpan) throws(IPCError) -> Value
    ) throws(IPCError) -> Result<Value, Failure> {
        let call = try sendBytes(request, replyLimit: replyLimit, options, until: deadline)
        return try writer.membership.finish(call, lending: body)
    }

    /// Begins a call with a copy of the bytes and with options. Blocks only while there is no room in the log, or in this
    /// client's share of it.
    ///
    /// - Throws: As `begin(_:replyLimit:until:retries:)`; ``/IPC/IPCError/Code/messageTooLarge`` if the metadata are too large.
    public mutating func begin(
        _ request: RawSpan, replyLimit: Int, _ options: CallOptions, until deadline: Deadline = .never
    ) throws(IPCError) -> PendingCall<Reply, Failure> {
        PendingCall(
            writer.membership, try sendBytes(request, replyLimit: replyLimit, options, until: deadline))
    }

    /// The same, if there is room now.
    ///
    /// - Returns: Nil if there is none.
    mutating func tryBegin(
        _ request: RawSpan, replyLimit: Int, _ options: CallOptions, until deadline: Deadline
    ) throws(IPCError) -> PendingCall<Reply, Failure>? {
        let metadata = try options.checkedMetadata(writer.memory)
        let call = try trySend(
            request.byteCount, replyLimit: replyLimit, metadata: metadata.count, until: deadline,
            retries: options.retries
        ) { frame in
            unsafe frame.request.copyBytes(of: request)
            frame.setMetadata(metadata)
        }
        guard let call else { return nil }
        return PendingCall(writer.membership, call)
    }

    /// Calls with a copy of the bytes and with options, suspended until the reply arrives, and borrows it.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and the server is notified.
    public nonisolated(nonsending) mutating func call<Value>(
        _ request: RawSpan, replyLimit: Int, _ options: CallOptions, until deadline: Deadline = .never,
        _ body: (RawSpan) throws(IPCError) -> Value
    ) async throws(IPCError) -> Result<Value, Failure> {
        let call = try await begin(request, replyLimit: replyLimit, options, until: deadline)
        return try await call.wait(body)
    }

    /// Begins a call with a copy of the bytes and with options. Suspended only while there is no room in the log, or in this
    /// client's share of it.
    public nonisolated(nonsending) mutating func begin(
        _ request: RawSpan, replyLimit: Int, _ options: CallOptions, until deadline: Deadline = .never
    ) async throws(IPCError) -> PendingCall<Reply, Failure> {
        PendingCall(
            writer.membership, try await sendBytes(request, replyLimit: replyLimit, options, until: deadline))
    }
}

extension ServiceChannel.Client {
    /// Sends a copy of the bytes as the request, whatever its type.
    mutating func sendBytes(
        _ request: RawSpan, replyLimit: Int, _ options: CallOptions, until deadline: Deadline
    ) throws(IPCError) -> SentCall {
        let metadata = try options.checkedMetadata(writer.memory)
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
        let metadata = try options.checkedMetadata(writer.memory)
        return try await send(
            request.byteCount, replyLimit: replyLimit, metadata: metadata.count, until: deadline,
            retries: options.retries
        ) { frame in
            unsafe frame.request.copyBytes(of: request)
            frame.setMetadata(metadata)
        }
    }
}
