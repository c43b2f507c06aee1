#if NATS
    import IPC
    import IPCChannels

    /// What both directions of a latest value have in common.
    enum LatestCarrying {
        /// The bucket of all latest values.
        static func bucket(_ context: CarrierContext) async throws -> Bucket {
            let bucket = Bucket(context.connection, context.names.latestBucket, replicas: context.rule.replicas)
            try await bucket.ensure()
            return bucket
        }

        static func body(
            _ value: [UInt8], _ machine: Machine, _ incarnation: UInt64, _ position: UInt64
        ) -> [UInt8] {
            var writer = EnvelopeWriter(Envelope.Header(kind: .value, machine: machine.hash, incarnation: incarnation))
            writer.append(position: position, value.span.bytes)
            return writer.finish()
        }
    }

    /// How far this machine's values are stored, in a small file beside the channels.
    ///
    /// Each field is stored by itself, in such an order that a process killed between two of them leaves what is still true.
    struct LatestNote: Sendable {
        enum State: Equatable {
            /// It was not sent.
            case new
            /// It may be stored, if the key had this revision before.
            case sent(after: UInt64)
            /// It is stored, or a newer one is.
            case stored(UInt64)
        }

        private let file: NoteFile

        init(_ context: CarrierContext) throws(IPCError) {
            file = try NoteFile("\(context.names.latestBucket)-\(context.names.key(context.name))", in: context.root)
        }

        /// - Parameter position: Where the value ends in the local log.
        func state(of incarnation: UInt64, _ position: UInt64) -> State {
            guard file[0] == incarnation, position <= file[1] else { return .new }
            return file[3] == 1 && position == file[1] ? .sent(after: file[2]) : .stored(file[2])
        }

        func begin(_ incarnation: UInt64, _ position: UInt64, revision: UInt64) {
            // Nothing is noted in between.
            file[0] = 0
            (file[3], file[2], file[1]) = (1, revision, position)
            file[0] = incarnation
        }

        func finish(revision: UInt64) { (file[2], file[3]) = (revision, 0) }
    }
#endif
