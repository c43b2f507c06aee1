public import IPC

/// A writer of an ``AnyChannel``. One thread at a time may use it.
///
/// | pattern | |
/// |---|---|
/// | topic, work queue, latest value | `write(_:until:)`: publishes, sends, or sets |
/// | service | `call(_:replyLimit:_:until:)` |
/// | event | ``notify(count:)``, ``notifyAll()`` |
///
/// A call of another pattern throws ``/IPC/IPCError/Code/wrongType``.
public struct ChannelWriter: ~Copyable, @unchecked Sendable {
    // `@unchecked`: ownership limits it to one thread at a time.
    let channel: AnyChannel
    /// The size of the message that was reserved, and neither committed nor abandoned yet.
    var reserved: Int?
    // One of them, by pattern. A topic's publisher also sets a latest value.
    var publisher: Topic<RawBytes>.Publisher?
    var producer: WorkQueue<RawBytes>.Producer?
    private var client: AnyService.Client?
    private var participant: Event.Participant?

    /// What is reserved would hold all readers up.
    deinit {
        guard reserved != nil else { return }
        switch publisher {
        case .some(let publisher): publisher.writer.abandonAtEnd()
        case .none: break
        }
    }

    init(
        _ channel: AnyChannel, publisher: consuming Topic<RawBytes>.Publisher? = nil,
        producer: consuming WorkQueue<RawBytes>.Producer? = nil, client: consuming AnyService.Client? = nil,
        participant: consuming Event.Participant? = nil
    ) {
        self.channel = channel
        self.publisher = publisher
        self.producer = producer
        self.client = client
        self.participant = participant
    }

    /// Publishes, sends or sets a copy of the bytes. Blocks the thread while there is no room.
    ///
    /// - Parameters:
    ///   - bytes: A value of the channel's type.
    ///   - options: For a work queue: a delay, or a time to live.
    ///   - deadline: How long to wait for room.
    /// - Throws: ``/IPC/IPCError/Code/timedOut``, and nothing was written; ``/IPC/IPCError/Code/invalidArgument`` if the bytes have
    ///   not the size of the channel's type; ``/IPC/IPCError/Code/messageTooLarge``; ``/IPC/IPCError/Code/wrongType``.
    public mutating func write(
        _ bytes: RawSpan, _ options: JobOptions = JobOptions(), until deadline: Deadline = .never
    ) throws(IPCError) {
        try checkNothingIsReserved("write")
        try check(options)
        try check(bytes.byteCount)
        switch channel.pattern {
        case .topic, .latest: try publisher!.publish(bytes, until: deadline)
        case .workQueue: try producer!.send(bytes, options, until: deadline)
        default: throw channel.misused("write")
        }
    }

    /// Publishes, sends or sets a copy of the bytes, suspended while there is no room.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and nothing was written.
    public nonisolated(nonsending) mutating func write(
        _ bytes: RawSpan, _ options: JobOptions = JobOptions(), until deadline: Deadline = .never
    ) async throws(IPCError) {
        try checkNothingIsReserved("write")
        try check(options)
        try check(bytes.byteCount)
        switch channel.pattern {
        case .topic, .latest: try await publisher!.publish(bytes, until: deadline)
        case .workQueue: try await producer!.send(bytes, options, until: deadline)
        default: throw channel.misused("write")
        }
    }

    /// Publishes, sends or sets a copy of the bytes if there is room now.
    ///
    /// - Returns: False if there is none.
    public mutating func tryWrite(_ bytes: RawSpan) throws(IPCError) -> Bool {
        try checkNothingIsReserved("write")
        try check(bytes.byteCount)
        switch channel.pattern {
        case .topic, .latest: return try publisher!.tryPublish(bytes)
        case .workQueue: return try producer!.trySend(bytes)
        default: throw channel.misused("write")
        }
    }

    func check(_ options: JobOptions) throws(IPCError) {
        guard channel.pattern != .workQueue, options != JobOptions() else { return }
        throw IPCError(
            .invalidArgument, "write", channel.name.description,
            advice: "only a work queue has a delay and a time to live; this is \(channel.pattern.withArticle)")
    }

    /// Checks the size of a message.
    func check(_ byteCount: Int) throws(IPCError) {
        guard byteCount >= channel.headerSize else {
            throw IPCError(
                .invalidArgument, "write", channel.name.description,
                advice: "its messages begin with a header of \(channel.headerSize) bytes, and this one has \(byteCount)"
            )
        }
        guard let size = channel.messageSize, size != byteCount else { return }
        throw IPCError(
            .invalidArgument, "write", channel.name.description,
            advice:
                "its messages have the type \(channel.messageType) and \(size) bytes, but this one has \(byteCount)")
    }

    /// Calls with a copy of the bytes, and waits for the outcome. Blocks the thread until the deadline at most.
    ///
    /// - Parameters:
    ///   - request: A value of the type of the service's requests.
    ///   - replyLimit: The maximum size of the reply or the failure in bytes; this much room is reserved.
    ///   - options: Retries and metadata.
    ///   - deadline: When the caller gives up. The server sees it.
    /// - Throws: ``/IPC/IPCError/Code/timedOut``; ``/IPC/IPCError/Code/brokenPipe`` if the server died or dropped the call;
    ///   ``/IPC/IPCError/Code/messageTooLarge``; ``/IPC/IPCError/Code/overloaded``; ``/IPC/IPCError/Code/invalidArgument`` if the
    ///   request has not the size of its type; ``/IPC/IPCError/Code/wrongType``.
    public mutating func call(
        _ request: RawSpan, replyLimit: Int = 4096, _ options: CallOptions = CallOptions(),
        until deadline: Deadline = .never
    ) throws(IPCError) -> CallOutcome {
        guard channel.pattern == .service else { throw channel.misused("call") }
        try check(request.byteCount)
        let call = try client!.begin(request, replyLimit: replyLimit, options, until: deadline)
        return try call.waitForBytes()
    }

    /// Calls with a copy of the bytes, suspended until there is an outcome.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and the server is notified.
    public nonisolated(nonsending) mutating func call(
        _ request: RawSpan, replyLimit: Int = 4096, _ options: CallOptions = CallOptions(),
        until deadline: Deadline = .never
    ) async throws(IPCError) -> CallOutcome {
        guard channel.pattern == .service else { throw channel.misused("call") }
        try check(request.byteCount)
        let call = try await client!.begin(request, replyLimit: replyLimit, options, until: deadline)
        return try await call.waitForBytes()
    }

    /// Adds `count` notices to an event. Each ends one wait, in progress or later.
    public mutating func notify(count: Int = 1) throws(IPCError) {
        try checkMayNotify()
        participant!.notify(count: count)
    }

    /// Ends all waits for an event that are in progress.
    public mutating func notifyAll() throws(IPCError) {
        try checkMayNotify()
        participant!.notifyAll()
    }

    private func checkMayNotify() throws(IPCError) {
        guard channel.pattern == .event else { throw channel.misused("notify") }
        switch participant {
        case .some(let participant):
            let memory = participant.membership.memory
            guard !memory.isInherited else { throw memory.isInheritedError }
        case .none: break
        }
    }

    /// Leaves the channel. What was written stays.
    public consuming func close() {}
}

/// What became of a call that was answered: the bytes of the reply, or of the service's error.
public enum CallOutcome: Hashable, Sendable {
    case reply([UInt8])
    case failure([UInt8])

    fileprivate init(_ outcome: CodedOutcome) {
        self = outcome.isReply ? .reply(outcome.bytes) : .failure(outcome.bytes)
    }
}

extension PendingCall where Reply == RawBytes, Failure == AnyFailure {
    fileprivate consuming func waitForBytes() throws(IPCError) -> CallOutcome {
        let state = try membership.waitForOutcome(of: call)
        isEnded = true
        return CallOutcome(try membership.finish(call, state, CodedFailure<AnyCodedFailure>.self))
    }

    fileprivate nonisolated(nonsending) consuming func waitForBytes() async throws(IPCError) -> CallOutcome {
        let state = try await waitForOutcome()
        isEnded = true
        return CallOutcome(try membership.finish(call, state, CodedFailure<AnyCodedFailure>.self))
    }
}

/// Stands for a failure whose bytes are not decoded.
private struct AnyCodedFailure: Error, Codable {}
