import Foundation
import Glibc
import IPC
import IPCChannels
import Synchronization
import SystemPackage
import TestSupport
import Testing

enum Side: UInt8, BitwiseCopyable { case buy = 66, sell = 83 }

struct Quote: BitwiseCopyable, Hashable {
    var symbol: UInt64
    var price: Double
    var side: Side
    var note: UInt32?
}

struct Refusal: Error, BitwiseCopyable, Hashable { var code: Int32 }

/// What a compiler of C places in another way, unless it is told to.
struct Odd: BitwiseCopyable {
    struct Inner: BitwiseCopyable {
        var big: Int64
        var small: UInt8
    }

    var inner: Inner
    /// In the padding at the end of the one before.
    var flag: Bool
    var many: InlineArray<3, Inner>
    var maybe: InlineArray<2, Int64?>
    var pair: (Int16, Float)
    var other: Side?
    var vector: SIMD4<Float>
    var innerOrNone: Inner?
    var large: Int128
}

final class Switch: Sendable { let isOn = Atomic(false) }

/// Messages as JSON, by the schema of their channel.
@Suite(.timeLimit(.minutes(15))) struct SchemaCommandTests {
    let acme = "{\"symbol\":7,\"price\":12.5,\"side\":\"buy\",\"note\":null}"
    let noted = "{\"symbol\":8,\"price\":-0.25,\"side\":\"sell\",\"note\":9}"
    /// Of the same size, with a side that is none.
    let invalid = "0700000000000000" + "0000000000002940" + "09" + "000000" + "00000000" + "01"

    func kept() -> ChannelOptions { ChannelOptions(writers: .shared, lifetime: .kept) }

    func topic() throws -> (Topic<Quote>, name: String) {
        let topic = try Topic<Quote>.create(channelName(), kept())
        return (topic, topic.name.description)
    }

    func file(_ text: String) throws -> String {
        let path = "/tmp/" + uniqueName()
        try Data(text.utf8).write(to: URL(filePath: path))
        return path
    }

    func lines(_ text: String) -> [String] { text.split(separator: "\n").map(String.init) }

    func isRefused(_ outcome: Tool.Outcome, _ words: String...) {
        #expect(outcome.status == .exited(64), "\(outcome.status) \(outcome.errors)")
        for word in words { #expect(outcome.errors.contains(word), "\(word): \(outcome.errors)") }
        #expect(lines(outcome.errors).count == 1, "\(outcome.errors)")
    }

    // MARK: Messages

    @Test func aTopicTakesAndPrintsJSON() throws {
        let (topic, name) = try topic()
        defer { try? Topic<Quote>.remove(name) }
        var subscription = try topic.makeSubscription()
        #expect(try ipc("topic", "publish", name, acme).status == .exited(0))
        #expect(try ipc("topic", "publish", name, input: noted + "\n").status == .exited(0))
        let first = Quote(symbol: 7, price: 12.5, side: .buy, note: nil)
        #expect(try subscription.receive(until: .after(.seconds(5))) == first)
        let second = Quote(symbol: 8, price: -0.25, side: .sell, note: 9)
        #expect(try subscription.receive(until: .after(.seconds(5))) == second)

        let all = ["--from", "oldest", "--count", "2", "--timeout", "10"]
        for words in [["topic", "subscribe", name], ["topic", "observe", name], ["tap", name]] {
            let text = try Tool(words + all).finish()
            #expect(text.status == .exited(0) && text.output == acme + "\n" + noted + "\n", "\(words) \(text)")
            let json = try Tool(words + all + ["--format", "json"]).finish().output
            #expect(lines(json).first?.contains("\"message\":\(acme)") == true, "\(words) \(json)")
            let raw = try Tool(words + all + ["--raw", "--format", "json"]).finish().output
            #expect(lines(raw).allSatisfy { !$0.contains("\"message\"") && $0.contains("\"text\"") }, "\(words) \(raw)")
        }
        for words in [
            ["topic", "subscribe", name, "--hex"], ["topic", "observe", name, "--hex"], ["tap", name, "--as", "hex"],
        ] {
            let hex = lines(try Tool(words + all).finish().output)
            #expect(hex.count == 2 && hex[1].hasPrefix("0800000000000000000000000000d0bf01"), "\(hex)")
        }
    }

    @Test func anErrorNamesTheField() throws {
        let (topic, name) = try topic()
        defer { try? Topic<Quote>.remove(name) }
        var subscription = try topic.makeSubscription()
        for (text, words) in [
            ("{\"symbol\":-1,\"price\":1,\"side\":\"buy\"}", ["symbol", "UInt64"]),
            ("{\"symbol\":1,\"price\":\"x\",\"side\":\"buy\"}", ["price", "number"]),
            ("{\"symbol\":1,\"price\":1,\"side\":\"hold\"}", ["side", "buy, sell"]),
            ("{\"symbol\":1,\"price\":1,\"side\":1}", ["side", "buy, sell"]),
            ("{\"symbol\":1,\"price\":1}", ["side", "missing"]),
            ("{\"symbol\":1,\"price\":1,\"side\":\"buy\",\"size\":3}", ["size", "no field"]),
            ("{\"symbol\":1,\"symbol\":2,\"price\":1,\"side\":\"buy\"}", ["symbol", "twice"]),
            ("not JSON", ["--raw"]), ("", ["--raw"]),
        ] {
            for outcome in [
                try ipc("topic", "publish", name, text), try ipc("topic", "publish", name, input: text + "\n"),
            ] {
                isRefused(outcome, words[0], words.last!, name)
            }
        }
        // What was sent before is said, as with any other error.
        let late = try ipc("topic", "publish", name, acme, "{\"symbol\":1,\"price\":1,\"side\":\"hold\"}")
        isRefused(late, "side", "1 message was sent before")
        #expect(try subscription.receive(until: .after(.seconds(5))).symbol == 7)
        #expect(try subscription.tryReceive() == nil)
        // Bytes are checked by their number only, as before.
        isRefused(try ipc("topic", "publish", name, "--raw", acme), "Quote", "25 bytes")
        isRefused(try ipc("topic", "publish", name, "--hex", "00"), "Quote", "25 bytes")
        #expect(try ipc("topic", "publish", name, "--hex", invalid).status == .exited(0))
        #expect(try ipc("topic", "publish", name, "--raw", String(repeating: "\u{1}", count: 25)).status == .exited(0))
    }

    @Test func whatDoesNotFitTheSchemaIsAnErrorLine() throws {
        let (_, name) = try topic()
        defer { try? Topic<Quote>.remove(name) }
        for words in [["--hex", invalid], [acme]] { _ = try Tool(["topic", "publish", name] + words).finish() }
        let all = ["--from", "oldest", "--count", "2", "--timeout", "10"]
        for words in [["topic", "subscribe", name], ["topic", "observe", name], ["tap", name]] {
            for format in [[], ["--format", "json"]] {
                let outcome = try Tool(words + all + format).finish()
                #expect(outcome.status == .exited(0) && lines(outcome.output).count == 1, "\(words) \(outcome)")
                #expect(outcome.output.contains(acme), "\(outcome)")
                #expect(lines(outcome.errors).count == 1 && outcome.errors.contains("side has 9"), "\(outcome)")
            }
            let raw = try Tool(words + all + ["--raw", "--format", "json"]).finish()
            #expect(lines(raw.output).count == 2 && raw.errors == "", "\(raw)")
        }
    }

    @Test func aQueueTakesAndPrintsJSON() throws {
        let queue = try WorkQueue<Quote>.create(channelName(), maximumAttempts: 2)
        let name = queue.name.description
        defer {
            try? WorkQueue<Quote>.remove(name)
            try? WorkQueue<Quote>.remove(name + "/dead-letters")
        }
        #expect(try ipc("queue", "push", name, acme, noted).status == .exited(0))
        isRefused(try ipc("queue", "push", name, "{\"symbol\":1}"), "price", "missing")
        #expect(try ipc("queue", "peek", name).output == acme + "\n" + noted + "\n")
        let peeked = lines(try ipc("queue", "peek", name, "--format", "json").output)
        #expect(peeked.count == 2 && peeked[0].contains("\"message\":\(acme)") && peeked[0].contains("\"stage\""))
        #expect(try ipc("queue", "peek", name, "--raw", "--format", "json").output.contains("\"text\""))
        let printed = try ipc("queue", "work", name, "--count", "1", "--timeout", "10", "--format", "json")
        #expect(printed.output == "{\"attempt\":1,\"message\":\(acme)}\n", "\(printed)")
        let worked = try ipc("queue", "work", name, "--count", "1", "--timeout", "10", "--", "cat")
        #expect(worked.status == .exited(0) && worked.output == noted + "\n", "\(worked)")
        // By a command, in bytes.
        _ = try ipc("queue", "push", name, acme)
        let counted = try ipc("queue", "work", name, "--count", "1", "--whole", "--timeout", "10", "--", "wc", "-c")
        #expect(counted.output.trimmingCharacters(in: .whitespacesAndNewlines) == "25", "\(counted)")

        // One that does not fit becomes a dead letter, and is shown.
        for command in [[], ["--", "cat"]] {
            _ = try ipc("queue", "push", name, "--hex", invalid)
            _ = try ipc("queue", "push", name, acme)
            let shown = try ipc("queue", "peek", name)
            #expect(lines(shown.output).count == 2 && shown.errors.contains("side has 9"), "\(shown)")
            let drained = try Tool(["queue", "work", name, "--drain"] + command).finish()
            #expect(drained.output == acme + "\n" && drained.status == .exited(0), "\(drained)")
            let dead = try ipc("queue", "dead", name, "--format", "json")
            #expect(dead.output.contains("\"text\":\"\\u0007") && dead.errors.contains("side has 9"), "\(dead)")
            #expect(try ipc("queue", "dead", name, "--raw").errors == "")
            #expect(try ipc("queue", "dead", name, "--purge").output == "1 purged\n")
        }
        // A letter that fits.
        _ = try ipc("queue", "push", name, "--time-to-live", "0", noted)
        #expect(try ipc("queue", "dead", name).output.hasPrefix(noted + "  (expired"))
        let letters = try ipc("queue", "work", name + "/dead-letters", "--count", "1", "--timeout", "10")
        #expect(letters.output == noted + "\n", "\(letters)")
    }

    /// What a queue of encoded values has is not checked before it is delivered.
    @Test func aJobThatIsNoJSONIsRejected() throws {
        let (name, path) = (channelName(), try file("{\"coded\":{\"type\":\"Parcel\",\"coder\":\"JSON\"}}"))
        defer {
            unlink(path)
            for name in [name, name + "/dead-letters"] { _ = try? ipc("rm", name) }
        }
        #expect(try ipc("queue", "create", name, "--schema", path, "--attempts", "2").status == .exited(0))
        isRefused(try ipc("queue", "push", name, "{\"a\":}"), "at byte 5")
        for command in [[], ["--", "cat"]] {
            #expect(try ipc("queue", "push", name, "--raw", "{\"a\":}").status == .exited(0))
            #expect(try ipc("queue", "push", name, "{\"a\": [1, 2]}").status == .exited(0))
            let drained = try Tool(["queue", "work", name, "--drain"] + command).finish()
            #expect(drained.output == "{\"a\":[1,2]}\n" && lines(drained.errors).count == 2, "\(drained)")
            #expect(
                drained.errors.contains("at byte 5") && drained.errors.contains("is now a dead letter"), "\(drained)")
            #expect(drained.status == .exited(command.isEmpty ? 0 : 1), "\(drained)")
            // A letter is tried once, and stays.
            let letters = try ipc("queue", "work", name + "/dead-letters", "--drain")
            #expect(letters.output == "" && lines(letters.errors).count == 1, "\(letters)")
            #expect(try ipc("queue", "dead", name).output.hasPrefix("{\"a\":}  (rejected after 2 attempts"))
            // Not due at once.
            #expect(try eventually { try ipc("queue", "dead", name, "--purge").output == "1 purged\n" })
        }
    }

    @Test func aLatestValueIsJSON() throws {
        let latest = try Latest<Quote>.create(channelName(), LatestOptions(lifetime: .kept))
        let name = latest.name.description
        defer { try? Latest<Quote>.remove(name) }
        #expect(try ipc("latest", "get", name).status == .exited(4))
        isRefused(try ipc("latest", "set", name, "{\"symbol\":true}"), "symbol")
        #expect(try ipc("latest", "set", name, acme).status == .exited(0))
        var getter = try latest.makeGetter()
        #expect(try getter.get() == Quote(symbol: 7, price: 12.5, side: .buy, note: nil))
        #expect(try ipc("latest", "get", name).output == acme + "\n")
        #expect(try ipc("latest", "get", name, "--timeout", "5").output == acme + "\n")
        #expect(try ipc("latest", "get", name, "--format", "json").output == "{\"message\":\(acme)}\n")
        #expect(try ipc("latest", "get", name, "--hex").output.hasPrefix("0700000000000000"))
        for verb in ["watch", "observe"] {
            #expect(try ipc("latest", verb, name, "--count", "1", "--timeout", "10").output == acme + "\n")
        }
        #expect(try ipc("latest", "set", name, input: noted + "\n" + acme + "\n" + noted).status == .exited(0))
        #expect(try ipc("latest", "get", name).output == noted + "\n")
        #expect(try ipc("latest", "set", name, "--hex", invalid).status == .exited(0))
        let odd = try ipc("latest", "get", name)
        #expect(odd.status == .exited(1) && odd.output == "" && odd.errors.contains("side has 9"), "\(odd)")
    }

    @Test func aServiceOfOtherTypesIsCalledWithJSON() throws {
        typealias Prices = ServiceChannel<Quote, Double, Refusal>
        let service = try Prices.openOrCreate(channelName(), ServiceOptions(lifetime: .kept, maximumWaiting: 5))
        let name = service.name.description
        defer { try? Prices.remove(name) }
        let (isOver, isThere) = (Switch(), Flag())
        let thread = try PlainThread { () throws(IPCError) in
            var server = try service.makeServer()
            isThere.set()
            while !isOver.isOn.load(ordering: .relaxed) {
                do throws(IPCError) {
                    try server.serveNext(until: .after(.milliseconds(100))) { (quote) throws(Refusal) in
                        guard quote.side == .buy else { throw Refusal(code: 42) }
                        return quote.price * 2
                    }
                } catch {
                    guard error.code == .timedOut else { throw error }
                }
            }
        }
        isThere.wait()
        let reply = try ipc("service", "call", name, acme, "--timeout", "10")
        #expect(reply.status == .exited(0) && reply.output == "25\n", "\(reply)")
        #expect(try ipc("service", "call", name, "--timeout", "10", input: acme + "\n").output == "25\n")
        let failed = try ipc("service", "call", name, noted, "--timeout", "10")
        #expect(failed.status == .exited(1) && failed.output == "" && failed.errors == "{\"code\":42}\n", "\(failed)")
        isRefused(try ipc("service", "call", name, "{\"symbol\":1}"), "price", "missing")
        isRefused(try ipc("service", "call", name, "--raw", "x"), "Quote", "25 bytes")
        let bytes = String(repeating: "\u{1}", count: 17) + String(repeating: "\0", count: 7) + "\u{1}"
        let raw = try ipc("service", "call", name, "--raw", "--timeout", "10", input: bytes)
        // A side of 1 is one, and it is not `buy`.
        #expect(raw.status == .exited(1) && raw.errors == "*···\n", "\(raw)")
        isRefused(try ipc("service", "call", name, acme, "--maximum-waiting", "6"), "maximumWaiting 6")
        #expect(try ipc("service", "call", name, acme, "--maximum-waiting", "5", "--timeout", "10").output == "25\n")
        isOver.isOn.store(true, ordering: .relaxed)
        #expect(thread.join() == nil)
        let tapped = try ipc("tap", name, "--from", "oldest", "--count", "0")
        #expect(tapped.status == .exited(0), "\(tapped)")
        let late = try ipc("service", "call", name, acme, "--timeout", "0.2")
        #expect(late.status == .exited(3), "\(late)")
        let absent = try ipc("service", "call", name, acme, "--require-server")
        #expect(absent.status == .exited(75), "\(absent)")
    }

    // MARK: Schemas

    @Test func theSchemaIsPrinted() throws {
        let (_, name) = try topic()
        defer { try? Topic<Quote>.remove(name) }
        let schema = try ChannelSchema.messages(MessageSchema(of: Quote.self)).json + "\n"
        for words in [["info", name, "--schema"], ["topic", "info", name, "--schema"], ["schema", name]] {
            let outcome = try Tool(words).finish()
            #expect(outcome.status == .exited(0) && outcome.output == schema, "\(outcome)")
        }
        // Without joining.
        #expect(try ChannelDescription(ChannelName(name)).participants.isEmpty)
        #expect(try ipc("info", "none/such", "--schema").status == .exited(4))
        #expect(try ipc("schema", "none/such").status == .exited(4))
        #expect(try ipc("schema", name, "--format", "xml").status == .exited(64))
        let bytes = try Topic<RawBytes>.create(channelName(), kept())
        defer { try? Topic<RawBytes>.remove(bytes.name.description) }
        #expect(try ipc("schema", bytes.name.description).output == "{\"message\":\"bytes\"}\n")
        for format in ["c", "swift", "numpy"] {
            #expect(try ipc("schema", bytes.name.description, "--format", format).status == .exited(0))
        }
    }

    @Test func aChannelIsCreatedFromAFile() throws {
        let whole = try file(ChannelSchema.messages(MessageSchema(of: Quote.self)).json)
        let message = try file("\n " + MessageSchema(of: Quote.self).json)
        defer { for path in [whole, message] { unlink(path) } }
        for (index, path) in [whole, message, "-"].enumerated() {
            let name = channelName()
            defer { try? Topic<Quote>.remove(name) }
            let text = index == 2 ? try String(contentsOfFile: whole, encoding: .utf8) : ""
            let made = try ipc("topic", "create", name, "--schema", path, "--capacity", "65536", input: text)
            #expect(made.status == .exited(0) && made.output == "", "\(made)")
            let description = try ChannelDescription(ChannelName(name))
            #expect(description.attributes.lifetime == .kept && description.attributes.writers == .shared)
            #expect(description.attributes.capacity == 65_536 && description.participants.isEmpty)
            #expect(try ipc("topic", "publish", name, "-q", acme).status == .exited(0))
            var subscription = try Topic<Quote>.open(name).makeSubscription(from: .oldest)
            #expect(try subscription.receive(until: .after(.seconds(5))).price == 12.5)
            let again = try ipc("topic", "create", name, "--schema", path, input: text)
            #expect(again.status == .exited(6) && again.errors.contains("Quote"), "\(again)")
        }
        let (latest, queue) = (channelName(), channelName())
        defer {
            try? Latest<Quote>.remove(latest)
            try? WorkQueue<Quote>.remove(queue)
        }
        #expect(try ipc("latest", "create", latest, "--schema", whole).status == .exited(0))
        #expect(try ipc("latest", "set", latest, noted).status == .exited(0))
        var getter = try Latest<Quote>.open(latest).makeGetter()
        #expect(try getter.get()?.note == 9)
        let made = try ipc("queue", "create", queue, "--schema", whole, "--attempts", "3", "--backoff", "0.5")
        #expect(made.status == .exited(0), "\(made)")
        #expect(try ChannelDescription(ChannelName(queue)).maximumAttempts == 3)
        #expect(try ipc("queue", "push", queue, acme).status == .exited(0))
        var worker = try WorkQueue<Quote>.open(queue).makeWorker()
        let job = try worker.next(until: .after(.seconds(5)))
        #expect(job.message.symbol == 7)
        try job.acknowledge()
        #expect(try ipc("queue", "create", latest, "--schema", whole).status == .exited(6))
        // Without a schema, of bytes.
        let bytes = channelName()
        defer { try? Topic<RawBytes>.remove(bytes) }
        #expect(try ipc("topic", "create", bytes).status == .exited(0))
        #expect(try ipc("topic", "publish", bytes, "-q", "text").status == .exited(0))
    }

    @Test func aServiceIsCreatedFromAFile() throws {
        typealias Prices = ServiceChannel<Quote, Double, Refusal>
        let schema = ChannelSchema.calls(
            request: try MessageSchema(of: Quote.self), reply: try MessageSchema(of: Double.self),
            failure: try MessageSchema(of: Refusal.self))
        let path = try file(schema.json)
        defer { unlink(path) }
        let name = channelName()
        defer { try? Prices.remove(name) }
        #expect(try ipc("service", "create", name, "--schema", path).status == .exited(0))
        #expect(try ipc("service", "create", name, "--schema", path).status == .exited(6))
        #expect(try ipc("service", "info", name, "--schema").output == schema.json + "\n")
        _ = try Prices.open(name).makeServer()
        let message = try file(MessageSchema(of: Quote.self).json)
        defer { unlink(message) }
        isRefused(try ipc("service", "create", channelName(), "--schema", message), "request")
        isRefused(
            try ipc("topic", "create", channelName(), "--schema", path), "a topic has messages of one type",
            "{\"message\":…}")
        #expect(try ipc("service", "create", channelName()).status == .exited(64))
        // A topic of that name is not one that could be called.
        #expect(try ipc("topic", "create", name, "--schema", message).status == .exited(6))
    }

    @Test(arguments: [
        "", "{", "null", "[]", "\"text\"", "{\"message\":1}", "{\"message\":{}}", "{\"request\":\"u8\"}",
        "{\"struct\":{\"name\":\"A\",\"size\":8,\"alignment\":8,\"fields\":[{\"name\":\"a\",\"offset\":4,\"type\":\"u64\"}]}}",
        "{\"struct\":{\"name\":\"A\",\"size\":-1,\"alignment\":8,\"fields\":[]}}",
        "{\"struct\":{\"name\":\"A\",\"size\":8,\"alignment\":3,\"fields\":[]}}",
        "{\"struct\":{\"name\":\"A\",\"size\":99999999999999999999,\"alignment\":1,\"fields\":[]}}",
        "{\"array\":{\"count\":4294967295,\"of\":\"u64\"}}", "{\"list\":{\"capacity\":4294967295,\"of\":\"u64\"}}",
        "{\"array\":{\"count\":2,\"of\":\"bytes\"}}", "{\"enum\":{\"name\":\"E\",\"cases\":[]}}",
        "{\"enum\":{\"name\":\"E\",\"cases\":[\"a\",\"a\"]}}",
        "{\"optional\":{\"of\":\"u8\",\"none\":{\"value\":256,\"size\":1,\"offset\":0}}}",
        "{\"optional\":{\"of\":\"u8\",\"none\":{\"value\":2,\"size\":4,\"offset\":0}}}",
        "{\"text\":{\"capacity\":2147483648}}", "{\"text\":{\"capacity\":1000000}}", "\"u8\" \"u8\"",
        String(repeating: "[", count: 100_000), String(repeating: "{\"framed\":", count: 5000),
        "\"u8\"" + String(repeating: " ", count: 1 << 20),
    ])
    func aSchemaThatIsNoneIsRefused(text: String) throws {
        let path = try file(text)
        defer { unlink(path) }
        let name = channelName()
        let outcome = try ipc("topic", "create", name, "--schema", path)
        #expect(outcome.status == .exited(64) && lines(outcome.errors).count == 1, "\(outcome)")
        #expect(try ipc("info", name).status == .exited(4))
    }

    /// As a program that opens it would size it.
    @Test func aLatestValueHasRoomForItsValues() throws {
        let path = try file("{\"text\":{\"capacity\":1000000}}")
        defer { unlink(path) }
        let name = channelName()
        defer { _ = try? ipc("rm", name) }
        #expect(try ipc("latest", "create", name, "--schema", path).status == .exited(0))
        #expect(try ChannelDescription(ChannelName(name)).attributes.capacity >= 4_000_016)
        #expect(try ipc("latest", "set", name, "\"text\"").status == .exited(0))
        _ = try Latest<InlineString<1_000_000>>.openOrCreate(name)
        // What is too large for the log that is asked for is refused.
        isRefused(
            try ipc("topic", "create", channelName(), "--schema", path, "--capacity", "1000000"), "1000004 bytes",
            "larger capacity")
    }

    @Test func filesThatAreNoneAreErrors() throws {
        #expect(try ipc("topic", "create", channelName(), "--schema", "/none/such").status == .exited(4))
        #expect(try ipc("topic", "create", channelName(), "--schema", "/tmp").status == .exited(1))
        isRefused(try ipc("topic", "create", channelName(), "--schema", "/dev/zero"), "/dev/zero")
        let path = "/tmp/" + uniqueName()
        try Data([0x22, 0xff, 0x22]).write(to: URL(filePath: path))
        defer { unlink(path) }
        isRefused(try ipc("topic", "create", channelName(), "--schema", path), "UTF-8")
    }

    // MARK: Views

    @Test func topShowsTypesAndTheNewestMessages() throws {
        let (_, name) = try topic()
        let (latest, plain) = (channelName(), channelName())
        defer { for name in [name, latest, plain] { _ = try? ipc("rm", name) } }
        _ = try Latest<Quote>.create(latest, LatestOptions(lifetime: .kept))
        #expect(try ipc("latest", "set", latest, noted).status == .exited(0))
        #expect(try ipc("topic", "publish", "-q", name, acme, noted).status == .exited(0))
        #expect(try ipc("topic", "publish", "-q", name, "--hex", invalid).status == .exited(0))
        #expect(try ipc("topic", "publish", "-q", "--keep", plain, "hello").status == .exited(0))
        let table = lines(try ipc("top", "--count", "1").output)
        let row = { (name: String) in
            table.first { $0.hasPrefix(name) }?.split(separator: " ").suffix(2).joined(separator: " ")
        }
        #expect(row(name) == "25 Quote" && row(latest) == "25 Quote" && row(plain) == "- bytes", "\(table)")
        let one = try ipc("top", name, "--count", "1").output
        #expect(one.contains("\(name)  topic  Quote  25 bytes") && !one.contains(latest), "\(one)")
        #expect(one.contains("  \(acme)\n  \(noted)\n") && one.contains("(does not fit the schema)"), "\(one)")
        #expect(try ipc("top", latest, "--count", "1").output.hasSuffix("newest:\n  \(noted)\n"))
        #expect(try ipc("top", plain, "--count", "1").output.hasSuffix("newest:\n  hello\n"))
        #expect(try ipc("top", "none/such", "--count", "1").status == .exited(4))
    }
}
