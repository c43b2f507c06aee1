import Foundation
import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

/// Why nothing comes, or nothing goes on: said on standard error, and by `ipc doctor`.
@Suite(.timeLimit(.minutes(15))) struct WaitingNoteTests {
    @Test func publishingToNobodyIsToldOnce() throws {
        let name = channelName()
        defer { try? Topic<RawBytes>.remove(name) }
        let alone = try ipc("topic", "publish", name, "--keep", input: "1\n2\n3\n")
        #expect(alone.status == .exited(0) && alone.errors == "ipc: \(name): the topic has no subscriber now\n")
        #expect(try ipc("topic", "publish", name, "x", "--quiet").errors == "")
        let subscription = try Topic<RawBytes>.open(name).makeSubscription()
        #expect(try ipc("topic", "publish", name, "x").errors == "")
        subscription.close()
    }

    @Test func aSubscriberWithoutAPublisherSaysSo() throws {
        let name = channelName()
        for words in [["subscribe", name, "--keep"], ["observe", name]] {
            let subscriber = try Tool(["topic"] + words + ["--timeout", "1.5"])
            let outcome = try subscriber.finish()
            let lines = outcome.errors.split(separator: "\n")
            #expect(outcome.status == .exited(3) && lines.count == 2, "\(outcome.errors)")
            #expect(lines.first?.contains("\(name): the topic has no publisher now") == true, "\(outcome.errors)")
        }
        defer { try? Topic<RawBytes>.remove(name) }
        let publisher = try Topic<RawBytes>.open(name).makePublisher()
        let quiet = try ipc("topic", "subscribe", name, "--timeout", "1.5")
        #expect(quiet.status == .exited(3) && !quiet.errors.contains("no publisher"), "\(quiet.errors)")
        publisher.close()
    }

    @Test func aCallWithoutAServerSaysSo() throws {
        let call = try ipc("service", "call", channelName(), "x", "--timeout", "1.5")
        #expect(call.status == .exited(3) && call.errors.contains("the service has no server now"), "\(call.errors)")
    }

    @Test func aPublisherNamesTheSubscriberThatItWaitsFor() throws {
        let name = channelName()
        let subscriber = try Tool(["topic", "subscribe", name, "--capacity", "65536"])
        #expect(eventually { (try? ChannelDescription(ChannelName(name)).participants.isEmpty) == false })
        let process = subscriber.peer.child.handle.identifier
        try subscriber.peer.child.handle.send(.stop)
        try subscriber.peer.waitUntilStopped()
        let input = String(repeating: String(repeating: ".", count: 1000) + "\n", count: 100)
        let outcome = try ipc("topic", "publish", name, "--timeout", "1.5", input: input)
        let lines = outcome.errors.split(separator: "\n")
        #expect(outcome.status == .exited(3) && lines.count == 2, "\(outcome.errors)")
        #expect(lines.first?.contains("waiting for room in \(name): process \(process) (ipc, stopped) is ") == true)
        #expect(lines.last?.contains(" messages were sent before; process \(process) (ipc, stopped) is ") == true)
        let doctor = try ipc("doctor")
        #expect(doctor.status == .exited(1) && doctor.output.contains("kill -CONT \(process)"), "\(doctor.output)")
        #expect(doctor.output.contains("of 64 KiB not read"), "\(doctor.output)")
        try subscriber.peer.kill()
        // Nobody is left: the topic goes with the next.
        _ = try ipc("topic", "publish", name, "x", "--quiet")
    }

    @Test func aProducerNamesTheWorkerThatItWaitsFor() throws {
        let name = channelName()
        defer { try? WorkQueue<RawBytes>.remove(name) }
        let input = String(repeating: String(repeating: ".", count: 1000) + "\n", count: 100)
        let words = ["queue", "push", name, "--capacity", "65536", "--timeout", "1.5"]
        let alone = try Tool(words, input: input).finish()
        #expect(alone.status == .exited(3), "\(alone.errors)")
        #expect(alone.errors.contains("ipc: waiting for room in \(name): it has no worker"), "\(alone.errors)")
        let text = alone.errors.split(separator: ";").first { $0.contains("sent before") } ?? ""
        let count = try #require(text.split(separator: " ").first.flatMap { Int($0) }, "\(alone.errors)")
        #expect(try WorkQueue<RawBytes>.open(name).browse().count == count)
        // With one that has a job.
        var worker = try WorkQueue<RawBytes>.open(name).makeWorker()
        let job = try worker.next(until: .after(.seconds(5)))
        let held = try Tool(words, input: input).finish()
        #expect(held.errors.contains("process \(getpid()) ("), "\(held.errors)")
        #expect(held.errors.contains("running) holds the oldest job"), "\(held.errors)")
        #expect(try ipc("queue", "peek", name).output.contains("(taken by process \(getpid()) ("))
        try job.acknowledge()
    }

    @Test func aMessageQueueThatIsFullSaysHowManyWentIn() throws {
        let name = "/" + uniqueName()
        defer { try? MessageQueue.unlink(name) }
        _ = try MessageQueue.create(name, maximumMessages: 3, messageSize: 16)
        let outcome = try ipc("mq", "send", name, "1", "2", "3", "4", "--timeout", "1.2")
        #expect(outcome.status == .exited(3) && outcome.errors.contains("3 messages were sent before"))
        #expect(outcome.errors.contains("waiting for room in \(name)"), "\(outcome.errors)")
    }

    @Test func gettingAValueWaitsAlsoForTheChannel() throws {
        let name = channelName()
        let late = try ipc("latest", "get", name, "--timeout", "0.2")
        #expect(late.status == .exited(3), "\(late.status) \(late.errors)")
        let getter = try Tool(["latest", "get", name, "--timeout", "20"])
        usleep(200_000)
        #expect(try ipc("latest", "set", name, "21.5", "--keep").status == .exited(0))
        defer { try? Latest<RawBytes>.remove(name) }
        let outcome = try getter.finish()
        #expect(outcome.status == .exited(0) && outcome.output == "21.5\n", "\(outcome.errors)")
        #expect(try ipc("latest", "get", name, "--format", "json").output == #"{"text":"21.5"}"# + "\n")
    }

    /// In a root of its own: other tests leave queues, too.
    @Test func doctorLooksAtQueuesAndServices() throws {
        let root = "/dev/shm/" + uniqueName()
        let environment = ["IPC_ROOT": root]
        defer { removeAll(root) }
        func findings() throws -> [[String: Any]] {
            let text = try ipc("doctor", "--format", "json", environment: environment).output
            let all = try #require(JSONSerialization.jsonObject(with: Data(text.utf8)) as? [[String: Any]])
            return all.filter { ["jobs", "later", "calls"].contains($0["name"] as? String) }
        }
        _ = try ipc("queue", "push", "jobs", "1", "2", environment: environment)
        _ = try ipc("queue", "push", "later", "1", "--delay", "60", environment: environment)
        let call = try Tool(["service", "call", "calls", "x"], environment: environment)
        #expect(
            eventually {
                let root = ChannelRoot(FilePath(root))
                return (try? ChannelDescription(ChannelName("calls"), in: root).participants.isEmpty) == false
            })
        let found = try findings()
        #expect(found.compactMap { $0["name"] as? String }.sorted() == ["calls", "jobs"], "\(found)")
        #expect(found.contains { $0["value"] as? String == "2 waiting" && $0["ok"] as? Bool == false }, "\(found)")
        try call.peer.kill()
        _ = try ipc("queue", "work", "jobs", "--drain", environment: environment)
        let rest = try findings()
        #expect(!rest.contains { $0["name"] as? String == "jobs" }, "\(rest)")
    }
}
