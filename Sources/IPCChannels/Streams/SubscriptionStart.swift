import IPC

/// Where a new subscription begins.
public enum SubscriptionStart: Hashable, Sendable {
    /// At the next message that is published.
    case next
    /// At the oldest message that is still kept.
    case oldest
    /// At the last N messages that are kept, or at the oldest if there are fewer.
    case last(Int)
    /// At a position of an earlier subscription of the same channel: ``Topic/Subscription/position``.
    case position(ChannelPosition)

    /// A lower bound of the start, whatever is written meanwhile. It is as late as possible, so that writers still have room while
    /// the reader's cursor is there.
    func bound(in memory: ChannelMemory) -> UInt64 {
        if case .next = self { LogLayout.Frame.aligned(memory.tail.ordered) } else { memory.oldestSafe }
    }

    /// Where to begin, found quickly. For `.last` it is the oldest frame, from which ``refined(_:_:)`` goes on.
    func position(in memory: ChannelMemory) throws(IPCError) -> UInt64 {
        switch self {
        case .next: return try Self.end(of: memory)
        case .oldest, .last: return LogPositions.first(memory, from: memory.oldestSafe)
        case .position(let place):
            guard place.channel == memory.key else {
                throw IPCError(
                    .invalidArgument, "subscribe", memory.name.description,
                    advice:
                        "position \(place) belongs to another channel, or to an earlier one of this name; start at .oldest"
                )
            }
            let wanted = place.offset
            let end = try Self.end(of: memory)
            guard LogLayout.Frame.isAligned(wanted), wanted >= memory.oldestSafe, wanted <= end,
                wanted == end || memory.isCommitted(wanted)
            else {
                throw IPCError(
                    .invalidArgument, "subscribe", memory.name.description,
                    advice: "position \(wanted) is no longer kept, or no message begins there; start at .oldest")
            }
            return wanted
        }
    }

    /// Where to begin after a scan of the log, which takes time.
    ///
    /// - Parameter position: The result of ``position(in:)``. Where nothing is overwritten, the reader's cursor holds writers back
    ///   there.
    func refined(_ position: UInt64, _ memory: ChannelMemory) throws(IPCError) -> UInt64 {
        guard case .last(let count) = self else { return position }
        return try LogPositions.last(count, from: position, to: Self.end(of: memory), memory)
    }

    private static func end(of memory: ChannelMemory) throws(IPCError) -> UInt64 {
        try memory.hasSharedWriters ? memory.checkedTail() : LogPositions.end(memory).position
    }
}
