#if Lifecycle
    public import ServiceLifecycle

    /// A server or a worker as a service of swift-service-lifecycle. After a graceful shutdown it takes nothing more, and ends
    /// when what it has taken is finished. What takes longer than the drain time is cancelled; jobs are then released.
    ///
    /// ```swift
    /// struct Order: BitwiseCopyable { var number: UInt32 }
    /// let orders = try WorkQueue<Order>.openOrCreate("orders")
    /// let worker = orders.service { delivery in print(delivery.message.number) }
    /// ```
    public struct ChannelService: ServiceLifecycle.Service {
        fileprivate let drain: Duration
        fileprivate let serve: @Sendable (Stopping) async throws -> Void

        public func run() async throws {
            let stopping = Stopping()
            try await withGracefulShutdownHandler {
                try await serve(until: stopping)
            } onGracefulShutdown: {
                stopping.stop()
            }
        }

        private func serve(until stopping: Stopping) async throws {
            try await withThrowingTaskGroup(of: Void.self) { group in
                let (serve, drain) = (serve, drain)
                group.addTask { try await serve(stopping) }
                group.addTask {
                    // Returns normally when the drain time is over. A cancellation means that serving has ended.
                    do {
                        try await gracefulShutdown()
                        try await Task.sleep(for: drain)
                    } catch is CancellationError {}
                }
                try await group.next()
                group.cancelAll()
                try await group.waitForAll()
            }
        }
    }

    extension IPCChannels.ServiceChannel where Request: BitwiseCopyable & Sendable, Reply: BitwiseCopyable & Sendable {
        /// Serving as a service; see ``serve(concurrency:_:)``.
        ///
        /// - Parameter drain: How long calls in progress may take after a graceful shutdown before they are cancelled.
        public func service(
            concurrency: Int = 16, drainingFor drain: Duration = .seconds(30),
            _ handler: @escaping @Sendable (Request, CallContext) async throws(Failure) -> Reply
        ) -> ChannelService {
            let service = self
            return ChannelService(drain: drain) { stopping in
                try await service.serve(concurrency: concurrency, until: stopping, handler)
            }
        }
    }

    extension WorkQueue where Message: Sendable {
        /// Working as a service; see ``work(concurrency:_:)``.
        ///
        /// - Parameter drain: How long jobs in progress may take after a graceful shutdown before they are cancelled.
        public func service(
            concurrency: Int = 1, drainingFor drain: Duration = .seconds(30),
            _ handler: @escaping @Sendable (WorkQueue<Message>.SharedJob) async throws -> Void
        ) -> ChannelService {
            let queue = self
            return ChannelService(drain: drain) { stopping in
                try await queue.work(concurrency: concurrency, until: stopping, handler)
            }
        }
    }
#endif
