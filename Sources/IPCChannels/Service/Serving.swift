public import IPC
import Synchronization

/// The context of a call, for the handler that answers it.
public struct CallContext: Sendable {
    private let membership: Membership
    private let work: TakenWork
    /// Shared by all copies, so that only one of them ends the call. The state cannot tell: a released call may come back to
    /// this server and look the same.
    private let end = CallEnd()

    /// When the caller gives up.
    public let deadline: Deadline
    /// The number of this delivery, starting at 1. More than 1 if a server died in the call.
    public var attempt: Int { work.state.attempts }

    /// The process of the caller, in the caller's pid namespace. This is the caller's claim: see ``CallerIdentity``.
    public var caller: Int32 { membership.caller(of: work) }

    /// The texts that travel with the request (``CallOptions/metadata``). Like the request, they are unverified. Empty if there
    /// are none, and once the call is answered. Texts that are not UTF-8 are left out. Copies them each time; never blocks.
    public var metadata: [String: String] { membership.metadata(of: work) }

    /// Asks the kernel for the user and group of the calling process.
    ///
    /// Makes a few system calls, which take some tens of microseconds at most; never waits. Safe from any thread.
    ///
    /// - Returns: The identity; see ``CallerIdentity`` for how far it can be trusted.
    /// - Throws: ``/IPC/IPCError/Code/notFound`` if the call is over, or its caller has ended;
    ///   ``/IPC/IPCError/Code/unsupported`` if the caller is in another pid namespace, or `/proc` does not show it;
    ///   ``/IPC/IPCError/Code/corrupted`` if the call names no caller.
    public func identifyCaller() throws(IPCError) -> CallerIdentity { try membership.identifyCaller(of: work) }

    init(_ membership: Membership, _ work: TakenWork, _ deadline: Deadline) {
        self.membership = membership
        self.work = work
        self.deadline = deadline
    }

    /// Whether the caller no longer wants a reply: it cancelled, passed its deadline, or died some milliseconds ago. Also true
    /// once the call is answered. Costs one load and a clock read; every few milliseconds, a few system calls.
    public var isCancelled: Bool { end.isTaken || membership.isCallCancelled(work, until: deadline) }

    /// Releases the call as if it had never been delivered: a server takes it again. What the handler returns or throws is then
    /// discarded. Does nothing once the call is released or answered.
    public func release() {
        if end.take() { _ = membership.handBack(work) { $0.released } }
    }

    /// Called before the call is answered.
    ///
    /// - Returns: False if the call was released: another handler has it then.
    func mayAnswer() -> Bool { end.take() }
}

/// Decides who ends a call: its handler, by returning or throwing, or a call of `release()`.
private final class CallEnd: Sendable {
    private let flag = Atomic(false)

    /// - Returns: True for the first call only.
    func take() -> Bool { !flag.exchange(true, ordering: .relaxed) }
    var isTaken: Bool { flag.load(ordering: .relaxed) }
}

extension ServiceChannel where Request: BitwiseCopyable & Sendable, Reply: BitwiseCopyable & Sendable {
    /// Serves until its task is cancelled. After that it takes no more calls and starts no handler. The tasks of running
    /// handlers are cancelled and awaited.
    ///
    /// A handler's task is also cancelled, within some milliseconds, when its caller cancels, passes its deadline or dies.
    ///
    /// ```swift
    /// struct Order: BitwiseCopyable { var number: UInt32 }
    /// struct Receipt: BitwiseCopyable { var price: Double }
    /// enum OrderError: Error, BitwiseCopyable { case unknown }
    /// let prices = try ServiceChannel<Order, Receipt, OrderError>.openOrCreate("orders/prices")
    /// try await prices.serve { order in Receipt(price: Double(order.number)) }
    /// ```
    ///
    /// - Parameters:
    ///   - concurrency: The maximum number of calls in progress; others wait, or go to another server. A handler that waits for
    ///     a call of its own does not count. So nested calls, even to the same service, do not deadlock.
    ///   - handler: Runs in its own task for each call. The caller gets what it throws.
    /// - Throws: An error if the service is corrupted, or no server may join.
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
            // If the answer is refused, the caller has been notified.
            guard let request = try? call.request else { return }
            do throws(Failure) {
                let reply = try await handler(request, context)
                if context.mayAnswer() { try? call.reply(reply) } else { call.forget() }
            } catch {
                if context.mayAnswer() { try? call.fail(error) } else { call.forget() }
            }
        }
    }

    /// Serves with a handler that does not need the call's context.
    public nonisolated(nonsending) func serve(
        concurrency: Int = 16, _ handler: @escaping @Sendable (Request) async throws(Failure) -> Reply
    ) async throws(IPCError) {
        try await serve(concurrency: concurrency) { (request, _) async throws(Failure) in try await handler(request) }
    }
}

extension ServiceChannel where Request == RawBytes, Reply == RawBytes {
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

extension ServiceChannel.Server {
    /// Answers each call in its own task, at most `limit` at a time, until its task is cancelled or it is to stop.
    nonisolated(nonsending) consuming func run(
        _ limit: Int, until stopping: Stopping?,
        _ answer:
            @escaping @Sendable (consuming ServiceChannel<Request, Reply, Failure>.Call, CallContext) async -> Void
    ) async throws(IPCError) {
        stopping?.add(taker.membership)
        let server = Box(self)
        let watch = CallWatch()
        async let _: Void = watch.run()
        try await runConcurrently(
            limit,
            taking: { () async throws(IPCError) in
                guard let call = try await server.value.next(unless: stopping) else { return nil }
                return Box(Optional(call))
            }
        ) { (box: Box<ServiceChannel<Request, Reply, Failure>.Call?>) throws(IPCError) in
            guard let call = box.value.take() else { return }
            // Taken, then cancelled before its handler started.
            guard !Task.isCancelled else { return try call.release() }
            let context = call.context
            let key = watch.begin(context)
            defer { watch.end(key) }
            await answer(call, context)
        }
    }
}
