import Foundation
import Glibc
import IPC
import IPCChannels
import Synchronization
import SystemPackage
import TestSupport
import Testing

/// Declarations of a schema for other programs: what `ipc schema --format` prints.
extension SchemaCommandTests {
    /// A channel with all that a schema can have.
    private func withChannel(_ schema: String, _ body: (String) throws -> Void) throws {
        let path = try file(schema)
        defer { unlink(path) }
        let name = channelName()
        let made = try ipc("topic", "create", name, "--schema", path)
        #expect(made.status == .exited(0), "\(schema): \(made)")
        defer { try? Topic<RawBytes>.remove(name) }
        try body(name)
    }

    private static let rich = """
        {"struct":{"name":"Rich","size":121,"alignment":8,"fields":[\
        {"name":"name","offset":0,"type":{"text":{"capacity":5}}},\
        {"name":"after","offset":9,"type":"u8"},\
        {"name":"list","offset":12,"type":{"list":{"capacity":3,"of":"u16"}}},\
        {"name":"int","offset":24,"type":"i32"},\
        {"name":"half","offset":28,"type":"f16"},\
        {"name":"letter","offset":32,"type":"char"},\
        {"name":"blob","offset":40,"type":{"opaque":{"size":16,"alignment":8}}},\
        {"name":"blobs","offset":56,"type":{"array":{"count":2,"of":{"opaque":{"size":12,"alignment":8}}}}},\
        {"name":"state","offset":88,"type":{"enum":{"name":"state","cases":[{"name":"a b","raw":"*/ \\\\"},{"name":"int","raw":"\\n"}]}}},\
        {"name":"texts","offset":92,"type":{"array":{"count":2,"of":{"text":{"capacity":3}}}}},\
        {"name":"one","offset":108,"type":{"enum":{"name":"Only","cases":["one"]}}},\
        {"name":"tuple","offset":108,"type":{"struct":{"name":"","size":8,"alignment":4,"fields":[\
        {"name":"0","offset":0,"type":"u8"},{"name":"1","offset":4,"type":"f32"}]}}},\
        {"name":"flag","offset":116,"type":{"optional":{"of":"bool","none":{"value":2,"size":1,"offset":0}}}},\
        {"name":"count","offset":117,"type":"u8"},{"name":"cöunt \\u202e","offset":118,"type":"u8"},\
        {"name":"c_unt __","offset":119,"type":"i8"},{"name":"_Bool","offset":120,"type":"i8"}]}}
        """

    private static let packed = """
        {"struct":{"name":"packed","size":13,"alignment":1,"fields":[\
        {"name":"a","offset":0,"type":"u8"},{"name":"b","offset":1,"type":"u64"},{"name":"c","offset":9,"type":"f32"}]}}
        """

    private func compileC(_ text: String) throws {
        let path = "/tmp/" + uniqueName() + ".c"
        defer { unlink(path) }
        try Data((text + "int main(void) { return 0; }\n").utf8).write(to: URL(filePath: path))
        let compiler = try Peer("cc", ["-std=c11", "-Wall", "-Wextra", "-Werror", "-c", path, "-o", "/dev/null"])
        #expect(try compiler.finish().status == .exited(0), "\(text)")
    }

    @Test func theDeclarationInCHoldsWhatItSays() throws {
        let (_, quotes) = try topic()
        let odd = try Topic<Odd>.create(channelName(), kept()).name.description
        let number = try Latest<UInt32?>.create(channelName(), LatestOptions(lifetime: .kept)).name.description
        let service = try ServiceChannel<Quote, Double, Refusal>.create(channelName(), ServiceOptions(lifetime: .kept))
            .name.description
        let framed = try Topic<Framed<Quote>>.create(channelName(), kept()).name.description
        defer {
            for name in [quotes, odd, number, service, framed] { _ = try? ipc("rm", name) }
        }
        let text = try ipc("schema", quotes, "--format", "c").output
        for line in [
            "    uint64_t symbol;", "    double price;", "    Side side;", "    uint8_t _pad0[3];",
            "    uint32_t note;",
            "    uint8_t note_is_none;  // 1: none, and note is all zeros; 0: note is valid", "    uint8_t _pad1[7];",
            "typedef uint8_t Side;", "    Side_buy = 0,  // raw value 66", "    Side_sell = 1,  // raw value 83",
            "_Static_assert(sizeof(Quote) == 32, \"size of Quote\");",
            "_Static_assert(offsetof(Quote, note) == 20, \"Quote.note\");", "enum { Quote_message_size = 25 };",
        ] {
            #expect(lines(text).contains(line), "\(line) in\n\(text)")
        }
        for name in [quotes, odd, number, service, framed] {
            let outcome = try ipc("schema", name, "--format", "c")
            #expect(outcome.status == .exited(0), "\(outcome)")
            try compileC(outcome.output)
        }
        let others = try ipc("schema", odd, "--format", "c").output
        // It would overlap the flag, and is several members.
        #expect(others.contains("int64_t inner_big;") && others.contains("Inner many[3];"), "\(others)")
        #expect(others.contains("Side other;  // none: 2"), "\(others)")
        for schema in [Self.rich, Self.packed, "\"u128\"", "{\"array\":{\"count\":0,\"of\":\"u8\"}}"] {
            try withChannel(schema) { name in try compileC(try ipc("schema", name, "--format", "c").output) }
        }
    }

    @Test func fieldsThatOverlapAreRefused() throws {
        let schema = """
            {"struct":{"name":"U","size":8,"alignment":8,"fields":[\
            {"name":"a","offset":0,"type":"u64"},{"name":"b","offset":4,"type":"u32"}]}}
            """
        let path = try file(schema)
        defer { unlink(path) }
        let name = channelName()
        isRefused(try ipc("topic", "create", name, "--schema", path), "the fields a and b overlap", "opaque")
        #expect(try ipc("info", name).status == .exited(4))
    }

    @Test func theDeclarationInSwiftIsThatOfTheType() throws {
        let (_, name) = try topic()
        let odd = try Topic<Odd>.create(channelName(), kept()).name.description
        let service = try ServiceChannel<Quote, Double, Refusal>.create(channelName(), ServiceOptions(lifetime: .kept))
            .name.description
        defer { for name in [name, odd, service] { _ = try? ipc("rm", name) } }
        let text = try ipc("schema", name, "--format", "swift").output
        #expect(
            text.hasSuffix(
                """
                import IPCChannels

                enum Side: Int, BitwiseCopyable, Sendable {
                    case buy = 66
                    case sell = 83
                }

                struct Quote: BitwiseCopyable, Sendable {
                    var symbol: UInt64
                    var price: Double
                    var side: Side
                    var note: Optional<UInt32>
                }

                // Topic<Quote>.open("\(name)") opens the channel.

                """), "\(text)")
        // The same with the raw type that is printed.
        #expect(try MessageSchema(of: Quote.self).json == MessageSchema(of: Printed.Quote.self).json)
        let others = try ipc("schema", odd, "--format", "swift")
        for line in [
            "    var many: InlineArray<3, Inner>", "    var maybe: InlineArray<2, Optional<Int64>>",
            "    var pair: (Int16, Float)", "    var other: Optional<Side>", "    var vector: SIMD4<Float>",
            "    var innerOrNone: Optional<Inner>", "    var large: Int128",
        ] {
            #expect(lines(others.output).contains(line), "\(line) in \(others)")
        }
        let calls = try ipc("schema", service, "--format", "swift").output
        #expect(calls.contains("struct Refusal: Error, BitwiseCopyable, Sendable {"), "\(calls)")
        #expect(calls.contains("ServiceChannel<Quote, Double, Refusal>"), "\(calls)")
        // Texts and lists, a name that is none in Swift, and fields that are named as keywords.
        let schema = """
            {"struct":{"name":"my type","size":32,"alignment":4,"fields":[\
            {"name":"in","offset":0,"type":{"text":{"capacity":8}}},\
            {"name":"words","offset":12,"type":{"list":{"capacity":4,"of":"u32"}}}]}}
            """
        try withChannel(schema) { name in
            let text = try ipc("schema", name, "--format", "swift").output
            for line in [
                "struct my_type: BitwiseCopyable, Sendable, NamedMessage {",
                "    static var messageName: String { \"my type\" }", "    var `in`: InlineString<8>",
                "    var words: InlineList<UInt32, 4>",
            ] {
                #expect(lines(text).contains(line), "\(line) in\n\(text)")
            }
        }
        let spaced = """
            {"struct":{"name":"A","size":1,"alignment":1,"fields":[{"name":"two words","offset":0,"type":"u8"}]}}
            """
        try withChannel(spaced) { name in
            let outcome = try ipc("schema", name, "--format", "swift")
            #expect(outcome.output.contains("    var `two words`: UInt8\n"), "\(outcome)")
        }
        try withChannel(spaced.replacing("two words", with: "a`b")) { name in
            let outcome = try ipc("schema", name, "--format", "swift")
            #expect(outcome.status == .exited(1) && outcome.errors.contains("a`b has a name"), "\(outcome)")
        }
        try withChannel(Self.packed) { name in
            let outcome = try ipc("schema", name, "--format", "swift")
            #expect(outcome.status == .exited(1) && outcome.errors.contains("b is at byte 1"), "\(outcome)")
        }
    }

    /// As the command prints it.
    private enum Printed {
        enum Side: Int, BitwiseCopyable, Sendable {
            case buy = 66
            case sell = 83
        }

        struct Quote: BitwiseCopyable, Sendable {
            var symbol: UInt64
            var price: Double
            var side: Side
            var note: UInt32?
        }
    }

    @Test func theDeclarationForNumPyIsAnExpression() throws {
        let (_, name) = try topic()
        let odd = try Topic<Odd>.create(channelName(), kept()).name.description
        let service = try ServiceChannel<Quote, Double, Refusal>.create(channelName(), ServiceOptions(lifetime: .kept))
            .name.description
        defer { for name in [name, odd, service] { _ = try? ipc("rm", name) } }
        let text = try ipc("schema", name, "--format", "numpy").output
        let expected = """
            np.dtype({'names': ['symbol', 'price', 'side', 'note', 'note_is_none'], \
            'formats': ['<u8', '<f8', '<u1', '<u4', '?'], 'offsets': [0, 8, 16, 20, 24], 'itemsize': 25})

            """
        #expect(text == expected, "\(text)")
        func check(_ expression: String) throws {
            // Evaluated where there is NumPy.
            let script = """
                import sys
                code = compile(sys.argv[1].strip(), "schema", "eval")
                try: import numpy as np
                except ImportError: sys.exit(0)
                eval(code)
                """
            let (status, text) = try Peer("python3", ["-c", script, expression]).finish()
            #expect(status == .exited(0), "\(expression): \(text)")
        }
        for name in [name, odd, service] { try check(try ipc("schema", name, "--format", "numpy").output) }
        for schema in [
            Self.rich, Self.packed, "\"u128\"", "\"bytes\"", "{\"optional\":{\"of\":\"u8\",\"none\":\"byte\"}}",
        ] {
            try withChannel(schema) { name in try check(try ipc("schema", name, "--format", "numpy").output) }
        }
    }

    /// Where the test script has prepared Python, the declaration opens the channel.
    @Test(.enabled(if: getenv("IPC_TEST_PYTHON") != nil), .timeLimit(.minutes(15)))
    func theDeclarationInPythonIsThatOfTheType() throws {
        let (_, quotes) = try topic()
        let service = try ServiceChannel<Quote, Double, Refusal>.create(channelName(), ServiceOptions(lifetime: .kept))
            .name.description
        let framed = try Topic<Framed<Quote>>.create(channelName(), kept()).name.description
        let number = try Latest<UInt32?>.create(channelName(), LatestOptions(lifetime: .kept)).name.description
        let event = try Event.create(channelName(), EventOptions(lifetime: .kept)).name.description
        let names = [quotes, service, framed, number, event]
        defer { for name in names { _ = try? ipc("rm", name) } }
        let text = try ipc("schema", quotes, "--format", "python").output
        let expected = """

            class Side(enum.Enum):
                buy = 66
                sell = 83


            @dataclasses.dataclass
            class Quote:
                symbol: ipc.u64
                price: ipc.f64
                side: Side
                note: Optional[ipc.u32]

            # ipc.topic('\(quotes)', Quote) opens the channel.

            """
        #expect(text.hasSuffix(expected), "\(text)")
        func check(_ name: String) throws {
            let outcome = try ipc("schema", name, "--format", "python")
            try #require(outcome.status == .exited(0), "\(outcome)")
            // With a type that differs, this is an error.
            let script = """
                import sys
                exec(sys.argv[1])
                call = sys.argv[1].splitlines()[-1].removeprefix("# ").removesuffix(") opens the channel.")
                eval(call + ", create=False, timeout=30)")
                """
            let repository = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
                .deletingLastPathComponent().path
            let peer = try Peer(
                python, ["-c", script, outcome.output],
                environment: [
                    "IPC_ROOT=\(channelRoot)", "PATH=/usr/bin:/bin", "SWIFT_IPC_LIBRARY=" + product("libipc-c.so"),
                    "PYTHONPATH=\(repository)/Bindings/Python", "PYTHONDONTWRITEBYTECODE=1",
                ])
            let (status, text) = try peer.finish()
            #expect(status == .exited(0), "\(outcome.output)\n\(text)")
        }
        for name in names { try check(name) }
        for schema in [
            "\"u128\"", "\"bytes\"", Self.named,
            "{\"array\":{\"count\":2,\"of\":{\"list\":{\"capacity\":3,\"of\":{\"text\":{\"capacity\":5}}}}}}",
        ] {
            try withChannel(schema, check)
        }
        for (schema, reason) in [
            (Self.rich, "blob has 16 bytes"), (Self.packed, "b is at byte 1"), (Self.keyword, "class"),
            ("{\"opaque\":{\"size\":3,\"alignment\":1}}", "the message has 3 bytes"),
            ("{\"coded\":{\"type\":\"T\",\"coder\":\"JSON\"}}", "encoded by"),
        ] {
            try withChannel(schema) { name in
                let outcome = try ipc("schema", name, "--format", "python")
                #expect(outcome.status == .exited(1) && outcome.errors.contains(reason), "\(outcome)")
                #expect(outcome.errors.contains("by its name alone"), "\(outcome)")
            }
        }
    }

    /// Names that classes of Python cannot have.
    private static let named = """
        {"struct":{"name":"a b's","size":2,"alignment":1,"fields":[\
        {"name":"class_","offset":0,"type":{"enum":{"name":"class","cases":[{"name":"x","raw":"é'\\n"},"y"]}}},\
        {"name":"other","offset":1,"type":{"struct":{"name":"Optional","size":1,"alignment":1,"fields":[\
        {"name":"z","offset":0,"type":"bool"}]}}}]}}
        """

    private static let keyword = """
        {"struct":{"name":"K","size":1,"alignment":1,"fields":[{"name":"class","offset":0,"type":"u8"}]}}
        """

    // MARK: Recordings
}
