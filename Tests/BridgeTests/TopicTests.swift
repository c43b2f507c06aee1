#if NATS
    import Glibc
    import IPC
    @testable import IPCBridge
    import IPCChannels
    import Synchronization
    import TestSupport
    import Testing

    /// A message of 64 bytes that says which it is.
    private struct Numbered: BitwiseCopyable, Equatable {
        var publisher: UInt64
        var number: UInt64
        var rest = (UInt64(0), UInt64(0), UInt64(0), UInt64(0), UInt64(0), UInt64(0))

        static func == (one: Numbered, other: Numbered) -> Bool {
            one.publisher == other.publisher && one.number == other.number
        }
    }

    private struct Other: BitwiseCopyable {
        var price: Double
    }

    private final class PublishingEnd: Sendable {
        private let state = Mutex(false)
        var hasCome: Bool { state.withLock { $0 } }
        func come() { state.withLock { $0 = true } }
    }

    /// Topics between machines, by real bridges and a real server.
    @Suite(.serialized, .enabled(if: TestNetwork.serverProgram != nil)) struct TopicTests {
        private static let channel = "market/quotes"
        private static let rule = #"{"name": "market/**", "pattern": "topic", "delay": "1ms"}"#

        private func options(_ capacity: Int) -> ChannelOptions {
            ChannelOptions(writers: .shared, lifetime: .kept, capacity: capacity)
        }

        /// Starts the bridges of two machines that have the channel, the second with a subscriber, and waits until they carry.
        private func connect(_ here: TestMachine, _ there: TestMachine) async throws {
            for machine in [here, there] {
                try machine.configure(Self.rule)
                try machine.startBridge()
            }
            try await here.waitForParticipants(of: Self.channel, readers: 2, writers: 0)
            try await there.waitForParticipants(of: Self.channel, readers: 3, writers: 1)
        }

        /// Publishes messages 0 to `count`, as fast as it goes or with pauses.
        private func publish(
            _ topic: Topic<Numbered>, as publisher: UInt64, _ count: Int, pausing: Duration? = nil,
            each burst: Int = 100
        ) async throws {
            var writer = try topic.makePublisher()
            for number in 0..<count {
                try await writer.publish(
                    Numbered(publisher: publisher, number: UInt64(number)), until: .after(.seconds(50)))
                if let pausing, number % burst == burst - 1 { try await Task.sleep(for: pausing) }
            }
        }

        /// Receives messages until each publisher's are complete, and requires that each comes once and in order.
        private func receive(
            _ subscription: inout Topic<Numbered>.Subscription, of publishers: [UInt64], _ count: Int,
            within time: Duration = .seconds(50), seed: UInt64 = 0
        ) async throws {
            var next: [UInt64: UInt64] = [:]
            let deadline = Deadline.after(time)
            for _ in 0..<publishers.count * count {
                let message: Numbered
                do { message = try await subscription.receive(until: deadline) } catch {
                    Issue.record("\(error); so far \(next), seed \(seed)")
                    throw error
                }
                let expected = next[message.publisher, default: 0]
                try #require(
                    message.number == expected, "of publisher \(message.publisher), after \(next), seed \(seed)")
                next[message.publisher] = expected + 1
            }
            #expect(Set(next.keys) == Set(publishers) && next.values.allSatisfy { $0 == count })
            // Nothing comes after that.
            try await Task.sleep(for: .milliseconds(300))
            #expect(try subscription.tryReceive() == nil)
        }

        @Test(.timeLimit(.minutes(10))) func eachMessageOfTwoPublishersArrivesOnceAndInOrder() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let (here, there) = (network.machine("here"), network.machine("there"))
            let topic = try Topic<Numbered>.create(Self.channel, in: here.root, options(1 << 20))
            var subscription = try Topic<Numbered>.create(Self.channel, in: there.root, options(1 << 20))
                .makeSubscription()
            try await connect(here, there)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for publisher in 0..<2 as Range<UInt64> {
                    group.addTask { try await self.publish(topic, as: publisher, 50_000) }
                }
                try await receive(&subscription, of: [0, 1], 50_000)
                try await group.waitForAll()
            }
        }

        @Test(.timeLimit(.minutes(10))) func killedBridgesAndServersLoseAndDoubleNothing() async throws {
            let seed = getenv("IPC_TEST_SEED").flatMap { UInt64(String(cString: $0)) } ?? .random(in: 0...999_999)
            print("topics under kills: IPC_TEST_SEED=\(seed)")
            let network = try TestNetwork()
            defer { network.end() }
            let (here, there) = (network.machine("here"), network.machine("there"))
            // While no bridge runs, nobody holds publishers up: so the log has room for all.
            let topic = try Topic<Numbered>.create(Self.channel, in: here.root, options(32 << 20))
            var subscription = try Topic<Numbered>.create(Self.channel, in: there.root, options(1 << 20))
                .makeSubscription()
            try await connect(here, there)
            let end = PublishingEnd()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await withThrowingTaskGroup(of: Void.self) { publishers in
                        for publisher in 0..<2 as Range<UInt64> {
                            publishers.addTask {
                                try await self.publish(topic, as: publisher, 50_000, pausing: .milliseconds(20))
                            }
                        }
                        try await publishers.waitForAll()
                    }
                    end.come()
                }
                group.addTask {
                    var random = Seeded(seed)
                    while !end.hasCome {
                        try await Task.sleep(for: .milliseconds(random.number(20...700)))
                        switch random.number(0...4) {
                        case 0, 1:
                            here.killBridge()
                            try here.startBridge()
                        case 2, 3:
                            there.killBridge()
                            try there.startBridge()
                        default:
                            network.killServer()
                            try await Task.sleep(for: .milliseconds(random.number(0...500)))
                            try network.startServer()
                        }
                    }
                }
                do {
                    try await receive(&subscription, of: [0, 1], 50_000, seed: seed)
                } catch {
                    print("here:\n\(here.log.suffix(4000))\nthere:\n\(there.log.suffix(4000))")
                    throw error
                }
                try await group.waitForAll()
            }
        }

        @Test(.timeLimit(.minutes(10))) func threeMachinesInBothDirectionsMakeNoLoop() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let machines = ["one", "two", "three"].map { network.machine($0) }
            let topics = try machines.map { try Topic<Numbered>.create(Self.channel, in: $0.root, options(1 << 20)) }
            let count = 5000
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (index, topic) in topics.enumerated() {
                    let handed = try Handed(topic.makeSubscription())
                    group.addTask {
                        var subscription = handed.take()!
                        try await self.receive(&subscription, of: [0, 1, 2], count)
                    }
                    try machines[index].configure(Self.rule)
                    try machines[index].startBridge()
                }
                for machine in machines {
                    try await machine.waitForParticipants(of: Self.channel, readers: 3, writers: 2)
                }
                for (index, topic) in topics.enumerated() {
                    group.addTask { try await self.publish(topic, as: UInt64(index), count) }
                }
                try await group.waitForAll()
            }
        }

        @Test(.timeLimit(.minutes(10))) func whatIsOverwrittenWhileTheServerStandsIsTold() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let (here, there) = (network.machine("here"), network.machine("there"))
            var options = options(1 << 16)
            options.overflow = .overwrite
            let topic = try Topic<Numbered>.create(Self.channel, in: here.root, options)
            var subscription = try Topic<Numbered>.create(Self.channel, in: there.root, options).makeSubscription()
            for machine in [here, there] {
                try machine.configure(Self.rule)
                try machine.startBridge()
            }
            try await here.waitForParticipants(of: Self.channel, readers: 1, writers: 0)
            try await there.waitForParticipants(of: Self.channel, readers: 2, writers: 1)
            var publisher = try topic.makePublisher()
            try await publisher.publish(Numbered(publisher: 0, number: 0))
            _ = try await subscription.receive(until: .after(.seconds(20)))
            try network.signalServer(.stop)
            // Far more than what the log, and what is sent without an acknowledgement, may have.
            let count = 200_000
            for number in 1...count { try await publisher.publish(Numbered(publisher: 0, number: UInt64(number))) }
            try await Task.sleep(for: .seconds(1))
            try network.signalServer(.continue)
            // A gap is seen once a message follows it.
            try await publisher.publish(Numbered(publisher: 0, number: UInt64(count + 1)))
            var last: UInt64 = 0
            while last <= count {
                let message = try await subscription.receive(until: .after(.seconds(30)))
                #expect(message.number > last || message.number == 0)
                last = message.number
            }
            try await wait("the status tells") {
                let figures = try there.carriers().first { $0["direction"] == .string("in") }
                guard case .number(let carried)? = figures?["carried"], case .number(let dropped)? = figures?["dropped"]
                else { return false }
                return Int(carried)! + Int(dropped)! == count + 2 && Int(dropped)! > 0
            }
        }

        @Test(.timeLimit(.minutes(10))) func differentTypesAreRefusedAndBothAreNamed() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let (here, there) = (network.machine("here"), network.machine("there"))
            _ = try Topic<Numbered>.create(Self.channel, in: here.root, options(1 << 16))
            _ = try Topic<Other>.create(Self.channel, in: there.root, options(1 << 16))
            for machine in [here, there] {
                try machine.configure(Self.rule)
                try machine.startBridge()
            }
            try await wait("the status tells") {
                let carrier = try there.carriers().first { $0["direction"] == .string("in") }
                guard carrier?["state"] == .string("refused"), case .string(let reason)? = carrier?["reason"] else {
                    return false
                }
                return ["here", "there", "Numbered", "Other"].allSatisfy { reason.contains($0) }
            }
        }

        @Test(.timeLimit(.minutes(10))) func aServerThatLostItsStoreLosesAndDoublesNothingThatAChannelStillHas()
            async throws
        {
            let network = try TestNetwork()
            defer { network.end() }
            let (here, there) = (network.machine("here"), network.machine("there"))
            let topic = try Topic<Numbered>.create(Self.channel, in: here.root, options(1 << 20))
            var subscription = try Topic<Numbered>.create(Self.channel, in: there.root, options(1 << 20))
                .makeSubscription()
            try await connect(here, there)
            var publisher = try topic.makePublisher()
            var sent: UInt64 = 0
            func publish(_ count: Int) async throws {
                for _ in 0..<count {
                    try await publisher.publish(Numbered(publisher: 0, number: sent), until: .after(.seconds(20)))
                    sent += 1
                    // Each in a batch of its own: the new stream gets a sequence for each.
                    try await Task.sleep(for: .milliseconds(5))
                }
            }
            var received: UInt64 = 0
            func receive() async throws {
                while received < sent {
                    let message = try await subscription.receive(until: .after(.seconds(60)))
                    try #require(message.number == received, "\(there.log)")
                    received += 1
                }
            }
            try await publish(20)
            try await receive()
            // The reading bridge does not run while the other one makes the stream anew, and fills it beyond what was read.
            try there.signalBridge(.stop)
            try network.loseStore()
            try await publish(40)
            try await wait("the stream is there: \(here.log)") {
                try here.carriers().contains { $0["direction"] == .string("out") && $0["behind"] == .number("0") }
            }
            try there.signalBridge(.continue)
            try await receive()
            // Neither runs: the one that sends is started first.
            for machine in [here, there] { machine.killBridge() }
            try network.loseStore()
            try here.startBridge()
            try await here.waitForParticipants(of: Self.channel, readers: 2, writers: 0)
            try await publish(40)
            try there.startBridge()
            try await receive()
            try await Task.sleep(for: .milliseconds(300))
            #expect(try subscription.tryReceive() == nil)
            // What the machines have is in the new directory: another one learns of it.
            let third = network.machine("third")
            try third.configure(Self.rule)
            try third.startBridge()
            try await wait("the third machine has the channel: \(third.log)") {
                (try? Topic<Numbered>.open(Self.channel, in: third.root)) != nil
            }
        }

        @Test(.timeLimit(.minutes(10))) func aRunningBridgeTellsANewStoreWhatItsMachineHas() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let (here, there) = (network.machine("here"), network.machine("there"))
            _ = try Topic<Numbered>.create(Self.channel, in: here.root, options(1 << 20))
            try here.configure(Self.rule)
            try here.startBridge()
            try await here.waitForParticipants(of: Self.channel, readers: 2, writers: 0)
            try network.loseStore()
            try there.configure(Self.rule)
            try there.startBridge()
            try await wait("the channel is there: \(there.log)") {
                (try? Topic<Numbered>.open(Self.channel, in: there.root)) != nil
            }
        }

        @Test(.timeLimit(.minutes(10))) func aBridgeKeepsTheNameOfItsMachine() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let here = network.machine("here")
            _ = try Topic<Numbered>.create(Self.channel, in: here.root, options(1 << 16))
            try here.configure(Self.rule)
            try here.startBridge()
            try await here.waitForParticipants(of: Self.channel, readers: 2, writers: 0)
            here.killBridge()
            let renamed = TestMachine("renamed", in: network, root: here.root)
            try renamed.configure(Self.rule)
            try renamed.startBridge()
            try await wait("the bridge refuses") { renamed.log.contains("those of the machine here, not renamed") }
        }

        @Test(.timeLimit(.minutes(10))) func bestEffortKeepsNoMoreThanItsBufferForSubscribersThatAreBehind()
            async throws
        {
            let network = try TestNetwork()
            defer { network.end() }
            let (here, there) = (network.machine("here"), network.machine("there"))
            let rule = #"{"name": "market/**", "pattern": "topic", "delivery": "best-effort"}"#
            let topic = try Topic<RawBytes>.create(Self.channel, in: here.root, options(1 << 20))
            // Nothing is taken here, so that there is no room after the first ones.
            let subscription = try Topic<RawBytes>.create(Self.channel, in: there.root, options(1 << 20))
                .makeSubscription()
            for machine in [here, there] {
                try machine.configure(rule)
                try machine.startBridge()
            }
            try await here.waitForParticipants(of: Self.channel, readers: 1, writers: 0)
            try await there.waitForParticipants(of: Self.channel, readers: 2, writers: 1)
            var publisher = try topic.makePublisher()
            let bytes = [UInt8](repeating: 7, count: 60_000)
            let count = 3000
            for _ in 0..<count { try await publisher.publish(bytes.span.bytes, until: .after(.seconds(20))) }
            try await wait("the status tells what was dropped: \(there.log)") {
                let figures = try there.carriers().first { $0["direction"] == .string("in") }
                guard case .number(let dropped)? = figures?["dropped"] else { return false }
                // 180 MB came, and 64 MiB of them may wait.
                return Int(dropped)! > count / 3
            }
            _ = consume subscription
        }

        @Test(.timeLimit(.minutes(10))) func whatTheLimitsDroppedIsToldToSubscribers() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let (here, there) = (network.machine("here"), network.machine("there"))
            let rule = #"{"name": "market/**", "pattern": "topic", "delay": "0ms", "keep": {"batches": 3}}"#
            let topic = try Topic<Numbered>.create(Self.channel, in: here.root, options(1 << 20))
            var subscription = try Topic<Numbered>.create(Self.channel, in: there.root, options(1 << 20))
                .makeSubscription()
            for machine in [here, there] {
                try machine.configure(rule)
                try machine.startBridge()
            }
            try await here.waitForParticipants(of: Self.channel, readers: 2, writers: 0)
            try await there.waitForParticipants(of: Self.channel, readers: 3, writers: 1)
            var publisher = try topic.makePublisher()
            try await publisher.publish(Numbered(publisher: 0, number: 0))
            #expect(try await subscription.receive(until: .after(.seconds(20))).number == 0)
            there.killBridge()
            for number in 1...12 as ClosedRange<UInt64> {
                try await publisher.publish(Numbered(publisher: 0, number: number))
                // Each in a batch of its own.
                try await Task.sleep(for: .milliseconds(20))
            }
            try await wait("all are stored: \(here.log)") {
                try here.carriers().contains { $0["direction"] == .string("out") && $0["behind"] == .number("0") }
            }
            try there.startBridge()
            for number in 10...12 as ClosedRange<UInt64> {
                #expect(try await subscription.receive(until: .after(.seconds(20))).number == number)
            }
            #expect(subscription.takeMissed() == 9, "\(there.log)")
        }

        @Test(.timeLimit(.minutes(10))) func largeMessagesTravelInParts() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let (here, there) = (network.machine("here"), network.machine("there"))
            let topic = try Topic<RawBytes>.create(Self.channel, in: here.root, options(16 << 20))
            var subscription = try Topic<RawBytes>.create(Self.channel, in: there.root, options(16 << 20))
                .makeSubscription()
            try await connect(here, there)
            let sizes = [
                0, 1, 61_439, 61_440, 61_441, 65_536, 200_000, 1_044_000, 1_048_576, 3_000_001, 5, 7_000_000, 0,
            ]
            var publisher = try topic.makePublisher()
            for (index, size) in sizes.enumerated() {
                let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ index) }
                try await publisher.publish(bytes.span.bytes, until: .after(.seconds(20)))
            }
            for (index, size) in sizes.enumerated() {
                let isRight = try await subscription.receive(until: .after(.seconds(20))) { (bytes) throws(IPCError) in
                    bytes.withUnsafeBytes { bytes in
                        bytes.count == size
                            && bytes.enumerated().allSatisfy { $1 == UInt8(truncatingIfNeeded: $0 &* 31 &+ index) }
                    }
                }
                #expect(isRight, "message \(index) of \(size) bytes")
            }
        }

        /// With a thread of its own, an export reads what comes from elsewhere without a pause.
        @Test(.timeLimit(.minutes(5))) func aDoubtIsSettledThoughOnlyOtherMachinesPublish() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let (here, there) = (network.machine("here"), network.machine("there"))
            for machine in [here, there] {
                _ = try Topic<Numbered>.create(Self.channel, in: machine.root, options(1 << 20))
                try machine.configure(#"{"name": "market/**", "pattern": "topic", "delay": "0ms"}"#)
                try machine.startBridge()
            }
            for machine in [here, there] {
                try await machine.waitForParticipants(of: Self.channel, readers: 2, writers: 1)
            }
            let others = Task {
                var writer = try Topic<Numbered>.open(Self.channel, in: there.root).makePublisher()
                for number in 0... {
                    try Task.checkCancellation()
                    try await writer.publish(Numbered(publisher: 2, number: UInt64(number)))
                    usleep(500)
                }
            }
            defer { others.cancel() }
            var subscription = try Topic<Numbered>.open(Self.channel, in: there.root).makeSubscription()
            var writer = try Topic<Numbered>.open(Self.channel, in: here.root).makePublisher()
            let connection = try NATSConnection(
                ServerConfiguration(servers: ["nats://127.0.0.1:\(network.port)"]), name: "test")
            try await connection.waitUntilConnected()
            let stream = ServerNames(prefix: "ipc").stream(
                .topic, of: try #require(Machine("here")), try ChannelName(Self.channel))
            for round in 0..<3 as Range<UInt64> {
                if round > 0 { _ = try await connection.api("STREAM.DELETE.\(stream)", what: "delete") }
                try await writer.publish(Numbered(publisher: 1, number: round))
                let deadline = Deadline.after(.seconds(20))
                while true {
                    let message = try await subscription.receive(until: deadline)
                    try #require(!deadline.hasPassed, "round \(round): \(here.log)")
                    if message.publisher == 1, message.number == round { break }
                }
            }
            await connection.close()
        }
    }
#endif
