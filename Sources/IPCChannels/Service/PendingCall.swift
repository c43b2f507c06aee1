import CIPCShims
import Glibc
public import IPC

/// A call that is under way. Going out of scope cancels it: its server is told, and its reply is dropped.
///
/// It keeps its client's place in the service. Any thread may wait for it, one at a time.
public struct PendingCall<Reply, Failure: Error & BitwiseCopyable>: ~Copyable, @unchecked Sendable {
    // `@unchecked`: the frame's reply is this caller's alone once the state tells of it.
    private let membership: Membership
    private let frame: CallFrame
    private let deadline: Deadline
    private let spins: Int?

    /// How long a sleep lasts at most while a server has the call, in nanoseconds: it may have died.
    private static var slice: UInt64 { 10_000_000 }

    init(_ membership: Membership, _ frame: CallFrame, until deadline: Deadline, _ spins: Int?) {
        self.membership = membership
        self.frame = frame
        self.deadline = deadline
        self.spins = spins
    }

    // The frame is not done until this, so it stays where it is.
    deinit {
        membership.withdrawCall(frame.word)
        try? membership.tellOfDone()
    }

    /// Whether there is an outcome: then waiting does not wait.
    public var isFinished: Bool { !Self.isUnderWay(Work.State(word: frame.word.published)) }

    /// Gives the call up. A server that has it can see so.
    public consuming func cancel() {}

    private static func isUnderWay(_ state: Work.State) -> Bool {
        state.stage == Work.Stage.available || state.stage == Work.Stage.taken
    }

    /// What came of it.
    fileprivate borrowing func outcome<Value>(
        _ state: Work.State, _ read: (RawSpan) throws(IPCError) -> Value
    ) throws(IPCError) -> Result<Value, Failure> {
        let memory = membership.memory
        let count = frame.replyCount
        switch state.stage {
        case Work.Stage.replied where count <= frame.replyLimit:
            return try .success(unsafe read(RawSpan(_unsafeStart: frame.reply, byteCount: count)))
        case Work.Stage.failed where count == MemoryLayout<Failure>.size:
            return .failure(unsafe frame.reply.loadUnaligned(as: Failure.self))
        case Work.Stage.refused:
            throw IPCError(
                .messageTooLarge, "call", memory.name.description,
                advice: "the reply has \(count) bytes, and \(frame.replyLimit) were allowed; allow more")
        case Work.Stage.lost:
            if deadline.hasPassed { throw timedOut(state) }
            throw IPCError(
                .brokenPipe, "call", memory.name.description,
                advice:
                    "its server died in the call, or let go of it; call again, or allow retries if the call may be done twice"
            )
        default: throw memory.corrupted("a call is at stage \(state.stage) with a reply of \(count) bytes")
        }
    }

    fileprivate borrowing func waitForOutcome() throws(IPCError) -> Work.State {
        let (memory, word) = (membership.memory, frame.word)
        let place = try memory.sleepingCaller(UInt32(membership.slot))
        var count = spins == 0 ? -1 : 0  // so that the first look is one of those after which it may sleep
        while true {
            let state = Work.State(word: word.published)
            guard Self.isUnderWay(state) else { return state }
            count += 1
            guard count % 64 == 0 else {
                ipc_pause()
                continue
            }
            if deadline.hasPassed { throw timedOut(state) }
            let mayBeLost = state.stage == Work.Stage.taken
            guard let spins, count >= spins else {
                if count % 1024 == 0 { sched_yield() }
                if mayBeLost, count % 65_536 == 0 { try recoverIfDead(state.slot) }
                continue
            }
            if mayBeLost { try recoverIfDead(state.slot) }
            place.sleep(until: deadline, atMost: mayBeLost ? Self.slice : SleepingPlace.slice) {
                word.published != state.word
            }
        }
    }

    /// The same, suspended meanwhile.
    fileprivate nonisolated(nonsending) borrowing func waitForOutcome() async throws(IPCError) -> Work.State {
        let isSettled = try await readiness().wait(until: deadline, spins: spins, "call")
        let state = Work.State(word: frame.word.published)
        guard isSettled else { throw timedOut(state) }
        return state
    }

    /// The outcome.
    ///
    /// - Throws: ``IPC/IPCError/Code/corrupted``.
    public func readiness() throws(IPCError) -> ChannelReadiness {
        let word = frame.word
        let place = try membership.memory.sleepingCaller(UInt32(membership.slot))
        return ChannelReadiness(membership: membership, place: place) {
            !Self.isUnderWay(Work.State(word: word.published))
        }
    }

    private borrowing func recoverIfDead(_ server: Int) throws(IPCError) {
        guard server < membership.memory.readerSlots else { return }
        if try !membership.memory.isAlive(.reader, server) { try Recovery.tryRun(membership.memory) }
    }

    private borrowing func timedOut(_ state: Work.State) -> IPCError {
        let memory = membership.memory
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

extension PendingCall where Reply: BitwiseCopyable {
    /// Waits for the outcome, until the call's deadline.
    ///
    /// - Throws: As ``Client/call(_:until:retries:)``.
    public consuming func wait() throws(IPCError) -> Result<Reply, Failure> { try value(waitForOutcome()) }

    /// Waits for the outcome, until the call's deadline, suspended meanwhile.
    ///
    /// - Throws: As the blocking call; ``IPC/IPCError/Code/cancelled``, and the server is told.
    public nonisolated(nonsending) consuming func wait() async throws(IPCError) -> Result<Reply, Failure> {
        let state = try await waitForOutcome()
        return try value(state)
    }

    private borrowing func value(_ state: Work.State) throws(IPCError) -> Result<Reply, Failure> {
        let memory = membership.memory
        return try outcome(state) { (bytes) throws(IPCError) in
            guard bytes.byteCount == MemoryLayout<Reply>.size else {
                throw memory.corrupted("a reply has \(bytes.byteCount) bytes instead of \(MemoryLayout<Reply>.size)")
            }
            return unsafe bytes.unsafeLoadUnaligned(as: Reply.self)
        }
    }
}

extension PendingCall where Reply == RawBytes {
    /// Waits for the outcome, until the call's deadline, and lends the reply where it lies in the log.
    ///
    /// - Throws: ``IPC/IPCError/Code/timedOut``; ``IPC/IPCError/Code/brokenPipe`` if its server died, or let go of it;
    ///   ``IPC/IPCError/Code/messageTooLarge``; what `body` throws.
    public consuming func wait<Value>(
        _ body: (RawSpan) throws(IPCError) -> Value
    ) throws(IPCError) -> Result<Value, Failure> {
        try outcome(waitForOutcome(), body)
    }

    /// Waits for the outcome, until the call's deadline, suspended meanwhile, and lends the reply.
    public nonisolated(nonsending) consuming func wait<Value>(
        _ body: (RawSpan) throws(IPCError) -> Value
    ) async throws(IPCError) -> Result<Value, Failure> {
        let state = try await waitForOutcome()
        return try outcome(state, body)
    }
}
