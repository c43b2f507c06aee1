#if NATS
    import Testing

    @testable import IPCBridge

    @Suite(.timeLimit(.minutes(10)))
    struct EnvelopeTests {
        private let header = Envelope.Header(
            kind: .batch, hops: 2, machine: 0x0123_4567_89ab_cdef, incarnation: 77, missed: 5)

        @Test func whatIsWrittenIsRead() throws {
            var writer = EnvelopeWriter(header)
            var random = SystemRandomNumberGenerator()
            for _ in 0..<50 {
                writer.header = header
                let payloads = (0..<Int.random(in: 0...40)).map { _ in
                    (0..<Int.random(in: 0...300)).map { _ in UInt8.random(in: 0...255, using: &random) }
                }
                // Distances of each length, from one byte to nine.
                var last: UInt64 = 0
                let positions = payloads.map { _ in
                    last += 1 << UInt64.random(in: 0...57, using: &random)
                    return last
                }
                for (position, payload) in zip(positions, payloads) {
                    let before = writer.byteCount
                    writer.append(position: position, payload.span.bytes)
                    #expect(writer.byteCount <= before + EnvelopeWriter.size(of: payload.count))
                }
                #expect(writer.isEmpty == payloads.isEmpty)
                let size = writer.byteCount
                let body = writer.finish()
                #expect(body.count == size && writer.isEmpty && writer.byteCount == Envelope.headerSize)
                let envelope = try Envelope(reading: body.span.bytes)
                #expect(envelope.header == header)
                #expect(envelope.records.map(\.position) == positions)
                #expect(envelope.records.map { Array(body[$0.range]) } == payloads)
            }
        }

        @Test func piecesOfAMessageAreRead() throws {
            var writer = EnvelopeWriter(Envelope.Header(kind: .part, machine: 1, incarnation: 2))
            writer.appendPart(3, of: 5, position: 640, [UInt8](repeating: 9, count: 100).span.bytes)
            let body = writer.finish()
            let part = try Envelope(reading: body.span.bytes).part(in: body.span.bytes)
            #expect(part.index == 3 && part.count == 5 && Array(body[part.range]) == [UInt8](repeating: 9, count: 100))
            writer.appendPart(5, of: 5, position: 640, [UInt8]().span.bytes)
            let wrong = writer.finish()
            #expect(throws: EnvelopeError.self) { try Envelope(reading: wrong.span.bytes).part(in: wrong.span.bytes) }
            var batch = EnvelopeWriter(header)
            let none = batch.finish()
            #expect(throws: EnvelopeError.self) { try Envelope(reading: none.span.bytes).part(in: none.span.bytes) }
        }

        @Test func positionsHaveToRise() {
            var writer = EnvelopeWriter(header)
            writer.append(position: 20, [UInt8(1)].span.bytes)
            writer.append(position: 20, [UInt8(2)].span.bytes)
            let body = writer.finish()
            #expect(throws: EnvelopeError.self) { try Envelope(reading: body.span.bytes) }
        }

        @Test func numbersThatNoWriterWritesAreRefused() throws {
            func read(_ records: [UInt8], count: UInt32) throws(EnvelopeError) -> Envelope {
                var writer = EnvelopeWriter(header)
                var body = writer.finish()
                body.replaceSubrange(32..<36, with: withUnsafeBytes(of: count.littleEndian) { Array($0) })
                return try Envelope(reading: (body + records).span.bytes)
            }
            let largest: [UInt8] = [UInt8](repeating: 0xff, count: 9) + [1]
            // The largest position is one, and nothing comes after it.
            #expect(try read(largest + [0], count: 1).records.map(\.position) == [.max])
            #expect(throws: EnvelopeError.self) { try read(largest + [0, 1, 0], count: 2) }
            // Of ten bytes, the last has one bit; there is no eleventh.
            for number in [[UInt8](repeating: 0xff, count: 9) + [2], [UInt8](repeating: 0x80, count: 10) + [1]] {
                #expect(throws: EnvelopeError.self) { try read(number + [0], count: 1) }
            }
            #expect(throws: EnvelopeError.self) { try read([1] + largest, count: 1) }
            // Empty messages are two bytes each, but no more than a batch has.
            let most = Envelope.maximumCount
            func empty(_ count: Int) -> [UInt8] { (0..<count).flatMap { _ in [1, 0] as [UInt8] } }
            #expect(try read(empty(most), count: UInt32(most)).records.count == most)
            #expect(throws: EnvelopeError.self) { try read(empty(most + 1), count: UInt32(most) + 1) }
            var batch = TopicBatch(machine: try #require(Machine("here")), incarnation: 1, bodyLimit: 1 << 20)
            for index in 0..<most where batch.hasRoom(0) { batch.append([UInt8]().span.bytes, end: UInt64(index + 1)) }
            #expect(!batch.hasRoom(0))
            let sent = batch.take()
            #expect(try Envelope(reading: sent.bytes.span.bytes).records.count == sent.count)
        }

        /// Whoever may publish on the server may send any bytes.
        @Test func anyBytesAreReadOrRefused() throws {
            var writer = EnvelopeWriter(header)
            for index in 1...5 {
                writer.append(position: UInt64(index), [UInt8](repeating: 7, count: index * 3).span.bytes)
            }
            let valid = writer.finish()
            for count in 0..<valid.count {
                let cut = Array(valid[..<count])
                #expect(throws: EnvelopeError.self) { try Envelope(reading: cut.span.bytes) }
            }
            var generator = SystemRandomNumberGenerator()
            for _ in 0..<20_000 {
                var bytes = valid
                switch Int.random(in: 0..<3, using: &generator) {
                case 0:
                    for _ in 0..<Int.random(in: 1...4) { bytes[Int.random(in: 0..<bytes.count)] = .random(in: 0...255) }
                case 1:
                    // A size or a count of all bits.
                    let place = Int.random(in: 0...bytes.count - 4)
                    bytes.replaceSubrange(place..<place + 4, with: [255, 255, 255, [127, 255].randomElement()!])
                default: bytes = Array(valid[..<32]) + (0..<Int.random(in: 0...200)).map { _ in .random(in: 0...255) }
                }
                guard let envelope = try? Envelope(reading: bytes.span.bytes) else { continue }
                // What is read lies within the bytes.
                #expect(envelope.records.allSatisfy { $0.range.upperBound <= bytes.count })
                _ = try? envelope.part(in: bytes.span.bytes)
            }
        }
    }
#endif
