import IPC

/// What workers and producers of a queue leave behind when they end, and how it is settled.
struct QueueHooks: WorkHooks {
    func mayHaveLeft(_ role: ParticipantRole, in memory: ChannelMemory) -> Bool {
        role == .reader || memory.usedAside.ordered != 0
    }

    func settleWork(
        of role: ParticipantRole, _ slot: Int, isDead: Bool, in memory: ChannelMemory
    ) throws(IPCError) -> Bool {
        switch role {
        // A worker has read everything before the jobs that it took, so the scan reaches all of them.
        case .reader:
            let process = memory.process(.reader, slot).relaxed
            try memory.returnWork(of: slot, isDead: isDead) { position in
                unsafe JobHeader.setReason(memory.workPayload(at: position), .workerDied, process)
            } as: { state in
                state.returned
            }
        // It may have died between sending a delayed message and announcing it.
        case .writer: if isDead { memory.announceReturns(0) }
        case .guest: break
        }
        return true
    }

    /// Only a worker ends a job.
    func endOverdue(in memory: ChannelMemory) {}
}
