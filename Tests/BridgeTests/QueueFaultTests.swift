#if NATS
    import Foundation
    import Glibc
    import IPC
    import IPCChannels
    import Synchronization
    import TestSupport
    import Testing

    @testable import IPCBridge

    /// Work queues where machines share a name, where a server has another store, and where jobs are too large for it.
    @Suite(.serialized, .enabled(if: TestNetwork.serverProgram != nil)) struct QueueFaultTests {
        private static let name = "work/jobs"
        private static let rule = #"{"name": "work/**", "pattern": "queue", "acknowledgement-wait": "5s"}"#

        /// How often each job was done.
        private final class Done: Sendable {
            private let counts = Mutex<[UInt64: Int]>([:])
            func add(_ job: UInt64) { counts.withLock { $0[job, default: 0] += 1 } }
            var numbers: [UInt64] { counts.withLock { $0.keys.sorted() } }
            var again: [UInt64] { counts.withLock { $0.filter { $0.value > 1 }.keys.sorted() } }
        }

        private func queue(_ machine: TestMachine) throws -> WorkQueue<UInt64> {
            try WorkQueue<UInt64>.openOrCreate(
                Self.name, in: machine.root, ChannelOptions(lifetime: .kept, capacity: 1 << 18))
        }

        private func send(_ numbers: Range<UInt64>, to machine: TestMachine) async throws {
            var producer = try queue(machine).makeProducer()
            for number in numbers { try await producer.send(number, until: .after(.seconds(40))) }
        }

        private func work(_ machine: TestMachine, _ done: Done) async throws {
            var worker = try queue(machine).makeWorker()
            while !Task.isCancelled {
                guard let job = try? await worker.next() else { return }
                let number = job.message
                try job.acknowledge()
                done.add(number)
            }
        }

        private func waitUntilCarrying(_ machine: TestMachine, _ count: Int) async throws {
            try await wait("\(machine.name) carries; its bridge says \(machine.log)") {
                try machine.carriers().count { $0["state"] != .string("starting") } >= count
            }
        }

        @Test(.timeLimit(.minutes(10))) func machinesOfOneNameLoseNoJobAndAreNamed() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let there = network.machine("f")
            let same = ["one", "two"].map { network.machine("same", file: $0) }
            for machine in same + [there] {
                _ = try queue(machine)
                try machine.configure(Self.rule)
                try machine.startBridge()
            }
            for machine in same + [there] { try await waitUntilCarrying(machine, 3) }
            let done = Done()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await self.work(there, done) }
                // At once: each takes the stream from the other.
                for number in 0..<20 as Range<UInt64> {
                    for (index, machine) in same.enumerated() {
                        try await send(number * 2 + UInt64(index)..<number * 2 + UInt64(index) + 1, to: machine)
                    }
                    try await Task.sleep(for: .milliseconds(20))
                }
                try await wait("all jobs are done: \(done.numbers)\n\(same.map(\.log))", for: .seconds(40)) {
                    done.numbers == Array(0..<40)
                }
                // One after the other.
                for machine in same { machine.killBridge() }
                for round in 0..<4 as Range<UInt64> {
                    let machine = same[Int(round % 2)]
                    try await send(40 + round * 10..<50 + round * 10, to: machine)
                    try machine.startBridge()
                    try await wait("all jobs are done: \(done.numbers)\n\(machine.log)", for: .seconds(40)) {
                        done.numbers == Array(0..<50 + round * 10)
                    }
                    machine.killBridge()
                }
                group.cancelAll()
                try await group.waitForAll()
            }
            #expect(done.again == [])
            #expect(same.contains { $0.log.contains("is another bridge running for same?") })
        }

        @Test(.timeLimit(.minutes(10)), arguments: [true, false])
        func aServerWithAnotherStoreGetsNoOldJobsAgain(_ isAnotherServer: Bool) async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let other = try TestNetwork()
            defer { other.end() }
            let all = ["a", "b"].map { network.machine($0) }
            for machine in all {
                _ = try queue(machine)
                try machine.configure(Self.rule)
                try machine.startBridge()
            }
            for machine in all { try await waitUntilCarrying(machine, 3) }
            let done = Done()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await self.work(all[1], done) }
                // More than the outbox has room for.
                try await send(0..<9000, to: all[0])
                try await wait("all jobs are done; \(all.map(\.log))") { done.numbers == Array(0..<9000) }
                // What was acknowledged is noted a little later.
                try await Task.sleep(for: .milliseconds(500))
                // Those that are on their way when the store is lost.
                try network.signalServer(.stop)
                try await send(9000..<10_000, to: all[0])
                try await Task.sleep(for: .milliseconds(700))
                if isAnotherServer {
                    for machine in all {
                        try machine.configure(Self.rule, at: other)
                        try machine.signalBridge(.hangUp)
                    }
                } else {
                    network.killServer()
                    try FileManager.default.removeItem(atPath: network.folder + "/jetstream")
                    try network.startServer()
                }
                try await wait("all jobs are done: \(done.numbers.count); \(all.map(\.log))") {
                    done.numbers == Array(0..<10_000)
                }
                // Whatever comes again comes by now.
                try await Task.sleep(for: .seconds(1))
                group.cancelAll()
                try await group.waitForAll()
            }
            #expect(done.again == [], "\(all.map(\.log))")
        }

        @Test(.timeLimit(.minutes(10))) func aJobThatIsTooLargeForTheServerWaitsForALocalWorker() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let all = ["a", "b"].map { network.machine($0) }
            let queues = try all.map {
                try WorkQueue<RawBytes>.openOrCreate(
                    Self.name, in: $0.root, ChannelOptions(lifetime: .kept, capacity: 1 << 23))
            }
            for machine in all {
                try machine.configure(Self.rule)
                try machine.startBridge()
            }
            for machine in all { try await waitUntilCarrying(machine, 3) }
            var producer = try queues[0].makeProducer()
            var there = try queues[1].makeWorker()
            for size in [3 << 20, 8, 9] {
                try await producer.send([UInt8](repeating: 1, count: size).span.bytes, until: .after(.seconds(20)))
            }
            for size in [8, 9] {
                let job = try await there.next(until: .after(.seconds(20)))
                #expect(try job.withBytes { $0.byteCount } == size, "\(all[0].log)")
                try job.acknowledge()
            }
            try await Task.sleep(for: .seconds(1))
            // It was told once, and this is its first delivery.
            var here = try queues[0].makeWorker()
            let job = try await here.next(until: .after(.seconds(20)))
            #expect(try job.withBytes { $0.byteCount } == 3 << 20)
            #expect(job.attempt == 1)
            try job.acknowledge()
            #expect(all[0].log.split(separator: "\n").count { $0.contains("too large") } == 1, "\(all[0].log)")
            #expect(try !all[0].root.names().contains(ChannelName(Self.name + "/dead-letters")))
        }

        /// Its machine's queue is smaller than that of the machine that sent it.
        @Test(.timeLimit(.minutes(10))) func aJobThatDoesNotFitHoldsUpNoOther() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let all = [network.machine("a"), network.machine("b")]
            for (machine, capacity) in zip(all, [4 << 20, 1 << 18]) {
                _ = try AnyChannel.create(
                    .workQueue, Self.name, in: machine.root, ChannelOptions(lifetime: .kept, capacity: capacity))
                try machine.configure(Self.rule)
                try machine.startBridge()
            }
            let queue = try AnyChannel.open(Self.name, in: all[1].root)
            let (worker, other) = (try Box(queue.makeReader()), try Box(queue.makeReader()))
            var producer = try AnyChannel.open(Self.name, in: all[0].root).makeWriter()
            try await producer.write(Array("first".utf8).span.bytes, until: .after(.seconds(10)))
            let first = try await worker.value.take(until: .after(.seconds(30)))
            try await producer.write([UInt8](repeating: 1, count: 600_000).span.bytes, until: .after(.seconds(10)))
            try await producer.write(Array("last".utf8).span.bytes, until: .after(.seconds(10)))
            let last = try await other.value.take(until: .after(.seconds(30)))
            #expect(try last.bytes == Array("last".utf8), "\(all[1].log)")
            try last.acknowledge()
            // The server is told of that which a worker has, for longer than its wait.
            try await Task.sleep(for: .seconds(6))
            try first.acknowledge()
            #expect(throws: IPCError.self) { _ = try worker.value.take(until: .after(.seconds(2))) }
            #expect(all[1].log.split(separator: "\n").count { $0.contains("cannot be written on this machine") } == 1)
        }
    }
#endif
