#if NATS
    /// The body of a message on the server: a header, and records that each say where in the log of the origin they end.
    ///
    /// Little-endian:
    ///
    /// | offset | bytes | |
    /// |---|---|---|
    /// | 0 | 4 | `IPCB` |
    /// | 4 | 1 | version: 2 |
    /// | 5 | 1 | kind |
    /// | 6 | 1 | hops: how many bridges have passed it on |
    /// | 7 | 1 | 0 |
    /// | 8 | 8 | machine: hash of the origin's name |
    /// | 16 | 8 | incarnation: of the origin's channel |
    /// | 24 | 8 | missed: messages that the origin's log dropped before the first record |
    /// | 32 | 4 | count of records |
    ///
    /// Each record: how far its position is beyond that of the record before (of the first: beyond 0), its length, and the payload. Both
    /// numbers are LEB128: seven bits to a byte, the lowest first, the highest bit set in all but the last byte. With fixed sizes, the
    /// record of a small message would be a sixth longer. Positions rise from record to record.
    struct Envelope: Sendable {
        enum Kind: UInt8, CaseIterable, Sendable {
            /// Messages of a topic.
            case batch = 1
            /// A job of a queue.
            case job = 2
            /// The newest value.
            case value = 3
            /// The place of something that turned out not to be there.
            case void = 4
            /// One record: a piece of a message that is too large for the server. The payload begins with the index of the piece (4)
            /// and how many there are (4).
            case part = 5
            /// Notices of an event.
            case notice = 6
            /// A call of a service, and what comes back.
            case call = 7
            case reply = 8
            case failure = 9
        }

        /// A message among those of an envelope.
        struct Record: Hashable, Sendable {
            /// The end of the message in the origin's log.
            let position: UInt64
            /// Its payload within the body.
            let range: Range<Int>
        }

        /// What an envelope says about all of its records.
        struct Header: Hashable, Sendable {
            var kind: Kind
            var hops: UInt8 = 0
            /// The origin: ``Machine/hash``.
            var machine: UInt64
            /// The incarnation of the origin's channel.
            var incarnation: UInt64
            var missed: UInt64 = 0
        }

        static let headerSize = 36
        /// The position and the length before a payload, in bytes.
        static let recordHeaderSizes = 2...15
        static let maximumHops: UInt8 = 8
        /// No envelope has more records: an empty one takes 2 bytes here, and 24 in memory when it is read.
        static let maximumCount = 65_536
        fileprivate static let magic: [UInt8] = Array("IPCB".utf8)
        fileprivate static let version: UInt8 = 2

        let header: Header
        let records: [Record]

        /// How many records a body says that it has, unchecked.
        static func recordCount(in body: RawSpan) -> UInt64 {
            body.byteCount < headerSize ? 0 : UInt64(body.number(at: 32, as: UInt32.self))
        }

        /// Checks a body that anybody may have written. Nothing in it traps.
        init(reading body: RawSpan) throws(EnvelopeError) {
            var place = Place()
            let magic = body.byteCount < Self.headerSize ? [] : (0..<4).map { _ in place.integer(of: body) as UInt8 }
            guard magic == Self.magic else {
                throw EnvelopeError(reason: "it does not begin as an envelope of a bridge")
            }
            let version: UInt8 = place.integer(of: body)
            guard version == Self.version else {
                throw EnvelopeError(
                    reason:
                        "it has version \(version), and this bridge reads \(Self.version); use bridges of one version",
                    isOtherVersion: true)
            }
            let kindNumber: UInt8 = place.integer(of: body)
            guard let kind = Kind(rawValue: kindNumber) else {
                throw EnvelopeError(reason: "its kind is \(kindNumber), which this bridge does not know")
            }
            let hops: UInt8 = place.integer(of: body)
            let reserved: UInt8 = place.integer(of: body)
            guard hops <= Self.maximumHops, reserved == 0 else {
                throw EnvelopeError(reason: "it passed through \(hops) bridges, with \(reserved) in a byte that is 0")
            }
            header = Header(
                kind: kind, hops: hops, machine: place.integer(of: body), incarnation: place.integer(of: body),
                missed: place.integer(of: body))
            let count: UInt32 = place.integer(of: body)
            let largest = min((body.byteCount - Self.headerSize) / Self.recordHeaderSizes.lowerBound, Self.maximumCount)
            guard count <= largest else {
                throw EnvelopeError(
                    reason: "it says that it has \(count) records; \(body.byteCount) bytes have \(largest) at most")
            }
            var records: [Record] = []
            records.reserveCapacity(Int(count))
            var position: UInt64 = 0
            for index in 0..<count {
                let distance = try place.number(of: body)
                let length = try place.number(of: body)
                guard length <= body.byteCount - place.position else {
                    throw EnvelopeError(reason: "a record of \(length) bytes exceeds the body")
                }
                let (next, isTooLarge) = position.addingReportingOverflow(distance)
                guard !isTooLarge, distance > 0 || index == 0 else {
                    throw EnvelopeError(reason: "its positions do not rise")
                }
                position = next
                records.append(Record(position: position, range: place.position..<place.position + Int(length)))
                place.position += Int(length)
            }
            guard place.position == body.byteCount else {
                throw EnvelopeError(reason: "\((body.byteCount - place.position)) bytes follow its records")
            }
            self.records = records
        }

        /// The piece that an envelope of the kind ``Kind/part`` has: which of how many, and where in the body it is.
        func part(in body: RawSpan) throws(EnvelopeError) -> (index: Int, count: Int, range: Range<Int>) {
            guard header.kind == .part, records.count == 1, records[0].range.count >= 8 else {
                throw EnvelopeError(reason: "it is not one piece of a message")
            }
            var place = Place(position: records[0].range.lowerBound)
            let (index, count): (UInt32, UInt32) = (place.integer(of: body), place.integer(of: body))
            guard index < count else { throw EnvelopeError(reason: "it is piece \(index) of \(count)") }
            return (Int(index), Int(count), place.position..<records[0].range.upperBound)
        }
    }

    /// Why a body is not one that a bridge wrote.
    struct EnvelopeError: Error, CustomStringConvertible {
        let reason: String
        /// Whether a bridge of another version can read it.
        var isOtherVersion = false
        var description: String { "the message is not an envelope of a bridge: \(reason)" }
    }

    /// Writes an envelope, record by record. It can be used again after ``finish()``.
    struct EnvelopeWriter: Sendable {
        var header: Envelope.Header
        /// Its memory, of which the first ``byteCount`` bytes are written.
        private var body: [UInt8] = []
        /// How many records there are.
        private(set) var count: UInt32 = 0
        /// The position of the last record.
        private var position: UInt64 = 0
        /// Bytes of the body so far.
        private(set) var byteCount = Envelope.headerSize
        /// The size of the body before: the next one is probably as large.
        private var usualSize = 256
        var isEmpty: Bool { count == 0 }

        init(_ header: Envelope.Header) { self.header = header }

        /// What a payload adds to a body at most.
        static func size(of payload: Int) -> Int { Envelope.recordHeaderSizes.upperBound + payload }

        /// Adds a record. There may be ``Envelope/maximumCount``.
        ///
        /// - Parameters:
        ///   - position: The end of the message in the origin's log, beyond that of the record before.
        ///   - payload: At most `UInt32.max` bytes.
        mutating func append(position: UInt64, _ payload: RawSpan) {
            let place = open(position, payload.byteCount)
            copy(payload, to: place)
        }

        /// Writes one piece of a message, for the kind ``Envelope/Kind/part``.
        mutating func appendPart(_ index: Int, of total: Int, position: UInt64, _ piece: RawSpan) {
            let place = open(position, 8 + piece.byteCount)
            body.withUnsafeMutableBytes { body in
                body.storeBytes(of: UInt32(index).littleEndian, toByteOffset: place, as: UInt32.self)
                body.storeBytes(of: UInt32(total).littleEndian, toByteOffset: place + 4, as: UInt32.self)
            }
            copy(piece, to: place + 8)
        }

        /// Begins a record.
        ///
        /// - Returns: Where its payload belongs.
        private mutating func open(_ position: UInt64, _ length: Int) -> Int {
            reserve(byteCount + Self.size(of: length))
            let place = body.withUnsafeMutableBytes { body in
                var place = byteCount
                Self.put(position &- self.position, into: body, at: &place)
                Self.put(UInt64(length), into: body, at: &place)
                return place
            }
            self.position = position
            byteCount = place + length
            count += 1
            return place
        }

        private static func put(_ number: UInt64, into body: UnsafeMutableRawBufferPointer, at place: inout Int) {
            var rest = number
            while rest >= 0x80 {
                body[place] = UInt8(truncatingIfNeeded: rest) | 0x80
                place += 1
                rest >>= 7
            }
            body[place] = UInt8(rest)
            place += 1
        }

        private mutating func copy(_ bytes: RawSpan, to place: Int) {
            bytes.withUnsafeBytes { bytes in
                body.withUnsafeMutableBytes {
                    UnsafeMutableRawBufferPointer(rebasing: $0[place...]).copyMemory(from: bytes)
                }
            }
        }

        private mutating func reserve(_ size: Int) {
            guard size > body.count else { return }
            let old = body
            let used = byteCount
            let capacity = max(size, 2 * old.count, usualSize)
            // What is not written yet is not sent either, so it need not be cleared.
            body = Array(unsafeUninitializedCapacity: capacity) { new, count in
                if !old.isEmpty {
                    old.withUnsafeBytes {
                        UnsafeMutableRawBufferPointer(new).copyMemory(from: .init(rebasing: $0[..<used]))
                    }
                }
                count = capacity
            }
        }

        /// The body. The writer is empty afterwards.
        mutating func finish() -> [UInt8] {
            reserve(byteCount)
            let (header, count) = (header, count)
            body.withUnsafeMutableBytes { body in
                body.copyBytes(from: Envelope.magic + [Envelope.version, header.kind.rawValue, header.hops, 0])
                for (offset, number) in [(8, header.machine), (16, header.incarnation), (24, header.missed)] {
                    body.storeBytes(of: number.littleEndian, toByteOffset: offset, as: UInt64.self)
                }
                body.storeBytes(of: count.littleEndian, toByteOffset: 32, as: UInt32.self)
            }
            body.removeLast(body.count - byteCount)
            defer {
                (body, usualSize, byteCount) = ([], byteCount, Envelope.headerSize)
                (self.count, position, self.header.missed) = (0, 0, 0)
            }
            return body
        }
    }

    /// The place in a body up to which it was read.
    private struct Place {
        var position = 0

        /// A number of LEB128.
        mutating func number(of body: RawSpan) throws(EnvelopeError) -> UInt64 {
            var number: UInt64 = 0
            var shift: UInt64 = 0
            while position < body.byteCount, shift < 64 {
                let byte: UInt8 = integer(of: body)
                let bits = UInt64(byte & 0x7f)
                guard shift < 63 || bits <= 1 else { break }
                number |= bits << shift
                if byte < 0x80 { return number }
                shift += 7
            }
            throw EnvelopeError(reason: "a record is cut off, or one of its numbers is too large")
        }

        /// An integer of a fixed size. That there are so many bytes is checked before.
        mutating func integer<Number: FixedWidthInteger & BitwiseCopyable>(of body: RawSpan) -> Number {
            defer { position += MemoryLayout<Number>.size }
            return body.number(at: position)
        }
    }
#endif
