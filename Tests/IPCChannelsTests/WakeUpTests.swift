import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

@testable import IPCChannels

/// Whoever stops holding somebody back wakes them, however they wait: `Documentation/waiting.md`, each row a test.
@Suite(.serialized, .timeLimit(.minutes(5))) struct WakeUpTests {
    /// A participant for a task or a thread to use.
    private final class Box<Value: ~Copyable>: @unchecked Sendable {
        var value: Value?
        init(_ value: consuming Value) { self.value = consume value }
    }

    /// With several threads the kernel waits for all processors at it, on a busy machine for seconds: whoever joins would wait, and a task
    /// would hold its thread.
    @Test func aProcessRegistersForFencesBeforeItHasThreads() throws {
        // It finds no channel, and ends; which asynchronous program it is does not matter.
        let (status, text) = try Peer(
            "strace",
            [
                // A leak sanitizer cannot work under strace, and says so.
                "-f", "-qq", "-e", "signal=none", "-e", "trace=membarrier,clone,clone3", "-o", "/dev/stdout", "-E",
                "ASAN_OPTIONS=detect_leaks=0", product("ChannelPeer"), "use-all", uniqueName(),
            ]
        ).finish()
        let calls = text.split(separator: "\n").filter { $0.contains("membarrier(") || $0.contains("clone") }
        #expect(calls.count > 1)
        #expect(calls.first?.contains("MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED") == true, "\(status) \(text)")
    }

    /// How somebody waits for room.
    enum Way: CaseIterable { case thread, task, waitSet, bell }

    /// Tasks of these tests do not wait for Swift's pool, whose threads other tests block.
    private static let loop = try! EventLoop()
    private static let large = [UInt8](repeating: 1, count: 30_000)

    private static func waitForRoom(
        _ way: Way, _ publisher: Box<Topic<RawBytes>.Publisher>
    ) async throws {
        let deadline = Deadline.after(.seconds(20))
        switch way {
        case .thread:
            let thread = try PlainThread { () throws(IPCError) in
                try publisher.value!.publish(large.span.bytes, until: deadline)
            }
            if let error = thread.join() { throw error }
        case .task: try await publisher.value!.publish(large.span.bytes, until: deadline)
        case .waitSet:
            let set = try WaitSet()
            let ready = try await set.wait(until: deadline) { (sources) throws(IPCError) in
                sources.add(publisher.value!.readiness(forRoom: large.count))
            }
            #expect(ready == [0])
            #expect(try publisher.value!.tryPublish(large.span.bytes))
        case .bell:
            let bell = try ReadinessDescriptor()
            while try publisher.value!.readiness(forRoom: large.count).arm(bell) {
                var request = pollfd(fd: bell.descriptor.rawValue, events: Int16(POLLIN), revents: 0)
                #expect(poll(&request, 1, 20_000) == 1)
                bell.clear()
            }
            #expect(try publisher.value!.tryPublish(large.span.bytes))
        }
    }

    /// How long it takes from `change` on until one that waits for room has published. The shortest of a few tries, since others
    /// use the processor.
    private static func wakeUp(
        _ way: Way, writers: ChannelOptions.Writers = .exclusive,
        _ prepare: (Topic<RawBytes>, Box<Topic<RawBytes>.Publisher>) throws -> @Sendable () throws -> Void
    ) async throws -> Duration {
        var best = Duration.seconds(1000)
        for _ in 0..<20 where best >= .milliseconds(20) {
            let topic = try Topic<RawBytes>.openOrCreate(
                channelName(), ChannelOptions(writers: writers, lifetime: .kept, capacity: 65_536))
            defer { try? Topic<RawBytes>.remove(topic.name.description) }
            let publisher = Box(try topic.makePublisher())
            let change = try prepare(topic, publisher)
            let took = Task(executorPreference: loop) { () -> ContinuousClock.Instant in
                try await waitForRoom(way, publisher)
                return ContinuousClock.now
            }
            // Asleep by then, or it finds the room at once.
            usleep(150_000)
            let start = ContinuousClock.now
            try change()
            best = min(best, try await took.value - start)
            publisher.value = nil
        }
        return best
    }

    @Test(arguments: Way.allCases) func oneThatLeavesWakesPublishers(way: Way) async throws {
        let took = try await Self.wakeUp(way) { topic, publisher in
            let subscription = Box(try topic.makeSubscription(from: .oldest))
            while try publisher.value!.tryPublish(Self.large.span.bytes) {}
            return { subscription.value = nil }
        }
        #expect(took < .milliseconds(20))
    }

    @Test(arguments: Way.allCases) func oneThatReadsWakesPublishers(way: Way) async throws {
        let took = try await Self.wakeUp(way) { topic, publisher in
            let subscription = Box(try topic.makeSubscription(from: .oldest))
            while try publisher.value!.tryPublish(Self.large.span.bytes) {}
            return { _ = try subscription.value!.receiveAvailable { (_) throws(IPCError) in } }
        }
        #expect(took < .milliseconds(20))
    }

    /// A claim that is not committed holds back the writer that comes round to it.
    @Test(arguments: Way.allCases) func oneThatCommitsWakesOtherPublishers(way: Way) async throws {
        let took = try await Self.wakeUp(way, writers: .shared) { topic, publisher in
            let other = Box(try topic.makePublisher())
            let (hasClaimed, isToCommit) = (Flag(), Flag())
            let thread = try PlainThread { () throws(IPCError) in
                try other.value!.publish(upTo: 10) { (_) throws(IPCError) in
                    hasClaimed.set()
                    isToCommit.wait()
                }
            }
            hasClaimed.wait()
            while try publisher.value!.tryPublish(Self.large.span.bytes) {}
            return {
                isToCommit.set()
                #expect(thread.join() == nil)
            }
        }
        #expect(took < .milliseconds(20))
    }

    /// A subscriber that joins holds publishers back for a moment, at its cursor 0. They are never stuck.
    @Test func oneThatJoinsLeavesNoPublisherAsleep() async throws {
        let topic = try Topic<UInt64>.openOrCreate(channelName(), ChannelOptions(capacity: 65_536))
        let publisher = Box(try topic.makePublisher())
        let count = 20_000 as UInt64
        let task = Task(executorPreference: Self.loop) {
            for number in 0..<count { try await publisher.value!.publish(number, until: .after(.seconds(20))) }
        }
        let isOver = Flag()
        let joiner = try PlainThread { () throws(IPCError) in
            while !isOver.isSet {
                var subscription = try topic.makeSubscription(from: [.next, .oldest, .last(3)].randomElement()!)
                for _ in 0..<20 { _ = try subscription.tryReceive() }
            }
        }
        try await task.value
        isOver.set()
        #expect(joiner.join() == nil)
    }

    @Test(arguments: Way.allCases) func aRemovalIsToldToThoseWhoWait(way: Way) async throws {
        let topic = try Topic<RawBytes>.openOrCreate(channelName(), ChannelOptions(lifetime: .kept, capacity: 65_536))
        let publisher = Box(try topic.makePublisher())
        let subscription = Box(try topic.makeSubscription(from: .oldest))
        while try publisher.value!.tryPublish(Self.large.span.bytes) {}
        let task = Task(executorPreference: Self.loop) { () -> (IPCError.Code?, ContinuousClock.Instant) in
            do {
                try await Self.waitForRoom(way, publisher)
                return (nil, ContinuousClock.now)
            } catch {
                return ((error as? IPCError)?.code, ContinuousClock.now)
            }
        }
        usleep(100_000)
        let start = ContinuousClock.now
        try Topic<RawBytes>.remove(topic.name.description)
        let (code, end) = await task.value
        #expect(code == .removed)
        #expect(end - start < .seconds(2))
        // What is there is still received; one that polls after that is told too, within a moment.
        var received = 0
        var told: IPCError.Code?
        let patience = Deadline.after(.seconds(5))
        while told == nil, !patience.hasPassed {
            told =
                failure { () throws(IPCError) in
                    if try subscription.value!.tryReceive({ $0.byteCount }) != nil { received += 1 }
                }?.code
            usleep(1000)
        }
        #expect(told == .removed)
        #expect(received == 2)
    }

    @Test func anExecIsNoticedByThreadsAndTasks() async throws {
        for way in Way.allCases {
            var best = Duration.seconds(1000)
            for _ in 0..<20 where best >= .milliseconds(120) {
                let topic = try Topic<RawBytes>.openOrCreate(
                    channelName(), ChannelOptions(lifetime: .kept, capacity: 65_536))
                defer { try? Topic<RawBytes>.remove(topic.name.description) }
                let publisher = Box(try topic.makePublisher())
                let peer = try Peer(product("ChannelPeer"), ["exec-while-subscribed", topic.name.description])
                #expect(try peer.said() == "ready\n")
                while try publisher.value!.tryPublish(Self.large.span.bytes) {}
                let task = Task(executorPreference: Self.loop) { () -> ContinuousClock.Instant in
                    try await Self.waitForRoom(way, publisher)
                    return ContinuousClock.now
                }
                #expect(try peer.said() == "became another\n")
                let start = ContinuousClock.now
                best = min(best, try await task.value - start)
                try peer.kill()
            }
            // Promised are 100 ms; the shell has a little to do before it says so.
            #expect(best < .milliseconds(120), "\(way)")
        }
    }

    /// Two wait sets, two tasks on threads of their own, and the pool, all on calls of one client.
    @Test func severalWaitsOfOneClientAreAllWoken() async throws {
        struct Refusal: Error, BitwiseCopyable, Equatable { var code: UInt8 }
        let service = try ServiceChannel<UInt64, UInt64, Refusal>.openOrCreate(channelName())
        let server = Box(try service.makeServer())
        for _ in 0..<10 {
            let client = Box(try service.makeClient())
            let deadline = Deadline.after(.seconds(20))
            let loops = [try EventLoop(), try EventLoop()]
            var tasks: [Task<ContinuousClock.Instant, any Error>] = []
            for index in 0..<4 {
                let call = Box(try await client.value!.begin(UInt64(index), until: deadline))
                tasks.append(
                    Task(executorPreference: loops[index % 2]) {
                        if index < 2 {
                            let set = try WaitSet()
                            let ready = try await set.wait(until: deadline) { (sources) throws(IPCError) in
                                sources.add(try call.value!.readiness())
                            }
                            #expect(ready == [0])
                        }
                        let reply = try await call.value.take()!.wait()
                        #expect(reply == .success(UInt64(index) + 1))
                        return ContinuousClock.now
                    })
            }
            usleep(30_000)
            let start = ContinuousClock.now
            for _ in 0..<4 {
                let call = try await server.value!.next(until: deadline)
                let request = try call.request
                try call.reply(request + 1)
            }
            for task in tasks {
                let end = try await task.value
                #expect(end - start < .seconds(5))
            }
        }
    }

    /// Tasks of several event loops wait for one participant of an event; all are woken by one call.
    @Test func tasksOfSeveralEventLoopsWaitForOneParticipant() async throws {
        let event = try Event.openOrCreate(channelName())
        let participant = Box(try event.makeParticipant())
        let notifier = try event.makeParticipant()
        let loops = try (0..<3).map { _ in try EventLoop() }
        for _ in 0..<20 {
            let tasks = loops.map { loop in
                Task(executorPreference: loop) { try await participant.value!.wait(until: .after(.seconds(20))) }
            }
            usleep(10_000)
            // All have begun, or see the notices.
            notifier.notify(count: 3)
            for task in tasks { try await task.value }
        }
    }

    // MARK: Without a descriptor

    /// Nobody else would ring it: no other process takes part.
    @Test func aProcessWithoutADescriptorRingsItsOwnBells() throws {
        let peer = try Peer(product("ChannelPeer"), ["wait-without-descriptors", channelName()])
        let (status, text) = try peer.finish(within: .seconds(30))
        #expect(status == .exited(0) && text == "rung 1 got 7\n", "\(text)")
    }

    /// Whoever could not be told is not taken for woken, and the next message tells it.
    @Test func whoCouldNotBeToldIsToldByTheNextMessage() throws {
        let topic = try Topic<UInt64>.openOrCreate(channelName())
        let subscription = try topic.makeSubscription()
        guard let membership = subscription.reader.membership else { fatalError("an observer") }
        let memory = membership.memory
        // As one that waits in another process: its wake-up pipe is a FIFO of the root, and its word is in its slot.
        let number = UInt32.random(in: 1 ... .max)
        let digits = String(number, radix: 16)
        let path = channelRoot + "/.wake-" + String(repeating: "0", count: 8 - digits.count) + digits
        #expect(mkfifo(path, 0o600) == 0)
        defer { unlink(path) }
        let end = OwnedDescriptor(adopting: FileDescriptor(rawValue: open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)))
        let word = UInt64(number) << 32 | 5
        _ = memory.wakeUpWord(.reader, membership.slot).exchange(word)
        let place = memory.waitingReaders
        place.announce()

        let peer = try Peer(product("ChannelPeer"), ["publish-without-descriptors", topic.name.description])
        #expect(try peer.said() == "published\n")
        // It was told that a publisher joined, and then nothing.
        var all: [UInt64] = [0, 0, 0]
        #expect(read(end.descriptor.rawValue, &all, 24) == 8 && all[0] == word)
        #expect(place.difference != 0)
        try peer.child.handle.send(.terminate)
        #expect(try peer.finish().text == "published again\n")
        #expect(read(end.descriptor.rawValue, &all, 24) == 8 && all[0] == word)
        #expect(place.difference == 0)
        _ = consume subscription
    }

    /// What stands in the place of a wake-up pipe is not written to.
    @Test func aFileInTheNameOfAWakeUpPipeIsNotWrittenTo() throws {
        let folder = try RootFolder.make(.current)
        let path = channelRoot + "/.wake-00000001"
        defer { unlink(path) }
        let file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        defer { close(file) }
        WakeUpPipe.signal(1 << 32 | 7, in: folder)
        #expect(lseek(file, 0, SEEK_END) == 0)
    }
}
