import IPC

/// The hooks that queues and services have in common.
protocol WorkHooks: LogHooks {
    /// Settles the work that a participant has; as ``LogHooks/settle(_:_:isDead:in:)``.
    func settleWork(
        of role: ParticipantRole, _ slot: Int, isDead: Bool, in memory: ChannelMemory
    ) throws(IPCError) -> Bool
}

extension WorkHooks {
    func settle(
        _ role: ParticipantRole, _ slot: Int, isDead: Bool, in memory: ChannelMemory
    ) throws(IPCError) -> Bool {
        if isDead { memory.settleAside(of: role, slot) }
        return try settleWork(of: role, slot, isDead: isDead, in: memory)
    }

    func advance(_ memory: ChannelMemory) throws(IPCError) { try memory.advanceWorkHead() }

    func restorer(_ memory: ChannelMemory, _ log: MirroredMapping) -> any FrameRestorer {
        WorkRestorer(memory, log)
    }

    func roomEnd(from start: UInt64, _ seeker: RoomSeeker, in memory: ChannelMemory) -> UInt64 {
        memory.workRoomEnd(from: start, seeker)
    }

    func wayPast(from start: UInt64, for size: UInt64, _ seeker: RoomSeeker, in memory: ChannelMemory) -> UInt64? {
        memory.wayPast(from: start, for: size, seeker)
    }

    func makeWay(in memory: ChannelMemory) throws(IPCError) -> Bool { try memory.passHeldWork() }
}

extension ChannelMemory {
    /// Settles all work that the participant in a reader's slot had taken.
    ///
    /// - Parameters:
    ///   - isDead: Whether the participant died. It, or a process that died while it settled this, may have returned work
    ///     without announcing it.
    ///   - prepare: Called before a word is exchanged.
    ///   - settled: Maps a state to its next state.
    ///   - finish: Called with the frame's header after a word was exchanged for one that is neither available nor done.
    func returnWork(
        of slot: Int, isDead: Bool, prepare: (UInt64) -> Void = { _ in }, as settled: (Work.State) -> Work.State,
        finish: (FrameHeader) throws(IPCError) -> Void = { (_) throws(IPCError) in }
    ) throws(IPCError) {
        var count = 0
        try scanWork { (header, position) throws(IPCError) in
            let word = workState(at: position)
            var state = Work.State(word: word.published)
            for _ in 0..<Work.attempts {
                guard state.stage == Work.Stage.taken, state.slot == slot else { break }
                let next = settled(state)
                prepare(position)
                let (isOurs, found) =
                    next.stage == Work.Stage.available
                    ? handBack(position, header.size, state, as: next) : word.exchange(state.word, for: next.word)
                guard isOurs else {
                    state = Work.State(word: found)  // its caller has cancelled it
                    continue
                }
                switch next.stage {
                case Work.Stage.available: count += 1
                case Work.Stage.done: if next.isAside { leave(position) }
                default: try finish(header)
                }
                KillPoint.reach(.recoverWork)
                break
            }
        }
        if count > 0 || isDead { announceReturns(count) }
        try advanceWorkHead()
    }
}
