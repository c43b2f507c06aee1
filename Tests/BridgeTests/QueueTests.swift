#if NATS
    import Glibc
    import IPC
    import IPCChannels
    import Synchronization
    import TestSupport
    import Testing

    @testable import IPCBridge

    /// How often each job was done.
    private final class Done: Sendable {
        private let counts = Mutex<[UInt64: Int]>([:])
        func add(_ job: UInt64) { counts.withLock { $0[job, default: 0] += 1 } }
        var count: Int { counts.withLock { $0.count } }
        func contains(_ job: UInt64) -> Bool { counts.withLock { $0[job] != nil } }
        /// Jobs that were done more than once.
        var again: [UInt64] { counts.withLock { $0.filter { $0.value > 1 }.keys.sorted() } }
        /// Those of the first `count` jobs that were not done.
        func missing(of count: Int) -> [UInt64] {
            counts.withLock { done in (0..<UInt64(count)).filter { done[$0] == nil } }
        }
    }

    /// Work queues between machines, by real bridges and a real server.
    @Suite(.serialized, .enabled(if: TestNetwork.serverProgram != nil)) struct QueueTests {
        private static let name = "work/jobs"

        private func rule(wait: String = "30s", after: String = "100ms") -> String {
            #"{"name": "work/**", "pattern": "queue", "acknowledgement-wait": "\#(wait)", "after": "\#(after)"}"#
        }

        private func queue(_ machine: TestMachine, attempts: Int? = nil) throws -> WorkQueue<UInt64> {
            try WorkQueue<UInt64>.openOrCreate(
                Self.name, in: machine.root, ChannelOptions(lifetime: .kept, capacity: 1 << 20),
                maximumAttempts: attempts)
        }

        /// Machines with a queue, whose bridges know of each other.
        private func machines(_ names: [String], in network: TestNetwork, _ rule: String) async throws -> [TestMachine]
        {
            let machines = names.map { network.machine($0) }
            for machine in machines {
                _ = try queue(machine)
                try machine.configure(rule)
                try machine.startBridge()
            }
            for machine in machines {
                try await wait("\(machine.name) carries; its bridge says \(machine.log)") {
                    try machine.carriers().count { $0["state"] != .string("starting") } >= names.count + 1
                }
            }
            return machines
        }

        private func send(_ numbers: Range<UInt64>, to queue: WorkQueue<UInt64>) async throws {
            var producer = try queue.makeProducer()
            for number in numbers { try await producer.send(number, until: .after(.seconds(40))) }
        }

        /// A worker of this process, until it is cancelled.
        private func work(_ machine: TestMachine, _ done: Done, each time: Duration = .zero) async throws {
            var worker = try queue(machine).makeWorker()
            while !Task.isCancelled {
                guard let job = try? await worker.next() else { return }
                if time > .zero { try? await Task.sleep(for: time) }
                let number = job.message
                try job.acknowledge()
                done.add(number)
            }
        }

        /// How many jobs the stream of a machine has.
        private func stored(_ machine: String, in network: TestNetwork) async throws -> UInt64 {
            let connection = try NATSConnection(
                ServerConfiguration(servers: ["nats://127.0.0.1:\(network.port)"]), name: "test")
            let stream = ServerNames(prefix: "ipc").stream(
                .queue, of: try #require(Machine(machine)), try ChannelName(Self.name))
            let state = try await connection.streamState(stream)
            await connection.close()
            return state?.messages ?? 0
        }

        /// Waits until the streams of these machines are empty.
        private func waitUntilEmpty(_ machines: [TestMachine], in network: TestNetwork) async throws {
            for machine in machines {
                for attempt in 0... {
                    let left = try await stored(machine.name, in: network)
                    if left == 0 { break }
                    try #require(attempt < 100, "\(left) jobs are left in the stream of \(machine.name)")
                    try await Task.sleep(for: .milliseconds(100))
                }
            }
        }

        private func logs(_ machines: [TestMachine]) -> String {
            machines.map { "\($0.name):\n\($0.log.suffix(3000))" }.joined(separator: "\n")
        }

        @Test(.timeLimit(.minutes(10))) func jobsOfAMachineWithoutWorkersAreDoneOnceByOthers() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let all = try await machines(["a", "b", "c"], in: network, rule())
            let (done, count) = (Done(), 5000)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await self.send(0..<UInt64(count), to: self.queue(all[0])) }
                for machine in all[1...] { group.addTask { try await self.work(machine, done) } }
                try await wait("all jobs are done: \(done.count)\n\(logs(all))", for: .seconds(40)) {
                    done.count == count
                }
                try await waitUntilEmpty(all, in: network)
                group.cancelAll()
                try await group.waitForAll()
            }
            #expect(done.again.isEmpty && done.missing(of: count).isEmpty)
            #expect(try ChannelDescription(ChannelName(Self.name), in: all[0].root).messageCount == 0)
        }

        @Test(.timeLimit(.minutes(10))) func killedBridgesLoseAndDoubleNoJob() async throws {
            try await runUnderKills(ofServer: false)
        }

        // A server that was killed may have forgotten, of a stream with one replica, what was acknowledged just before: such a job is done
        // again.
        @Test(.timeLimit(.minutes(10))) func killedServersLoseNoJob() async throws {
            try await runUnderKills(ofServer: true)
        }

        private func runUnderKills(ofServer killsServer: Bool) async throws {
            let seed = getenv("IPC_TEST_SEED").flatMap { UInt64(String(cString: $0)) } ?? .random(in: 0...999_999)
            print("queues under kills: IPC_TEST_SEED=\(seed)")
            let network = try TestNetwork()
            defer { network.end() }
            let all = try await machines(["a", "b", "c"], in: network, rule(wait: "5s"))
            let (done, sent) = (Done(), Done())
            let count = 3000
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    for start in stride(from: 0, to: count, by: 50) {
                        try await self.send(UInt64(start)..<UInt64(start + 50), to: self.queue(all[0]))
                        try await Task.sleep(for: .milliseconds(200))
                    }
                    sent.add(0)
                }
                for machine in all[1...] {
                    group.addTask { try await self.work(machine, done, each: .milliseconds(1)) }
                }
                group.addTask {
                    var random = Seeded(seed)
                    while sent.count == 0 {
                        // All jobs may be done, and this cancelled, while it sleeps.
                        try? await Task.sleep(for: .milliseconds(random.number(20...700)))
                        switch random.number(0...(killsServer ? 4 : 3)) {
                        case 0...3:
                            let machine = random.pick(all)
                            machine.killBridge()
                            try machine.startBridge()
                        default:
                            network.killServer()
                            try? await Task.sleep(for: .milliseconds(random.number(0...500)))
                            try network.startServer()
                        }
                    }
                }
                try await wait("all jobs are done, seed \(seed)", for: .seconds(80)) { done.count == count }
                try await waitUntilEmpty(all, in: network)
                group.cancelAll()
                try await group.waitForAll()
            }
            if killsServer {
                print("done again: \(done.again.count)")
            } else {
                #expect(done.again == [], "seed \(seed)\n\(logs(all))")
            }
            #expect(done.missing(of: count).isEmpty, "seed \(seed)")
        }

        @Test(.timeLimit(.minutes(10))) func theJobOfADeadWorkerIsGivenBackAtOnce() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let all = try await machines(["a", "b", "c"], in: network, rule())
            let there = try all[1].startPeer("work", Self.name, "60000")
            try await send(7..<8, to: queue(all[0]))
            #expect(try there.said().contains("has 7"))
            let done = Done()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await self.work(all[2], done) }
                // It asks for jobs by now.
                try await Task.sleep(for: .seconds(1))
                let start = ContinuousClock.now
                try there.kill()
                try await wait("the job is done elsewhere; \(logs(all))") { done.contains(7) }
                #expect(ContinuousClock.now - start < .seconds(2))
                try await waitUntilEmpty(all, in: network)
                group.cancelAll()
                try await group.waitForAll()
            }
            #expect(done.again == [])
        }

        @Test(.timeLimit(.minutes(10))) func theJobsOfAMachineThatIsCutOffAreDoneElsewhere() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let all = try await machines(["a", "b", "c"], in: network, rule(wait: "2s"))
            let there = try all[1].startPeer("work", Self.name, "60000")
            try await send(0..<1, to: queue(all[0]))
            #expect(try there.said().contains("has 0"))
            try all[1].signalBridge(.stop)
            let done = Done()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await self.work(all[2], done) }
                try await send(1..<20, to: queue(all[0]))
                try await wait("all jobs are done; \(logs(all))") { done.count == 20 }
                try all[1].signalBridge(.continue)
                try await waitUntilEmpty(all, in: network)
                // The machine that was cut off takes part again, and what it was sent meanwhile is not done again.
                try await send(20..<40, to: queue(all[0]))
                try await wait("all jobs are done; \(logs(all))") { done.count == 40 }
                try await waitUntilEmpty(all, in: network)
                group.cancelAll()
                try await group.waitForAll()
            }
            #expect(done.again == [])
            try there.kill()
        }

        @Test(.timeLimit(.minutes(10))) func jobsComeBackToTheMachineThatSentThem() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let all = try await machines(["a", "b"], in: network, rule())
            try await send(0..<100, to: queue(all[0]))
            for attempt in 0... {
                let count = try await stored("a", in: network)
                if count == 100 { break }
                try #require(attempt < 100, "\(count) jobs are stored")
                try await Task.sleep(for: .milliseconds(50))
            }
            let done = Done()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await self.work(all[0], done) }
                try await wait("all jobs are done; \(logs(all))") { done.count == 100 }
                try await waitUntilEmpty(all, in: network)
                group.cancelAll()
                try await group.waitForAll()
            }
            #expect(done.again == [])
        }

        @Test(.timeLimit(.minutes(10))) func jobsThatWaitForBusyWorkersGoElsewhere() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let all = try await machines(["a", "b"], in: network, rule())
            let busy = try all[0].startPeer("work", Self.name, "60000")
            try await Task.sleep(for: .seconds(1))
            try await send(0..<50, to: queue(all[0]))
            // The first, or the second where the bridge had the first for a moment, and gave it back.
            let has = try busy.said()
            let held: UInt64 = try #require(
                (0...1 as ClosedRange<UInt64>).first { has.contains("has \($0)") }, "\(has)")
            let done = Done()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await self.work(all[1], done) }
                try await wait("the others are done; \(logs(all))") { done.count == 49 }
                try await waitUntilEmpty(all, in: network)
                group.cancelAll()
                try await group.waitForAll()
            }
            #expect(done.again == [] && !done.contains(held))
            try busy.kill()
        }

        @Test(.timeLimit(.minutes(10))) func aLongJobIsNotGivenAgainWhileItsWorkerLives() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let all = try await machines(["a", "b", "c"], in: network, rule(wait: "2s"))
            let there = try all[1].startPeer("work", Self.name, "6500")
            try await send(3..<4, to: queue(all[0]))
            #expect(try there.said().contains("has 3"))
            let done = Done()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await self.work(all[2], done) }
                #expect(try there.said().contains("did 3"))
                try await waitUntilEmpty(all, in: network)
                group.cancelAll()
                try await group.waitForAll()
            }
            #expect(done.count == 0)
            try there.kill()
        }

        @Test(
            .timeLimit(.minutes(10)),
            // What is stored is told of many jobs at once, perhaps fewer than seven times.
            arguments: KillPoint.allCases.map { "\($0.rawValue):\($0 == .outboxStored ? 1 : 7)" })
        func aBridgeThatDiesAtAnyPointLosesAndDoublesNoJob(_ point: String) async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let all = try await machines(["a", "b"], in: network, rule(wait: "5s"))
            let victim = point.hasPrefix("outbox") ? all[0] : all[1]
            victim.killBridge()
            try victim.startBridge(killedAt: point)
            let (done, count) = (Done(), 100)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await self.work(all[1], done) }
                try await send(0..<UInt64(count), to: queue(all[0]))
                try await wait("the bridge dies at \(point): \(logs(all))") {
                    victim.log.contains("struck \(point.split(separator: ":")[0])")
                }
                victim.killBridge()
                try victim.startBridge()
                try await wait("all jobs are done: \(done.missing(of: count))\n\(logs(all))", for: .seconds(40)) {
                    done.count == count
                }
                try await waitUntilEmpty(all, in: network)
                group.cancelAll()
                try await group.waitForAll()
            }
            #expect(done.again == [], "\(point)")
        }

        @Test(.timeLimit(.minutes(10))) func lettersStayWhereTheirJobsFailed() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let (here, there) = (network.machine("a"), network.machine("b"))
            for machine in [here, there] {
                _ = try queue(machine, attempts: 2)
                try machine.configure(rule())
                try machine.startBridge()
            }
            try await send(5..<6, to: queue(here))
            var worker = try queue(there).makeWorker()
            for _ in 0..<2 {
                let job = try await worker.next(until: .after(.seconds(20)))
                job.reject(after: .zero)
            }
            #expect(throws: IPCError.self) { _ = try worker.next(until: .after(.milliseconds(300))) }
            let letters = try WorkQueue<UInt64>.open(Self.name + "/dead-letters", in: there.root)
            #expect(try letters.browse().map(\.bytes) == [[5, 0, 0, 0, 0, 0, 0, 0]])
            try await waitUntilEmpty([here, there], in: network)
            try await Task.sleep(for: .seconds(1))
            #expect(try !here.root.names().contains(ChannelName(Self.name + "/dead-letters")))
            #expect(try there.carriers().allSatisfy { $0["channel"] == .string(Self.name) })
        }

        @Test(.timeLimit(.minutes(10))) func aJobThatKillsItsWorkerEverywhereBecomesALetter() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let all = ["a", "b"].map { network.machine($0) }
            for machine in all {
                _ = try queue(machine, attempts: 3)
                try machine.configure(rule())
                try machine.startBridge()
            }
            try await send(9..<10, to: queue(all[0]))
            func letters() -> Int {
                all.reduce(0) { sum, machine in
                    let name = Self.name + "/dead-letters"
                    return sum + ((try? WorkQueue<UInt64>.open(name, in: machine.root).browse().count) ?? 0)
                }
            }
            // One has the job and is killed; then the other machine is the only one with a worker.
            var current = Held(try all[0].startPeer("work", Self.name, "60000"))
            for round in 1...12 where letters() == 0 {
                let next = Held(try all[round % 2].startPeer("work", Self.name, "60000"))
                try await Task.sleep(for: .seconds(1))
                try current.value.kill()
                try await Task.sleep(for: .seconds(1))
                current = next
            }
            #expect(letters() == 1, "\(logs(all))")
            try current.value.kill()
            try await waitUntilEmpty(all, in: network)
        }

        @Test func entriesOfTheOutboxAreReadAsTheyWereWrittenAndOthersAreRefused() throws {
            let entry = JobEntry(
                era: 6, sequence: 7, position: ChannelPosition(channel: 8, offset: 64), attempt: 2, failures: 3,
                job: [1, 2, 3])
            #expect(try JobEntry(reading: entry.bytes) == entry)
            for count in 0..<48 {
                #expect(throws: StartAnew.self) { _ = try JobEntry(reading: Array(entry.bytes.prefix(count))) }
            }
        }

        @Test func lettersAreCarriedOnlyIfARuleNamesThem() throws {
            func rule(_ pattern: String) throws -> ChannelRule? {
                try BridgeConfiguration(
                    json: #"{"machine": "a", "servers": ["nats://h:1"], "channels": [{"name": "\#(pattern)"}]}"#
                ).rule(for: ChannelName("work/jobs/dead-letters"), .workQueue)
            }
            for pattern in ["**", "work/**", "work/*/*", "work/jobs/*", "work/jobs/dead-letters*"] {
                #expect(try rule(pattern) == nil)
            }
            #expect(try rule("work/jobs/dead-letters") != nil)
        }
    }
#endif
