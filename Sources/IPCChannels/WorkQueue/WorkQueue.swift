public import IPC

/// A channel whose every message goes to exactly one worker, which acknowledges it.
///
/// ```swift
/// // Any number of processes:
/// var producer = try WorkQueue<Order>.create("orders").makeProducer()
/// try producer.send(Order(number: 7))
/// // Any number of others:
/// var worker = try WorkQueue<Order>.create("orders").makeWorker()
/// let job = try worker.next(until: .after(.seconds(1)))
/// ship(job.message)
/// try job.acknowledge()
/// ```
///
/// Work whose worker dies, or rejects it, or lets go of it, goes to another worker, with its attempt counted. What is
/// acknowledged is never handed out again: an acknowledgement is one store. Handed out more often than
/// `maximumAttempts`, it goes to the dead-letter queue, ``deadLetters()``, instead.
///
/// A slow worker holds nobody up until the log is full: then its job, the oldest, holds back the producers, which wait or
/// fail as their call says. Work comes in the order in which it was sent, but for what was given back.
public struct WorkQueue<Message: BitwiseCopyable>: Sendable {
    /// Such as `orders`.
    public let name: ChannelName
    /// How often a message is handed out at most.
    public let maximumAttempts: Int
    private let channel: Channel

    /// Creates a queue, or opens it if it exists; then its own options hold.
    ///
    /// - Parameters:
    ///   - options: As for a topic; a queue never overwrites.
    ///   - maximumAttempts: After so many, work goes to the dead letters; at most 65,535. Every worker decides for itself.
    /// - Throws: As ``Topic/create(_:_:_:)``.
    public static func create(
        _ name: String, _ options: ChannelOptions = ChannelOptions(writers: .shared, lifetime: .kept),
        maximumAttempts: Int = 5, _ policy: CreationPolicy = .openExisting
    ) throws(IPCError) -> WorkQueue {
        guard options.overflow == .block else {
            throw IPCError(
                .invalidArgument, "create queue", name, advice: "a work queue loses nothing: it cannot overwrite")
        }
        return try WorkQueue(name, options, maximumAttempts, policy)
    }

    /// Opens a queue that exists.
    public static func open(_ name: String, maximumAttempts: Int = 5) throws(IPCError) -> WorkQueue {
        try WorkQueue(name, nil, maximumAttempts, .openExisting)
    }

    private init(_ name: String, _ options: ChannelOptions?, _ maximumAttempts: Int, _ policy: CreationPolicy)
        throws(IPCError)
    {
        guard (1...65_535).contains(maximumAttempts) else {
            throw IPCError(
                .invalidArgument, "open queue", name,
                advice: "\(maximumAttempts) attempts are asked for; there are 1 to 65535")
        }
        channel = try Channel(
            name, pattern: QueuedWork.pattern, "work queue", MessageType.of(Message.self), options, policy)
        self.name = channel.name
        self.maximumAttempts = maximumAttempts
    }

    /// The queue of what was handed out too often: `NAME/dead-letters`. It is kept until it is removed.
    public func deadLetters() throws(IPCError) -> WorkQueue {
        try WorkQueue.create(name.description + "/dead-letters", maximumAttempts: maximumAttempts)
    }

    /// Joins as a producer.
    public func makeProducer() throws(IPCError) -> Producer<Message> { Producer(try LogWriter(channel.join(.writer))) }

    /// Joins as a worker.
    public func makeWorker(waiting: Waiting = .sleeping()) throws(IPCError) -> Worker<Message> {
        let membership = try channel.join(.reader, logAccess: .readWrite)
        membership.finishJoining()
        return Worker(membership, self, waiting)
    }

    /// Removes a queue and what is in it; its dead letters stay.
    public static func remove(_ name: String) throws(IPCError) { try Channel.remove(name) }
}

/// One writer of a ``WorkQueue``. One thread at a time may use it.
public struct Producer<Message: BitwiseCopyable>: ~Copyable, @unchecked Sendable {
    // `@unchecked`: it is one thread's at a time by its ownership; the memory is shared by atomics.
    private var writer: LogWriter

    init(_ writer: consuming LogWriter) { self.writer = writer }

    /// Sends a message to whichever worker is free first.
    ///
    /// - Parameter deadline: How long to wait while the log is full of work that is not done.
    /// - Throws: ``IPC/IPCError/Code/timedOut``, and it was not sent.
    public mutating func send(_ message: Message, until deadline: Deadline = .never) throws(IPCError) {
        guard try put(message, until: deadline) else {
            throw IPCError(
                .timedOut, "send", writer.memory.name.description,
                advice: "the queue is full of work that is not done; add workers, allow more time, or enlarge its log")
        }
    }

    /// Sends a message if there is room now.
    public mutating func trySend(_ message: Message) throws(IPCError) -> Bool { try put(message, until: .immediate) }

    private mutating func put(_ message: Message, until deadline: Deadline) throws(IPCError) -> Bool {
        let count = QueuedWork.prefixSize + MemoryLayout<Message>.size
        guard let payload = try unsafe writer.claim(count, until: deadline) else { return false }
        unsafe SharedWord(payload).relaxed = QueuedWork.State(QueuedWork.State.available, attempts: 0).word
        unsafe (payload + QueuedWork.prefixSize).storeBytes(of: message, as: Message.self)
        writer.commit(count)
        return true
    }

    /// Leaves the queue; what was sent stays.
    public consuming func close() {}
}
