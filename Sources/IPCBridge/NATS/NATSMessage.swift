#if NATS
    import CNATS
    import Glibc
    import Synchronization

    /// A message as the library gave it: it owns the library's memory and copies nothing until asked.
    final class NATSMessage: @unchecked Sendable {
        private let message: OpaquePointer
        /// When it was taken over.
        let arrived = ContinuousClock.now
        // The library parses headers when they are first asked for.
        private let headers = Mutex<Void>(())

        /// Takes the message over.
        init(owning message: OpaquePointer) { self.message = message }

        deinit { SpentMessages.give(message, count) }

        var subject: String { String(cString: natsMsg_GetSubject(message)) }

        var reply: String? { natsMsg_GetReply(message).map { String(cString: $0) } }

        var count: Int { Int(natsMsg_GetDataLength(message)) }

        /// About how many bytes of memory it needs: the library does not tell how long its headers are.
        var weight: Int { count + 256 }

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

        /// Whether its subject begins with this.
        func hasSubject(withPrefix prefix: String) -> Bool {
            Self.text(natsMsg_GetSubject(message)).starts(with: prefix.utf8)
        }

        /// The length of its subject in bytes.
        var subjectLength: Int { Self.text(natsMsg_GetSubject(message)).count }

        /// Where JetStream has this message from; nil if it is from no consumer.
        var delivery: Delivery? { natsMsg_GetReply(message).flatMap { Delivery(Self.text($0)) } }

        /// The stream and the consumer that it is from, with a point between; nil if it is from none.
        var source: String? { natsMsg_GetReply(message).flatMap { Delivery.source(in: Self.text($0)) } }

        private static func text(_ text: UnsafePointer<CChar>?) -> UnsafeRawBufferPointer {
            UnsafeRawBufferPointer(start: text, count: text.map { strlen($0) } ?? 0)
        }
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

        /// Read without a string for each token, as it comes with each message.
        init?(_ reply: UnsafeRawBufferPointer) {
            guard
                let read: Delivery = Self.withTokens(
                    of: reply,
                    { tokens in
                        guard let deliveries = Int(exactly: Self.number(reply, tokens[2]) ?? .max),
                            let streamSequence = Self.number(reply, tokens[3]),
                            let consumerSequence = Self.number(reply, tokens[4]),
                            let time = Int64(exactly: Self.number(reply, tokens[5]) ?? .max),
                            let pending = Self.number(reply, tokens[6])
                        else { return nil }
                        return Delivery(
                            stream: String(decoding: reply[tokens[0]], as: UTF8.self),
                            consumer: String(decoding: reply[tokens[1]], as: UTF8.self), deliveries: deliveries,
                            streamSequence: streamSequence, consumerSequence: consumerSequence, time: time,
                            pending: pending)
                    })
            else { return nil }
            self = read
        }

        private init(
            stream: String, consumer: String, deliveries: Int, streamSequence: UInt64, consumerSequence: UInt64,
            time: Int64, pending: UInt64
        ) {
            (self.stream, self.consumer, self.deliveries) = (stream, consumer, deliveries)
            (self.streamSequence, self.consumerSequence) = (streamSequence, consumerSequence)
            (self.time, self.pending) = (time, pending)
        }

        /// The stream and the consumer, with a point between.
        static func source(in reply: UnsafeRawBufferPointer) -> String? {
            withTokens(of: reply) { tokens in
                String(decoding: reply[tokens[0].lowerBound..<tokens[1].upperBound], as: UTF8.self)
            }
        }

        private static let prefix = Array("$JS.ACK.".utf8)

        /// Lends the places of the tokens from that of the stream on, of which there are at least seven.
        private static func withTokens<Result>(
            of reply: UnsafeRawBufferPointer, _ body: (UnsafeMutableBufferPointer<Range<Int>>.SubSequence) -> Result?
        ) -> Result? {
            guard reply.starts(with: prefix) else { return nil }
            return withUnsafeTemporaryAllocation(of: Range<Int>.self, capacity: 9) { tokens in
                // Those after the prefix: 7, or with domain and account 9 and perhaps more.
                var count = 0
                var start = prefix.count
                for index in prefix.count...reply.count where index == reply.count || reply[index] == UInt8(ascii: ".")
                {
                    if count < tokens.count { tokens.initializeElement(at: count, to: start..<index) }
                    count += 1
                    start = index + 1
                }
                guard count == 7 || count >= 9 else { return nil }
                let places = UnsafeMutableBufferPointer(rebasing: tokens[(count == 7 ? 0 : 2)..<(count == 7 ? 7 : 9)])
                return body(places[...])
            }
        }

        private static func number(_ text: UnsafeRawBufferPointer, _ token: Range<Int>) -> UInt64? {
            var number: UInt64 = 0
            for index in token {
                let digit = text[index] &- UInt8(ascii: "0")
                let (product, isTooLarge) = number.multipliedReportingOverflow(by: 10)
                let (sum, isTooLargeToo) = product.addingReportingOverflow(UInt64(digit))
                guard digit < 10, !isTooLarge, !isTooLargeToo else { return nil }
                number = sum
            }
            return token.isEmpty ? nil : number
        }
    }
#endif
