public import IPC
import Synchronization

extension WorkQueue {
    /// A message of a queue, read without taking it.
    public struct BrowsedJob: Sendable {
        /// How often it was delivered.
        public let attempts: Int
        /// The process that has it; nil if no worker has it.
        public let worker: Int32?
        /// How long until it may be delivered; nil if it is due.
        public let dueIn: Duration?
        /// Why it is a dead letter; nil if it is not one.
        public let deadLetter: DeadLetter?
        /// A copy of the message's bytes.
        public let bytes: [UInt8]
        let queue: ChannelName
        fileprivate let checks: MessageChecks?
    }
}

extension WorkQueue.BrowsedJob where Message: BitwiseCopyable {
    /// The message.
    ///
    /// - Throws: ``/IPC/IPCError/Code/corrupted`` if a producer that does not use this library sent an invalid message. The
    ///   error names the field and its content, and so explains why a letter is ``DeadLetter/Reason/invalid``.
    public var message: Message {
        get throws(IPCError) {
            guard bytes.count == MemoryLayout<Message>.size else {
                throw IPCError(
                    .corrupted, "browse", queue.description,
                    advice:
                        "a message has \(bytes.count) bytes instead of the \(MemoryLayout<Message>.size) of \(Message.self); the participant that wrote it does not use this library: find it, and fix it"
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
    /// Returns the messages in the queue, oldest first, without taking any and without joining.
    ///
    /// A message that is sent or finished during the call may or may not be included.
    ///
    /// - Parameter limit: The maximum number of messages.
    /// - Throws: ``/IPC/IPCError/Code/notFound``; ``/IPC/IPCError/Code/corrupted``.
    public func browse(limit: Int = .max) throws(IPCError) -> [WorkQueue<Message>.BrowsedJob] {
        let memory = try channel.observe()
        let now = WallClock.now
        var jobs: [(position: UInt64, job: WorkQueue<Message>.BrowsedJob)] = []
        unsafe memory.browse { position, state, due, payload, count in
            let worker =
                state.stage == Work.Stage.taken && state.slot < memory.readerSlots
                ? Int32(bitPattern: memory.process(.reader, state.slot).relaxed) : nil
            let bytes = unsafe [UInt8](UnsafeRawBufferPointer(start: payload + Work.prefixSize, count: count))
            let job = WorkQueue<Message>.BrowsedJob(
                attempts: state.attempts, worker: worker,
                dueIn: due > now ? .nanoseconds(Int64(clamping: due - now)) : nil,
                deadLetter: unsafe JobHeader.letter(payload), bytes: bytes, queue: name, checks: channel.type.checks)
            return {
                jobs.append((position, job))
                // Jobs that are set aside are older than the rest and come first.
                return jobs.count < limit
            }
        }
        return jobs.sorted { $0.position < $1.position }.map(\.job)
    }

    /// Discards every message that is available now. Messages that a worker has, and messages that are not due yet, stay.
    ///
    /// - Returns: The number of discarded messages.
    @discardableResult
    public func purge() throws(IPCError) -> Int {
        var taker = WorkTaker(try channel.joinAsWorker(), .sleeping())
        var count = 0
        // Bounds the loop: messages sent during the call may stay.
        let limit = taker.membership.memory.frameLimit
        while count < limit, let work = try taker.tryTake() {
            try taker.membership.acknowledge(work)
            count += 1
        }
        return count
    }

    /// Sends the current dead letters back to this queue, oldest first, including those that ``collectDeadLetters()`` finds.
    /// Their attempts start again at 0.
    ///
    /// Each letter is sent before it is removed from the dead letters. If the process dies in between, it is in both queues,
    /// but not lost.
    ///
    /// - Parameters:
    ///   - limit: The maximum number of letters.
    ///   - deadline: How long to wait while the queue is full.
    /// - Returns: The number of letters sent.
    /// - Throws: ``/IPC/IPCError/Code/timedOut``; the letters sent before that are in the queue.
    @discardableResult
    public func redrive(limit: Int = .max, until deadline: Deadline = .never) throws(IPCError) -> Int {
        try collectDeadLetters()
        let letters = try deadLetters()
        var producer = try makeProducer()
        var taker = WorkTaker(try letters.channel.joinAsWorker(), .sleeping())
        let membership = taker.membership
        // A letter that comes back during the call is not sent again.
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
    /// Visits all jobs that are not done, read-only: first those that are set aside, then the log from the head on.
    ///
    /// - Parameter look: Copies what it needs and returns a closure. The closure is called if the copy is consistent, and
    ///   returns whether to continue.
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
            if header.isMessage, !seen.contains(position) {
                let state = Work.State(word: workState(at: position).published)
                let keep = unsafe look(
                    position, state, 0, workPayload(at: position), Int(header.length) - Work.prefixSize)
                // The copy is of this frame if the head has not passed it by now.
                atomicMemoryFence(ordering: .acquiring)
                if state.stage != Work.Stage.done, workHead.relaxed <= position, !keep() { return }
            }
            position &+= header.size
        }
    }
}
