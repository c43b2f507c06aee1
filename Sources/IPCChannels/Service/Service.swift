public import IPC
public import SystemPackage

/// A channel of calls: each request goes to one of the servers, and its reply to the caller.
///
/// ```swift
/// struct Order: BitwiseCopyable { var number: UInt32 }
/// struct Receipt: BitwiseCopyable { var price: Double }
/// enum OrderError: Error, BitwiseCopyable { case unknown, soldOut }
///
/// // Any number of processes serve:
/// var server = try Service<Order, Receipt, OrderError>.create("orders/prices").makeServer()
/// try server.serveNext { order throws(OrderError) in
///     guard order.number < 100 else { throw .unknown }
///     return Receipt(price: 12.5)
/// }
/// // Any number of others call:
/// var client = try Service<Order, Receipt, OrderError>.create("orders/prices").makeClient()
/// let receipt = try client.call(Order(number: 7), until: .after(.seconds(1))).get()
/// ```
///
/// Two kinds of errors: what a server throws is the `Failure` of the result; what keeps the call from being answered is an
/// ``IPC/IPCError``. Request, reply and failure are `BitwiseCopyable` types without pointers, or request and reply are
/// ``RawBytes``, or all three are `Codable`: ``Coded``, ``Coded`` and ``CodedFailure``.
///
/// | | |
/// |---|---|
/// | no server, or all busy | the call waits for one until its deadline |
/// | more calls wait than the service was created for (``ServiceOptions/maximumWaiting``) | a new one fails at once (``IPC/IPCError/Code/overloaded``) |
/// | a slow server | holds only its own callers up, until the log is full of calls after it; then callers wait for room |
/// | a server dies in a call | the caller is told at once (``IPC/IPCError/Code/brokenPipe``), or another server gets the call, if its `retries` allow |
/// | a caller cancels, passes its deadline, or dies | the server sees it: ``Call/isCancelled``; nobody had the call yet: nobody gets it |
/// | a restart | calls that nobody has taken wait for the new server |
public struct Service<Request, Reply, Failure: Error & BitwiseCopyable>: Sendable {
    /// Such as `orders/prices`.
    public var name: ChannelName { channel.name }
    private let channel: Channel
    private let checks: CallChecks

    /// - Parameter failure: Nil for that of `Failure`.
    init(
        _ name: String, in root: ChannelRoot, _ request: MessageType, _ reply: MessageType,
        failure: MessageType? = nil, _ options: ServiceOptions?, _ policy: CreationPolicy
    ) throws(IPCError) {
        let failure = if let failure { failure } else { try MessageType.of(Failure.self) }
        let type = try MessageType.call(request, reply, failure: failure)
        let wish = PolicyWish(maximumWaiting: options?.maximumWaiting)
        try wish.checkWaiting(name)
        channel = try Channel(name, in: root, .service, type, options?.channel, policy, wish)
        checks = CallChecks(request: request.checks, reply: reply.checks, failure: failure.checks)
    }

    /// One of bytes without a name, on the descriptors of its files; they have to stay open while it is used.
    package init(bytesOn descriptors: ChannelDescriptors) throws(IPCError)
    where Request == RawBytes, Reply == RawBytes {
        channel = try Channel(on: descriptors, .service, .bytes)
        checks = try CallChecks(request: nil, reply: nil, failure: MessageType.of(Failure.self).checks)
    }

    /// Joins as a server.
    public func makeServer(waiting: Waiting = .sleeping()) throws(IPCError) -> Server<Request, Reply, Failure> {
        Server(try channel.join(.reader, logAccess: .readWrite), waiting, checks)
    }

    /// Joins as a client. It may have many calls under way at a time.
    public func makeClient(waiting: Waiting = .sleeping()) throws(IPCError) -> Client<Request, Reply, Failure> {
        Client(try LogWriter(channel.join(.writer)), waiting, checks)
    }

    /// Removes a service, whoever uses it.
    public static func remove(_ name: String, in root: ChannelRoot = .current) throws(IPCError) {
        try Channel.remove(name, in: root)
    }
}

/// What a service is like; decided by who creates it.
public struct ServiceOptions: Hashable, Sendable {
    /// Bytes that the calls of one client may take until they are ended, each with its request, its reply, and 100 bytes; rounded up to
    /// a power of two of at least 64 KiB. The log has four times as many: so one client that does not collect its replies
    /// keeps nobody from calling, and a quarter is kept for the calls that handlers make.
    public var capacity = 1 << 20
    /// Whether it goes with its last participant.
    public var lifetime = ChannelOptions.Lifetime.whileUsed
    /// How many there may be at once; at most 1024.
    public var maximumServers = 64
    /// How many there may be at once; at most 1024.
    public var maximumClients = 64
    /// How many calls may wait that no server has taken yet; nil for no limit but the log's size. Where as many wait, a new call fails at
    /// once with ``IPC/IPCError/Code/overloaded``, whatever its deadline is: a caller that is told so can do without, or go elsewhere,
    /// while one that waits behind all others is mostly answered too late.
    ///
    /// Fixed when the service is created: who asks for another limit than it has is told. 1 to 2,147,483,647. Clients that call at the
    /// same moment may exceed it by one each. Calls that handlers make are not refused, so that what was begun is finished, and
    /// calls that were given back do not count. Without a limit nothing is counted; with one, each call looks at those that were made
    /// since its client's last one.
    public var maximumWaiting: Int?
    /// Who may use it: a participant writes to its files.
    public var permissions = FilePermissions.ownerReadWrite

    public init() {}

    var channel: ChannelOptions {
        var options = ChannelOptions(
            writers: .shared, lifetime: lifetime,
            capacity: (1...1 << 38).contains(capacity) ? 4 * max(capacity, 65_536) : capacity,
            maximumReaders: maximumServers,
            maximumWriters: maximumClients, permissions: permissions)
        options.maximumWaiting = maximumWaiting
        return options
    }
}

extension Service where Request: BitwiseCopyable, Reply: BitwiseCopyable {
    /// Creates a service of values, or opens it if it exists; then its own options hold.
    ///
    /// - Throws: As ``Topic/create(_:_:_:)``.
    public static func create(
        _ name: String, in root: ChannelRoot = .current, _ options: ServiceOptions = ServiceOptions(),
        _ policy: CreationPolicy = .openExisting
    ) throws(IPCError) -> Service {
        try Service(name, in: root, MessageType.of(Request.self), MessageType.of(Reply.self), options, policy)
    }

    /// Opens a service of values that exists.
    public static func open(_ name: String, in root: ChannelRoot = .current) throws(IPCError) -> Service {
        try Service(name, in: root, MessageType.of(Request.self), MessageType.of(Reply.self), nil, .openExisting)
    }
}

extension Service where Request == RawBytes, Reply == RawBytes {
    /// Creates a service of bytes, or opens it if it exists; then its own options hold.
    public static func create(
        _ name: String, in root: ChannelRoot = .current, _ options: ServiceOptions = ServiceOptions(),
        _ policy: CreationPolicy = .openExisting
    ) throws(IPCError) -> Service {
        try Service(name, in: root, .bytes, .bytes, options, policy)
    }

    /// Opens a service of bytes that exists.
    public static func open(_ name: String, in root: ChannelRoot = .current) throws(IPCError) -> Service {
        try Service(name, in: root, .bytes, .bytes, nil, .openExisting)
    }
}
