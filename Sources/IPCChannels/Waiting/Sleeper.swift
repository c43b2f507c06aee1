import IPC

/// A participant of this process that tasks or wake-up pipes wait for. Requires the lock of ``ChannelWaits``.
///
/// Thousands of tasks may wait for the calls of one client, so adding or removing a task does not scan all of them.
final class Sleeper {
    /// A task that waits.
    struct TaskWait {
        let wait: Reactor.Wait
        let pipe: WakeUpPipe
        /// The wait queue in which it is counted.
        let place: WaitQueue
        let isReady: ChannelWaits.Check
    }

    /// A wake-up pipe of the program that is to be signalled once.
    struct Armed {
        let pipe: WakeUpPipe
        let isReady: ChannelWaits.Check
    }

    let memory: ChannelMemory
    private let membership: (role: Membership.Role, slot: Int)
    private var waits: [ObjectIdentifier: TaskWait] = [:]
    private var armed: [Armed] = []
    /// The wake-up pipes in use and how many waits use each: one pipe, or a few if there are several event loops.
    private var uses: [(pipe: WakeUpPipe, count: Int)] = []
    /// The reactors' wake-up pipes that were used, retained so that such a pipe is made once and not for each wait. A pipe of the
    /// program ends with the program's last reference to it.
    private var pipes: [WakeUpPipe] = []
    /// The channel's join count when its participants were last watched.
    var joins: UInt32?
    /// How many deaths were noticed, and how many of them were recovered.
    var deaths: UInt64 = 0
    var settled: UInt64 = 0

    init(_ membership: Membership) {
        memory = membership.memory
        self.membership = (membership.role, membership.slot)
    }

    var waitCount: Int { waits.count + armed.count }

    /// Whether a single word can reach all waits, including a new one on this wake-up pipe: it names the only pipe in use, or
    /// `shared`.
    func reaches(_ pipe: WakeUpPipe, or shared: WakeUpPipe?) -> Bool {
        guard shared != nil || uses.allSatisfy({ $0.pipe === pipe }) else { return false }
        for used in [pipe, shared] {
            guard let used, used.reactor != nil, !pipes.contains(where: { $0 === used }) else { continue }
            pipes.append(used)
        }
        return true
    }

    func add(_ one: TaskWait) {
        waits[ObjectIdentifier(one.wait)] = one
        count(one.pipe, 1)
    }

    /// - Returns: Whether it was there.
    func remove(_ wait: Reactor.Wait) -> Bool {
        guard let one = waits.removeValue(forKey: ObjectIdentifier(wait)) else { return false }
        count(one.pipe, -1)
        return true
    }

    func add(_ one: Armed) {
        armed.append(one)
        count(one.pipe, 1)
    }

    /// Takes out the armed wake-up pipes that are to be signalled now, or are no longer to be signalled.
    func takeArmed(_ isToBeTaken: (Armed) -> Bool) -> [WakeUpPipe] {
        guard !armed.isEmpty else { return [] }
        let taken = armed.filter(isToBeTaken).map(\.pipe)
        armed.removeAll { one in taken.contains { $0 === one.pipe } }
        for pipe in taken { count(pipe, -1) }
        return taken
    }

    private func count(_ pipe: WakeUpPipe, _ change: Int) {
        guard let index = uses.firstIndex(where: { $0.pipe === pipe }) else {
            uses.append((pipe, change))
            return
        }
        uses[index].count += change
        if uses[index].count == 0 { uses.remove(at: index) }
    }

    /// Stores the word of the only wake-up pipe in use. Where there are several, stores that of the process's own reactor thread,
    /// which signals for all of them.
    func leaveWord(_ token: UInt32, or shared: WakeUpPipe?) {
        var word: UInt64 = 0
        if let first = uses.first {
            // Without `shared`, several are still in use after a removal, and the word is that of `shared` already.
            guard let pipe = uses.count == 1 ? first.pipe : shared else { return }
            word = pipe.word(token)
        }
        // An exchange: a waker that reads the old word has published its news before, and this sleeper's last check sees it.
        _ = memory.wakeUpWord(membership.role, membership.slot).exchange(word)
    }

    /// All tasks that wait.
    var tasks: [Reactor.Wait] { waits.values.map(\.wait) }

    /// The tasks that have something to take.
    var readyTasks: [Reactor.Wait] { waits.values.filter { $0.isReady() }.map(\.wait) }

    /// The tasks to resume after the wake-up pipe was signalled. The others stay suspended, as if they had checked and slept again.
    /// Otherwise, with as many calls under way as tasks, each reply would wake them all.
    func tasksAfterSignal() -> [Reactor.Wait] {
        guard waits.count > 1, WaitQueue.canFence, joins == memory.joinCount,
            (try? memory.checkPresence()) != nil
        else { return tasks }
        var places: [WaitQueue] = []
        for one in waits.values where !one.isReady() {
            let isKnown = places.contains { unsafe $0.queue.pointer == one.place.queue.pointer }
            if !isKnown { places.append(one.place) }
        }
        // The waker treated all sleepers counted before as woken. Count them again, and then do their last check.
        for place in places { place.announce() }
        return joins == memory.joinCount ? readyTasks : tasks
    }
}
