#if NATS
    /// What fits into one message of the server that this is connected to.
    extension NATSConnection {
        /// For the headers of a message.
        private static let headerReserve = 512
        /// The server's `max_payload` has to be as much: the requests to JetStream need it, too.
        private static let leastPayload = 4096

        /// How many bytes of body fit into one message beside its headers; positive, whatever the server says.
        var bodyLimit: Int { max(maximumPayload, Self.leastPayload) - Self.headerReserve }

        /// How many bytes a message of a channel may have that is alone in an envelope.
        var singleLimit: Int { bodyLimit - Envelope.headerSize - EnvelopeWriter.size(of: 0) }

        /// Refuses a server whose messages are too small to carry anything by them. There has to have been a connection.
        func checkPayload() throws(Refusal) {
            let limit = maximumPayload
            guard limit < Self.leastPayload else { return }
            throw Refusal(
                "the server takes messages of at most \(limit) bytes, which is too little for a bridge; set its max_payload to \(Self.leastPayload) or more"
            )
        }
    }
#endif
