public import IPC

/// A channel that delivers each message to one worker at a time, until a worker acknowledges it.
///
/// ```swift
/// struct Order: BitwiseCopyable { var number: UInt32 }
///
/// // Any number of processes:
/// var producer = try WorkQueue<Order>.openOrCreate("orders").makeProducer()
/// try producer.send(Order(number: 7))
/// // Any number of others:
/// var worker = try WorkQueue<Order>.openOrCreate("orders").makeWorker()
/// let job = try worker.next(until: .after(.seconds(1)))
/// ship(job.message)
/// try job.acknowledge()
/// ```
///
/// A job is redelivered if its worker dies, rejects it, or drops it; the attempt counts. After as many deliveries as the
/// queue's creator allows, it goes to the dead-letter queue, ``deadLetters()``, instead. An acknowledged job is never delivered
/// again, except from a durable queue after a crash of the machine, if the acknowledgement was not synced. An acknowledgement
/// is one store.
///
/// A slow worker does not block others: its jobs are set aside when producers need the log space behind them. Producers wait or
/// fail, as each call specifies, while the log is full of unfinished jobs. Jobs are delivered in the order in which they were
/// sent, except redelivered and delayed ones.
///
/// `Message` is a `BitwiseCopyable` type without pointers, ``RawBytes``, or ``Coded``.
public struct WorkQueue<Message>: Sendable {
    /// Such as `orders`.
    public var name: ChannelName { channel.name }
    let channel: Channel

    init(
        _ name: String, in root: ChannelRoot, _ type: MessageType, _ opening: Channel.Opening
    ) throws(IPCError) {
        try Self.checkDeadLetters(name, in: root, type)
        channel = try Channel(
            name, in: root, .workQueue, type, opening, usual: Self.usual(for: name), hooks: QueueHooks())
    }

    init(_ channel: Channel) { self.channel = channel }

    /// A dead-letter queue has no limit of attempts.
    static func usual(for name: String) -> ChannelAttributes {
        var usual = ChannelAttributes.usual(for: .workQueue)
        if name.hasSuffix(Channel.lettersSuffix) { usual.retries = .unlimited }
        return usual
    }

    /// An unnamed queue of bytes on the descriptors of its files. They must stay open while it is used.
    package init(bytesOn descriptors: ChannelDescriptors) throws(IPCError) where Message == RawBytes {
        channel = try Channel(on: descriptors, .workQueue, .bytes, hooks: QueueHooks())
    }

    /// The dead-letter queue, `NAME/dead-letters`. It is kept until it is removed. A letter that is rejected there is
    /// redelivered without limit. When it is full, its oldest letters are dropped for new ones.
    public func deadLetters() throws(IPCError) -> WorkQueue { WorkQueue(try channel.deadLetters()) }

    /// Joins as a producer.
    public func makeProducer() throws(IPCError) -> WorkQueue<Message>.Producer {
        Producer(try LogWriter(channel.join(.writer)))
    }

    /// Joins as a worker.
    public func makeWorker(waiting: WaitStrategy = .sleeping()) throws(IPCError) -> WorkQueue<Message>.Worker {
        Worker(try channel.joinAsWorker(), self, waiting)
    }

    /// Removes a queue and its messages, even while it is in use.
    ///
    /// Its dead letters stay, since failures usually need inspection. They are in the queue `NAME/dead-letters`, which is
    /// removed in the same way. A new queue of this name continues to use it. (`ipc rm` reports remaining dead letters, and
    /// removes their queue if it is empty.)
    public static func remove(_ name: String, in root: ChannelRoot = .current) throws(IPCError) {
        try Channel.remove(name, in: root)
    }
}

extension ChannelOptions {
    /// The same, for a queue.
    func retrying(_ maximumAttempts: Int?, _ backoff: RetryBackoff?) -> ChannelOptions {
        var options = self
        (options.maximumAttempts, options.backoff) = (maximumAttempts, backoff?.rounded)
        return options
    }
}
