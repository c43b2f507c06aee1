#if NATS
    import IPC
    import Logging
    import Synchronization

    /// A carrier's task: begins it anew after errors, until it is stopped.
    final class CarrierTask: Sendable {
        let rule: ChannelRule
        /// Of the channel that it carries.
        let incarnation: UInt64
        let status: CarrierStatus
        /// Why it does not carry; nil if it does.
        let refusal: String?
        private let task: Task<Void, Never>?
        private let end: End

        private final class End: Sendable {
            let isDone = Atomic(false)
        }

        /// Whether the carrier has ended.
        var isDone: Bool { end.isDone.load(ordering: .acquiring) }

        /// Starts a carrier.
        ///
        /// - Parameter changed: Called after an error, since something about its channel may have changed, and when it has ended as it was asked to.
        init(
            _ carrier: any Carrier, _ rule: ChannelRule, of incarnation: UInt64, _ status: CarrierStatus,
            _ logger: Logger,
            changed: @escaping @Sendable () -> Void
        ) {
            (self.rule, self.incarnation, self.status, refusal) = (rule, incarnation, status, nil)
            let end = End()
            self.end = end
            task = Task.detached {
                await Self.repeated(carrier, status, logger, changed)
                end.isDone.store(true, ordering: .releasing)
                // Its successor may wait for that. One that refused does not begin anew by itself.
                if Task.isCancelled { changed() }
            }
        }

        /// What is not carried, and why.
        init(refused: String, _ rule: ChannelRule, of incarnation: UInt64, _ status: CarrierStatus) {
            (self.rule, self.incarnation, self.status, refusal, task) = (rule, incarnation, status, refused, nil)
            end = End()
            end.isDone.store(true, ordering: .releasing)
            status.refuse(refused)
        }

        /// Asks it to end.
        func cancel() { task?.cancel() }

        private static func repeated(
            _ carrier: any Carrier, _ status: CarrierStatus, _ logger: Logger, _ changed: @Sendable () -> Void
        ) async {
            var backoff = Backoff(from: .milliseconds(100), to: .seconds(5), goodTime: .seconds(10))
            var told: String?
            let hindrance = Hindrance(logger, status)
            while !Task.isCancelled {
                let start = ContinuousClock.now
                var reason = "it ended by itself"
                status.setHindrance(nil)
                do { try await hindrance.noting { try await carrier.run() } } catch let refusal as Refusal {
                    if status.refuse(refusal.description) {
                        logger.error("not carried", metadata: ["reason": "\(refusal)"])
                    }
                    return
                } catch { reason = "\(error)" }
                guard !Task.isCancelled else { return }
                let pause = backoff.next(after: .now - start)
                // The same reason again is no news.
                let level = told == reason ? Logger.Level.debug : .warning
                logger.log(
                    level: level, "carrier begins anew", metadata: ["reason": "\(reason)", "pause": "\(pause)"])
                told = reason
                status.failed(reason, waiting: "begins anew: \(reason)")
                changed()
                try? await Task.sleep(for: pause)
            }
        }

        /// Cancels carriers and waits until they have ended, or the time is over.
        static func stop(_ carriers: [CarrierTask], within time: Duration) async {
            for carrier in carriers { carrier.cancel() }
            let deadline = ContinuousClock.now + time
            // In a task of its own: this is also called by one that was cancelled, whose sleep ends at once.
            await Task.detached {
                while carriers.contains(where: { !$0.isDone }), ContinuousClock.now < deadline {
                    try? await Task.sleep(for: .milliseconds(2))
                }
            }.value
        }
    }
#endif
