#if NATS
    import Logging
    import Synchronization

    /// Notes why a task goes on trying: in the status at once, and in the log when that lasts. Safe from several threads.
    final class Hindrance: Sendable {
        /// What passes sooner is not logged.
        private static let patience = Duration.seconds(3)

        private let logger: Logger
        private let status: CarrierStatus?
        private let state = Mutex((since: ContinuousClock.Instant?.none, told: String?.none))

        /// - Parameter status: Of a carrier; then only what the server refuses is logged: what is wrong with the server is told by the one
        ///   who follows the directory, and not for each channel.
        init(_ logger: Logger, _ status: CarrierStatus? = nil) {
            (self.logger, self.status) = (logger, status)
        }

        func note(_ error: BridgeError?) {
            status?.setHindrance(error.map { "\($0)" })
            guard let error else { return state.withLock { $0.since = nil } }
            if status != nil {
                guard case .refused = error else { return }
            }
            let reason = "\(error)"
            let isNews = state.withLock { state in
                let since = state.since ?? .now
                state.since = since
                guard since + Self.patience <= .now, state.told != reason else { return false }
                state.told = reason
                return true
            }
            if isNews { logger.warning("tried again until it succeeds", metadata: ["reason": "\(reason)"]) }
        }

        /// Runs a body; why it goes on trying is noted.
        func noting<Value>(_ body: () async throws -> Value) async throws -> Value {
            try await RetryObserver.$current.withValue(RetryObserver { self.note($0) }, operation: body)
        }
    }
#endif
