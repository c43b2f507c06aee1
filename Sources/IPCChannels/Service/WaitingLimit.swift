import IPC

/// Compares the number of calls that wait for a server with the service's limit.
///
/// There is no shared counter: it would be wrong once a process died. Instead, each client scans the calls made since its last
/// scan, and counts those that wait. Servers take calls in order, so the count can only be too high. When it reaches the limit,
/// the client counts again. So a call scans the calls that others have made since the previous one, each once; near the limit
/// it scans as many as wait.
struct WaitingLimit {
    /// 0 for no limit.
    private let limit: Int
    /// No call before it waits, except calls that were given back.
    private var first: UInt64 = 0
    /// Everything before it is counted.
    private var end: UInt64 = 0
    /// The waiting calls between `first` and `end`; too high by those that were taken since.
    private var count = 0

    init(_ limit: Int) { self.limit = limit }

    @inline(__always)
    var isSet: Bool { limit > 0 }

    /// Checks that one more call may wait.
    ///
    /// - Throws: ``/IPC/IPCError/Code/overloaded``.
    @inline(never)
    mutating func check(_ membership: Membership) throws(IPCError) {
        // Calls that servers have begun are finished first.
        guard !Nesting.isInHandler else { return }
        let memory = membership.memory
        guard !memory.isInherited else { throw memory.isInheritedError }
        try countNew(memory)
        guard count >= limit else { return }
        try countAgain(memory)
        guard count >= limit else { return }
        if memory.isDeathCheckDue() {
            // Callers may have died, or been stopped beyond their deadlines.
            try memory.recoverDeadParticipants()
            try memory.hooks?.endOverdue(in: memory)
            try countAgain(memory)
        }
        guard count >= limit else { return }
        let servers = (0..<memory.usedReaders).count { memory.state(.reader, $0).relaxed != 0 }
        throw IPCError(
            .overloaded, "call", memory.name.description,
            advice:
                "\(limit) calls are waiting for its \(servers) servers, which is its limit (maximumWaiting); call again later, or add servers"
        )
    }

    private mutating func countNew(_ memory: ChannelMemory) throws(IPCError) {
        for _ in 0..<memory.frameLimit {
            guard let header = try memory.workFrame(at: &end) else { return }
            if Self.isWaiting(memory, header, end) { count += 1 }
            end &+= header.size
        }
    }

    /// Counts up to the limit; the rest does not matter.
    private mutating func countAgain(_ memory: ChannelMemory) throws(IPCError) {
        var position = first
        var found = 0
        for _ in 0..<memory.frameLimit {
            guard found < limit, let header = try memory.workFrame(at: &position) else { break }
            let isWaiting = Self.isWaiting(memory, header, position)
            if found == 0, !isWaiting { first = position &+ header.size }
            if isWaiting { found += 1 }
            position &+= header.size
        }
        count = found
        // If the count stopped at the limit, the next check stops here as well, or finds fewer and continues from here.
        end = position
    }

    private static func isWaiting(_ memory: ChannelMemory, _ header: FrameHeader, _ position: UInt64) -> Bool {
        guard header.isMessage else { return false }
        let state = Work.State(word: memory.workState(at: position).published)
        return state.stage == Work.Stage.available && !state.isAside
    }
}
