import IPC
import SystemPackage
import TestSupport
import Testing

@testable import IPCChannels

/// Schemas of types, and values by their schemas.
@Suite(.timeLimit(.minutes(5))) struct SchemaTests {
    enum Side: UInt8, BitwiseCopyable { case buy = 1, sell = 7 }
    enum Only: BitwiseCopyable { case one }
    struct Point: BitwiseCopyable, Equatable { var x: Float, y: Float }
    struct Everything: BitwiseCopyable {
        var number: Int8 = -5
        var wide: UInt128 = .max
        var half: Float16 = 1.5
        var flag = true
        var letter: Unicode.Scalar = "ß"
        var point = Point(x: 0.1, y: .infinity)
        var side = Side.sell
        var only = Only.one
        var none: Side?
        var some: Int32? = 7
        var nested: Bool?? = .some(.none)
        var pair: (Int16, named: Bool) = (-2, true)
        var three: [3 of UInt16] = [1, 2, 3]
        var vector = SIMD3<Float>(1, 2, 3)
        var text: InlineString<8> = "né"
        var list: InlineList<Point, 3> = [Point(x: 1, y: 2)]
    }

    private func bytes<Value: BitwiseCopyable>(_ value: Value) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }

    @Test func everyKindHasItsForm() throws {
        let schema = try MessageSchema(of: Everything.self)
        let value = try schema.json(of: bytes(Everything()))
        #expect(
            value == """
                {"number":-5,"wide":340282366920938463463374607431768211455,"half":1.5,"flag":true,"letter":"ß",\
                "point":{"x":0.1,"y":"inf"},"side":"sell","only":"one","none":null,"some":7,"nested":null,\
                "pair":{"0":-2,"named":true},"three":[1,2,3],"vector":{"x":1,"y":2,"z":3},"text":"né",\
                "list":[{"x":1,"y":2}]}
                """)
        // And back: the same value, whatever is in the gaps.
        let message = try schema.message(json: value)
        #expect(message.count == MemoryLayout<Everything>.size)
        #expect(try schema.json(of: message) == value)
        let back = message.withUnsafeBytes { $0.loadUnaligned(as: Everything.self) }
        #expect(back.text == "né" && back.list == [Point(x: 1, y: 2)] && back.none == nil && back.some == 7)
        #expect(back.side == .sell && back.vector == SIMD3<Float>(1, 2, 3) && back.wide == .max)
        // The schema itself, as text and back.
        let again = try MessageSchema(json: schema.json)
        #expect(again == schema && again.fingerprint == schema.fingerprint && again.name == "Everything")
        #expect(again.checks.count == schema.checks.count)
    }

    @Test func namesAreTheTypesOwnOrWhatTheySay() throws {
        struct Renamed: BitwiseCopyable, NamedMessage {
            static var messageName: String { "Point" }
            var x: Float, y: Float
        }
        struct Outer: BitwiseCopyable { var inner: Point }
        func other() throws(IPCError) -> MessageSchema {
            struct Place: BitwiseCopyable { var x: Float, y: Float }
            struct Outer: BitwiseCopyable { var inner: Place }
            return try MessageSchema(of: Outer.self)
        }
        #expect(try MessageType.of(Renamed.self) == .of(Point.self))
        // What a part is called does not matter.
        let (one, another) = (try MessageSchema(of: Outer.self), try other())
        #expect(one.fingerprint == another.fingerprint && one != another)
        #expect(try MessageSchema(of: Int.self) == MessageSchema(of: Int64.self))
        #expect(try MessageSchema(of: [2 of Int].self) == .array(count: 2, of: .integer(byteCount: 8, isSigned: true)))
    }

    @Test func theSchemaIsWithTheChannel() throws {
        let topic = try Topic<Everything>.create(channelName(), ChannelOptions(lifetime: .kept))
        defer { try? Topic<Everything>.remove(topic.name.description) }
        let any = try AnyChannel.open(topic.name.description)
        #expect(try any.schema == .messages(MessageSchema(of: Everything.self)))
        #expect(any.messageType == "Everything" && any.messageSize == MemoryLayout<Everything>.size)
        // Another program makes one like it.
        let other = channelName()
        let copy = try AnyChannel.openOrCreate(
            .topic, other, ChannelOptions(lifetime: .kept), schema: ChannelSchema(json: any.schema.json))
        defer { try? Topic<Everything>.remove(other) }
        #expect(copy.schema == any.schema)
        _ = try Topic<Everything>.open(other)
    }

    @Test func aServicesSchemaHasThreeParts() throws {
        let service = try ServiceChannel<Point, InlineString<8>, Errno>.openOrCreate(channelName())
        let client = try service.makeClient()
        let any = try AnyChannel.open(service.name.description)
        guard case .calls(let request, let reply, let failure) = any.schema else {
            Issue.record("\(any.schema)")
            return
        }
        #expect(request.name == "Point" && reply == .text(capacity: 8) && failure.name == "Errno")
        #expect(try ChannelSchema(json: any.schema.json) == any.schema)
        client.close()
    }

    @Test func whatIsNoValueIsAnErrorThatNamesTheField() throws {
        let schema = try MessageSchema(of: Everything.self)
        let good = try schema.json(of: bytes(Everything()))
        let bad: [(String, String, String)] = [
            ("-5", "200", "number is 200"), ("-5", "1.5", "number is 1.5"), ("-5", "\"x\"", "number is \"x\""),
            ("\"flag\":true", "\"flag\":1", "flag is 1"), ("\"ß\"", "\"ab\"", "letter is \"ab\""),
            ("\"sell\"", "\"hold\"", "side is \"hold\"; one of buy, sell"),
            ("[1,2,3]", "[1,2]", "three is [1,2]"), ("[1,2,3]", "[1,2,70000]", "three[2] is 70000"),
            ("\"né\"", "\"123456789\"", "text is \"123456789\""),
            ("[{\"x\":1,\"y\":2}]", "[{\"x\":1}]", "list[0].y is missing"),
            ("\"x\":0.1", "\"z\":0.1", "point has no field z"), ("\"number\":-5,", "", "number is missing"),
        ]
        for (part, replacement, told) in bad {
            #expect(good.contains(part))
            var text = good
            text.replaceSubrange(text.firstRange(of: part)!, with: replacement)
            let error = failure { () throws(IPCError) in _ = try schema.message(json: text) }
            #expect(error?.code == .invalidArgument && error?.advice.contains(told) == true, "\(error as Any)")
        }
        // Bytes that are no value.
        func offset<Field>(_ path: KeyPath<Everything, Field>) -> Int { MemoryLayout<Everything>.offset(of: path)! }
        for (offset, byte, told) in [
            (offset(\.flag), 2, "flag has 2"), (offset(\.side), 9, "side has 9"), (offset(\.text), 9, "text has"),
            (offset(\.text) + 4, 0xff, "text has bytes that are not UTF-8"),
            (offset(\.list), 4, "list has the count 4"),
            (offset(\.letter) + 2, 0x20, "letter has"),
        ] as [(Int, UInt8, String)] {
            var message = bytes(Everything())
            message[offset] = byte
            let error = failure { () throws(IPCError) in _ = try schema.json(of: message) }
            #expect(error?.code == .corrupted && error?.advice.contains(told) == true, "\(told): \(error as Any)")
        }
        #expect(failure { () throws(IPCError) in _ = try schema.json(of: [1]) }?.advice.contains("1 bytes") == true)
    }

    @Test func hostileSchemasAreErrors() throws {
        let deep = String(repeating: "{\"array\":{\"count\":1,\"of\":", count: 5000)
        for text in [
            "", "{", "[]", "{}", "\"u7\"", "\"bytes2\"", "{\"struct\":{}}", deep,
            "{\"array\":{\"count\":-1,\"of\":\"u8\"}}",
            "{\"array\":{\"count\":4294967295,\"of\":\"u64\"}}",
            "{\"array\":{\"count\":99999999999999999999,\"of\":\"u8\"}}",
            "{\"struct\":{\"name\":\"A\",\"size\":4,\"alignment\":3,\"fields\":[]}}",
            "{\"struct\":{\"name\":\"A\",\"size\":4,\"alignment\":4,\"fields\":[{\"name\":\"a\",\"offset\":1,\"type\":\"u32\"}]}}",
            "{\"struct\":{\"name\":\"A\",\"size\":8,\"alignment\":4,\"fields\":[{\"name\":\"a\",\"offset\":0,\"type\":\"u8\"},{\"name\":\"a\",\"offset\":1,\"type\":\"u8\"}]}}",
            "{\"enum\":{\"name\":\"E\",\"cases\":[]}}", "{\"enum\":{\"name\":\"E\",\"cases\":[\"a\",\"a\"]}}",
            "{\"optional\":{\"of\":\"u8\",\"none\":{\"value\":1,\"size\":1,\"offset\":1}}}",
            "{\"optional\":{\"of\":\"u8\",\"none\":{\"value\":256,\"size\":1,\"offset\":0}}}",
            "{\"framed\":{\"framed\":\"u8\"}}", "{\"array\":{\"count\":2,\"of\":\"bytes\"}}", "\"u8\" \"u8\"",
            "{\"text\":{\"capacity\":4294967295}}", "{\"text\":{\"capacity\":4294967291}}",
            "{\"opaque\":{\"size\":1,\"alignment\":32}}",
        ] {
            let error = failure { () throws(IPCError) in _ = try MessageSchema(json: text) }
            #expect(error?.code == .invalidArgument, "\(text.prefix(60)): \(error as Any)")
        }
        // Every byte of a schema changed in turn: an error, or another schema, and never a crash.
        let schema = try MessageSchema(of: Everything.self)
        let good = Array(schema.json.utf8)
        let value = bytes(Everything())
        var generator = Seeded(7)
        for index in good.indices {
            var bytes = good
            bytes[index] = UInt8.random(in: 0 ... .max, using: &generator)
            guard let text = String(validating: bytes, as: UTF8.self), let other = try? MessageSchema(json: text) else {
                continue
            }
            _ = try? other.json(of: value)
            _ = try? other.json(of: [UInt8](repeating: 0xff, count: other.byteCount % 100_000))
            _ = other.checks
        }
    }

    @Test func aDamagedSchemaIsAnError() throws {
        let topic = try Topic<Point>.create(channelName(), ChannelOptions(lifetime: .kept))
        defer { try? Topic<Point>.remove(topic.name.description) }
        let path = ChannelRoot.current.folder(topic.name) + "/schema"
        for text in ["", "{\"message\":\"u64\"}", "{", String(repeating: " ", count: 2 << 20)] {
            let file = try FileDescriptor.open(FilePath(path), .writeOnly, options: [.truncate])
            _ = try file.writeAll(text.utf8)
            try file.close()
            let error = failure { () throws(IPCError) in _ = try AnyChannel.open(topic.name.description) }
            #expect(error?.code == .corrupted, "\(text.prefix(20)): \(error as Any)")
            // Whoever has the type needs no schema.
            _ = try Topic<Point>.open(topic.name.description).makeSubscription()
            let other = failure { () throws(IPCError) in _ = try Topic<Side>.open(topic.name.description) }
            #expect(other?.code == .wrongType)
        }
    }

    @Test func textsAndListsKeepToTheirRoom() throws {
        let long = "abcd"
        #expect(failure { () throws(IPCError) in _ = try InlineString<3>(long) }?.code == .messageTooLarge)
        #expect(InlineString<3>(truncating: "aßß") == "aß" && InlineString<2>(truncating: "aß") == "a")
        #expect(InlineString<0>().isEmpty && InlineString<3>(truncating: "x").utf8Count == 1)
        var list = try InlineList<Int, 2>([1])
        try list.append(2)
        list[0] = 5
        #expect(Array(list) == [5, 2] && failure { () throws(IPCError) in try list.append(3) }?.code == .limitReached)
        list.removeAll()
        #expect(list.isEmpty && list == [])
    }

    @Test func invalidTextsAndListsOfOthersAreErrors() throws {
        struct Note: BitwiseCopyable {
            var mark: UInt64 = 1
            var text: InlineString<6> = "abc"
            var list: InlineList<Bool, 2> = [true]
        }
        let topic = try Topic<Note>.openOrCreate(channelName())
        var subscription = try topic.makeSubscription()
        var publisher = try AnyChannel.open(topic.name.description).topic.makePublisher()
        func receive(_ change: (inout [UInt8]) -> Void) throws -> IPCError? {
            var message = bytes(Note())
            change(&message)
            try publisher.publish(message.span.bytes)
            return failure { () throws(IPCError) in
                let note = try subscription.receive(until: .immediate)
                #expect(note.text == "abc" && note.list == [true])
            }
        }
        #expect(try receive { _ in } == nil)
        #expect(try receive { $0[8] = 7 }?.advice.contains("7 in Note.text,") == true)
        #expect(try receive { $0[13] = 0xff }?.advice.contains("Note.text,") == true)
        let list = MemoryLayout<Note>.offset(of: \.list)!
        #expect(try receive { $0[list] = 3 }?.advice.contains("3 in Note.list,") == true)
        #expect(try receive { $0[list + 4] = 9 }?.advice.contains("9 in Note.list[0],") == true)
        // Beyond the count nothing is looked at.
        #expect(try receive { $0[list + 5] = 9 } == nil)
    }

    /// The first program knows two fields, the second one three more.
    private static func old(_ name: String, _ compatibility: SchemaCompatibility) throws(IPCError) -> (
        first: [String], second: [String], IPCError?
    ) {
        struct Quote: BitwiseCopyable { var symbol: UInt32, isOpen: Bool }
        let topic = try Topic<Quote>.open(name, compatibility: compatibility)
        var subscription = try topic.makeSubscription(from: .oldest)
        var observer = try topic.makeObserver(from: .oldest)
        let first = try [subscription.receive(until: .immediate), observer.receive(until: .immediate)]
        let refused = failure { () throws(IPCError) in _ = try topic.makePublisher() }
        return (first.map { "\($0.symbol) \($0.isOpen)" }, try topic.additionalFields, refused)
    }

    @Test func aReaderMayKnowFewerFields() throws {
        struct Quote: BitwiseCopyable { var symbol: UInt32, isOpen: Bool, price: Double, side: Side, size: Int16 }
        let topic = try Topic<Quote>.openOrCreate(channelName())
        var publisher = try topic.makePublisher()
        try publisher.publish(Quote(symbol: 7, isOpen: true, price: 1, side: .buy, size: 3))
        let (first, second, refused) = try Self.old(topic.name.description, .prefix)
        #expect(first == ["7 true", "7 true"] && second == ["price", "side", "size"])
        #expect(refused?.code == .wrongType && refused?.advice.contains("has the field price") == true)
        let exact = failure { () throws(IPCError) in _ = try Self.old(topic.name.description, .exact) }
        #expect(exact?.code == .wrongType)
        #expect(try topic.additionalFields == [])
        struct Other: BitwiseCopyable { var symbol: UInt32 }
        let other = failure { () throws(IPCError) in
            _ = try Topic<Other>.open(topic.name.description, compatibility: .prefix)
        }
        #expect(other?.code == .wrongType && other?.advice.contains("it is named Quote, and Other") == true)
    }

    @Test func aDeepSchemaTakesNoTime() throws {
        let deep =
            String(repeating: "{\"array\":{\"count\":1,\"of\":", count: 60) + "\"bool\""
            + String(repeating: "}}", count: 60)
        let start = MonotonicClock.now
        let schema = try MessageSchema(json: deep)
        #expect(schema.checks.count == 1 && MonotonicClock.now - start < 2_000_000_000)
        #expect(failure { () throws(IPCError) in _ = try MessageSchema(json: "\"f16\"").message(json: "70000") } != nil)
        #expect(try MessageSchema(json: "\"f16\"").message(json: "\"inf\"").count == 2)
    }
}
