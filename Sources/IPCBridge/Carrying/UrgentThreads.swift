#if NATS
    import IPC
    import Synchronization

    /// The threads of what is urgent. Such a thread waits for the channel, reads it, and publishes: no other one has to wake in between.
    ///
    /// The first few carriers have a thread each, which may block. The others share one.
    enum UrgentThreads {
        private static let most = 16
        private static let state = Mutex((taken: 0, shared: EventLoop?.none))

        /// Runs a carrier on such a thread; on threads of Swift's pool if none can be started.
        ///
        /// - Parameter body: It is told whether the thread is its own, so that it may block while it waits. The tasks that it starts run there
        ///   too, unless they prefer another executor.
        static func run(_ body: @Sendable (_ isOwn: Bool) async throws -> Void) async throws {
            let (loop, isOwn) = state.withLock { state -> (EventLoop?, Bool) in
                if state.taken < most, let loop = try? EventLoop() {
                    state.taken += 1
                    return (loop, true)
                }
                if state.shared == nil { state.shared = try? EventLoop() }
                return (state.shared, false)
            }
            defer { if isOwn { state.withLock { $0.taken -= 1 } } }
            guard let loop else { return try await body(false) }
            try await withTaskExecutorPreference(loop) { try await body(isOwn) }
        }
    }
#endif
