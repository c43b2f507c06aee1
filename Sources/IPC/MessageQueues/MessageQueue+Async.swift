public import SystemPackage

// The calls that wait without a thread. Each is the call of the same name, in an asynchronous function.

extension MessageQueue {
    /// Opens a queue, suspended until it exists.
    ///
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``.
    public nonisolated(nonsending) static func open(
        _ name: String, access: FileDescriptor.AccessMode = .readWrite, until deadline: Deadline
    ) async throws(IPCError) -> MessageQueue {
        let name = try ResourceName(name).description
        return try await waitingForCreation(in: nil, until: deadline, "mq_open", name) {
            () throws(IPCError) in try existing(name, access)
        }
    }

    /// Sends a message, suspended while the queue is full.
    ///
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``. Then nothing was sent.
    public nonisolated(nonsending) borrowing func send(
        _ bytes: RawSpan, priority: UInt32 = 0, until deadline: Deadline = .never
    ) async throws(IPCError) {
        while try !trySend(bytes, priority: priority) {
            try await Reactor.wait(for: .writable, of: owned.rawValue, until: deadline, "mq_send", name)
        }
    }

    /// Receives the oldest message of the highest priority, suspended until there is one.
    ///
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``, and no message was taken.
    public nonisolated(nonsending) borrowing func receive(
        into buffer: inout MutableRawSpan, until deadline: Deadline = .never
    ) async throws(IPCError) -> Received {
        while true {
            if let received = try tryReceive(into: &buffer) { return received }
            try await Reactor.wait(for: .readable, of: owned.rawValue, until: deadline, "mq_receive", name)
        }
    }

    /// Receives a message as an array, for convenience: allocates.
    public nonisolated(nonsending) borrowing func receive(
        until deadline: Deadline = .never
    ) async throws(IPCError) -> Message {
        var bytes = [UInt8](repeating: 0, count: messageSize)
        let received = try await receive(into: &bytes, until: deadline)
        bytes.removeSubrange(received.byteCount...)
        return Message(bytes: bytes, priority: received.priority)
    }

    private nonisolated(nonsending) borrowing func receive(
        into bytes: inout [UInt8], until deadline: Deadline
    ) async throws(IPCError) -> Received {
        var elements = bytes.mutableSpan
        var buffer = unsafe elements.mutableBytes
        return try await receive(into: &buffer, until: deadline)
    }

    /// The messages as they come: `for try await message in try queue.messages()`.
    ///
    /// It has a descriptor of its own, so it may outlive the queue. Several loops share the messages out. A loop whose task
    /// is cancelled ends, and no message is lost.
    public borrowing func messages() throws(IPCError) -> Messages {
        Messages(queue: SharedReference(try MessageQueue(adopting: owned.duplicate())))
    }

    /// Messages as they come; see ``messages()``.
    public struct Messages: AsyncSequence, Sendable {
        fileprivate let queue: SharedReference<MessageQueue>

        public struct Iterator: AsyncIteratorProtocol {
            fileprivate let queue: SharedReference<MessageQueue>

            public mutating func next() async throws(IPCError) -> Message? { try await next(isolation: nil) }

            public mutating func next(isolation actor: isolated (any Actor)?) async throws(IPCError) -> Message? {
                try await endingWhenCancelled { () async throws(IPCError) in try await queue.value.receive() }
            }
        }

        public func makeAsyncIterator() -> Iterator { Iterator(queue: queue) }
    }
}
