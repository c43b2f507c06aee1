#if NATS
    import IPC
    import IPCChannels

    /// What both directions of a latest value have in common.
    ///
    /// The newest value is the one that was set last. Two values are compared by the first of these that decides:
    ///
    /// 1. A value that was set on a machine after another one was written there is newer than that.
    /// 2. The one that was set later by the server's clock is newer. A value travels with its age: how long it waited for the server. So
    ///    it was set at the time when it was stored, less its age, and the machines' clocks do not matter.
    ///
    /// The export stores a value only if it is newer than what the key has. What the key has last is the newest of all machines, and the
    /// import writes it wherever the newest value is another one, once the export has decided about that.
    enum LatestCarrying {
        /// Carries with the bucket of all latest values, until it is another one: that is looked at after each loss of the connection.
        ///
        /// - Parameter body: Is given the bucket and its identity: not 0.
        static func carry(
            _ context: CarrierContext, _ body: @escaping @Sendable (Bucket, UInt64) async throws -> Void
        ) async throws {
            try await context.connection.waitUntilConnected()
            try context.connection.checkPayload()
            let losses = context.connection.makeMailbox()
            defer { losses.close() }
            let (bucket, identity) = try await bucket(context)
            context.status.set(.carrying)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await body(bucket, identity) }
                group.addTask { try await watch(identity, losses, context) }
                defer { group.cancelAll() }
                try await group.next()
            }
        }

        private static func watch(_ identity: UInt64, _ losses: Mailbox, _ context: CarrierContext) async throws {
            while true {
                do throws(BridgeError) { _ = try await losses.next() } catch {
                    guard error == .connectionLost else { throw error }
                }
                try await context.connection.waitUntilConnected()
                guard try await bucket(context).identity == identity else {
                    throw StartAnew("the bucket \(context.names.latestBucket) was made anew")
                }
            }
        }

        private static func bucket(_ context: CarrierContext) async throws -> (bucket: Bucket, identity: UInt64) {
            let bucket = Bucket(context.connection, context.names.latestBucket, replicas: context.rule.replicas)
            // Revisions of buckets with different identities cannot be compared.
            return (bucket, try await bucket.ensure().identity)
        }

        /// - Parameter age: How long ago it was set, in nanoseconds.
        static func body(
            _ value: [UInt8], _ machine: Machine, _ incarnation: UInt64, _ position: UInt64, age: UInt64
        ) -> [UInt8] {
            var writer = EnvelopeWriter(Envelope.Header(kind: .value, machine: machine.hash, incarnation: incarnation))
            writer.header.missed = age
            writer.append(position: position, value.span.bytes)
            return writer.finish()
        }
    }

    /// The revision of a value, with the bucket that it is of: the sequence in ``MessageOrigin``.
    struct LatestRevision: Hashable, Sendable {
        private static let bits: UInt64 = 44
        private static let mask: UInt64 = 1 << bits - 1

        let sequence: UInt64
        var revision: UInt64 { sequence & Self.mask }

        init(_ sequence: UInt64) { self.sequence = sequence }

        init(_ revision: UInt64, in bucket: UInt64) { sequence = (bucket << Self.bits) | (revision & Self.mask) }

        func isOf(_ bucket: UInt64) -> Bool { sequence & ~Self.mask == bucket << Self.bits }
    }

    /// How far this machine's values are stored, in a small file beside the channels.
    ///
    /// Each field is stored by itself, in such an order that a process killed between two of them leaves what is still true.
    struct LatestNote: Sendable {
        enum State: Equatable {
            /// It is not decided whether it is newer than what the key has.
            case new
            /// It has this revision, or is older than the one after that.
            case decided(UInt64)
        }

        private let file: NoteFile

        init(_ context: CarrierContext) throws(IPCError) {
            file = try NoteFile("\(context.names.latestBucket)-\(context.names.key(context.name))", in: context.root)
        }

        /// What was decided about a value.
        ///
        /// - Parameters:
        ///   - incarnation: Of the local channel.
        ///   - position: Where the value ends in the local log.
        ///   - bucket: The identity of the bucket. Nothing is decided for another one.
        func state(of incarnation: UInt64, _ position: UInt64, in bucket: UInt64) -> State {
            guard file[0] == incarnation, file[3] == bucket, position <= file[1] else { return .new }
            return .decided(file[2])
        }

        func decide(_ incarnation: UInt64, _ position: UInt64, in bucket: UInt64, revision: UInt64) {
            // Nothing is noted in between.
            file[0] = 0
            (file[3], file[2], file[1]) = (bucket, revision, position)
            file[0] = incarnation
        }

        /// When a value was seen first, in nanoseconds of CLOCK_MONOTONIC; nil if it is another one than the last that was seen.
        func timeSeen(_ incarnation: UInt64, _ position: UInt64) -> UInt64? {
            file[4] == incarnation &+ position ? file[5] : nil
        }

        func see(_ incarnation: UInt64, _ position: UInt64, at time: UInt64) {
            file[4] = 0
            file[5] = time
            file[4] = incarnation &+ position
        }

        /// The newest value of the bucket that was written here.
        var imported: LatestRevision {
            get { LatestRevision(file[6]) }
            nonmutating set { file[6] = newValue.sequence }
        }
    }
#endif
