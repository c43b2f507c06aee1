import CIPCShims
import Glibc
import IPC
import Synchronization

/// A call that a client has sent and not ended yet. Until then its frame stays in place.
struct SentCall: Sendable {
    let frame: CallFrame
    let position: UInt64
    /// The size of its frame.
    let byteCount: Int
    let deadline: Deadline
    let spins: Int?
    let checks: CallChecks

    // Sequentially consistent: a caller that is about to sleep registers as a waiter first, and then loads the state.
    var state: Work.State { Work.State(word: frame.word.ordered) }

    /// Whether there is an outcome.
    var isFinished: Bool { !Self.isUnderWay(state) }

    static func isUnderWay(_ state: Work.State) -> Bool {
        state.stage == Work.Stage.available || state.stage == Work.Stage.taken
    }

    /// The maximum sleep in nanoseconds while a server has the call, since that server may have died.
    fileprivate static var maximumSleep: UInt64 { 10_000_000 }
}

// What a client does with a call.
extension Membership {
    /// Ends the call. If a server still has it, the server is notified. The reply is discarded.
    ///
    /// - Returns: False if another process had ended it because its deadline had passed.
    @discardableResult
    func end(_ call: SentCall) -> Bool {
        let isOurs = memory.withdrawCall(at: call.position)
        try? memory.makeRoom()
        outstanding.subtract(call.byteCount, ordering: .sequentiallyConsistent)
        if memory.waitingWriters.mayHaveWaiters { memory.waitingWriters.wake(memory) }
        return isOurs
    }

    /// Waits for the outcome of a call whose reply is a value, and ends the call.
    func finish<Reply: BitwiseCopyable, Failure: Error & BitwiseCopyable>(
        _ call: SentCall
    ) throws(IPCError) -> Result<Reply, Failure> {
        // With `defer`, the result is written directly to the caller's storage. A local copy would look up its type, which
        // takes longer than collecting the reply.
        defer { end(call) }
        let state = try waitForOutcome(of: call)
        try collect(call, state)
        return try outcome(of: call, state)
    }

    /// Waits for the outcome, borrows the reply, and ends the call.
    func finish<Value, Failure: Error & BitwiseCopyable>(
        _ call: SentCall, lending body: (RawSpan) throws(IPCError) -> Value
    ) throws(IPCError) -> Result<Value, Failure> {
        defer { end(call) }
        let state = try waitForOutcome(of: call)
        try collect(call, state)
        return try outcome(of: call, state, body)
    }

    /// Whether a call of this size fits beside this client's unfinished calls.
    func hasRoom(forCall byteCount: Int) -> Bool {
        let taken = outstanding.load(ordering: .sequentiallyConsistent)
        return taken == 0 || taken + byteCount <= memory.capacity / 4 || Nesting.isInHandler
    }

    /// Keeps other processes from ending the call while its reply is read or borrowed.
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
            advice: "its deadline passed, and other calls needed its space; collect the reply in time, or allow more")
    }

    func waitForOutcome(of call: SentCall) throws(IPCError) -> Work.State {
        let word = call.frame.word
        let place = try memory.waitingCaller(UInt32(slot))
        var wait = ThreadWait(call.spins, until: call.deadline)
        while true {
            let state = Work.State(word: word.published)
            guard SentCall.isUnderWay(state) else { return state }
            switch wait.next() {
            case .poll: continue
            case .check: if memory.isDeathCheckDue() { try memory.recoverDeadParticipants() }
            case .sleep:
                // Other callers may wait for a dead server as well, so they share this check. It also checks that the channel
                // still exists.
                if wait.hasSlept { try memory.recoverDeadParticipantsInTurn() } else { try memory.checkPresence() }
                let mayBeLost = state.stage == Work.Stage.taken
                if mayBeLost { try recoverIfDead(state.slot) }
                let maximumSleep = mayBeLost ? SentCall.maximumSleep : WaitQueue.maximumSleep
                wait.sleep(in: place, of: memory, atMost: maximumSleep) { word.ordered != state.word }
            case .end: throw callTimedOut(state)
            }
        }
    }

    /// The outcome of a call whose reply is a value.
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

    /// The outcome of a call.
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
                advice: Self.refusal(ofReplyWith: count, limit: frame.replyLimit))
        case Work.Stage.lost:
            if call.deadline.hasPassed { throw callTimedOut(state) }
            throw IPCError(
                .brokenPipe, "call", memory.name.description,
                advice:
                    "its server died during the call, or dropped it; call again, or allow retries if the call may run twice"
            )
        default: throw memory.corrupted("a call has stage \(state.stage) and a reply of \(count) bytes")
        }
    }

    /// Why a call has no answer of its server. A bridge between machines refuses replies below their limit, and requests as replies of
    /// no bytes.
    private static func refusal(ofReplyWith count: Int, limit: Int) -> String {
        guard count <= limit else { return "the reply has \(count) bytes, but its limit is \(limit); allow more" }
        let what = count == 0 ? "the request has more bytes" : "the reply has \(count) bytes, more"
        return "\(what) than the bridge between machines can carry; send less, or raise max_payload of the NATS server"
    }

    @inline(never)
    private func failure<Failure: Error & BitwiseCopyable>(
        of call: SentCall, _ state: Work.State
    ) throws(IPCError) -> Failure {
        let failure: Failure =
            if let checks = call.checks.failure { try unsafe checked(call.frame.reply, checks, "call") } else {
                unsafe call.frame.reply.loadUnaligned(as: Failure.self)
            }
        // A failure is not collected. What was read is valid if nobody has ended the call by now.
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

    func callTimedOut(_ state: Work.State) -> IPCError {
        let servers = (0..<memory.usedReaders).count { memory.state(.reader, $0).relaxed != 0 }
        let advice =
            if state.stage != Work.Stage.available, state.slot < memory.readerSlots {
                "process \(memory.process(.reader, state.slot).relaxed) has taken the call and not answered yet; allow more time"
            } else if servers == 0 {
                "no server has joined; start one"
            } else {
                "all \(servers) servers are busy with other calls; add servers, or allow more time"
            }
        return IPCError(.timedOut, "call", memory.name.description, advice: advice)
    }
}
