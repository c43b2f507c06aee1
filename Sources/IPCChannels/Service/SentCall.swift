import CIPCShims
import Glibc
import IPC
import Synchronization

/// A call that a client has sent, and not ended yet. Its frame stays where it is until then.
struct SentCall: Sendable {
    let frame: CallFrame
    let position: UInt64
    /// Of its frame.
    let byteCount: Int
    let deadline: Deadline
    let spins: Int?
    let checks: CallChecks

    // Sequentially consistent: a caller that is about to sleep counts itself, and then looks.
    var state: Work.State { Work.State(word: frame.word.ordered) }

    /// Whether there is an outcome.
    var isFinished: Bool { !Self.isUnderWay(state) }

    static func isUnderWay(_ state: Work.State) -> Bool {
        state.stage == Work.Stage.available || state.stage == Work.Stage.taken
    }

    /// How long a sleep lasts at most while a server has the call, in nanoseconds: it may have died.
    fileprivate static var slice: UInt64 { 10_000_000 }
}

// What a client does with one.
extension Membership {
    /// Ends it: its server is told, if it has it still, and its reply is dropped.
    ///
    /// - Returns: False if somebody had ended it, since its deadline had passed.
    @discardableResult
    func end(_ call: SentCall) -> Bool {
        let isOurs = memory.withdrawCall(at: call.position)
        try? memory.makeRoom()
        outstanding.subtract(call.byteCount, ordering: .sequentiallyConsistent)
        if memory.sleepingWriters.mayHaveSleepers { memory.sleepingWriters.wake(memory) }
        return isOurs
    }

    /// Waits for the outcome, if that is a value, and ends it.
    func finish<Reply: BitwiseCopyable, Failure: Error & BitwiseCopyable>(
        _ call: SentCall
    ) throws(IPCError) -> Result<Reply, Failure> {
        // The result goes where the caller wants it. One that is kept here first costs a look at its type, which takes longer than to
        // collect it.
        defer { end(call) }
        let state = try waitForOutcome(of: call)
        try collect(call, state)
        return try outcome(of: call, state)
    }

    /// Waits for the outcome, lends it if it is a reply, and ends the call.
    func finish<Value, Failure: Error & BitwiseCopyable>(
        _ call: SentCall, lending body: (RawSpan) throws(IPCError) -> Value
    ) throws(IPCError) -> Result<Value, Failure> {
        defer { end(call) }
        let state = try waitForOutcome(of: call)
        try collect(call, state)
        return try outcome(of: call, state, body)
    }

    /// Whether a call of so many bytes may be made, beside those that are not ended.
    func hasRoom(forCall byteCount: Int) -> Bool {
        let taken = outstanding.load(ordering: .sequentiallyConsistent)
        return taken == 0 || taken + byteCount <= memory.capacity / 4 || isInHandler
    }

    /// Whether this task or thread answers a call.
    var isInHandler: Bool { Permits.current != nil || ipc_is_handling() != 0 }

    /// Keeps others from ending it while its reply is read, or lent.
    func collect(_ call: SentCall, _ state: Work.State) throws(IPCError) {
        guard state.stage == Work.Stage.replied else { return }
        var state = state
        for _ in 0..<Work.attempts {
            let (isOurs, found) = call.frame.word.exchange(state.word, for: state.at(Work.Stage.collecting).word)
            if isOurs { return }
            // It may have been set aside meanwhile.
            state = Work.State(word: found)
            guard state.stage == Work.Stage.replied, state.isOf(lap: memory.workLap(at: call.position)) else { break }
        }
        throw retired
    }

    var retired: IPCError {
        IPCError(
            .timedOut, "call", memory.name.description,
            advice: "its deadline had passed, and others needed its room; collect the reply in time, or allow more")
    }

    func waitForOutcome(of call: SentCall) throws(IPCError) -> Work.State {
        let word = call.frame.word
        let place = try memory.sleepingCaller(UInt32(slot))
        var count = Waiting.firstLook(call.spins)
        while true {
            let state = Work.State(word: word.published)
            guard SentCall.isUnderWay(state) else { return state }
            count += 1
            guard count % 64 == 0 else {
                ipc_pause()
                continue
            }
            if call.deadline.hasPassed { throw timedOut(state) }
            let mayBeLost = state.stage == Work.Stage.taken
            guard let spins = call.spins, count >= spins else {
                guard count % 1024 == 0 else { continue }
                sched_yield()
                if memory.isLookDue() { try memory.lookAfterTheDead() }
                continue
            }
            try memory.checkPresence()
            if mayBeLost { try recoverIfDead(state.slot) }
            place.sleep(until: call.deadline, atMost: mayBeLost ? SentCall.slice : SleepingPlace.slice) {
                word.ordered != state.word
            }
        }
    }

    /// What came of it, if that is a value.
    func outcome<Reply: BitwiseCopyable, Failure: Error & BitwiseCopyable>(
        of call: SentCall, _ state: Work.State
    ) throws(IPCError) -> Result<Reply, Failure> {
        try outcome(of: call, state) { (bytes) throws(IPCError) in
            guard bytes.byteCount == MemoryLayout<Reply>.size else {
                throw memory.corrupted("a reply has \(bytes.byteCount) bytes instead of \(MemoryLayout<Reply>.size)")
            }
            guard let checks = call.checks.reply else { return unsafe bytes.unsafeLoadUnaligned(as: Reply.self) }
            return try unsafe checked(call.frame.reply, checks, "call")
        }
    }

    /// What came of it.
    func outcome<Value, Failure: Error & BitwiseCopyable>(
        of call: SentCall, _ state: Work.State, _ read: (RawSpan) throws(IPCError) -> Value
    ) throws(IPCError) -> Result<Value, Failure> {
        let frame = call.frame
        let count = frame.replyCount
        guard state.stage != Work.Stage.done, state.isOf(lap: memory.workLap(at: call.position)) else { throw retired }
        switch state.stage {
        case Work.Stage.replied where count <= frame.replyLimit:
            return try .success(unsafe read(RawSpan(_unsafeStart: frame.reply, byteCount: count)))
        case Work.Stage.failed where count == MemoryLayout<Failure>.size:
            return .failure(try failure(of: call, state))
        case Work.Stage.refused:
            throw IPCError(
                .messageTooLarge, "call", memory.name.description,
                advice: "the reply has \(count) bytes, and \(frame.replyLimit) were allowed; allow more")
        case Work.Stage.lost:
            if call.deadline.hasPassed { throw timedOut(state) }
            throw IPCError(
                .brokenPipe, "call", memory.name.description,
                advice:
                    "its server died in the call, or let go of it; call again, or allow retries if the call may be done twice"
            )
        default: throw memory.corrupted("a call is at stage \(state.stage) with a reply of \(count) bytes")
        }
    }

    @inline(never)
    private func failure<Failure: Error & BitwiseCopyable>(
        of call: SentCall, _ state: Work.State
    ) throws(IPCError) -> Failure {
        let failure: Failure =
            if let checks = call.checks.failure { try unsafe checked(call.frame.reply, checks, "call") } else {
                unsafe call.frame.reply.loadUnaligned(as: Failure.self)
            }
        // It is not collected: what was read was one if nobody had ended the call by then.
        atomicMemoryFence(ordering: .acquiring)
        guard Work.State(word: call.frame.word.relaxed).aside == state.aside else { throw retired }
        return failure
    }

    /// A value of a type that has checks.
    func checked<Value: BitwiseCopyable>(
        _ bytes: UnsafeRawPointer, _ checks: MessageChecks, _ operation: String
    ) throws(IPCError) -> Value {
        do throws(MessageChecks.Invalid) { return try unsafe checks.value(at: bytes) } catch {
            throw checks.error(error, operation, memory.name)
        }
    }

    private func recoverIfDead(_ server: Int) throws(IPCError) {
        guard server < memory.readerSlots else { return }
        if try !memory.isAlive(.reader, server) { try Recovery.tryRun(memory) }
    }

    func timedOut(_ state: Work.State) -> IPCError {
        let servers = (0..<memory.usedReaders).count { memory.state(.reader, $0).relaxed != 0 }
        let advice =
            if state.stage != Work.Stage.available, state.slot < memory.readerSlots {
                "process \(memory.process(.reader, state.slot).relaxed) has taken the call and not answered; allow more time"
            } else if servers == 0 {
                "no server has joined; start one"
            } else {
                "all \(servers) servers are busy with other calls; add servers, or allow more time"
            }
        return IPCError(.timedOut, "call", memory.name.description, advice: advice)
    }
}
