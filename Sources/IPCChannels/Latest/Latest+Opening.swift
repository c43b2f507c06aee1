public import IPC

// How a latest value comes to be: of values, of bytes, and of `Codable` values.

extension Latest where Value: BitwiseCopyable {
    /// Creates a latest value. It must not exist; one that is not kept and whose participants are all dead is as good
    /// as none.
    ///
    /// - Parameters:
    ///   - name: Such as `robot/pose`.
    ///   - root: The folder of channels.
    ///   - options: What is asked of it.
    /// - Throws: ``/IPC/IPCError/Code/alreadyExists``; ``/IPC/IPCError/Code/wrongType`` if a type contains a pointer (the error
    ///   names it); ``/IPC/IPCError/Code/invalidArgument``; ``/IPC/IPCError/Code/noSpace``;
    ///   ``/IPC/IPCError/Code/permissionDenied``.
    public static func create(
        _ name: String, in root: ChannelRoot = .current, _ options: LatestOptions = LatestOptions()
    ) throws(IPCError) -> Latest {
        try Latest(name, in: root, MessageType.of(Value.self), .create(options))
    }

    /// Opens a latest value, and creates it if there is none: for programs that may start in any order.
    ///
    /// - Throws: As `create`; ``/IPC/IPCError/Code/wrongType`` if it exists with another type;
    ///   ``/IPC/IPCError/Code/incompatibleOptions`` if it exists with another value of an option that is asked for.
    public static func openOrCreate(
        _ name: String, in root: ChannelRoot = .current, _ options: LatestOptions = LatestOptions()
    ) throws(IPCError) -> Latest {
        try Latest(name, in: root, MessageType.of(Value.self), .openOrCreate(options))
    }

    /// Opens a latest value.
    ///
    /// - Throws: ``/IPC/IPCError/Code/notFound``; ``/IPC/IPCError/Code/wrongType``; ``/IPC/IPCError/Code/permissionDenied``.
    public static func open(_ name: String, in root: ChannelRoot = .current) throws(IPCError) -> Latest {
        try Latest(name, in: root, MessageType.of(Value.self), .open)
    }

    /// Opens a latest value that may have more fields than `Value`, for getters and observers: ``additionalFields`` tells which.
    /// A setter would have to make up the rest: ``makeSetter()`` throws ``/IPC/IPCError/Code/wrongType`` then.
    ///
    /// - Parameters:
    ///   - name: Such as `robot/pose`.
    ///   - root: The folder of channels.
    ///   - compatibility: What may differ.
    /// - Throws: ``/IPC/IPCError/Code/notFound``; ``/IPC/IPCError/Code/wrongType``; ``/IPC/IPCError/Code/permissionDenied``.
    public static func open(
        _ name: String, in root: ChannelRoot = .current, compatibility: SchemaCompatibility
    ) throws(IPCError) -> Latest {
        try Latest(name, in: root, MessageType.of(Value.self), .open, allowsPrefix: compatibility == .prefix)
    }

    /// Opens a latest value. Blocks the thread until it exists or the deadline passes.
    ///
    /// - Throws: ``/IPC/IPCError/Code/timedOut`` if it was not created before the deadline; ``/IPC/IPCError/Code/wrongType``;
    ///   ``/IPC/IPCError/Code/permissionDenied``.
    public static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) throws(IPCError) -> Latest {
        try Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try Latest(name, in: root, MessageType.of(Value.self), .open)
        }
    }

    /// Opens a latest value, suspended until it exists.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``.
    public nonisolated(nonsending) static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) async throws(IPCError) -> Latest {
        try await Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try Latest(name, in: root, MessageType.of(Value.self), .open)
        }
    }
}

extension Latest where Value == RawBytes {
    /// Creates a latest value of bytes, which must not exist.
    public static func create(
        _ name: String, in root: ChannelRoot = .current, _ options: LatestOptions = LatestOptions()
    ) throws(IPCError) -> Latest {
        try Latest(name, in: root, .bytes, .create(options))
    }

    /// Opens a latest value of bytes, and creates it if there is none.
    public static func openOrCreate(
        _ name: String, in root: ChannelRoot = .current, _ options: LatestOptions = LatestOptions()
    ) throws(IPCError) -> Latest {
        try Latest(name, in: root, .bytes, .openOrCreate(options))
    }

    /// Opens a latest value of bytes.
    public static func open(_ name: String, in root: ChannelRoot = .current) throws(IPCError) -> Latest {
        try Latest(name, in: root, .bytes, .open)
    }

    /// Opens a latest value of bytes. Blocks the thread until it exists or the deadline passes.
    public static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) throws(IPCError) -> Latest {
        try Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try Latest(name, in: root, .bytes, .open)
        }
    }

    /// Opens a latest value of bytes, suspended until it exists.
    public nonisolated(nonsending) static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) async throws(IPCError) -> Latest {
        try await Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try Latest(name, in: root, .bytes, .open)
        }
    }
}

extension Latest where Value: CodableMessage {
    /// Creates a latest value that is `Codable`, which must not exist.
    public static func create(
        _ name: String, in root: ChannelRoot = .current, _ options: LatestOptions = LatestOptions()
    ) throws(IPCError) -> Latest {
        try Latest(name, in: root, .coded(Value.self), .create(options))
    }

    /// Opens a latest value that is `Codable`, and creates it if there is none.
    public static func openOrCreate(
        _ name: String, in root: ChannelRoot = .current, _ options: LatestOptions = LatestOptions()
    ) throws(IPCError) -> Latest {
        try Latest(name, in: root, .coded(Value.self), .openOrCreate(options))
    }

    /// Opens a latest value that is `Codable`.
    public static func open(_ name: String, in root: ChannelRoot = .current) throws(IPCError) -> Latest {
        try Latest(name, in: root, .coded(Value.self), .open)
    }

    /// Opens a latest value that is `Codable`. Blocks the thread until it exists or the deadline passes.
    public static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) throws(IPCError) -> Latest {
        try Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try Latest(name, in: root, .coded(Value.self), .open)
        }
    }

    /// Opens a latest value that is `Codable`, suspended until it exists.
    public nonisolated(nonsending) static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) async throws(IPCError) -> Latest {
        try await Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try Latest(name, in: root, .coded(Value.self), .open)
        }
    }
}
