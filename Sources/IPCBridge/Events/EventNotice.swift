#if NATS
    import IPC
    import IPCChannels

    /// What was made on one machine since its bridge told last.
    struct EventNotice: Hashable, Sendable {
        var notices: UInt64
        var notificationsToAll: UInt64

        /// For the status.
        var count: UInt64 { notices &+ notificationsToAll }

        /// More than that at once is not believed.
        private static let limit: UInt64 = 1 << 32

        init(notices: UInt64, notificationsToAll: UInt64) {
            (self.notices, self.notificationsToAll) = (notices, notificationsToAll)
        }

        /// Reads what anybody may have sent.
        init(_ envelope: Envelope, in body: RawSpan) throws(EnvelopeError) {
            guard envelope.header.kind == .notice, envelope.records.count == 1, envelope.records[0].range.count == 16
            else { throw EnvelopeError(reason: "it has no notices of an event") }
            let start = envelope.records[0].range.lowerBound
            (notices, notificationsToAll) = (body.number(at: start), body.number(at: start + 8))
            guard notices <= Self.limit, notificationsToAll <= Self.limit else {
                throw EnvelopeError(reason: "it has \(notices) notices, and \(notificationsToAll) to all")
            }
        }

        func body(_ machine: Machine, _ incarnation: UInt64) -> [UInt8] {
            var writer = EnvelopeWriter(Envelope.Header(kind: .notice, machine: machine.hash, incarnation: incarnation))
            let numbers = [notices.littleEndian, notificationsToAll.littleEndian]
            numbers.withUnsafeBytes { writer.append(position: 1, $0.bytes) }
            return writer.finish()
        }
    }
#endif
