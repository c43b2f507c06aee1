/// How a call waits for another process.
public enum WaitStrategy: Hashable, Sendable {
    /// Poll all the time: the lowest latency, at the cost of one core per waiter. A task yields to other tasks of its thread from
    /// time to time.
    case polling
    /// Poll about `spins` times, in batches of 64, then sleep until woken; with 0, sleep at once. A task polls only a few times,
    /// because other tasks wait for its thread.
    case sleeping(spins: Int = 2000)

    var spins: Int? {
        switch self {
        case .polling: nil
        case .sleeping(let spins): max(spins, 0)
        }
    }

    /// How many times a task polls before others get its thread: for about a microsecond, or for about fifty if it is to poll.
    ///
    /// - Parameter spins: Nil to poll until the deadline.
    static func attemptsOfTask(_ spins: Int?) -> Int { spins.map { $0 == 0 ? 0 : 64 } ?? 2048 }
}
