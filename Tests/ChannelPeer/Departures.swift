import Glibc
import IPC
import IPCChannels

@_silgen_name("fork") private func cFork() -> pid_t

/// Roles of processes that fork, or become another program, while they are participants.
enum Departures {
    /// Holds publishers back, and becomes a shell: its locks go, and its pid stays.
    static func execWhileSubscribed(_ name: String) throws {
        let subscription = try Topic<RawBytes>.open(name).makeSubscription(from: .oldest)
        ChannelPeer.say("ready")
        usleep(200_000)  // whoever waits is asleep by then
        withExtendedLifetime(subscription) {
            let arguments = ["sh", "-c", "echo became another; exec sleep 30"]
            var pointers = arguments.map { strdup($0) } + [nil]
            execv("/bin/sh", &pointers)
        }
        exit(1)
    }

    /// Holds publishers back, and leaves a child behind that has inherited all that it had.
    static func forkWhileSubscribed(_ name: String) throws {
        let subscription = try Topic<RawBytes>.open(name).makeSubscription(from: .oldest)
        let child = cFork()
        if child == 0 {
            sleep(30)
            _exit(0)
        }
        ChannelPeer.say("\(child)")
        withExtendedLifetime(subscription) { while true { pause() } }
    }

    /// Holds a participant for a child to try.
    private final class Box<Value: ~Copyable> {
        var value: Value?
        init(_ value: consuming Value) { self.value = consume value }
    }

    /// Uses copies of its parent's participants, lets go of them, and joins for itself; the parent goes on.
    static func useInChild(_ prefix: String) throws {
        struct Refusal: Error, BitwiseCopyable {}
        let topic = try Topic<UInt64>.openOrCreate(prefix + "/topic", ChannelOptions(writers: .shared))
        let queue = try WorkQueue<UInt64>.openOrCreate(prefix + "/queue", ChannelOptions(lifetime: .whileUsed))
        let latest = try Latest<UInt64>.openOrCreate(prefix + "/latest")
        let service = try ServiceChannel<UInt64, UInt64, Refusal>.openOrCreate(prefix + "/service")
        let event = try Event.openOrCreate(prefix + "/event")
        let publisher = Box(try topic.makePublisher()), subscription = Box(try topic.makeSubscription())
        let producer = Box(try queue.makeProducer()), worker = Box(try queue.makeWorker())
        let setter = Box(try latest.makeSetter()), getter = Box(try latest.makeGetter())
        let client = Box(try service.makeClient()), server = Box(try service.makeServer())
        let participant = Box(try event.makeParticipant())
        let bell = try ReadinessDescriptor()
        try publisher.value!.publish(1)
        try producer.value!.send(1)
        try setter.value!.set(1)

        let child = cFork()
        if child == 0 {
            let soon = Deadline.after(.seconds(5))
            tell("publish") { try publisher.value!.publish(2, until: soon) }
            tell("tryPublish") { _ = try publisher.value!.tryPublish(2) }
            tell("receive") { _ = try subscription.value!.receive(until: soon) }
            tell("tryReceive") { _ = try subscription.value!.tryReceive() }
            tell("arm") { _ = try subscription.value!.readiness().arm(bell) }
            tell("send") { try producer.value!.send(2, until: soon) }
            tell("next") { try worker.value!.next(until: soon).acknowledge() }
            tell("set") { try setter.value!.set(2) }
            tell("get") { _ = try getter.value!.get() }
            tell("call") { _ = try client.value!.call(2, until: soon) }
            tell("serve") { _ = try server.value!.tryNext() }
            tell("wait") { try participant.value!.wait(until: soon) }
            publisher.value = nil
            subscription.value = nil
            producer.value = nil
            worker.value = nil
            setter.value = nil
            getter.value = nil
            client.value = nil
            server.value = nil
            participant.value = nil
            // For itself it may join, with a slot and a lock of its own.
            var own = try topic.makePublisher()
            try own.publish(7)
            own.close()
            fflush(nil)
            _exit(0)
        }
        var status: CInt = 0
        waitpid(child, &status, 0)
        try publisher.value!.publish(3)
        try participant.value!.wait(until: .after(.milliseconds(1)), orTimeOut: ())
        let first = try subscription.value!.receive(until: .after(.seconds(5)))
        let second = try subscription.value!.receive(until: .after(.seconds(5)))
        let third = try subscription.value!.receive(until: .after(.seconds(5)))
        let job = try worker.value!.next(until: .after(.seconds(5)))
        let (attempt, message) = (job.attempt, job.message)
        try job.acknowledge()
        ChannelPeer.say(
            "parent: \(first) \(second) \(third), job \(message) at attempt \(attempt), \(try getter.value!.get() ?? 0)"
        )
    }

    private static func tell(_ name: String, _ body: () throws -> Void) {
        do {
            try body()
            print("\(name): done")
        } catch {
            print("\(name): \((error as? IPCError)?.code.rawValue ?? "\(error)")")
        }
    }
}

extension Event.Participant {
    /// Waits for nothing, which is no error.
    fileprivate func wait(until deadline: Deadline, orTimeOut: Void) throws {
        do throws(IPCError) { try wait(until: deadline) } catch  where error.code == .timedOut {}
    }
}
