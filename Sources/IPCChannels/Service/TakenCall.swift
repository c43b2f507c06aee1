import IPC

/// A call that a server has taken: no other server answers it.
struct TakenCall {
    let work: TakenWork
    let frame: CallFrame
    /// When the caller gives up.
    let deadline: Deadline
    let checks: MessageChecks?

    /// Whether the caller no longer wants a reply.
    var isCancelled: Bool { Work.State(word: frame.word.published).isCancelled || deadline.hasPassed }
}

// What a server does with a call.
extension Membership {
    /// - Throws: ``/IPC/IPCError/Code/corrupted`` if its sizes are inconsistent.
    func call(_ work: TakenWork, _ checks: MessageChecks?) throws(IPCError) -> TakenCall {
        let frame = try CallFrame(memory, work)
        return TakenCall(work: work, frame: frame, deadline: frame.deadline, checks: checks)
    }

    func caller(of work: TakenWork) -> Int32 {
        guard work.header.writer < UInt32(memory.writerSlots) else { return 0 }
        return Int32(bitPattern: memory.process(.writer, Int(work.header.writer)).relaxed)
    }

    /// - Throws: ``/IPC/IPCError/Code/corrupted`` if a client that does not use this library sent an invalid request.
    func request<Request: BitwiseCopyable>(of call: TakenCall) throws(IPCError) -> Request {
        guard call.frame.requestCount == MemoryLayout<Request>.size else {
            throw memory.corrupted(
                "a request has \(call.frame.requestCount) bytes instead of \(MemoryLayout<Request>.size)")
        }
        guard let checks = call.checks else { return unsafe call.frame.request.loadUnaligned(as: Request.self) }
        return try unsafe checked(call.frame.request, checks, "next call")
    }

    /// Ends the call with a value.
    func answer<Value: BitwiseCopyable>(_ call: TakenCall, _ stage: UInt8, _ value: Value) throws(IPCError) {
        try unsafe answer(call, stage, MemoryLayout<Value>.size) { target in
            unsafe target.storeBytes(of: value, as: Value.self)
        }
    }

    /// Ends the call with `count` bytes that `fill` writes.
    ///
    /// - Throws: ``/IPC/IPCError/Code/messageTooLarge`` if its caller allows fewer; the caller gets the same error.
    func answer(
        _ call: TakenCall, _ stage: UInt8, _ count: Int, _ fill: (UnsafeMutableRawPointer) -> Void
    ) throws(IPCError) {
        let isTooLarge = count > call.frame.replyLimit
        if !isTooLarge { unsafe fill(call.frame.reply) }
        call.frame.replyCount = count
        KillPoint.reach(.callAnswered)
        try settle(call) { $0.at($0.isCancelled ? Work.Stage.done : isTooLarge ? Work.Stage.refused : stage) }
        if isTooLarge {
            throw IPCError(
                .messageTooLarge, "reply", memory.name.description,
                advice:
                    "the reply has \(count) bytes, but its caller allows \(call.frame.replyLimit); the caller gets this error too"
            )
        }
    }

    /// Ends the call: its reply, or its request if `count` is 0, is larger than what carries it between machines takes.
    func refuse(_ call: TakenCall, _ count: Int) throws(IPCError) {
        call.frame.replyCount = count
        try settle(call) { $0.at($0.isCancelled ? Work.Stage.done : Work.Stage.refused) }
    }

    /// Drops the call without an answer.
    func giveBack(_ call: TakenCall) throws(IPCError) { try settle(call) { $0.unanswered } }

    /// Gives up an invalid call, whatever its retries. Its caller gets an error.
    func lose(_ work: TakenWork) {
        let word = memory.workState(at: work.position)
        guard settle(work, { word.exchange($0.word, for: $0.at(Work.Stage.lost).word) }) != nil else { return }
        Notices.tell(
            .warning, memory.name,
            "an invalid call was dropped; the process that made it does not use this library: find it, and fix it",
            ["caller": "\(caller(of: work))"])
        if let caller = try? memory.waitingCaller(work.header.writer), caller.mayHaveWaiters { caller.wake(memory) }
    }

    /// Releases the call as if it had never been delivered.
    func release(_ call: TakenCall) throws(IPCError) { try settle(call) { $0.released } }

    /// Whether the caller no longer wants a reply, or the call is answered. Checks for dead callers now and then.
    func isCallCancelled(_ work: TakenWork, until deadline: Deadline) -> Bool {
        func isOver() -> Bool {
            // It may have been set aside meanwhile.
            let state = Work.State(word: memory.workState(at: work.position).published)
            return state.aside != work.state.aside || deadline.hasPassed
        }
        if isOver() { return true }
        // Errors of this check are thrown to callers that wait.
        guard memory.isCallerCheckDue(), (try? Recovery.tryRun(memory)) == true else { return false }
        return isOver()
    }

    private func settle(_ call: TakenCall, _ settled: (Work.State) -> Work.State) throws(IPCError) {
        guard !memory.isInherited else { throw memory.isInheritedError }
        var state = call.work.state
        var next = settled(state)
        for attempt in 0... {
            let (isOurs, found) =
                next.stage == Work.Stage.available
                ? memory.handBack(call.work.position, call.work.header.size, state, as: next)
                : call.frame.word.exchange(state.word, for: next.word)
            if isOurs { break }
            state = Work.State(word: found)
            // Only its caller may change the state meanwhile, to cancel it.
            guard state.stage == Work.Stage.taken, state.slot == slot, attempt < Work.attempts else {
                throw memory.corrupted("another process has changed the state of a call")
            }
            next = settled(state)
        }
        KillPoint.reach(.callReplied)
        switch next.stage {
        case Work.Stage.done:
            if next.isAside { memory.leave(call.work.position) }
            try memory.makeRoom()
        case Work.Stage.available: memory.announceReturns()
        default:
            let caller = try memory.waitingCaller(call.work.header.writer)
            // Sequentially consistent: the word was exchanged before the check for waiters, and a caller registers as a waiter
            // before it loads the word. So the caller sees the new word, or this server sees the waiter.
            if caller.mayHaveWaiters { caller.wake(memory) }
        }
    }
}
