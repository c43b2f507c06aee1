import IPC
public import SystemPackage

/// What is asked of a service when it is created or opened. What is nil is not asked for: ``ChannelOptions``.
public struct ServiceOptions: Hashable, Sendable {
    /// The bytes that the unfinished calls of one client may take, rounded up to a power of two of at least 64 KiB; nil for
    /// 1 MiB. Each call takes its request, its reply, and about 100 bytes. The log has four times this size: so a client that
    /// does not collect its replies does not block others, and a quarter is reserved for calls made by handlers.
    public var capacity: Int?
    /// Whether the service ends with its last participant; nil for ``ChannelOptions/Lifetime/whileUsed``.
    public var lifetime: ChannelOptions.Lifetime?
    /// The maximum number of servers at a time; at most 1024. Nil for 64.
    public var maximumServers: Int?
    /// The maximum number of clients at a time; at most 1024. Nil for 64.
    public var maximumClients: Int?
    /// The maximum number of calls that wait for a server: 1 to 2,147,483,647. If this many wait, a new call fails at once with
    /// ``/IPC/IPCError/Code/overloaded``, whatever its deadline. Its caller can then do without a reply, or call another
    /// service. Behind a long queue, it would mostly be answered too late. A new service has no limit but the log's size if
    /// this is nil.
    ///
    /// Clients that call at the same moment may exceed the limit by one each. Calls made by handlers are not refused, so that
    /// calls in progress can finish, and calls that were given back are not counted. Without a limit nothing is counted. With a
    /// limit, each call scans the calls made since its client's last one.
    public var maximumWaiting: Int?
    /// Who may use it: every participant writes to its files. Nil for 0600.
    public var permissions: FilePermissions?

    public init(
        capacity: Int? = nil, lifetime: ChannelOptions.Lifetime? = nil, maximumServers: Int? = nil,
        maximumClients: Int? = nil, maximumWaiting: Int? = nil, permissions: FilePermissions? = nil
    ) {
        self.capacity = capacity
        self.lifetime = lifetime
        self.maximumServers = maximumServers
        self.maximumClients = maximumClients
        self.maximumWaiting = maximumWaiting
        self.permissions = permissions
    }

    /// The valid values of ``capacity``, in bytes.
    package static var capacities: ClosedRange<Int> { 1...ChannelOptions.largestCapacity / 4 }
    /// The valid values of ``maximumWaiting``.
    package static var waitingLimits: ClosedRange<Int> { Work.waitingLimits }

    /// - Throws: ``/IPC/IPCError/Code/invalidArgument``.
    fileprivate func channel(_ name: String) throws(IPCError) -> ChannelOptions {
        if let capacity, !Self.capacities.contains(capacity) {
            throw IPCError(
                .invalidArgument, "open service", name,
                advice: "a capacity of \(capacity) bytes per client was requested; it must be 64 KiB to 256 GiB")
        }
        var options = ChannelOptions(
            lifetime: lifetime, capacity: capacity.map { 4 * max($0, 65_536) }, maximumReaders: maximumServers,
            maximumWriters: maximumClients, permissions: permissions)
        options.maximumWaiting = maximumWaiting
        return options
    }
}

/// ``Channel/Opening``, with the options of a service.
enum ServiceOpening {
    case create(ServiceOptions)
    case open
    case openOrCreate(ServiceOptions)

    func channel(_ name: String) throws(IPCError) -> Channel.Opening {
        switch self {
        case .create(let options): .create(try options.channel(name))
        case .open: .open
        case .openOrCreate(let options): .openOrCreate(try options.channel(name))
        }
    }
}
