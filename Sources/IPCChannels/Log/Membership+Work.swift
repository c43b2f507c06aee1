import Glibc
import IPC

// What is done with a message that was taken, and with a call. Asked of the membership: a job or a call that keeps it lets go
// of it meanwhile, and the memory behind it would be retained for the time.
extension Membership {
    /// Where the message lies. The length was checked, and the frame is not overwritten while it is not done.
    func payload(of work: TakenWork) -> UnsafeMutableRawPointer {
        unsafe header(of: work) + Work.prefixSize
    }

    /// Nobody gets it again.
    ///
    /// - Throws: ``IPC/IPCError/Code/leaseLost``.
    func acknowledge(_ work: TakenWork) throws(IPCError) {
        guard !memory.isInherited else { throw memory.isInheritedError }
        let word = memory.workState(at: work.position)
        let state = settle(work) { word.exchange($0.word, for: $0.at(Work.Stage.done).word) }
        guard let state else { throw leaseLost }
        KillPoint.reach(.workDone)
        if state.isAside { memory.leave(work.position) }
        try memory.makeRoom()
    }

    /// What lies before the message.
    func header(of work: TakenWork) -> UnsafeMutableRawPointer { unsafe memory.workPayload(at: work.position) }

    /// Another gets it, or this one again.
    ///
    /// - Parameters:
    ///   - reason: Why, if the job goes to the dead letters.
    ///   - isCounted: Whether this time counts among the attempts.
    ///   - delay: Not before; nil for what the queue's policy says.
    /// - Returns: False if this worker did not have it any more.
    @discardableResult
    func giveBack(
        _ work: TakenWork, _ reason: DeadLetter.Reason = .rejected, isCounted: Bool = true, after delay: Duration? = nil
    ) -> Bool {
        let (memory, size) = (memory, work.header.size)
        // Another's frame may be there by now, if others took us for dead.
        let found = Work.State(word: memory.workState(at: work.position).published)
        guard !memory.isInherited, found.aside == work.state.aside else { return false }
        let due =
            if let delay { WallClock.after(delay) } else {
                isCounted ? memory.retryPolicy.due(after: work.state.attempts) : 0
            }
        if isCounted { unsafe JobHeader.setReason(header(of: work), reason, UInt32(bitPattern: getpid())) }
        let state = settle(work) { state in
            memory.handBack(work.position, size, state, as: isCounted ? state.returned : state.released, due: due)
        }
        guard state != nil else { return false }
        memory.tellOfReturns()
        return true
    }

    private var leaseLost: IPCError {
        IPCError(
            .leaseLost, "acknowledge job", memory.name.description,
            advice:
                "this worker does not have the job any more: others took it for dead, and the job may have been done twice; make what it does repeatable"
        )
    }

    /// Exchanges the state of work that we have.
    ///
    /// - Returns: The state that it had; nil if we do not have it any more.
    func settle(
        _ work: TakenWork, _ exchange: (Work.State) -> (exchanged: Bool, original: UInt64)
    ) -> Work.State? {
        let (isOurs, found) = exchange(work.state)
        if isOurs { return work.state }
        // It may have been set aside meanwhile: nothing else happens to work that somebody has.
        let aside = work.state.aside
        return found == aside.word && exchange(aside).exchanged ? aside : nil
    }
}
