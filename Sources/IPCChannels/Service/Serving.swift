public import IPC
import Synchronization

/// What a handler may ask of the call that it answers.
public struct CallContext: Sendable {
    private let membership: Membership
    private let work: TakenWork
    /// That of the call: one of us ends it. Once it was released it may be this server's again, and look just the same.
    private let end = CallEnd()

    /// When its caller gives up.
    public let deadline: Deadline
    /// How often it was handed out, this time included: more than 1 if a server died in it.
    public var attempt: Int { work.state.attempts }

    /// The process that calls, by its own pid namespace: as it says itself. See ``CallerIdentity`` for what that is worth.
    public var caller: Int32 { membership.caller(of: work) }

    /// The texts that travel with the request (``CallOptions/metadata``): the caller's word, as the request is. Empty if there are none, and
    /// once the call is answered. What is not UTF-8 is left out. Copies them each time; never waits.
    public var metadata: [String: String] { membership.metadata(of: work) }

    /// Asks the kernel for the user and the group of the process that calls.
    ///
    /// A few system calls, and at most some tens of microseconds; never waits. Safe from any thread.
    ///
    /// - Returns: What ``CallerIdentity`` says, and how far it can be trusted.
    /// - Throws: ``IPC/IPCError/Code/notFound`` if the call is over, or its caller has ended;
    ///   ``IPC/IPCError/Code/unsupported`` if the caller is in another pid namespace, or `/proc` does not tell of it;
    ///   ``IPC/IPCError/Code/corrupted`` if the call names no caller.
    public func identifyCaller() throws(IPCError) -> CallerIdentity { try membership.identifyCaller(of: work) }

    init(_ membership: Membership, _ work: TakenWork, _ deadline: Deadline) {
        self.membership = membership
        self.work = work
        self.deadline = deadline
    }

    /// Whether its caller wants no reply any more: it cancelled, passed its deadline, or died some milliseconds ago. Also true once
    /// the call is answered. Costs one load and a look at the clock; every few milliseconds, a few system calls.
    public var isCancelled: Bool { end.isTaken || membership.isCancelled(work, until: deadline) }

    /// Gives the call to another server, or to this one again, as if it had not been handed out. What the handler returns or throws
    /// is dropped then. Nothing happens once the call is released or answered.
    public func release() {
        if end.take() { membership.giveBack(work, isCounted: false) }
    }

    /// Asked before the call is answered.
    ///
    /// - Returns: False if it was released: it is another handler's then.
    func mayAnswer() -> Bool { end.take() }
}

/// Says who ends a call: its handler, by what it returns, or whoever releases it.
private final class CallEnd: Sendable {
    private let flag = Atomic(false)

    /// - Returns: Whether nobody had done so before.
    func take() -> Bool { !flag.exchange(true, ordering: .relaxed) }
    var isTaken: Bool { flag.load(ordering: .relaxed) }
}

extension Service where Request: BitwiseCopyable & Sendable, Reply: BitwiseCopyable & Sendable {
    /// Serves until its task is cancelled: then no more calls are taken, and no handler is started. Those under way see their own
    /// tasks cancelled, and are waited for.
    ///
    /// A handler's task is cancelled as well, within some milliseconds, when its caller cancels, passes its deadline or dies.
    ///
    /// ```swift
    /// struct Order: BitwiseCopyable { var number: UInt32 }
    /// struct Receipt: BitwiseCopyable { var price: Double }
    /// enum OrderError: Error, BitwiseCopyable { case unknown }
    /// let prices = try Service<Order, Receipt, OrderError>.create("orders/prices")
    /// try await prices.serve { order in Receipt(price: Double(order.number)) }
    /// ```
    ///
    /// - Parameters:
    ///   - concurrency: How many calls are answered at a time; others wait, or go to another server. A handler that waits for a call that
    ///     it has made itself does not count: so calls within calls, also of the same service, come to their turn.
    ///   - handler: Runs in a task of its own for each call. What it throws travels to the caller.
    /// - Throws: When the service is corrupted, or no server may join.
    public nonisolated(nonsending) func serve(
        concurrency: Int = 16,
        _ handler: @escaping @Sendable (Request, CallContext) async throws(Failure) -> Reply
    ) async throws(IPCError) {
        try await serve(concurrency: concurrency, until: nil, handler)
    }

    nonisolated(nonsending) func serve(
        concurrency: Int, until stopping: Stopping?,
        _ handler: @escaping @Sendable (Request, CallContext) async throws(Failure) -> Reply
    ) async throws(IPCError) {
        try await makeServer().run(concurrency, until: stopping) { (call, context) async in
            // Where an answer is refused, the caller has been told.
            guard let request = try? call.request else { return }
            do throws(Failure) {
                let reply = try await handler(request, context)
                if context.mayAnswer() { try? call.reply(reply) } else { call.forget() }
            } catch {
                if context.mayAnswer() { try? call.fail(error) } else { call.forget() }
            }
        }
    }

    /// Serves with a handler that asks nothing of its call.
    public nonisolated(nonsending) func serve(
        concurrency: Int = 16, _ handler: @escaping @Sendable (Request) async throws(Failure) -> Reply
    ) async throws(IPCError) {
        try await serve(concurrency: concurrency) { (request, _) async throws(Failure) in try await handler(request) }
    }
}

extension Service where Request == RawBytes, Reply == RawBytes {
    /// Serves calls of bytes until its task is cancelled.
    public nonisolated(nonsending) func serve(
        concurrency: Int = 16,
        _ handler: @escaping @Sendable ([UInt8], CallContext) async throws(Failure) -> [UInt8]
    ) async throws(IPCError) {
        try await makeServer().run(concurrency, until: nil) { (call, context) async in
            guard let request = try? call.withRequest({ $0.array }) else { return }
            do throws(Failure) {
                let reply = try await handler(request, context)
                if context.mayAnswer() { try? unsafe call.reply(reply.span.bytes) } else { call.forget() }
            } catch {
                if context.mayAnswer() { try? call.fail(error) } else { call.forget() }
            }
        }
    }
}

extension Server {
    /// Answers each call in a task of its own, at most `limit` at a time, until its task is cancelled, or it is to stop.
    nonisolated(nonsending) consuming func run(
        _ limit: Int, until stopping: Stopping?,
        _ answer: @escaping @Sendable (consuming Call<Request, Reply, Failure>, CallContext) async -> Void
    ) async throws(IPCError) {
        stopping?.add(taker.membership)
        let server = Held(self)
        let watch = CallWatch()
        async let _: Void = watch.run()
        try await runConcurrently(
            limit,
            taking: { () async throws(IPCError) in
                guard let call = try await server.participant.next(unless: stopping) else { return nil }
                return Held(Optional(call))
            }
        ) { (held: Held<Call<Request, Reply, Failure>?>) throws(IPCError) in
            guard let call = held.participant.take() else { return }
            // Taken, and then cancelled before its turn came.
            guard !Task.isCancelled else { return try call.release() }
            let context = call.context
            let key = watch.begin(context)
            defer { watch.end(key) }
            await answer(call, context)
        }
    }
}
