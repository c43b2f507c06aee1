import CIPCShims
public import IPC

/// What a participant of a channel waits for at this moment: a message, a job, a call, a reply, a notice, or room.
///
/// It is valid for the participant's position when it was taken: take a new one after each receive.
public struct ChannelReadiness {
    private let memory: ChannelMemory
    /// Nil for an observer, which nobody wakes.
    private let membership: Membership?
    private let place: WaitQueue
    /// When to check again, even without a wake-up.
    private let end: Deadline
    let check: ChannelWaits.Check

    init(
        membership: Membership, place: WaitQueue, end: Deadline = .never, check: @escaping ChannelWaits.Check
    ) {
        self.init(membership.memory, membership, place: place, end: end, check: check)
    }

    init(
        _ memory: ChannelMemory, _ membership: Membership?, place: WaitQueue, end: Deadline = .never,
        check: @escaping ChannelWaits.Check
    ) {
        self.end = end
        self.memory = memory
        self.membership = membership
        self.place = place
        self.check = check
    }

    /// Whether there is something, so that a call that does not wait would probably succeed.
    public var isReady: Bool { check() }

    /// Waits until there is something. Blocks the thread.
    ///
    /// - Parameters:
    ///   - wait: Of all the waits of one call.
    ///   - limit: When to check again at the latest, in nanoseconds from now; nil for no limit.
    /// - Returns: False if the deadline passed first.
    func block(_ wait: inout ThreadWait, atMost limit: UInt64?) throws(IPCError) -> Bool {
        let latest = min(end, limit.map { Deadline(nanoseconds: MonotonicClock.now &+ $0) } ?? .never)
        while !check() {
            switch wait.next() {
            case .poll: continue
            case .check: if memory.isDeathCheckDue() { try memory.recoverDeadParticipants() }
            case .sleep:
                if latest.hasPassed { return true }
                try memory.checkPresence()
                try memory.recoverDeadParticipantsInTurn()
                if check() { return true }
                wait.sleep(in: place, of: memory, until: latest, unless: check)
            case .end: return false
            }
        }
        return true
    }

    /// Waits until there is something, with the task suspended.
    ///
    /// - Parameter spins: Nil to poll until the deadline, yielding to other tasks from time to time. Any other number has no effect
    ///   here: other tasks wait for the thread.
    /// - Returns: False if the deadline passed first.
    nonisolated(nonsending) func wait(
        until deadline: Deadline, spins: Int? = 1, _ operation: String
    ) async throws(IPCError) -> Bool {
        if check() {
            // The caller has found nothing to take. Either this came since, or others are faster each time, or a peer stored
            // invalid data. In the last two cases the wait must still end.
            if Task.isCancelled { throw .cancelled(operation, memory.name.description) }
            return !deadline.hasPassed
        }
        if spins == nil { return try await poll(until: deadline, operation) }
        guard let membership else { return try await doze(until: deadline, operation) }
        let isReady: Bool
        do throws(IPCError) {
            isReady = try await membership.wait(in: place, until: min(deadline, end), operation, unless: check)
        } catch {
            // A guest that may not write to the root has no wake-up pipe there.
            guard memory.isGuest, error.code == .permissionDenied else { throw error }
            return try await doze(until: deadline, operation)
        }
        return isReady || !deadline.hasPassed
    }

    private nonisolated(nonsending) func poll(
        until deadline: Deadline, _ operation: String
    ) async throws(IPCError) -> Bool {
        var count = 0
        while !check() {
            count += 1
            ipc_pause()
            guard count % 1024 == 0 else { continue }
            if deadline.hasPassed { return false }
            if Task.isCancelled { throw .cancelled(operation, memory.name.description) }
            if memory.isDeathCheckDue() {
                if membership == nil || memory.isGuest {
                    try memory.checkObserved(unless: check)
                } else {
                    try memory.recoverDeadParticipants()
                }
            }
            await Task.yield()
        }
        return true
    }

    /// Waits without a wake-up, for an observer: polls again and again and blocks no thread in between.
    private nonisolated(nonsending) func doze(
        until deadline: Deadline, _ operation: String
    ) async throws(IPCError) -> Bool {
        var pause = ObserverPause()
        while !check() {
            if deadline.hasPassed { return false }
            try memory.checkObserved(unless: check)
            let end = Deadline(nanoseconds: min(deadline.nanoseconds, MonotonicClock.now &+ pause.take()))
            if case .cancelled = try await Reactor.park(until: end, { _ in true }) {
                throw .cancelled(operation, memory.name.description)
            }
        }
        return true
    }

    /// Requests that `descriptor` become readable once, when there is something.
    ///
    /// - Returns: False if there is something already. Then the descriptor is unchanged; take what is there first.
    /// - Throws: ``/IPC/IPCError/Code/invalidArgument`` if the descriptor belongs to another root;
    ///   ``/IPC/IPCError/Code/unsupported`` for an observer.
    public func arm(_ descriptor: ReadinessDescriptor) throws(IPCError) -> Bool {
        guard let membership else {
            throw IPCError(
                .unsupported, "arm", memory.name.description,
                advice:
                    "an observer is not registered, so no participant signals for it; use the observer's own calls to wait"
            )
        }
        guard try descriptor.pipe.folder === memory.wakeUpFolder else {
            throw IPCError(
                .invalidArgument, "arm", memory.name.description,
                advice:
                    "the descriptor belongs to the root \(descriptor.pipe.folder.path), but the channel does not; make one in the channel's root"
            )
        }
        guard try membership.arm(descriptor.pipe, in: place, unless: check) else { return false }
        if end != .never { ChannelWaits.shared.signal(descriptor.pipe, membership.token, at: end, if: check) }
        return true
    }
}

/// A participant that can be waited for by ``WaitSet`` and by foreign event loops.
public protocol ChannelSource: ~Copyable {
    /// What it waits for at this moment.
    mutating func readiness() -> ChannelReadiness
}
