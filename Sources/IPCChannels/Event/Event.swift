import CIPCShims
import Glibc
public import IPC
public import SystemPackage

/// A channel without messages: something has happened.
///
/// ```swift
/// var configurationChanged = try Event.create("configuration/changed").join()
/// configurationChanged.notify()                                   // one process
/// try configurationChanged.wait(until: .after(.seconds(5)))       // another
/// ```
///
/// Each ``EventParticipant/notify(count:)`` ends one wait, now or later: what was not taken is counted.
/// ``EventParticipant/notifyAll()`` ends all waits that are under way, and counts for none that come later. Nothing is
/// ever locked, so a death leaves nothing locked: a participant that dies in a wait has taken a notice, or has not.
public struct Event: Sendable {
    /// Such as `configuration/changed`.
    public var name: ChannelName { channel.name }
    private let channel: Channel

    /// Creates an event, or opens it if it exists.
    ///
    /// - Parameters:
    ///   - maximumParticipants: At most 1024.
    ///   - permissions: Who may use it: a participant writes to its files. Set whatever the umask is.
    public static func create(
        _ name: String, lifetime: ChannelOptions.Lifetime = .whileUsed, maximumParticipants: Int = 64,
        permissions: FilePermissions = .ownerReadWrite, _ policy: CreationPolicy = .openExisting
    ) throws(IPCError) -> Event {
        try Event(
            name,
            ChannelOptions(
                lifetime: lifetime, capacity: 1, maximumReaders: maximumParticipants, maximumWriters: 1,
                permissions: permissions),
            policy)
    }

    /// Opens an event that exists.
    public static func open(_ name: String) throws(IPCError) -> Event { try Event(name, nil, .openExisting) }

    private init(_ name: String, _ options: ChannelOptions?, _ policy: CreationPolicy) throws(IPCError) {
        channel = try Channel(name, .event, .bytes, options, policy)
    }

    /// One without a name, on the descriptors of its files; they have to stay open while it is used.
    package init(on descriptors: ChannelDescriptors) throws(IPCError) {
        channel = try Channel(on: descriptors, .event, .bytes)
    }

    /// Joins it, to notify and to wait.
    public func join(waiting: Waiting = .sleeping()) throws(IPCError) -> EventParticipant {
        let membership = try channel.join(.reader)
        membership.finishJoining()
        return EventParticipant(membership, waiting)
    }

    /// Removes it, whoever uses it.
    public static func remove(_ name: String) throws(IPCError) { try Channel.remove(name) }
}

/// One that notifies, and waits for, an ``Event``. One thread at a time may use it.
public struct EventParticipant: ~Copyable, @unchecked Sendable {
    // `@unchecked`: it is one thread's at a time by its ownership; the memory is shared by atomics.
    let membership: Membership
    private let spins: Int?
    let place: SleepingPlace
    private let notices: SharedWord
    let rounds: SharedWord

    init(_ membership: Membership, _ waiting: Waiting) {
        let memory = membership.memory
        place = memory.sleepingReaders
        notices = memory.word(LogLayout.eventNotices)
        rounds = memory.word(LogLayout.eventRounds)
        spins = waiting.spins
        self.membership = membership
    }

    /// Ends so many waits, those under way first. Makes a system call only if somebody sleeps.
    public func notify(count: Int = 1) {
        guard count > 0 else { return }
        notices.add(UInt64(count))
        if place.mayHaveSleepers { place.wake(membership.memory) }
    }

    /// Ends all waits that are under way.
    public func notifyAll() {
        rounds.add(1)
        if place.mayHaveSleepers { place.wake(membership.memory) }
    }

    /// Takes a notice if there is one.
    public func tryWait() -> Bool {
        var count = notices.published
        while count > 0 {
            let (isTaken, found) = notices.exchange(count, for: count - 1)
            if isTaken { return true }
            count = found
        }
        return false
    }

    /// How many notices nobody has taken yet.
    public var pending: Int { Int(clamping: notices.published) }

    /// Waits for a notice and takes it, or for the next ``notifyAll()``.
    ///
    /// - Throws: ``IPC/IPCError/Code/timedOut``.
    public func wait(until deadline: Deadline = .never) throws(IPCError) {
        let round = rounds.published
        var count = Waiting.firstLook(spins)
        while !tryWait() {
            if rounds.published != round { return }
            count += 1
            guard count % 64 == 0 else {
                ipc_pause()
                continue
            }
            if deadline.hasPassed { throw timedOut }
            guard let spins, count >= spins else {
                if count % 1024 == 0 { sched_yield() }
                continue
            }
            try membership.memory.checkPresence()
            let (notices, rounds) = (notices, rounds)
            // Sequentially consistent: who is about to sleep counts itself, and then looks.
            place.sleep(until: deadline) { notices.ordered > 0 || rounds.ordered != round }
        }
    }

    /// Waits for a notice and takes it, or for the next ``notifyAll()``, suspended meanwhile.
    ///
    /// - Throws: As the blocking call; ``IPC/IPCError/Code/cancelled``, and no notice was taken.
    @inlinable @inline(__always)
    public nonisolated(nonsending) func wait(until deadline: Deadline = .never) async throws(IPCError) {
        if let round = look() { try await wait(since: round, until: deadline) }
    }

    /// Waits for as long as a task may.
    ///
    /// - Returns: nil if the wait is over; otherwise the round at its beginning.
    @usableFromInline
    func look() -> UInt64? {
        let round = rounds.published
        for _ in 0..<Waiting.looksOfTask(spins) {
            if tryWait() || rounds.published != round { return nil }
            ipc_pause()
        }
        return round
    }

    @usableFromInline
    nonisolated(nonsending) func wait(since round: UInt64, until deadline: Deadline) async throws(IPCError) {
        let readiness = readiness(since: round)
        while !tryWait() {
            if rounds.published != round { return }
            guard try await readiness.wait(until: deadline, spins: spins, "wait") else { throw timedOut }
        }
    }

    /// A notice that nobody has taken, or another round.
    func readiness(since round: UInt64) -> ChannelReadiness {
        let (notices, rounds) = (notices, rounds)
        return ChannelReadiness(membership: membership, place: place) {
            notices.ordered > 0 || rounds.ordered != round
        }
    }

    private var timedOut: IPCError {
        IPCError(
            .timedOut, "wait", membership.memory.name.description,
            advice: "nobody notified before the deadline; check that the other side lives, or allow more time")
    }
}
