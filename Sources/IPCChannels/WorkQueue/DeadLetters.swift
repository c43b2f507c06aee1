import IPC

/// Where the work goes that a worker has had too often, that has expired, or that cannot be a message: into `NAME/dead-letters`, and
/// never in the way of other work.
///
/// If that is full, its oldest letter makes room, and is counted. If it cannot be written to at all, the work stays taken by this
/// worker, aside, and is tried again now and then; it is given back when the worker leaves.
struct DeadLetters<Message>: ~Copyable {
    private let queue: WorkQueue<Message>
    private let membership: Membership
    private var aside: [(work: TakenWork, reason: DeadLetter.Reason?)] = []
    private var nextAttempt: UInt64 = 0

    private static var pauseBetweenAttempts: UInt64 { 1_000_000_000 }
    /// How many letters make room for one at most. Letters that others have taken cannot.
    private static var lettersToDrop: Int { 1024 }

    init(_ queue: WorkQueue<Message>, _ membership: Membership) {
        self.queue = queue
        self.membership = membership
    }

    /// Whether there is work that could not be buried, and may be tried again.
    var isDue: Bool { !aside.isEmpty && MonotonicClock.now >= nextAttempt }

    /// Never waits, but for the gate of the letters' channel.
    ///
    /// - Parameter reason: Nil for why it was given back last.
    mutating func bury(_ work: TakenWork, _ reason: DeadLetter.Reason? = nil) {
        do throws(IPCError) { try send(work, reason) } catch { keep(work, reason, error) }
    }

    /// Once more for what is aside.
    mutating func retry() {
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
        // Another has it by now, and would be sent the same letter again and again.
        guard error.code != .leaseLost else { return }
        aside.append((work, reason))
        nextAttempt = MonotonicClock.now &+ Self.pauseBetweenAttempts
        ChannelLog.keptAside(queue.name, attempts: work.state.attempts, error)
    }

    private func send(_ work: TakenWork, _ reason: DeadLetter.Reason?) throws(IPCError) {
        let letters = try queue.deadLetters()
        var producer = try letters.makeProducer()
        if try !put(work, reason, &producer) { try makeRoom(letters, for: work, reason, &producer) }
        let word = unsafe SharedWord(membership.header(of: work) + JobHeader.reason).relaxed
        ChannelLog.deadLetter(
            queue.name, reason ?? DeadLetter.Reason(word: word), attempts: attempts(work))
        // Sent before it is acknowledged: if we die between, it is among the dead letters twice, but never lost.
        if producer.writer.memory.isDurable { try producer.sync(until: .after(.seconds(1))) }
        try membership.acknowledge(work)
    }

    /// How often it was handed out, without the times at which it was found to be a dead letter: those who died at it were counted, too.
    private func attempts(_ work: TakenWork) -> Int {
        min(max(work.state.attempts - 1, 0), membership.memory.retryPolicy.maximumAttempts)
    }

    private func put(
        _ work: TakenWork, _ reason: DeadLetter.Reason?, _ producer: inout Producer<Message>
    ) throws(IPCError) -> Bool {
        let (membership, count, attempts) = (membership, work.byteCount, attempts(work))
        return try unsafe producer.put(count, until: .immediate) { target in
            let header = unsafe target - Work.prefixSize
            unsafe JobHeader.bury(header, membership.header(of: work), reason, attempts: attempts)
            unsafe target.copyMemory(from: membership.payload(of: work), byteCount: count)
        }
    }

    private func makeRoom(
        _ letters: WorkQueue<Message>, for work: TakenWork, _ reason: DeadLetter.Reason?,
        _ producer: inout Producer<Message>
    ) throws(IPCError) {
        var oldest = WorkTaker(try letters.join(), .sleeping())
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
    /// Of dead letters: how many made room for newer ones.
    var droppedLetters: SharedWord { word(LogLayout.droppedLetters) }
}

extension WorkQueue {
    /// Where dead letters go is settled when a queue is created or opened, not when the first one comes.
    ///
    /// - Throws: ``IPC/IPCError/Code/invalidName`` if the name leaves no room for theirs; ``IPC/IPCError/Code/wrongType`` if there is
    ///   another channel of their name.
    static func checkDeadLetters(_ name: String, in root: ChannelRoot, _ type: MessageType) throws(IPCError) {
        let letters: ChannelName
        do throws(IPCError) { letters = try ChannelName(name + lettersSuffix) } catch {
            // A name that is wrong by itself is told by itself.
            _ = try ChannelName(name)
            throw IPCError(
                .invalidName, "open queue", name,
                advice:
                    "its dead letters need the name \(name)\(lettersSuffix), which is too long; choose a shorter name")
        }
        let memory: ChannelMemory
        do throws(IPCError) { memory = try ChannelMemory(letters, in: .root(root), logAccess: .readOnly) } catch {
            if error.code == .notFound { return }
            throw error
        }
        guard memory.pattern == .workQueue, memory.messageType == type else {
            throw IPCError(
                .wrongType, "open queue", name,
                advice:
                    "the channel \(letters), where its dead letters go, is a \(memory.pattern) of \(memory.messageType.name), and not a queue of \(type.name); redrive or remove that first (ipc rm \(letters))"
            )
        }
    }

    static var lettersSuffix: String { "/dead-letters" }

    /// Whether its messages are the letters of another queue.
    var isOfDeadLetters: Bool { name.description.hasSuffix(Self.lettersSuffix) }
}
