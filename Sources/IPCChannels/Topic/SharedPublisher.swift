public import IPC

extension Topic {
    /// A publisher that threads and tasks use at the same time: one slot for all of them.
    ///
    /// A lock is held while a message is copied into the log, and nobody waits for room under it. Those who wait get room in their
    /// order. A ``Publisher`` has no lock, and belongs to one thread at a time.
    public final class SharedPublisher: Sendable {
        let shared: SharedWriter<Publisher>

        init(_ publisher: consuming Publisher) throws(IPCError) { shared = try SharedWriter(publisher) }

        /// Waits until everything published before this call, by any process, is on disk (`msync`). Blocks the thread.
        ///
        /// - Parameter deadline: How long to wait for earlier messages that other publishers have begun and not finished. It
        ///   does not limit the time that the disk takes.
        /// - Throws: As ``Topic/Publisher/sync(until:)``.
        public func sync(until deadline: Deadline = .never) throws(IPCError) { try shared.sync(until: deadline) }

        fileprivate func publish(
            _ count: Int, until deadline: Deadline, _ attempt: (inout Publisher) throws(IPCError) -> Bool
        ) throws(IPCError) {
            guard try shared.write(count, until: deadline, attempt) else { throw try timedOut }
        }

        fileprivate nonisolated(nonsending) func publish(
            _ count: Int, until deadline: Deadline, _ attempt: (inout Publisher) throws(IPCError) -> Bool
        ) async throws(IPCError) {
            guard try await shared.write(count, until: deadline, "publish", attempt) else { throw try timedOut }
        }

        private var timedOut: IPCError {
            get throws(IPCError) { try shared.withWriter { (publisher) throws(IPCError) in publisher.timedOut } }
        }
    }

    /// Joins as a publisher that threads and tasks share.
    ///
    /// - Throws: As ``makePublisher()``; ``/IPC/IPCError/Code/unsupported`` for a topic that is synced by itself.
    public func makeSharedPublisher() throws(IPCError) -> SharedPublisher { try SharedPublisher(makePublisher()) }
}

extension Topic.Publisher: LogWriting {}

extension Topic.SharedPublisher where Message: BitwiseCopyable {
    /// Publishes a value. Blocks the thread while a subscriber is a whole log behind.
    ///
    /// - Throws: ``/IPC/IPCError/Code/timedOut``, and the message was not published.
    public func publish(_ message: Message, until deadline: Deadline = .never) throws(IPCError) {
        try publish(MemoryLayout<Message>.size, until: deadline) { (publisher) throws(IPCError) in
            try publisher.tryPublish(message)
        }
    }

    /// Publishes a value, suspended while a subscriber is a whole log behind.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and the message was not published.
    public nonisolated(nonsending) func publish(
        _ message: Message, until deadline: Deadline = .never
    ) async throws(IPCError) {
        try await publish(MemoryLayout<Message>.size, until: deadline) { (publisher) throws(IPCError) in
            try publisher.tryPublish(message)
        }
    }

    /// Publishes a value if there is room now.
    ///
    /// - Returns: False if there is none.
    public func tryPublish(_ message: Message) throws(IPCError) -> Bool {
        try shared.tryWrite { (publisher) throws(IPCError) in try publisher.tryPublish(message) }
    }
}

extension Topic.SharedPublisher where Message == RawBytes {
    /// Publishes a copy of the bytes. Blocks the thread while a subscriber is a whole log behind.
    public func publish(_ bytes: RawSpan, until deadline: Deadline = .never) throws(IPCError) {
        try publish(bytes.byteCount, until: deadline) { (publisher) throws(IPCError) in
            try publisher.tryPublish(bytes)
        }
    }

    /// Publishes a copy of the bytes, suspended while a subscriber is a whole log behind.
    public nonisolated(nonsending) func publish(
        _ bytes: RawSpan, until deadline: Deadline = .never
    ) async throws(IPCError) {
        try await publish(bytes.byteCount, until: deadline) { (publisher) throws(IPCError) in
            try publisher.tryPublish(bytes)
        }
    }

    /// Publishes a copy of the bytes if there is room now.
    ///
    /// - Returns: False if there is none.
    public func tryPublish(_ bytes: RawSpan) throws(IPCError) -> Bool {
        try shared.tryWrite { (publisher) throws(IPCError) in try publisher.tryPublish(bytes) }
    }
}

extension Topic.SharedPublisher where Message: CodableMessage {
    /// Publishes a value, encoded by the topic's coder. Blocks the thread while a subscriber is a whole log behind.
    public func publish(_ value: Message.Value, until deadline: Deadline = .never) throws(IPCError) {
        let bytes = try Message.Coder.bytes(of: value, shared.memory.name)
        try publish(bytes.count, until: deadline) { (publisher) throws(IPCError) in
            try publisher.put(bytes, until: .immediate)
        }
    }

    /// Publishes a value, encoded by the topic's coder, suspended while a subscriber is a whole log behind.
    public nonisolated(nonsending) func publish(
        _ value: Message.Value, until deadline: Deadline = .never
    ) async throws(IPCError) {
        let bytes = try Message.Coder.bytes(of: value, shared.memory.name)
        try await publish(bytes.count, until: deadline) { (publisher) throws(IPCError) in
            try publisher.put(bytes, until: .immediate)
        }
    }

    /// Publishes a value, encoded by the topic's coder, if there is room now.
    ///
    /// - Returns: False if there is none.
    public func tryPublish(_ value: Message.Value) throws(IPCError) -> Bool {
        let bytes = try Message.Coder.bytes(of: value, shared.memory.name)
        return try shared.tryWrite { (publisher) throws(IPCError) in try publisher.put(bytes, until: .immediate) }
    }
}
