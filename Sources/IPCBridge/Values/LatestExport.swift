#if NATS
    import IPC
    import IPCChannels

    /// Carries what is set on this machine to the key of a latest value.
    ///
    /// Each value is noted before it is sent, with the revision that the key had then. So a bridge that was killed in between does not
    /// send an old value over a newer one of another machine.
    struct LatestExport: Carrier {
        let context: CarrierContext

        func run() async throws {
            let channel = try context.openChannel()
            let incarnation = try channel.incarnation
            try await context.connection.waitUntilConnected()
            let bucket = try await LatestCarrying.bucket(context)
            let note = try LatestNote(context)
            var reader = try channel.makeReader()
            context.status.set(.carrying)
            while true {
                let value = try await reader.receive()
                guard reader.origin == nil, let position = reader.position?.offset else { continue }
                let state = note.state(of: incarnation, position)
                if case .stored = state { continue }
                let body = LatestCarrying.body(value, context.machine, incarnation, position)
                guard body.count <= context.connection.maximumPayload else {
                    throw Refusal(
                        "a value of \(context.name) has \(value.count) bytes, which the server does not take: raise max_payload there"
                    )
                }
                if case .sent(let revision) = state {
                    // By a process that was killed: it is stored only if nothing was since.
                    try await put(body, bucket, ifRevision: revision)
                } else {
                    try await put(body, bucket, note, incarnation, position)
                }
                context.status.addCarried(1, bytes: value.count)
            }
        }

        /// Stores a value after all that is stored now.
        private func put(
            _ body: [UInt8], _ bucket: Bucket, _ note: LatestNote, _ incarnation: UInt64, _ position: UInt64
        ) async throws {
            while true {
                let revision = try await bucket.get(key)?.revision ?? 0
                note.begin(incarnation, position, revision: revision)
                if let stored = try await put(body, bucket, ifRevision: revision) {
                    return note.finish(revision: stored)
                }
            }
        }

        /// - Returns: The revision that the value has; nil if the key has another value by now.
        @discardableResult
        private func put(_ body: [UInt8], _ bucket: Bucket, ifRevision revision: UInt64) async throws -> UInt64? {
            do throws(BridgeError) { return try await bucket.put(key, body, ifRevision: revision) } catch {
                guard error.isOtherRevision else { throw error }
                // It may be this one: the answer was lost, and it was sent again.
                guard let present = try await bucket.get(key), present.value == body else { return nil }
                return present.revision
            }
        }

        private var key: String { context.names.key(context.name) }
    }
#endif
