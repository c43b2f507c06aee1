import Glibc
import IPC

/// The participants of this process that wait without a thread: their tasks, their bells, and the processes whose death
/// would leave them waiting.
///
/// A thread that sleeps looks up every 50 ms, since whoever should wake it may have died before it did. Ten thousand tasks
/// cannot; here the kernel tells when a process that takes part has ended (pidfd). Only for one of another pid namespace,
/// which has no pidfd here, a task looks up too.
final class ChannelWaits: @unchecked Sendable {
    // `@unchecked`: the lock guards all that changes.
    static let shared = ChannelWaits()

    /// What there is to know before one waits.
    struct Outlook {
        /// Somebody who takes part has died, and it was not seen to yet.
        var hasDeath = false
        /// Somebody takes part whose death nobody tells us of.
        var hasStrangers = false
    }

    /// One participant of this process.
    private struct Sleeper {
        var waits: [Reactor.Wait] = []
        var bells: [Bell] = []
        /// How often somebody had joined its channel when it was last looked at who takes part.
        var joins: UInt32?
        var outlook = Outlook()
        /// Its bell will be rung whatever happens.
        var isAboutToRing = false
    }

    private struct BellKey: Hashable {
        let reactor: ObjectIdentifier
        let root: ChannelRoot
    }

    private struct WeakBell { weak var bell: Bell? }

    private let lock = PrivateLock()
    private var sleepers: [UInt32: Sleeper] = [:]
    private var bells: [BellKey: WeakBell] = [:]
    private var processes = ProcessWatches()

    /// The bell that a reactor reads in a root.
    func bell(in root: ChannelRoot, for reactor: Reactor) throws(IPCError) -> Bell {
        let key = BellKey(reactor: ObjectIdentifier(reactor), root: root)
        if let bell = lock.withLock({ bells[key]?.bell }) { return bell }
        let new = try Bell(in: root, reactor)
        return lock.withLock {
            if let other = bells[key]?.bell { return other }  // another task was quicker
            bells = bells.filter { $0.value.bell != nil }
            bells[key] = WeakBell(bell: new)
            return new
        }
    }

    /// Gets a participant ready to be woken by a bell.
    ///
    /// - Parameter joins: The channel's count, loaded before.
    func prepare(_ membership: Membership, _ bell: Bell, joins: UInt32) throws(IPCError) -> Outlook {
        let result: Result<Outlook, IPCError> = lock.withLock {
            var sleeper = sleepers[membership.token] ?? Sleeper()
            if !sleeper.bells.contains(where: { $0 === bell }) { sleeper.bells.append(bell) }
            if sleeper.joins != joins {
                do throws(IPCError) {
                    let outlook = try processes.watch(membership)
                    sleeper.outlook.hasStrangers = outlook.hasStrangers
                    sleeper.outlook.hasDeath = sleeper.outlook.hasDeath || outlook.hasDeath
                } catch {
                    return .failure(error)
                }
                sleeper.joins = joins
            }
            sleepers[membership.token] = sleeper
            return .success(sleeper.outlook)
        }
        return try result.get()
    }

    /// What a death has left was seen to.
    func settleDeath(_ membership: Membership) {
        lock.withLock { sleepers[membership.token]?.outlook.hasDeath = false }
    }

    /// A participant leaves.
    func forget(_ token: UInt32) {
        let gone = lock.withLock { () -> Sleeper? in
            guard let sleeper = sleepers.removeValue(forKey: token) else { return nil }
            processes.forget(token)
            return sleeper
        }
        _ = gone  // its bells end outside the lock
    }

    /// - Returns: Whether there is a death that was not seen to.
    func add(_ wait: Reactor.Wait, _ token: UInt32) -> Bool {
        lock.withLock {
            sleepers[token]?.waits.append(wait)
            return sleepers[token]?.outlook.hasDeath ?? false
        }
    }

    func remove(_ wait: Reactor.Wait, _ token: UInt32) {
        lock.withLock {
            guard let index = sleepers[token]?.waits.firstIndex(where: { $0 === wait }) else { return }
            _ = sleepers[token]?.waits.remove(at: index)
        }
    }

    /// Ends all waits of a participant: they look again.
    func resume(_ token: UInt32) {
        for wait in lock.withLock({ sleepers[token]?.waits ?? [] }) { wait.resume() }
    }

    /// Rings a bell in a while, for one who has to look up.
    func ring(_ bell: Bell, _ token: UInt32, after nanoseconds: UInt64) {
        let isFirst = lock.withLock {
            defer { sleepers[token]?.isAboutToRing = true }
            return sleepers[token]?.isAboutToRing == false
        }
        guard isFirst else { return }
        Task {
            _ = try? await Reactor.park(until: Deadline(nanoseconds: MonotonicClock.now &+ nanoseconds)) { _ in true }
            lock.withLock { sleepers[token]?.isAboutToRing = false }
            bell.ring(token)
        }
    }

    func resumeAll() {
        for wait in lock.withLock({ sleepers.values.flatMap(\.waits) }) { wait.resume() }
    }

    /// On the reactor's thread, when a process has ended.
    func seeEnd(of process: pid_t) {
        let (waits, rings) = lock.withLock { () -> ([Reactor.Wait], [(Bell, UInt32)]) in
            var waits: [Reactor.Wait] = []
            var rings: [(Bell, UInt32)] = []
            for token in processes.end(process) {
                guard let sleeper = sleepers[token] else { continue }
                sleepers[token]?.outlook.hasDeath = true
                waits += sleeper.waits
                rings += sleeper.bells.filter { $0.reactor == nil }.map { ($0, token) }
            }
            return (waits, rings)
        }
        for (bell, token) in rings { bell.ring(token) }
        for wait in waits { wait.resume() }
    }
}
