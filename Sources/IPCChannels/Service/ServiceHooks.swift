import IPC

/// What servers and clients leave behind when they end, and how it is settled.
struct ServiceHooks: WorkHooks {
    func mayHaveLeft(_ role: ParticipantRole, in memory: ChannelMemory) -> Bool { true }

    func settleWork(
        of role: ParticipantRole, _ slot: Int, isDead: Bool, in memory: ChannelMemory
    ) throws(IPCError) -> Bool {
        switch role {
        // A server has read everything before the calls that it took, so the scan reaches all of them.
        case .reader:
            try memory.returnWork(of: slot, isDead: isDead) { state in
                state.unanswered
            } finish: { (header) throws(IPCError) in
                try memory.waitingCaller(header.writer).wakeIfNeeded(memory)
            }
        case .writer: return try memory.withdrawCalls(of: slot)
        case .guest: break
        }
        return true
    }

    /// Ends the calls whose deadline has passed: their callers may be stopped, or may hold replies that they do not collect.
    func endOverdue(in memory: ChannelMemory) throws(IPCError) {
        let now = Deadline(nanoseconds: MonotonicClock.now).onMachine
        try memory.scanWork { (_, position) throws(IPCError) in
            let deadline = unsafe SharedUInt64(memory.workPayload(at: position) + CallFrame.deadline).relaxed
            guard deadline < now else { return }
            let state = Work.State(word: memory.workState(at: position).ordered)
            // The caller is reading this reply.
            if state.stage != Work.Stage.collecting { memory.withdrawCall(at: position) }
        }
        try memory.advanceWorkHead()
    }
}

extension ChannelMemory {
    /// Ends all calls of a client.
    ///
    /// - Returns: False if some may lie behind an uncommitted claim of another client.
    fileprivate func withdrawCalls(of slot: Int) throws(IPCError) -> Bool {
        let isComplete = try scanWork { (header, position) throws(IPCError) in
            guard header.writer == UInt32(slot) else { return }
            withdrawCall(at: position)
            KillPoint.reach(.callWithdrawn)
        }
        try advanceWorkHead()
        return isComplete
    }

    /// Withdraws a call whose reply is no longer wanted. If a server has it, it is marked as cancelled, and the server ends it.
    ///
    /// Does nothing if the frame holds another call by now.
    ///
    /// - Returns: False if the call was over, or cancelled, before.
    @discardableResult
    func withdrawCall(at position: UInt64) -> Bool {
        let word = workState(at: position)
        var state = Work.State(word: word.published)
        for _ in 0..<Work.attempts {
            guard state.isOf(lap: workLap(at: position)), state.stage != Work.Stage.done, !state.isCancelled else {
                return false
            }
            let next = state.stage == Work.Stage.taken ? state.cancelled : state.at(Work.Stage.done)
            let (isOurs, found) = word.exchange(state.word, for: next.word)
            if isOurs {
                if next.stage == Work.Stage.done, next.isAside { leave(position) }
                return true
            }
            state = Work.State(word: found)
        }
        return false
    }
}
