import CIPCShims
import IPC

/// Limits how many tasks of a loop run at a time. A task that waits for others returns its permit meanwhile, since they may need a
/// turn of the same loop to answer. Otherwise calls that handlers make could wait for those very handlers.
final class Permits: @unchecked Sendable {
    // `@unchecked`: the lock guards all mutable state.
    private let lock = PrivateLock()
    /// Negative while tasks that returned theirs run again and others have not ended yet.
    private var free: Int
    private var waiter: CheckedContinuation<Void, Never>?
    private var isOver = false
    private var error: IPCError?

    /// The permits of the loop whose handler this task runs, if it runs one.
    @TaskLocal static var current: Permits?

    init(_ count: Int) { free = count }

    /// Takes a permit, suspended until there is one. Called by one task at a time.
    ///
    /// - Returns: False if the task was cancelled or the loop has failed.
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

    /// Returns this task's permit while `body` waits for others.
    nonisolated(nonsending) static func lending<Value>(
        _ body: nonisolated(nonsending) () async throws(IPCError) -> Value
    ) async throws(IPCError) -> Value {
        guard let permits = current else { return try await body() }
        permits.give()
        defer { permits.lock.withLock { permits.free -= 1 } }
        return try await body()
    }

    /// Stops giving permits.
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

/// Whether the current code finishes something that was begun before. Then it does not wait for others that can only finish after
/// it.
enum Nesting {
    /// Whether this task or thread answers a call.
    static var isInHandler: Bool { Permits.current != nil || ipc_is_handling() != 0 }
}
