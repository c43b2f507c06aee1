import CIPCShims
import Glibc
public import IPC
public import SystemPackage

/// A channel without messages: it only signals that something has happened.
///
/// ```swift
/// var configurationChanged = try Event.openOrCreate("configuration/changed").makeParticipant()
/// configurationChanged.notify()                                   // one process
/// try configurationChanged.wait(until: .after(.seconds(5)))       // another
/// ```
///
/// Each ``Event/Participant/notify(count:)`` ends one wait, now or later: notices that no wait has taken are counted.
/// ``Event/Participant/notifyAll()`` ends all waits in progress, and no later ones. There are no locks, so the death of a
/// participant leaves none held: one that dies in a wait has either taken a notice or not.
public struct Event: Sendable {
    /// Such as `configuration/changed`.
    public var name: ChannelName { channel.name }
    private let channel: Channel

    /// Creates an event. It must not exist; one that is not kept and whose participants are all dead is as good
    /// as none.
    ///
    /// - Parameters:
    ///   - name: Such as `configuration/changed`.
    ///   - root: The folder of channels.
    ///   - options: What is asked of it.
    /// - Throws: ``/IPC/IPCError/Code/alreadyExists``; ``/IPC/IPCError/Code/invalidArgument``;
    ///   ``/IPC/IPCError/Code/permissionDenied``.
    public static func create(
        _ name: String, in root: ChannelRoot = .current, _ options: EventOptions = EventOptions()
    ) throws(IPCError) -> Event {
        try Event(name, in: root, .create(options.channel))
    }

    /// Opens an event, and creates it if there is none: for programs that may start in any order.
    ///
    /// - Throws: As `create`; ``/IPC/IPCError/Code/incompatibleOptions`` if it exists with another value of an option that is
    ///   asked for.
    public static func openOrCreate(
        _ name: String, in root: ChannelRoot = .current, _ options: EventOptions = EventOptions()
    ) throws(IPCError) -> Event {
        try Event(name, in: root, .openOrCreate(options.channel))
    }

    /// Opens an event.
    ///
    /// - Throws: ``/IPC/IPCError/Code/notFound``; ``/IPC/IPCError/Code/wrongType``; ``/IPC/IPCError/Code/permissionDenied``.
    public static func open(_ name: String, in root: ChannelRoot = .current) throws(IPCError) -> Event {
        try Event(name, in: root, .open)
    }

    /// Opens an event. Blocks the thread until it exists or the deadline passes.
    ///
    /// - Throws: ``/IPC/IPCError/Code/timedOut`` if it was not created before the deadline; ``/IPC/IPCError/Code/wrongType``;
    ///   ``/IPC/IPCError/Code/permissionDenied``.
    public static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) throws(IPCError) -> Event {
        try Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try Event(name, in: root, .open)
        }
    }

    /// Opens an event, suspended until it exists.
    ///
    /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``.
    public nonisolated(nonsending) static func open(
        _ name: String, in root: ChannelRoot = .current, until deadline: Deadline
    ) async throws(IPCError) -> Event {
        try await Channel.opening(name, in: root, until: deadline) { () throws(IPCError) in
            try Event(name, in: root, .open)
        }
    }

    private init(_ name: String, in root: ChannelRoot, _ opening: Channel.Opening) throws(IPCError) {
        channel = try Channel(name, in: root, .event, .bytes, opening)
    }

    init(_ channel: Channel) { self.channel = channel }

    /// An unnamed event on the descriptors of its files. They must stay open while it is used.
    package init(on descriptors: ChannelDescriptors) throws(IPCError) {
        channel = try Channel(on: descriptors, .event, .bytes)
    }

    /// Joins, to notify and to wait.
    public func makeParticipant(waiting: WaitStrategy = .sleeping()) throws(IPCError) -> Participant {
        let membership = try channel.join(.reader)
        membership.finishJoining()
        return Participant(membership, waiting)
    }

    /// Removes the event, even while it is in use.
    public static func remove(_ name: String, in root: ChannelRoot = .current) throws(IPCError) {
        try Channel.remove(name, in: root)
    }
}

/// What is asked of an ``Event`` when it is created or opened. What is nil is not asked for: ``ChannelOptions``.
public struct EventOptions: Hashable, Sendable {
    /// Whether the event ends with its last participant; nil for ``ChannelOptions/Lifetime/whileUsed``.
    public var lifetime: ChannelOptions.Lifetime?
    /// At most 1024; nil for 64.
    public var maximumParticipants: Int?
    /// Who may use it: every participant writes to its files. Independent of the umask. Nil for 0600.
    public var permissions: FilePermissions?

    public init(
        lifetime: ChannelOptions.Lifetime? = nil, maximumParticipants: Int? = nil, permissions: FilePermissions? = nil
    ) {
        self.lifetime = lifetime
        self.maximumParticipants = maximumParticipants
        self.permissions = permissions
    }

    fileprivate var channel: ChannelOptions {
        ChannelOptions(lifetime: lifetime, maximumReaders: maximumParticipants, permissions: permissions)
    }
}

extension Event {
    /// A participant of an ``Event``, which notifies and waits. One thread at a time may use it.
    public struct Participant: ~Copyable, @unchecked Sendable {
        // `@unchecked`: ownership limits it to one thread at a time; shared memory is accessed through atomics.
        let membership: Membership
        private let spins: Int?
        let place: WaitQueue
        private let notices: EventNotices
        private let rounds: SharedUInt64

        init(_ membership: Membership, _ waiting: WaitStrategy) {
            let memory = membership.memory
            place = memory.waitingReaders
            notices = EventNotices(memory)
            rounds = notices.rounds
            spins = waiting.spins
            self.membership = membership
        }

        /// Adds `count` notices. Each ends one wait, in progress or later. Makes a system call only if a participant sleeps.
        public func notify(count: Int = 1) {
            guard count > 0 else { return }
            notices.all.add(UInt64(count))
            if place.mayHaveWaiters { place.wake(membership.memory) }
        }

        /// Ends all waits in progress.
        public func notifyAll() {
            rounds.add(1)
            if place.mayHaveWaiters { place.wake(membership.memory) }
        }

        /// Adds notices that were made on another machine.
        func notifyCarried(count: Int) {
            guard count > 0 else { return }
            notices.carried.add(UInt64(count))
            notify(count: count)
        }

        /// Ends all waits in progress, as was asked for on another machine.
        func notifyAllCarried() {
            notices.carriedRounds.add(1)
            notifyAll()
        }

        /// Takes a notice; false if there is none.
        public func tryWait() -> Bool {
            var taken = notices.taken.published
            while taken < notices.all.published {
                let (isTaken, found) = notices.taken.exchange(taken, for: taken + 1)
                if isTaken { return true }
                taken = found
            }
            return false
        }

        /// The number of notices that no wait has taken yet.
        public var pending: Int { notices.pending }

        /// What was made on this machine so far.
        var counts: EventCounts { notices.counts }

        /// Waits for a notice and takes it, or for the next ``notifyAll()``.
        ///
        /// - Throws: ``/IPC/IPCError/Code/timedOut``.
        public func wait(until deadline: Deadline = .never) throws(IPCError) {
            let round = rounds.published
            if !tryWait() { try wait(sinceRound: round, until: deadline) }
        }

        /// The number of calls of ``notifyAll()`` so far.
        package var round: UInt64 { rounds.published }

        /// Waits for a notice and takes it, or for a round that is not the one given: for a wait that consists of several calls, and
        /// misses no ``notifyAll()`` between them.
        ///
        /// - Throws: As ``wait(until:)``.
        @inline(never)
        package func wait(sinceRound round: UInt64, until deadline: Deadline) throws(IPCError) {
            var wait = ThreadWait(spins, until: deadline)
            while !tryWait() {
                if rounds.published != round { return }
                switch wait.next() {
                case .poll, .check: continue
                case .sleep:
                    try membership.memory.checkPresence()
                    let (notices, rounds) = (notices, rounds)
                    // Sequentially consistent: a waiter registers before it sleeps, and then loads the words.
                    wait.sleep(in: place, of: membership.memory) { notices.hasPending || rounds.ordered != round }
                case .end: throw timedOut
                }
            }
        }

        /// Waits for a notice and takes it, or for the next ``notifyAll()``, suspended meanwhile.
        ///
        /// - Throws: As the blocking call; ``/IPC/IPCError/Code/cancelled``, and no notice was taken.
        @inlinable @inline(__always)
        public nonisolated(nonsending) func wait(until deadline: Deadline = .never) async throws(IPCError) {
            if let round = look() { try await wait(since: round, until: deadline) }
        }

        /// Polls for as long as a task may.
        ///
        /// - Returns: Nil if the wait is over; otherwise the round at its beginning.
        @usableFromInline
        func look() -> UInt64? {
            let round = rounds.published
            for _ in 0..<WaitStrategy.attemptsOfTask(spins) {
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

        /// The readiness of a notice, or of a new round.
        func readiness(since round: UInt64) -> ChannelReadiness {
            let (notices, rounds) = (notices, rounds)
            return ChannelReadiness(membership: membership, place: place) {
                notices.hasPending || rounds.ordered != round
            }
        }

        /// Waits until there are more notices or notifications to all than at some time, suspended meanwhile, and takes none.
        ///
        /// - Returns: What there is. Neither number is less than the one given.
        /// - Throws: As the wait for a notice.
        nonisolated(nonsending) func wait(
            after known: EventCounts, until deadline: Deadline
        ) async throws(IPCError) -> EventCounts {
            let notices = notices
            let readiness = ChannelReadiness(membership: membership, place: place) {
                notices.counts.has(moreThan: known)
            }
            while true {
                let counts = notices.counts
                if counts.has(moreThan: known) { return counts.atLeast(known) }
                guard try await readiness.wait(until: deadline, spins: spins, "wait") else { throw timedOut }
            }
        }

        private var timedOut: IPCError {
            IPCError(
                .timedOut, "wait", membership.memory.name.description,
                advice:
                    "no notification arrived before the deadline; check that the other side is running, or allow more time"
            )
        }
    }
}

extension Event.Participant: ChannelSource {
    /// The readiness of a notice, or of the next ``notifyAll()``.
    public mutating func readiness() -> ChannelReadiness { readiness(since: rounds.published) }
}
