import CIPCShims
public import IPC

/// One server of a ``Service``. One thread at a time may use it; its calls may be answered on any.
public struct Server<Request, Reply, Failure: Error & BitwiseCopyable>: ~Copyable, @unchecked Sendable {
    // `@unchecked`: it is one thread's at a time by its ownership; the memory is shared by atomics.
    var taker: WorkTaker

    private let checks: MessageChecks?

    init(_ membership: Membership, _ waiting: Waiting, _ checks: CallChecks) {
        taker = WorkTaker(membership, waiting)
        self.checks = checks.request
    }

    /// Takes the next call, waiting for it.
    ///
    /// - Throws: ``IPC/IPCError/Code/timedOut``.
    public mutating func next(until deadline: Deadline = .never) throws(IPCError) -> Call<Request, Reply, Failure> {
        Call(taker.membership, try take(until: deadline))
    }

    fileprivate mutating func take(until deadline: Deadline) throws(IPCError) -> TakenCall {
        while let work = try taker.take(until: deadline) {
            if let call = try call(work) { return call }
        }
        throw timedOut
    }

    /// Takes the next call, suspended until there is one.
    ///
    /// - Throws: As the blocking call; ``IPC/IPCError/Code/cancelled``, and no call was taken.
    public nonisolated(nonsending) mutating func next(
        until deadline: Deadline = .never
    ) async throws(IPCError) -> Call<Request, Reply, Failure> {
        while let work = try await taker.take(until: deadline) {
            if let call = try call(work) { return Call(taker.membership, call) }
        }
        throw timedOut
    }

    /// - Returns: nil if it is to stop.
    nonisolated(nonsending) mutating func next(
        unless stopping: Stopping?
    ) async throws(IPCError) -> Call<Request, Reply, Failure>? {
        while let work = try await taker.take(until: .never, unless: stopping) {
            if let call = try call(work) { return Call(taker.membership, call) }
        }
        return nil
    }

    private var timedOut: IPCError {
        IPCError(
            .timedOut, "next call", taker.membership.memory.name.description,
            advice: "nobody called before the deadline; allow more time")
    }

    /// Takes the next call if there is one.
    public mutating func tryNext() throws(IPCError) -> Call<Request, Reply, Failure>? {
        while let work = try taker.poll() {
            if let call = try call(work) { return Call(taker.membership, call) }
        }
        return nil
    }

    /// - Returns: nil if its caller has given it up already, or what is there cannot be a call: that is lost, and keeps nobody from being
    ///   served.
    private func call(_ work: TakenWork) throws(IPCError) -> TakenCall? {
        guard let call = try? taker.membership.call(work, checks) else {
            taker.membership.lose(work)
            return nil
        }
        guard call.isCancelled else { return call }
        try? taker.membership.giveBack(call)
        return nil
    }

    /// Leaves the service, once its calls are answered.
    public consuming func close() {}
}

/// A call that a server has, until it answers. Going out of scope without an answer, it counts as lost: another server
/// gets it if its caller allowed retries, else the caller gets an error at once.
///
/// It keeps its server's place in the service.
public struct Call<Request, Reply, Failure: Error & BitwiseCopyable>: ~Copyable, @unchecked Sendable {
    // `@unchecked`: the frame is this server's alone until it is answered, but for its state, which is atomic.
    let membership: Membership
    let call: TakenCall
    var isAnswered = false

    init(_ membership: Membership, _ call: TakenCall) {
        self.membership = membership
        self.call = call
    }

    deinit {
        if !isAnswered { try? membership.giveBack(call) }
    }

    /// When its caller gives up.
    public var deadline: Deadline { call.deadline }
    /// How often it was handed out, this time included: more than 1 if a server died in it.
    public var attempt: Int { call.work.state.attempts }

    /// The process that calls, by its own pid namespace: as it says itself. See ``CallerIdentity`` for what that is worth.
    public var caller: Int32 { membership.caller(of: call.work) }

    /// The texts that travel with the request (``CallOptions/metadata``): the caller's word, as the request is. Empty if there are none, and
    /// once the call is answered. What is not UTF-8 is left out. Copies them each time; never waits.
    public var metadata: [String: String] { membership.metadata(of: call.work) }

    /// Asks the kernel for the user and the group of the process that calls.
    ///
    /// A few system calls, and at most some tens of microseconds; never waits. Safe from any thread.
    ///
    /// - Returns: What ``CallerIdentity`` says, and how far it can be trusted.
    /// - Throws: ``IPC/IPCError/Code/notFound`` if the call is over, or its caller has ended;
    ///   ``IPC/IPCError/Code/unsupported`` if the caller is in another pid namespace, or `/proc` does not tell of it;
    ///   ``IPC/IPCError/Code/corrupted`` if the call names no caller.
    public borrowing func identifyCaller() throws(IPCError) -> CallerIdentity {
        try membership.identifyCaller(of: call.work)
    }

    /// Whether its caller wants no reply any more: it cancelled, passed its deadline, or died some milliseconds ago. Costs one load
    /// and a look at the clock, so that a long call can ask often; every few milliseconds, a few system calls.
    public var isCancelled: Bool { membership.isCancelled(call.work, until: deadline) }

    /// Another each time: who asks for it twice could end the call twice.
    var context: CallContext { CallContext(membership, call.work, deadline) }

    /// Lets go of a call that somebody has ended by its context.
    consuming func forget() { isAnswered = true }

    /// Gives the call to another server, or to this one again, as if it had not been handed out: its retries stay, and its caller
    /// notices nothing.
    public consuming func release() throws(IPCError) {
        isAnswered = true
        try membership.release(call)
    }

    /// Ends the call with an error of the service.
    public consuming func fail(_ failure: Failure) throws(IPCError) {
        isAnswered = true
        try membership.answer(call, Work.Stage.failed, failure)
    }
}

extension Call where Request: BitwiseCopyable, Reply: BitwiseCopyable {
    /// The request.
    ///
    /// - Throws: ``IPC/IPCError/Code/corrupted`` if a participant that is not of this library called with what cannot be a
    ///   request; let go of the call then.
    public var request: Request {
        get throws(IPCError) { try membership.request(of: call) }
    }

    /// Ends the call with a reply. Never blocks.
    public consuming func reply(_ reply: Reply) throws(IPCError) {
        isAnswered = true
        try membership.answer(call, Work.Stage.replied, reply)
    }
}

extension Server where Request: BitwiseCopyable, Reply: BitwiseCopyable {
    /// Takes the next call, waiting for it, and answers with what `body` returns or throws. Unlike ``next(until:)`` it counts
    /// no references: the call cannot outlive the server.
    ///
    /// - Throws: ``IPC/IPCError/Code/timedOut`` if nobody called until the deadline; ``IPC/IPCError/Code/corrupted`` if what came
    ///   cannot be a request, and its caller is told that it was lost.
    public mutating func serveNext(
        until deadline: Deadline = .never, _ body: (Request) throws(Failure) -> Reply
    ) throws(IPCError) {
        let call = try take(until: deadline)
        let request = try request(of: call)
        ipc_begin_handling()
        defer { ipc_end_handling() }
        switch Result(catching: { () throws(Failure) in try body(request) }) {
        case .success(let reply): try taker.membership.answer(call, Work.Stage.replied, reply)
        case .failure(let failure): try taker.membership.answer(call, Work.Stage.failed, failure)
        }
    }

    private func request(of call: TakenCall) throws(IPCError) -> Request {
        do throws(IPCError) { return try taker.membership.request(of: call) } catch {
            try? taker.membership.giveBack(call)
            throw error
        }
    }
}

extension Call where Request == RawBytes, Reply == RawBytes {
    /// Lends the request where it lies in the log.
    public borrowing func withRequest<Value>(
        _ body: (RawSpan) throws(IPCError) -> Value
    ) throws(IPCError) -> Value {
        guard !membership.memory.isInherited else { throw membership.memory.isInheritedError }
        return try unsafe body(RawSpan(_unsafeStart: call.frame.request, byteCount: call.frame.requestCount))
    }

    /// Ends the call with a copy of the bytes. Never blocks.
    ///
    /// - Throws: ``IPC/IPCError/Code/messageTooLarge`` if they are more than its caller allows; it is told so.
    public consuming func reply(_ bytes: RawSpan) throws(IPCError) {
        isAnswered = true
        try unsafe membership.answer(call, Work.Stage.replied, bytes.byteCount) { target in
            unsafe target.copyBytes(of: bytes)
        }
    }
}
