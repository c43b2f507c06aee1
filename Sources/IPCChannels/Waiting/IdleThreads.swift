import CIPCShims
import IPC

/// The threads of this process that sleep for the same kind of news of a channel. Each would have to poll every 50 ms, because a
/// waker may be killed or stopped before it wakes them. But one thread can poll for all of them, so they share the polls: many
/// threads cost little more than one.
enum IdleThreads {
    /// What they wait for.
    struct News: Hashable {
        enum Kind { case messages, room, replies }

        /// The channel's key, which no other channel has.
        let channel: UInt64
        let kind: Kind
    }

    private struct Sleeper {
        let number: UInt64
        let place: WaitQueue.Sleepers
        let isReady: () -> Bool
    }

    private struct Group {
        var sleepers: [Sleeper] = []
        /// The largest number of sleepers since those that sleep now chose their maximum sleep, which depends on it.
        var spread = 0
    }

    // The conditions are called only under the lock, and are removed before the calls that own them return.
    private struct Groups: @unchecked Sendable {
        var byNews: [News: Group] = [:]
        var number: UInt64 = 0
        private var forks = ipc_forks()

        /// Clears the groups in a forked child: they belong to its parent.
        mutating func forgetParents() {
            guard forks != ipc_forks() else { return }
            forks = ipc_forks()
            byNews = [:]
        }
    }

    private static let groups = Locked(Groups())

    /// One thread's sleep.
    struct Turn {
        fileprivate let number: UInt64
        /// How long it sleeps at most, in nanoseconds.
        let maximumSleep: UInt64
    }

    /// - Parameters:
    ///   - maximumSleep: How long a single thread sleeps, in nanoseconds. The more threads there are, the longer each sleeps, for a
    ///     random time. So their polls are spread: on average a quarter of this apart, and in about one of 5000 cases more than
    ///     twice this.
    ///   - isReady: May be called by another thread until ``end(_:_:looks:)``.
    static func begin(
        _ news: News, at place: WaitQueue.Sleepers, maximumSleep: UInt64, _ isReady: @escaping () -> Bool
    ) -> Turn {
        groups.withLock { groups in
            groups.forgetParents()
            groups.number += 1
            var group = groups.byNews.removeValue(forKey: news) ?? Group()
            group.sleepers.append(Sleeper(number: groups.number, place: place, isReady: isReady))
            let count = group.sleepers.count
            group.spread = max(group.spread, count)
            groups.byNews[news] = group
            let longest = min(UInt64(count) * maximumSleep / 2, 10_000_000_000)
            return Turn(
                number: groups.number,
                maximumSleep: longest <= maximumSleep ? maximumSleep : UInt64.random(in: 1_000_000...longest))
        }
    }

    /// - Parameter looks: Whether this thread also polls for the others.
    /// - Returns: The queues to wake: there is something for one of their sleepers, or the remaining threads chose a long sleep
    ///   when there were many more of them.
    static func end(_ news: News, _ turn: Turn, looks: Bool) -> Set<WaitQueue.Sleepers> {
        groups.withLock { groups in
            guard var group = groups.byNews.removeValue(forKey: news) else { return [] }
            if let index = group.sleepers.firstIndex(where: { $0.number == turn.number }) {
                group.sleepers.swapAt(index, group.sleepers.count - 1)
                group.sleepers.removeLast()
            }
            guard !group.sleepers.isEmpty else { return [] }
            defer { groups.byNews[news] = group }
            let haveManyLeft = group.spread > 2 && group.sleepers.count < group.spread / 2
            if haveManyLeft { group.spread = group.sleepers.count }
            guard looks || haveManyLeft else { return [] }
            return Set(group.sleepers.filter { haveManyLeft || $0.isReady() }.map(\.place))
        }
    }
}
