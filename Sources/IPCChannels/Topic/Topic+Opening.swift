public import IPC

// How a topic comes to be: of values, of bytes, of `Codable` values, and of headers with bytes.

extension Topic where Message: BitwiseCopyable {
    /// Creates a topic of values. It must not exist; one that is not kept and whose participants are all dead is as good
    /// as none.
    ///
    /// - Parameters:
    ///   - name: Such as `market/quotes`.
    ///   - root: The folder of channels.
    ///   - options: What is asked of it.
    /// - Throws: ``/IPC/IPCError/Code/alreadyExists``; ``/IPC/IPCError/Code/wrongType`` if a type contains a pointer (the error
    ///   names it); ``/IPC/IPCError/Code/invalidArgument``; ``/IPC/IPCError/Code/noSpace``;
    ///   ``/IPC/IPCError/Code/permissionDenied``.
    public static func create(
        _ name: String, in root: ChannelRoot = .current, _ options: ChannelOptions = ChannelOptions()
    ) throws(IPCError) -> Topic {
        try Topic(name, in: root, MessageType.of(Message.self), .create(options))
    }

    /// Opens a topic of values, and creates it if there is none: for programs that may start in any order.
    ///
    /// - Throws: As `create`; ``/IPC/IPCError/Code/wrongType`` if it exists with another type;
    ///   ``/IPC/IPCError/Code/incompatibleOptions`` if it exists with another value of an option that is asked for.
    public static func openOrCreate(
        _ name: String, in root: ChannelRoot = .current, _ options: ChannelOptions = ChannelOptions()
    ) throws(IPCError) -> Topic {
        try Topic(name, in: root, MessageType.of(Message.self), .openOrCreate(options))
    }

    /// Opens a topic of values.
    ///
    /// - Throws: ``/IPC/IPCError/Code/notFound``; ``/IPC/IPCError/Code/wrongType``; ``/IPC/IPCError/Code/permissionDenied``.
    public static func open(_ name: String, in root: ChannelRoot = .current) throws(IPCError) -> Topic {
        try Topic(name, in: root, MessageType.of(Message.self), .open)
    }

    /// Opens a topic of values. Blocks the thread until it exists or the deadline passes.
    ///
    /// - Throws: ``/IPC/IPCError/Code/timedOut`` if it was not created before the deadline; ``/IPC/IPCError/Code/wrongType``;
    ///   ``/IPC/IPCError/Code/permissionDenied``.
    public static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) throws(IPCError) -> Topic {
        try Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try Topic(name, in: root, MessageType.of(Message.self), .open)
        }
    }

    /// Opens a topic of values, suspended until it exists.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``.
    public nonisolated(nonsending) static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) async throws(IPCError) -> Topic {
        try await Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try Topic(name, in: root, MessageType.of(Message.self), .open)
        }
    }

    /// Opens a topic whose messages may have more fields than `Message`, for reading: ``additionalFields`` tells which. Publishing
    /// throws ``/IPC/IPCError/Code/wrongType`` then.
    ///
    /// - Parameters:
    ///   - name: Such as `market/quotes`.
    ///   - root: The folder of channels.
    ///   - compatibility: What may differ.
    /// - Throws: ``/IPC/IPCError/Code/notFound``; ``/IPC/IPCError/Code/wrongType``; ``/IPC/IPCError/Code/permissionDenied``.
    public static func open(
        _ name: String, in root: ChannelRoot = .current, compatibility: SchemaCompatibility
    ) throws(IPCError) -> Topic {
        try Topic(name, in: root, MessageType.of(Message.self), .open, allowsPrefix: compatibility == .prefix)
    }
}

extension Topic where Message == RawBytes {
    /// Creates a topic of bytes, which must not exist.
    public static func create(
        _ name: String, in root: ChannelRoot = .current, _ options: ChannelOptions = ChannelOptions()
    ) throws(IPCError) -> Topic {
        try Topic(name, in: root, .bytes, .create(options))
    }

    /// Opens a topic of bytes, and creates it if there is none.
    public static func openOrCreate(
        _ name: String, in root: ChannelRoot = .current, _ options: ChannelOptions = ChannelOptions()
    ) throws(IPCError) -> Topic {
        try Topic(name, in: root, .bytes, .openOrCreate(options))
    }

    /// Opens a topic of bytes.
    public static func open(_ name: String, in root: ChannelRoot = .current) throws(IPCError) -> Topic {
        try Topic(name, in: root, .bytes, .open)
    }

    /// Opens a topic of bytes. Blocks the thread until it exists or the deadline passes.
    public static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) throws(IPCError) -> Topic {
        try Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try Topic(name, in: root, .bytes, .open)
        }
    }

    /// Opens a topic of bytes, suspended until it exists.
    public nonisolated(nonsending) static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) async throws(IPCError) -> Topic {
        try await Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try Topic(name, in: root, .bytes, .open)
        }
    }
}

extension Topic where Message: CodableMessage {
    /// Creates a topic of `Codable` values, which must not exist.
    public static func create(
        _ name: String, in root: ChannelRoot = .current, _ options: ChannelOptions = ChannelOptions()
    ) throws(IPCError) -> Topic {
        try Topic(name, in: root, .coded(Message.self), .create(options))
    }

    /// Opens a topic of `Codable` values, and creates it if there is none.
    public static func openOrCreate(
        _ name: String, in root: ChannelRoot = .current, _ options: ChannelOptions = ChannelOptions()
    ) throws(IPCError) -> Topic {
        try Topic(name, in: root, .coded(Message.self), .openOrCreate(options))
    }

    /// Opens a topic of `Codable` values.
    public static func open(_ name: String, in root: ChannelRoot = .current) throws(IPCError) -> Topic {
        try Topic(name, in: root, .coded(Message.self), .open)
    }

    /// Opens a topic of `Codable` values. Blocks the thread until it exists or the deadline passes.
    public static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) throws(IPCError) -> Topic {
        try Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try Topic(name, in: root, .coded(Message.self), .open)
        }
    }

    /// Opens a topic of `Codable` values, suspended until it exists.
    public nonisolated(nonsending) static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) async throws(IPCError) -> Topic {
        try await Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try Topic(name, in: root, .coded(Message.self), .open)
        }
    }
}

extension Topic where Message: FramedMessage {
    /// Creates a topic of headers with bytes, which must not exist.
    ///
    /// - Throws: ``/IPC/IPCError/Code/alreadyExists``; ``/IPC/IPCError/Code/wrongType`` if the header contains a pointer (the
    ///   error names it); ``/IPC/IPCError/Code/invalidArgument``; ``/IPC/IPCError/Code/noSpace``;
    ///   ``/IPC/IPCError/Code/permissionDenied``.
    public static func create(
        _ name: String, in root: ChannelRoot = .current, _ options: ChannelOptions = ChannelOptions()
    ) throws(IPCError) -> Topic {
        try Topic(name, in: root, .framed(Message.self), .create(options))
    }

    /// Opens a topic of headers with bytes, and creates it if there is none.
    public static func openOrCreate(
        _ name: String, in root: ChannelRoot = .current, _ options: ChannelOptions = ChannelOptions()
    ) throws(IPCError) -> Topic {
        try Topic(name, in: root, .framed(Message.self), .openOrCreate(options))
    }

    /// Opens a topic of headers with bytes.
    public static func open(_ name: String, in root: ChannelRoot = .current) throws(IPCError) -> Topic {
        try Topic(name, in: root, .framed(Message.self), .open)
    }

    /// Opens a topic of headers with bytes. Blocks the thread until it exists or the deadline passes.
    public static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) throws(IPCError) -> Topic {
        try Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try Topic(name, in: root, .framed(Message.self), .open)
        }
    }

    /// Opens a topic of headers with bytes, suspended until it exists.
    public nonisolated(nonsending) static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) async throws(IPCError) -> Topic {
        try await Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try Topic(name, in: root, .framed(Message.self), .open)
        }
    }
}
