import IPC

/// One participant of this process that has tasks or bells waiting for it. All under the lock of ``ChannelWaits``.
///
/// Thousands of tasks may wait for the calls of one client, so nothing here looks through all of them to add or to remove one.
final class Sleeper {
    /// A task that waits.
    struct TaskWait {
        let wait: Reactor.Wait
        let bell: Bell
        /// Where its news are told.
        let place: SleepingPlace
        let isReady: ChannelWaits.Check
    }

    /// A bell of the program that is to ring once.
    struct Armed {
        let bell: Bell
        let isReady: ChannelWaits.Check
    }

    let memory: ChannelMemory
    private let membership: (role: Membership.Role, slot: Int)
    private var waits: [ObjectIdentifier: TaskWait] = [:]
    private var armed: [Armed] = []
    /// The bells in use, and by how many waits: one, or a few of several event loops.
    private var uses: [(bell: Bell, count: Int)] = []
    /// Those of reactors that were used: such a bell is made once, not for each wait. One of the program goes with the program's
    /// last use of it.
    private var bells: [Bell] = []
    /// How often somebody had joined its channel when it was last looked at who takes part.
    var joins: UInt32?
    /// How many deaths were noticed, and how many of them were seen to.
    var deaths: UInt64 = 0
    var settled: UInt64 = 0

    init(_ membership: Membership) {
        memory = membership.memory
        self.membership = (membership.role, membership.slot)
    }

    var waitCount: Int { waits.count + armed.count }

    /// Whether a word can be left that reaches all who wait, and one with this bell: that of the only bell in use, or `shared`.
    func reaches(_ bell: Bell, or shared: Bell?) -> Bool {
        guard shared != nil || uses.allSatisfy({ $0.bell === bell }) else { return false }
        for used in [bell, shared] {
            guard let used, used.reactor != nil, !bells.contains(where: { $0 === used }) else { continue }
            bells.append(used)
        }
        return true
    }

    func add(_ one: TaskWait) {
        waits[ObjectIdentifier(one.wait)] = one
        count(one.bell, 1)
    }

    /// - Returns: Whether it was there.
    func remove(_ wait: Reactor.Wait) -> Bool {
        guard let one = waits.removeValue(forKey: ObjectIdentifier(wait)) else { return false }
        count(one.bell, -1)
        return true
    }

    func add(_ one: Armed) {
        armed.append(one)
        count(one.bell, 1)
    }

    /// Takes out the armed bells that are to ring now, or not at all any more.
    func takeArmed(_ isToBeTaken: (Armed) -> Bool) -> [Bell] {
        guard !armed.isEmpty else { return [] }
        let taken = armed.filter(isToBeTaken).map(\.bell)
        armed.removeAll { one in taken.contains { $0 === one.bell } }
        for bell in taken { count(bell, -1) }
        return taken
    }

    private func count(_ bell: Bell, _ change: Int) {
        guard let index = uses.firstIndex(where: { $0.bell === bell }) else {
            uses.append((bell, change))
            return
        }
        uses[index].count += change
        if uses[index].count == 0 { uses.remove(at: index) }
    }

    /// Leaves the word of the only bell in use, or, where there are several, that of the process's own thread, which rings for all of
    /// them.
    func leaveWord(_ token: UInt32, or shared: Bell?) {
        var word: UInt64 = 0
        if let first = uses.first {
            // Without another bell at hand, as many remain as before: then the word is that one's already.
            guard let bell = uses.count == 1 ? first.bell : shared else { return }
            word = bell.word(token)
        }
        // An exchange: whoever reads the word that was there before has told its news before, and our last look sees it.
        _ = memory.bell(membership.role, membership.slot).exchange(word)
    }

    /// All tasks that wait.
    var tasks: [Reactor.Wait] { waits.values.map(\.wait) }

    /// The tasks for which there is something.
    var readyTasks: [Reactor.Wait] { waits.values.filter { $0.isReady() }.map(\.wait) }

    /// The tasks that are to look, after the bell was rung. The others go on sleeping, as if they had looked and slept again: with as
    /// many calls under way as tasks, each reply would wake them all.
    func tasksAfterRing() -> [Reactor.Wait] {
        guard waits.count > 1, SleepingPlace.canFence, joins == memory.joinCount,
            (try? memory.checkPresence()) != nil
        else { return tasks }
        var places: [SleepingPlace] = []
        for one in waits.values where !one.isReady() {
            let isKnown = places.contains { unsafe $0.queue.pointer == one.place.queue.pointer }
            if !isKnown { places.append(one.place) }
        }
        // Whoever rang has taken all for woken that were counted before. Counted again, they have their last look.
        for place in places { place.announce() }
        return joins == memory.joinCount ? readyTasks : tasks
    }
}
