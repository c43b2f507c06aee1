#if NATS
    import IPC
    import IPCChannels

    /// What travels of a call: an ``Envelope`` of three records, or of one that answers.
    ///
    /// | record | of a call | of an answer |
    /// |---|---|---|
    /// | 1 | the time left in nanoseconds (8; all ones for no limit), the limit of the reply in bytes (8) | reply and failure: the bytes |
    /// | 2 | the metadata: for each pair the lengths (2 and 2), key, value, in UTF-8 | |
    /// | 3 | the request | |
    ///
    /// An answer of the kind ``Envelope/Kind/void`` tells by the position of its record what became of the call: ``CallAnswer/Word``.
    struct CallMessage: Sendable {
        /// Nil for a call that waits for ever.
        var timeLeft: Duration?
        var replyLimit: Int
        var metadata: [String: String]
        var request: [UInt8]

        /// The machine that called: the metadata name it to the server.
        static let machineKey = "ipc.machine"

        func bytes(from machine: Machine) -> [UInt8] {
            var writer = EnvelopeWriter(Envelope.Header(kind: .call, machine: machine.hash, incarnation: 0))
            var numbers: [UInt8] = []
            let nanoseconds = timeLeft.map { UInt64(clamping: $0.nanoseconds) } ?? .max
            for number in [nanoseconds, UInt64(replyLimit)] { numbers.append(littleEndian: number) }
            writer.append(position: 1, numbers.span.bytes)
            var pairs: [UInt8] = []
            for (key, value) in metadata {
                for text in [key, value] { pairs.append(littleEndian: UInt16(clamping: text.utf8.count)) }
                pairs.append(contentsOf: key.utf8)
                pairs.append(contentsOf: value.utf8)
            }
            writer.append(position: 2, pairs.span.bytes)
            writer.append(position: 3, request.span.bytes)
            return writer.finish()
        }

        init(timeLeft: Duration?, replyLimit: Int, metadata: [String: String], request: [UInt8]) {
            (self.timeLeft, self.replyLimit, self.metadata, self.request) = (timeLeft, replyLimit, metadata, request)
        }

        /// Reads what anybody may have sent.
        init(reading body: [UInt8]) throws(EnvelopeError) {
            let envelope = try Envelope(reading: body.span.bytes)
            guard envelope.header.kind == .call, envelope.records.count == 3, envelope.records[0].range.count == 16
            else {
                throw EnvelopeError(reason: "it is not a call")
            }
            let numbers = envelope.records[0].range.lowerBound
            let nanoseconds: UInt64 = body.span.bytes.number(at: numbers)
            timeLeft = nanoseconds == .max ? nil : .nanoseconds(Int64(clamping: nanoseconds))
            replyLimit = Int(min(body.span.bytes.number(at: numbers + 8), UInt64(Int32.max)))
            metadata = [:]
            var pairs = body[envelope.records[1].range]
            while !pairs.isEmpty {
                guard pairs.count >= 4 else { throw EnvelopeError(reason: "its metadata are cut off") }
                let start = pairs.startIndex
                let lengths = [0, 2].map { Int(pairs[start + $0]) | Int(pairs[start + $0 + 1]) << 8 }
                guard pairs.count - 4 >= lengths[0] + lengths[1] else {
                    throw EnvelopeError(reason: "its metadata are cut off")
                }
                let value = start + 4 + lengths[0]
                metadata[String(decoding: pairs[start + 4..<value], as: UTF8.self)] =
                    String(decoding: pairs[value..<value + lengths[1]], as: UTF8.self)
                pairs = pairs[(value + lengths[1])...]
            }
            request = Array(body[envelope.records[2].range])
        }
    }

    /// What comes back of a call.
    enum CallAnswer: Hashable, Sendable {
        /// What became of a call without bytes of its server.
        enum Word: UInt64, Sendable {
            /// A server has it, or will: it goes on.
            case inProgress = 1
            /// No server was there: it was not executed.
            case notTaken
            /// Its server died or dropped it: perhaps it was executed in part.
            case lost
            /// The service's limit of waiting calls is reached: it was not executed.
            case overloaded
            /// Its deadline passed.
            case timedOut
            /// The reply is larger than the caller allows.
            case replyTooLarge
            /// The serving side could not use it: the text says why.
            case refused
            /// The reply is larger than the server between the machines takes: the text is its size in bytes.
            case replyCannotBeSent
            /// The request is larger than the server between the machines takes. The calling side says that to itself.
            case requestCannotBeSent
        }

        case reply([UInt8])
        case failure([UInt8])
        case word(Word, String)

        func bytes(from machine: Machine) -> [UInt8] {
            let (kind, position, payload): (Envelope.Kind, UInt64, [UInt8]) =
                switch self {
                case .reply(let bytes): (.reply, 1, bytes)
                case .failure(let bytes): (.failure, 1, bytes)
                case .word(let word, let text): (.void, word.rawValue, Array(text.utf8))
                }
            var writer = EnvelopeWriter(Envelope.Header(kind: kind, machine: machine.hash, incarnation: 0))
            writer.append(position: position, payload.span.bytes)
            return writer.finish()
        }

        /// Reads what anybody may have sent.
        init(reading body: [UInt8]) throws(EnvelopeError) {
            let envelope = try Envelope(reading: body.span.bytes)
            guard envelope.records.count == 1 else { throw EnvelopeError(reason: "it is not an answer") }
            let payload = Array(body[envelope.records[0].range])
            switch envelope.header.kind {
            case .reply: self = .reply(payload)
            case .failure: self = .failure(payload)
            case .void:
                guard let word = Word(rawValue: envelope.records[0].position) else {
                    throw EnvelopeError(reason: "it is an answer that this bridge does not know")
                }
                self = .word(word, String(decoding: payload, as: UTF8.self))
            default: throw EnvelopeError(reason: "it is not an answer")
            }
        }
    }
#endif
