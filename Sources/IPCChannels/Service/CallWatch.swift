import IPC

/// Cancels the tasks of handlers whose callers do not want the reply any more: they cancelled, passed their deadline, or died.
///
/// It looks every few milliseconds while calls are under way, and costs nothing while there are none.
final class CallWatch: @unchecked Sendable {
    // `@unchecked`: the lock guards all that changes. A task is there while its call is, since it removes that itself.
    private let lock = PrivateLock()
    private var calls: [Int: Watched] = [:]
    private var nextKey = 0
    /// The watch itself, while it waits for calls.
    private var sleeper: CheckedContinuation<Void, Never>?
    private var isOver = false

    @safe
    private struct Watched {
        let context: CallContext
        // Its task has not ended: it takes itself away before.
        let task: UnsafeCurrentTask

        func cancel() { unsafe task.cancel() }
    }

    private static let pause = Duration.milliseconds(4)
    /// After so many looks without a call it sleeps: calls that come all the time do not wake it each.
    private static let looksBeforeSleep = 25

    /// Watches the current task for a call's sake.
    ///
    /// - Returns: What ends it. The task has to call ``end(_:)`` before it ends.
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

    /// Looks until its task is cancelled.
    func run() async {
        var looks = 0
        while !Task.isCancelled {
            looks = look() ? 0 : looks + 1
            if looks < Self.looksBeforeSleep { try? await Task.sleep(for: Self.pause) } else { await sleep() }
        }
    }

    /// - Returns: Whether there was a call.
    private func look() -> Bool {
        lock.withLock {
            for call in calls.values where call.context.isCancelled { call.cancel() }
            return !calls.isEmpty
        }
    }

    /// Until there is a call, or its task is cancelled.
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
