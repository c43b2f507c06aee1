#if NATS
    import Foundation
    import Glibc
    import IPC
    import IPCChannels
    import Logging
    import SystemPackage
    import TestSupport
    import Testing

    @testable import IPCBridge

    /// A folder of channels of its own, which is gone afterwards.
    private final class TestRoot: Sendable {
        let path = "/dev/shm/" + uniqueName()
        var root: ChannelRoot { ChannelRoot(FilePath(path)) }
        deinit { removeAll(path) }

        /// Starts `ipc-bridge`; what it logs is its output.
        func start(_ arguments: [String]) throws -> Peer {
            try Peer(
                "/bin/sh", ["-c", "exec \"$0\" \"$@\" 2>&1", product("ipc-bridge")] + arguments,
                environment: ["IPC_ROOT=\(path)"])
        }

        func run(_ arguments: [String]) throws -> (status: IPC.ExitStatus, text: String) {
            try start(arguments).finish()
        }

        /// Waits until a bridge says something.
        func wait(_ what: String, _ isTrue: ([BridgeReport]) -> Bool) throws {
            let patience = Deadline.after(.seconds(30))
            while !isTrue((try? BridgeReport.all(in: root)) ?? []) {
                guard !patience.hasPassed else {
                    Issue.record("\(what): \(BridgeReport.json((try? BridgeReport.all(in: root)) ?? []))")
                    throw IPCError(.timedOut, "wait", what, advice: "it did not come to be")
                }
                usleep(20_000)
            }
        }
    }

    extension BridgeReport {
        fileprivate var process: String? {
            guard isAlive, case .number(let number) = status["process"] else { return nil }
            return number
        }

        fileprivate var carriers: [JSONValue] {
            guard isAlive, case .array(let carriers)? = status["carriers"] else { return [] }
            return carriers
        }
    }

    /// Bridges that end with their test.
    private final class Bridges {
        private var peers: [PeerBox] = []

        private final class PeerBox {
            let peer: Peer
            init(_ peer: consuming Peer) { self.peer = peer }
        }

        func add(_ peer: consuming Peer) { peers.append(PeerBox(peer)) }

        func end() throws -> [IPC.ExitStatus] {
            for box in peers { try box.peer.child.handle.send(.terminate) }
            return try peers.map { try $0.peer.finish().status }
        }

        deinit { for box in peers { try? box.peer.child.handle.send(.kill) } }
    }

    @Suite(.timeLimit(.minutes(10)))
    struct BridgeProcessTests {
        /// Nobody listens there.
        private let flags = ["--server", "nats://127.0.0.1:1", "--channel", "market/**", "--machine", "robot-1"]

        @Test func aStandByTakesOverWhenTheFirstBridgeIsKilled() throws {
            let folder = TestRoot()
            let first = try folder.start(flags)
            let number = "\(first.child.handle.identifier)"
            try folder.wait("the first bridge") { $0.first?.process == number }
            let second = try folder.start(flags)
            #expect(try second.said().contains("another bridge of this machine runs"))
            // One of another machine or prefix does not wait.
            let other = try folder.start(flags + ["--prefix", "lab"])
            try folder.wait("another bridge") {
                $0.contains { $0.name.description == "bridge/lab/robot-1/status" && $0.isAlive }
            }
            try other.child.handle.send(.terminate)
            #expect(try other.finish().status == .exited(143))

            try first.child.handle.send(.kill)
            let next = "\(second.child.handle.identifier)"
            try folder.wait("the stand-by") { $0.first?.process == next }
            try second.child.handle.send(.terminate)
            let (status, text) = try second.finish()
            #expect(status == .exited(143) && text.contains("takes over"), "\(text)")
            #expect(try folder.root.names().isEmpty)
        }

        @Test func aChangedConfigurationIsReadAndAWrongOneIsNot() throws {
            let folder = TestRoot()
            let files = try TestFolder()
            func write(_ machine: String, _ name: String, prefix: String = "ipc") throws -> String {
                let more = #""prefix": "\#(prefix)", "servers": ["nats://127.0.0.1:1"]"#
                return try files.write(
                    "bridge.json", #"{"machine": "\#(machine)", \#(more), "channels": [{"name": "\#(name)"}]}"#)
            }
            let bridge = try folder.start(["--config", try write("robot-1", "a")])
            try folder.wait("the bridge") { $0.first?.isAlive == true }
            _ = try write("robot-1", "a//b")
            try bridge.child.handle.send(.hangUp)
            let said = try bridge.said()
            #expect(
                said.contains("stays as it was") && said.contains("channels[0].name: no channel can have"), "\(said)")
            // What was carried as one machine's would come back as another's.
            _ = try write("robot-2", "b")
            try bridge.child.handle.send(.hangUp)
            let refusal = try bridge.said()
            #expect(refusal.contains("those of the machine robot-1, not robot-2"), "\(refusal)")
            _ = try write("robot-1", "b", prefix: "lab")
            try bridge.child.handle.send(.hangUp)
            try folder.wait("the other prefix") { $0.map(\.name.description) == ["bridge/lab/robot-1/status"] }
            try bridge.child.handle.send(.interrupt)
            #expect(try bridge.finish().status == .exited(130))
        }

        @Test func aConnectionThatCannotBeMadeChangesNothingEither() throws {
            let folder = TestRoot()
            let files = try TestFolder()
            func write(_ more: String) throws -> String {
                try files.write(
                    "bridge.json",
                    #"{"machine": "robot-1", "servers": ["nats://127.0.0.1:1"], "channels": [{"name": "a"}]\#(more)}"#)
            }
            _ = try files.write("garbage.pem", "no certificate")
            let file = try write("")
            let bridge = try folder.start(["--config", file])
            try folder.wait("the bridge") { $0.first?.isAlive == true }
            for (more, what) in [
                (#", "tls": {"ca": "garbage.pem"}"#, "garbage.pem cannot be used"),
                (#", "credentials": "garbage.pem""#, "garbage.pem has no seed"),
                (#", "nkey": "UA", "seed": "garbage.pem""#, "garbage.pem has no seed"),
            ] {
                _ = try write(more)
                let check = try folder.run(["check", "--config", file])
                #expect(check.status == .exited(64) && check.text.contains(what), "\(check)")
                #expect(try folder.run(["--config", file]).status == .exited(64))
                try bridge.child.handle.send(.hangUp)
                var said = ""
                while !said.contains("stays as it was") { said += try bridge.said() }
                #expect(said.contains(what), "\(said)")
            }
            #expect(try BridgeReport.all(in: folder.root).first?.isAlive == true)
            try bridge.child.handle.send(.interrupt)
            #expect(try bridge.finish().status == .exited(130))
        }

        @Test func whatHoldsUpABridgeIsToldInItsStatusAndItsLog() throws {
            let folder = TestRoot()
            let unreachable = try folder.start(flags)
            var said = ""
            while !said.contains("not connected; it is tried again") { said += try unreachable.said() }
            try unreachable.child.handle.send(.kill)
            _ = try unreachable.finish()

            let server = try TestServer()
            _ = try AnyChannel.create(.topic, "market/eu", in: folder.root, ChannelOptions(lifetime: .kept))
            let bridge = try folder.start(
                ["--server", server.url, "--channel", "market/**", "--machine", "robot-1", "--replicas", "3"])
            try folder.wait("the reason") { reports in
                BridgeReport.lines(reports).joined(separator: "\n").contains("replicas > 1 not supported")
            }
            said = ""
            while !said.contains("replicas > 1 not supported") { said += try bridge.said() }
            #expect(said.contains("tried again until it succeeds"), "\(said)")
            try bridge.child.handle.send(.terminate)
            #expect(try bridge.finish().status == .exited(143))
        }

        @Test func aChannelThatTheServerForbidsIsToldInItsStatusAndOnceInTheLog() throws {
            let server = try TestServer(
                """
                authorization { users: [{ user: u, password: p, permissions: {
                  publish: { deny: "ipc.>" }, subscribe: { deny: "ipc.>" } } }] }
                """)
            let folder = TestRoot()
            let files = try TestFolder()
            let topic = try AnyChannel.create(.topic, "market/eu", in: folder.root, ChannelOptions(lifetime: .kept))
            let event = try AnyChannel.create(.event, "market/open", in: folder.root, ChannelOptions(lifetime: .kept))
            let bridge = try folder.start([
                "--config",
                try files.write(
                    "bridge.json",
                    #"{"machine": "robot-1", "servers": ["\#(server.url)"], "user": "u", "password": "p", "channels": [{"name": "**"}]}"#
                ),
            ])
            try folder.wait("the carriers") { reports in
                reports.first?.carriers.count { $0["state"] == .string("carrying") } ?? 0 >= 2
            }
            var publisher = try topic.makeWriter()
            try publisher.write([1].span.bytes, until: .after(.seconds(20)))
            var notifier = try event.makeWriter()
            func reason(_ channel: String, _ direction: String) -> String? {
                let carrier = (try? BridgeReport.all(in: folder.root))?.first?.carriers.first {
                    $0["channel"] == .string(channel) && $0["direction"] == .string(direction)
                }
                guard carrier?["state"] == .string("waiting"), case .string(let reason)? = carrier?["reason"] else {
                    return nil
                }
                return reason
            }
            try folder.wait("the reasons") { _ in
                try? notifier.notify()
                return [
                    ("market/eu", "out", "publish"), ("market/open", "in", "subscribe"),
                    ("market/open", "out", "publish"),
                ]
                .allSatisfy { reason($0, $1)?.contains("forbids this user to \($2) to ipc.") == true }
            }
            #expect(
                try BridgeReport.lines(BridgeReport.all(in: folder.root))[0].contains("the server forbids this user to")
            )
            try bridge.child.handle.send(.terminate)
            let (status, text) = try bridge.finish()
            #expect(status == .exited(143))
            let lines = text.split(separator: "\n").filter { $0.contains("forbidden by the server") }
            #expect(lines.count >= 3 && Set(lines.map { $0.drop { $0 != " " } }).count == lines.count, "\(text)")
        }

        @Test func thePermissionsOfTheDocumentationSuffice() throws {
            let server = try TestServer(
                """
                authorization { users: [{ user: u, password: p, permissions {
                  publish: ["ipc.>", "$KV.ipc-channels.>", "$KV.ipc-latest.>", "$JS.API.>", "$JS.ACK.>", "_INBOX.>"]
                  subscribe: ["ipc.>", "$JS.EVENT.ADVISORY.>", "_INBOX.>"]
                } }] }
                """)
            let (here, there) = (TestRoot(), TestRoot())
            let files = try TestFolder()
            let bridges = Bridges()
            var logs: [String] = []
            for (folder, machine) in [(here, "robot-1"), (there, "robot-2")] {
                for (pattern, name) in [
                    (ChannelPattern.topic, "t"), (.workQueue, "q"), (.latest, "l"), (.event, "e"), (.service, "s"),
                ] {
                    var options = ChannelOptions(lifetime: .kept)
                    if pattern == .topic || pattern == .latest { options.writers = .shared }
                    _ = try AnyChannel.create(pattern, name, in: folder.root, options)
                }
                let file = try files.write(
                    machine + ".json",
                    #"{"machine": "\#(machine)", "servers": ["\#(server.url)"], "user": "u", "password": "p", "channels": [{"name": "**"}]}"#
                )
                logs.append("\(files.path)/\(machine).log")
                bridges.add(
                    try Peer(
                        "/bin/sh",
                        ["-c", "exec \"$0\" --config \"$1\" 2>\"$2\"", product("ipc-bridge"), file, logs.last!],
                        environment: ["IPC_ROOT=\(folder.path)"]))
            }
            for folder in [here, there] {
                try folder.wait("the carriers") { reports in
                    let carriers = reports.first?.carriers ?? []
                    return carriers.count >= 11
                        && carriers.allSatisfy {
                            $0["state"] == .string("carrying") || $0["state"] == .string("waiting")
                        }
                }
            }
            func open(_ name: String, _ folder: TestRoot) throws -> AnyChannel {
                try AnyChannel.open(name, in: folder.root)
            }
            var worker = try open("q", there).makeReader()
            var getter = try open("l", there).makeReader()
            var subscription = try open("t", there).makeReader()
            for name in ["t", "q", "l"] {
                var writer = try open(name, here).makeWriter()
                try writer.write([UInt8(1)].span.bytes, until: .after(.seconds(20)))
            }
            #expect(try subscription.receive(until: .after(.seconds(30))) == [1])
            #expect(try getter.receive(until: .after(.seconds(30))) == [1])
            try worker.take(until: .after(.seconds(30))).acknowledge()
            #expect(try bridges.end() == [.exited(143), .exited(143)])
            for log in logs {
                let text = try String(contentsOfFile: log, encoding: .utf8)
                #expect(!text.contains("forbid"), "\(text)")
            }
        }

        @Test func aBridgeMayHaveAsManyDescriptorsAsTheHardLimitAllows() throws {
            let folder = TestRoot()
            let bridge = try Peer(
                "/bin/sh", ["-c", "ulimit -Sn 200; exec \"$0\" \"$@\" 2>&1", product("ipc-bridge")] + flags,
                environment: ["IPC_ROOT=\(folder.path)"])
            try folder.wait("the bridge") { $0.first?.isAlive == true }
            let limits = try String(contentsOfFile: "/proc/\(bridge.child.handle.identifier)/limits", encoding: .utf8)
            let line = try #require(limits.split(separator: "\n").first { $0.hasPrefix("Max open files") })
            let numbers = line.split(separator: " ").dropFirst(3).prefix(2)
            #expect(numbers.count == 2 && Set(numbers).count == 1, "\(line)")
            try bridge.child.handle.send(.terminate)
            #expect(try bridge.finish().status == .exited(143))
        }

        @Test func aTopicThatIsAQueueElsewhereIsToldOnceAndNotCreated() throws {
            let server = try TestServer()
            let (here, there) = (TestRoot(), TestRoot())
            _ = try AnyChannel.create(.topic, "market/eu", in: here.root, ChannelOptions(lifetime: .kept))
            _ = try AnyChannel.create(.workQueue, "market/eu", in: there.root, ChannelOptions(lifetime: .kept))
            let bridges = Bridges()
            let flags = ["--server", server.url, "--channel", "market/**", "--pattern", "topic", "--machine"]
            bridges.add(try here.start(flags + ["robot-1"]))
            let other = try there.start(flags + ["robot-2"])
            var said = ""
            while !said.contains("not carried") { said += try other.said() }
            // More looks follow each change of the directory.
            for name in ["market/a", "market/b"] {
                _ = try AnyChannel.create(.topic, name, in: here.root, ChannelOptions(lifetime: .kept))
                try there.wait(name) { _ in (try? there.root.names().contains(ChannelName(name))) == true }
            }
            try other.child.handle.send(.terminate)
            said += try other.finish().text
            #expect(said.contains("on robot-2, and a topic on robot-1; rename one"), "\(said)")
            #expect(said.components(separatedBy: "not carried").count == 2, "\(said)")
            #expect(said.components(separatedBy: "channel created as on another machine").count == 3, "\(said)")
            #expect(try bridges.end() == [.exited(143)])
        }

        @Test(arguments: [4096, 8192]) func aServerOfSmallMessagesCarriesLargeOnesAndMany(payload: Int) throws {
            let server = try TestServer("max_payload: \(payload)")
            let (here, there) = (TestRoot(), TestRoot())
            let options = ChannelOptions(lifetime: .kept, capacity: 1 << 20)
            let sent = try AnyChannel.create(.topic, "market/eu", in: here.root, options)
            let received = try AnyChannel.create(.topic, "market/eu", in: there.root, options)
            let bridges = Bridges()
            for (folder, machine) in [(here, "robot-1"), (there, "robot-2")] {
                bridges.add(
                    try folder.start(
                        ["--server", server.url, "--channel", "market/**", "--machine", machine, "--start", "oldest"]))
            }
            var subscription = try received.makeReader()
            var publisher = try sent.makeWriter()
            for number in 0..<300 {
                let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: number == 100 ? 70_000 : 100)
                try publisher.write(bytes.span.bytes, until: .after(.seconds(30)))
            }
            for number in 0..<300 {
                let bytes = try subscription.receive(until: .after(.seconds(30)))
                #expect(bytes.count == (number == 100 ? 70_000 : 100))
                #expect(bytes.first == UInt8(truncatingIfNeeded: number))
            }
            #expect(try bridges.end() == [.exited(143), .exited(143)])
        }

        @Test func aServerOfTooSmallMessagesIsRefused() throws {
            let server = try TestServer("max_payload: 2048")
            let folder = TestRoot()
            let topic = try AnyChannel.create(
                .topic, "market/eu", in: folder.root, ChannelOptions(lifetime: .kept, capacity: 1 << 20))
            _ = try AnyChannel.create(.workQueue, "market/jobs", in: folder.root, ChannelOptions(lifetime: .kept))
            _ = try AnyChannel.create(.latest, "market/open", in: folder.root, ChannelOptions(lifetime: .kept))
            let bridges = Bridges()
            bridges.add(
                try folder.start(["--server", server.url, "--channel", "market/**", "--machine", "robot-1"]))
            var publisher = try topic.makeWriter()
            try publisher.write([UInt8](repeating: 1, count: 70_000).span.bytes, until: .after(.seconds(30)))
            try folder.wait("the refusals") { reports in
                reports.first?.carriers.count {
                    guard $0["state"] == .string("refused"), case .string(let reason)? = $0["reason"] else {
                        return false
                    }
                    return reason.contains("messages of at most 2048 bytes")
                } ?? 0 >= 4
            }
            #expect(try bridges.end() == [.exited(143)])
        }

        @Test func checkSaysWhatIsCarriedAndWhereAMistakeIs() throws {
            let folder = TestRoot()
            let files = try TestFolder()
            for name in ["market/eu", "jobs"] {
                _ = try AnyChannel.create(.topic, name, in: folder.root, ChannelOptions(lifetime: .kept))
            }
            let (status, text) = try folder.run(["check"] + flags)
            #expect(status == .exited(0))
            #expect(
                text == """
                    machine robot-1, prefix ipc, servers nats://127.0.0.1:1
                    channels[0]: market/**, all patterns, both
                      market/eu

                    """)
            let file = try files.write(
                "a.json", #"{"servers": ["h"], "channels": [{"name": "a"}, {"name": "b", "delivery": 1}]}"#)
            let wrong = try folder.run(["check", "--config", file])
            #expect(wrong.status == .exited(64))
            #expect(wrong.text.contains("channels[1].delivery: expected stored or best-effort, found the number 1"))
            #expect(wrong.text.split(separator: "\n").count == 1)
            let both = try folder.run(["check", "--config", file, "--channel", "a"])
            #expect(both.status == .exited(64) && both.text.contains("--config and --channel"))
            #expect(try folder.run(["check", "--config", files.path + "/none"]).status == .exited(4))
            #expect(try folder.run(["status"]).status == .exited(4))
            #expect(try folder.run(["check"]).text == "ipc-bridge: give --config FILE, or --server and --channel.\n")
        }

        @Test func aChannelIsCreatedOnOtherMachinesAndAnotherTypeIsRefusedWithBothNamed() throws {
            let server = try TestServer()
            let (one, two, three) = (TestRoot(), TestRoot(), TestRoot())
            let price = ChannelSchema.messages(
                .structure(
                    .init(
                        name: "Quote", byteCount: 8, alignment: 8, fields: [.init("price", at: 0, .float(byteCount: 8))]
                    )))
            let options = ChannelOptions(overflow: .overwrite, lifetime: .kept, capacity: 1 << 18, maximumReaders: 7)
            _ = try AnyChannel.create(.topic, "market/eu", in: one.root, options, schema: price)
            _ = try AnyChannel.create(.topic, "market/eu", in: three.root, options)
            func start(_ folder: TestRoot, _ machine: String, _ direction: String) throws -> Peer {
                try folder.start(
                    ["--server", server.url, "--channel", "market/**", "--machine", machine, "--direction", direction])
            }
            let first = try start(one, "robot-1", "out")
            let second = try start(two, "robot-2", "in")
            let name = try ChannelName("market/eu")
            try two.wait("the channel on the second machine") { _ in (try? two.root.names().contains(name)) == true }
            let there = try ChannelDescription(name, in: two.root)
            #expect(try AnyChannel.open("market/eu", in: two.root).schema == price)
            #expect(there.attributes.overflow == .overwrite && there.attributes.capacity == 1 << 18)
            #expect(there.attributes.maximumReaders == 7 && there.attributes.lifetime == .kept)
            // The bridge writes there too, and for each machine.
            #expect(there.attributes.writers == .shared)
            // Later: of two types, the first one that a machine hears of is created there.
            let third = try start(three, "robot-3", "both")
            try three.wait("the refusal") { reports in
                let text = BridgeReport.lines(reports).joined(separator: "\n")
                return text.contains("refused")
                    && text.contains("market/eu has the type bytes on robot-3, and Quote on robot-1")
            }
            for bridge in [0, 1, 2] {
                switch bridge {
                case 0: try first.child.handle.send(.terminate)
                case 1: try second.child.handle.send(.terminate)
                default: try third.child.handle.send(.terminate)
                }
            }
            #expect(try first.finish().status == .exited(143))
            #expect(try second.finish().status == .exited(143))
            let (status, text) = try third.finish()
            #expect(status == .exited(143) && text.contains("connected") && text.contains("not carried"), "\(text)")
        }
    }
#endif
