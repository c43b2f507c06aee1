#if NATS
    import IPCChannels
    import Synchronization

    /// A value of a bucket.
    struct BucketEntry: Sendable, Equatable {
        let key: String
        /// The sequence in the bucket's stream: a later value of any key has a higher one.
        let revision: UInt64
        /// Nil if the key was deleted.
        let value: [UInt8]?
        /// When it was stored, in nanoseconds since 1970.
        let time: Int64
    }

    /// What a key of a bucket has.
    struct KeyState: Sendable, Equatable {
        /// The identity of the bucket: another one is another bucket of the same name, whose revisions are others.
        let bucket: UInt64
        /// The server's clock afterwards, in nanoseconds since 1970; 0 if the server does not say it.
        let now: Int64
        /// 0 if the key never had a value.
        let revision: UInt64
        /// Nil if there is none, or if it was deleted.
        let value: [UInt8]?
        /// When that was stored, by the same clock.
        let time: Int64
    }

    /// A key-value bucket of JetStream, as other clients of NATS know it: the newest value of each key.
    final class Bucket: Sendable {
        let name: String
        private let connection: NATSConnection
        private let replicas: Int
        private let maximumAge: Duration?
        /// Of its stream, once that is known.
        private let created = Mutex<String?>(nil)

        var stream: String { "KV_\(name)" }

        /// - Parameters:
        ///   - replicas: On how many servers, when it is made.
        ///   - maximumAge: When a value is removed that was not written again.
        init(_ connection: NATSConnection, _ name: String, replicas: Int = 1, maximumAge: Duration? = nil) {
            self.connection = connection
            self.name = name
            self.replicas = replicas
            self.maximumAge = maximumAge
        }

        /// Makes the bucket if there is none; one that is there stays as it is.
        /// - Returns: The state of its stream.
        @discardableResult
        func ensure(for time: Duration = .seconds(30)) async throws(BridgeError) -> StreamState {
            if let state = try await present(for: time) { return state }
            var settings = StreamSettings(name: stream, subjects: ["$KV.\(name).>"])
            settings.discard = .new
            settings.maximumMessagesPerSubject = 1
            settings.maximumAge = maximumAge
            settings.replicas = replicas
            settings.others = [
                ("allow_rollup_hdrs", .bool(true)), ("deny_delete", .bool(true)), ("allow_direct", .bool(true)),
            ]
            do throws(BridgeError) {
                let state = try await connection.ensureStream(settings, for: time)
                created.withLock { $0 = state.created }
                return state
            } catch {
                // Another one has made it meanwhile, with other replicas.
                guard case .refused = error, let state = try await present(for: time) else { throw error }
                return state
            }
        }

        private func present(for time: Duration) async throws(BridgeError) -> StreamState? {
            guard let state = try await connection.streamState(stream, for: time) else { return nil }
            created.withLock { $0 = state.created }
            return state
        }

        private func subject(_ key: String) -> String { "$KV.\(name).\(key)" }

        /// Writes a value.
        /// - Parameter revision: Writes only if the key has this revision; 0: only if it has no value.
        /// - Returns: The revision that it has now.
        /// - Throws: `.refused` with `isOtherRevision` if the key has another revision.
        @discardableResult
        func put(
            _ key: String, _ value: [UInt8], ifRevision revision: UInt64? = nil, for time: Duration = .seconds(30)
        ) async throws(BridgeError) -> UInt64 {
            try await publish(key, value, [], revision, time)
        }

        /// Deletes a value; watchers are told.
        func delete(_ key: String, for time: Duration = .seconds(30)) async throws(BridgeError) {
            _ = try await publish(key, [], [("KV-Operation", "DEL")], nil, time)
        }

        private func publish(
            _ key: String, _ value: [UInt8], _ headers: [(String, String)], _ revision: UInt64?, _ time: Duration
        ) async throws(BridgeError) -> UInt64 {
            var headers = headers
            if let revision { headers.append(("Nats-Expected-Last-Subject-Sequence", String(revision))) }
            let all = headers
            return try await connection.retrying(for: time) { () throws(BridgeError) -> UInt64 in
                try await connection.store(
                    subject(key), headers: all, value, what: "to write the key \(key) of the bucket \(name)")
            }
        }

        /// The newest value, from the leader.
        /// - Returns: Nil if there is none, or if it was deleted.
        func get(_ key: String, for time: Duration = .seconds(30)) async throws(BridgeError) -> BucketEntry? {
            guard let stored = try await connection.lastMessage(of: stream, subject: subject(key), for: time),
                stored.header("KV-Operation") == nil
            else { return nil }
            return BucketEntry(key: key, revision: stored.sequence, value: stored.bytes, time: stored.time)
        }

        /// What a key has, and the clock of the server that has it.
        func look(at key: String, for time: Duration = .seconds(30)) async throws(BridgeError) -> KeyState {
            let stored = try await connection.lastMessage(of: stream, subject: subject(key), for: time)
            let state = try await connection.streamState(stream, for: time)
            return KeyState(
                bucket: state?.identity ?? 0, now: state?.now ?? 0, revision: stored?.sequence ?? 0,
                value: stored.flatMap { $0.header("KV-Operation") == nil ? $0.bytes : nil }, time: stored?.time ?? 0)
        }

        /// Watches: first the newest value of each key, then each change. Only the bucket that ``ensure(for:)`` has seen, if it was called.
        /// - Parameter keys: A key, or a pattern with `*` and `>`.
        func watch(_ keys: String = ">") -> BucketWatch {
            BucketWatch(connection, self, created: created.withLock { $0 }, keys)
        }
    }

    /// Tells of the values of a bucket. It comes back by itself after lost connections, and then tells what is newer than what it told
    /// last: of several changes of one key meanwhile, the last. Of one task at a time.
    final class BucketWatch: @unchecked Sendable {
        enum Event: Sendable, Equatable {
            case entry(BucketEntry)
            /// All keys that there were at the start have been told. Comes once.
            case complete
        }
        private let reader: StreamReader
        private let prefix: String
        private var isComplete = false

        fileprivate init(_ connection: NATSConnection, _ bucket: Bucket, created: String?, _ keys: String) {
            prefix = "$KV.\(bucket.name)."
            reader = StreamReader(
                connection, stream: bucket.stream, created: created, from: .lastPerSubject, filter: prefix + keys,
                window: 256)
        }

        /// What happens next.
        /// - Returns: Nil if nothing did in time.
        func next(timeout: Duration? = nil) async throws(BridgeError) -> Event? {
            if !isComplete, reader.isAtEnd {
                isComplete = true
                return .complete
            }
            if reader.consumersMade == 0 {
                guard try await reader.prepare(timeout: timeout) else { return nil }
                return try await next(timeout: timeout)
            }
            guard let next = try await reader.next(timeout: timeout) else { return nil }
            let isDeleted =
                next.message.header("KV-Operation") != nil || next.message.header("Nats-Marker-Reason") != nil
            return .entry(
                BucketEntry(
                    key: String(next.message.subject.dropFirst(prefix.count)), revision: next.sequence,
                    value: isDeleted ? nil : next.message.bytes, time: next.time))
        }

        func close() { reader.close() }
    }
#endif
