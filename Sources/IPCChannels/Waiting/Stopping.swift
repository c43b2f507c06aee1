import IPC
import Synchronization

/// Asks loops that take work to take no more, whatever they are doing.
final class Stopping: Sendable {
    private let flag = Atomic(false)
    private let lock = PrivateLock()
    nonisolated(unsafe) private var tokens: [UInt32] = []

    var isAsked: Bool { flag.load(ordering: .acquiring) }

    /// Safe from any thread.
    func stop() {
        flag.store(true, ordering: .sequentiallyConsistent)
        ChannelWaits.shared.resume(lock.withLock { unsafe tokens })
    }

    /// Adds a participant whose waits end when this is stopped.
    func add(_ membership: Membership) { lock.withLock { unsafe tokens.append(membership.token) } }
}

/// Runs each item that a participant takes in a task of its own, at most `limit` at a time.
///
/// - Parameters:
///   - take: Takes the next item, suspended until there is one; nil to end.
///   - body: Finishes an item, even if its task was cancelled before it began. If it throws, the loop ends.
/// - Throws: What `take` or `body` throws, except a cancellation, once everything that was taken is finished.
nonisolated(nonsending) func runConcurrently<Item: Sendable>(
    _ limit: Int, taking take: nonisolated(nonsending) () async throws(IPCError) -> Item?,
    _ body: @escaping @Sendable (Item) async throws(IPCError) -> Void
) async throws(IPCError) {
    let permits = Permits(max(limit, 1))
    await withDiscardingTaskGroup { group in
        while await permits.take() {
            let item: Item?
            do throws(IPCError) { item = try await take() } catch {
                if error.code != .cancelled { permits.end(error) }
                break
            }
            guard let item else { break }
            group.addTask {
                await Permits.$current.withValue(permits) {
                    do throws(IPCError) { try await body(item) } catch { permits.end(error) }
                }
                permits.give()
            }
        }
    }
    if let error = permits.failure { throw error }
}
