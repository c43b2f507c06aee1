public import IPC

/// A channel for calls: one of the servers gets each request, and its reply goes to the caller.
///
/// ```swift
/// struct Order: BitwiseCopyable { var number: UInt32 }
/// struct Receipt: BitwiseCopyable { var price: Double }
/// enum OrderError: Error, BitwiseCopyable { case unknown, soldOut }
///
/// // Any number of processes serve:
/// var server = try ServiceChannel<Order, Receipt, OrderError>.openOrCreate("orders/prices").makeServer()
/// try server.serveNext { order throws(OrderError) in
///     guard order.number < 100 else { throw .unknown }
///     return Receipt(price: 12.5)
/// }
/// // Any number of others call:
/// var client = try ServiceChannel<Order, Receipt, OrderError>.openOrCreate("orders/prices").makeClient()
/// let receipt = try client.call(Order(number: 7), until: .after(.seconds(1))).get()
/// ```
///
/// There are two kinds of errors. What a server throws is the `Failure` of the result. If a call cannot be answered, it throws
/// an ``/IPC/IPCError``. Request, reply and failure are `BitwiseCopyable` types without pointers; or request and reply are
/// ``RawBytes``; or all three are `Codable`: ``Coded``, ``Coded`` and ``CodedFailure``.
///
/// | | |
/// |---|---|
/// | no server, or all busy | the call waits for one until its deadline |
/// | more waiting calls than ``ServiceOptions/maximumWaiting`` | a new call throws ``/IPC/IPCError/Code/overloaded`` at once |
/// | a slow server | delays only its own callers, until the log is full of later calls; then callers wait for room |
/// | a server dies in a call | the caller gets ``/IPC/IPCError/Code/brokenPipe`` at once; with `retries`, another server gets it |
/// | a caller cancels, times out, or dies | its server sees it (``ServiceChannel/Call/isCancelled``); a call that no server has yet is dropped |
/// | a restart | calls that no server has taken wait for the new server |
public struct ServiceChannel<Request, Reply, Failure: Error & BitwiseCopyable>: Sendable {
    /// Such as `orders/prices`.
    public var name: ChannelName { channel.name }
    private let channel: Channel
    private let checks: CallChecks

    init(
        _ name: String, in root: ChannelRoot, _ types: CallTypes, _ opening: ServiceOpening
    ) throws(IPCError) {
        channel = try Channel(name, in: root, .service, types.call(), opening.channel(name), hooks: ServiceHooks())
        checks = types.checks
    }

    /// The types of a service's calls.
    struct CallTypes {
        let request: MessageType
        let reply: MessageType
        let failure: MessageType

        static func bytes() throws(IPCError) -> CallTypes {
            CallTypes(request: .bytes, reply: .bytes, failure: try MessageType.of(Failure.self))
        }

        func call() throws(IPCError) -> MessageType { try MessageType.call(request, reply, failure: failure) }

        var checks: CallChecks {
            CallChecks(request: request.checks, reply: reply.checks, failure: failure.checks)
        }
    }

    init(_ channel: Channel, _ checks: CallChecks) {
        self.channel = channel
        self.checks = checks
    }

    /// An unnamed service of bytes on the descriptors of its files. They must stay open while it is used.
    package init(bytesOn descriptors: ChannelDescriptors) throws(IPCError)
    where Request == RawBytes, Reply == RawBytes {
        channel = try Channel(on: descriptors, .service, .bytes, hooks: ServiceHooks())
        checks = try CallChecks(request: nil, reply: nil, failure: MessageType.of(Failure.self).checks)
    }

    /// Joins as a server.
    public func makeServer(waiting: WaitStrategy = .sleeping()) throws(IPCError)
        -> ServiceChannel<Request, Reply, Failure>.Server
    {
        Server(try channel.join(.reader, logAccess: .readWrite), waiting, checks)
    }

    /// Joins as a client. It may have many calls in progress at a time.
    public func makeClient(waiting: WaitStrategy = .sleeping()) throws(IPCError)
        -> ServiceChannel<Request, Reply, Failure>.Client
    {
        Client(try LogWriter(channel.join(.writer)), waiting, checks)
    }

    /// Removes a service, even while it is in use.
    public static func remove(_ name: String, in root: ChannelRoot = .current) throws(IPCError) {
        try Channel.remove(name, in: root)
    }
}

extension ServiceChannel.CallTypes where Request: BitwiseCopyable, Reply: BitwiseCopyable {
    static func values() throws(IPCError) -> Self {
        Self(
            request: try MessageType.of(Request.self), reply: try MessageType.of(Reply.self),
            failure: try MessageType.of(Failure.self))
    }
}

extension ServiceChannel.CallTypes
where Request: CodableMessage, Reply: CodableMessage, Request.Coder == Reply.Coder, Failure: CodableFailure {
    static func coded() -> Self {
        Self(
            request: .coded(Request.self), reply: .coded(Reply.self),
            failure: .coded(Failure.Value.self, by: Request.Coder.self))
    }
}
