import IPC

// What is done with a message that was taken, and with a call. Asked of the membership: a job or a call that keeps it lets go
// of it meanwhile, and the memory behind it would be retained for the time.
extension Membership {
    /// Where the message lies. The length was checked, and the frame is not overwritten while it is not done.
    func payload(of work: TakenWork) -> UnsafeMutableRawPointer {
        let offset = LogLayout.Frame.headerSize + Work.prefixSize
        return unsafe memory.log + Int(truncatingIfNeeded: work.position & memory.mask) + offset
    }

    /// Nobody gets it again.
    ///
    /// - Throws: ``IPC/IPCError/Code/leaseLost``.
    func acknowledge(_ work: TakenWork) throws(IPCError) {
        guard !memory.isInherited else { throw memory.isInheritedError }
        guard exchange(work, work.state.at(Work.Stage.done)) else { throw leaseLost }
        KillPoint.reach(.workDone)
        try memory.advanceWorkHead()
    }

    /// Another gets it, or this one again.
    ///
    /// - Parameter isCounted: Whether this time counts among the attempts.
    func giveBack(_ work: TakenWork, isCounted: Bool = true) {
        if exchange(work, isCounted ? work.state.returned : work.state.released) { memory.tellOfReturns() }
    }

    private var leaseLost: IPCError {
        IPCError(
            .leaseLost, "acknowledge job", memory.name.description,
            advice:
                "this worker does not have the job any more: others took it for dead, and the job may have been done twice; make what it does repeatable"
        )
    }

    private func exchange(_ work: TakenWork, _ state: Work.State) -> Bool {
        memory.workState(at: work.position).exchange(work.state.word, for: state.word).exchanged
    }
}
