import Foundation
import IPC
import IPCChannels
import InMemoryTracing
import Logging
import Metrics
import MetricsTestKit
import NIOCore
import NIOPosix
import ServiceLifecycle
import Synchronization
import Testing
import Tracing

/// The traits with the packages that they are for. Bootstrapped once, as programs do.
@Suite(.serialized, .timeLimit(.minutes(10))) struct EcosystemTests {
    private static let metrics = TestMetrics()
    private static let tracer = InMemoryTracer()
    private static let lines = Lines()
    private static let root: String = {
        let path = "/dev/shm/ipc-test-\(getpid())"
        setenv("IPC_ROOT", path, 1)
        atexit {
            // With the wake-up pipes of those who waited to the end.
            try? FileManager.default.removeItem(atPath: EcosystemTests.root)
        }
        MetricsSystem.bootstrap(metrics)
        InstrumentationSystem.bootstrap(tracer)
        LoggingSystem.bootstrap { _ in lines.handler }
        return path
    }()

    private func name() -> String {
        _ = Self.root
        return "test/\(UInt32.random(in: 0 ... .max))"
    }

    // MARK: A newcomer's program

    /// It compiles as it is written, which is the point of it; and it leaves nothing but its queues, since the next run takes away
    /// the other channels: what is at the top level of a program is never destroyed.
    @Test func whatIsWrittenFromTheReadmeAloneRuns() throws {
        let root = FileManager.default.temporaryDirectory.appending(path: "ipc-test-newcomer-\(getpid())").path
        try FileManager.default.createDirectory(
            atPath: root, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        defer { try? FileManager.default.removeItem(atPath: root) }
        for _ in 0..<3 {
            let program = Process()
            program.executableURL = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
                .deletingLastPathComponent().appending(path: "Newcomer")
            program.environment = ["IPC_ROOT": root]
            let output = Pipe()
            program.standardOutput = output
            try program.run()
            let text = try output.fileHandleForReading.readToEnd() ?? Data()
            program.waitUntilExit()
            #expect(program.terminationStatus == 0)
            #expect(
                String(decoding: text, as: UTF8.self) == """
                    symbol 7 costs 12.5
                    a frame of 3 bytes
                    order 4711 is out of stock
                    order 4711
                    order 4712, attempt 1
                    the sum of the roots is 10.0
                    refused: negative
                    21.5 degrees
                    changed
                    for Ada: gear, cam

                    """)
        }
        // The last one's, of which whoever comes next takes away all but the queues.
        let left = try ChannelRoot(.init(root)).names().map(\.description)
        #expect(
            Set(left).isSubset(of: [
                "market/quotes", "camera/frames", "orders", "math/roots", "room/temperature", "configuration/changed",
                "parcels",
            ]))
    }

    // MARK: Lifecycle

    private struct Refusal: Error, BitwiseCopyable, Equatable {}

    @Test func aServiceFinishesWhatItHasWhenItIsToStop() async throws {
        let service = try IPCChannels.ServiceChannel<UInt64, UInt64, Refusal>.openOrCreate(name())
        let started = Mark()
        let served = service.service { (number, _) async throws(Refusal) in
            started.set()
            try? await Task.sleep(for: .milliseconds(200))
            return number + 1
        }
        let group = ServiceGroup(
            configuration: .init(services: [.init(service: served)], logger: Logger(label: "test")))
        let running = Task { try await group.run() }
        let call = Task {
            var client = try service.makeClient()
            return try await client.call(41, until: .after(.seconds(60)))
        }
        while !started.isSet { try await Task.sleep(for: .milliseconds(1)) }
        await group.triggerGracefulShutdown()
        #expect(try await call.value == .success(42))
        try await running.value
    }

    @Test func aWorkerFinishesWhatItHasWhenItIsToStop() async throws {
        let queue = try WorkQueue<UInt64>.openOrCreate(name(), ChannelOptions(lifetime: .whileUsed))
        var producer = try queue.makeProducer()
        for number in 0..<10 as Range<UInt64> { try await producer.send(number) }
        let done = Counter()
        let worker = queue.service(concurrency: 2) { delivery in
            try await Task.sleep(for: .milliseconds(50))
            done.add()
        }
        let group = ServiceGroup(
            configuration: .init(services: [.init(service: worker)], logger: Logger(label: "test")))
        let running = Task { try await group.run() }
        while done.value < 2 { try await Task.sleep(for: .milliseconds(1)) }
        await group.triggerGracefulShutdown()
        try await running.value
        // The rest is untouched, and another's.
        var rest = try queue.makeWorker()
        var left = 0
        while let job = try rest.tryNext() {
            #expect(job.attempt == 1)
            try job.acknowledge()
            left += 1
        }
        #expect(done.value + left == 10 && left > 0)
    }

    // MARK: Metrics, logging, tracing

    @Test func figuresAreToldAndDeathsAreLogged() async throws {
        let queue = try WorkQueue<UInt64>.openOrCreate(name(), ChannelOptions(lifetime: .whileUsed), maximumAttempts: 1)
        var producer = try queue.makeProducer()
        for number in 0..<3 as Range<UInt64> { try await producer.send(number) }
        var worker = try queue.makeWorker()
        try worker.tryNext()?.reject()
        _ = try worker.tryNext()
        try ChannelMetrics([queue.name]).record()
        let dimensions = [("channel", queue.name.description)]
        func value(_ label: String) throws -> Double? { try Self.metrics.expectMeter(label, dimensions).lastValue }
        #expect(try value("ipc.messages") == 3)
        #expect(try value("ipc.redeliveries") ?? 0 >= 1)
        #expect(try value("ipc.participants") == 2)
        #expect(Self.lines.all.contains { $0.contains("dead letters") && $0.contains(queue.name.description) })
        try WorkQueue<UInt64>.remove(queue.name.description + "/dead-letters")
    }

    @Test func aTracesContextTravelsInAMessage() throws {
        struct Order: BitwiseCopyable { var number: UInt32 }
        _ = Self.root
        let topic = try Topic<Traced<Order>>.openOrCreate(name())
        var subscription = try topic.makeSubscription()
        var publisher = try topic.makePublisher()
        let sent = try withSpan("send") { span in
            try publisher.publish(Traced(Order(number: 7)))
            return span.context.inMemorySpanContext?.traceID
        }
        try publisher.publish(Traced(Order(number: 8), context: nil))
        let first = try subscription.receive()
        #expect(first.message.number == 7)
        #expect(sent != nil && first.context.inMemorySpanContext?.traceID == sent)
        let inner = first.withContext { withSpan("handle") { $0.context.inMemorySpanContext?.traceID } }
        #expect(inner == sent)
        let second = try subscription.receive()
        #expect(second.context.inMemorySpanContext == nil)

        // The same over a queue, and to a service.
        let queue = try WorkQueue<Traced<Order>>.openOrCreate(name(), ChannelOptions(writers: .shared))
        var producer = try queue.makeProducer()
        var worker = try queue.makeWorker()
        let service = try IPCChannels.ServiceChannel<Traced<Order>, UInt32, Refusal>.openOrCreate(name())
        var server = try service.makeServer()
        var client = try service.makeClient()
        let (trace, call) = try withSpan("order") { span in
            try producer.send(Traced(Order(number: 9)))
            let call = try client.begin(Traced(Order(number: 10)), until: .after(.seconds(5)))
            return (span.context.inMemorySpanContext?.traceID, Pending(call))
        }
        let job = try worker.next()
        #expect(trace != nil && job.message.context.inMemorySpanContext?.traceID == trace)
        try job.acknowledge()
        let request = try server.next()
        let order = try request.request
        #expect(order.context.inMemorySpanContext?.traceID == trace && order.message.number == 10)
        try request.reply(1)
        #expect(try call.take().wait() == .success(1))

        // In the metadata of a call, whatever its type is.
        let (ordered, plain) = try withSpan("order") { span in
            var options = CallOptions()
            options.inject(span.context)
            let call = try client.begin(Traced(Order(number: 11), context: nil), options, until: .after(.seconds(5)))
            return (span.context.inMemorySpanContext?.traceID, Pending(call))
        }
        let other = try server.next()
        #expect(ordered != nil && other.serviceContext.inMemorySpanContext?.traceID == ordered)
        try other.reply(2)
        #expect(try plain.take().wait() == .success(2))
    }

    private final class Pending: @unchecked Sendable {
        private var call: PendingCall<UInt32, Refusal>?
        init(_ call: consuming PendingCall<UInt32, Refusal>) { self.call = consume call }
        func take() -> PendingCall<UInt32, Refusal> { call.take()! }
    }

    // MARK: SwiftNIO

    /// A channel's messages, taken on NIO's own event loop when the wake-up pipe's descriptor is readable.
    private final class BellHandler: ChannelInboundHandler, @unchecked Sendable {
        typealias InboundIn = ByteBuffer
        private let bell: ReadinessDescriptor
        private let held: Subscriber
        private let done: EventLoopPromise<[UInt64]>
        private var got: [UInt64] = []

        init(_ bell: ReadinessDescriptor, _ held: Subscriber, _ done: EventLoopPromise<[UInt64]>) {
            self.bell = bell
            self.held = held
            self.done = done
        }

        func channelActive(context: ChannelHandlerContext) { take() }
        func channelRead(context: ChannelHandlerContext, data: NIOAny) { take() }

        private func take() {
            do {
                repeat {
                    while let number = try held.subscription.tryReceive() { got.append(number) }
                } while try !held.subscription.readiness().arm(bell)
                if got.count >= 100 { done.succeed(got) }
            } catch { done.fail(error) }
        }
    }

    private final class Subscriber: @unchecked Sendable {
        var subscription: Topic<UInt64>.Subscription
        init(_ subscription: consuming Topic<UInt64>.Subscription) { self.subscription = subscription }
    }

    @Test func aChannelIsReadOnNIOsEventLoop() async throws {
        let topic = try Topic<UInt64>.openOrCreate(name())
        let bell = try ReadinessDescriptor()
        let held = Subscriber(try topic.makeSubscription())
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let done = loop.makePromise(of: [UInt64].self)
        // NIO reads the wake-up pipe itself, and closes what it was given.
        let descriptor = dup(bell.descriptor.rawValue)
        let channel = try await NIOPipeBootstrap(group: loop).channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(BellHandler(bell, held, done))
            }
        }.takingOwnershipOfDescriptor(input: descriptor).get()
        var publisher = try topic.makePublisher()
        for number in 0..<100 as Range<UInt64> {
            try await publisher.publish(number)
            if number % 7 == 0 { try await Task.sleep(for: .milliseconds(1)) }
        }
        #expect(try await done.futureResult.get() == Array(0..<100))
        try await channel.close()
    }
}

private final class Mark: Sendable {
    private let flag = Atomic(false)
    func set() { flag.store(true, ordering: .releasing) }
    var isSet: Bool { flag.load(ordering: .acquiring) }
}

private final class Counter: Sendable {
    private let count = Atomic(0)
    func add() { count.add(1, ordering: .relaxed) }
    var value: Int { count.load(ordering: .relaxed) }
}

/// What was logged.
private final class Lines: Sendable {
    private let lines = Mutex<[String]>([])
    var all: [String] { lines.withLock { $0 } }
    func add(_ line: String) { lines.withLock { $0.append(line) } }
    var handler: any LogHandler { Handler(lines: self) }

    private struct Handler: LogHandler {
        let lines: Lines
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.debug
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) { lines.add("\(event.message) \(event.metadata ?? [:])") }
    }
}
