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
        // Doubts since the server stored something, and the last reason that was told.
        var doubts = 0
        var told: String?
        // What follows for a topic is short, and an acknowledgement a small message: no thread has to wake between the two.
        let follower = context.isUrgent ? DeliveryExecutor.shared : nil
        while true {
            let writer = StreamWriter(
                context.connection, stream: stream, subject: subject, after: stored, mayBlock: context.isUrgent)
            context.status.set(.carrying)
            let (start, end) = (ContinuousClock.now, stored)
            do {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await send(writer) }
                    group.addTask(executorPreference: follower) { try await follow(writer) }
                    if doubts > 0 {
                        group.addTask(executorPreference: follower) {
                            try await tellWhenStored(context.status, writer, after: end)
                        }
                    }
                    defer { group.cancelAll() }
                    try await group.next()
                }
            } catch BridgeError.doubt(let stream, let reason) {
                try Task.checkCancellation()
                if writer.acknowledged > stored { (doubts, told) = (0, nil) }
                doubts += 1
                let violation = context.connection.violation(publishingTo: subject, since: start)
                let reason = violation?.description ?? reason
                // A lost connection is told by itself.
                let isNews = told != reason && context.connection.isConnected && reason != StreamWriter.connectionLost
                context.logger.log(
                    level: isNews ? .warning : .debug, "it is in doubt what is stored, and sent again",
                    metadata: ["stream": "\(stream)", "reason": "\(reason)"])
                if isNews { told = reason }
                if violation != nil || doubts > 1 { context.status.setHindrance("nothing is stored: \(reason)") }
                stored = try await settle()
            }
        }
    }

    /// Takes the hindrance from the status once something is stored. Ends with the writer.
    private func tellWhenStored(_ status: CarrierStatus, _ writer: StreamWriter, after end: UInt64) async throws {
        try await writer.waitForAcknowledgement(of: end + 1)
        status.setHindrance(nil)
        try await writer.waitForAcknowledgement(of: .max)
    }
#endif
