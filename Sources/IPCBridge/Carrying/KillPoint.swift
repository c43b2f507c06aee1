#if NATS
    import Glibc

    /// Points at which a test kills a bridge, in debug builds: `IPC_BRIDGE_KILL_POINT=outbox.written`, or `outbox.written:17` for the
    /// 17th time. The bridge first reports the point on standard error.
    enum KillPoint: String, CaseIterable {
        /// The entry is there, and the job is not acknowledged.
        case outboxWritten = "outbox.written"
        case outboxAcknowledged = "outbox.acknowledged"
        case outboxSent = "outbox.sent"
        case outboxStored = "outbox.stored"
        /// It is noted that a job will be written here.
        case flightBegun = "flight.begun"
        case flightWritten = "flight.written"
        case flightNoted = "flight.noted"
        /// The job is done here, and that is not told.
        case flightDone = "flight.done"
        case flightAcknowledged = "flight.acknowledged"

        #if DEBUG
            private static let wanted: (point: String, after: Int)? = {
                guard let raw = getenv("IPC_BRIDGE_KILL_POINT") else { return nil }
                let parts = String(cString: raw).split(separator: ":")
                return parts.first.map { (String($0), parts.count > 1 ? Int(parts[1]) ?? 1 : 1) }
            }()
            private static let reached = Count()

            static func reach(_ point: KillPoint) {
                guard let wanted, wanted.point == point.rawValue, reached.next() == wanted.after else { return }
                var text = "struck \(point.rawValue)\n"
                _ = text.withUTF8 { write(2, $0.baseAddress, $0.count) }
                kill(getpid(), SIGKILL)
                // It may take a moment to arrive.
                while true { pause() }
            }
        #else
            @inline(__always)
            static func reach(_ point: KillPoint) {}
        #endif
    }

    #if DEBUG
        import Synchronization

        private final class Count: Sendable {
            private let value = Atomic(0)
            func next() -> Int { value.add(1, ordering: .relaxed).newValue }
        }
    #endif
#endif
