#if NATS
    import IPCChannels

    /// A message that a stream has, as it was asked for alone.
    struct StoredMessage: Sendable {
        let sequence: UInt64
        let subject: String
        let bytes: [UInt8]
        /// When it was stored, in nanoseconds since 1970; 0 if the server does not say it.
        let time: Int64
        private let headers: [(name: String, value: String)]

        /// The first value of a header; its name is case-sensitive.
        func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
    }

    extension StoredMessage {
        init(_ json: JSONValue) throws(BridgeError) {
            guard let message = json["message"], let sequence = message.unsigned("seq"),
                let subject = message["subject"]?.string, let bytes = decoded(message["data"]?.string ?? ""),
                let headers = decoded(message["hdrs"]?.string ?? "")
            else { throw .malformed("a stored message is incomplete") }
            self.sequence = sequence
            self.subject = subject
            self.bytes = bytes
            time = message["time"]?.string.flatMap { Quantities.time($0) } ?? 0
            // NATS/1.0, and then a line for each.
            self.headers = String(decoding: headers, as: UTF8.self).split(separator: "\r\n").dropFirst().compactMap {
                guard let colon = $0.firstIndex(of: ":") else { return nil }
                return (String($0[..<colon]), String($0[$0.index(after: colon)...].drop { $0 == " " }))
            }
        }
    }

    /// The bytes of a text in base64 (RFC 4648); nil if it is none.
    private func decoded(_ text: String) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count / 4 * 3)
        var bits: UInt32 = 0
        var count = 0
        for byte in text.utf8 {
            let value: UInt8
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = byte - UInt8(ascii: "A")
            case UInt8(ascii: "a")...UInt8(ascii: "z"): value = byte - UInt8(ascii: "a") + 26
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = byte - UInt8(ascii: "0") + 52
            case UInt8(ascii: "+"): value = 62
            case UInt8(ascii: "/"): value = 63
            case UInt8(ascii: "="): continue
            default: return nil
            }
            bits = bits << 6 | UInt32(value)
            count += 6
            if count >= 8 {
                count -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
            }
        }
        return bytes
    }
#endif
