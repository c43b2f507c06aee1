import IPC

/// What a layer on a log does in the log's slow paths. Needed for work, whose messages change until they are done.
///
/// Membership is not its concern. A topic has no hooks.
protocol LogHooks: Sendable {
    // Participants that leave or have died:

    /// Whether a participant of a role may have left something to settle.
    func mayHaveLeft(_ role: ParticipantRole, in memory: ChannelMemory) -> Bool

    /// Settles what a participant leaves. Called by the slot's owner, or by the process that recovers the slot.
    ///
    /// - Returns: False if some of it may lie behind an uncommitted frame of another writer. Call it again once that is committed.
    func settle(
        _ role: ParticipantRole, _ slot: Int, isDead: Bool, in memory: ChannelMemory
    ) throws(IPCError) -> Bool

    /// Finishes what a participant may have been stopped at.
    func advance(_ memory: ChannelMemory) throws(IPCError)

    /// The visitor of each frame of a durable log after a crash.
    func restorer(_ memory: ChannelMemory, _ log: MirroredMapping) -> any FrameRestorer

    // Room:

    /// How far a writer may write from `start` on.
    func roomEnd(from start: UInt64, _ seeker: RoomSeeker, in memory: ChannelMemory) -> UInt64

    /// The end of a frame that begins at `start` and leads past regions that are left out; nil if there is no such way to room for
    /// `size` bytes.
    func wayPast(from start: UInt64, for size: UInt64, _ seeker: RoomSeeker, in memory: ChannelMemory) -> UInt64?

    /// Moves what is in the way of writers.
    ///
    /// - Returns: Whether there may be more room.
    func makeWay(in memory: ChannelMemory) throws(IPCError) -> Bool

    /// Ends what has expired and still takes room.
    func endOverdue(in memory: ChannelMemory) throws(IPCError)
}

/// Visits the frames of a durable log, oldest first, while no other participant is in the channel.
protocol FrameRestorer {
    /// Called for each message that was wholly written.
    mutating func see(_ header: FrameHeader, at position: UInt64)

    /// Called after the last one.
    ///
    /// - Parameters:
    ///   - oldest: Everything before it may have been overwritten.
    ///   - end: Where the next frame goes.
    mutating func finish(oldest: UInt64, end: UInt64)
}

/// A writer that looks for room.
struct RoomSeeker {
    /// The writer's slot, if there may be other writers.
    let slot: Int?
    /// Whether its message is needed to finish something that was begun: a call that a handler makes.
    let isNested: Bool
}
