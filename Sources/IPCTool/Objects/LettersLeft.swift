import IPC
import IPCChannels

/// The dead letters of a queue that is removed: they stay, since what failed is mostly to be looked at. If there are none, what they would
/// be in goes with their queue.
struct LettersLeft {
    let name: String
    private let isQueues: Bool

    /// - Parameter queue: What is going to be removed, of whatever kind.
    init(of queue: String) {
        name = queue + "/dead-letters"
        // What cannot be looked at may have been a queue.
        let pattern = (try? ChannelName(queue)).flatMap { try? ChannelDescription($0, countsMessages: false).pattern }
        isQueues = pattern == nil || pattern == .workQueue
    }

    /// Once the queue is gone: nothing comes among its letters any more.
    func settle() {
        guard isQueues, let channel = try? ChannelName(name) else { return }
        do throws(IPCError) {
            guard try ChannelRoot.current.names().contains(channel) else { return }
            guard try ChannelDescription(channel, countsMessages: false).pattern == .workQueue else { return }
            let count = try AnyChannel.open(name).workQueue.browse().count
            if count == 0 { return try WorkQueue<RawBytes>.remove(name) }
            printError(
                "ipc: its \(count == 1 ? "dead letter is kept" : "\(count) dead letters are kept"); "
                    + "to remove \(count == 1 ? "it" : "them"): ipc rm \(name)"
            )
        } catch {
            guard error.code != .notFound else { return }
            printError("ipc: \(name), the queue of its dead letters, is not removed: \(error)")
        }
    }
}
