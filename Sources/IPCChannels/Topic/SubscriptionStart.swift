import IPC

/// Where a new subscription begins.
public enum SubscriptionStart: Hashable, Sendable {
    /// With the next message that is published.
    case next
    /// With the oldest that is still kept.
    case oldest
    /// With the last so many of those that are kept, or all if there are fewer.
    case last(Int)
    /// At a position of an earlier subscription of the same channel: ``Subscription/position``.
    case position(UInt64)

    func position(in memory: ChannelMemory) throws(IPCError) -> UInt64 {
        let end = try memory.hasSharedWriters ? memory.checkedTail() : LogPositions.end(memory).position
        switch self {
        case .next: return end
        case .oldest: return LogPositions.first(memory, from: memory.oldestSafe)
        case .position(let wanted):
            let oldest = memory.oldestSafe
            guard LogLayout.Frame.isAligned(wanted), wanted >= oldest, wanted <= end,
                wanted == end || memory.isCommitted(wanted)
            else {
                throw IPCError(
                    .invalidArgument, "subscribe", memory.name.description,
                    advice: "position \(wanted) is not kept any more, or no message begins there; start at .oldest")
            }
            return wanted
        case .last(let count):
            guard count > 0 else { return end }
            var recent: [UInt64] = []
            var position = LogPositions.first(memory, from: memory.oldestSafe)
            while position < end, let header = try LogPositions.frame(memory, at: position) {
                if header.kind == LogLayout.Kind.message { recent.append(position) }
                position &+= header.size
            }
            return recent.count <= count ? recent.first ?? end : recent[recent.count - count]
        }
    }
}
