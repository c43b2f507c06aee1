import Foundation
import Glibc
import IPC
import IPCChannels
import TestSupport
import Testing

private struct Reading: BitwiseCopyable {
    struct Place: BitwiseCopyable {
        var x: Int32
        var y: Int32
    }

    var number: UInt64
    var price: Double
    var isOn = false
    var side = Side.sell
    var limit: UInt16?
    var place = Place(x: 3, y: 4)
    var last: Place?
    var many: InlineArray<3, UInt8> = [1, 2, 3]
    var some: InlineList<UInt16, 4> = [8, 9]
    var note: InlineString<64> = ""
}

/// The live page, in headless Chromium.
@Suite(.timeLimit(.minutes(15))) struct ViewerTests {
    private func curl(_ address: String, _ more: String...) throws -> String {
        try Peer("curl", ["--silent", "--include", "--max-time", "5"] + more + [address]).finish().text
    }

    /// A page as a browser has it after its scripts have run for some seconds.
    private func browsed(_ address: String) throws -> String {
        let profile = "/tmp/\(uniqueName())"
        defer { try? FileManager.default.removeItem(atPath: profile) }
        let browser = try Peer(
            "chromium",
            [
                "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=\(profile)",
                "--virtual-time-budget=4000", "--dump-dom", address,
            ])
        return try browser.finish(within: .seconds(60)).text
    }

    private func encoded(_ name: String) -> String {
        name.addingPercentEncoding(withAllowedCharacters: .alphanumerics)!
    }

    @Test func thePageShowsChannelsAndTheirMessages() throws {
        let topic = try Topic<RawBytes>.openOrCreate(channelName(), ChannelOptions(lifetime: .kept))
        defer { try? Topic<RawBytes>.remove(topic.name.description) }
        var publisher = try topic.makePublisher()
        let viewer = try Tool(["serve-ui"])
        let address = try viewer.peer.said().trimmingCharacters(in: .newlines)
        try #require(address.hasPrefix("http://127.0.0.1:"))
        try publisher.publish("<b>hello</b> page".utf8.span.bytes)

        let name = topic.name.description
        let page = try browsed("\(address)#\(encoded(name))")
        #expect(page.contains("data-name=\"\(name)\"") && page.contains("<polyline"), "\(page.suffix(2000))")
        // As text, whatever it looks like.
        #expect(page.contains("&lt;b&gt;hello&lt;/b&gt; page"))

        // Only by its address and word, and only to be read.
        let root = address.split(separator: "/").prefix(2).joined(separator: "//") + "/"
        #expect(try curl(root).contains("404"))
        #expect(try curl(root + "wrong/channels").contains("404"))
        #expect(try curl(address + "channels", "--header", "Host: example.com:80").contains("404"))
        #expect(try curl(address + "channels", "--request", "DELETE").contains("404"))
        #expect(try curl(address + "channels").contains("\"name\":\"\(name)\""))
        #expect(try curl(address + "messages?name=none").contains("404"))
        // Nobody has joined the channel for it.
        #expect(try ChannelDescription(topic.name).participants.count == 1)
        let port = address.split(separator: ":")[2].prefix { $0 != "/" }
        let second = try ipc("serve-ui", "--port", "\(port)")
        #expect(second.status == .exited(6) && second.errors.contains("--port"), "\(second.errors)")
        try viewer.peer.child.handle.send(.interrupt)
        #expect(try viewer.finish().status == .exited(130))
    }

    /// What the page asks for about a channel with a schema.
    private struct Table: Decodable {
        struct Column: Decodable, Equatable {
            let name: String
            let number: Bool
        }
        struct Row: Decodable {
            let bytes: Int
            let cells: [String?]?
            let error: String?
        }
        let columns: [Column]
        let rows: [Row]
        let values: [[String?]]

        var names: [String] { columns.map(\.name) }
    }

    private func table(_ address: String, _ name: String, drawing field: Int? = nil) throws -> Table {
        let answer = try curl(
            address + "messages?name=" + encoded(name) + (field.map { "&field=\($0)" } ?? ""), "--no-include")
        return try JSONDecoder().decode(Table.self, from: Data(answer.utf8))
    }

    private func viewing(_ body: (_ address: String) throws -> Void) throws {
        let viewer = try Tool(["serve-ui"])
        try body(viewer.peer.said().trimmingCharacters(in: .newlines))
        try viewer.peer.child.handle.send(.terminate)
        _ = try viewer.finish()
    }

    private let hostile = "<img src=x onerror=alert(1)>\u{202e}\"'&"

    @Test func messagesWithASchemaAreATable() throws {
        let topic = try Topic<Reading>.openOrCreate(channelName(), ChannelOptions(lifetime: .kept))
        let name = topic.name.description
        defer { try? Topic<Reading>.remove(name) }
        var publisher = try topic.makePublisher()
        for number in 1...3 {
            var reading = Reading(number: UInt64.max - 3 + UInt64(number), price: Double(number) * 1.5)
            reading.isOn = number == 2
            if number == 3 {
                (reading.limit, reading.last) = (7, Reading.Place(x: 1, y: -2))
                reading.note = try InlineString(hostile)
            }
            try publisher.publish(reading)
        }
        try viewing { address in
            let answer = try table(address, name)
            #expect(
                answer.names == [
                    "number", "price", "isOn", "side", "limit", "place.x", "place.y", "last.x", "last.y", "many",
                    "some",
                    "note",
                ])
            #expect(answer.columns.filter { !$0.number }.map(\.name) == ["side", "many", "some", "note"])
            let none: String? = nil
            #expect(
                answer.rows.first?.cells == [
                    "18446744073709551613", "1.5", "false", "sell", none, "3", "4", none, none, "[1,2,3]", "[8,9]", "",
                ], "\(answer.rows)")
            #expect(
                answer.rows.last?.cells == [
                    "18446744073709551615", "4.5", "false", "sell", "7", "3", "4", "1", "-2", "[1,2,3]", "[8,9]",
                    hostile,
                ], "\(answer.rows)")
            // Nothing is drawn that nobody chose, and no text.
            #expect(answer.values.isEmpty)
            for field in [3, 11, 12, -1, 99] { #expect(try table(address, name, drawing: field).values.isEmpty) }
            func drawn(_ field: Int) throws -> [String?] {
                try table(address, name, drawing: field).values.map { $0[1] }
            }
            #expect(try drawn(0) == ["18446744073709551613", "18446744073709551614", "18446744073709551615"])
            #expect(try drawn(1) == ["1.5", "3", "4.5"] && drawn(2) == ["0", "1", "0"])
            #expect(try drawn(8) == [none, none, "-2"])

            let page = try browsed("\(address)#\(encoded(name))&field=price")
            #expect(page.contains(">place.x</button>") && page.contains("<th>note</th>"), "\(page.suffix(4000))")
            #expect(page.contains("<td class=\"number\">18446744073709551615</td><td class=\"number\">4.5</td>"))
            #expect(page.contains(">&lt;img src=x onerror=alert(1)&gt;\\u{202e}\"'&amp;</td>"))
            #expect(!page.contains("<img"))
            // From the lowest to the highest.
            #expect(page.contains("d=\"M297 98.00h0L298 50.00L299 2.00\""))
            let figures = "price: newest 4.5, minimum 1.5, maximum 4.5; messages: 3"
            #expect(page.contains("<figcaption id=\"figures\">\(figures)<"))
            #expect(page.contains("aria-label=\"\(figures)\""))
            let plain = try browsed("\(address)#\(encoded(name))")
            #expect(plain.contains("<th>note</th>") && plain.contains("<figure id=\"chart\" hidden"))
            // A text cannot be drawn.
            #expect(try browsed("\(address)#\(encoded(name))&field=note").contains("<figure id=\"chart\" hidden"))
        }
        #expect(try ChannelDescription(topic.name).participants.count == 1)
    }

    @Test func aMessageThatDoesNotFitIsAnErrorInItsRow() throws {
        let name = channelName()
        let (line, script) = ("a\u{2028}b", "<script>alert(1)</script>")
        let fields = ([script, line] + (2..<30).map { "f\($0)" }).enumerated().map { number, name in
            "{\"name\":\"\(name)\",\"offset\":\(number),\"type\":\"bool\"}"
        }
        let schema = try ChannelSchema(
            json: "{\"message\":{\"struct\":{\"name\":\"<b>Wide</b>\",\"size\":30,\"alignment\":1,\"fields\":["
                + fields.joined(separator: ",") + "]}}}")
        let channel = try AnyChannel.create(.topic, name, ChannelOptions(lifetime: .kept), schema: schema)
        defer { try? Topic<RawBytes>.remove(name) }
        var writer = try channel.makeWriter()
        var message = [UInt8](repeating: 1, count: 30)
        try writer.write(message.span.bytes)
        message[27] = 9
        try writer.write(message.span.bytes)
        try viewing { address in
            let answer = try table(address, name, drawing: 1)
            #expect(answer.names == [script, line] + (2..<24).map { "f\($0)" } + ["other fields"])
            let rest = "{" + (24..<30).map { "\"f\($0)\":true" }.joined(separator: ",") + "}"
            #expect(answer.rows.first?.cells == Array(repeating: "true", count: 24) + [rest])
            #expect(answer.rows.last?.error?.contains("f27 has 9") == true && answer.rows.last?.cells == nil)
            #expect(answer.values.map { $0[1] } == ["1", "1"])

            let page = try browsed("\(address)#\(encoded(name))&field=\(encoded(script))")
            #expect(page.contains(">&lt;script&gt;alert(1)&lt;/script&gt;</button>"), "\(page.suffix(4000))")
            #expect(page.contains(">a\\u{2028}b</button>") && page.components(separatedBy: "<script>").count == 2)
            #expect(page.contains("&lt;b&gt;Wide&lt;/b&gt;") && !page.contains("<b>"))
            #expect(page.contains("colspan=\"25\">error: f27 has 9") && page.contains("d=\"M298 50.00h0L299 50.00\""))
        }
    }

    @Test func tablesAreOfCallsAndHeadersToo() throws {
        let (framed, calls) = (channelName(), channelName())
        defer {
            try? Topic<RawBytes>.remove(framed)
            try? Topic<RawBytes>.remove(calls)
        }
        let header =
            "{\"struct\":{\"name\":\"H\",\"size\":4,\"alignment\":4,\"fields\":"
            + "[{\"name\":\"width\",\"offset\":0,\"type\":\"u32\"}]}}"
        let channel = try AnyChannel.create(
            .topic, framed, ChannelOptions(lifetime: .kept, capacity: 1 << 20),
            schema: ChannelSchema(json: "{\"message\":{\"framed\":\(header)}}"))
        var writer = try channel.makeWriter()
        for content in [Array("text".utf8), [0xff], [UInt8](repeating: 0xff, count: 100_000)] {
            try writer.write(([5, 0, 0, 0] + content).span.bytes)
        }
        let number: [UInt8] = [0xf9, 0xff, 0xff, 0xff]
        let service = try AnyChannel.create(
            .service, calls, ChannelOptions(lifetime: .kept),
            schema: ChannelSchema(json: "{\"request\":\"i32\",\"reply\":\"f64\",\"failure\":\"u8\"}"))
        var client = try service.makeWriter()
        // Nobody answers.
        #expect(throws: IPCError.self) {
            try client.call(number.span.bytes, until: .after(.milliseconds(50)))
        }
        try viewing { address in
            let answer = try table(address, framed, drawing: 0)
            #expect(answer.names == ["header.width", "bytes"] && answer.values.map { $0[1] } == ["5", "5", "5"])
            let cells = answer.rows.compactMap(\.cells)
            #expect(cells.count == 3 && cells[0] == ["5", "text"] && cells[1] == ["5", "0xff"], "\(cells)")
            #expect(cells.last?[1] == "0x" + String(repeating: "ff", count: 1024) + "…")
            let call = try table(address, calls, drawing: 0)
            #expect(call.names == ["message"] && call.rows.map(\.cells) == [["-7"]])
            #expect(call.values.map { $0[1] } == ["-7"])
        }
    }

    @Test func whatIsCodedIsShownAndWithoutAUsableSchemaBytesAre() throws {
        let name = channelName()
        let channel = try AnyChannel.create(
            .topic, name, ChannelOptions(lifetime: .kept),
            schema: ChannelSchema(json: "{\"message\":{\"coded\":{\"type\":\"T\",\"coder\":\"JSON\"}}}"))
        defer { try? Topic<RawBytes>.remove(name) }
        var writer = try channel.makeWriter()
        try writer.write("{\"a\": [1]}".utf8.span.bytes)
        try writer.write("{<b>".utf8.span.bytes)
        try viewing { address in
            let answer = try table(address, name)
            #expect(answer.names == ["message"] && answer.rows.first?.cells == ["{\"a\":[1]}"])
            #expect(answer.rows.last?.error != nil && answer.rows.last?.cells == nil)
            let folders = try FileManager.default.contentsOfDirectory(atPath: channelRoot)
            let folder = try #require(folders.first { $0.hasSuffix(String(name.split(separator: "/").last!)) })
            try Data("<i>".utf8).write(to: URL(filePath: "\(channelRoot)/\(folder)/schema"))
            let page = try browsed("\(address)#\(encoded(name))")
            #expect(
                page.contains("the schema is not valid") && page.contains("1  {&lt;b&gt;</pre>"), "\(page.suffix(3000))"
            )
        }
    }

    /// Many fields, each of which would fill more than its cell.
    @Test func aHostileSchemaCostsNoMoreThanOthers() throws {
        let name = channelName()
        let array = "{\"array\":{\"count\":1500,\"of\":\"u8\"}}"
        let fields = (0..<40).map {
            "{\"name\":\"f\($0)\",\"offset\":\($0 * 1500),\"type\":\($0 == 0 ? "\"u8\"" : array)}"
        }
        let channel = try AnyChannel.create(
            .topic, name, ChannelOptions(lifetime: .kept, capacity: 1 << 22),
            schema: ChannelSchema(
                json: "{\"message\":{\"struct\":{\"name\":\"S\",\"size\":60000,\"alignment\":1,\"fields\":["
                    + fields.joined(separator: ",") + "]}}}"))
        defer { try? Topic<RawBytes>.remove(name) }
        var writer = try channel.makeWriter()
        for _ in 0..<20 { try writer.write([UInt8](repeating: 3, count: 60000).span.bytes) }
        try viewing { address in
            let clock = ContinuousClock.now
            let answer = try table(address, name, drawing: 0)
            #expect(ContinuousClock.now - clock < .seconds(4))
            #expect(answer.rows.count == 20 && answer.columns.count == 25 && answer.values.count == 20)
            #expect(answer.rows.allSatisfy { $0.cells?.first == "3" })
            #expect(answer.rows.allSatisfy { $0.cells!.allSatisfy { $0!.utf8.count < 5000 } })
        }
    }

    /// The server's address, without the word, and the word.
    private func parts(_ address: String) throws -> (port: UInt16, token: String) {
        let words = address.split(separator: "/")
        return (try #require(UInt16(words[1].split(separator: ":")[1])), String(words[2]))
    }

    @Test(.timeLimit(.minutes(15))) func silentConnectionsKeepNobodyFromThePage() throws {
        let viewer = try Tool(["serve-ui"])
        let address = try viewer.peer.said().trimmingCharacters(in: .newlines)
        let port = try parts(address).port
        // Silent ones, and ones that have begun to ask: more than there may be, and more than there are descriptors.
        let flood = try Peer(
            "python3",
            [
                "-c",
                """
                import resource, socket, sys
                sys.stderr = sys.stdout
                resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
                all = []
                for i in range(1500):
                    s = socket.create_connection(("127.0.0.1", \(port)))
                    try:
                        if i % 2: s.send(b"GET /")
                    except OSError: pass  # it has been ended for another
                    all.append(s)
                print("there", flush=True)
                import time; time.sleep(1000)
                """,
            ])
        let said = try flood.said()
        #expect(said.hasPrefix("there"))
        for _ in 0..<5 {
            let clock = ContinuousClock.now
            #expect(try curl(address + "channels").contains("200 OK"))
            #expect(ContinuousClock.now - clock < .seconds(4))
        }
        let isAlive = viewer.peer.child.handle.isAlive
        #expect(isAlive)
        try flood.kill()
        try viewer.peer.child.handle.send(.terminate)
        let outcome = try viewer.finish()
        #expect(outcome.status == .exited(143) && outcome.errors.contains("64 connections"), "\(outcome.errors)")
    }

    @Test(.timeLimit(.minutes(15))) func aLookAtLargeBinaryMessagesBlocksNobody() throws {
        let topic = try Topic<RawBytes>.openOrCreate(
            channelName(), ChannelOptions(overflow: .overwrite, lifetime: .kept, capacity: 1 << 26))
        defer { try? Topic<RawBytes>.remove(topic.name.description) }
        var publisher = try topic.makePublisher()
        let large = [UInt8](repeating: 0xff, count: 3 << 20)
        for _ in 0..<18 { try publisher.publish(large.span.bytes) }
        let viewer = try Tool(["serve-ui"])
        let address = try viewer.peer.said().trimmingCharacters(in: .newlines)
        let name = topic.name.description.replacingOccurrences(of: "/", with: "%2F")
        let looks = try (0..<4).map { _ in
            SharedReference(
                try ChildProcess("curl", ["--silent", "--output", "/dev/null", address + "messages?name=" + name]))
        }
        let clock = ContinuousClock.now
        #expect(try curl(address + "channels").contains("200 OK"))
        #expect(ContinuousClock.now - clock < .seconds(4))
        for look in looks { #expect(try look.value.wait(until: .after(.seconds(20))) == .exited(0)) }
        let answer = try curl(address + "messages?name=" + name)
        #expect(answer.contains("\"bytes\":\(large.count)") && answer.utf8.count < 100_000)
        #expect(answer.contains("\"hex\":\"ffff"))
        try viewer.peer.child.handle.send(.terminate)
        _ = try viewer.finish()
    }

    @Test(.timeLimit(.minutes(15))) func whatIsNoRequestIsRefused() throws {
        let viewer = try Tool(["serve-ui"])
        let (port, token) = try parts(viewer.peer.said().trimmingCharacters(in: .newlines))
        let host = "Host: 127.0.0.1:\(port)\r\n"
        let requests = [
            "\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET /\(token)/ HTTP/1.1\r\n\(host)\(host)\r\n",
            "GET /\(token)/messages?name=%zz HTTP/1.1\r\n\(host)\r\n",
            "GET /\(token)/messages?name=%2 HTTP/1.1\r\n\(host)\r\n",
            "GET /\(token)/messages?name=\(String(repeating: "a", count: 9000)) HTTP/1.1\r\n\(host)\r\n",
            "\u{0}\u{1b}[31m\r\n\r\n",
            "POST /\(token)/ HTTP/1.1\r\n\(host)Content-Length: 99999999999999999999\r\n\r\n",
        ]
        for request in requests {
            let client = try StreamSocket.connect(to: .tcp(host: "127.0.0.1", port: port))
            try client.write(Array(request.utf8).span.bytes)
            // A reset is what one gets that says too much.
            let answer = (try? client.readToEnd(until: .after(.seconds(20)))) ?? []
            #expect(!String(decoding: answer, as: UTF8.self).contains("200 OK"), "\(request.debugDescription)")
        }
        let client = try StreamSocket.connect(to: .tcp(host: "127.0.0.1", port: port))
        try client.write(Array("GET /\(token)/ HTTP/1.1\r\nAccept: */*\r\n\(host)\r\n".utf8).span.bytes)
        #expect(String(decoding: try client.readToEnd(until: .after(.seconds(20))), as: UTF8.self).contains("200 OK"))
        try viewer.peer.child.handle.send(.terminate)
        _ = try viewer.finish()
    }
}
