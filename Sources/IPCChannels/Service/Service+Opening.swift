public import IPC

// How a service comes to be: of values, of bytes, and of `Codable` values.

extension ServiceChannel where Request: BitwiseCopyable, Reply: BitwiseCopyable {
    /// Creates a service of values. It must not exist; one that is not kept and whose participants are all dead is as good
    /// as none.
    ///
    /// - Parameters:
    ///   - name: Such as `orders/prices`.
    ///   - root: The folder of channels.
    ///   - options: What is asked of it.
    /// - Throws: ``/IPC/IPCError/Code/alreadyExists``; ``/IPC/IPCError/Code/wrongType`` if a type contains a pointer (the error
    ///   names it); ``/IPC/IPCError/Code/invalidArgument``; ``/IPC/IPCError/Code/noSpace``;
    ///   ``/IPC/IPCError/Code/permissionDenied``.
    public static func create(
        _ name: String, in root: ChannelRoot = .current, _ options: ServiceOptions = ServiceOptions()
    ) throws(IPCError) -> ServiceChannel {
        try ServiceChannel(name, in: root, .values(), .create(options))
    }

    /// Opens a service of values, and creates it if there is none: for programs that may start in any order.
    ///
    /// - Throws: As `create`; ``/IPC/IPCError/Code/wrongType`` if it exists with another type;
    ///   ``/IPC/IPCError/Code/incompatibleOptions`` if it exists with another value of an option that is asked for.
    public static func openOrCreate(
        _ name: String, in root: ChannelRoot = .current, _ options: ServiceOptions = ServiceOptions()
    ) throws(IPCError) -> ServiceChannel {
        try ServiceChannel(name, in: root, .values(), .openOrCreate(options))
    }

    /// Opens a service of values.
    ///
    /// - Throws: ``/IPC/IPCError/Code/notFound``; ``/IPC/IPCError/Code/wrongType``; ``/IPC/IPCError/Code/permissionDenied``.
    public static func open(_ name: String, in root: ChannelRoot = .current) throws(IPCError) -> ServiceChannel {
        try ServiceChannel(name, in: root, .values(), .open)
    }

    /// Opens a service of values. Blocks the thread until it exists or the deadline passes.
    ///
    /// - Throws: ``/IPC/IPCError/Code/timedOut`` if it was not created before the deadline; ``/IPC/IPCError/Code/wrongType``;
    ///   ``/IPC/IPCError/Code/permissionDenied``.
    public static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) throws(IPCError) -> ServiceChannel {
        try Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try ServiceChannel(name, in: root, .values(), .open)
        }
    }

    /// Opens a service of values, suspended until it exists.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``.
    public nonisolated(nonsending) static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) async throws(IPCError) -> ServiceChannel {
        try await Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try ServiceChannel(name, in: root, .values(), .open)
        }
    }
}

extension ServiceChannel where Request == RawBytes, Reply == RawBytes {
    /// Creates a service of bytes, which must not exist.
    public static func create(
        _ name: String, in root: ChannelRoot = .current, _ options: ServiceOptions = ServiceOptions()
    ) throws(IPCError) -> ServiceChannel {
        try ServiceChannel(name, in: root, .bytes(), .create(options))
    }

    /// Opens a service of bytes, and creates it if there is none.
    public static func openOrCreate(
        _ name: String, in root: ChannelRoot = .current, _ options: ServiceOptions = ServiceOptions()
    ) throws(IPCError) -> ServiceChannel {
        try ServiceChannel(name, in: root, .bytes(), .openOrCreate(options))
    }

    /// Opens a service of bytes.
    public static func open(_ name: String, in root: ChannelRoot = .current) throws(IPCError) -> ServiceChannel {
        try ServiceChannel(name, in: root, .bytes(), .open)
    }

    /// Opens a service of bytes. Blocks the thread until it exists or the deadline passes.
    public static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) throws(IPCError) -> ServiceChannel {
        try Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try ServiceChannel(name, in: root, .bytes(), .open)
        }
    }

    /// Opens a service of bytes, suspended until it exists.
    public nonisolated(nonsending) static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) async throws(IPCError) -> ServiceChannel {
        try await Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try ServiceChannel(name, in: root, .bytes(), .open)
        }
    }
}

extension ServiceChannel
where Request: CodableMessage, Reply: CodableMessage, Request.Coder == Reply.Coder, Failure: CodableFailure {
    /// Creates a service of `Codable` values, which must not exist.
    public static func create(
        _ name: String, in root: ChannelRoot = .current, _ options: ServiceOptions = ServiceOptions()
    ) throws(IPCError) -> ServiceChannel {
        try ServiceChannel(name, in: root, .coded(), .create(options))
    }

    /// Opens a service of `Codable` values, and creates it if there is none.
    public static func openOrCreate(
        _ name: String, in root: ChannelRoot = .current, _ options: ServiceOptions = ServiceOptions()
    ) throws(IPCError) -> ServiceChannel {
        try ServiceChannel(name, in: root, .coded(), .openOrCreate(options))
    }

    /// Opens a service of `Codable` values.
    public static func open(_ name: String, in root: ChannelRoot = .current) throws(IPCError) -> ServiceChannel {
        try ServiceChannel(name, in: root, .coded(), .open)
    }

    /// Opens a service of `Codable` values. Blocks the thread until it exists or the deadline passes.
    public static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) throws(IPCError) -> ServiceChannel {
        try Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try ServiceChannel(name, in: root, .coded(), .open)
        }
    }

    /// Opens a service of `Codable` values, suspended until it exists.
    public nonisolated(nonsending) static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) async throws(IPCError) -> ServiceChannel {
        try await Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try ServiceChannel(name, in: root, .coded(), .open)
        }
    }
}
