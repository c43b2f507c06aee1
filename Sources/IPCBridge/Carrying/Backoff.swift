#if NATS
    /// The pauses between attempts: each twice as long as the one before, and short again after an attempt that went well for a while.
    struct Backoff: Sendable {
        private let shortest: Duration
        private let longest: Duration
        private let goodTime: Duration
        private var pause: Duration

        /// - Parameter goodTime: How long an attempt has to last to have gone well.
        init(from shortest: Duration, to longest: Duration, goodTime: Duration) {
            (self.shortest, self.longest, self.goodTime, pause) = (shortest, longest, goodTime, shortest)
        }

        /// The pause after an attempt that lasted that long, and longer ones for those that follow.
        mutating func next(after lasted: Duration) -> Duration {
            if lasted >= goodTime { pause = shortest }
            defer { pause = min(pause * 2, longest) }
            return pause
        }
    }
#endif
