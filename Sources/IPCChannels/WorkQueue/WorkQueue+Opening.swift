public import IPC

// How a work queue comes to be: of values, of bytes, and of `Codable` values.

extension WorkQueue where Message: BitwiseCopyable {
    /// Creates a queue of values. It must not exist; one that is not kept and whose participants are all dead is as good
    /// as none.
    ///
    /// - Parameters:
    ///   - name: Such as `orders`.
    ///   - root: The folder of channels.
    ///   - options: As for a topic; a queue cannot overwrite. A new queue has shared writers and is kept, unless asked otherwise.
    ///   - maximumAttempts: After this many deliveries a job goes to the dead letters: 1 to 32,766. The default for a new queue
    ///     is 5.
    ///   - backoff: When a rejected job is redelivered. The default for a new queue is at once.
    /// - Throws: ``/IPC/IPCError/Code/alreadyExists``; ``/IPC/IPCError/Code/wrongType`` if a type contains a pointer (the error
    ///   names it); ``/IPC/IPCError/Code/invalidArgument``; ``/IPC/IPCError/Code/noSpace``;
    ///   ``/IPC/IPCError/Code/permissionDenied``.
    public static func create(
        _ name: String, in root: ChannelRoot = .current, _ options: ChannelOptions = ChannelOptions(),
        maximumAttempts: Int? = nil, backoff: RetryBackoff? = nil
    ) throws(IPCError) -> WorkQueue {
        try WorkQueue(name, in: root, MessageType.of(Message.self), .create(options.retrying(maximumAttempts, backoff)))
    }

    /// Opens a queue of values, and creates it if there is none: for programs that may start in any order.
    ///
    /// - Throws: As `create`; ``/IPC/IPCError/Code/wrongType`` if it exists with another type;
    ///   ``/IPC/IPCError/Code/incompatibleOptions`` if it exists with another value of an option that is asked for.
    public static func openOrCreate(
        _ name: String, in root: ChannelRoot = .current, _ options: ChannelOptions = ChannelOptions(),
        maximumAttempts: Int? = nil, backoff: RetryBackoff? = nil
    ) throws(IPCError) -> WorkQueue {
        try WorkQueue(
            name, in: root, MessageType.of(Message.self), .openOrCreate(options.retrying(maximumAttempts, backoff)))
    }

    /// Opens a queue of values.
    ///
    /// - Throws: ``/IPC/IPCError/Code/notFound``; ``/IPC/IPCError/Code/wrongType``; ``/IPC/IPCError/Code/permissionDenied``.
    public static func open(_ name: String, in root: ChannelRoot = .current) throws(IPCError) -> WorkQueue {
        try WorkQueue(name, in: root, MessageType.of(Message.self), .open)
    }

    /// Opens a queue of values. Blocks the thread until it exists or the deadline passes.
    ///
    /// - Throws: ``/IPC/IPCError/Code/timedOut`` if it was not created before the deadline; ``/IPC/IPCError/Code/wrongType``;
    ///   ``/IPC/IPCError/Code/permissionDenied``.
    public static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) throws(IPCError) -> WorkQueue {
        try Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try WorkQueue(name, in: root, MessageType.of(Message.self), .open)
        }
    }

    /// Opens a queue of values, suspended until it exists.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``.
    public nonisolated(nonsending) static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) async throws(IPCError) -> WorkQueue {
        try await Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try WorkQueue(name, in: root, MessageType.of(Message.self), .open)
        }
    }
}

extension WorkQueue where Message == RawBytes {
    /// Creates a queue of bytes, which must not exist.
    public static func create(
        _ name: String, in root: ChannelRoot = .current, _ options: ChannelOptions = ChannelOptions(),
        maximumAttempts: Int? = nil, backoff: RetryBackoff? = nil
    ) throws(IPCError) -> WorkQueue {
        try WorkQueue(name, in: root, .bytes, .create(options.retrying(maximumAttempts, backoff)))
    }

    /// Opens a queue of bytes, and creates it if there is none.
    public static func openOrCreate(
        _ name: String, in root: ChannelRoot = .current, _ options: ChannelOptions = ChannelOptions(),
        maximumAttempts: Int? = nil, backoff: RetryBackoff? = nil
    ) throws(IPCError) -> WorkQueue {
        try WorkQueue(name, in: root, .bytes, .openOrCreate(options.retrying(maximumAttempts, backoff)))
    }

    /// Opens a queue of bytes.
    public static func open(_ name: String, in root: ChannelRoot = .current) throws(IPCError) -> WorkQueue {
        try WorkQueue(name, in: root, .bytes, .open)
    }

    /// Opens a queue of bytes. Blocks the thread until it exists or the deadline passes.
    public static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) throws(IPCError) -> WorkQueue {
        try Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try WorkQueue(name, in: root, .bytes, .open)
        }
    }

    /// Opens a queue of bytes, suspended until it exists.
    public nonisolated(nonsending) static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) async throws(IPCError) -> WorkQueue {
        try await Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try WorkQueue(name, in: root, .bytes, .open)
        }
    }
}

extension WorkQueue where Message: CodableMessage {
    /// Creates a queue of `Codable` values, which must not exist.
    public static func create(
        _ name: String, in root: ChannelRoot = .current, _ options: ChannelOptions = ChannelOptions(),
        maximumAttempts: Int? = nil, backoff: RetryBackoff? = nil
    ) throws(IPCError) -> WorkQueue {
        try WorkQueue(name, in: root, .coded(Message.self), .create(options.retrying(maximumAttempts, backoff)))
    }

    /// Opens a queue of `Codable` values, and creates it if there is none.
    public static func openOrCreate(
        _ name: String, in root: ChannelRoot = .current, _ options: ChannelOptions = ChannelOptions(),
        maximumAttempts: Int? = nil, backoff: RetryBackoff? = nil
    ) throws(IPCError) -> WorkQueue {
        try WorkQueue(name, in: root, .coded(Message.self), .openOrCreate(options.retrying(maximumAttempts, backoff)))
    }

    /// Opens a queue of `Codable` values.
    public static func open(_ name: String, in root: ChannelRoot = .current) throws(IPCError) -> WorkQueue {
        try WorkQueue(name, in: root, .coded(Message.self), .open)
    }

    /// Opens a queue of `Codable` values. Blocks the thread until it exists or the deadline passes.
    public static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) throws(IPCError) -> WorkQueue {
        try Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try WorkQueue(name, in: root, .coded(Message.self), .open)
        }
    }

    /// Opens a queue of `Codable` values, suspended until it exists.
    public nonisolated(nonsending) static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) async throws(IPCError) -> WorkQueue {
        try await Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try WorkQueue(name, in: root, .coded(Message.self), .open)
        }
    }
}
