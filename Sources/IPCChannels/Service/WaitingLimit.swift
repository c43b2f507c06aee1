import IPC

/// How many calls wait that no server has taken, beside the most that a service's creator allows.
///
/// Nobody counts them in the channel: a count that several keep is wrong once one of them dies. A client looks at each call that has
/// come since its last look, and counts those that wait; servers take calls in order, so the count can only be too high. When it
/// comes to the limit, it counts once more. So a call looks at those that others have made since the last one, each once; near the
/// limit it looks at as many as wait.
struct WaitingLimit {
    /// 0 for none.
    private let limit: Int
    /// Before it no call waits, but for what was given back.
    private var first: UInt64 = 0
    /// All before it was counted.
    private var end: UInt64 = 0
    /// Of those between both; too many by those that were taken since.
    private var count = 0

    init(_ limit: Int) { self.limit = limit }

    @inline(__always)
    var isSet: Bool { limit > 0 }

    /// That one more may wait.
    ///
    /// - Throws: ``IPC/IPCError/Code/overloaded``.
    @inline(never)
    mutating func check(_ membership: Membership) throws(IPCError) {
        // What servers have begun is finished first.
        guard !membership.isInHandler else { return }
        let memory = membership.memory
        guard !memory.isInherited else { throw memory.isInheritedError }
        try countNew(memory)
        guard count >= limit else { return }
        try countAgain(memory)
        guard count >= limit else { return }
        if memory.isLookDue() {
            // Callers may have died; or they were stopped, and are past their deadlines.
            try memory.lookAfterTheDead()
            try memory.retireExpiredCalls()
            try countAgain(memory)
        }
        guard count >= limit else { return }
        let servers = (0..<memory.usedReaders).count { memory.state(.reader, $0).relaxed != 0 }
        throw IPCError(
            .overloaded, "call", memory.name.description,
            advice:
                "\(limit) calls wait that none of its \(servers) servers has taken, as many as it was created for (maximumWaiting); call again later, or add servers"
        )
    }

    private mutating func countNew(_ memory: ChannelMemory) throws(IPCError) {
        for _ in 0..<memory.frameLimit {
            guard let header = try memory.workFrame(at: &end) else { return }
            if Self.isWaiting(memory, header, end) { count += 1 }
            end &+= header.size
        }
    }

    /// As many as there are, or as the limit: then the rest does not matter.
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
        // Where it stopped at the limit, the next look stops there as well, or finds fewer and goes on.
        end = position
    }

    private static func isWaiting(_ memory: ChannelMemory, _ header: FrameHeader, _ position: UInt64) -> Bool {
        guard header.kind == LogLayout.Kind.message else { return false }
        let state = Work.State(word: memory.workState(at: position).published)
        return state.stage == Work.Stage.available && !state.isAside
    }
}
