public import IPC
import Synchronization

/// One server of a ``Service``. One thread at a time may use it; its calls may be answered on any.
public struct Server<Request, Reply, Failure: Error & BitwiseCopyable>: ~Copyable, @unchecked Sendable {
    // `@unchecked`: it is one thread's at a time by its ownership; the memory is shared by atomics.
    var taker: WorkTaker

    init(_ membership: Membership, _ waiting: Waiting) { taker = WorkTaker(membership, waiting) }

    /// Takes the next call, waiting for it.
    ///
    /// - Throws: ``IPC/IPCError/Code/timedOut``.
    public mutating func next(until deadline: Deadline = .never) throws(IPCError) -> Call<Request, Reply, Failure> {
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
            if let call = try call(work) { return call }
        }
        throw timedOut
    }

    /// - Returns: nil if it is to stop.
    nonisolated(nonsending) mutating func next(
        unless stopping: Stopping?
    ) async throws(IPCError) -> Call<Request, Reply, Failure>? {
        while let work = try await taker.take(until: .never, unless: stopping) {
            if let call = try call(work) { return call }
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
        while let work = try taker.tryTake() {
            if let call = try call(work) { return call }
        }
        return nil
    }

    /// - Returns: nil if its caller has given it up already.
    private func call(_ work: TakenWork) throws(IPCError) -> Call<Request, Reply, Failure>? {
        let call = Call<Request, Reply, Failure>(
            taker.membership, work, try CallFrame(taker.membership.memory, work))
        if call.isCancelled { return nil }
        return call
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
    private let membership: Membership
    private let work: TakenWork
    private let frame: CallFrame
    private var isAnswered = false

    /// When its caller gives up.
    public let deadline: Deadline

    init(_ membership: Membership, _ work: TakenWork, _ frame: CallFrame) {
        self.membership = membership
        self.work = work
        self.frame = frame
        deadline = frame.deadline
    }

    deinit {
        if !isAnswered { _ = try? settle { $0.unanswered } }
    }

    /// How often it was handed out, this time included: more than 1 if a server died in it.
    public var attempt: Int { work.state.attempts }

    /// Whether its caller wants no reply any more: it cancelled, passed its deadline, or died. Costs one load and a look
    /// at the clock, so that a long call can ask often.
    public var isCancelled: Bool { Work.State(word: frame.word.published).isCancelled || deadline.hasPassed }

    var context: CallContext { CallContext(membership, work, deadline) }

    fileprivate consuming func answer(
        _ stage: UInt8, _ count: Int, _ fill: (UnsafeMutableRawPointer) -> Void
    ) throws(IPCError) {
        isAnswered = true
        let isTooLarge = count > frame.replyLimit
        if !isTooLarge { unsafe fill(frame.reply) }
        frame.replyCount = count
        KillPoint.reach(.callAnswered)
        try settle { $0.at($0.isCancelled ? Work.Stage.done : isTooLarge ? Work.Stage.refused : stage) }
        if isTooLarge {
            throw IPCError(
                .messageTooLarge, "reply", membership.memory.name.description,
                advice: "the reply has \(count) bytes, and its caller allows \(frame.replyLimit); it was told so")
        }
    }

    private borrowing func settle(_ settled: (Work.State) -> Work.State) throws(IPCError) {
        let memory = membership.memory
        var state = work.state
        var next = settled(state)
        while true {
            let (isOurs, found) = frame.word.exchange(state.word, for: next.word)
            if isOurs { break }
            state = Work.State(word: found)
            // Its caller may have cancelled it; nobody else may do anything.
            guard state.stage == Work.Stage.taken, state.slot == membership.slot else {
                throw memory.corrupted("somebody else has changed the state of a call")
            }
            next = settled(state)
        }
        KillPoint.reach(.callReplied)
        switch next.stage {
        case Work.Stage.done: try memory.tellOfDone()
        case Work.Stage.available: memory.tellOfReturns()
        default:
            let caller = try memory.sleepingCaller(work.header.writer)
            // A fence of our own, since this process may not be registered for the sleeper's.
            atomicMemoryFence(ordering: .sequentiallyConsistent)
            if caller.flag.relaxed != 0 { caller.wake(memory) }
        }
    }

    /// Ends the call with an error of the service.
    public consuming func fail(_ failure: Failure) throws(IPCError) {
        try unsafe answer(Work.Stage.failed, MemoryLayout<Failure>.size) { target in
            unsafe target.storeBytes(of: failure, as: Failure.self)
        }
    }
}

extension Call where Request: BitwiseCopyable, Reply: BitwiseCopyable {
    /// The request.
    ///
    /// - Throws: ``IPC/IPCError/Code/corrupted`` if a participant that is not of this library called.
    public var request: Request {
        get throws(IPCError) {
            guard frame.requestCount == MemoryLayout<Request>.size else {
                throw membership.memory.corrupted(
                    "a request has \(frame.requestCount) bytes instead of \(MemoryLayout<Request>.size)")
            }
            return unsafe frame.request.loadUnaligned(as: Request.self)
        }
    }

    /// Ends the call with a reply. Never blocks.
    public consuming func reply(_ reply: Reply) throws(IPCError) {
        try unsafe answer(Work.Stage.replied, MemoryLayout<Reply>.size) { target in
            unsafe target.storeBytes(of: reply, as: Reply.self)
        }
    }
}

extension Server where Request: BitwiseCopyable, Reply: BitwiseCopyable {
    /// Takes the next call, waiting for it, and answers with what `body` returns or throws.
    ///
    /// - Throws: ``IPC/IPCError/Code/timedOut`` if nobody called until the deadline.
    public mutating func serveNext(
        until deadline: Deadline = .never, _ body: (Request) throws(Failure) -> Reply
    ) throws(IPCError) {
        let call = try next(until: deadline)
        let outcome = Self.outcome(try call.request, body)
        switch outcome {
        case .success(let reply): try call.reply(reply)
        case .failure(let failure): try call.fail(failure)
        }
    }

    private static func outcome(
        _ request: Request, _ body: (Request) throws(Failure) -> Reply
    ) -> Result<Reply, Failure> {
        do throws(Failure) { return .success(try body(request)) } catch { return .failure(error) }
    }
}

extension Call where Request == RawBytes, Reply == RawBytes {
    /// Lends the request where it lies in the log.
    public borrowing func withRequest<Value>(
        _ body: (RawSpan) throws(IPCError) -> Value
    ) throws(IPCError) -> Value {
        try unsafe body(RawSpan(_unsafeStart: frame.request, byteCount: frame.requestCount))
    }

    /// Ends the call with a copy of the bytes. Never blocks.
    ///
    /// - Throws: ``IPC/IPCError/Code/messageTooLarge`` if they are more than its caller allows; it is told so.
    public consuming func reply(_ bytes: RawSpan) throws(IPCError) {
        try unsafe answer(Work.Stage.replied, bytes.byteCount) { target in unsafe target.copyBytes(of: bytes) }
    }
}
