import IPC

// For messages that are carried here from another machine. All of it is apart from what other messages take.
extension LogWriter {
    /// Claims room for a payload of `count` bytes and an origin. ``deliver(_:_:)`` or ``abandon()`` has to follow.
    ///
    /// - Returns: Where the payload goes; nil if there was no room by the deadline.
    mutating func claim(
        withOrigin count: Int, until deadline: Deadline
    ) throws(IPCError) -> UnsafeMutableRawPointer? {
        guard count <= maximumPayload - LogLayout.Frame.originSize else {
            throw IPCError(
                .messageTooLarge, "publish", memory.name.description,
                advice:
                    "a message from another machine takes \(LogLayout.Frame.originSize) bytes more, and this one of \(count) bytes exceeds the channel's limit of \(maximumPayload) with them; create the channel with a larger capacity"
            )
        }
        return try unsafe claimSlowly(count + LogLayout.Frame.originSize, until: deadline)
    }

    /// Makes the claimed message visible together with its origin and, where the channel is configured so, durable.
    ///
    /// - Parameter count: The size of the payload in bytes, at most what was claimed.
    mutating func deliver(_ count: Int, _ origin: MessageOrigin) throws(IPCError) {
        let isToSync = willSync
        let frame = unsafe log + Int(truncatingIfNeeded: position & mask)
        unsafe origin.store(at: frame + Int(claimed) - trailerSize - LogLayout.Frame.originSize)
        commit(count, LogLayout.Kind.messageWithOrigin)
        if isToSync { try syncLog(upTo: position) }
    }

    /// Tells readers that messages of another machine were lost on their way here.
    ///
    /// - Returns: False if there is no room now.
    mutating func tryTellLost(_ count: UInt64) throws(IPCError) -> Bool {
        guard let payload = try unsafe claimSlowly(8, until: .immediate) else { return false }
        unsafe SharedUInt64(payload).relaxed = count
        commit(8, LogLayout.Kind.lost)
        return true
    }

    /// Where the last message begins that this writer has made visible.
    var lastPosition: UInt64 { position &- claimed }
}
