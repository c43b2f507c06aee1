public import IPC

/// A reader of an ``AnyChannel``. One thread at a time may use it; what it takes may be finished on any thread.
///
/// | pattern | |
/// |---|---|
/// | topic, latest value | `receive(until:)`: the next message, or the newest value that was not received yet |
/// | work queue, service | `take(until:)`: a job or a call, which has to be finished |
/// | event | `wait(until:)` |
///
/// A call of another pattern throws ``/IPC/IPCError/Code/wrongType``.
@safe
public struct ChannelReader: ~Copyable, @unchecked Sendable {
    // `@unchecked`: ownership limits it to one thread at a time.
    let channel: AnyChannel
    // One of them, by pattern. A subscription has memory of its own, so that one comparison tells whether there is one, and not a call.
    @usableFromInline let subscription: UnsafeMutablePointer<Topic<RawBytes>.Subscription>?
    /// The message that was borrowed, and not received yet.
    @usableFromInline var borrowed: FrameHeader?
    /// The sizes of the messages that may be received without a call, as those of a ``ChannelWriter``.
    @usableFromInline let leastAtOnce: Int
    @usableFromInline let rangeAtOnce: UInt
    var getter: Latest<RawBytes>.Getter?
    private var worker: WorkQueue<RawBytes>.Worker?
    private var server: AnyService.Server?
    var participant: Event.Participant?

    init(
        _ channel: AnyChannel, subscription: consuming Topic<RawBytes>.Subscription? = nil,
        getter: consuming Latest<RawBytes>.Getter? = nil, worker: consuming WorkQueue<RawBytes>.Worker? = nil,
        server: consuming AnyService.Server? = nil, participant: consuming Event.Participant? = nil
    ) {
        self.channel = channel
        (leastAtOnce, rangeAtOnce) = channel.sizesAtOnce
        unsafe self.subscription = .holding(subscription)
        self.getter = getter
        self.worker = worker
        self.server = server
        self.participant = participant
    }

    deinit { unsafe subscription?.giveBack() }

    /// Receives a copy of the next message, or of the newest value that was not received yet. Blocks the thread until there is
    /// one.
    ///
    /// - Throws: ``/IPC/IPCError/Code/timedOut``; ``/IPC/IPCError/Code/wrongType``; ``/IPC/IPCError/Code/removed``;
    ///   ``/IPC/IPCError/Code/corrupted`` if the log is damaged, or if a participant that does not use this library wrote a message of
    ///   another size than that of its type; that message is skipped.
    public mutating func receive(until deadline: Deadline = .never) throws(IPCError) -> [UInt8] {
        try checkNothingIsBorrowed()
        let message: [UInt8]
        switch channel.pattern {
        case .topic:
            message = try unsafe subscription!.pointee.receive(until: deadline) { (bytes) throws(IPCError) in
                bytes.array
            }
        case .latest: message = try getter!.next(until: deadline) { (bytes) throws(IPCError) in bytes.array }
        default: throw channel.misused("receive")
        }
        try check(received: message.count)
        return message
    }

    /// Receives a copy of the next message or value, suspended until there is one.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and nothing was received.
    public nonisolated(nonsending) mutating func receive(
        until deadline: Deadline = .never
    ) async throws(IPCError) -> [UInt8] {
        try checkNothingIsBorrowed()
        let message: [UInt8]
        switch channel.pattern {
        case .topic:
            message = try await unsafe subscription!.pointee.receive(until: deadline) { (bytes) throws(IPCError) in
                bytes.array
            }
        case .latest: message = try await getter!.next(until: deadline) { (bytes) throws(IPCError) in bytes.array }
        default: throw channel.misused("receive")
        }
        try check(received: message.count)
        return message
    }

    /// Receives a copy of the next message of a topic, or of the newest value; nil if there is none.
    ///
    /// - Throws: As `receive(until:)`, except ``/IPC/IPCError/Code/timedOut``.
    public mutating func tryReceive() throws(IPCError) -> [UInt8]? {
        try checkNothingIsBorrowed()
        let message: [UInt8]?
        switch channel.pattern {
        case .topic: message = try unsafe subscription!.pointee.tryReceive { (bytes) throws(IPCError) in bytes.array }
        case .latest: message = try getter!.get { (bytes) throws(IPCError) in bytes.array }
        default: throw channel.misused("receive")
        }
        if let message { try check(received: message.count) }
        return message
    }

    /// Checks the size of a message or a value, which another process may have written by other means than this library.
    ///
    /// - Throws: ``/IPC/IPCError/Code/corrupted`` if no message of the channel's type has it.
    package func check(received byteCount: Int) throws(IPCError) {
        if let size = channel.messageSize {
            guard byteCount != size else { return }
            throw wrongSize("\(byteCount) bytes instead of the \(size) of \(channel.messageType)")
        }
        guard byteCount < channel.headerSize else { return }
        throw wrongSize("\(byteCount) bytes, fewer than the \(channel.headerSize) of its header")
    }

    private func wrongSize(_ what: String) -> IPCError {
        IPCError(
            .corrupted, "receive", channel.name.description,
            advice:
                "a message has \(what); the participant that wrote it does not use this library: find it, and fix it")
    }

    /// The number of a topic's messages that were overwritten before they were received, since the previous call, and of those of other
    /// machines that were lost on their way here.
    public mutating func takeMissed() -> UInt64 { unsafe subscription?.pointee.takeMissed() ?? 0 }

    /// The same of this machine alone, for a carrier: other machines have told of the rest.
    package mutating func takeMissedHere() -> UInt64 { unsafe subscription?.pointee.takeMissedHere() ?? 0 }

    /// Takes the next job or call. Blocks the thread until there is one.
    ///
    /// - Throws: ``/IPC/IPCError/Code/timedOut``; ``/IPC/IPCError/Code/wrongType``; ``/IPC/IPCError/Code/removed``;
    ///   ``/IPC/IPCError/Code/corrupted`` if the log is damaged.
    public mutating func take(until deadline: Deadline = .never) throws(IPCError) -> TakenMessage {
        switch channel.pattern {
        case .workQueue: TakenMessage(channel, job: try worker!.next(until: deadline))
        case .service: TakenMessage(channel, call: try server!.next(until: deadline))
        default: throw channel.misused("take")
        }
    }

    /// Takes the next job or call, suspended until there is one.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and nothing was taken.
    public nonisolated(nonsending) mutating func take(
        until deadline: Deadline = .never
    ) async throws(IPCError) -> TakenMessage {
        switch channel.pattern {
        case .workQueue: return TakenMessage(channel, job: try await worker!.next(until: deadline))
        case .service: return TakenMessage(channel, call: try await server!.next(until: deadline))
        default: throw channel.misused("take")
        }
    }

    /// Takes the next job or call; nil if there is none.
    public mutating func tryTake() throws(IPCError) -> TakenMessage? {
        switch channel.pattern {
        case .workQueue:
            guard let job = try worker!.tryNext() else { return nil }
            return TakenMessage(channel, job: job)
        case .service:
            guard let call = try server!.tryNext() else { return nil }
            return TakenMessage(channel, call: call)
        default: throw channel.misused("take")
        }
    }

    /// Waits for a notice of an event and takes it, or for the next one to all. Blocks the thread.
    ///
    /// - Throws: ``/IPC/IPCError/Code/timedOut``; ``/IPC/IPCError/Code/wrongType``; ``/IPC/IPCError/Code/removed``.
    public mutating func wait(until deadline: Deadline = .never) throws(IPCError) {
        guard channel.pattern == .event else { throw channel.misused("wait") }
        try participant!.wait(until: deadline)
    }

    /// The number of notices to all so far, of an event; 0 of another pattern.
    package mutating func round() -> UInt64 { participant?.round ?? 0 }

    /// As ``wait(until:)``, and a notice to all that came after ``round()`` was this ends it, too.
    ///
    /// - Throws: As ``wait(until:)``.
    package mutating func wait(sinceRound round: UInt64, until deadline: Deadline) throws(IPCError) {
        guard channel.pattern == .event else { throw channel.misused("wait") }
        try participant!.wait(sinceRound: round, until: deadline)
    }

    /// Waits for a notice of an event and takes it, or for the next one to all, suspended meanwhile.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and no notice was taken.
    public nonisolated(nonsending) mutating func wait(until deadline: Deadline = .never) async throws(IPCError) {
        guard channel.pattern == .event else { throw channel.misused("wait") }
        try await participant!.wait(until: deadline)
    }

    /// Leaves the channel, once what was taken is finished.
    public consuming func close() {}
}

extension ChannelReader: ChannelSource {
    /// For a ``WaitSet``, or, by ``ChannelReadiness/arm(_:)``, for the descriptor of a foreign event loop.
    public mutating func readiness() -> ChannelReadiness {
        switch channel.pattern {
        case .topic: unsafe subscription!.pointee.readiness()
        case .latest: getter!.readiness()
        case .workQueue: worker!.readiness()
        case .service: server!.readiness()
        case .event: participant!.readiness()
        }
    }
}

/// A job or a call that a ``ChannelReader`` has taken. Dropping it rejects the job, or loses the call.
public struct TakenMessage: ~Copyable, @unchecked Sendable {
    // `@unchecked`: the frame belongs to this process alone until it is finished.
    enum Kind: ~Copyable {
        case job(WorkQueue<RawBytes>.Job)
        case call(AnyService.Call)
    }

    private let channel: AnyChannel
    let kind: Kind

    fileprivate init(_ channel: AnyChannel, job: consuming WorkQueue<RawBytes>.Job) {
        self.channel = channel
        kind = .job(job)
    }

    fileprivate init(_ channel: AnyChannel, call: consuming AnyService.Call) {
        self.channel = channel
        kind = .call(call)
    }

    /// A copy of the message, or of the call's request.
    ///
    /// - Throws: ``/IPC/IPCError/Code/inherited`` in a child process of fork; ``/IPC/IPCError/Code/corrupted`` if a client that does not
    ///   use this library sent a request of another size than that of its type; drop the call then.
    public var bytes: [UInt8] {
        get throws(IPCError) {
            switch kind {
            // A job of another size became a dead letter.
            case .job(let job): return try job.withBytes { (bytes) throws(IPCError) in bytes.array }
            case .call(let call):
                let bytes = try call.withRequest { (bytes) throws(IPCError) in bytes.array }
                try channel.check(received: "a request", bytes.count, channel.messageSize, call.membership.memory)
                return bytes
            }
        }
    }

    /// The number of this delivery, starting at 1.
    public var attempt: Int {
        switch kind {
        case .job(let job): job.attempt
        case .call(let call): call.attempt
        }
    }

    /// Of a job: why it is a dead letter; nil if it is not one.
    public var deadLetter: DeadLetter? {
        switch kind {
        case .job(let job): job.deadLetter
        case .call: nil
        }
    }

    /// Of a call: the texts that travel with the request.
    public var metadata: [String: String] {
        switch kind {
        case .job: [:]
        case .call(let call): call.metadata
        }
    }

    /// Of a call: the maximum size of its reply or failure in bytes; 0 for a job.
    public var replyLimit: Int {
        switch kind {
        case .job: 0
        case .call(let call): call.call.frame.replyLimit
        }
    }

    /// Of a call: when its caller gives up.
    public var deadline: Deadline {
        switch kind {
        case .job: .never
        case .call(let call): call.deadline
        }
    }

    /// Of a call: whether its caller no longer wants a reply.
    public var isCancelled: Bool {
        switch kind {
        case .job: false
        case .call(let call): call.isCancelled
        }
    }

    /// Acknowledges a job: it is done and is never delivered again.
    ///
    /// - Throws: ``/IPC/IPCError/Code/leaseLost``; ``/IPC/IPCError/Code/wrongType`` for a call, which is then dropped.
    public consuming func acknowledge() throws(IPCError) {
        let channel = channel
        switch consume kind {
        case .job(let job): try job.acknowledge()
        case .call: throw channel.misused("acknowledge")
        }
    }

    /// Rejects a job: it is delivered again, and the attempt counts. A call is dropped, and counts as lost.
    ///
    /// - Parameter delay: The minimum time until a job's redelivery; nil for the queue's backoff.
    public consuming func reject(after delay: Duration? = nil) {
        switch consume kind {
        case .job(let job): job.reject(after: delay)
        case .call: break
        }
    }

    /// Releases it as if it had never been delivered: another worker or server takes it.
    ///
    /// - Throws: An error if somebody else has ended the call meanwhile.
    public consuming func release() throws(IPCError) {
        switch consume kind {
        case .job(let job): job.release()
        case .call(let call): try call.release()
        }
    }

    /// Ends a call with a copy of the bytes. Never blocks.
    ///
    /// - Throws: ``/IPC/IPCError/Code/messageTooLarge`` if the reply is larger than its caller allows; the caller gets the same
    ///   error. ``/IPC/IPCError/Code/invalidArgument`` if the bytes have not the size of the service's replies; the call is then dropped.
    ///   ``/IPC/IPCError/Code/wrongType`` for a job, which is then rejected.
    public consuming func reply(_ bytes: RawSpan) throws(IPCError) {
        let channel = channel
        switch consume kind {
        case .job: throw channel.misused("reply")
        case .call(let call):
            try channel.check(answer: "replies", bytes.byteCount, channel.replySize, "reply")
            try call.reply(bytes)
        }
    }

    /// Ends a call whose request or reply is larger than what carries it between machines takes; its caller gets
    /// ``/IPC/IPCError/Code/messageTooLarge``. A job is rejected.
    ///
    /// - Parameter byteCount: The size of the reply; 0 if it is the request that is too large.
    package consuming func refuse(byteCount: Int) throws(IPCError) {
        let channel = channel
        switch consume kind {
        case .job: throw channel.misused("reply")
        case .call(let call): try call.refuse(byteCount)
        }
    }

    /// Ends a call with the bytes of an error of the service. Never blocks.
    ///
    /// - Throws: As ``reply(_:)``.
    public consuming func fail(_ bytes: RawSpan) throws(IPCError) {
        let channel = channel
        switch consume kind {
        case .job: throw channel.misused("fail")
        case .call(let call):
            try channel.check(answer: "failures", bytes.byteCount, channel.failureSize, "fail")
            try call.fail(bytes: bytes)
        }
    }
}

extension AnyChannel {
    /// Checks the size of an answer that a server gives.
    fileprivate func check(
        answer what: String, _ byteCount: Int, _ size: Int?, _ operation: String
    ) throws(IPCError) {
        guard let size, size != byteCount else { return }
        throw IPCError(
            .invalidArgument, operation, name.description,
            advice: "its \(what) have \(size) bytes, but this one has \(byteCount); the call was dropped")
    }

    /// Checks the size of what came from another process.
    func check(
        received what: String, _ byteCount: Int, _ size: Int?, _ memory: ChannelMemory
    ) throws(IPCError) {
        guard let size, size != byteCount else { return }
        throw memory.corrupted("\(what) has \(byteCount) bytes instead of \(size)")
    }
}

extension AnyService.Call {
    fileprivate consuming func refuse(_ byteCount: Int) throws(IPCError) {
        isAnswered = true
        try membership.refuse(call, byteCount)
    }

    fileprivate consuming func fail(bytes: RawSpan) throws(IPCError) {
        isAnswered = true
        try unsafe membership.answer(call, Work.Stage.failed, bytes.byteCount) { target in
            unsafe target.copyBytes(of: bytes)
        }
    }
}
