#if NATS
    import IPCChannels

    /// What a stream shall be.
    struct StreamSettings: Sendable, Equatable {
        enum Retention: String, Sendable {
            case limits
            /// A message is removed when it is acknowledged.
            case workQueue = "workqueue"
        }
        enum Discard: String, Sendable {
            case old
            /// What does not fit is refused.
            case new
        }

        var name: String
        var subjects: [String]
        var retention: Retention = .limits
        var discard: Discard = .old
        /// Nil: no limit.
        var maximumBytes: Int64?
        var maximumMessages: Int64?
        var maximumMessagesPerSubject: Int64?
        var maximumAge: Duration?
        var replicas: Int = 1
        /// How long message ids are remembered; nil for the server's own time.
        var duplicateWindow: Duration?
        /// Is added to what the stream has.
        var metadata: [String: String] = [:]
        /// Members of the server's configuration beside these.
        var others: [(String, JSONValue)] = []

        static func == (a: StreamSettings, b: StreamSettings) -> Bool { a.json == b.json }
    }

    /// What a stream is.
    struct StreamState: Sendable, Equatable {
        var firstSequence: UInt64
        /// 0 if it never had a message.
        var lastSequence: UInt64
        var messages: UInt64
        var bytes: UInt64
        var subjects: [String]
        var replicas: Int
        var metadata: [String: String]
        /// As the server writes it: another one is another stream of the same name.
        var created: String
        /// The server's clock, in nanoseconds since 1970; nil if the server does not say it.
        var now: Int64?
    }

    extension StreamSettings {
        var json: JSONValue {
            var json = JSONValue.members([
                ("name", .string(name)), ("subjects", .array(subjects.map { .string($0) })),
                ("retention", .string(retention.rawValue)), ("discard", .string(discard.rawValue)),
                ("storage", .string("file")), ("num_replicas", .integer(replicas)),
                ("max_bytes", .integer(maximumBytes ?? -1)), ("max_msgs", .integer(maximumMessages ?? -1)),
                ("max_msgs_per_subject", .integer(maximumMessagesPerSubject ?? -1)), ("max_consumers", .integer(-1)),
                ("max_age", .integer(maximumAge?.nanoseconds ?? 0)),
                ("duplicate_window", duplicateWindow.map { .integer($0.nanoseconds) }),
                (
                    "metadata",
                    metadata.isEmpty ? nil : .members(metadata.sorted { $0.key < $1.key }.map { ($0, .string($1)) })
                ),
            ])
            if !others.isEmpty { json = json.merging(.members(others.map { ($0.0, $0.1) })) }
            return json
        }
    }

    extension StreamState {
        /// A number for ``created``, never 0.
        var identity: UInt64 { Machine.hash(created) | 1 }

        init(_ json: JSONValue) throws(BridgeError) {
            guard let state = json["state"], let config = json["config"], let first = state.unsigned("first_seq"),
                let last = state.unsigned("last_seq"), let messages = state.unsigned("messages")
            else { throw .malformed("the state of a stream is incomplete") }
            firstSequence = first
            lastSequence = last
            self.messages = messages
            bytes = state.unsigned("bytes") ?? 0
            replicas = config["num_replicas"]?.integer ?? 1
            metadata = config["metadata"]?.strings ?? [:]
            created = json["created"]?.string ?? ""
            now = json["ts"]?.string.flatMap(Quantities.time)
            guard case .array(let names)? = config["subjects"] else {
                subjects = []
                return
            }
            subjects = names.compactMap { $0.string }
        }
    }

    /// Streams. Each call is tried again until its time is over while servers are down or without a majority.
    extension NATSConnection {
        /// Makes a stream, or makes the one of this name as wanted. Metadata of the stream that is not in the settings stays.
        /// - Throws: `.refused` if the stream cannot become what is wanted, such as of another retention.
        func ensureStream(
            _ settings: StreamSettings, for time: Duration = .seconds(30)
        ) async throws(BridgeError) -> StreamState {
            let name = settings.name
            let json = settings.json
            return try await retrying(for: time) { () throws(BridgeError) -> StreamState in
                do throws(BridgeError) {
                    return try StreamState(
                        try await api("STREAM.CREATE.\(name)", json, what: "to make the stream \(name)"))
                } catch {
                    // The name is in use with another configuration.
                    guard error.apiError == 10058 else { throw error }
                }
                let what = "to change the stream \(name)"
                let present = try await api("STREAM.INFO.\(name)", what: what)["config"] ?? .object([])
                var wanted = present.merging(json)
                if let metadata = present["metadata"] {
                    let merged = metadata.merging(json["metadata"] ?? .object([]))
                    wanted = wanted.merging(.members([("metadata", merged)]))
                }
                if wanted.isSame(as: present) {
                    return try StreamState(try await api("STREAM.INFO.\(name)", what: what))
                }
                return try StreamState(try await api("STREAM.UPDATE.\(name)", wanted, what: what))
            }
        }

        /// What a stream is now, as its leader knows it.
        /// - Returns: Nil if there is none of this name.
        func streamState(
            _ name: String, for time: Duration = .seconds(30)
        ) async throws(BridgeError) -> StreamState? {
            try await retrying(for: time) { () throws(BridgeError) -> StreamState? in
                do throws(BridgeError) {
                    return try StreamState(
                        try await api("STREAM.INFO.\(name)", what: "the state of the stream \(name)"))
                } catch {
                    guard error.apiError == 10059 else { throw error }
                    return nil
                }
            }
        }

        /// Whether a stream was made after a time of this process, by the server's clock: clocks of machines may differ. False if the
        /// server does not tell, or if there is no such stream.
        func isStream(
            _ name: String, madeSince start: ContinuousClock.Instant, for time: Duration = .seconds(30)
        ) async throws(BridgeError) -> Bool {
            guard let state = try await streamState(name, for: time), let made = Quantities.time(state.created),
                let now = state.now
            else { return false }
            return made >= now - (ContinuousClock.now - start).nanoseconds
        }

        /// Removes a stream and all that it has.
        /// - Returns: Whether there was one.
        @discardableResult
        func deleteStream(_ name: String, for time: Duration = .seconds(30)) async throws(BridgeError) -> Bool {
            try await retrying(for: time) { () throws(BridgeError) -> Bool in
                do throws(BridgeError) {
                    _ = try await api("STREAM.DELETE.\(name)", what: "to delete the stream \(name)")
                    return true
                } catch {
                    guard error.apiError == 10059 else { throw error }
                    return false
                }
            }
        }

        /// Removes what a stream has: all, or what has this subject. Its sequence goes on.
        func purgeStream(
            _ name: String, subject: String? = nil, for time: Duration = .seconds(30)
        ) async throws(BridgeError) {
            try await retrying(for: time) { () throws(BridgeError) in
                _ = try await api(
                    "STREAM.PURGE.\(name)", subject.map { .members([("filter", .string($0))]) },
                    what: "to purge the stream \(name)")
            }
        }

        /// The streams whose names begin so, sorted.
        func streamNames(prefix: String = "", for time: Duration = .seconds(30)) async throws(BridgeError) -> [String] {
            var names: [String] = []
            var seen = 0
            while true {
                let offset = seen
                let json = try await retrying(for: time) { () throws(BridgeError) -> JSONValue in
                    try await api(
                        "STREAM.NAMES", .members([("offset", .integer(offset))]), what: "the names of the streams")
                }
                guard case .array(let page)? = json["streams"], !page.isEmpty else { break }
                seen += page.count
                names += page.compactMap { $0.string }.filter { $0.hasPrefix(prefix) }
                guard seen < json["total"]?.integer ?? 0 else { break }
            }
            return names.sorted()
        }

        /// A stored message, from the leader of its stream.
        /// - Returns: Nil if there is none of this sequence.
        func message(
            of stream: String, _ sequence: UInt64, for time: Duration = .seconds(30)
        ) async throws(BridgeError) -> StoredMessage? {
            try await stored(stream, .members([("seq", .integer(sequence))]), time)
        }

        /// The last message that a stream has of a subject, which may have wildcards; of any if none is given.
        func lastMessage(
            of stream: String, subject: String? = nil, for time: Duration = .seconds(30)
        ) async throws(BridgeError) -> StoredMessage? {
            try await stored(stream, .members([("last_by_subj", .string(subject ?? ">"))]), time)
        }

        private func stored(
            _ stream: String, _ request: JSONValue, _ time: Duration
        ) async throws(BridgeError) -> StoredMessage? {
            try await retrying(for: time) { () throws(BridgeError) -> StoredMessage? in
                do throws(BridgeError) {
                    return try StoredMessage(
                        try await api("STREAM.MSG.GET.\(stream)", request, what: "a message of the stream \(stream)"))
                } catch {
                    guard error.apiError == 10037 else { throw error }
                    return nil
                }
            }
        }
    }

    extension JSONValue {
        /// Whether the members are the same in any order.
        fileprivate func isSame(as other: JSONValue) -> Bool {
            guard case .object(let ours) = self, case .object(let theirs) = other else { return self == other }
            return ours.count == theirs.count
                && ours.allSatisfy { member in other[member.key].map { member.value.isSame(as: $0) } ?? false }
        }
    }
#endif
