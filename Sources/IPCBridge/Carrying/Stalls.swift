#if NATS
    import Synchronization

    /// Notices that this process did not run for a time: it was stopped, or the machine slept.
    final class Stalls: Sendable {
        static let shared = Stalls()

        private struct State {
            var isBeating = false
            var lastBeat = ContinuousClock.now
            /// The latest pauses: when they ended, and how long they were.
            var pauses: [(end: ContinuousClock.Instant, length: Duration)] = []
        }
        private let state = Mutex(State())
        private static let interval = Duration.milliseconds(500)
        private static let shortest = Duration.seconds(1)
        private static let kept = 16

        /// Begins to look at the clock twice a second, in whatever carrier it is called first.
        func begin() {
            let isFirst = state.withLock { state in
                defer { state.isBeating = true }
                if !state.isBeating { state.lastBeat = .now }
                return !state.isBeating
            }
            guard isFirst else { return }
            Task.detached {
                while true {
                    self.state.withLock { Self.beat(&$0) }
                    try? await Task.sleep(for: Self.interval, tolerance: .milliseconds(50))
                }
            }
        }

        private static func beat(_ state: inout State) {
            let now = ContinuousClock.now
            if now - state.lastBeat > shortest {
                if state.pauses.count == kept { state.pauses.removeFirst() }
                state.pauses.append((now, now - state.lastBeat))
            }
            state.lastBeat = now
        }

        /// Whether there was such a pause that ended after some moment, or just now.
        func wasHeldUp(longerThan time: Duration, since moment: ContinuousClock.Instant) -> Bool {
            state.withLock { state in
                Self.beat(&state)
                return state.pauses.contains { $0.end > moment && $0.length > time }
            }
        }
    }
#endif
