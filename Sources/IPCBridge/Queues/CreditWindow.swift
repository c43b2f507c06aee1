#if NATS
    /// How many jobs may be with the workers of this machine, or wait for them: one for each worker while jobs take long, and more as
    /// long as the workers are faster than the way to the server.
    struct CreditWindow {
        private(set) var size = 0
        private static let most = FlightTable.count - 16

        /// How many more may be fetched.
        ///
        /// - Parameters:
        ///   - workers: Of this machine.
        ///   - busy: The jobs that they have, and those that wait for them, wherever they come from.
        func credit(workers: Int, busy: Int) -> Int {
            workers == 0 ? 0 : max(0, min(max(size, workers), Self.most) - busy)
        }

        /// - Parameters:
        ///   - done: The jobs that were finished since the last look.
        ///   - waiting: The jobs that no worker has taken yet.
        mutating func adapt(done: Int, waiting: Int) {
            if done > 0, waiting <= done {
                size = min(max(size * 2, done * 2), Self.most)
            } else if waiting > 0, done == 0 {
                size /= 2
            }
        }
    }
#endif
