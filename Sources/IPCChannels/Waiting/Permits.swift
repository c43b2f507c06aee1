import IPC

/// How many tasks of a loop may run at a time. One that waits for others, which may need a turn of the same loop to answer, lends its
/// permit meanwhile: else calls that handlers make could wait for those very handlers.
final class Permits: @unchecked Sendable {
    // `@unchecked`: the lock guards all that changes.
    private let lock = PrivateLock()
    /// Below 0 where those that lent theirs are back, and others have not ended yet.
    private var free: Int
    private var waiter: CheckedContinuation<Void, Never>?
    private var isOver = false
    private var error: IPCError?

    /// That of the handler that this task runs, if it does.
    @TaskLocal static var current: Permits?

    init(_ count: Int) { free = count }

    /// Takes one, suspended until there is one. By one task at a time.
    ///
    /// - Returns: False if the task was cancelled, or somebody failed.
    func take() async -> Bool {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let mayGoOn = lock.withLock {
                    guard free <= 0, !isOver else { return true }
                    waiter = continuation
                    return false
                }
                if mayGoOn { continuation.resume() }
            }
        } onCancel: {
            end(nil)
        }
        return lock.withLock {
            if !isOver { free -= 1 }
            return !isOver
        }
    }

    func give() {
        let waiter = lock.withLock {
            free += 1
            return free > 0 ? self.waiter.take() : nil
        }
        waiter?.resume()
    }

    /// Does without one, while `body` waits for others.
    nonisolated(nonsending) static func lending<Value>(
        _ body: nonisolated(nonsending) () async throws(IPCError) -> Value
    ) async throws(IPCError) -> Value {
        guard let permits = current else { return try await body() }
        permits.give()
        defer { permits.lock.withLock { permits.free -= 1 } }
        return try await body()
    }

    /// No more are given.
    func end(_ error: IPCError?) {
        let waiter = lock.withLock {
            isOver = true
            if self.error == nil { self.error = error }
            return self.waiter.take()
        }
        waiter?.resume()
    }

    var failure: IPCError? { lock.withLock { error } }
}
