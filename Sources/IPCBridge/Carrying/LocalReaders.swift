#if NATS
    import IPC
    import IPCChannels

    /// The workers of a queue, or the servers of a service, on this machine; the bridge's own are left out.
    struct LocalReaders: Sendable {
        private let watch: ReaderWatch

        init(_ channel: AnyChannel) throws(IPCError) { watch = try ReaderWatch(channel) }

        /// How many there are.
        var count: Int { get throws(IPCError) { try watch.othersCount() } }

        /// Waits until there are some, or none; half a second later at most.
        func wait(areThere wanted: Bool) async throws {
            let watch = watch
            // What cannot be looked at is told by the next look.
            try await Ticker.shared.wait { (try? watch.othersCount()).map { ($0 > 0) == wanted } ?? true }
        }

        /// Waits until a job waits, or no worker is left; half a second later at most.
        func waitForWaitingJob() async throws {
            let watch = watch
            try await Ticker.shared.wait {
                watch.load(limit: 64).waiting > 0 || (try? watch.othersCount()).map { $0 == 0 } ?? true
            }
        }

        /// The jobs that no worker has and that are due, and those that one has.
        func load(limit: Int, before end: UInt64 = .max) -> (waiting: Int, taken: Int) {
            watch.load(limit: limit, before: end)
        }

        /// The end of the jobs that were sent so far.
        var end: UInt64 { get throws(IPCError) { try watch.end() } }

        var maximumAttempts: Int { watch.maximumAttempts }
    }
#endif
