public import IPC
import Synchronization

/// A message of a queue, looked at without taking it.
public struct BrowsedJob<Message>: Sendable {
    /// How often it was handed out.
    public let attempts: Int
    /// The process that has it; nil if nobody has.
    public let worker: Int32?
    /// How long nobody gets it yet; nil if anybody may.
    public let dueIn: Duration?
    /// Why it is among the dead letters; nil of a message of another queue.
    public let deadLetter: DeadLetter?
    /// A copy of the message's bytes.
    public let bytes: [UInt8]
    fileprivate let queue: ChannelName
    fileprivate let checks: MessageChecks?
}

extension BrowsedJob where Message: BitwiseCopyable {
    /// The message.
    ///
    /// - Throws: ``IPC/IPCError/Code/corrupted`` if a producer that is not of this library sent what cannot be one. The error names the
    ///   field, and what is in it: so it tells why a letter is ``DeadLetter/Reason/invalid``.
    public var message: Message {
        get throws(IPCError) {
            guard bytes.count == MemoryLayout<Message>.size else {
                throw IPCError(
                    .corrupted, "browse", queue.description,
                    advice:
                        "a message has \(bytes.count) bytes instead of the \(MemoryLayout<Message>.size) of \(Message.self); the participant that wrote it is not of this library: find it, and correct it"
                )
            }
            return try value(bytes)
        }
    }

    private func value(_ bytes: [UInt8]) throws(IPCError) -> Message {
        let result: Result<Message, IPCError> = unsafe bytes.withUnsafeBytes { buffer in
            guard let start = buffer.baseAddress, let checks else {
                return .success(unsafe buffer.loadUnaligned(as: Message.self))
            }
            do throws(MessageChecks.Invalid) { return .success(try unsafe checks.value(at: start)) } catch {
                return .failure(checks.error(error, "browse", queue))
            }
        }
        return try result.get()
    }
}

extension WorkQueue {
    /// Looks at what is in the queue, the oldest first, without taking it, and without joining.
    ///
    /// What is done or sent meanwhile may be among it or not.
    ///
    /// - Parameter limit: How many at most.
    /// - Throws: ``IPC/IPCError/Code/notFound``; ``IPC/IPCError/Code/corrupted``.
    public func browse(limit: Int = .max) throws(IPCError) -> [BrowsedJob<Message>] {
        let memory = try channel.observe()
        let now = WallClock.now
        var jobs: [(position: UInt64, job: BrowsedJob<Message>)] = []
        unsafe memory.browse { position, state, due, payload, count in
            let worker =
                state.stage == Work.Stage.taken && state.slot < memory.readerSlots
                ? Int32(bitPattern: memory.process(.reader, state.slot).relaxed) : nil
            let bytes = unsafe [UInt8](UnsafeRawBufferPointer(start: payload + Work.prefixSize, count: count))
            let job = BrowsedJob<Message>(
                attempts: state.attempts, worker: worker,
                dueIn: due > now ? .nanoseconds(Int64(clamping: due - now)) : nil,
                deadLetter: unsafe JobHeader.letter(payload), bytes: bytes, queue: name, checks: checks)
            return {
                jobs.append((position, job))
                // What is set aside is older than the rest, and comes first.
                return jobs.count < limit
            }
        }
        return jobs.sorted { $0.position < $1.position }.map(\.job)
    }

    /// Does away with all that nobody has at this moment.
    ///
    /// - Returns: How many messages that were.
    @discardableResult
    public func purge() throws(IPCError) -> Int {
        var taker = WorkTaker(try join(), .sleeping())
        var count = 0
        // What is sent meanwhile need not go.
        let limit = taker.membership.memory.frameLimit
        while count < limit, let work = try taker.tryTake() {
            try taker.membership.acknowledge(work)
            count += 1
        }
        return count
    }

    /// Sends the dead letters that there are now back to this queue, the oldest first. Their attempts begin again.
    ///
    /// Each is sent before it is taken from the letters: killed between, it is in both, and not lost.
    ///
    /// - Parameters:
    ///   - limit: How many at most.
    ///   - deadline: How long to wait while the queue is full.
    /// - Returns: How many that were.
    /// - Throws: ``IPC/IPCError/Code/timedOut``; those that were sent by then are in the queue.
    @discardableResult
    public func redrive(limit: Int = .max, until deadline: Deadline = .never) throws(IPCError) -> Int {
        let letters = try deadLetters()
        var producer = try makeProducer()
        var taker = WorkTaker(try letters.join(), .sleeping())
        let membership = taker.membership
        // What comes back among the letters meanwhile is not sent again and again.
        let end = LogPositions.bound(membership.memory)
        var count = 0
        while count < min(limit, membership.memory.frameLimit), let letter = try taker.tryTake() {
            guard letter.position < end else {
                membership.giveBack(letter, isCounted: false)
                break
            }
            let (payload, size) = (unsafe membership.payload(of: letter), letter.byteCount)
            let isSent: Bool
            do throws(IPCError) {
                isSent = try unsafe producer.put(size, until: deadline) { target in
                    unsafe target.copyMemory(from: payload, byteCount: size)
                }
            } catch {
                membership.giveBack(letter, isCounted: false)
                throw error
            }
            guard isSent else {
                membership.giveBack(letter, isCounted: false)
                throw producer.timedOut
            }
            try membership.acknowledge(letter)
            count += 1
        }
        return count
    }
}

extension ChannelMemory {
    /// Looks at all work that is not done, for reading only: what is set aside first, then from the head on.
    ///
    /// - Parameter look: Copies what it needs, and returns what is to be done with the copy if it is whole. That returns whether to go on.
    fileprivate func browse(
        _ look: (
            _ position: UInt64, Work.State, _ due: UInt64, _ payload: UnsafeMutableRawPointer, _ byteCount: Int
        ) -> () -> Bool
    ) {
        var seen: Set<UInt64> = []
        for entry in asideEntries {
            guard let position = asidePosition(entry), let header = asideFrame(entry, position) else { continue }
            let state = Work.State(word: workState(at: position).published)
            guard state.isAside, state.stage != Work.Stage.done else { continue }
            let due = state.stage == Work.Stage.available ? aside(entry, LogLayout.Aside.due).relaxed : 0
            let keep = unsafe look(
                position, state, due, workPayload(at: position), Int(header.length) - Work.prefixSize)
            atomicMemoryFence(ordering: .acquiring)
            guard asidePosition(entry) == position, seen.insert(position).inserted else { continue }
            guard keep() else { return }
        }
        var position: UInt64 = 0
        for _ in 0..<frameLimit {
            guard let header = (try? workFrame(at: &position)) ?? nil else { return }
            if header.kind == LogLayout.Kind.message, !seen.contains(position) {
                let state = Work.State(word: workState(at: position).published)
                let keep = unsafe look(
                    position, state, 0, workPayload(at: position), Int(header.length) - Work.prefixSize)
                // It was there if the head had not passed it by then.
                atomicMemoryFence(ordering: .acquiring)
                if state.stage != Work.Stage.done, workHead.relaxed <= position, !keep() { return }
            }
            position &+= header.size
        }
    }
}
