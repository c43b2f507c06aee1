import IPC
import Synchronization

/// Asks loops that take work to take no more, whatever they are doing.
final class Stopping: Sendable {
    private let flag = Atomic(false)
    private let lock = PrivateLock()
    nonisolated(unsafe) private var tokens: [UInt32] = []

    var isAsked: Bool { flag.load(ordering: .acquiring) }

    /// From any thread.
    func stop() {
        flag.store(true, ordering: .sequentiallyConsistent)
        ChannelWaits.shared.resume(lock.withLock { unsafe tokens })
    }

    /// A participant that is to be told.
    func add(_ membership: Membership) { lock.withLock { unsafe tokens.append(membership.token) } }
}

/// Runs what a participant takes in tasks of their own, at most `limit` at a time.
///
/// - Parameters:
///   - take: Takes the next, suspended until there is one; nil to end.
///   - body: Finishes one, also if its task was cancelled before it began. What it throws ends the loop.
/// - Throws: What `take` or `body` throws, but for a cancellation, when all that was taken is finished.
nonisolated(nonsending) func runConcurrently<Work: Sendable>(
    _ limit: Int, taking take: nonisolated(nonsending) () async throws(IPCError) -> Work?,
    _ body: @escaping @Sendable (Work) async throws(IPCError) -> Void
) async throws(IPCError) {
    let permits = Permits(max(limit, 1))
    await withDiscardingTaskGroup { group in
        while await permits.take() {
            let work: Work?
            do throws(IPCError) { work = try await take() } catch {
                if error.code != .cancelled { permits.end(error) }
                break
            }
            guard let work else { break }
            group.addTask {
                await Permits.$current.withValue(permits) {
                    do throws(IPCError) { try await body(work) } catch { permits.end(error) }
                }
                permits.give()
            }
        }
    }
    if let error = permits.failure { throw error }
}
