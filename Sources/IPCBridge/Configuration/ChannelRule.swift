#if NATS
    import Glibc
    public import IPCChannels

    /// What is carried, and how: one entry of a configuration's `channels`.
    public struct ChannelRule: Hashable, Sendable {
        /// Which way messages are carried, as seen from this machine.
        public enum Direction: String, CaseIterable, Hashable, Sendable {
            case out, `in`, both

            public var isOut: Bool { self != .in }
            public var isIn: Bool { self != .out }
        }

        /// How the messages of a topic travel.
        public enum Delivery: String, CaseIterable, Hashable, Sendable {
            /// By a stream, which keeps them: each arrives once.
            case stored
            /// By core NATS: what is sent while somebody is not connected, or too slow, is lost to that machine.
            case bestEffort = "best-effort"
        }

        /// Where a machine starts that has read nothing of a topic yet.
        public enum Start: Hashable, Sendable {
            /// With what is stored from now on.
            case next
            /// With the oldest message that the server keeps.
            case oldest
            /// With the first message that was stored at this time or later: in nanoseconds since 1970.
            case time(Int64)
        }

        /// How much of a topic the server keeps. What exceeds one of the limits is dropped, oldest first.
        public struct Keep: Hashable, Sendable {
            /// Nil for sixteen times the channel's log, and 64 MiB at least. The server sets aside as much for each stream.
            public var byteCount: Int?
            /// Nil for no limit. It counts what is stored, which is batches of messages.
            public var batchCount: Int?
            /// Nil for no limit.
            public var age: Duration?
        }

        public var name: NamePattern
        /// Nil for channels of any pattern.
        public var pattern: ChannelPattern?
        public var direction = Direction.both
        public var delivery = Delivery.stored
        /// On how many servers each stream is stored: 1 to 5.
        public var replicas = 1
        /// How long the first message of a batch may wait for others; zero to send what is there.
        public var delay = Duration.milliseconds(1)
        public var keep = Keep()
        public var start = Start.next
        /// After what time a job is given to another machine, if this one is cut off.
        public var acknowledgementWait = Duration.seconds(30)
        /// How long a job waits for a worker here before another machine may have it. Where no worker is, it does not wait.
        public var after = Duration.milliseconds(100)

        /// Whether it is for this channel.
        public func matches(_ name: ChannelName, _ pattern: ChannelPattern) -> Bool {
            (self.pattern == nil || self.pattern == pattern) && self.name.matches(name)
        }

        /// Whether another rule after this one would decide about no channel.
        func hides(_ later: ChannelRule) -> Bool {
            guard (pattern ?? later.pattern) == later.pattern else { return false }
            // Dead letters are carried only by a rule that names them.
            return name == later.name || name.includes(later.name) && !later.name.isOfDeadLetters
        }

        static let patterns: [(String, ChannelPattern)] = [
            ("topic", .topic), ("queue", .workQueue), ("service", .service), ("latest", .latest), ("event", .event),
        ]

        init(_ value: JSONValue, at place: String) throws(ConfigurationError) {
            let object = try ConfigurationObject(
                value, at: place,
                keys: [
                    "name", "pattern", "direction", "delivery", "replicas", "delay", "keep", "start",
                    "acknowledgement-wait", "after",
                ])
            guard let text = try object.string("name") else {
                throw object.fault(
                    "name", "it is missing; write a name such as market/quotes, or a pattern such as market/**")
            }
            guard let name = NamePattern(text) else {
                throw object.fault(
                    "name",
                    "no channel can have a name such as \(text.quotedForJSON); write words of letters, digits, '-', '_' and '.' with slashes between them, * within a word, or ** for any words"
                )
            }
            self.name = name
            pattern = try object.word("pattern", Self.patterns)
            direction = try object.word("direction", Direction.allCases.map { ($0.rawValue, $0) }) ?? direction
            delivery = try object.word("delivery", Delivery.allCases.map { ($0.rawValue, $0) }) ?? delivery
            replicas = try object.whole("replicas", 1...5) ?? replicas
            delay = try object.duration("delay", .zero ... .seconds(1), "0 to 1 s") ?? delay
            try readKeep(object)
            acknowledgementWait =
                try object.duration("acknowledgement-wait", .seconds(1) ... .seconds(86_400), "1 s to 24 h")
                ?? acknowledgementWait
            after = try object.duration("after", .zero ... .seconds(3600), "0 to 1 h") ?? after
            if let text = try object.string("start") { start = try Self.start(text, object) }
            try check(object)
        }

        private mutating func readKeep(_ object: ConfigurationObject) throws(ConfigurationError) {
            guard let limits = try object.object("keep", keys: ["bytes", "batches", "age"]) else { return }
            keep.byteCount = try limits.byteCount("bytes") ?? keep.byteCount
            keep.batchCount = try limits.whole("batches", 1 ... .max)
            keep.age = try limits.duration("age", .seconds(1) ... .seconds(3660 * 86_400), "1 s to ten years")
        }

        private static func start(_ text: String, _ object: ConfigurationObject) throws(ConfigurationError) -> Start {
            switch text {
            case "next": return .next
            case "oldest": return .oldest
            default:
                guard let time = Quantities.time(text) else {
                    throw object.fault(
                        "start",
                        "expected next, oldest or a time in UTC such as 2026-11-30T12:00:00Z, found \(text.quotedForJSON)"
                    )
                }
                guard time <= Int64(Glibc.time(nil)) * 1_000_000_000 else {
                    throw object.fault(
                        "start",
                        "the time \(text) is in the future; write next to start with what is sent from now on, or a time that has passed"
                    )
                }
                return .time(time)
            }
        }

        /// Refuses what would have no effect.
        private func check(_ object: ConfigurationObject) throws(ConfigurationError) {
            let kinds: [(key: String, patterns: [ChannelPattern], what: String)] = [
                ("delivery", [.topic], "topics"), ("delay", [.topic], "topics"), ("keep", [.topic], "topics"),
                ("start", [.topic], "topics"), ("acknowledgement-wait", [.workQueue], "queues"),
                ("after", [.workQueue], "queues"),
                ("replicas", [.topic, .workQueue, .latest], "topics, queues and latest values"),
            ]
            for (key, patterns, what) in kinds where object.has(key) {
                if let pattern, !patterns.contains(pattern) {
                    throw object.fault(
                        key, "it is for \(what), but this rule is for the pattern \(pattern); leave it out")
                }
            }
            if delivery == .bestEffort {
                for key in ["replicas", "keep", "start"] where object.has(key) {
                    throw object.fault(key, "nothing is stored with delivery best-effort; leave it out, or store")
                }
            }
            if object.has("start"), !direction.isIn {
                throw object.fault("start", "it says where reading starts, but the direction is out; leave it out")
            }
            if object.has("after"), !direction.isOut {
                throw object.fault(
                    "after", "it says when jobs leave this machine, but the direction is in; leave it out")
            }
        }
    }
#endif
