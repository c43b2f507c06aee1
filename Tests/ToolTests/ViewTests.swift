import Foundation
import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

/// What `ls`, `top` and `info` show of queues and processes, and how commands and channels are named.
@Suite(.timeLimit(.minutes(15))) struct ViewTests {
    @Test func queuesShowWhatWaitsAndWhatIsTaken() throws {
        let name = channelName()
        defer { try? WorkQueue<RawBytes>.remove(name) }
        _ = try ipc("queue", "push", name, "1", "2", "3")
        var worker = try WorkQueue<RawBytes>.open(name).makeWorker()
        let job = try worker.next(until: .after(.seconds(5)))
        for words in [["top", "--count", "1"], ["ls", "channel"]] {
            let output = try Tool(words).finish().output
            let row = output.split(separator: "\n").first { $0.contains(name) } ?? ""
            #expect(row.contains("2 waiting, 1 taken"), "\(words): \(output)")
        }
        try job.acknowledge()
    }

    @Test func processesHaveNames() throws {
        let name = channelName()
        let subscriber = try Tool(["topic", "subscribe", name])
        #expect(eventually { (try? ChannelDescription(ChannelName(name)).participants.isEmpty) == false })
        let process = subscriber.peer.child.handle.identifier
        let row = try ipc("ls", "channel").output.split(separator: "\n").first { $0.contains(name) } ?? ""
        #expect(row.contains("\(process) ipc"), "\(row)")
        let text = try ipc("ls", "channel", "--format", "json").output
        let all = try #require(JSONSerialization.jsonObject(with: Data(text.utf8)) as? [[String: Any]])
        let found = try #require(all.first { $0["name"] as? String == name })
        #expect(found["holders"] as? [Int] == [Int(process)] && found["commands"] as? [String] == ["ipc"], "\(found)")
        try subscriber.peer.child.handle.send(.terminate)
        _ = try subscriber.finish()
    }

    @Test func pipesWithoutANameAreListedIfAskedFor() throws {
        let pipe = try AnonymousPipe()
        func kinds(_ words: String...) throws -> Set<String> {
            let text = try Tool(["ls"] + words + ["--format", "json"]).finish().output
            let all = try #require(JSONSerialization.jsonObject(with: Data(text.utf8)) as? [[String: Any]])
            return Set(all.compactMap { $0["kind"] as? String })
        }
        #expect(try !kinds().contains("pipe") && kinds("pipe") == ["pipe"] && kinds("pipe", "unix").contains("pipe"))
        #expect(pipe.reader.descriptor.rawValue >= 0)
    }

    @Test func aMessageQueueIsDescribedWithoutItsFileSystem() throws {
        let name = "/" + uniqueName()
        defer { try? MessageQueue.unlink(name) }
        let queue = try MessageQueue.create(name, maximumMessages: 4, messageSize: 64)
        try queue.send("x".utf8.span.bytes)
        let info = try ipc("info", name)
        #expect(info.status == .exited(0) && info.output.contains("1/4") && info.output.contains("mq"), "\(info)")
        #expect(try ipc("info", "/" + uniqueName()).status == .exited(4))
    }

    @Test(arguments: [
        ("tpoic", "ipc topic"), ("topics", "ipc topic"), ("queue psuh x", "ipc queue push"),
        ("latest wacht x", "ipc latest watch"), ("servce call", "ipc service"),
    ])
    func aMistypedCommandIsSuggested(words: String, suggestion: String) throws {
        let outcome = try Tool(words.split(separator: " ").map(String.init)).finish()
        #expect(outcome.status == .exited(64) && outcome.errors.split(separator: "\n").count == 1, "\(outcome)")
        #expect(outcome.errors.contains("did you mean \(suggestion)?"), "\(outcome.errors)")
    }

    @Test func whatIsLikeNoCommandIsRefusedAsBefore() throws {
        #expect(try ipc("xylophone").status == .exited(64))
        #expect(try ipc("help", "topic").status == .exited(0))
        #expect(try ipc("topic", "help").status != .exited(1))
    }

    @Test func shellsAreToldTheNamesOfChannels() throws {
        let (topic, queue) = (channelName(), channelName())
        defer {
            try? Topic<RawBytes>.remove(topic)
            try? WorkQueue<RawBytes>.remove(queue)
        }
        _ = try ipc("topic", "publish", topic, "x", "--keep", "--quiet")
        _ = try ipc("queue", "push", queue, "x")
        func offered(_ words: String...) throws -> [Substring] {
            let request =
                ["---completion"] + words + ["--", "positional@0", "\(words.count + 1)", "0", "ipc"] + words + [""]
            return try Tool(request).finish().output.split(separator: "\n")
        }
        let topics = try offered("topic", "subscribe")
        #expect(topics.contains(topic[...]) && !topics.contains(queue[...]), "\(topics)")
        let queues = try offered("queue", "work")
        #expect(!queues.contains(topic[...]) && queues.contains(queue[...]), "\(queues)")
        for words in ["info", "tap", "rm"] {
            let all = try offered(words)
            #expect(all.contains(topic[...]) && all.contains(queue[...]), "\(words): \(all)")
        }
    }

    @Test func aTapTakesTheFormatAsOthersDo() throws {
        let name = channelName()
        let topic = try Topic<RawBytes>.openOrCreate(name, ChannelOptions(writers: .shared))
        var publisher = try topic.makePublisher()
        try publisher.publish("hi".utf8.span.bytes)
        for option in ["--format", "--as"] {
            let tap = try ipc("tap", name, option, "hex", "--from", "oldest", "--count", "1")
            #expect(tap.output == "6869\n", "\(tap)")
        }
        publisher.close()
    }
}
