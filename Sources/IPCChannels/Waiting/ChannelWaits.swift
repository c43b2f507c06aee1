import CIPCShims
import Glibc
import IPC

/// The participants of this process that wait without a thread: their tasks, their wake-up pipes, and the processes whose death
/// would leave them waiting.
///
/// A sleeping thread polls every 50 ms, because its waker may be killed or stopped before it wakes anyone. Ten thousand tasks
/// cannot do that. For them the kernel reports the end of each participating process, and one timer for the whole process polls
/// while any of them wait.
final class ChannelWaits: @unchecked Sendable {
    // `@unchecked`: the lock guards all mutable state.
    static let shared = ChannelWaits()

    /// Whether what a waiter waits for is there. Called from any thread.
    typealias Check = @Sendable () -> Bool

    /// What is known before a wait.
    struct Outlook {
        /// How many deaths of participants have been noticed so far.
        var deaths: UInt64
        /// How many of those have been recovered.
        var settled: UInt64
        /// How many participants had joined.
        var joins: UInt32
    }

    private struct PipeKey: Hashable {
        let reactor: ObjectIdentifier
        let folder: ObjectIdentifier
    }

    private struct WeakPipe { weak var pipe: WakeUpPipe? }

    /// Owned by the participant that waits, and released with it.
    private final class Registration: Sendable {
        private let token: UInt32
        private let forks = ipc_forks()

        init(token: UInt32) { self.token = token }

        // A forked child does not own it.
        deinit { if forks == ipc_forks() { ChannelWaits.shared.forget(token) } }
    }

    private let lock = PrivateLock()
    private var sleepers: [UInt32: Sleeper] = [:]
    /// The tokens of all sleepers. The timer checks a few at each tick, in turn.
    private var tokens: [UInt32] = []
    private var nextToken = 0
    private var pipes: [PipeKey: WeakPipe] = [:]
    private var processes = ProcessWatches()
    /// How many tasks and wake-up pipes wait. The timer ticks while there are any and other processes are watched, which could be
    /// stopped or call exec.
    private var waitCount = 0
    private var timer: CInt = -1
    private var isTicking = false
    /// The number of forks when this state was made: a forked child starts anew.
    private var forks = ipc_forks()
    /// In a forked child: what waited in its parent. Kept, like a reactor's.
    private var parents: [[UInt32: Sleeper]] = []

    /// How often the timer ticks, in nanoseconds.
    private static let tick: UInt64 = 50_000_000
    /// How many participants are checked at each tick. The number is fixed, so that even ten thousand idle ones cost almost
    /// nothing.
    private static let checksPerTick = 16

    // MARK: Before a wait

    /// The wake-up pipe in a root that a reactor reads.
    func pipe(in folder: RootFolder, for reactor: Reactor) throws(IPCError) -> WakeUpPipe {
        // A wake-up pipe retains its folder: while there is one, no other folder has the same identifier.
        let key = PipeKey(reactor: ObjectIdentifier(reactor), folder: ObjectIdentifier(folder))
        let known = lock.withLock {
            renewIfInherited()
            return pipes[key]?.pipe
        }
        if let known { return known }
        let new = try WakeUpPipe(in: folder, reactor) { ChannelWaits.shared.seeSignals($0) }
        return lock.withLock {
            if let other = pipes[key]?.pipe { return other }  // another task made one first
            pipes = pipes.filter { $0.value.pipe != nil }
            pipes[key] = WeakPipe(pipe: new)
            return new
        }
    }

    /// Makes sure that the deaths of participants are noticed.
    func prepare(_ membership: Membership) throws(IPCError) -> Outlook {
        try startTimer()
        let memory = membership.memory
        let result: Result<Outlook, IPCError> = lock.withLock {
            // Sequentially consistent, and before the loads of the slots: the last check of the wait sees every later join.
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
            if sleepers.updateValue(sleeper, forKey: membership.token) == nil {
                tokens.append(membership.token)
                membership.companion.withLock { if $0 == nil { $0 = Registration(token: membership.token) } }
            }
            return .success(Outlook(deaths: sleeper.deaths, settled: sleeper.settled, joins: joins))
        }
        return try result.get()
    }

    /// Records that what the first so many deaths left behind is recovered.
    func settleDeaths(_ membership: Membership, upTo deaths: UInt64) {
        lock.withLock {
            guard let sleeper = sleepers[membership.token] else { return }
            sleeper.settled = max(sleeper.settled, deaths)
        }
    }

    // MARK: During a wait

    /// Adds a waiting task and stores the word by which it is woken.
    ///
    /// - Parameter shared: The wake-up pipe of the process's own reactor thread, which wakes all waiters where several pipes are in
    ///   use.
    /// - Returns: How many deaths have been noticed so far. Nil if `shared` is needed and was not given; then nothing was added.
    func add(_ wait: Sleeper.TaskWait, or shared: WakeUpPipe?, _ token: UInt32) -> UInt64? {
        lock.withLock {
            guard let sleeper = sleepers[token], sleeper.reaches(wait.pipe, or: shared) else { return nil }
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

    /// Arms a wake-up pipe of the program: it is signalled once, when there is something. Otherwise as ``add(_:or:_:)``.
    func arm(_ pipe: WakeUpPipe, or shared: WakeUpPipe?, _ token: UInt32, _ isReady: @escaping Check) -> UInt64? {
        lock.withLock {
            guard let sleeper = sleepers[token], sleeper.reaches(pipe, or: shared) else { return nil }
            let before = sleeper.takeArmed { $0.pipe === pipe }
            sleeper.add(Sleeper.Armed(pipe: pipe, isReady: isReady))
            count(1 - before.count)
            sleeper.leaveWord(token, or: shared)
            return sleeper.deaths
        }
    }

    /// Disarms a wake-up pipe of the program: it was signalled and its user is checking, or its user is done with it. It is not
    /// signalled again until it is armed again.
    ///
    /// - Parameter tokens: The participants it was signalled for; nil if there may have been more.
    func disarm(_ pipe: WakeUpPipe, _ tokens: [UInt32]?) {
        lock.withLock {
            for token in tokens.map({ Array(Set($0)) }) ?? Array(sleepers.keys) {
                _ = takeArmed(token) { $0.pipe === pipe }
            }
        }
    }

    /// Called when a participant leaves.
    func forget(_ token: UInt32) {
        let gone = lock.withLock { () -> Sleeper? in
            guard let sleeper = sleepers.removeValue(forKey: token) else { return nil }
            processes.forget(token)
            count(-sleeper.waitCount)
            return sleeper
        }
        _ = gone  // its wake-up pipes are closed outside the lock
    }

    // MARK: Wake-ups

    /// Called when a wake-up pipe was signalled for these participants. Nil means that it may have been for any, so all are
    /// checked. Those tasks that have something to take are resumed.
    func seeSignals(_ tokens: [UInt32]?) {
        let (waits, signals) = lock.withLock { tasksAndPipes(of: tokens.map { Set($0) }) { $0.tasksAfterSignal() } }
        wake(waits, signals)
    }

    /// Ends all waits of these participants, so that they check again.
    func resume(_ tokens: [UInt32]) {
        let (waits, signals) = lock.withLock { tasksAndPipes(of: Set(tokens)) { $0.tasks } }
        wake(waits, signals)
    }

    /// Requires the lock.
    ///
    /// - Parameter tokens: Nil for all.
    private func tasksAndPipes(
        of tokens: Set<UInt32>?, _ tasks: (Sleeper) -> [Reactor.Wait]
    ) -> ([Reactor.Wait], [(WakeUpPipe, UInt32)]) {
        var waits: [Reactor.Wait] = []
        var signals: [(WakeUpPipe, UInt32)] = []
        for token in tokens ?? Set(sleepers.keys) {
            guard let sleeper = sleepers[token] else { continue }
            waits += tasks(sleeper)
            signals += takeArmed(token) { _ in true }
        }
        return (waits, signals)
    }

    /// Takes the armed wake-up pipes of a participant that are to be signalled now. Each is signalled once. Requires the lock.
    private func takeArmed(_ token: UInt32, _ isToSignal: (Sleeper.Armed) -> Bool) -> [(WakeUpPipe, UInt32)] {
        guard let sleeper = sleepers[token] else { return [] }
        let taken = sleeper.takeArmed(isToSignal)
        guard !taken.isEmpty else { return [] }
        count(-taken.count)
        sleeper.leaveWord(token, or: nil)
        return taken.map { ($0, token) }
    }

    private func wake(_ waits: [Reactor.Wait], _ signals: [(WakeUpPipe, UInt32)]) {
        for (pipe, token) in signals { pipe.signal(token) }
        for wait in waits { wait.resume() }
    }

    // MARK: Deaths, and other events without a wake-up

    /// Called on the reactor's thread when a process has ended.
    func seeEnd(of process: pid_t) {
        let (waits, signals) = lock.withLock { seeDeaths(among: processes.end(process)) }
        wake(waits, signals)
    }

    /// Requires the lock. Deaths are counted, not flagged, so that one that occurs during a recovery is recovered as well.
    private func seeDeaths(among tokens: [UInt32]) -> ([Reactor.Wait], [(WakeUpPipe, UInt32)]) {
        for token in tokens { sleepers[token]?.deaths &+= 1 }
        return tasksAndPipes(of: Set(tokens)) { $0.tasks }
    }

    /// Called on the reactor's thread at each tick: a waker may have been stopped before it woke a sleeper.
    private func checkLiveness() {
        let (waits, signals) = lock.withLock { () -> ([Reactor.Wait], [(WakeUpPipe, UInt32)]) in
            var (waits, signals) = seeDeaths(among: processes.checkLiveness())
            for _ in 0..<min(Self.checksPerTick, tokens.count) {
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
                signals += takeArmed(token) { $0.isReady() }
            }
            setTimer()
            return (waits, signals)
        }
        wake(waits, signals)
    }

    /// Signals a wake-up pipe at a given time, for a participant that has to check again then. If `isNeeded` is given, signals only
    /// if it returns true at that time.
    func signal(_ pipe: WakeUpPipe, _ token: UInt32, at time: Deadline, if isNeeded: Check? = nil) {
        Task {
            _ = try? await Reactor.park(until: time) { _ in true }
            if isNeeded?() ?? true { pipe.signal(token) }
        }
    }

    /// Discards the parent's state in a forked child. The timer is shared with the parent: setting it here would set it there.
    /// Requires the lock.
    private func renewIfInherited() {
        guard forks != ipc_forks() else { return }
        forks = ipc_forks()
        if timer >= 0 { close(timer) }
        (timer, isTicking, waitCount, nextToken) = (-1, false, 0, 0)
        parents.append(sleepers)
        (sleepers, tokens, pipes) = ([:], [], [:])
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
                checkLiveness()
            }
        } catch {
            lock.withLock { timer = -1 }
            close(new)
            throw error
        }
    }

    /// Requires the lock.
    private func count(_ change: Int) {
        waitCount += change
        setTimer()
    }

    /// Requires the lock.
    private func setTimer() {
        let isNeeded = waitCount > 0 && !processes.isEmpty
        guard timer >= 0, isNeeded != isTicking else { return }
        isTicking = isNeeded
        _ = ipc_timer_set(timer, isNeeded ? Self.tick : 0)
    }
}
