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
/// - Parameter take: Takes the next, suspended until there is one; nil to end.
/// - Throws: What `take` throws, but for a cancellation, when all that was taken is finished.
nonisolated(nonsending) func runConcurrently<Work: Sendable>(
    _ limit: Int, taking take: nonisolated(nonsending) () async throws(IPCError) -> Work?,
    _ body: @escaping @Sendable (Work) async -> Void
) async throws(IPCError) {
    let error = await withTaskGroup(of: Void.self, returning: IPCError?.self) { group in
        var running = 0
        while true {
            if running >= max(limit, 1) {
                await group.next()
                running -= 1
            }
            let work: Work?
            do throws(IPCError) { work = try await take() } catch {
                return error.code == .cancelled ? nil : error
            }
            guard let work else { return nil }
            running += 1
            group.addTask { await body(work) }
        }
    }
    if let error { throw error }
}
