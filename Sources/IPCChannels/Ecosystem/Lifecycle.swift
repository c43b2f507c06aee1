#if Lifecycle
    public import ServiceLifecycle

    /// A server or a worker as a service of swift-service-lifecycle: after a graceful shutdown it takes nothing more, and
    /// ends when what it had taken is finished.
    ///
    /// ```swift
    /// struct Order: BitwiseCopyable { var number: UInt32 }
    /// let orders = try WorkQueue<Order>.create("orders")
    /// let worker = orders.service { delivery in print(delivery.message.number) }
    /// ```
    public struct ChannelService: ServiceLifecycle.Service {
        fileprivate let serve: @Sendable (Stopping) async throws -> Void

        public func run() async throws {
            let stopping = Stopping()
            try await withGracefulShutdownHandler {
                try await serve(stopping)
            } onGracefulShutdown: {
                stopping.stop()
            }
        }
    }

    extension IPCChannels.Service where Request: BitwiseCopyable & Sendable, Reply: BitwiseCopyable & Sendable {
        /// Serving, as a service; see ``serve(concurrency:_:)``.
        public func service(
            concurrency: Int = 16,
            _ handler: @escaping @Sendable (Request, CallContext) async throws(Failure) -> Reply
        ) -> ChannelService {
            let service = self
            return ChannelService { stopping in
                try await service.serve(concurrency: concurrency, until: stopping, handler)
            }
        }
    }

    extension WorkQueue where Message: Sendable {
        /// Working, as a service; see ``work(concurrency:_:)``.
        public func service(
            concurrency: Int = 1, _ handler: @escaping @Sendable (Delivery<Message>) async throws -> Void
        ) -> ChannelService {
            let queue = self
            return ChannelService { stopping in
                try await queue.work(concurrency: concurrency, until: stopping, handler)
            }
        }
    }
#endif
