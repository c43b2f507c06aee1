import Foundation
import Glibc
import IPC
import IPCChannels
import Synchronization
import SystemPackage
import TestSupport
import Testing

/// Recordings as lines: `ipc record` and `ipc replay` with `--format`.
extension SchemaCommandTests {
    @Test func linesAreRecorded() throws {
        let (topic, name) = try topic()
        let (plain, path) = (channelName(), "/tmp/" + uniqueName())
        defer {
            for name in [name, plain] { _ = try? ipc("rm", name) }
            unlink(path)
        }
        for words in [[name, acme], [name, noted], [name, "--hex", invalid], [plain, "--keep", "a \"b\""]] {
            #expect(try Tool(["topic", "publish", "-q"] + words).finish().status == .exited(0))
        }
        let all = ["--from", "oldest", "--count", "3"]
        let json = try Tool(["record", name, plain, "--format", "jsonl"] + all).finish()
        #expect(json.status == .exited(0) && lines(json.output).count == 3, "\(json)")
        #expect(lines(json.output)[0].hasPrefix("{\"time\":0.000000000,\"channel\":\"\(name)\",\"message\":\(acme)}"))
        #expect(lines(json.output)[2].contains("\"channel\":\"\(plain)\",\"text\":\"a \\\"b\\\"\"}"), "\(json)")
        #expect(json.errors.contains("side has 9") && json.errors.hasSuffix("ipc: recorded 3 messages\n"), "\(json)")
        let table = try Tool(
            ["record", name, "--format", "csv", "-o", path, "--permissions", "640"] + [
                "--from", "oldest", "--count", "2",
            ]
        )
        .finish()
        #expect(table.status == .exited(0) && table.output == "", "\(table)")
        #expect(table.errors == "ipc: recorded 2 messages in \(path)\n", "\(table)")
        let text = lines(try String(contentsOfFile: path, encoding: .utf8))
        #expect(
            text.count == 3 && text[0] == "time,channel,symbol,price,side,note" && text[2].hasSuffix(",8,-0.25,sell,9"))
        var status = stat()
        #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o640)
        // One that is there is somebody's; and what would have no effect is refused.
        #expect(try ipc("record", name, "--format", "csv", "-o", path).status == .exited(6))
        for words in [[], ["--format", "csv", "--capacity", "65536"], ["--format", "csv", "--permissions", "640"]] {
            let outcome = try Tool(["record", name] + words).finish()
            #expect(outcome.status == .exited(64), "\(words): \(outcome)")
        }
        #expect(try ipc("record", "none/such", "--format", "jsonl").status == .exited(4))
        _ = topic
    }

    /// Interrupted at any moment, while it cannot keep up: each line is whole, and what was missed is told.
    @Test(arguments: [Signal.interrupt, .terminate]) func aRecordingOfLinesEndsWithAWholeLine(signal: Signal) throws {
        let options = ChannelOptions(writers: .shared, overflow: .overwrite, lifetime: .kept, capacity: 65_536)
        let topic = try Topic<Quote>.create(channelName(), options)
        let (name, path) = (topic.name.description, "/tmp/" + uniqueName())
        defer {
            try? Topic<Quote>.remove(name)
            unlink(path)
        }
        let isOver = Switch()
        let thread = try PlainThread { () throws(IPCError) in
            var publisher = try topic.makePublisher()
            var number: UInt64 = 0
            while !isOver.isOn.load(ordering: .relaxed) {
                number += 1
                try publisher.publish(Quote(symbol: number, price: 0.5, side: .buy, note: nil))
            }
        }
        let recorder = try Tool(["record", name, "--format", "jsonl", "-o", path])
        func size() -> Int {
            var status = stat()
            return stat(path, &status) == 0 ? Int(status.st_size) : 0
        }
        #expect(eventually { size() > 100_000 })
        try recorder.peer.child.handle.send(signal)
        let outcome = try recorder.finish()
        isOver.isOn.store(true, ordering: .relaxed)
        #expect(thread.join() == nil)
        #expect(outcome.status == .exited(128 + signal.rawValue), "\(outcome.status) \(outcome.errors.suffix(200))")
        let text = try String(contentsOfFile: path, encoding: .utf8)
        #expect(text.hasSuffix("}\n"))
        let all = lines(text)
        #expect(
            outcome.errors.hasSuffix("ipc: recorded \(all.count) messages in \(path)\n"),
            "\(outcome.errors.suffix(200))")
        var last: UInt64 = 0
        for line in all {
            let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
            let number = try #require((object["message"] as? [String: Any])?["symbol"] as? UInt64)
            #expect(number > last)
            last = number
        }
        if last > UInt64(all.count) {
            #expect(outcome.errors.contains("\(name): "), "\(outcome.errors.suffix(200))")
            #expect(outcome.errors.contains(" bytes of the log were overwritten before they were recorded"))
        }
    }

    /// A disk that is full: the error, and no half a line.
    @Test func aRecordingOfLinesOnAFullDiskHasWholeLines() throws {
        let (topic, name) = try topic()
        let path = "/tmp/" + uniqueName()
        defer {
            try? Topic<Quote>.remove(name)
            unlink(path)
        }
        var publisher = try topic.makePublisher()
        for number in 0..<50 as Range<UInt64> {
            try publisher.publish(Quote(symbol: number, price: 0.5, side: .buy, note: nil))
        }
        // A file may not be larger than two blocks of 1024 bytes.
        let script =
            "trap '' XFSZ; ulimit -f 2; exec \(product("ipc")) record \(name) --format jsonl -o \(path) --from oldest"
        let (status, _) = try Peer(
            "bash", ["-c", script], environment: ["IPC_ROOT=\(channelRoot)", "PATH=/usr/bin:/bin"]
        )
        .finish()
        #expect(status == .exited(1), "\(status)")
        let text = try String(contentsOfFile: path, encoding: .utf8)
        #expect(text.hasSuffix("}\n") && lines(text).count > 5 && text.utf8.count <= 2048, "\(text.utf8.count)")
    }

    @Test func aRecordingIsExported() throws {
        let (_, name) = try topic()
        let (plain, folder) = (channelName(), "/tmp/" + uniqueName())
        let nested = channelName()
        defer {
            for name in [name, plain, nested] { _ = try? ipc("rm", name) }
            try? FileManager.default.removeItem(atPath: folder)
        }
        let schema = """
            {"struct":{"name":"Nested","size":41,"alignment":8,"fields":[\
            {"name":"time","offset":0,"type":"u8"},\
            {"name":"text","offset":4,"type":{"text":{"capacity":8}}},\
            {"name":"place","offset":16,"type":{"optional":{"none":"byte","of":{"struct":{"name":"P","size":16,"alignment":8,"fields":[\
            {"name":"x","offset":0,"type":"f64"},{"name":"y","offset":8,"type":"i64"}]}}}}},\
            {"name":"list","offset":36,"type":{"list":{"capacity":1,"of":"i8"}}}]}}
            """
        let path = try file(schema)
        defer { unlink(path) }
        #expect(try ipc("topic", "create", nested, "--schema", path).status == .exited(0))
        #expect(try ipc("topic", "create", plain).status == .exited(0))
        let first = "{\"time\":1,\"text\":\"a,\\\"b\\n\",\"place\":null,\"list\":[]}"
        let second = "{\"time\":2,\"text\":\"\",\"place\":{\"x\":0.5,\"y\":-3},\"list\":[4]}"
        for words in [[name, acme], [name, noted], [nested, first], [nested, second], [plain, "hello, \"you\""]] {
            let outcome = try Tool(["topic", "publish", "-q"] + words).finish()
            #expect(outcome.status == .exited(0), "\(outcome)")
        }
        _ = try ipc("topic", "publish", "-q", name, "--hex", invalid)
        let recorded = try ipc("record", name, nested, plain, "-o", folder, "--from", "oldest", "--count", "6")
        #expect(recorded.status == .exited(0), "\(recorded)")

        let all = try ipc("replay", folder, "--format", "jsonl")
        #expect(all.status == .exited(0) && lines(all.output).count == 5, "\(all)")
        #expect(lines(all.errors).count == 1 && all.errors.contains("side has 9"), "\(all)")
        for message in [acme, noted, first, second] {
            #expect(all.output.contains("\"message\":\(message)}"), "\(all)")
        }
        #expect(all.output.contains("\"channel\":\"\(plain)\",\"text\":\"hello, \\\"you\\\"\""), "\(all)")
        #expect(lines(all.output)[0].hasPrefix("{\"time\":0.000000000,\"channel\":"), "\(all)")
        for line in lines(all.output) { _ = try JSONSerialization.jsonObject(with: Data(line.utf8)) }

        let table = try ipc("replay", folder, nested, "--format", "csv").output
        #expect(
            table.hasPrefix("time,channel,message.time,text,place.x,place.y,list\n0.000000000,\(nested),1,"), "\(table)"
        )
        #expect(table.contains(",1,\"a,\"\"b\n\",,,[]\n") && table.contains(",2,,0.5,-3,[4]\n"), "\(table)")
        let quotes = lines(try ipc("replay", folder, name, "--format", "csv").output)
        #expect(quotes.count == 3 && quotes[0] == "time,channel,symbol,price,side,note", "\(quotes)")
        #expect(quotes[1].hasSuffix(",7,12.5,buy,") && quotes[2].hasSuffix(",8,-0.25,sell,9"), "\(quotes)")
        let both = try ipc("replay", folder, plain, name, "--format", "csv").output
        #expect(both.hasPrefix("time,channel,message,symbol,price,side,note\n"), "\(both)")
        #expect(both.contains(",\(plain),\"hello, \"\"you\"\"\",,,,\n"), "\(both)")
        // Nothing was published.
        #expect(try ChannelDescription(ChannelName(name)).publishedCount == 3)
        #expect(try ipc("replay", folder, "--format", "xml").status == .exited(64))
    }
}
