#if NATS
    import IPC
    import IPCChannels

    /// Tells the other machines of notices that are made on this one, and takes none away from those who wait here.
    ///
    /// What was told and not seen by the server before a connection was lost is told again. What is made while there is none is told
    /// when there is one.
    struct EventExport: Carrier {
        let context: CarrierContext

        func run() async throws {
            let channel = try context.openChannel()
            let incarnation = try channel.incarnation
            var reader = try channel.makeReader()
            // What was made before is over.
            var told = try reader.eventCounts()
            context.status.set(.carrying)
            while true {
                var counts = try await reader.waitForNotices(after: told)
                while try await !tell(Self.difference(counts, told), incarnation) {
                    context.status.addRedelivered(1)
                    counts = try await reader.waitForNotices(after: told)
                }
                context.status.addCarried(Int(clamping: Self.difference(counts, told).count), bytes: 0)
                told = counts
            }
        }

        private static func difference(_ counts: EventCounts, _ told: EventCounts) -> EventNotice {
            EventNotice(
                notices: counts.notices &- told.notices,
                notificationsToAll: counts.notificationsToAll &- told.notificationsToAll)
        }

        /// - Returns: Whether the server has it.
        private func tell(_ notice: EventNotice, _ incarnation: UInt64) async throws -> Bool {
            let connection = context.connection
            try await connection.waitUntilConnected()
            let subject = context.names.subject(.event, of: context.machine, context.name)
            let start = ContinuousClock.now
            do throws(BridgeError) {
                try connection.publish(subject, notice.body(context.machine, incarnation))
                // What the server answers came after that to it.
                _ = try await connection.roundTrip()
                let violation = connection.violation(publishingTo: subject, since: start)
                context.status.setHindrance(violation?.description)
                return true
            } catch {
                guard error.mayPass else { throw error }
            }
            try await Task.sleep(for: .milliseconds(100))
            return false
        }
    }
#endif
