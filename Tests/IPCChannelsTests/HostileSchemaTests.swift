import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

@testable import IPCChannels

/// Schemas that come from anybody. Whatever is in them, they are refused, or cost as much as the schema and the messages are long.
@Suite(.timeLimit(.minutes(5))) struct HostileSchemaTests {
    /// The largest memory that this process had so far, in bytes.
    private func peak() -> Int {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return usage.ru_maxrss << 10
    }

    private func structure(_ fields: [String], size: Int, name: String = "S") -> String {
        "{\"struct\":{\"name\":\"\(name)\",\"size\":\(size),\"alignment\":1,\"fields\":[\(fields.joined(separator: ","))]}}"
    }

    private func field(_ name: String, at offset: Int, _ kind: String) -> String {
        "{\"name\":\"\(name)\",\"offset\":\(offset),\"type\":\(kind)}"
    }

    private func array(_ count: Int, _ kind: String) -> String { "{\"array\":{\"count\":\(count),\"of\":\(kind)}}" }

    private func refusal(_ schema: String) -> String {
        failure { () throws(IPCError) in _ = try MessageSchema(json: schema) }?.advice ?? "accepted"
    }

    @Test func fieldsThatOverlapAreRefused() throws {
        let union = structure([field("a", at: 0, "\"u32\""), field("b", at: 2, "\"u32\"")], size: 8)
        #expect(refusal(union).contains("the fields a and b overlap; give the bytes of a union as \"opaque\""))
        // In whatever order they are, and however deep.
        let inner = structure([field("b", at: 1, "\"u8\""), field("a", at: 0, "\"u16\"")], size: 2)
        #expect(refusal(array(2, structure([field("in", at: 0, inner)], size: 2))).contains("a and b overlap"))
        // What has no bytes overlaps nothing; what is packed, or in another order, is at its place.
        let empty = structure([], size: 0)
        let fine = structure(
            [field("b", at: 1, "\"u64\""), field("none", at: 3, empty), field("a", at: 0, "\"u8\"")], size: 9)
        #expect(refusal(fine) == "accepted")
    }

    @Test func longNamesAreRefused() throws {
        let long = String(repeating: "n", count: 600)
        let one = structure([field(long, at: 0, "\"bool\"")], size: 1)
        #expect(refusal(one) == "accepted")
        #expect(refusal(structure([field(long, at: 0, one)], size: 1)).contains("more than 1024 bytes in its name"))
        // An error is not as long as what it is about.
        #expect(refusal("\"" + String(repeating: "x", count: 100_000) + "\"").utf8.count < 5000)
    }

    /// A message of 64 KiB that would be gigabytes of JSON.
    @Test func theJSONOfAMessageIsLimitedByItsSize() throws {
        let names = String(repeating: "n", count: 1000)
        let empty = structure([], size: 0)
        let manyEmpty = structure((0..<20_000).map { field("f\($0)", at: 0, empty) }, size: 0)
        let schemas = [
            array(1 << 16, manyEmpty), array(1 << 16, structure([field(names, at: 0, "\"u8\"")], size: 1)),
            array(
                1 << 16,
                "{\"enum\":{\"name\":\"E\",\"cases\":[\"\(String(repeating: "c", count: 500_000))\",\"b\"]}}"),
            array(1 << 8, array(1 << 8, manyEmpty)), "{\"list\":{\"capacity\":65536,\"of\":\(manyEmpty)}}",
        ]
        for text in schemas {
            let start = MonotonicClock.now
            let (schema, before) = (try MessageSchema(json: text), peak())
            var message = [UInt8](repeating: 0, count: schema.byteCount)
            if case .list = schema { message[2] = 1 }
            let error = failure { () throws(IPCError) in _ = try schema.json(of: message) }
            #expect(error?.code == .limitReached, "\(text.prefix(80)): \(error as Any)")
            #expect(error?.advice.contains("bytes as JSON") == true && error!.advice.utf8.count < 500)
            #expect(peak() - before < 1 << 30, "\(text.prefix(80))")
            #expect(MonotonicClock.now - start < 30_000_000_000, "\(text.prefix(80))")
            // The conditions of a value are as many as the schema is long, and checked once.
            #expect(schema.checks.count <= 1)
        }
        // What is an ordinary message, however large, is written.
        let flags = try MessageSchema(
            json: array(100_000, structure([field("isSomethingThatMatters", at: 0, "\"bool\"")], size: 1)))
        #expect(try flags.json(of: [UInt8](repeating: 1, count: 100_000)).utf8.count > 3_000_000)
        let picture = try MessageSchema(json: array(1 << 18, "\"u8\""))
        #expect(try picture.json(of: [UInt8](repeating: 255, count: 1 << 18)).utf8.count == 1 + 4 << 18)
    }

    /// A schema that a channel cannot have is no way to make one that nobody can open.
    @Test func whatCannotBeReadBackIsNotCreated() throws {
        let twice = MessageSchema.structure(
            .init(
                name: "U", byteCount: 4, alignment: 4,
                fields: [
                    .init("a", at: 0, .integer(byteCount: 4, isSigned: false)),
                    .init("b", at: 0, .float(byteCount: 4)),
                ]))
        let name = channelName()
        let error = failure { () throws(IPCError) in
            _ = try AnyChannel.create(.topic, name, schema: .messages(twice))
        }
        #expect(error?.code == .wrongType && error?.advice.contains("a and b overlap") == true, "\(error as Any)")
        #expect(failure { () throws(IPCError) in _ = try AnyChannel.open(name) }?.code == .notFound)
    }

    // MARK: Mutations

    struct Part: BitwiseCopyable { var x: Float, isOn: Bool, side: SchemaTests.Side? }
    struct Whole: BitwiseCopyable {
        var text: InlineString<6> = "text"
        var parts: InlineList<Part, 3> = [Part(x: 1, isOn: true, side: nil)]
        var deep: [2 of [3 of Part?]] = [[nil, nil, nil], [nil, nil, nil]]
        var pair: (Int16, Bool??) = (1, nil)
    }
    enum Refusal: Error, BitwiseCopyable { case late, early }

    /// What a stranger may have written in place of a schema.
    private static func mutated(_ text: String, _ generator: inout Seeded) -> String {
        var bytes = Array(text.utf8)
        for _ in 0..<generator.number(1...2) {
            let place = generator.number(0...bytes.count - 1)
            switch generator.number(0...5) {
            case 0: bytes[place] = UInt8(generator.number(0...127))
            case 1: bytes.remove(at: place)
            case 2:
                bytes.insert(contentsOf: bytes[place..<min(place + generator.number(1...60), bytes.count)], at: place)
            case 3:
                // Another number.
                let digits = bytes.indices.filter { (0x30...0x39).contains(bytes[$0]) }
                guard !digits.isEmpty else { continue }
                let numbers = ["0", "1", "255", "65536", "4294967295", "4294967296", "9223372036854775807", "-1"]
                let digit = generator.pick(digits)
                bytes.replaceSubrange(digit...digit, with: Array(generator.pick(numbers).utf8))
            case 4:
                // One kind for another.
                let kinds = [
                    "\"bytes\"", "\"u128\"", "\"f80\"", "{\"array\":{\"count\":4294967295,\"of\":\"u8\"}}",
                    "{\"text\":{\"capacity\":4294967291}}", "{\"opaque\":{\"size\":4294967295,\"alignment\":16}}",
                    "{\"framed\":\"u8\"}", "{\"optional\":{\"of\":\"u8\",\"none\":\"byte\"}}",
                ]
                for known in ["\"f32\"", "\"bool\"", "\"i16\""].shuffled(using: &generator) {
                    var text = String(decoding: bytes, as: UTF8.self)
                    guard let range = text.firstRange(of: known) else { continue }
                    text.replaceSubrange(range, with: generator.pick(kinds))
                    bytes = Array(text.utf8)
                    break
                }
            default: bytes.removeLast(min(generator.number(0...20), bytes.count - 1))
            }
            if bytes.isEmpty { bytes = [0x22] }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Through every door: a channel's own file, the schema of one that is created, and values by it.
    @Test(arguments: [ChannelPattern.topic, .latest, .workQueue, .service, .event])
    func mutatedSchemasAreErrorsOrSchemas(pattern: ChannelPattern) throws {
        let whole = try MessageSchema(of: Whole.self)
        let good: ChannelSchema =
            switch pattern {
            case .service: .calls(request: whole, reply: whole, failure: try MessageSchema(of: Refusal.self))
            case .event: .messages(.bytes)
            case .topic: .messages(.framed(whole))
            case .latest, .workQueue: .messages(whole)
            }
        let name = channelName()
        _ = try AnyChannel.create(pattern, name, ChannelOptions(lifetime: .kept), schema: good)
        defer { try? Topic<RawBytes>.remove(name) }
        let path = ChannelRoot.current.folder(try ChannelName(name)) + "/schema"
        let (start, before) = (MonotonicClock.now, peak())
        var generator = Seeded(18, UInt64(pattern.rawValue))
        var (opened, accepted) = (0, 0)
        for round in 0..<600 {
            let text = Self.mutated(good.json, &generator)
            if round < 200 {
                let file = try FileDescriptor.open(FilePath(path), .writeOnly, options: [.truncate])
                _ = try file.writeAll(text.utf8)
                try file.close()
                let error = failure { () throws(IPCError) in
                    _ = try AnyChannel.open(name)
                    opened += 1
                }
                #expect(error == nil || error?.code == .corrupted, "\(text): \(error as Any)")
            }
            let other: ChannelSchema
            do throws(IPCError) { other = try ChannelSchema(json: text) } catch {
                #expect(error.code == .invalidArgument && error.advice.utf8.count < 6000)
                continue
            }
            accepted += 1
            #expect(try ChannelSchema(json: other.json) == other, "\(text)")
            guard case .messages(let message) = other else { continue }
            _ = message.checks
            let size = min(message.byteCount, 1 << 16) + (message.isFixedSize ? 0 : generator.number(0...8))
            for byte in [0, 1, 0xff] as [UInt8] {
                let bytes = [UInt8](repeating: byte, count: size)
                if let json = try? message.json(of: bytes) { _ = try message.message(json: json) }
            }
        }
        #expect(accepted > 0, "\(opened) \(accepted)")
        #expect(MonotonicClock.now - start < 60_000_000_000 && peak() - before < 1 << 30)
    }
}
