import Foundation
import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

/// A topic, a queue and a service with participants in Swift, C and Python at once. One of them is killed at a random moment, and
/// nothing is lost, doubled or torn.
@Suite(.timeLimit(.minutes(30))) struct LanguageTests {
    struct Item: BitwiseCopyable {
        var origin: UInt64
        var number: UInt64
        var half: Double
        var text: InlineString<12>
        var isEven: Bool

        init(_ origin: UInt64, _ number: UInt64) {
            (self.origin, self.number, half, isEven) = (origin, number, Double(number) / 2, number.isMultiple(of: 2))
            text = InlineString(truncating: "n\(number)")
        }
    }

    private enum Refusal: Error, BitwiseCopyable { case never }

    /// What each of them sends.
    private static let count = 3334
    /// How often: `IPC_LANGUAGE_ROUNDS=30` for a long run.
    private static let rounds = getenv("IPC_LANGUAGE_ROUNDS").flatMap { Int(String(cString: $0)) } ?? 3

    /// Python takes part where the test script has prepared it.
    private static let languages = getenv("IPC_TEST_PYTHON") == nil ? ["Swift", "C"] : ["Swift", "C", "Python"]

    private func start(_ language: String, _ role: String, _ name: String, _ origin: Int) throws -> Peer {
        let arguments = [role, name, "\(origin)", "\(Self.count)"]
        switch language {
        case "Swift": return try Peer(product("ChannelPeer"), ["language"] + arguments)
        case "C":
            let program = try CLanguageTests.compile("tests/peer.c", ["gcc", "-std=c11"], as: "peer")
            return try CLanguageTests.start(program, arguments)
        default:
            return try Peer(
                python, [CLanguageTests.repository + "/Bindings/Python/tests/peer.py"] + arguments,
                environment: CLanguageTests.environment(channelRoot))
        }
    }

    private func lines(_ text: String) -> [String] { text.split(separator: "\n").map(String.init) }

    /// One of each language, of one role; all of them have joined.
    private func startAll(_ role: String, _ name: String) throws -> [Held<Peer>] {
        let peers = try Self.languages.enumerated().map { index, language in
            Held(try start(language, role, name, index + 1))
        }
        for peer in peers { #expect(try peer.value.said() == "ready\n", "\(role)") }
        return peers
    }

    private func kill(_ peer: Held<Peer>, _ generator: inout Seeded) throws {
        usleep(UInt32.random(in: 0..<60_000, using: &generator))
        try peer.value.kill()
    }

    @Test func aTopicOfThreeLanguages() throws {
        for round in 0..<Self.rounds {
            var generator = Seeded(UInt64(round))
            let name = channelName()
            let topic = try Topic<Item>.openOrCreate(name, ChannelOptions(writers: .shared, capacity: 65_536))
            var end = try topic.makePublisher()
            let subscribers = try startAll("subscribe", name)
            let publishers = try startAll("publish", name)
            let victim = Int.random(in: 0..<publishers.count, using: &generator)
            try kill(publishers[victim], &generator)
            for (index, publisher) in publishers.enumerated() where index != victim {
                let (status, text) = try publisher.value.finish()
                #expect(status == .exited(0) && text.isEmpty, "\(text)")
            }
            try end.publish(Item(0, 0), until: .after(.seconds(20)))
            var heard: Set<[String]> = []
            for subscriber in subscribers {
                let (status, text) = try subscriber.value.finish()
                #expect(status == .exited(0))
                let told = lines(text)
                // All of those that lived, and the same beginning of the one that was killed.
                for index in publishers.indices where index != victim {
                    #expect(told.contains("\(index + 1) \(Self.count)"), "round \(round): \(told)")
                }
                heard.insert(told)
            }
            #expect(heard.count == 1 && heard.first!.count <= publishers.count, "round \(round): \(heard)")
        }
    }

    @Test func aQueueOfThreeLanguages() throws {
        for round in 0..<Self.rounds {
            var generator = Seeded(UInt64(100 + round))
            let name = channelName()
            let queue = try WorkQueue<Item>.openOrCreate(name, ChannelOptions(lifetime: .kept, capacity: 65_536))
            defer {
                try? WorkQueue<Item>.remove(name)
                try? WorkQueue<Item>.remove(name + "/dead-letters")
            }
            var end = try queue.makeProducer()
            let workers = try startAll("work", name)
            let collected = workers.map { worker in Collected(worker) }
            let producers = try startAll("push", name)
            let victim = Int.random(in: 0..<workers.count, using: &generator)
            try kill(workers[victim], &generator)
            for producer in producers {
                let (status, text) = try producer.value.finish()
                #expect(status == .exited(0) && text.isEmpty, "\(text)")
            }
            for _ in 1..<workers.count { try end.send(Item(0, 0), until: .after(.seconds(20))) }
            var counts: [String: Int] = [:]
            for text in collected {
                for line in lines(try text.finish()) where !line.hasPrefix("0 ") { counts[line, default: 0] += 1 }
            }
            for origin in 1...producers.count {
                for number in 1...Self.count {
                    let times = counts.removeValue(forKey: "\(origin) \(number)") ?? 0
                    if times != 1 { counts["\(origin) \(number)"] = times }
                }
            }
            // The one that was killed may have said a job, and not acknowledged it; half a line is none.
            #expect(counts.count <= 2 && counts.values.allSatisfy { (1...2).contains($0) }, "round \(round): \(counts)")
        }
    }

    @Test func aServiceOfThreeLanguages() throws {
        for round in 0..<Self.rounds {
            var generator = Seeded(UInt64(200 + round))
            let name = channelName()
            let service = try ServiceChannel<Item, Item, Refusal>.openOrCreate(name)
            var end = try service.makeClient()
            let servers = try startAll("serve", name)
            let clients = try startAll("call", name)
            let victim = Int.random(in: 0..<servers.count, using: &generator)
            try kill(servers[victim], &generator)
            for client in clients {
                let (status, text) = try client.value.finish()
                #expect(status == .exited(0) && text == "done\n", "round \(round): \(text)")
            }
            for _ in 1..<servers.count { _ = try end.call(Item(0, 0), until: .after(.seconds(20))) }
            for (index, server) in servers.enumerated() where index != victim {
                let (status, text) = try server.value.finish()
                #expect(status == .exited(0) && text.isEmpty, "\(text)")
            }
        }
    }
}

/// What a peer says, read by a thread of its own, so that it never waits for its reader.
private final class Collected: @unchecked Sendable {
    // `@unchecked`: the text is read after the thread has ended.
    private var text = ""
    private let done = DispatchSemaphore(value: 0)

    init(_ peer: Held<Peer>) {
        Thread.detachNewThread { [self] in
            let bytes = try? peer.value.output.readToEnd(until: .after(.seconds(90)))
            text = String(decoding: bytes ?? [], as: UTF8.self)
            done.signal()
        }
    }

    func finish() throws -> String {
        try #require(done.wait(timeout: .now() + 100) == .success)
        return text
    }
}
