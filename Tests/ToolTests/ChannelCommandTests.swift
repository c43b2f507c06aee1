import Foundation
import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

/// The commands for channels, as a shell user gives them, and beside Swift programs.
@Suite(.timeLimit(.minutes(15))) struct ChannelCommandTests {
    @Test func whatIsPublishedIsPrinted() throws {
        let name = channelName()
        let subscriber = try Tool(["topic", "subscribe", name, "--count", "3", "--timeout", "20"])
        #expect(try eventually { try !participants(name).isEmpty })
        #expect(try ipc("topic", "publish", name, input: "one\ntwo\nthree\n").status == .exited(0))
        let outcome = try subscriber.finish()
        #expect(outcome.status == .exited(0) && outcome.output == "one\ntwo\nthree\n")
    }

    private func participants(_ name: String) throws -> [ChannelDescription.Participant] {
        (try? ChannelDescription(ChannelName(name)).participants) ?? []
    }

    /// Not taken for something else that can be meant by it.
    @Test(arguments: ["0.1...60", "60..0.1", "1..", "..1", "0", "1..2..3"])
    func aBackoffThatIsNoneIsRefused(backoff: String) throws {
        let name = channelName()
        let refused = try ipc("queue", "push", name, "x", "--backoff", backoff)
        #expect(refused.status != .exited(0), "\(refused.errors)")
        #expect(try ipc("info", name).status == .exited(4))
    }

    /// Who may not make a channel is told that there is none, and not only of the root.
    @Test(.enabled(if: OtherUser.isPossible, .init(stringLiteral: OtherUser.reason)))
    func whoMayNotMakeAChannelIsToldThatThereIsNone() throws {
        let root = "/dev/shm/" + uniqueName()
        mkdir(root, 0o755)
        chmod(root, 0o755)
        defer { removeAll(root) }
        let kept = try Topic<RawBytes>.openOrCreate(
            "kept", in: ChannelRoot(FilePath(root)), ChannelOptions(lifetime: .kept))
        let (status, text) = try OtherUser.any().run(
            product("ipc"), "topic", "subscribe", "missing", root: root)
        #expect(status == .exited(4) && text.contains("there is no such channel"), "\(kept.name) \(text)")
    }

    @Test func bytesAreSafeInEveryFraming() throws {
        let topic = try Topic<RawBytes>.openOrCreate(channelName(), ChannelOptions(writers: .shared))
        let name = topic.name.description
        var subscription = try topic.makeSubscription()
        func received() throws -> [UInt8] {
            try subscription.receive(until: .after(.seconds(20))) { (bytes) throws(IPCError) in
                bytes.withUnsafeBytes { Array($0) }
            }
        }
        #expect(try ipc("topic", "publish", name, "--hex", "00ff0a").status == .exited(0))
        #expect(try received() == [0, 255, 10])
        #expect(try ipc("topic", "publish", name, "--whole", input: "a\nb\n").status == .exited(0))
        #expect(try received() == Array("a\nb\n".utf8))
        #expect(
            try ipc("topic", "publish", name, "--length-prefixed", input: "\0\0\0\u{2}hi\0\0\0\0").status == .exited(0))
        #expect(try received() == Array("hi".utf8))
        #expect(try received() == [])
        let odd = try ipc("topic", "publish", name, "--hex", "0ff")
        #expect(odd.status == .exited(64) && odd.errors.contains("hexadecimal"))
        let torn = try ipc("topic", "publish", name, "--length-prefixed", input: "\0\0\0\u{9}hi")
        #expect(torn.status == .exited(64) && torn.errors.contains("middle of a message"))
    }

    @Test func aTypedTopicIsPublishedToByItsSizeOnly() throws {
        let topic = try Topic<UInt32>.openOrCreate(channelName(), ChannelOptions(writers: .shared))
        var subscription = try topic.makeSubscription()
        let wrong = try ipc("topic", "publish", topic.name.description, "--raw", "12345")
        #expect(wrong.status == .exited(64) && wrong.errors.contains("UInt32") && wrong.errors.contains("4 bytes"))
        #expect(try ipc("topic", "publish", topic.name.description, "--hex", "2a000000").status == .exited(0))
        #expect(try subscription.receive(until: .after(.seconds(5))) == 42)
    }

    @Test func jobsAreWorkedByACommandWhoseExitCodeDecides() throws {
        let name = channelName()
        defer {
            try? WorkQueue<RawBytes>.remove(name)
            try? WorkQueue<RawBytes>.remove(name + "/dead-letters")
        }
        #expect(try ipc("queue", "push", name, "--attempts", "2", "good", "bad").status == .exited(0))
        let peeked = try ipc("queue", "peek", name, "--format", "json")
        #expect(peeked.output.contains("\"stage\":\"waiting\"") && peeked.output.contains("\"text\":\"bad\""))
        // `bad` fails twice, and is a dead letter then.
        let worked = try ipc(
            "queue", "work", name, "--timeout", "0.5", "--", "sh", "-c",
            "read job; echo \"$job $IPC_ATTEMPT\"; test $job = good")
        // That one failed counts for more than that no more came.
        #expect(worked.status == .exited(1) && worked.errors.contains("no job arrived"), "\(worked.errors)")
        #expect(worked.output.split(separator: "\n").sorted() == ["bad 1", "bad 2", "good 1"])
        #expect(try ipc("queue", "dead", name).output.hasPrefix("bad  (rejected after 2 attempts, last in process "))
        let letter = try ipc("queue", "dead", name, "--format", "json").output
        #expect(letter.contains("\"reason\":\"rejected\"") && letter.contains("\"text\":\"bad\""))
        #expect(try ipc("queue", "dead", name, "--redrive").output == "1 sent back\n")
        #expect(try ipc("queue", "dead", name).output == "")
        let again = try ipc("queue", "work", name, "--count", "1", "--timeout", "5")
        #expect(again.status == .exited(0) && again.output == "bad\n")
        // What the queue was created with is not changed by who opens it.
        let wrong = try ipc("queue", "work", name, "--attempts", "3", "--count", "1")
        #expect(wrong.status != .exited(0) && wrong.errors.contains("maximumAttempts 2"))
        // For later, or for some time only.
        _ = try ipc("queue", "push", name, "--delay", "60", "later")
        #expect(try ipc("queue", "peek", name).output.hasPrefix("later  (due in "))
        _ = try ipc("queue", "push", name, "--time-to-live", "0", "old")
        let none = try ipc("queue", "work", name, "--count", "1", "--timeout", "0.3")
        #expect(none.status == .exited(3) && none.output == "")
        #expect(try ipc("queue", "dead", name).output == "old  (expired after 0 attempts)\n")
        #expect(try ipc("queue", "dead", name, "--purge").output == "1 purged\n")
    }

    @Test func aServiceIsACommand() throws {
        let name = channelName()
        let server = try Tool([
            "service", "serve", name, "--maximum-waiting", "7", "--", "sh", "-c",
            "read x; test \"$x\" != no || exit 7; echo got $x",
        ])
        #expect(try eventually { try !participants(name).isEmpty })
        let reply = try ipc("service", "call", name, "--timeout", "10", input: "hello\n")
        #expect(reply.status == .exited(0) && reply.output == "got hello\n")
        #expect(try ipc("service", "call", name, "no\n", "--timeout", "10").status == .exited(7))
        let large = try ipc("service", "call", name, "hello\n", "--reply-limit", "3", "--timeout", "10")
        #expect(large.status == .exited(1) && large.errors.contains("allow more"))
        #expect(try ipc("info", name, "--format", "json").output.contains("\"maximum-waiting\":7"))
        let other = try ipc("service", "serve", name, "--maximum-waiting", "8", "--", "cat")
        #expect(other.status == .exited(64) && other.errors.contains("maximumWaiting 7"))
        // A Swift program calls it as well.
        var client = try ServiceChannel<RawBytes, RawBytes, CommandFailure>.open(name).makeClient()
        let call = try client.begin("swift\n".utf8.span.bytes, replyLimit: 100, until: .after(.seconds(10)))
        let text = try call.wait { (bytes) throws(IPCError) in
            bytes.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
        }
        #expect(text == .success("got swift\n"))
        try server.peer.child.handle.send(.terminate)
        #expect(try server.finish().status == .exited(143))
    }

    @Test func latestValuesAndEvents() throws {
        let (latest, event) = (channelName(), channelName())
        let unset = try ipc("latest", "get", latest)
        #expect(unset.status == .exited(4))
        #expect(try ipc("latest", "set", latest, "21.5", "--keep").status == .exited(0))
        defer { try? Latest<RawBytes>.remove(latest) }
        #expect(try ipc("latest", "get", latest).output == "21.5\n")
        let watch = try Tool(["latest", "watch", latest, "--count", "2", "--timeout", "20"])
        #expect(try watch.peer.said() == "21.5\n")
        _ = try ipc("latest", "set", latest, "22")
        #expect(try watch.finish().output == "22\n")

        let late = try ipc("event", "wait", event, "--timeout", "0.1")
        #expect(late.status == .exited(3))
        let waiter = try Tool(["event", "wait", event, "--timeout", "20"])
        #expect(try eventually { try !participants(event).isEmpty })
        _ = try ipc("event", "notify", event)
        #expect(try waiter.finish().status == .exited(0))
    }

    @Test func aTapDisturbsNobody() throws {
        let topic = try Topic<UInt64>.openOrCreate(channelName(), ChannelOptions(capacity: 65_536))
        var publisher = try topic.makePublisher()
        let tap = try Tool(["tap", topic.name.description, "--as", "json", "--count", "3", "--from", "oldest", "--raw"])
        // More than the log holds, with a reader that never reads: it is not one.
        for number in 0..<10_000 as Range<UInt64> {
            let isPublished = try publisher.tryPublish(number)
            #expect(isPublished)
        }
        #expect(try ChannelDescription(topic.name).participants.count == 1)
        let lines = try tap.finish().output.split(separator: "\n")
        #expect(lines.count == 3 && lines.allSatisfy { $0.contains("\"hex\":") || $0.contains("\"text\":") })
    }

    @Test func aRecordingIsSubscribedToAndReplayed() throws {
        let name = channelName()
        let folder = "/tmp/\(uniqueName())"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let topic = try Topic<UInt32>.openOrCreate(name, ChannelOptions(writers: .shared))
        var publisher = try topic.makePublisher()
        let recorder = try Tool(["record", name, "-o", folder, "--count", "5"])
        #expect(
            eventually {
                FileManager.default.fileExists(
                    atPath: folder + "/" + name.replacingOccurrences(of: "/", with: ":") + ":times")
            })
        usleep(100_000)
        for number in 1...5 as ClosedRange<UInt32> {
            try publisher.publish(number)
            usleep(20_000)
        }
        let recorded = try recorder.finish()
        #expect(recorded.status == .exited(0) && recorded.errors.contains("5 messages"), "\(recorded.errors)")
        // By a Swift program, with its type.
        var old = try Topic<UInt32>.open(name, in: ChannelRoot(.init(folder))).makeSubscription(from: .oldest)
        #expect(try old.receive(until: .after(.seconds(5))) == 1)

        var live = try topic.makeSubscription()
        let start = ContinuousClock.now
        let replayed = try ipc("replay", folder, "--speed", "0.5")
        #expect(replayed.status == .exited(0), "\(replayed.errors)")
        // Four gaps of 20 ms, at half the speed.
        #expect(ContinuousClock.now - start >= .milliseconds(150))
        for number in 1...5 as ClosedRange<UInt32> { #expect(try live.receive(until: .after(.seconds(5))) == number) }
        let steps = try ipc("replay", folder, "--step", input: "\n\n")
        #expect(steps.status == .exited(0))
        #expect(try live.receive(until: .after(.seconds(5))) == 1)
        #expect(try live.receive(until: .after(.seconds(5))) == 2)
        #expect(try live.tryReceive() == nil)
        #expect(try ipc("record", name, "-o", folder).status == .exited(6))
        #expect(try ipc("replay", folder, "another").status == .exited(4))
    }

    @Test func topShowsRatesAndTakesPartInNothing() throws {
        let topic = try Topic<UInt64>.openOrCreate(channelName())
        var publisher = try topic.makePublisher()
        let top = try Tool(["top", "--interval", "0.3", "--count", "3"])
        for number in 0..<60 as Range<UInt64> {
            try publisher.publish(number)
            usleep(10_000)
        }
        let outcome = try top.finish()
        let rows = outcome.output.split(separator: "\n").filter { $0.contains(topic.name.description) }
        #expect(outcome.status == .exited(0) && rows.count == 3)
        #expect(
            rows.contains { ($0.split(separator: " ").dropFirst(2).first.flatMap { Double($0) } ?? 0) > 10 }, "\(rows)")
    }

    @Test func topAnswersToKeysOnATerminal() throws {
        let topic = try Topic<RawBytes>.openOrCreate(channelName())
        var publisher = try topic.makePublisher()
        try publisher.publish("what is in it".utf8.span.bytes)
        // Filter by the name, look into the only one left, come back, end.
        let script = """
            import os, pty, sys, time
            child, terminal = pty.fork()
            if child == 0: os.execv(sys.argv[1], [sys.argv[1], "top", "--interval", "0.2"])
            for keys in [b"d", b"/", sys.argv[2].encode(), b"\\r", b"\\r", b"\\x1b[A\\x1bq"]:
                time.sleep(0.4); os.write(terminal, keys)
            text = b""
            while True:
                try: part = os.read(terminal, 65536)
                except OSError: break
                if not part: break
                text += part
            sys.stdout.write(text.decode()); sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            """
        let (status, text) = try Peer("python3", ["-c", script, product("ipc"), topic.name.description]).finish()
        #expect(status == .exited(0))
        #expect(text.contains("\u{1B}[?1049h") && text.hasSuffix("\u{1B}[?1049l"), "the screen is given back")
        #expect(text.contains("1 channels") && text.contains("newest:") && text.contains("what is in it"), "\(text)")
    }

    @Test func anInterruptedCommandLeavesNothing() throws {
        let name = channelName()
        let subscriber = try Tool(["topic", "subscribe", name])
        #expect(try eventually { try !participants(name).isEmpty })
        try subscriber.peer.child.handle.send(.interrupt)
        #expect(try subscriber.finish().status == .exited(130))
        #expect(try !ChannelRoot.current.names().contains(ChannelName(name)))
    }

    @Test func aClosedPipeDownstreamEndsACommandAsItEndsCat() throws {
        let name = channelName()
        defer { try? WorkQueue<RawBytes>.remove(name) }
        // More than the pipe holds: else all could be written before `head` begins, late as here, and nothing be left to fail.
        let rest = String(repeating: ".", count: 100)
        _ = try ipc("queue", "push", name, input: (1...2000).map { "\($0) \(rest)\n" }.joined())
        let work = "'\(product("ipc"))' queue work \(name) --timeout 5"
        let shell = try Peer("bash", ["-c", "\(work) | (sleep 0.2; head -1 | cut -d' ' -f1); echo ${PIPESTATUS[0]}"])
        let (status, text) = try shell.finish()
        #expect(status == .exited(0) && text == "1\n141\n")
    }
}
