#if NATS
    import Synchronization

    /// Looks now and then whether what carriers wait for has come, where nothing tells them: one timer for all of them, and none while
    /// nobody waits.
    final class Ticker: Sendable {
        static let shared = Ticker()
        /// How long something may have come before it is seen.
        static let interval = Duration.milliseconds(500)

        private struct Waiter {
            let isSo: @Sendable () -> Bool
            let continuation: CheckedContinuation<Void, Never>
        }
        private struct State {
            var waiters: [Int: Waiter] = [:]
            var issued = 0
            var isRunning = false
        }
        private let state = Mutex(State())

        /// Waits until something is so.
        ///
        /// - Parameter isSo: Called at each look, on whatever thread: it is quick, and does not block.
        /// - Throws: `CancellationError`.
        func wait(until isSo: @escaping @Sendable () -> Bool) async throws {
            guard !isSo() else { return try Task.checkCancellation() }
            let number = state.withLock { state in
                state.issued += 1
                return state.issued
            }
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let (isCancelled, begins) = state.withLock { state in
                        if Task.isCancelled { return (true, false) }
                        state.waiters[number] = Waiter(isSo: isSo, continuation: continuation)
                        defer { state.isRunning = true }
                        return (false, !state.isRunning)
                    }
                    if isCancelled { continuation.resume() }
                    if begins { Task.detached { await self.run() } }
                }
            } onCancel: {
                state.withLock { $0.waiters.removeValue(forKey: number) }?.continuation.resume()
            }
            try Task.checkCancellation()
        }

        private func run() async {
            while true {
                try? await Task.sleep(for: Self.interval, tolerance: .milliseconds(50))
                let waiters = state.withLock { state -> [Int: Waiter]? in
                    if state.waiters.isEmpty { state.isRunning = false }
                    return state.isRunning ? state.waiters : nil
                }
                guard let waiters else { return }
                for (number, waiter) in waiters where waiter.isSo() {
                    // It may have been cancelled meanwhile.
                    state.withLock { $0.waiters.removeValue(forKey: number) }?.continuation.resume()
                }
            }
        }
    }
#endif
