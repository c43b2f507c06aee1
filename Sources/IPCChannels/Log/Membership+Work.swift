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
    func acknowledge(_ work: TakenWork) throws(IPCError) {
        guard !memory.isInherited else { throw memory.isInheritedError }
        _ = exchange(work, work.state.at(Work.Stage.done))
        KillPoint.reach(.workDone)
        try memory.advanceWorkHead()
    }

    /// Another gets it, or this one again.
    func giveBack(_ work: TakenWork) {
        if exchange(work, work.state.returned) { memory.tellOfReturns() }
    }

    private func exchange(_ work: TakenWork, _ state: Work.State) -> Bool {
        memory.workState(at: work.position).exchange(work.state.word, for: state.word).exchanged
    }
}
