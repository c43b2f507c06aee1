// A participant of channels for the tests to talk to and to kill. Its first argument is its role.
import Glibc
import IPC
import IPCChannels
import SystemPackage

@main
struct ChannelPeer {
    static func main() {
        // Before any other thread runs, as ever.
        SignalSet([Storm.stormSignal]).blockInCallingThread()
        guard let task = asyncRole() else { return report { () throws in try run() } }
        Task.detached {
            do {
                try await task()
                exit(0)
            } catch { report { () throws in throw error } }
        }
        while true { pause() }
    }

    private static func report(_ body: () throws -> Void) {
        do { try body() } catch {
            var text = "\(error)\n"
            _ = text.withUTF8 { write(2, $0.baseAddress, $0.count) }
            exit(1)
        }
    }

    /// The roles that wait asynchronously; nil for the others.
    private static func asyncRole() -> (@Sendable () async throws -> Void)? {
        let arguments = Array(CommandLine.arguments.dropFirst())
        @Sendable func number(_ index: Int) -> Int { Int(arguments[index])! }
        switch arguments[0] {
        case "idle": return { try await Waits.idle(arguments[1], count: number(2), seconds: number(3)) }
        case "pool": return { try await Waits.pool(arguments[1]) }
        case "use-all": return { try await Members.use(arguments[1]) }
        case "role": return { try await Roles.attempt(arguments[1], arguments[2]) }
        case "guest": return { try await Guests.run(arguments[1], Array(arguments.dropFirst(2))) }
        case "storm": return { try await Storm.run(arguments[1], count: number(2)) }
        case "receive-waiting": return { try await Waits.receiveWaiting(arguments[1], count: UInt64(number(2))) }
        default: return nil
        }
    }

    static func run() throws {
        let arguments = Array(CommandLine.arguments.dropFirst())
        func number(_ index: Int) -> Int { Int(arguments[index])! }
        switch arguments[0] {
        case "language":
            try Languages.run(
                arguments[1], arguments[2], origin: UInt64(arguments[3])!, count: UInt64(arguments[4])!)
        case "publish":
            try Stream.publish(
                arguments[1], writer: UInt32(number(2)), count: number(3), largest: number(4), progress: arguments[5])
        case "subscribe": try Stream.subscribe(arguments[1], from: arguments[2])
        case "subscribe-slowly": try Stream.subscribeSlowly(arguments[1])
        case "hold-subscription":
            // The oldest message is never read, so it holds all publishers back.
            let subscription = try Topic<RawBytes>.open(arguments[1]).makeSubscription(from: .oldest)
            say("ready")
            withExtendedLifetime(subscription) { while true { pause() } }
        case "hold-publisher":
            let publisher = try Topic<RawBytes>.open(arguments[1]).makePublisher()
            leaveWhenTold()
            publisher.close()
        case "publish-large":
            var publisher = try Topic<RawBytes>.open(arguments[1]).makePublisher()
            say("ready")
            try publisher.publish([UInt8](repeating: 1, count: number(2)).span.bytes, until: .after(.seconds(20)))
        case "hold-publisher-of-numbers":
            let publisher = try Topic<UInt64>.open(arguments[1]).makePublisher()
            say("ready")
            withExtendedLifetime(publisher) { while true { pause() } }
        case "stop-in-claim":
            var publisher = try Topic<RawBytes>.open(arguments[1]).makePublisher()
            try publisher.publish(upTo: 100) { (_) throws(IPCError) in
                say("claimed")
                while true { pause() }
            }
        case "carry": try Carrier.carry(arguments[1], machine: UInt64(number(2)), upTo: UInt64(number(3)))
        case "carry-for-ever": try Carrier.flood(arguments[1], machine: UInt64(number(2)))
        case "wait":
            var subscription = try Topic<RawBytes>.open(arguments[1]).makeSubscription()
            say("ready")
            say("got \(try subscription.receive { (payload) throws(IPCError) in payload.byteCount })")
        case "work": try Work.work(arguments[1], records: arguments[2])
        case "hold-job": try Work.hold(arguments[1])
        case "serve": try Calls.serve(arguments[1])
        case "tell-deadline":
            var server = try ServiceChannel<UInt64, UInt64, CommandFailure>.openOrCreate(arguments[1]).makeServer()
            say("ready")
            let call = try server.next(until: .after(.seconds(60)))
            let seconds = call.deadline.remaining.map { UInt64($0.components.seconds) }
            try call.reply(seconds ?? .max)
        case "hold-call": try Calls.hold(arguments[1], count: arguments.count > 2 ? number(2) : 1)
        case "call": try Calls.call(arguments[1], count: number(2), retries: number(3))
        case "make-service": try Calls.make(arguments[1], arguments[2])
        case "begin-call": try Calls.leave(arguments[1])
        case "publish-number":
            var publisher = try Topic<UInt64>.open(arguments[1]).makePublisher()
            say("ready")
            usleep(300_000)
            try publisher.publish(UInt64(number(2)))
        case "set-latest":
            // Four words that add up to nothing.
            var setter = try Latest<SIMD4<Int64>>.open(arguments[1]).makeSetter()
            for x in 0... as PartialRangeFrom<Int64> {
                try setter.set(SIMD4(x, 2 * x, x, -4 * x))
                if x == 0 { say("ready") }
            }
        case "send-number":
            var producer = try WorkQueue<UInt64>.open(arguments[1]).makeProducer()
            try producer.send(UInt64(number(2)))
        case "sync-an-acknowledgement":
            let queue = try WorkQueue<UInt64>.open(arguments[1])
            var producer = try queue.makeProducer()
            var worker = try queue.makeWorker()
            try producer.send(1)
            try producer.sync()
            try worker.next(until: .after(.seconds(20))).acknowledge()
            try producer.sync()
        case "set-number":
            var setter = try Latest<UInt64>.open(arguments[1]).makeSetter()
            try setter.set(UInt64(number(2)))
        case "exec-while-subscribed": try Departures.execWhileSubscribed(arguments[1])
        case "fork-while-subscribed": try Departures.forkWhileSubscribed(arguments[1])
        case "use-in-child": try Departures.useInChild(arguments[1])
        case "wait-event":
            let participant = try Event.open(arguments[1]).makeParticipant()
            say("ready")
            try participant.wait(until: .after(.seconds(20)))
            say("notified")
        case "join-leave":
            // Creates, joins and leaves: the channel comes and goes with its participants.
            for _ in 0..<number(2) {
                let topic = try Topic<RawBytes>.openOrCreate(arguments[1], ChannelOptions(writers: .shared))
                var publisher = try topic.makePublisher()
                _ = try publisher.tryPublish([1].span.bytes)
            }
            say("done")
        case "create-of-private-type":
            _ = try Topic<Hidden>.openOrCreate(arguments[1], ChannelOptions(lifetime: .kept))
            say("created")
        case "churn": try Churn.run(arguments[1], arguments[2], seconds: number(3))
        case "make-all": try Members.make(arguments[1])
        case "make-for-roles":
            try Roles.make(arguments[1], arguments[2], guests: arguments.count > 3 ? arguments[3] : "0")
        case "remove-all": try Members.remove(arguments[1])
        case "remove": try Topic<RawBytes>.remove(arguments[1])
        case "hold-open":
            // In a channel with these permissions, until it is told to leave.
            let permissions = FilePermissions(rawValue: CModeT(arguments[2], radix: 8)!)
            let topic = try Topic<RawBytes>.openOrCreate(
                arguments[1], ChannelOptions(writers: .shared, permissions: permissions))
            let publisher = try topic.makePublisher()
            leaveWhenTold()
            publisher.close()
        case "publish-once":
            var publisher = try Topic<RawBytes>.open(arguments[1]).makePublisher()
            try publisher.publish([1].span.bytes)
            say("published")
        case "attempts-prepare": try Attempts.prepare(arguments[1])
        case "attempts": Attempts.all(arguments[1])
        case "attempts-remove": Attempts.remove(arguments[1])
        case "wait-without-descriptors": try Descriptors.wait(arguments[1])
        case "publish-without-descriptors": try Descriptors.publish(arguments[1])
        case "create-at-once":
            let topic = try Topic<UInt64>.openOrCreate(arguments[1], ChannelOptions(writers: .shared, lifetime: .kept))
            var publisher = try topic.makePublisher()
            try publisher.publish(UInt64(getpid()))
        default: fatalError("unknown role")
        }
    }

    private struct Hidden: BitwiseCopyable { struct Inner: BitwiseCopyable { var x: Int }; var inner: Inner }

    /// Says that it is ready, and waits for SIGTERM.
    private static func leaveWhenTold() {
        let signals = SignalSet([.terminate])
        signals.blockInCallingThread()
        guard let source = try? SignalSource([.terminate]) else { fatalError("no signals") }
        say("ready")
        _ = try? source.next()
    }

    static func say(_ text: String) {
        print(text)
        fflush(nil)
    }
}
