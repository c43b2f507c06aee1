import IPC

/// A call that a server has taken: nobody else answers it.
struct TakenCall {
    let work: TakenWork
    let frame: CallFrame
    /// When its caller gives up.
    let deadline: Deadline
    let checks: MessageChecks?

    /// Whether its caller wants no reply any more.
    var isCancelled: Bool { Work.State(word: frame.word.published).isCancelled || deadline.hasPassed }
}

// What a server does with one.
extension Membership {
    /// - Throws: ``IPC/IPCError/Code/corrupted`` if its sizes do not fit.
    func call(_ work: TakenWork, _ checks: MessageChecks?) throws(IPCError) -> TakenCall {
        let frame = try CallFrame(memory, work)
        return TakenCall(work: work, frame: frame, deadline: frame.deadline, checks: checks)
    }

    func caller(of work: TakenWork) -> Int32 {
        guard work.header.writer < UInt32(memory.writerSlots) else { return 0 }
        return Int32(bitPattern: memory.process(.writer, Int(work.header.writer)).relaxed)
    }

    /// - Throws: ``IPC/IPCError/Code/corrupted`` if a participant that is not of this library called.
    func request<Request: BitwiseCopyable>(of call: TakenCall) throws(IPCError) -> Request {
        guard call.frame.requestCount == MemoryLayout<Request>.size else {
            throw memory.corrupted(
                "a request has \(call.frame.requestCount) bytes instead of \(MemoryLayout<Request>.size)")
        }
        guard let checks = call.checks else { return unsafe call.frame.request.loadUnaligned(as: Request.self) }
        return try unsafe checked(call.frame.request, checks, "next call")
    }

    /// Ends it with a value.
    func answer<Value: BitwiseCopyable>(_ call: TakenCall, _ stage: UInt8, _ value: Value) throws(IPCError) {
        try unsafe answer(call, stage, MemoryLayout<Value>.size) { target in
            unsafe target.storeBytes(of: value, as: Value.self)
        }
    }

    /// Ends it with `count` bytes that `fill` writes.
    ///
    /// - Throws: ``IPC/IPCError/Code/messageTooLarge`` if its caller allows fewer; it is told so.
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
                advice: "the reply has \(count) bytes, and its caller allows \(call.frame.replyLimit); it was told so")
        }
    }

    /// Lets go of it without an answer.
    func giveBack(_ call: TakenCall) throws(IPCError) { try settle(call) { $0.unanswered } }

    /// Gives up what cannot be a call, whatever retries it says. Whoever made it is told that it was lost.
    func lose(_ work: TakenWork) {
        let word = memory.workState(at: work.position)
        guard settle(work, { word.exchange($0.word, for: $0.at(Work.Stage.lost).word) }) != nil else { return }
        ChannelLog.lostCall(memory.name, caller(of: work))
        if let caller = try? memory.sleepingCaller(work.header.writer), caller.mayHaveSleepers { caller.wake(memory) }
    }

    /// Lets another server have it, as if it had not been handed out.
    func release(_ call: TakenCall) throws(IPCError) { try settle(call) { $0.released } }

    /// Whether a call's caller wants no reply any more, or it is answered. Looks after dead callers now and then.
    func isCancelled(_ work: TakenWork, until deadline: Deadline) -> Bool {
        func isOver() -> Bool {
            // It may have been set aside since.
            let state = Work.State(word: memory.workState(at: work.position).published)
            return state.aside != work.state.aside || deadline.hasPassed
        }
        if isOver() { return true }
        // What goes wrong there, whoever waits is told.
        guard memory.isLookAfterCallersDue(), (try? Recovery.tryRun(memory)) == true else { return false }
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
            // Its caller may have cancelled it; nobody else may do anything.
            guard state.stage == Work.Stage.taken, state.slot == slot, attempt < Work.attempts else {
                throw memory.corrupted("somebody else has changed the state of a call")
            }
            next = settled(state)
        }
        KillPoint.reach(.callReplied)
        switch next.stage {
        case Work.Stage.done:
            if next.isAside { memory.leave(call.work.position) }
            try memory.makeRoom()
        case Work.Stage.available: memory.tellOfReturns()
        default:
            let caller = try memory.sleepingCaller(call.work.header.writer)
            // The word was exchanged; a caller that counts itself, and then looks at the word, sees that, or we see it.
            if caller.mayHaveSleepers { caller.wake(memory) }
        }
    }
}
