import CIPCShims
public import IPC

/// The failure of a service of `Codable` values: what a handler throws, written as bytes by the service's coder.
///
/// ```swift
/// import Foundation
///
/// struct JSON: MessageCoder {
///     func encode<Value: Encodable>(_ value: Value) throws -> [UInt8] { try Array(JSONEncoder().encode(value)) }
///     func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
///         try JSONDecoder().decode(type, from: Data(bytes))
///     }
/// }
/// struct Question: Codable, Sendable { var text: String }
/// struct Answer: Codable, Sendable { var words: [String] }
/// enum Problem: Error, Codable { case unknown(String) }
///
/// typealias Answers = Service<Coded<Question>, Coded<Answer>, CodedFailure<Problem>>
/// var server = try Answers.create("answers").makeServer()
/// try server.serveNext(with: JSON(), until: .after(.seconds(1))) { question throws(Problem) in
///     Answer(words: question.text.split(separator: " ").map(String.init))
/// }
/// var client = try Answers.create("answers").makeClient()
/// let answer = try client.call(Question(text: "to be or not"), with: JSON(), until: .after(.seconds(1))).get()
/// ```
///
/// Unlike a service of `BitwiseCopyable` values it may have strings and arrays, and costs allocations and copies for each call. All who
/// take part have to use the same coder.
public enum CodedFailure<Value: Codable & Error>: Error, BitwiseCopyable {}

extension Service {
    /// Creates a service of `Codable` values, or opens it if it exists; then its own options hold.
    ///
    /// - Throws: ``IPC/IPCError/Code/wrongType`` if it carries other types, by name.
    public static func create<Question, Answer, Problem>(
        _ name: String, in root: ChannelRoot = .current, _ options: ServiceOptions = ServiceOptions(),
        _ policy: CreationPolicy = .openExisting
    ) throws(IPCError) -> Service
    where Request == Coded<Question>, Reply == Coded<Answer>, Failure == CodedFailure<Problem> {
        try Service(
            name, in: root, .coded(Question.self), .coded(Answer.self), failure: .coded(Problem.self), options, policy)
    }

    /// Opens a service of `Codable` values that exists.
    public static func open<Question, Answer, Problem>(
        _ name: String, in root: ChannelRoot = .current
    ) throws(IPCError) -> Service
    where Request == Coded<Question>, Reply == Coded<Answer>, Failure == CodedFailure<Problem> {
        try Service(
            name, in: root, .coded(Question.self), .coded(Answer.self), failure: .coded(Problem.self), nil,
            .openExisting)
    }

    /// Serves calls of `Codable` values until its task is cancelled, as ``serve(concurrency:_:)``.
    ///
    /// A request that the coder refuses is not answered, nor is one whose reply it refuses: its caller is told that it was lost.
    public nonisolated(nonsending) func serve<Question: Sendable, Answer: Sendable, Problem>(
        with coder: some MessageCoder & Sendable, concurrency: Int = 16,
        _ handler: @escaping @Sendable (Question, CallContext) async throws(Problem) -> Answer
    ) async throws(IPCError)
    where Request == Coded<Question>, Reply == Coded<Answer>, Failure == CodedFailure<Problem> {
        try await makeServer().run(concurrency, until: nil) { (call, context) async in
            guard let request: Question = try? call.request(with: coder) else { return }
            do throws(Problem) {
                let reply = try await handler(request, context)
                if context.mayAnswer() { try? call.reply(reply, with: coder) } else { call.forget() }
            } catch {
                if context.mayAnswer() { try? call.fail(error, with: coder) } else { call.forget() }
            }
        }
    }
}

extension Client {
    /// Calls with a value as the bytes that `coder` makes of it, and waits for the reply.
    ///
    /// - Parameters:
    ///   - replyLimit: The most bytes that the reply, or what the server throws, may have as `coder` writes it: so much room is
    ///     reserved for it.
    ///   - options: Retries and metadata.
    ///   - deadline: When the caller gives up. The server is told of it. Blocks the thread until then at most.
    /// - Returns: The reply, or what the server threw.
    /// - Throws: ``IPC/IPCError/Code/invalidArgument`` with what the coder threw; ``IPC/IPCError/Code/corrupted`` if it refuses the reply;
    ///   ``IPC/IPCError/Code/messageTooLarge``; ``IPC/IPCError/Code/timedOut``; ``IPC/IPCError/Code/brokenPipe`` if the server died,
    ///   or did not answer; ``IPC/IPCError/Code/overloaded``.
    public mutating func call<Question, Answer, Problem>(
        _ request: Question, with coder: some MessageCoder, replyLimit: Int = 4096,
        _ options: CallOptions = CallOptions(), until deadline: Deadline = .never
    ) throws(IPCError) -> Result<Answer, Problem>
    where Request == Coded<Question>, Reply == Coded<Answer>, Failure == CodedFailure<Problem> {
        try begin(request, with: coder, replyLimit: replyLimit, options, until: deadline).wait(with: coder)
    }

    /// Begins a call with a value as the bytes that `coder` makes of it. Blocks only while the log is full.
    public mutating func begin<Question, Answer, Problem>(
        _ request: Question, with coder: some MessageCoder, replyLimit: Int = 4096,
        _ options: CallOptions = CallOptions(), until deadline: Deadline = .never
    ) throws(IPCError) -> PendingCall<Reply, Failure>
    where Request == Coded<Question>, Reply == Coded<Answer>, Failure == CodedFailure<Problem> {
        let bytes = try coder.bytes(of: request, writer.memory.name)
        let call = try unsafe sendBytes(bytes.span.bytes, replyLimit: replyLimit, options, until: deadline)
        return PendingCall(writer.membership, call)
    }

    /// Calls with a value as the bytes that `coder` makes of it, suspended until the reply is there.
    ///
    /// - Throws: As the blocking call; ``IPC/IPCError/Code/cancelled``, and the server is told.
    public nonisolated(nonsending) mutating func call<Question, Answer, Problem>(
        _ request: Question, with coder: some MessageCoder, replyLimit: Int = 4096,
        _ options: CallOptions = CallOptions(), until deadline: Deadline = .never
    ) async throws(IPCError) -> Result<Answer, Problem>
    where Request == Coded<Question>, Reply == Coded<Answer>, Failure == CodedFailure<Problem> {
        let call = try await begin(request, with: coder, replyLimit: replyLimit, options, until: deadline)
        return try await call.wait(with: coder)
    }

    /// Begins a call with a value as the bytes that `coder` makes of it. Suspended only while the log is full.
    public nonisolated(nonsending) mutating func begin<Question, Answer, Problem>(
        _ request: Question, with coder: some MessageCoder, replyLimit: Int = 4096,
        _ options: CallOptions = CallOptions(), until deadline: Deadline = .never
    ) async throws(IPCError) -> PendingCall<Reply, Failure>
    where Request == Coded<Question>, Reply == Coded<Answer>, Failure == CodedFailure<Problem> {
        let bytes = try coder.bytes(of: request, writer.memory.name)
        let call = try await unsafe sendBytes(bytes.span.bytes, replyLimit: replyLimit, options, until: deadline)
        return PendingCall(writer.membership, call)
    }
}

extension PendingCall {
    /// Waits for the outcome, until the call's deadline, and has `coder` make the reply of its bytes.
    ///
    /// - Throws: As ``Client/call(_:with:replyLimit:_:until:)``.
    public consuming func wait<Answer, Problem>(
        with coder: some MessageCoder
    ) throws(IPCError) -> Result<Answer, Problem>
    where Reply == Coded<Answer>, Failure == CodedFailure<Problem> {
        let state = try membership.waitForOutcome(of: call)
        isEnded = true
        return try membership.finish(call, state, Failure.self).decoded(with: coder, membership.memory.name)
    }

    /// Waits for the outcome, until the call's deadline, suspended meanwhile, and has `coder` make the reply of its bytes.
    ///
    /// - Throws: As the blocking call; ``IPC/IPCError/Code/cancelled``, and the server is told.
    public nonisolated(nonsending) consuming func wait<Answer, Problem>(
        with coder: some MessageCoder
    ) async throws(IPCError) -> Result<Answer, Problem>
    where Reply == Coded<Answer>, Failure == CodedFailure<Problem> {
        let state = try await waitForOutcome()
        isEnded = true
        return try membership.finish(call, state, Failure.self).decoded(with: coder, membership.memory.name)
    }
}

extension Call {
    /// The request, as `coder` makes it of its bytes.
    ///
    /// - Throws: ``IPC/IPCError/Code/corrupted`` with what the coder threw; let go of the call then.
    public borrowing func request<Question, Answer, Problem>(
        with coder: some MessageCoder
    ) throws(IPCError) -> Question
    where Request == Coded<Question>, Reply == Coded<Answer>, Failure == CodedFailure<Problem> {
        guard !membership.memory.isInherited else { throw membership.memory.isInheritedError }
        let frame = call.frame
        let bytes = unsafe [UInt8](UnsafeRawBufferPointer(start: frame.request, count: frame.requestCount))
        return try coder.value(of: bytes, membership.memory.name)
    }

    /// Ends the call with a reply, as the bytes that `coder` makes of it. Never blocks.
    ///
    /// - Throws: ``IPC/IPCError/Code/messageTooLarge`` if they are more than its caller allows, which is told so;
    ///   ``IPC/IPCError/Code/invalidArgument`` with what the coder threw: then the call counts as let go of.
    public consuming func reply<Question, Answer, Problem>(
        _ reply: Answer, with coder: some MessageCoder
    ) throws(IPCError)
    where Request == Coded<Question>, Reply == Coded<Answer>, Failure == CodedFailure<Problem> {
        let bytes = try coder.bytes(of: reply, membership.memory.name)
        isAnswered = true
        try membership.answer(call, Work.Stage.replied, bytes)
    }

    /// Ends the call with an error of the service, as the bytes that `coder` makes of it. Never blocks.
    ///
    /// - Throws: As ``reply(_:with:)``.
    public consuming func fail<Question, Answer, Problem>(
        _ failure: Problem, with coder: some MessageCoder
    ) throws(IPCError)
    where Request == Coded<Question>, Reply == Coded<Answer>, Failure == CodedFailure<Problem> {
        let bytes = try coder.bytes(of: failure, membership.memory.name)
        isAnswered = true
        try membership.answer(call, Work.Stage.failed, bytes)
    }
}

extension Server {
    /// Takes the next call, waiting for it, and answers with what `body` returns or throws.
    ///
    /// - Throws: ``IPC/IPCError/Code/timedOut`` if nobody called until the deadline; ``IPC/IPCError/Code/corrupted`` if the coder refuses
    ///   the request, ``IPC/IPCError/Code/invalidArgument`` if it refuses the answer: its caller is told that it was lost;
    ///   ``IPC/IPCError/Code/messageTooLarge`` if the answer has more bytes than its caller allows, which is told so.
    public mutating func serveNext<Question, Answer, Problem>(
        with coder: some MessageCoder, until deadline: Deadline = .never,
        _ body: (Question) throws(Problem) -> Answer
    ) throws(IPCError)
    where Request == Coded<Question>, Reply == Coded<Answer>, Failure == CodedFailure<Problem> {
        let call = try next(until: deadline)
        let request: Question = try call.request(with: coder)
        ipc_begin_handling()
        defer { ipc_end_handling() }
        switch Result(catching: { () throws(Problem) in try body(request) }) {
        case .success(let reply): try call.reply(reply, with: coder)
        case .failure(let failure): try call.fail(failure, with: coder)
        }
    }
}

/// The bytes of a reply or a failure.
struct CodedOutcome {
    let bytes: [UInt8]
    let isReply: Bool

    func decoded<Answer: Decodable, Problem: Decodable & Error>(
        with coder: some MessageCoder, _ channel: ChannelName
    ) throws(IPCError) -> Result<Answer, Problem> {
        if isReply { return .success(try coder.value(of: bytes, channel)) }
        return .failure(try coder.value(of: bytes, channel))
    }
}

extension Membership {
    /// A copy of what came of a call, which is ended.
    func finish<Problem>(
        _ call: SentCall, _ state: Work.State, _: CodedFailure<Problem>.Type
    ) throws(IPCError) -> CodedOutcome {
        let outcome: CodedOutcome
        do throws(IPCError) { outcome = try self.outcome(of: call, state, CodedFailure<Problem>.self) } catch {
            end(call)
            throw error
        }
        // Ours to the end, so that the copy was whole.
        guard end(call) else { throw retired }
        return outcome
    }

    private func outcome<Problem>(
        of call: SentCall, _ state: Work.State, _: CodedFailure<Problem>.Type
    ) throws(IPCError) -> CodedOutcome {
        let (frame, count) = (call.frame, call.frame.replyCount)
        if state.stage == Work.Stage.failed, count <= frame.replyLimit {
            return CodedOutcome(
                bytes: unsafe [UInt8](UnsafeRawBufferPointer(start: frame.reply, count: count)), isReply: false)
        }
        let result: Result<[UInt8], CodedFailure<Problem>> = try outcome(of: call, state) { $0.array }
        switch result {
        case .success(let bytes): return CodedOutcome(bytes: bytes, isReply: true)
        }
    }

    fileprivate func answer(_ call: TakenCall, _ stage: UInt8, _ bytes: [UInt8]) throws(IPCError) {
        try unsafe answer(call, stage, bytes.count) { target in unsafe target.copyBytes(of: bytes.span.bytes) }
    }
}
