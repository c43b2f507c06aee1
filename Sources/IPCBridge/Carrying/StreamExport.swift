#if NATS
    /// Stores in a stream that has this one writer, and goes on after each doubt from what is stored by then.
    ///
    /// - Parameters:
    ///   - stored: The sequence that the stream ends with.
    ///   - send: Sends what is not known to be stored, and then what comes, until it throws.
    ///   - follow: Follows what the server acknowledges, until it throws.
    ///   - settle: Asks the server after a doubt what is stored; returns the sequence that the stream ends with.
    func exportToStream(
        _ context: CarrierContext, _ stream: String, _ subject: String, after stored: UInt64,
        send: @escaping @Sendable (StreamWriter) async throws -> Void,
        follow: @escaping @Sendable (StreamWriter) async throws -> Void, settle: () async throws -> UInt64
    ) async throws {
        var stored = stored
        // What follows for a topic is short, and an acknowledgement a small message: no thread has to wake between the two.
        let follower = context.pattern == .topic ? DeliveryExecutor.shared : nil
        while true {
            let writer = StreamWriter(
                context.connection, stream: stream, subject: subject, after: stored, mayBlock: context.isUrgent)
            context.status.set(.carrying)
            do {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await send(writer) }
                    group.addTask(executorPreference: follower) { try await follow(writer) }
                    defer { group.cancelAll() }
                    try await group.next()
                }
            } catch BridgeError.doubt {
                try Task.checkCancellation()
                stored = try await settle()
            }
        }
    }
#endif
