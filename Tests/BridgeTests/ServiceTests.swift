#if NATS
    import Glibc
    import IPC
    import IPCChannels
    import Synchronization
    import TestSupport
    import Testing

    @testable import IPCBridge

    /// How many calls were answered, and how many failed.
    private final class Tally: Sendable {
        private let counts = Mutex((answered: 0, failed: 0))
        var value: (answered: Int, failed: Int) { counts.withLock { $0 } }
        func add(_ isAnswered: Bool) {
            counts.withLock { if isAnswered { $0.answered += 1 } else { $0.failed += 1 } }
        }
    }

    /// Services between machines, by real bridges and a real server.
    @Suite(.serialized, .enabled(if: TestNetwork.serverProgram != nil)) struct ServiceTests {
        private static let name = "work/answers"
        private static let rule = #"{"name": "work/**", "pattern": "service"}"#

        private func service(_ machine: TestMachine, capacity: Int? = nil) throws -> AnyChannel {
            guard let capacity else { return try AnyChannel.open(Self.name, in: machine.root) }
            return try AnyChannel.create(
                .service, Self.name, in: machine.root, ChannelOptions(lifetime: .kept, capacity: capacity))
        }

        private func machines(
            _ names: [String], in network: TestNetwork, capacity: Int = 4 << 20
        ) async throws -> [TestMachine] {
            let machines = names.map { network.machine($0) }
            for machine in machines {
                _ = try service(machine, capacity: capacity)
                try machine.configure(Self.rule)
                try machine.startBridge()
            }
            for machine in machines {
                try await wait("\(machine.name) carries; its bridge says \(machine.log)") {
                    try machine.carriers().count { $0["state"] != .string("starting") } >= 2
                }
            }
            return machines
        }

        /// Waits until calls of a machine are answered.
        private func waitForAnswers(_ machine: TestMachine) async throws {
            let deadline = Deadline.after(.seconds(20))
            while true {
                do {
                    if case .reply = try await call(machine, "echo ready") { return }
                } catch { if deadline.hasPassed { throw error } }
                try await Task.sleep(for: .milliseconds(50))
            }
        }

        private func call(
            _ machine: TestMachine, _ request: String, limit: Int = 4096, _ options: CallOptions = CallOptions(),
            within time: Duration = .seconds(20)
        ) async throws -> CallOutcome {
            var client = try service(machine).makeWriter()
            return try await client.call(
                Array(request.utf8).span.bytes, replyLimit: limit, options, until: .after(time))
        }

        private func failure(_ body: () async throws -> Void) async -> IPCError.Code? {
            do {
                try await body()
                return nil
            } catch { return (error as? IPCError)?.code }
        }

        private func text(_ outcome: CallOutcome) -> String {
            switch outcome {
            case .reply(let bytes): String(decoding: bytes, as: UTF8.self)
            case .failure(let bytes): "failure " + String(decoding: bytes, as: UTF8.self)
            }
        }

        @Test(.timeLimit(.minutes(10))) func callsAreAnsweredByAnotherMachine() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let all = try await machines(["a", "b"], in: network)
            // No server anywhere: told at once, and not at the deadline.
            let start = ContinuousClock.now
            #expect(await failure { _ = try await call(all[0], "echo x") } == .brokenPipe)
            #expect(ContinuousClock.now - start < .seconds(10))

            let server = try all[1].startPeer("serve", Self.name)
            try await waitForAnswers(all[0])
            #expect(try await text(call(all[0], "echo hello")) == "hello")
            #expect(try await text(call(all[0], "fail oops")) == "failure oops")
            #expect(
                try await text(call(all[0], "metadata tenant", CallOptions(metadata: ["tenant": "acme"]))) == "acme")
            #expect(try await text(call(all[0], "metadata ipc.machine")) == "a")
            let left = try #require(Int(try await text(call(all[0], "left", within: .seconds(5)))))
            #expect((3000...5000).contains(left))
            // Larger than the caller allows, and than the server of NATS takes.
            #expect(await failure { _ = try await call(all[0], "large 5000") } == .messageTooLarge)
            #expect(try await text(call(all[0], "large 5000", limit: 5000)).utf8.count == 5000)
            #expect(await failure { _ = try await call(all[0], "large 1040000", limit: 1_050_000) } == nil)
            #expect(await failure { _ = try await call(all[0], "large 1049000", limit: 1_050_000) } == .messageTooLarge)
            for (request, limit, text) in [
                ("large 1049000", 1_050_000, "than the bridge between machines can carry"),
                ("large 5000", 4096, "the reply has 4097 bytes, but its limit is 4096; allow more"),
                ("echo " + String(repeating: "x", count: 1_049_000), 4096, "the request has more bytes"),
            ] {
                let error = await #expect(throws: IPCError.self) { _ = try await call(all[0], request, limit: limit) }
                #expect(error?.code == .messageTooLarge && error?.advice.contains(text) == true, "\(error as Any)")
            }
            // A deadline that passes is told as such.
            #expect(await failure { _ = try await call(all[0], "hold", within: .milliseconds(500)) } == .timedOut)
            try server.kill()
        }

        @Test(.timeLimit(.minutes(10))) func callersLearnOfDeadServersAndBridges() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let all = try await machines(["a", "b", "c"], in: network)
            let server = try all[1].startPeer("serve", Self.name)
            try await waitForAnswers(all[0])
            // The server dies in a call.
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    #expect(await failure { _ = try await call(all[0], "hold") } == .brokenPipe)
                }
                #expect(try server.said().contains("holds 1"))
                let start = ContinuousClock.now
                try server.kill()
                try await group.waitForAll()
                #expect(ContinuousClock.now - start < .seconds(2))
            }
            // With retries, another one gets it.
            let first = Held(try all[1].startPeer("serve", Self.name))
            try await waitForAnswers(all[0])
            let servers = [first, Held(try all[2].startPeer("serve", Self.name))]
            try await Task.sleep(for: .seconds(1))
            let calling = Task {
                await failure { _ = try await call(all[0], "hold", CallOptions(retries: 5), within: .seconds(15)) }
            }
            var (holder, other) = (0, 1)
            if (try? servers[0].value.said(within: .seconds(2)).contains("holds")) != true { (holder, other) = (1, 0) }
            try servers[holder].value.kill()
            #expect(try servers[other].value.said(within: .seconds(10)).contains("holds 1"))
            calling.cancel()
            #expect(try servers[other].value.said(within: .seconds(1)).contains("cancelled"))
            #expect(await calling.value == .cancelled)
            // The bridge of the server dies in a call.
            let bridge = all[other + 1]
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { #expect(await failure { _ = try await call(all[0], "hold") } == .brokenPipe) }
                #expect(try servers[other].value.said().contains("holds"))
                let start = ContinuousClock.now
                bridge.killBridge()
                try await group.waitForAll()
                #expect(ContinuousClock.now - start < .seconds(5))
            }
            // The server learns that its caller, which was the bridge, is gone.
            #expect(try servers[other].value.said(within: .seconds(2)).contains("cancelled"))
            try servers[other].value.kill()
        }

        @Test(.timeLimit(.minutes(10))) func aLocalServerTakesCallsOverAndHandsThemBack() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let all = try await machines(["a", "b"], in: network)
            let there = try all[1].startPeer("serve", Self.name)
            try await waitForAnswers(all[0])
            #expect(try await text(call(all[0], "metadata ipc.machine")) == "a")
            let here = try all[0].startPeer("serve", Self.name)
            // It did not come over a bridge.
            for _ in 0..<20 { #expect(try await text(call(all[0], "metadata ipc.machine")) == "none") }
            try here.kill()
            try await waitForAnswers(all[0])
            #expect(try await text(call(all[0], "metadata ipc.machine")) == "a")
            try there.kill()
        }

        @Test(.timeLimit(.minutes(10))) func hostileBytesStopNoBridge() async throws {
            let seed = getenv("IPC_TEST_SEED").flatMap { UInt64(String(cString: $0)) } ?? .random(in: 0...999_999)
            print("hostile calls: IPC_TEST_SEED=\(seed)")
            var random = Seeded(seed)
            let network = try TestNetwork()
            defer { network.end() }
            let all = try await machines(["a", "b"], in: network)
            let connection = try NATSConnection(
                ServerConfiguration(servers: ["nats://127.0.0.1:\(network.port)"]), name: "test")
            try await connection.waitUntilConnected()
            let subject = ServerNames(prefix: "ipc").subject(.service, try ChannelName(Self.name))
            func hostile() -> [UInt8] {
                var bytes = CallMessage(
                    timeLeft: .seconds(1), replyLimit: 16, metadata: ["a": "b"], request: Array("echo x".utf8)
                )
                .bytes(from: Machine("evil")!)
                for _ in 0...random.number(0...3) {
                    bytes[random.number(0...bytes.count - 1)] = UInt8(random.number(0...255))
                }
                if random.chance(20) { bytes.removeLast(random.number(1...bytes.count)) }
                return bytes
            }
            // As a server: what is answered is no answer.
            let mailbox = connection.subscribe(subject, queue: "servers")
            let answering = Task {
                while let message = try await mailbox.next() {
                    if let reply = message.reply { try connection.publish(reply, Array("nonsense".utf8)) }
                }
            }
            try await Task.sleep(for: .milliseconds(300))
            for _ in 0..<20 { #expect(await failure { _ = try await call(all[0], "echo x") } == .brokenPipe) }
            mailbox.close()
            answering.cancel()
            let server = try all[1].startPeer("serve", Self.name)
            try await waitForAnswers(all[0])
            // As a caller.
            let replies = connection.makeMailbox(tellsOfLosses: false)
            for _ in 0..<2000 { try connection.publish(subject, reply: replies.subject, hostile()) }
            #expect(try await text(call(all[0], "echo still")) == "still")
            for machine in all { #expect(!machine.log.contains("begins anew"), "seed \(seed)") }
            await connection.close()
            try server.kill()
        }

        @Test(.timeLimit(.minutes(10))) func eachCallIsAnsweredOrFailsWhileBridgesAreKilled() async throws {
            let seed = getenv("IPC_TEST_SEED").flatMap { UInt64(String(cString: $0)) } ?? .random(in: 0...999_999)
            print("calls under kills: IPC_TEST_SEED=\(seed)")
            let network = try TestNetwork()
            defer { network.end() }
            let all = try await machines(["a", "b", "c"], in: network)
            let servers = [
                Held(try all[1].startPeer("serve", Self.name)), Held(try all[2].startPeer("serve", Self.name)),
            ]
            try await waitForAnswers(all[0])
            let counts = Tally()
            let isOver = Flag()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await withThrowingTaskGroup(of: Void.self) { callers in
                        for caller in 0..<20 {
                            callers.addTask {
                                var client = try service(all[0]).makeWriter()
                                for number in 0..<100 {
                                    let argument = "\(caller).\(number)"
                                    do {
                                        let answer = try await client.call(
                                            Array("echo \(argument)".utf8).span.bytes, until: .after(.seconds(3)))
                                        #expect(text(answer) == argument)
                                        counts.add(true)
                                    } catch { counts.add(false) }
                                }
                            }
                        }
                        try await callers.waitForAll()
                    }
                    isOver.set()
                }
                group.addTask {
                    var random = Seeded(seed)
                    while !isOver.isSet {
                        try await Task.sleep(for: .milliseconds(random.number(500...2500)))
                        let machine = random.pick(all)
                        machine.killBridge()
                        try machine.startBridge()
                    }
                }
                try await group.waitForAll()
            }
            let (answered, failed) = counts.value
            print("calls under kills: \(answered) answered, \(failed) failed")
            #expect(answered + failed == 2000 && answered > 0)
            for server in servers { try server.value.kill() }
        }

        @Test func callsAreReadAsTheyWereWrittenAndAnyOtherBytesAreRefused() throws {
            let machine = try #require(Machine("a"))
            let call = CallMessage(
                timeLeft: .seconds(3), replyLimit: 77, metadata: ["k": "v", "": "w"], request: [1, 2, 3])
            let bytes = call.bytes(from: machine)
            let read = try CallMessage(reading: bytes)
            #expect(read.timeLeft == .seconds(3) && read.replyLimit == 77 && read.request == [1, 2, 3])
            #expect(read.metadata == call.metadata)
            let forEver = CallMessage(timeLeft: nil, replyLimit: 0, metadata: [:], request: [])
            #expect(try CallMessage(reading: forEver.bytes(from: machine)).timeLeft == nil)
            let long = CallMessage(timeLeft: .seconds(Int64.max), replyLimit: 0, metadata: [:], request: [])
            #expect(
                try CallMessage(reading: long.bytes(from: machine)).timeLeft ?? .seconds(Int64.max) > .seconds(1 << 33))
            for answer in [CallAnswer.reply([]), .failure([4]), .word(.lost, "gone"), .word(.inProgress, "")] {
                #expect(try CallAnswer(reading: answer.bytes(from: machine)) == answer)
            }
            let seed = UInt64.random(in: 0...999_999)
            var random = Seeded(seed)
            let answer = CallAnswer.word(.refused, "no").bytes(from: machine)
            for _ in 0..<20_000 {
                var (one, other) = (bytes, answer)
                for _ in 0...random.number(0...4) {
                    one[random.number(0...one.count - 1)] = UInt8(random.number(0...255))
                    other[random.number(0...other.count - 1)] = UInt8(random.number(0...255))
                }
                one.removeLast(random.chance(30) ? random.number(0...one.count) : 0)
                other.removeLast(random.chance(30) ? random.number(0...other.count) : 0)
                // Whatever it is, nothing traps.
                _ = try? CallMessage(reading: one)
                _ = try? CallAnswer(reading: other)
            }
        }

        /// What its caller was told is what happened.
        @Test(.timeLimit(.minutes(10))) func callsBeyondWhatTheServersTakeFailAndAreNotExecuted() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let all = try await machines(["a", "b"], in: network, capacity: 1 << 18)
            let executed = Tally()
            let serving = Task {
                var server = try service(all[1]).makeReader()
                while !Task.isCancelled {
                    let call = try await server.take()
                    executed.add(true)
                    try await Task.sleep(for: .milliseconds(150))
                    try call.reply(Array("done".utf8).span.bytes)
                }
            }
            defer { serving.cancel() }
            try await waitForAnswers(all[0])
            let before = executed.value.answered
            let tally = Tally()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<50 {
                    group.addTask {
                        do {
                            // Each with room of its own here.
                            var client = try service(all[0]).makeWriter()
                            _ = try await client.call(
                                Array("call".utf8).span.bytes, CallOptions(), until: .after(.seconds(60)))
                            tally.add(true)
                        } catch let error as IPCError {
                            #expect(error.code == .brokenPipe || error.code == .overloaded, "\(error)")
                            tally.add(false)
                        }
                    }
                }
                try await group.waitForAll()
            }
            let (answered, failed) = tally.value
            try await Task.sleep(for: .seconds(1))
            #expect(answered > 0 && failed > 0 && answered + failed == 50)
            #expect(executed.value.answered - before == answered)
        }
    }
#endif
