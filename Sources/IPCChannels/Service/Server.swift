import CIPCShims
public import IPC

extension ServiceChannel {
    /// A server of a ``ServiceChannel``. One thread at a time may use it; its calls may be answered on any thread.
    public struct Server: ~Copyable, @unchecked Sendable {
        // `@unchecked`: ownership limits it to one thread at a time; shared memory is accessed through atomics.
        var taker: WorkTaker

        private let checks: MessageChecks?

        init(_ membership: Membership, _ waiting: WaitStrategy, _ checks: CallChecks) {
            taker = WorkTaker(membership, waiting)
            self.checks = checks.request
        }

        /// Takes the next call, waiting for it. Blocks the thread.
        ///
        /// - Throws: ``/IPC/IPCError/Code/timedOut``.
        public mutating func next(until deadline: Deadline = .never) throws(IPCError)
            -> ServiceChannel<Request, Reply, Failure>.Call
        {
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
        /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and no call was taken.
        public nonisolated(nonsending) mutating func next(
            until deadline: Deadline = .never
        ) async throws(IPCError) -> ServiceChannel<Request, Reply, Failure>.Call {
            while let work = try await taker.take(until: deadline) {
                if let call = try call(work) { return Call(taker.membership, call) }
            }
            throw timedOut
        }

        /// - Returns: Nil if the server is to stop.
        nonisolated(nonsending) mutating func next(
            unless stopping: Stopping?
        ) async throws(IPCError) -> ServiceChannel<Request, Reply, Failure>.Call? {
            while let work = try await taker.take(until: .never, unless: stopping) {
                if let call = try call(work) { return Call(taker.membership, call) }
            }
            return nil
        }

        private var timedOut: IPCError {
            IPCError(
                .timedOut, "next call", taker.membership.memory.name.description,
                advice: "no call arrived before the deadline; allow more time")
        }

        /// Takes the next call; nil if there is none.
        public mutating func tryNext() throws(IPCError) -> ServiceChannel<Request, Reply, Failure>.Call? {
            while let work = try taker.poll() {
                if let call = try call(work) { return Call(taker.membership, call) }
            }
            return nil
        }

        /// - Returns: Nil if its caller has already given up, or it is not a valid call. An invalid call is marked as lost, so that
        ///   it does not block the server.
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
}

extension ServiceChannel {
    /// A call that a server has until it answers. A call that is dropped without an answer counts as lost: another server gets it
    /// if its caller allowed retries; otherwise the caller gets an error at once.
    ///
    /// A call keeps its server's membership.
    public struct Call: ~Copyable, @unchecked Sendable {
        // `@unchecked`: the frame belongs to this server alone until it is answered, except its state, which is atomic.
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

        /// When the caller gives up.
        public var deadline: Deadline { call.deadline }
        /// The number of this delivery, starting at 1. More than 1 if a server died in the call.
        public var attempt: Int { call.work.state.attempts }

        /// The process of the caller, in the caller's pid namespace. This is the caller's claim: see ``CallerIdentity``.
        public var caller: Int32 { membership.caller(of: call.work) }

        /// The texts that travel with the request (``CallOptions/metadata``). Like the request, they are unverified. Empty if there
        /// are none, and once the call is answered. Texts that are not UTF-8 are left out. Copies them each time; never blocks.
        public var metadata: [String: String] { membership.metadata(of: call.work) }

        /// Asks the kernel for the user and group of the calling process.
        ///
        /// Makes a few system calls, which take some tens of microseconds at most; never waits. Safe from any thread.
        ///
        /// - Returns: The identity; see ``CallerIdentity`` for how far it can be trusted.
        /// - Throws: ``/IPC/IPCError/Code/notFound`` if the call is over, or its caller has ended;
        ///   ``/IPC/IPCError/Code/unsupported`` if the caller is in another pid namespace, or `/proc` does not show it;
        ///   ``/IPC/IPCError/Code/corrupted`` if the call names no caller.
        public borrowing func identifyCaller() throws(IPCError) -> CallerIdentity {
            try membership.identifyCaller(of: call.work)
        }

        /// Whether the caller no longer wants a reply: it cancelled, passed its deadline, or died some milliseconds ago. Cheap
        /// enough to check often in a long call: one load and a clock read; every few milliseconds, a few system calls.
        public var isCancelled: Bool { membership.isCallCancelled(call.work, until: deadline) }

        /// A new context each time. Use only one: two contexts could end the call twice.
        var context: CallContext { CallContext(membership, call.work, deadline) }

        /// Drops a call that was ended through its context.
        consuming func forget() { isAnswered = true }

        /// Releases the call as if it had never been delivered: a server takes it again, its retries stay, and its caller notices
        /// nothing.
        public consuming func release() throws(IPCError) {
            isAnswered = true
            try membership.release(call)
        }

        /// Ends the call with an error of the service. Never blocks.
        public consuming func fail(_ failure: Failure) throws(IPCError) {
            isAnswered = true
            try membership.answer(call, Work.Stage.failed, failure)
        }
    }
}

extension ServiceChannel.Call where Request: BitwiseCopyable, Reply: BitwiseCopyable {
    /// The request.
    ///
    /// - Throws: ``/IPC/IPCError/Code/corrupted`` if a client that does not use this library sent an invalid request; drop the
    ///   call then.
    public var request: Request {
        get throws(IPCError) { try membership.request(of: call) }
    }

    /// Ends the call with a reply. Never blocks.
    public consuming func reply(_ reply: Reply) throws(IPCError) {
        isAnswered = true
        try membership.answer(call, Work.Stage.replied, reply)
    }
}

extension ServiceChannel.Server where Request: BitwiseCopyable, Reply: BitwiseCopyable {
    /// Takes the next call, waiting for it, and answers with what `body` returns or throws. Unlike `next(until:)`, it does no
    /// reference counting: the call cannot outlive the server.
    ///
    /// - Throws: ``/IPC/IPCError/Code/timedOut`` if no call came until the deadline; ``/IPC/IPCError/Code/corrupted`` if the
    ///   request is invalid, and the call counts as lost.
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

extension ServiceChannel.Call where Request == RawBytes, Reply == RawBytes {
    /// Borrows the request in the log, without a copy.
    public borrowing func withRequest<Value>(
        _ body: (RawSpan) throws(IPCError) -> Value
    ) throws(IPCError) -> Value {
        guard !membership.memory.isInherited else { throw membership.memory.isInheritedError }
        return try unsafe body(RawSpan(_unsafeStart: call.frame.request, byteCount: call.frame.requestCount))
    }

    /// Ends the call with a copy of the bytes. Never blocks.
    ///
    /// - Throws: ``/IPC/IPCError/Code/messageTooLarge`` if the reply is larger than its caller allows; the caller gets the same
    ///   error.
    public consuming func reply(_ bytes: RawSpan) throws(IPCError) {
        isAnswered = true
        try unsafe membership.answer(call, Work.Stage.replied, bytes.byteCount) { target in
            unsafe target.copyBytes(of: bytes)
        }
    }
}

extension ServiceChannel.Server: ChannelSource {
    public mutating func readiness() -> ChannelReadiness { taker.readiness() }
}
