import CIPCShims
import Glibc
import IPC

/// The participants of this process that wait without a thread: their tasks, their bells, and the processes whose death
/// would leave them waiting.
///
/// A thread that sleeps looks up every 50 ms, since whoever should wake it may have been killed or stopped before it did. Ten
/// thousand tasks cannot; here the kernel tells when a process that takes part has ended, and one timer for the whole process
/// looks up for all of them while there are any.
final class ChannelWaits: @unchecked Sendable {
    // `@unchecked`: the lock guards all that changes.
    static let shared = ChannelWaits()

    /// What somebody waits for; asked from any thread.
    typealias Check = @Sendable () -> Bool

    /// What there is to know before one waits.
    struct Outlook {
        /// How many deaths among those who take part were noticed until now.
        var deaths: UInt64
        /// How many of those were seen to.
        var settled: UInt64
        /// How many had joined.
        var joins: UInt32
    }

    private struct BellKey: Hashable {
        let reactor: ObjectIdentifier
        let folder: ObjectIdentifier
    }

    private struct WeakBell { weak var bell: Bell? }

    private let lock = PrivateLock()
    private var sleepers: [UInt32: Sleeper] = [:]
    /// Their tokens, of which the timer looks at a few each time, in turn.
    private var tokens: [UInt32] = []
    private var nextToken = 0
    private var bells: [BellKey: WeakBell] = [:]
    private var processes = ProcessWatches()
    /// How many tasks and bells wait. The timer ticks while there are any, and other processes that could be stopped or exec.
    private var waitCount = 0
    private var timer: CInt = -1
    private var isTicking = false
    /// In which process all that is.
    private var forks = ipc_forks()
    /// In a child of fork: what waited in its parent. Kept, as a reactor's.
    private var parents: [[UInt32: Sleeper]] = []

    /// How often the timer ticks, in nanoseconds.
    private static let tick: UInt64 = 50_000_000
    /// At how many participants it looks each time: with ten thousand, idle ones still cost nothing.
    private static let looksPerTick = 16

    // MARK: Before a wait

    /// The bell that a reactor reads in a root.
    func bell(in folder: RootFolder, for reactor: Reactor) throws(IPCError) -> Bell {
        // A bell keeps its folder: as long as there is one, no other folder has the identifier.
        let key = BellKey(reactor: ObjectIdentifier(reactor), folder: ObjectIdentifier(folder))
        let known = lock.withLock {
            renewIfInherited()
            return bells[key]?.bell
        }
        if let known { return known }
        let new = try Bell(in: folder, reactor)
        return lock.withLock {
            if let other = bells[key]?.bell { return other }  // another task was quicker
            bells = bells.filter { $0.value.bell != nil }
            bells[key] = WeakBell(bell: new)
            return new
        }
    }

    /// Sees to it that deaths among those who take part are noticed.
    func prepare(_ membership: Membership) throws(IPCError) -> Outlook {
        try startTimer()
        let memory = membership.memory
        let result: Result<Outlook, IPCError> = lock.withLock {
            // Sequentially consistent, before the looks at the slots: whoever joins later is seen by the last look of the wait.
            let joins = memory.joinCount
            let sleeper = sleepers[membership.token] ?? Sleeper(membership)
            if sleeper.joins != joins {
                do throws(IPCError) {
                    if try processes.watch(membership) { sleeper.deaths &+= 1 }
                } catch {
                    return .failure(error)
                }
                sleeper.joins = joins
                setTimer()
            }
            if sleepers.updateValue(sleeper, forKey: membership.token) == nil { tokens.append(membership.token) }
            return .success(Outlook(deaths: sleeper.deaths, settled: sleeper.settled, joins: joins))
        }
        return try result.get()
    }

    /// What the first so many deaths have left was seen to.
    func settleDeaths(_ membership: Membership, upTo deaths: UInt64) {
        lock.withLock {
            guard let sleeper = sleepers[membership.token] else { return }
            sleeper.settled = max(sleeper.settled, deaths)
        }
    }

    // MARK: During a wait

    /// Adds a task that waits, and leaves the word by which it is woken.
    ///
    /// - Parameter shared: The bell of the process's own thread, which rings for all where several are in use.
    /// - Returns: How many deaths were noticed until now; nil, and nothing was added, if `shared` is needed and was not given.
    func add(_ wait: Sleeper.TaskWait, or shared: Bell?, _ token: UInt32) -> UInt64? {
        lock.withLock {
            guard let sleeper = sleepers[token], sleeper.reaches(wait.bell, or: shared) else { return nil }
            sleeper.add(wait)
            count(1)
            sleeper.leaveWord(token, or: shared)
            return sleeper.deaths
        }
    }

    func remove(_ wait: Reactor.Wait, _ token: UInt32) {
        lock.withLock {
            guard let sleeper = sleepers[token], sleeper.remove(wait) else { return }
            count(-1)
            sleeper.leaveWord(token, or: nil)
        }
    }

    /// Has a bell of the program ring once when there is something; otherwise as ``add(_:or:_:)``.
    func arm(_ bell: Bell, or shared: Bell?, _ token: UInt32, _ isReady: @escaping Check) -> UInt64? {
        lock.withLock {
            guard let sleeper = sleepers[token], sleeper.reaches(bell, or: shared) else { return nil }
            let before = sleeper.takeArmed { $0.bell === bell }
            sleeper.add(Sleeper.Armed(bell: bell, isReady: isReady))
            count(1 - before.count)
            sleeper.leaveWord(token, or: shared)
            return sleeper.deaths
        }
    }

    /// A bell of the program was rung, and its user is looking, or has no use for it any more: nothing more is to ring it until it is
    /// armed again.
    ///
    /// - Parameter tokens: For whom it was rung; nil if that may have been more.
    func disarm(_ bell: Bell, _ tokens: [UInt32]?) {
        lock.withLock {
            for token in tokens.map({ Array(Set($0)) }) ?? Array(sleepers.keys) {
                _ = takeArmed(token) { $0.bell === bell }
            }
        }
    }

    /// A participant leaves.
    func forget(_ token: UInt32) {
        let gone = lock.withLock { () -> Sleeper? in
            guard let sleeper = sleepers.removeValue(forKey: token) else { return nil }
            processes.forget(token)
            count(-sleeper.waitCount)
            return sleeper
        }
        _ = gone  // its bells end outside the lock
    }

    // MARK: Wake-ups

    /// A bell was rung for these participants, or for all of its own if it is not known for whom: those look for whom there is something.
    func seeRings(_ tokens: [UInt32]?) {
        let (waits, rings) = lock.withLock { tasksAndBells(of: tokens.map { Set($0) }) { $0.tasksAfterRing() } }
        wake(waits, rings)
    }

    /// Ends all waits of these participants: they look again.
    func resume(_ tokens: [UInt32]) {
        let (waits, rings) = lock.withLock { tasksAndBells(of: Set(tokens)) { $0.tasks } }
        wake(waits, rings)
    }

    /// Under the lock.
    ///
    /// - Parameter tokens: Nil for all.
    private func tasksAndBells(
        of tokens: Set<UInt32>?, _ tasks: (Sleeper) -> [Reactor.Wait]
    ) -> ([Reactor.Wait], [(Bell, UInt32)]) {
        var waits: [Reactor.Wait] = []
        var rings: [(Bell, UInt32)] = []
        for token in tokens ?? Set(sleepers.keys) {
            guard let sleeper = sleepers[token] else { continue }
            waits += tasks(sleeper)
            rings += takeArmed(token) { _ in true }
        }
        return (waits, rings)
    }

    /// Under the lock: the bells of a participant that are to ring now. Each rings once.
    private func takeArmed(_ token: UInt32, _ isToRing: (Sleeper.Armed) -> Bool) -> [(Bell, UInt32)] {
        guard let sleeper = sleepers[token] else { return [] }
        let taken = sleeper.takeArmed(isToRing)
        guard !taken.isEmpty else { return [] }
        count(-taken.count)
        sleeper.leaveWord(token, or: nil)
        return taken.map { ($0, token) }
    }

    private func wake(_ waits: [Reactor.Wait], _ rings: [(Bell, UInt32)]) {
        for (bell, token) in rings { bell.ring(token) }
        for wait in waits { wait.resume() }
    }

    // MARK: Deaths, and whatever else nobody tells of

    /// On the reactor's thread, when a process has ended.
    func seeEnd(of process: pid_t) {
        let (waits, rings) = lock.withLock { seeDeaths(among: processes.end(process)) }
        wake(waits, rings)
    }

    /// Under the lock: counted, not flagged, so that one which comes while another is seen to is seen to as well.
    private func seeDeaths(among tokens: [UInt32]) -> ([Reactor.Wait], [(Bell, UInt32)]) {
        for token in tokens { sleepers[token]?.deaths &+= 1 }
        return tasksAndBells(of: Set(tokens)) { $0.tasks }
    }

    /// On the reactor's thread, at each tick: whoever should have woken us may have been stopped before it did.
    private func lookAround() {
        let (waits, rings) = lock.withLock { () -> ([Reactor.Wait], [(Bell, UInt32)]) in
            var (waits, rings) = seeDeaths(among: processes.lookAround())
            for _ in 0..<min(Self.looksPerTick, tokens.count) {
                if nextToken >= tokens.count { nextToken = 0 }
                let token = tokens[nextToken]
                guard let sleeper = sleepers[token] else {
                    // It has left.
                    tokens.swapAt(nextToken, tokens.count - 1)
                    tokens.removeLast()
                    continue
                }
                nextToken += 1
                waits += sleeper.readyTasks
                rings += takeArmed(token) { $0.isReady() }
            }
            setTimer()
            return (waits, rings)
        }
        wake(waits, rings)
    }

    /// Rings a bell at a time, for one who has to look again then, if `isNeeded` says so at that time.
    func ring(_ bell: Bell, _ token: UInt32, at time: Deadline, if isNeeded: Check? = nil) {
        Task {
            _ = try? await Reactor.park(until: time) { _ in true }
            if isNeeded?() ?? true { bell.ring(token) }
        }
    }

    /// Under the lock: in a child of fork, all of it is the parent's: whoever set the timer here would set it there.
    private func renewIfInherited() {
        guard forks != ipc_forks() else { return }
        forks = ipc_forks()
        if timer >= 0 { close(timer) }
        (timer, isTicking, waitCount, nextToken) = (-1, false, 0, 0)
        parents.append(sleepers)
        (sleepers, tokens, bells) = ([:], [], [:])
        processes = ProcessWatches()
    }

    private func startTimer() throws(IPCError) {
        let isStarted = lock.withLock {
            renewIfInherited()
            return timer >= 0
        }
        guard !isStarted else { return }
        let new = try systemCall { ipc_timer_create() }.orThrow("timerfd_create", "asynchronous waits")
        let isOurs = lock.withLock {
            guard timer < 0 else { return false }
            timer = new
            return true
        }
        guard isOurs else {
            close(new)
            return
        }
        do throws(IPCError) {
            try Reactor.shared.watch(new) { [self] in
                var ticks: UInt64 = 0
                _ = unsafe read(new, &ticks, 8)
                lookAround()
            }
        } catch {
            lock.withLock { timer = -1 }
            close(new)
            throw error
        }
    }

    /// Under the lock.
    private func count(_ change: Int) {
        waitCount += change
        setTimer()
    }

    /// Under the lock.
    private func setTimer() {
        let isNeeded = waitCount > 0 && !processes.isEmpty
        guard timer >= 0, isNeeded != isTicking else { return }
        isTicking = isNeeded
        _ = ipc_timer_set(timer, isNeeded ? Self.tick : 0)
    }
}
