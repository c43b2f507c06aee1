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
                "point":{"x":0.1,"y":"inf"},"side":"sell","only":"one","none":null,"some":7,"nested":{"some":null},\
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

    /// `.none`, `.some(.none)` and a value are three things.
    @Test func anOptionalOfAnOptionalIsNested() throws {
        let schema = try MessageSchema(of: Int8???.self)
        let values: [(Int8???, String)] = [
            (nil, "null"), (.some(nil), "{\"some\":null}"), (.some(.some(nil)), "{\"some\":{\"some\":null}}"),
            (5, "{\"some\":{\"some\":5}}"),
        ]
        for (value, json) in values {
            #expect(try schema.json(of: bytes(value)) == json)
            let message = try schema.message(json: json)
            #expect(message.withUnsafeBytes { $0.loadUnaligned(as: Int8???.self) } == value, "\(json)")
        }
        for json in ["5", "{\"some\":5}", "{}", "{\"other\":null}", "{\"some\":null,\"more\":1}"] {
            let error = failure { () throws(IPCError) in _ = try schema.message(json: json) }
            #expect(error?.advice.contains("null or {\"some\":…} is needed") == true, "\(json): \(error as Any)")
        }
        // Of a schema that says that a value is none.
        let odd = try MessageSchema(
            json: "{\"optional\":{\"of\":\"u8\",\"none\":{\"value\":7,\"size\":1,\"offset\":0}}}")
        #expect(try odd.json(of: [7]) == "null" && odd.message(json: "null") == [7] && odd.message(json: "6") == [6])
        let error = failure { () throws(IPCError) in _ = try odd.message(json: "7") }
        #expect(error?.advice.contains("the mark of none") == true, "\(error as Any)")
    }

    struct `class`: BitwiseCopyable {
        enum `a kind`: BitwiseCopyable { case `first one`, `default` }
        struct `of this`<Value: BitwiseCopyable>: BitwiseCopyable { var `in`: Value }
        var `two words`: UInt8 = 1
        var `default`: `a kind` = .`first one`
        var pair: (`a b`: UInt8, UInt8) = (1, 2)
        var other = `of this`<`a kind`>(in: .default)
    }

    @Test func namesHaveNoBackticks() throws {
        let schema = try MessageSchema(of: `class`.self)
        #expect(schema.name == "class" && !schema.json.contains("`"), "\(schema.json)")
        #expect(
            try schema.json(of: bytes(`class`()))
                == "{\"two words\":1,\"default\":\"first one\",\"pair\":{\"a b\":1,\"1\":2},\"other\":{\"in\":\"default\"}}"
        )
        #expect(try MessageSchema(of: `class`.`of this`<`class`>.self).name == "of this<class>")
    }

    @Test func aSchemaOfMessagesMayBeGivenAlone() throws {
        let quote = try MessageSchema(of: Point.self)
        for (text, schema) in [("\"u64\"", try MessageSchema(of: UInt64.self)), (quote.json, quote)] {
            let (alone, whole) = (try ChannelSchema(json: text), try ChannelSchema(json: "{\"message\":\(text)}"))
            #expect(alone == .messages(schema) && whole == alone && alone.json == "{\"message\":\(text)}")
            // As C and the other languages create it.
            let name = channelName()
            _ = try AnyChannel.create(
                .topic, name, ChannelOptions(lifetime: .kept), schema: ChannelSchema(json: text))
            #expect(try AnyChannel.open(name).schema == alone)
            try Topic<RawBytes>.remove(name)
        }
        for (text, told) in [
            ("{\"request\":\"u8\"}", "\"reply\" is missing"), ("{\"failure\":\"u8\"}", "\"request\" is missing"),
            ("{\"messages\":\"u8\"}", "unknown kind messages"),
        ] {
            let error = failure { () throws(IPCError) in _ = try ChannelSchema(json: text) }
            #expect(error?.code == .invalidArgument && error?.advice.contains(told) == true, "\(error as Any)")
        }
    }

    @Test func aSchemaThatAPatternCannotHaveIsAnErrorThatSaysWhatToGive() throws {
        let point = try MessageSchema(of: Point.self)
        let calls = ChannelSchema.calls(request: point, reply: .framed(point), failure: .bool)
        let plain = ChannelSchema.calls(request: point, reply: point, failure: .bool)
        let cases: [(ChannelPattern, ChannelSchema, String)] = [
            (.topic, plain, "is the schema of a service, and a topic has messages of one type; give {\"message\":…}"),
            (.workQueue, plain, "a work queue has messages of one type; give {\"message\":…}"),
            (.event, plain, "an event has no messages; give no schema"),
            (
                .event, .messages(point),
                "Point is the schema of a message, and an event has notices without any content"
            ),
            (.service, .messages(point), "a service has three; give {\"request\":…,\"reply\":…,\"failure\":…}"),
            (.service, calls, "its reply is Framed<Point>, a header with bytes after it, which only a topic can have"),
            (.latest, .messages(.framed(point)), "Framed<Point> is a header with bytes after it, which only a topic"),
            (
                .workQueue, .messages(.framed(point)),
                "Framed<Point> is a header with bytes after it, which only a topic"
            ),
            (.topic, .messages(.text(capacity: 1 << 20)), "a message has 1048580 bytes, and the log 1048576, of which"),
        ]
        for (pattern, schema, told) in cases {
            let name = channelName()
            let error = failure { () throws(IPCError) in _ = try AnyChannel.create(pattern, name, schema: schema) }
            #expect(error?.code == .invalidArgument && error?.advice.contains(told) == true, "\(error as Any)")
            #expect(error?.resource == name)
        }
        // A latest value has room for four of its values.
        let large = try AnyChannel.create(.latest, channelName(), schema: .messages(.text(capacity: 1 << 20)))
        defer { try? Latest<RawBytes>.remove(large.name.description) }
        #expect(try ChannelDescription(large.name).attributes.capacity >= 4 << 20)
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

    @Test func aGetterMayKnowFewerFields() throws {
        struct Pose: BitwiseCopyable { var x: Double, isKnown: Bool, y: Double, side: Side }
        let latest = try Latest<Pose>.openOrCreate(channelName(), LatestOptions(writers: .shared))
        var setter = try latest.makeSetter()
        try setter.set(Pose(x: 0.5, isKnown: true, y: 1, side: .buy))
        let name = latest.name.description
        struct Named: BitwiseCopyable, NamedMessage {
            static var messageName: String { "Pose" }
            var x: Double, isKnown: Bool
        }
        let old = try Latest<Named>.open(name, compatibility: .prefix)
        var getter = try old.makeGetter()
        var observer = try old.makeObserver()
        #expect(try getter.get()?.x == 0.5 && observer.get()?.isKnown == true)
        try setter.set(Pose(x: -3, isKnown: false, y: 1, side: .sell))
        #expect(try getter.next(until: .after(.seconds(5))).x == -3)
        #expect(try observer.next(until: .after(.seconds(5))).isKnown == false)
        #expect(try old.additionalFields == ["y", "side"] && latest.additionalFields == [])
        // It would have to make up the rest.
        let refused = failure { () throws(IPCError) in _ = try old.makeSetter() }
        #expect(refused?.code == .wrongType && refused?.advice.contains("has the field y") == true, "\(refused as Any)")
        let exact = failure { () throws(IPCError) in _ = try Latest<Named>.open(name) }
        #expect(exact?.code == .wrongType)
        // What the getter knows is checked, what it does not know is not looked at.
        var stranger = try AnyChannel.open(name).makeWriter()
        var message = bytes(Pose(x: 1, isKnown: true, y: 2, side: .buy))
        message[24] = 9
        try stranger.write(message.span.bytes)
        #expect(try getter.get()?.x == 1)
        message[8] = 7
        try stranger.write(message.span.bytes)
        let invalid = failure { () throws(IPCError) in _ = try getter.get() }
        #expect(invalid?.code == .corrupted && invalid?.advice.contains("isKnown") == true, "\(invalid as Any)")
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
