import IPC

// What is done with a message or a call that was taken. These are methods of the membership, not of its memory: the job or call
// may release the membership meanwhile, so a call on the memory would have to retain it.
extension Membership {
    /// The message in the log. Its length was checked, and the frame is not overwritten until the work is done.
    func payload(of work: TakenWork) -> UnsafeMutableRawPointer {
        unsafe header(of: work) + Work.prefixSize
    }

    /// The header before the message.
    func header(of work: TakenWork) -> UnsafeMutableRawPointer { unsafe memory.workPayload(at: work.position) }

    /// The origin of the work; nil if it has none, and in a child process of fork.
    func origin(of work: TakenWork) -> MessageOrigin? {
        memory.isInherited ? nil : memory.origin(of: work.header, at: work.position)
    }

    /// Makes the work available again, for any worker or server.
    ///
    /// - Parameters:
    ///   - due: The earliest redelivery, by the wall clock.
    ///   - prepare: Called while the work is still ours.
    ///   - returned: The new state.
    /// - Returns: False if this process no longer has the work.
    func handBack(
        _ work: TakenWork, due: UInt64 = 0, prepare: () -> Void = {}, as returned: (Work.State) -> Work.State
    ) -> Bool {
        let (memory, size) = (memory, work.header.size)
        // If others considered this process dead, another frame may be there by now.
        let found = Work.State(word: memory.workState(at: work.position).published)
        guard !memory.isInherited, found.aside == work.state.aside else { return false }
        prepare()
        let state = settle(work) { state in
            memory.handBack(work.position, size, state, as: returned(state), due: due)
        }
        guard state != nil else { return false }
        memory.announceReturns()
        return true
    }

    /// Exchanges the state of work that this process has.
    ///
    /// - Returns: The previous state; nil if this process no longer has the work.
    func settle(
        _ work: TakenWork, _ exchange: (Work.State) -> (exchanged: Bool, original: UInt64)
    ) -> Work.State? {
        let (isOurs, found) = exchange(work.state)
        if isOurs { return work.state }
        // It may have been set aside meanwhile. Others change nothing else in work that is taken.
        let aside = work.state.aside
        return found == aside.word && exchange(aside).exchanged ? aside : nil
    }
}
