#if NATS
    import CNATS
    import Synchronization

    /// A message as the library gave it: it owns the library's memory and copies nothing until asked.
    final class NATSMessage: @unchecked Sendable {
        private let message: OpaquePointer
        // The library parses headers when they are first asked for.
        private let headers = Mutex<Void>(())

        /// Takes the message over.
        init(owning message: OpaquePointer) { self.message = message }

        deinit { natsMsg_Destroy(message) }

        var subject: String { String(cString: natsMsg_GetSubject(message)) }

        var reply: String? { natsMsg_GetReply(message).map { String(cString: $0) } }

        var count: Int { Int(natsMsg_GetDataLength(message)) }

        /// A copy of the body.
        var bytes: [UInt8] { withBytes { Array($0) } }

        /// Lends the body.
        func withBytes<Result, Failure: Error>(
            _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
        ) throws(Failure) -> Result {
            try body(UnsafeRawBufferPointer(start: natsMsg_GetData(message), count: count))
        }

        /// Lends the body as a span.
        func withSpan<Result, Failure: Error>(_ body: (RawSpan) throws(Failure) -> Result) throws(Failure) -> Result {
            try body(UnsafeRawBufferPointer(start: natsMsg_GetData(message), count: count).bytes)
        }

        /// The first value of a header; its name is case-sensitive.
        func header(_ name: String) -> String? {
            headers.withLock { _ in
                var value: UnsafePointer<CChar>?
                guard natsMsgHeader_Get(message, name, &value) == NATS_OK else { return nil }
                return value.map { String(cString: $0) }
            }
        }

        /// The status of a message of the server itself: 100 heartbeat, 404 no messages, 408 request expired, 409 consumer
        /// deleted and the like, 503 no responders. Only messages without a body have one.
        var status: Int? { count > 0 ? nil : header("Status").flatMap { Int($0) } }

        /// Where JetStream has this message from; nil if it is from no consumer.
        var delivery: Delivery? { reply.flatMap { Delivery($0) } }
    }

    /// What JetStream says of a message in its reply subject: `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream's sequence>.
    /// <consumer's sequence>.<time>.<pending>`, or with domain and account before the stream.
    struct Delivery: Sendable, Equatable {
        let stream: String
        let consumer: String
        /// How often it was delivered, this time included.
        let deliveries: Int
        let streamSequence: UInt64
        let consumerSequence: UInt64
        /// When it was stored, in nanoseconds since 1970.
        let time: Int64
        /// How many messages of the stream come after it for this consumer.
        let pending: UInt64

        init?(_ reply: String) {
            guard reply.utf8.starts(with: "$JS.ACK.".utf8) else { return nil }
            let tokens = reply.split(separator: ".", omittingEmptySubsequences: false)
            let base = tokens.count >= 11 ? 4 : 2
            guard tokens.count == 9 || tokens.count >= 11, let deliveries = Int(tokens[base + 2]),
                let streamSequence = UInt64(tokens[base + 3]), let consumerSequence = UInt64(tokens[base + 4]),
                let time = Int64(tokens[base + 5]), let pending = UInt64(tokens[base + 6])
            else { return nil }
            stream = String(tokens[base])
            consumer = String(tokens[base + 1])
            self.deliveries = deliveries
            self.streamSequence = streamSequence
            self.consumerSequence = consumerSequence
            self.time = time
            self.pending = pending
        }
    }
#endif
