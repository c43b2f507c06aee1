#if NATS
    import IPC
    import IPCChannels

    /// Makes the notices of all other machines on this one, marked so that they are not carried on.
    struct EventImport: Carrier {
        let context: CarrierContext

        func run() async throws {
            let channel = try context.openChannel()
            let mailbox = context.connection.subscribe(context.names.subjectOfAll(.event, context.name))
            defer { mailbox.close() }
            // What the server answers came after the subscription to it: from here on nothing is missed.
            try await context.connection.waitUntilConnected()
            _ = try await context.connection.roundTrip()
            var writer = try channel.makeWriter()
            context.status.set(.carrying)
            while true {
                try Task.checkCancellation()
                guard let message = try await mailbox.next(), let notice = read(message) else { continue }
                try writer.notifyCarried(count: Int(notice.notices))
                if notice.notificationsToAll > 0 { try writer.notifyAllCarried() }
                context.status.addCarried(Int(notice.count), bytes: 0)
            }
        }

        /// - Returns: Nil if it is of this machine, or not what a bridge sends.
        private func read(_ message: NATSMessage) -> EventNotice? {
            do throws(EnvelopeError) {
                return try message.withSpan { (body) throws(EnvelopeError) -> EventNotice? in
                    let envelope = try Envelope(reading: body)
                    guard envelope.header.machine != context.machine.hash else { return nil }
                    return try EventNotice(envelope, in: body)
                }
            } catch {
                context.logger.warning(
                    "a message was ignored", metadata: ["subject": "\(message.subject)", "reason": "\(error)"])
                context.status.addDropped(1)
                return nil
            }
        }
    }
#endif
