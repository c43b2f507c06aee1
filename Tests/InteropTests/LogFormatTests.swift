import Foundation
import IPC
import IPCChannels
import TestSupport
import Testing

/// Participants in C and in Python, written by `Documentation/log-format.md` alone.
@Suite(.timeLimit(.minutes(15))) struct LogFormatTests {
    private static let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().path + "/log_peer.py"

    private func peer(_ language: String, _ arguments: String...) throws(IPCError) -> Peer {
        language == "C"
            ? try Peer(product("LogPeer"), arguments) : try Peer(python, [Self.script] + arguments)
    }

    private func folder(_ name: String) -> String { channelRoot + "/" + name.replacingOccurrences(of: "/", with: ":") }

    private func text(_ subscription: inout Topic<RawBytes>.Subscription) throws(IPCError) -> String {
        try subscription.receive(until: .after(.seconds(20))) { (payload) throws(IPCError) in
            String(decoding: payload.withUnsafeBytes { Array($0) }, as: UTF8.self)
        }
    }

    @Test(arguments: ["C", "Python"], [ChannelOptions.Writers.exclusive, .shared])
    func aForeignReaderGetsWhatWePublish(language: String, writers: ChannelOptions.Writers) throws {
        let name = channelName()
        let topic = try Topic<RawBytes>.openOrCreate(name, ChannelOptions(writers: writers, capacity: 65_536))
        var publisher = try topic.makePublisher()
        try publisher.publish("before".utf8.span.bytes)
        let count = 550
        let reader = try peer(language, "read", folder(name), "\(count)")
        #expect(try reader.said().hasPrefix("ready"))
        // More than a lap, so that frames run over the end; and what it prints fits into the pipe.
        let line = String(repeating: "x", count: 100)
        for number in 0..<count {
            try publisher.publish("\(number) \(line)".utf8.span.bytes, until: .after(.seconds(20)))
        }
        let (status, text) = try reader.finish()
        #expect(status == .exited(0))
        #expect(text.drop { $0 == "\n" } == (0..<count).map { "\($0) \(line)\n" }.joined())
    }

    @Test(arguments: [("C", ChannelOptions.Writers.shared), ("Python", .exclusive)])
    func weGetWhatAForeignWriterPublishes(language: String, writers: ChannelOptions.Writers) throws {
        let name = channelName()
        let topic = try Topic<RawBytes>.openOrCreate(name, ChannelOptions(writers: writers, capacity: 65_536))
        var subscription = try topic.makeSubscription()
        if writers == .shared {
            var publisher = try topic.makePublisher()
            try publisher.publish("ours".utf8.span.bytes)
            let first = try text(&subscription)
            #expect(first == "ours")
        }
        for round in 0..<3 {
            let words = (0..<300).map { "\(round).\($0)." + String(repeating: "y", count: $0) }
            let writer =
                language == "C"
                ? try Peer(product("LogPeer"), ["write", folder(name)] + words)
                : try Peer(python, [Self.script, "write", folder(name)] + words)
            for word in words {
                let received = try text(&subscription)
                #expect(received == word)
            }
            let status = try writer.finish().status
            #expect(status == .exited(0))
        }
        // It left without a word to anybody: its slot is found and taken back.
        var publisher = try topic.makePublisher()
        try publisher.publish("after".utf8.span.bytes)
        let last = try text(&subscription)
        #expect(last == "after")
    }

    @Test(arguments: [("C", ChannelOptions.Writers.shared), ("Python", .exclusive)])
    func aForeignWriterWakesATask(language: String, writers: ChannelOptions.Writers) async throws {
        let name = channelName()
        let topic = try Topic<RawBytes>.openOrCreate(name, ChannelOptions(writers: writers, capacity: 65_536))
        let messages = try topic.makeSubscription().messages()
        let task = Task {
            var texts: [String] = []
            for try await message in messages {
                texts.append(String(decoding: message, as: UTF8.self))
                if texts.count == 3 { break }
            }
            return texts
        }
        // It sleeps by now, and is woken by the one that joins.
        try await Task.sleep(for: .milliseconds(50))
        let writer = try peer(language, "write", folder(name), "one", "two", "three")
        #expect(try await task.value == ["one", "two", "three"])
        #expect(try writer.finish().status == .exited(0))
    }
}
