#if NATS
    import IPC
    import IPCChannels

    /// Carries a topic by core NATS, to whoever is connected.
    final class BestEffortTopicExport: @unchecked Sendable {
        // `@unchecked`: one task uses it.
        private let context: CarrierContext
        private var pump: TopicPump
        private let subject: String

        init(_ context: CarrierContext, _ channel: AnyChannel, mayBlock: Bool) throws {
            self.context = context
            subject = context.names.subject(.bestEffort, of: context.machine, context.name)
            pump = try TopicPump(channel, channel.incarnation, context, mayBlock: mayBlock)
        }

        func run() async throws {
            context.status.set(.carrying)
            // Of what the next batch has missed, the part that was counted already.
            var counted: UInt64 = 0
            while true {
                let batches = try await pump.next()
                for (index, batch) in batches.enumerated() {
                    do {
                        try context.connection.publish(
                            subject, copying: batch.bytes.span.bytes, mayBlock: context.isUrgent)
                        context.status.addCarried(batch.count, bytes: batch.bytes.count)
                        context.status.addDropped(batch.missed - counted)
                        counted = 0
                    } catch {
                        // Told to the others with the next batch that leaves.
                        let lost = batches[index...].reduce(0) { $0 + UInt64($1.count) + $1.missed }
                        pump.lose(lost)
                        context.status.addDropped(lost - counted)
                        counted = lost
                        if case BridgeError.tooLarge = error { try context.connection.checkPayload() }
                        break
                    }
                }
                // Others may be on the same thread.
                if context.isUrgent { await Task.yield() }
            }
        }
    }
#endif
