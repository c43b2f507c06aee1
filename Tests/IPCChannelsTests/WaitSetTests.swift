import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

/// Waiting for several things at once, and the readiness of channels as a descriptor.
@Suite(.timeLimit(.minutes(10))) struct WaitSetTests {
    private static var patience: Deadline { .after(.seconds(120)) }

    @Test func anyOfSeveralKindsEndsTheWait() throws {
        let topic = try Topic<UInt64>.openOrCreate(channelName())
        let queue = try WorkQueue<UInt64>.openOrCreate(channelName(), ChannelOptions(lifetime: .whileUsed))
        let event = try Event.openOrCreate(channelName())
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        var worker = try queue.makeWorker()
        var participant = try event.makeParticipant()
        let pipe = try AnonymousPipe()
        let set = try WaitSet()
        func wait(until deadline: Deadline = Self.patience) throws(IPCError) -> Set<Int> {
            try set.wait(until: deadline) { (sources) throws(IPCError) in
                sources.add(&subscription)
                sources.add(&worker)
                sources.add(&participant)
                sources.add(pipe.reader.descriptor)
            }
        }
        #expect(try wait(until: .after(.milliseconds(10))).isEmpty)
        try publisher.publish(1)
        #expect(try wait() == [0])
        try pipe.writer.write(([1] as [UInt8]).span.bytes)
        #expect(try wait() == [0, 3])
        #expect(try subscription.tryReceive() == 1)
        #expect(try wait() == [3])
        _ = try bytes(capacity: 8) { (buffer) throws(IPCError) in try pipe.reader.read(into: &buffer) }
        var producer = try queue.makeProducer()
        try producer.send(5)
        #expect(try wait() == [1])
        try worker.next(until: .immediate).acknowledge()
        participant.notify()
        #expect(try wait() == [2])
        let isTaken = participant.tryWait()
        #expect(isTaken)
        #expect(try wait(until: .immediate).isEmpty)
    }

    @Test func aThreadIsWokenByWhateverComesFirst() throws {
        let topic = try Topic<UInt64>.openOrCreate(channelName())
        var subscription = try topic.makeSubscription()
        let pipe = try AnonymousPipe()
        let set = try WaitSet()
        for round in 0..<50 as Range<UInt64> {
            let writer = pipe.writer.descriptor
            let thread = try PlainThread { () throws(IPCError) in
                usleep(UInt32.random(in: 0..<500))
                if round % 2 == 0 {
                    var publisher = try topic.makePublisher()
                    try publisher.publish(round)
                } else {
                    _ = withUnsafeBytes(of: round) { write(writer.rawValue, $0.baseAddress, 1) }
                }
            }
            let ready = try set.wait(until: Self.patience) { (sources) throws(IPCError) in
                sources.add(&subscription)
                sources.add(pipe.reader.descriptor)
            }
            #expect(ready == [round % 2 == 0 ? 0 : 1])
            #expect(thread.join() == nil)
            if round % 2 == 0 {
                #expect(try subscription.tryReceive() == round)
            } else {
                _ = try bytes(capacity: 8) { (buffer) throws(IPCError) in try pipe.reader.read(into: &buffer) }
            }
        }
    }

    @Test func aTaskIsSuspendedAndCancelled() async throws {
        let topic = try Topic<UInt64>.openOrCreate(channelName())
        var subscription = try topic.makeSubscription()
        let publisher = try PlainThread { () throws(IPCError) in
            var publisher = try topic.makePublisher()
            usleep(20_000)
            try publisher.publish(3)
        }
        let set = try WaitSet()
        let ready = try await set.wait(until: Self.patience) { (sources) throws(IPCError) in sources.add(&subscription)
        }
        #expect(ready == [0])
        #expect(publisher.join() == nil)
        let task = Task {
            var subscription = try topic.makeSubscription()
            let set = try WaitSet()
            _ = try await set.wait { (sources) throws(IPCError) in sources.add(&subscription) }
        }
        task.cancel()
        let outcome = await task.result
        #expect(throws: IPCError.self) { try outcome.get() }
    }

    @Test func aBellTellsOfADeath() throws {
        let topic = try Topic<UInt64>.openOrCreate(channelName())
        var subscription = try topic.makeSubscription()
        let bell = try ReadinessDescriptor()
        // Dies when it has published, before it signals.
        for _ in 0..<10 {
            let peer = try Peer(
                product("ChannelPeer"), ["publish-number", topic.name.description, "7"],
                environment: ["IPC_ROOT=\(channelRoot)", "IPC_KILL_POINT=wake.flag"])
            _ = try peer.said()
            bell.clear()
            while try subscription.readiness().arm(bell) {
                var request = pollfd(fd: bell.descriptor.rawValue, events: Int16(POLLIN), revents: 0)
                #expect(poll(&request, 1, 20_000) == 1)
                bell.clear()
            }
            #expect(try subscription.tryReceive() == 7)
            if try peer.finish().status == .signaled(.kill) { return }
        }
        Issue.record("no publisher died where it should")
    }

    /// One that is made for each wait goes with it, whatever it was armed for.
    @Test func waitSetsOfOneParticipantLeaveNothing() async throws {
        let topic = try Topic<UInt64>.openOrCreate(channelName())
        var subscription = try topic.makeSubscription()
        var other = try topic.makeSubscription()
        var publisher = try topic.makePublisher()
        func bells() -> Int {
            var found = glob_t()
            defer { globfree(&found) }
            glob(channelRoot + "/.wake-*", 0, nil, &found)
            return Int(found.gl_pathc)
        }
        var before = (descriptors: 0, bells: 0)
        for round in 0..<100 {
            let set = try WaitSet()
            let bell = try ReadinessDescriptor()
            #expect(try other.readiness().arm(bell))  // and never signalled
            #expect(try publisher.tryPublish(1))
            let ready = try await set.wait(until: Self.patience) { (sources) throws(IPCError) in
                sources.add(&subscription)
            }
            #expect(ready == [0])
            while try subscription.tryReceive() != nil {}
            while try other.tryReceive() != nil {}
            let none = try await set.wait(until: .immediate) { (sources) throws(IPCError) in sources.add(&subscription)
            }
            #expect(none.isEmpty)
            if round == 0 { before = (openDescriptorCount(), bells()) }
        }
        #expect(openDescriptorCount() <= before.descriptors && bells() <= before.bells)
    }

    @Test func allOfManyReadyDescriptorsAreTold() throws {
        let set = try WaitSet()
        let pipe = try AnonymousPipe()
        try pipe.writer.write(([1] as [UInt8]).span.bytes)
        // 200 names of one pipe that has something.
        var copies: [FileDescriptor] = []
        defer { for copy in copies { try? copy.close() } }
        for _ in 0..<200 { copies.append(try pipe.reader.descriptor.duplicate()) }
        let ready = try set.wait(until: .after(.seconds(5))) { (sources) throws(IPCError) in
            for copy in copies { sources.add(copy) }
        }
        #expect(ready.count == 200)
    }

    @Test func aPublisherIsToldOfRoom() throws {
        let topic = try Topic<RawBytes>.openOrCreate(channelName(), ChannelOptions(capacity: 65_536))
        var publisher = try topic.makePublisher()
        var subscription = try topic.makeSubscription()
        let message = [UInt8](repeating: 1, count: 30_000)
        while try publisher.tryPublish(message.span.bytes) {}
        let set = try WaitSet()
        let none = try set.wait(until: .after(.milliseconds(10))) { (sources) throws(IPCError) in
            sources.add(publisher.readiness(forRoom: 30_000))
        }
        #expect(none.isEmpty)
        while try subscription.tryReceive({ $0.byteCount }) != nil {}
        _ = subscription.readiness()  // tells how far it came
        let ready = try set.wait(until: Self.patience) { (sources) throws(IPCError) in
            sources.add(publisher.readiness(forRoom: 30_000))
        }
        #expect(ready == [0])
    }

    @Test func whatCannotBeWaitedForIsAnError() throws {
        let set = try WaitSet()
        let closed = failure { () throws(IPCError) in
            _ = try set.wait { (sources) throws(IPCError) in sources.add(FileDescriptor(rawValue: 9999)) }
        }
        #expect(closed?.errno == .badFileDescriptor)
        var subscription = try Topic<UInt64>.openOrCreate(channelName()).makeSubscription()
        let other = channelRoot + "-other"
        do {
            let bell = try ReadinessDescriptor(in: ChannelRoot(FilePath(other)))
            let foreign = failure { () throws(IPCError) in _ = try subscription.readiness().arm(bell) }
            #expect(foreign?.code == .invalidArgument)
        }
        unlink(other + "/.lock")
        #expect(rmdir(other) == 0, "its bell is gone")
    }
}
