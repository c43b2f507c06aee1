import IPC

/// Cancels the tasks of handlers whose callers no longer want the reply: they cancelled, passed their deadline, or died.
///
/// Polls every few milliseconds while calls are in progress, and costs nothing otherwise.
final class CallWatch: @unchecked Sendable {
    // `@unchecked`: the lock guards all mutable state. A stored task is valid: it removes itself before it ends.
    private let lock = PrivateLock()
    private var calls: [Int: Watched] = [:]
    private var nextKey = 0
    /// The watch's own continuation, while it waits for calls.
    private var sleeper: CheckedContinuation<Void, Never>?
    private var isOver = false

    @safe
    private struct Watched {
        let context: CallContext
        // Valid: the task removes itself before it ends.
        let task: UnsafeCurrentTask

        func cancel() { unsafe task.cancel() }
    }

    private static let pause = Duration.milliseconds(4)
    /// After this many polls without a call it sleeps. Under steady traffic it keeps polling, so that calls need not wake it.
    private static let checksBeforeSleep = 25

    /// Watches the current task, which handles a call.
    ///
    /// - Returns: The key for ``end(_:)``. The task must call that before it ends.
    func begin(_ context: CallContext) -> Int {
        let (key, sleeper) = unsafe withUnsafeCurrentTask { task in
            lock.withLock {
                nextKey += 1
                if let task = unsafe task { unsafe calls[nextKey] = Watched(context: context, task: task) }
                return (nextKey, self.sleeper.take())
            }
        }
        sleeper?.resume()
        return key
    }

    func end(_ key: Int) { _ = lock.withLock { calls.removeValue(forKey: key) } }

    /// Polls until its task is cancelled.
    func run() async {
        var looks = 0
        while !Task.isCancelled {
            looks = look() ? 0 : looks + 1
            if looks < Self.checksBeforeSleep { try? await Task.sleep(for: Self.pause) } else { await sleep() }
        }
    }

    /// - Returns: Whether there was a call.
    private func look() -> Bool {
        lock.withLock {
            for call in calls.values where call.context.isCancelled { call.cancel() }
            return !calls.isEmpty
        }
    }

    /// Sleeps until there is a call, or its task is cancelled.
    private func sleep() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isNeeded = lock.withLock {
                    guard calls.isEmpty, !isOver else { return true }
                    sleeper = continuation
                    return false
                }
                if isNeeded { continuation.resume() }
            }
        } onCancel: {
            let sleeper = lock.withLock {
                isOver = true
                return self.sleeper.take()
            }
            sleeper?.resume()
        }
    }
}
