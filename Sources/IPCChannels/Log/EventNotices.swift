/// How many notices, and notifications to all, participants of this machine have made on an event since it was created.
public struct EventCounts: Hashable, Sendable {
    /// Each ends one wait.
    public let notices: UInt64
    /// Of ``ChannelWriter/notifyAll()``.
    public let notificationsToAll: UInt64

    func has(moreThan other: EventCounts) -> Bool {
        Self.isMore(notices, other.notices) || Self.isMore(notificationsToAll, other.notificationsToAll)
    }

    /// The same, or what was known where that is more: a count of carried notices may have been raised and not yet that of all.
    func atLeast(_ other: EventCounts) -> EventCounts {
        EventCounts(
            notices: Self.isMore(notices, other.notices) ? notices : other.notices,
            notificationsToAll: Self.isMore(notificationsToAll, other.notificationsToAll)
                ? notificationsToAll : other.notificationsToAll)
    }

    private static func isMore(_ one: UInt64, _ other: UInt64) -> Bool { Int64(bitPattern: one &- other) > 0 }
}

/// The words of an event in shared memory. They never fall.
struct EventNotices: Sendable {
    let all: SharedUInt64
    let taken: SharedUInt64
    let rounds: SharedUInt64
    /// How many of them came from other machines.
    let carried: SharedUInt64
    let carriedRounds: SharedUInt64

    init(_ memory: ChannelMemory) {
        all = memory.word(LogLayout.eventNotices)
        taken = memory.word(LogLayout.eventTaken)
        rounds = memory.word(LogLayout.eventRounds)
        carried = memory.word(LogLayout.eventCarriedNotices)
        carriedRounds = memory.word(LogLayout.eventCarriedRounds)
    }

    /// How many nobody has taken.
    var pending: Int {
        let taken = taken.published
        let all = all.published
        return all > taken ? Int(clamping: all - taken) : 0
    }

    /// Whether there is one that nobody has taken, for who has registered as a waiter.
    var hasPending: Bool {
        let taken = taken.ordered
        return all.ordered > taken
    }

    /// What was made on this machine. The sums are loaded first: what is in them and was carried is counted as such by then.
    var counts: EventCounts {
        let (all, rounds) = (all.ordered, rounds.ordered)
        return EventCounts(
            notices: all &- carried.ordered, notificationsToAll: rounds &- carriedRounds.ordered)
    }
}
