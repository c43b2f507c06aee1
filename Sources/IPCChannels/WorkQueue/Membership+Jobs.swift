import Glibc
import IPC

// What a worker does with a job. These are methods of the membership, not of its memory: the job may release the membership
// meanwhile, so a call on the memory would have to retain it.
extension Membership {
    /// Marks the job as done: it is never delivered again.
    ///
    /// - Throws: ``/IPC/IPCError/Code/leaseLost``.
    func acknowledge(_ work: TakenWork) throws(IPCError) { try end(work) { $0.at(Work.Stage.done) } }

    /// The same for a job that was moved to the dead letters.
    func bury(_ work: TakenWork) throws(IPCError) { try end(work) { $0.buried } }

    @inline(__always)
    private func end(_ work: TakenWork, as done: (Work.State) -> Work.State) throws(IPCError) {
        guard !memory.isInherited else { throw memory.isInheritedError }
        let word = memory.workState(at: work.position)
        let state = settle(work) { word.exchange($0.word, for: done($0).word) }
        guard let state else { throw leaseLost }
        KillPoint.reach(.workDone)
        if state.isAside { memory.leave(work.position) }
        try memory.makeRoom()
    }

    /// Makes the job available again, for any worker.
    ///
    /// - Parameters:
    ///   - reason: The reason, should the job go to the dead letters.
    ///   - isCounted: Whether this delivery counts as an attempt.
    ///   - delay: The minimum time until redelivery; nil for the queue's policy.
    /// - Returns: False if this worker no longer had it.
    @discardableResult
    func giveBack(
        _ work: TakenWork, _ reason: DeadLetter.Reason = .rejected, isCounted: Bool = true, after delay: Duration? = nil
    ) -> Bool {
        let due =
            if let delay { WallClock.after(delay) } else {
                isCounted ? memory.retryPolicy.due(after: work.state.attempts) : 0
            }
        return handBack(work, due: due) {
            if isCounted { unsafe JobHeader.setReason(header(of: work), reason, UInt32(bitPattern: getpid())) }
        } as: { state in
            isCounted ? state.returned : state.released
        }
    }

    private var leaseLost: IPCError {
        IPCError(
            .leaseLost, "acknowledge job", memory.name.description,
            advice:
                "this worker no longer has the job: others took it for dead, and the job may have been done twice; make the job idempotent"
        )
    }
}
