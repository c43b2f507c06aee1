public import IPC

extension WorkQueue {
    /// Moves jobs to the dead letters that will not be delivered any more: those delivered as often as the queue allows, and
    /// expired ones.
    ///
    /// Workers do this with the jobs that they find. Call it if there is no worker, or none has reached those jobs yet;
    /// ``redrive(limit:until:)`` calls it first. Jobs that a worker has stay with it. Waits only for the membership locks of
    /// both queues.
    ///
    /// - Returns: The number of jobs moved.
    /// - Throws: ``/IPC/IPCError/Code/notFound``; the error of the dead-letter queue if it cannot be written to: the other jobs
    ///   stay in the queue.
    @discardableResult
    public func collectDeadLetters() throws(IPCError) -> Int {
        guard !channel.isOfDeadLetters else { return 0 }
        let membership = WorkTaker(try channel.joinAsWorker(), .sleeping()).membership
        let overdue = try membership.takeOverdue()
        let letters = DeadLetters(channel, membership)
        var count = 0
        for (index, (work, reason)) in overdue.enumerated() {
            do throws(IPCError) {
                try letters.send(work, reason)
                count += 1
            } catch {
                // Another process considered this one dead; the job is available or taken again.
                if error.code == .leaseLost { continue }
                for (work, _) in overdue[index...] { membership.giveBack(work, isCounted: false) }
                throw error
            }
        }
        return count
    }
}

extension Membership {
    /// Takes all jobs that are overdue and that no worker has, whether or not they are due.
    ///
    /// - Returns: The jobs, each with its reason; nil for the reason of its last return.
    fileprivate func takeOverdue() throws(IPCError) -> [(TakenWork, DeadLetter.Reason?)] {
        let maximumAttempts = memory.retryPolicy.maximumAttempts
        var overdue: [(TakenWork, DeadLetter.Reason?)] = []
        try memory.scanWork { (header, position) throws(IPCError) in
            let word = memory.workState(at: position)
            let state = Work.State(word: word.published)
            // The word contains the lap: if the frame was replaced meanwhile, the exchange fails.
            guard state.stage == Work.Stage.available, state.isOf(lap: memory.workLap(at: position)) else { return }
            let isSpent = state.attempts >= maximumAttempts
            guard unsafe isSpent || JobHeader.hasExpired(memory.workPayload(at: position)) else { return }
            let taken = state.taken(by: slot)
            guard word.exchange(state.word, for: taken.word).exchanged else { return }
            KillPoint.reach(.workTaken)
            overdue.append((TakenWork(position: position, header: header, state: taken), isSpent ? nil : .expired))
        }
        return overdue
    }
}
