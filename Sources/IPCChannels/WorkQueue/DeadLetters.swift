import IPC

/// Moves jobs to `NAME/dead-letters`: those delivered too often, expired ones, and invalid ones. They never block other jobs.
///
/// If the dead-letter queue is full, its oldest letter is dropped and counted. If it cannot be written to at all, the job stays
/// taken by this worker, and the move is retried about once a second. When the worker leaves, the job is available again.
struct DeadLetters: ~Copyable {
    private let queue: Channel
    private let membership: Membership
    private var aside: [(work: TakenWork, reason: DeadLetter.Reason?)] = []
    private var nextAttempt: UInt64 = 0

    private static var pauseBetweenAttempts: UInt64 { 1_000_000_000 }
    /// The maximum number of letters to drop for a new one. Letters that a worker has cannot be dropped.
    private static var lettersToDrop: Int { 1024 }

    init(_ queue: Channel, _ membership: Membership) {
        self.queue = queue
        self.membership = membership
    }

    /// Whether there are jobs that could not be moved.
    var isWaiting: Bool { !aside.isEmpty }
    /// Whether the queue itself is one of dead letters.
    var areTheirOwn: Bool { queue.isOfDeadLetters }

    /// Moves a job to the dead letters. Waits only for the membership lock of the dead-letter queue.
    ///
    /// - Parameter reason: Nil for the reason of its last return.
    mutating func move(_ work: TakenWork, _ reason: DeadLetter.Reason? = nil) {
        do throws(IPCError) { try send(work, reason) } catch { keep(work, reason, error) }
    }

    /// Retries the jobs that could not be moved, about once a second.
    mutating func retryIfDue() {
        guard isWaiting, MonotonicClock.now >= nextAttempt else { return }
        let waiting = aside
        aside = []
        for (index, (work, reason)) in waiting.enumerated() {
            do throws(IPCError) { try send(work, reason) } catch {
                // The others would fail for the same reason.
                for (work, reason) in waiting[index...] { keep(work, reason, error) }
                return
            }
        }
    }

    private mutating func keep(_ work: TakenWork, _ reason: DeadLetter.Reason?, _ error: IPCError) {
        // Another worker has the job now; retrying would send the same letter again and again.
        guard error.code != .leaseLost else { return }
        aside.append((work, reason))
        nextAttempt = MonotonicClock.now &+ Self.pauseBetweenAttempts
        Notices.tell(
            .error, queue.name,
            "a message could not be moved to the dead letters; it is set aside, and the move is tried again",
            ["attempts": "\(work.state.attempts)", "error": "\(error)"])
    }

    /// - Throws: ``/IPC/IPCError/Code/leaseLost``; the error of the dead-letter queue, and this worker still has the job.
    func send(_ work: TakenWork, _ reason: DeadLetter.Reason?) throws(IPCError) {
        let letters = try queue.deadLetters()
        var producer = WorkQueue<RawBytes>.Producer(try LogWriter(letters.join(.writer)))
        if try !put(work, reason, &producer) { try makeRoom(letters, for: work, reason, &producer) }
        let word = unsafe SharedUInt64(membership.header(of: work) + JobHeader.reason).relaxed
        let why = reason ?? DeadLetter.Reason(word: word)
        Notices.tell(
            .warning, queue.name, "a message \(why.told), and was moved to the dead letters",
            ["reason": "\(why)", "attempts": "\(attempts(work))"])
        // Sent before it is acknowledged: if this process dies in between, the job becomes a dead letter twice, but is never
        // lost.
        if producer.writer.memory.isDurable { try producer.sync(until: .after(.seconds(1))) }
        try membership.bury(work)
    }

    /// The number of deliveries, without those that only moved the job to the dead letters. This one is subtracted; earlier
    /// ones, by workers that died while they moved it, are cut off at the maximum.
    private func attempts(_ work: TakenWork) -> Int {
        min(max(work.state.attempts - 1, 0), membership.memory.retryPolicy.maximumAttempts)
    }

    private func put(
        _ work: TakenWork, _ reason: DeadLetter.Reason?, _ producer: inout WorkQueue<RawBytes>.Producer
    ) throws(IPCError) -> Bool {
        let (membership, count, attempts) = (membership, work.byteCount, attempts(work))
        return try unsafe producer.put(count, JobOptions(), membership.origin(of: work), until: .immediate) { target in
            let header = unsafe target - Work.prefixSize
            unsafe JobHeader.move(header, membership.header(of: work), reason, attempts: attempts)
            unsafe target.copyMemory(from: membership.payload(of: work), byteCount: count)
        }
    }

    private func makeRoom(
        _ letters: Channel, for work: TakenWork, _ reason: DeadLetter.Reason?,
        _ producer: inout WorkQueue<RawBytes>.Producer
    ) throws(IPCError) {
        var oldest = WorkTaker(try letters.joinAsWorker(), .sleeping())
        for _ in 0..<Self.lettersToDrop {
            guard let letter = try oldest.tryTake() else { break }
            try oldest.membership.acknowledge(letter)
            oldest.membership.memory.droppedLetters.add(1)
            if try put(work, reason, &producer) { return }
        }
        throw producer.timedOut
    }
}

extension ChannelMemory {
    /// Of a dead-letter queue: the number of letters dropped for newer ones.
    var droppedLetters: SharedUInt64 { word(LogLayout.droppedLetters) }
}

extension Channel {
    /// The dead-letter queue of this queue. Creates it if it does not exist.
    func deadLetters() throws(IPCError) -> Channel {
        var attributes = try creatorsAttributes()
        attributes.lifetime = .kept
        attributes.retries = .unlimited
        guard case .root(let root) = place else {
            throw IPCError(
                .unsupported, "dead letters", name.description,
                advice: "the queue has no name, so it has no dead letters")
        }
        return try Channel(
            name.description + Self.lettersSuffix, in: root, .workQueue, type, .openOrCreate(ChannelOptions()),
            usual: attributes, hooks: QueueHooks())
    }

    static var lettersSuffix: String { "/dead-letters" }

    /// Whether this is the dead-letter queue of another queue.
    var isOfDeadLetters: Bool { name.description.hasSuffix(Self.lettersSuffix) }

    func joinAsWorker() throws(IPCError) -> Membership { try join(.reader, logAccess: .readWrite) }
}

extension WorkQueue {
    /// Checks the dead-letter queue when its queue is created or opened, not when the first letter is sent.
    ///
    /// - Throws: ``/IPC/IPCError/Code/invalidName`` if the name leaves no room for the suffix; ``/IPC/IPCError/Code/wrongType``
    ///   if another kind of channel has that name.
    static func checkDeadLetters(_ name: String, in root: ChannelRoot, _ type: MessageType) throws(IPCError) {
        let letters: ChannelName
        do throws(IPCError) { letters = try ChannelName(name + Channel.lettersSuffix) } catch {
            // If the queue's own name is invalid, report that instead.
            _ = try ChannelName(name)
            throw IPCError(
                .invalidName, "open queue", name,
                advice:
                    "its dead letters need the name \(name)\(Channel.lettersSuffix), which is too long; choose a shorter name"
            )
        }
        let memory: ChannelMemory
        do throws(IPCError) { memory = try ChannelMemory(letters, in: .root(root), logAccess: .readOnly) } catch {
            if error.code == .notFound { return }
            throw error
        }
        let (pattern, carried) = (try memory.pattern, try memory.messageType)
        guard pattern == .workQueue, carried == type else {
            throw IPCError(
                .wrongType, "open queue", name,
                advice:
                    "the channel \(letters), for its dead letters, is a \(pattern) of \(carried.name), not a queue of \(type.name); redrive or remove it first (ipc rm \(letters))"
            )
        }
    }
}
