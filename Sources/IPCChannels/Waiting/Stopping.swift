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
    let error = await withTaskGroup(of: IPCError?.self, returning: IPCError?.self) { group in
        var running = 0
        var failure: IPCError?
        while failure == nil {
            if running >= max(limit, 1) {
                failure = await group.next() ?? nil
                running -= 1
                continue
            }
            let work: Work?
            do throws(IPCError) { work = try await take() } catch {
                failure = error.code == .cancelled ? nil : error
                break
            }
            guard let work else { break }
            running += 1
            group.addTask {
                do throws(IPCError) { try await body(work) } catch { return error }
                return nil
            }
        }
        for await late in group { failure = failure ?? late }
        return failure
    }
    if let error { throw error }
}
