import CIPCShims
public import IPC
public import SystemPackage

/// The readiness of channels as a plain descriptor, for an event loop that is not ours: SwiftNIO, Dispatch, libuv, `poll`.
///
/// ```swift
/// let bell = try ChannelBell()
/// var quotes = try Topic<UInt64>.create("market/quotes").subscribe()
/// func whenReadable() throws {      // called by the loop when `bell.descriptor` is readable, and once at first
///     bell.clear()
///     repeat {
///         while let quote = try quotes.tryReceive() { print(quote) }
///     } while try !quotes.readiness().arm(bell)
/// }
/// ```
///
/// One bell serves any number of channels of its root. It is a FIFO in the root, which goes with the last reference to the bell;
/// then nothing rings it any more. Safe from any thread.
public final class ChannelBell: Sendable {
    let bell: Bell

    /// Makes a bell.
    ///
    /// - Parameter root: Where the channels are.
    public init(in root: ChannelRoot = .current) throws(IPCError) {
        bell = try root.withLock { (folder) throws(IPCError) in try Bell(lockedIn: folder, nil) }
    }

    deinit {
        if !bell.isInherited { ChannelWaits.shared.disarm(bell, nil) }
    }

    /// Readable once a participant that was armed has something to do. Lent: not to be closed, nor read by others if
    /// ``clear()`` is used.
    public var descriptor: FileDescriptor { bell.descriptor }

    /// Takes what made it readable.
    public func clear() {
        guard !bell.isInherited else { return }
        ChannelWaits.shared.disarm(bell, bell.takeRings())
    }
}

/// What a participant of a channel waits for at this moment: a message, a job, a call, a reply, a notice, room.
///
/// It is taken anew after each receive: it is about the place where the participant was.
public struct ChannelReadiness {
    private let memory: ChannelMemory
    /// Nil for an observer, whom nobody wakes.
    private let membership: Membership?
    private let place: SleepingPlace
    /// When to look again, whoever tells of it or not.
    private let end: Deadline
    let check: ChannelWaits.Check

    init(
        membership: Membership, place: SleepingPlace, end: Deadline = .never, check: @escaping ChannelWaits.Check
    ) {
        self.init(membership.memory, membership, place: place, end: end, check: check)
    }

    init(
        _ memory: ChannelMemory, _ membership: Membership?, place: SleepingPlace, end: Deadline = .never,
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

    /// Waits until there is something, suspended meanwhile.
    ///
    /// - Parameter spins: Nil to look all the time instead, giving way to other tasks now and then. How often is not asked:
    ///   others wait for the thread.
    /// - Returns: False if the deadline passed first.
    nonisolated(nonsending) func wait(
        until deadline: Deadline, spins: Int? = 1, _ operation: String
    ) async throws(IPCError) -> Bool {
        if check() {
            // Whoever waits has found nothing to take: this came since, or others are quicker each time, or a peer's rubbish says so.
            if Task.isCancelled { throw .cancelled(operation, memory.name.description) }
            return !deadline.hasPassed
        }
        if spins == nil { return try await poll(until: deadline, operation) }
        guard let membership else { return try await doze(until: deadline, operation) }
        let isReady: Bool
        do throws(IPCError) {
            isReady = try await membership.wait(in: place, until: min(deadline, end), operation, unless: check)
        } catch {
            // A guest that may not write to the root has no bell there.
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
            if memory.isLookDue() {
                if membership == nil || memory.isGuest {
                    try memory.checkObserved(unless: check)
                } else {
                    try memory.lookAfterTheDead()
                }
            }
            await Task.yield()
        }
        return true
    }

    /// An observer's wait: it looks again and again, without a thread in between.
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

    /// Asks to ring `bell` once, when there is something.
    ///
    /// - Returns: False if there is something already, and the bell will not ring: take it first.
    /// - Throws: ``IPC/IPCError/Code/invalidArgument`` if the bell is of another root.
    public func arm(_ bell: ChannelBell) throws(IPCError) -> Bool {
        guard let membership else {
            throw IPCError(
                .unsupported, "arm", memory.name.description,
                advice: "nobody knows of an observer, and so nobody rings for it; wait by a call of its own")
        }
        guard try bell.bell.folder === memory.bellFolder else {
            throw IPCError(
                .invalidArgument, "arm", memory.name.description,
                advice:
                    "the bell is in \(bell.bell.folder.path), and the channel is not; make one in the channel's root")
        }
        guard try membership.arm(bell.bell, in: place, unless: check) else { return false }
        if end != .never { ChannelWaits.shared.ring(bell.bell, membership.token, at: end, if: check) }
        return true
    }
}

/// A participant that waits for something: for ``WaitSet``, and for event loops that are not ours.
public protocol ChannelSource: ~Copyable {
    /// What it waits for at this moment.
    mutating func readiness() -> ChannelReadiness
}

extension Subscription: ChannelSource {
    public mutating func readiness() -> ChannelReadiness { reader.readiness() }
}

extension LatestGetter: ChannelSource {
    public mutating func readiness() -> ChannelReadiness { subscription.readiness() }
}

extension Worker: ChannelSource {
    public mutating func readiness() -> ChannelReadiness { taker.readiness() }
}

extension Server: ChannelSource {
    public mutating func readiness() -> ChannelReadiness { taker.readiness() }
}

extension EventParticipant: ChannelSource {
    /// A notice that nobody has taken, or the next ``notifyAll()``.
    public mutating func readiness() -> ChannelReadiness {
        readiness(since: rounds.published)
    }
}

extension Publisher {
    /// Room for a message of so many bytes.
    public mutating func readiness(forRoom byteCount: Int) -> ChannelReadiness { writer.readiness(forRoom: byteCount) }
}
