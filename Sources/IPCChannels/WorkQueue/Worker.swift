import CIPCShims
import Glibc
public import IPC
import Synchronization

/// One worker of a ``WorkQueue``. One thread at a time may use it; its jobs may be finished on any.
public struct Worker<Message: BitwiseCopyable>: ~Copyable, @unchecked Sendable {
    // `@unchecked`: it is one thread's at a time by its ownership; the memory is shared by atomics.
    private let membership: Membership
    private let queue: WorkQueue<Message>
    private let spins: Int?
    private let cursor: SharedWord
    /// What lies before was looked at, unless something was given back since.
    private var position: UInt64 = 0
    private var returns: UInt64 = 0

    private var memory: ChannelMemory { membership.memory }

    init(_ membership: consuming Membership, _ queue: WorkQueue<Message>, _ waiting: Waiting) {
        cursor = membership.memory.reader(membership.slot, LogLayout.ReaderSlot.cursor)
        self.membership = membership
        self.queue = queue
        spins = waiting.spins
    }

    /// Takes the next job, waiting for it.
    ///
    /// - Throws: ``IPC/IPCError/Code/timedOut``.
    public mutating func next(until deadline: Deadline = .never) throws(IPCError) -> Job<Message> {
        let readers = memory.sleepingReaders
        var count = 0
        while true {
            if let job = try tryNext() { return job }
            if deadline.hasPassed {
                throw IPCError(
                    .timedOut, "next job", memory.name.description,
                    advice: "no work came before the deadline; check that a producer lives, or allow more time")
            }
            count += 1
            guard let spins, count > spins / 64 else {
                for _ in 0..<64 { ipc_pause() }
                if count % 16 == 0 { sched_yield() }
                continue
            }
            // What a dead worker had is work for us, and a dead producer's claim hides what comes after it.
            if try Recovery.tryRun(memory) { continue }
            let (position, returns, memory) = (position, returns, memory)
            readers.sleep(until: deadline) {
                memory.isCommitted(position) || memory.queueReturns.published != returns
            }
        }
    }

    /// Takes the next job if there is one.
    public mutating func tryNext() throws(IPCError) -> Job<Message>? {
        while let (header, position, attempts) = try take() {
            guard Int(header.length) == QueuedWork.prefixSize + MemoryLayout<Message>.size else {
                throw memory.corrupted("a message has \(header.length) bytes")
            }
            KillPoint.reach(.workTaken)
            let job = Job<Message>(memory, position, slot: membership.slot, attempt: attempts)
            guard attempts > queue.maximumAttempts else { return job }
            // Sent before it is acknowledged: if we die between, it is among the dead letters twice, but never lost.
            var letters = try queue.deadLetters().makeProducer()
            try letters.send(job.message, until: .after(.seconds(1)))
            try job.acknowledge()
        }
        return nil
    }

    /// Claims the first frame that nobody has.
    private mutating func take() throws(IPCError) -> (FrameHeader, position: UInt64, attempts: Int)? {
        // While we look, nothing from here on is overwritten: first all is held, and then what the head held until now.
        cursor.ordered = 0
        defer { cursor.published = .max }
        let seen = memory.queueReturns.ordered
        if seen != returns {
            returns = seen
            position = 0
        }
        position = max(position, memory.queueHead.ordered)
        cursor.ordered = position
        while let header = try memory.workFrame(at: position) {
            let here = position
            if header.kind == LogLayout.Kind.message {
                let word = memory.workState(at: here)
                let state = QueuedWork.State(word: word.published)
                if state.what == QueuedWork.State.available {
                    let attempts = state.attempts + 1
                    let taken = QueuedWork.State(QueuedWork.State.taken, attempts: attempts, slot: membership.slot)
                    guard word.exchange(state.word, for: taken.word).exchanged else { continue }
                    position = here &+ UInt64(header.units) * 32
                    return (header, here, attempts)
                }
            }
            position = here &+ UInt64(header.units) * 32
        }
        return nil
    }

    /// Leaves the queue; work that was not acknowledged goes to others.
    public consuming func close() {}
}

/// A message that a worker has, until it acknowledges or rejects it. Going out of scope rejects it.
public struct Job<Message: BitwiseCopyable>: ~Copyable, @unchecked Sendable {
    // `@unchecked`: the frame is this job's alone until it is finished.
    private let memory: ChannelMemory
    private let position: UInt64
    private let slot: Int
    /// How often it was handed out, this time included.
    public let attempt: Int
    /// The message.
    public let message: Message
    private var isFinished = false

    init(_ memory: ChannelMemory, _ position: UInt64, slot: Int, attempt: Int) {
        self.memory = memory
        self.position = position
        self.slot = slot
        self.attempt = attempt
        let offset =
            Int(truncatingIfNeeded: position & memory.mask) + LogLayout.Frame.headerSize + QueuedWork.prefixSize
        // Its length was checked, and it is not overwritten while the head is not past it.
        message = unsafe (memory.log + offset).loadUnaligned(as: Message.self)
    }

    deinit {
        guard !isFinished, finish(QueuedWork.State(QueuedWork.State.available, attempts: attempt)) else { return }
        memory.tellOfReturns()
    }

    /// Reports that the work is done: nobody gets it again.
    ///
    /// - Throws: ``IPC/IPCError/Code/notFound`` if its worker left meanwhile, and so gave it back.
    public consuming func acknowledge() throws(IPCError) {
        isFinished = true
        let isOurs = finish(QueuedWork.State(QueuedWork.State.done, attempts: attempt))
        KillPoint.reach(.workDone)
        guard isOurs else {
            throw IPCError(
                .notFound, "acknowledge", memory.name.description,
                advice: "this job was given back when its worker left; finish jobs before the worker")
        }
        if try memory.advanceQueueHead() {
            let writers = memory.sleepingWriters
            // A fence of our own, since this process may not be registered for the sleeper's.
            atomicMemoryFence(ordering: .sequentiallyConsistent)
            if writers.flag.relaxed != 0 { writers.wake() }
        }
    }

    /// Gives the work back: it goes to another worker, or to this one again, with its attempt counted.
    public consuming func reject() {}

    /// Whether it was this job's still.
    private borrowing func finish(_ state: QueuedWork.State) -> Bool {
        let taken = QueuedWork.State(QueuedWork.State.taken, attempts: attempt, slot: slot)
        return memory.workState(at: position).exchange(taken.word, for: state.word).exchanged
    }
}
