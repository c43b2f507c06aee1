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
@safe
public struct ChannelWriter: ~Copyable, @unchecked Sendable {
    // `@unchecked`: ownership limits it to one thread at a time.
    let channel: AnyChannel
    /// The size of the message that was reserved, and neither committed nor abandoned yet.
    @usableFromInline var reserved: Int?
    /// The sizes of the messages that may be written without a call, as their least and the number of those above it.
    @usableFromInline let leastAtOnce: Int
    @usableFromInline let rangeAtOnce: UInt
    // One of them, by pattern. A topic's publisher also sets a latest value; it has memory of its own, so that one comparison tells
    // whether there is one, and not a call.
    @usableFromInline let publisher: UnsafeMutablePointer<Topic<RawBytes>.Publisher>?
    var producer: WorkQueue<RawBytes>.Producer?
    private var client: AnyService.Client?
    var participant: Event.Participant?

    /// What is reserved would hold all readers up.
    deinit {
        guard let publisher = unsafe publisher else { return }
        if reserved != nil { unsafe publisher.pointee.writer.abandonAtEnd() }
        unsafe publisher.giveBack()
    }

    init(
        _ channel: AnyChannel, publisher: consuming Topic<RawBytes>.Publisher? = nil,
        producer: consuming WorkQueue<RawBytes>.Producer? = nil, client: consuming AnyService.Client? = nil,
        participant: consuming Event.Participant? = nil
    ) {
        self.channel = channel
        (leastAtOnce, rangeAtOnce) = channel.sizesAtOnce
        unsafe self.publisher = .holding(publisher)
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
        case .topic, .latest: try unsafe publisher!.pointee.publish(bytes, until: deadline)
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
        case .topic, .latest: try await unsafe publisher!.pointee.publish(bytes, until: deadline)
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
        case .topic, .latest: return try unsafe publisher!.pointee.tryPublish(bytes)
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
    ///   - replyLimit: The maximum size of the reply or the failure in bytes; this much room is reserved, and no less than a reply or
    ///     a failure of a fixed size takes.
    ///   - options: Retries and metadata.
    ///   - deadline: When the caller gives up. The server sees it.
    /// - Throws: ``/IPC/IPCError/Code/timedOut``; ``/IPC/IPCError/Code/brokenPipe`` if the server died or dropped the call;
    ///   ``/IPC/IPCError/Code/messageTooLarge``; ``/IPC/IPCError/Code/overloaded``; ``/IPC/IPCError/Code/invalidArgument`` if the
    ///   request has not the size of its type; ``/IPC/IPCError/Code/corrupted`` if the answer has not the size of its type;
    ///   ``/IPC/IPCError/Code/wrongType``.
    public mutating func call(
        _ request: RawSpan, replyLimit: Int = 4096, _ options: CallOptions = CallOptions(),
        until deadline: Deadline = .never
    ) throws(IPCError) -> CallOutcome {
        let channel = channel
        return try beginCall(request, replyLimit, options, until: deadline).waitForBytes(channel)
    }

    /// Begins a call with a copy of the bytes. Blocks the thread only while there is no room in the log, or in this writer's share of it.
    ///
    /// - Parameters: As for `call`.
    /// - Throws: ``/IPC/IPCError/Code/timedOut``; ``/IPC/IPCError/Code/messageTooLarge``; ``/IPC/IPCError/Code/overloaded``;
    ///   ``/IPC/IPCError/Code/invalidArgument``; ``/IPC/IPCError/Code/wrongType``.
    public mutating func begin(
        _ request: RawSpan, replyLimit: Int = 4096, _ options: CallOptions = CallOptions(),
        until deadline: Deadline = .never
    ) throws(IPCError) -> PendingOutcome {
        let channel = channel
        return PendingOutcome(channel, try beginCall(request, replyLimit, options, until: deadline))
    }

    /// Begins a call with a copy of the bytes, suspended only while there is no room.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and nothing was sent.
    public nonisolated(nonsending) mutating func begin(
        _ request: RawSpan, replyLimit: Int = 4096, _ options: CallOptions = CallOptions(),
        until deadline: Deadline = .never
    ) async throws(IPCError) -> PendingOutcome {
        let channel = channel
        return PendingOutcome(channel, try await beginCall(request, replyLimit, options, until: deadline))
    }

    /// Begins a call with a copy of the bytes, if there is room now.
    ///
    /// - Returns: Nil if there is none.
    /// - Throws: As ``begin(_:replyLimit:_:until:)``, except ``/IPC/IPCError/Code/timedOut``.
    package mutating func tryBegin(
        _ request: RawSpan, replyLimit: Int, _ options: CallOptions, until deadline: Deadline
    ) throws(IPCError) -> PendingOutcome? {
        let channel = channel
        guard channel.pattern == .service else { throw channel.misused("call") }
        try check(request.byteCount)
        let call = try client!.tryBegin(request, replyLimit: channel.room(for: replyLimit), options, until: deadline)
        guard let call else { return nil }
        return PendingOutcome(channel, call)
    }

    private mutating func beginCall(
        _ request: RawSpan, _ replyLimit: Int, _ options: CallOptions, until deadline: Deadline
    ) throws(IPCError) -> PendingCall<RawBytes, AnyFailure> {
        guard channel.pattern == .service else { throw channel.misused("call") }
        try check(request.byteCount)
        return try client!.begin(request, replyLimit: channel.room(for: replyLimit), options, until: deadline)
    }

    /// Calls with a copy of the bytes, suspended until there is an outcome.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and the server is notified.
    public nonisolated(nonsending) mutating func call(
        _ request: RawSpan, replyLimit: Int = 4096, _ options: CallOptions = CallOptions(),
        until deadline: Deadline = .never
    ) async throws(IPCError) -> CallOutcome {
        let channel = channel
        return try await beginCall(request, replyLimit, options, until: deadline).waitForBytes(channel)
    }

    private nonisolated(nonsending) mutating func beginCall(
        _ request: RawSpan, _ replyLimit: Int, _ options: CallOptions, until deadline: Deadline
    ) async throws(IPCError) -> PendingCall<RawBytes, AnyFailure> {
        guard channel.pattern == .service else { throw channel.misused("call") }
        try check(request.byteCount)
        return try await client!.begin(
            request, replyLimit: channel.room(for: replyLimit), options, until: deadline)
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

    func checkMayNotify() throws(IPCError) {
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

extension AnyChannel {
    /// The room that a call needs for its answer.
    fileprivate func room(for replyLimit: Int) -> Int { max(replyLimit, replySize ?? 0, failureSize ?? 0) }

    /// See ``ChannelWriter/leastAtOnce``.
    var sizesAtOnce: (least: Int, range: UInt) {
        let least = messageSize ?? headerSize
        let most = min(messageSize ?? .max, ChannelWriter.mostAtOnce)
        // No message has the size that stands for none.
        return least <= most ? (least, UInt(most - least)) : (.max, 0)
    }
}

extension PendingCall where Reply == RawBytes, Failure == AnyFailure {
    fileprivate consuming func waitForBytes(_ channel: AnyChannel) throws(IPCError) -> CallOutcome {
        let state = try membership.waitForOutcome(of: call)
        return try end(state, channel)
    }

    fileprivate nonisolated(nonsending) consuming func waitForBytes(
        _ channel: AnyChannel
    ) async throws(IPCError) -> CallOutcome {
        let state = try await waitForOutcome()
        return try end(state, channel)
    }

    fileprivate mutating func end(_ state: Work.State, _ channel: AnyChannel) throws(IPCError) -> CallOutcome {
        isEnded = true
        let outcome = CallOutcome(try membership.finish(call, state, CodedFailure<AnyCodedFailure>.self))
        switch outcome {
        case .reply(let bytes):
            try channel.check(received: "a reply", bytes.count, channel.replySize, membership.memory)
        case .failure(let bytes):
            try channel.check(received: "a failure", bytes.count, channel.failureSize, membership.memory)
        }
        return outcome
    }
}

/// A call of a ``ChannelWriter`` in progress. Dropping it cancels the call. Any thread may wait for it, one at a time.
public struct PendingOutcome: ~Copyable, @unchecked Sendable {
    // `@unchecked`: as ``PendingCall``.
    private let channel: AnyChannel
    private var call: PendingCall<RawBytes, AnyFailure>

    fileprivate init(_ channel: AnyChannel, _ call: consuming PendingCall<RawBytes, AnyFailure>) {
        self.channel = channel
        self.call = call
    }

    /// Waits for the outcome. Blocks the thread until this deadline or that of the call, whichever comes first.
    ///
    /// - Returns: Nil if there is none by the deadline that is given; then it can be waited for again.
    /// - Throws: As `call` of ``ChannelWriter``; ``/IPC/IPCError/Code/invalidArgument`` if it was returned already.
    public mutating func wait(until deadline: Deadline) throws(IPCError) -> CallOutcome? {
        try checkIsOpen()
        guard let state = try call.waitForOutcome(until: deadline) else { return nil }
        return try call.end(state, channel)
    }

    /// Waits for the outcome, suspended until this deadline or that of the call, whichever comes first.
    ///
    /// - Returns: Nil if there is none by the deadline that is given; then it can be waited for again.
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and it can be waited for again.
    public nonisolated(nonsending) mutating func wait(until deadline: Deadline) async throws(IPCError) -> CallOutcome? {
        try checkIsOpen()
        guard let state = try await call.waitForOutcome(until: deadline) else { return nil }
        return try call.end(state, channel)
    }

    private func checkIsOpen() throws(IPCError) {
        guard call.isEnded else { return }
        throw IPCError(
            .invalidArgument, "wait for call", channel.name.description,
            advice: "its outcome was returned already; begin another call")
    }

    /// The readiness of the outcome.
    public func readiness() throws(IPCError) -> ChannelReadiness { try call.readiness() }
}

extension PendingCall {
    fileprivate borrowing func waitForOutcome(until deadline: Deadline) throws(IPCError) -> Work.State? {
        guard deadline < call.deadline else { return try membership.waitForOutcome(of: call) }
        let sooner = SentCall(
            frame: call.frame, position: call.position, byteCount: call.byteCount, deadline: deadline,
            spins: call.spins, checks: call.checks)
        do throws(IPCError) { return try membership.waitForOutcome(of: sooner) } catch {
            if error.code == .timedOut { return nil }
            throw error
        }
    }
}

extension PendingCall {
    fileprivate nonisolated(nonsending) borrowing func waitForOutcome(
        until deadline: Deadline
    ) async throws(IPCError) -> Work.State? {
        guard deadline < call.deadline, !call.isFinished else { return try await waitForOutcome() }
        let (readiness, spins) = (try readiness(), call.spins)
        let isSettled = try await Permits.lending { () async throws(IPCError) in
            try await readiness.wait(until: deadline, spins: spins, "call")
        }
        return isSettled ? call.state : nil
    }
}

/// Stands for a failure whose bytes are not decoded.
private struct AnyCodedFailure: Error, Codable {}
