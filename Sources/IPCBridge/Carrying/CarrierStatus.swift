#if NATS
    import IPC
    import IPCChannels
    import Metrics
    import Synchronization

    /// The figures of one carrier, which it counts and others read. Safe from several threads.
    final class CarrierStatus: Sendable {
        /// What a carrier is doing.
        enum State: Hashable, Sendable {
            case starting
            case carrying
            /// For the connection, or for time to pass after an error.
            case waiting(String)
            /// It does not carry, until something is changed.
            case refused(String)

            var word: String {
                switch self {
                case .starting: "starting"
                case .carrying: "carrying"
                case .waiting: "waiting"
                case .refused: "refused"
                }
            }

            var reason: String? {
                switch self {
                case .starting, .carrying: nil
                case .waiting(let reason), .refused(let reason): reason
                }
            }
        }

        /// All that is known at one moment.
        struct Figures: Hashable, Sendable {
            var state = State.starting
            /// What holds it up though it goes on trying.
            var hindrance: String?
            /// Messages that arrived on the other side: outwards when the server has acknowledged them, inwards when they are written.
            var carried: UInt64 = 0
            var bytes: UInt64 = 0
            /// Messages that are read and not carried yet.
            var behind: UInt64 = 0
            /// Messages that were sent or given again.
            var redelivered: UInt64 = 0
            /// Messages that limits dropped, here or on the server, or that could not be carried.
            var dropped: UInt64 = 0
            /// How often it began anew after an error.
            var restarts: UInt64 = 0
            var lastError: String?

            /// What people are told: while something holds it up, it waits, whatever it is doing.
            var told: State {
                switch (state, hindrance) {
                case (.carrying, let reason?), (.waiting, let reason?): .waiting(reason)
                default: state
                }
            }
        }

        /// Counts changes of any carrier of this process, for somebody who looks now and then.
        static let changes = Atomic(0)

        let channel: ChannelName
        let pattern: ChannelPattern
        let direction: CarrierDirection
        private let state = Mutex(Figures())
        private let counters: Counters

        /// The same figures for swift-metrics.
        private struct Counters: Sendable {
            let carried, bytes, redelivered, dropped, restarts: Counter
            let behind: Gauge
        }

        init(_ channel: ChannelName, _ pattern: ChannelPattern, _ direction: CarrierDirection) {
            (self.channel, self.pattern, self.direction) = (channel, pattern, direction)
            var dimensions = [("channel", channel.description), ("direction", direction == .out ? "out" : "in")]
            if case .in(let machine?) = direction { dimensions.append(("from", machine.name)) }
            counters = Counters(
                carried: Counter(label: "ipc_bridge_carried", dimensions: dimensions),
                bytes: Counter(label: "ipc_bridge_bytes", dimensions: dimensions),
                redelivered: Counter(label: "ipc_bridge_redelivered", dimensions: dimensions),
                dropped: Counter(label: "ipc_bridge_dropped", dimensions: dimensions),
                restarts: Counter(label: "ipc_bridge_restarts", dimensions: dimensions),
                behind: Gauge(label: "ipc_bridge_behind", dimensions: dimensions))
        }

        var figures: Figures { state.withLock { $0 } }

        private func change<Result: Sendable>(_ body: (inout Figures) -> Result) -> Result {
            defer { Self.changes.add(1, ordering: .relaxed) }
            return state.withLock { body(&$0) }
        }

        /// Counts messages that arrived on the other side.
        func addCarried(_ count: Int, bytes: Int) {
            change {
                $0.carried += UInt64(count)
                $0.bytes += UInt64(bytes)
            }
            counters.carried.increment(by: count)
            counters.bytes.increment(by: bytes)
        }

        func addRedelivered(_ count: Int) {
            change { $0.redelivered += UInt64(count) }
            counters.redelivered.increment(by: count)
        }

        func addDropped(_ count: UInt64) {
            // Another machine says how many it dropped: that may be anything.
            change { $0.dropped = UInt64.max - $0.dropped < count ? .max : $0.dropped + count }
            counters.dropped.increment(by: Int(clamping: count))
        }

        /// How many messages are read and not carried yet.
        func setBehind(_ count: UInt64) {
            change { $0.behind = count }
            counters.behind.record(count)
        }

        func set(_ new: State) { change { $0.state = new } }

        /// What holds the carrier up though it goes on trying; nil for nothing any more.
        func setHindrance(_ reason: String?) {
            guard state.withLock({ $0.hindrance != reason }) else { return }
            change { $0.hindrance = reason }
        }

        /// What is not carried from now on, and why.
        ///
        /// - Returns: Whether that is another reason than the last time.
        @discardableResult
        func refuse(_ reason: String) -> Bool {
            change { figures in
                (figures.state, figures.hindrance) = (.refused(reason), nil)
                defer { figures.lastError = reason }
                return figures.lastError != reason
            }
        }

        /// An error after which the carrier begins anew.
        func failed(_ error: String, waiting: String) {
            change {
                $0.lastError = error
                $0.restarts += 1
                ($0.state, $0.hindrance) = (.waiting(waiting), nil)
            }
            counters.restarts.increment()
        }

        /// One line of the status.
        var json: JSONValue {
            let figures = figures
            let told = figures.told
            var from: JSONValue?
            if case .in(let machine?) = direction { from = .string(machine.name) }
            return .members([
                ("channel", .string(channel.description)), ("pattern", .string("\(pattern)")),
                ("direction", .string(direction == .out ? "out" : "in")), ("from", from),
                ("state", .string(told.word)), ("reason", (told.reason ?? figures.hindrance).map { .string($0) }),
                ("carried", .integer(figures.carried)), ("bytes", .integer(figures.bytes)),
                ("behind", .integer(figures.behind)), ("redelivered", .integer(figures.redelivered)),
                ("dropped", .integer(figures.dropped)), ("restarts", .integer(figures.restarts)),
                ("lastError", figures.lastError.map { .string($0) }),
            ])
        }
    }
#endif
