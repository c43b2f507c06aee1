import CIPCShims
public import IPC

/// The failure of a service of `Codable` values: what a handler throws, encoded by the service's coder.
///
/// ```swift
/// import Foundation
///
/// enum JSON: MessageCoder {
///     static func encode<Value: Encodable>(_ value: Value) throws -> [UInt8] { try Array(JSONEncoder().encode(value)) }
///     static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
///         try JSONDecoder().decode(type, from: Data(bytes))
///     }
/// }
/// struct Question: Codable, Sendable { var text: String }
/// struct Answer: Codable, Sendable { var words: [String] }
/// enum Problem: Error, Codable { case unknown(String) }
///
/// typealias Answers = ServiceChannel<Coded<Question, JSON>, Coded<Answer, JSON>, CodedFailure<Problem>>
/// var server = try Answers.openOrCreate("answers").makeServer()
/// try server.serveNext(until: .after(.seconds(1))) { question throws(Problem) in
///     Answer(words: question.text.split(separator: " ").map(String.init))
/// }
/// var client = try Answers.openOrCreate("answers").makeClient()
/// let answer = try client.call(Question(text: "to be or not"), until: .after(.seconds(1))).get()
/// ```
///
/// Unlike a service of `BitwiseCopyable` values, it may carry strings and arrays. Each call costs allocations and copies. All
/// participants must use the same coder.
public enum CodedFailure<Value: Codable & Error>: CodableFailure, BitwiseCopyable {}

/// ``CodedFailure``, of whatever error.
public protocol CodableFailure: Error {
    associatedtype Value: Codable & Error
}

extension ServiceChannel
where Request: CodableMessage, Reply: CodableMessage, Request.Coder == Reply.Coder, Failure: CodableFailure {
    /// Serves calls of `Codable` values until its task is cancelled, as `serve(concurrency:_:)`.
    ///
    /// If the coder refuses a request, its reply or its failure, the call is not answered and counts as lost: see ``ServiceChannel/Call``.
    public nonisolated(nonsending) func serve(
        concurrency: Int = 16,
        _ handler: @escaping @Sendable (Request.Value, CallContext) async throws(Failure.Value) -> Reply.Value
    ) async throws(IPCError) {
        try await makeServer().run(concurrency, until: nil) { (call, context) async in
            guard let request: Request.Value = try? call.request else { return }
            do throws(Failure.Value) {
                let reply = try await handler(request, context)
                if context.mayAnswer() { try? call.reply(reply) } else { call.forget() }
            } catch {
                if context.mayAnswer() { try? call.fail(error) } else { call.forget() }
            }
        }
    }
}

extension ServiceChannel.Client
where Request: CodableMessage, Reply: CodableMessage, Request.Coder == Reply.Coder, Failure: CodableFailure {
    /// Calls with a value, encoded by the service's coder, and waits for the reply.
    ///
    /// - Parameters:
    ///   - request: The request.
    ///   - replyLimit: The maximum size in bytes of the encoded reply or failure; this much room is reserved.
    ///   - options: Retries and metadata.
    ///   - deadline: When the caller gives up. The server sees it. Blocks the thread until then at most.
    /// - Returns: The reply, or the error that the server threw.
    /// - Throws: ``/IPC/IPCError/Code/invalidArgument`` with the coder's error; ``/IPC/IPCError/Code/corrupted`` if the coder
    ///   refuses the reply; ``/IPC/IPCError/Code/messageTooLarge``; ``/IPC/IPCError/Code/timedOut``;
    ///   ``/IPC/IPCError/Code/brokenPipe`` if the server died or did not answer; ``/IPC/IPCError/Code/overloaded``.
    public mutating func call(
        _ request: Request.Value, replyLimit: Int = 4096,
        _ options: CallOptions = CallOptions(), until deadline: Deadline = .never
    ) throws(IPCError) -> Result<Reply.Value, Failure.Value> {
        try begin(request, replyLimit: replyLimit, options, until: deadline).wait()
    }

    /// Begins a call with a value, encoded by the service's coder. Blocks only while there is no room in the log, or in this client's share
    /// of it.
    public mutating func begin(
        _ request: Request.Value, replyLimit: Int = 4096,
        _ options: CallOptions = CallOptions(), until deadline: Deadline = .never
    ) throws(IPCError) -> PendingCall<Reply, Failure> {
        let bytes = try Reply.Coder.bytes(of: request, writer.memory.name)
        let call = try unsafe sendBytes(bytes.span.bytes, replyLimit: replyLimit, options, until: deadline)
        return PendingCall(writer.membership, call)
    }

    /// Calls with a value, encoded by the service's coder, suspended until the reply arrives.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and the server is notified.
    public nonisolated(nonsending) mutating func call(
        _ request: Request.Value, replyLimit: Int = 4096,
        _ options: CallOptions = CallOptions(), until deadline: Deadline = .never
    ) async throws(IPCError) -> Result<Reply.Value, Failure.Value> {
        let call = try await begin(request, replyLimit: replyLimit, options, until: deadline)
        return try await call.wait()
    }

    /// Begins a call with a value, encoded by the service's coder. Suspended only while there is no room in the log, or in this client's
    /// share of it.
    public nonisolated(nonsending) mutating func begin(
        _ request: Request.Value, replyLimit: Int = 4096,
        _ options: CallOptions = CallOptions(), until deadline: Deadline = .never
    ) async throws(IPCError) -> PendingCall<Reply, Failure> {
        let bytes = try Reply.Coder.bytes(of: request, writer.memory.name)
        let call = try await unsafe sendBytes(bytes.span.bytes, replyLimit: replyLimit, options, until: deadline)
        return PendingCall(writer.membership, call)
    }
}

extension PendingCall where Reply: CodableMessage, Failure: CodableFailure {
    /// Waits for the outcome, until the call's deadline, and decodes the reply with the service's coder.
    ///
    /// - Throws: As `call` of ``ServiceChannel/Client`` of `Codable` values.
    public consuming func wait() throws(IPCError) -> Result<Reply.Value, Failure.Value> {
        let state = try membership.waitForOutcome(of: call)
        isEnded = true
        return try membership.finish(call, state, Failure.self).decoded(by: Reply.Coder.self, membership.memory.name)
    }

    /// Waits for the outcome, until the call's deadline, suspended meanwhile, and decodes the reply with the service's coder.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and the server is notified.
    public nonisolated(nonsending) consuming func wait() async throws(IPCError) -> Result<Reply.Value, Failure.Value> {
        let state = try await waitForOutcome()
        isEnded = true
        return try membership.finish(call, state, Failure.self).decoded(by: Reply.Coder.self, membership.memory.name)
    }
}

extension ServiceChannel.Call
where Request: CodableMessage, Reply: CodableMessage, Request.Coder == Reply.Coder, Failure: CodableFailure {
    /// The request, decoded by the service's coder.
    ///
    /// - Throws: ``/IPC/IPCError/Code/corrupted`` with the coder's error; drop the call then.
    public var request: Request.Value {
        get throws(IPCError) {
            guard !membership.memory.isInherited else { throw membership.memory.isInheritedError }
            let frame = call.frame
            let bytes = unsafe [UInt8](UnsafeRawBufferPointer(start: frame.request, count: frame.requestCount))
            return try Reply.Coder.value(of: bytes, membership.memory.name)
        }
    }

    /// Ends the call with a reply, encoded by the service's coder. Never blocks.
    ///
    /// - Throws: ``/IPC/IPCError/Code/messageTooLarge`` if the reply is larger than its caller allows; the caller gets the same
    ///   error. ``/IPC/IPCError/Code/invalidArgument`` with the coder's error; the call then counts as lost.
    public consuming func reply(
        _ reply: Reply.Value
    ) throws(IPCError) {
        let bytes = try Reply.Coder.bytes(of: reply, membership.memory.name)
        isAnswered = true
        try membership.answer(call, Work.Stage.replied, bytes)
    }

    /// Ends the call with an error of the service, encoded by the service's coder. Never blocks.
    ///
    /// - Throws: As `reply(_:)`.
    public consuming func fail(
        _ failure: Failure.Value
    ) throws(IPCError) {
        let bytes = try Reply.Coder.bytes(of: failure, membership.memory.name)
        isAnswered = true
        try membership.answer(call, Work.Stage.failed, bytes)
    }
}

extension ServiceChannel.Server
where Request: CodableMessage, Reply: CodableMessage, Request.Coder == Reply.Coder, Failure: CodableFailure {
    /// Takes the next call, waiting for it, and answers with what `body` returns or throws.
    ///
    /// - Throws: ``/IPC/IPCError/Code/timedOut`` if no call came until the deadline; ``/IPC/IPCError/Code/corrupted`` if the
    ///   coder refuses the request, or ``/IPC/IPCError/Code/invalidArgument`` if it refuses the answer, and the call counts as
    ///   lost; ``/IPC/IPCError/Code/messageTooLarge`` if the answer is larger than its caller allows; the caller gets the same
    ///   error.
    public mutating func serveNext(
        until deadline: Deadline = .never,
        _ body: (Request.Value) throws(Failure.Value) -> Reply.Value
    ) throws(IPCError) {
        let call = try next(until: deadline)
        let request: Request.Value = try call.request
        ipc_begin_handling()
        defer { ipc_end_handling() }
        switch Result(catching: { () throws(Failure.Value) in try body(request) }) {
        case .success(let reply): try call.reply(reply)
        case .failure(let failure): try call.fail(failure)
        }
    }
}

/// The encoded reply or failure.
struct CodedOutcome {
    let bytes: [UInt8]
    let isReply: Bool

    func decoded<Answer: Decodable, Problem: Decodable & Error, Coder: MessageCoder>(
        by _: Coder.Type, _ channel: ChannelName
    ) throws(IPCError) -> Result<Answer, Problem> {
        if isReply { return .success(try Coder.value(of: bytes, channel)) }
        return .failure(try Coder.value(of: bytes, channel))
    }
}

extension Membership {
    /// Copies the outcome of a call and ends the call.
    func finish<Problem: CodableFailure>(
        _ call: SentCall, _ state: Work.State, _: Problem.Type
    ) throws(IPCError) -> CodedOutcome {
        let outcome: CodedOutcome
        do throws(IPCError) { outcome = try self.outcome(of: call, state, Problem.self) } catch {
            end(call)
            throw error
        }
        // The call was still ours at the end, so the copy is whole.
        guard end(call) else { throw retired }
        return outcome
    }

    private func outcome<Problem: CodableFailure>(
        of call: SentCall, _ state: Work.State, _: Problem.Type
    ) throws(IPCError) -> CodedOutcome {
        let (frame, count) = (call.frame, call.frame.replyCount)
        if state.stage == Work.Stage.failed, count <= frame.replyLimit {
            return CodedOutcome(
                bytes: unsafe [UInt8](UnsafeRawBufferPointer(start: frame.reply, count: count)), isReply: false)
        }
        let result: Result<[UInt8], CodedFailure<Problem.Value>> = try outcome(of: call, state) { $0.array }
        switch result {
        case .success(let bytes): return CodedOutcome(bytes: bytes, isReply: true)
        }
    }

    fileprivate func answer(_ call: TakenCall, _ stage: UInt8, _ bytes: [UInt8]) throws(IPCError) {
        try unsafe answer(call, stage, bytes.count) { target in unsafe target.copyBytes(of: bytes.span.bytes) }
    }
}
