import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

@testable import IPCChannels

/// Calls that are not collected, not in time, too many, or made by handlers keep nobody from calling.
@Suite(.timeLimit(.minutes(5))) struct BusyServiceTests {
    enum Refusal: Error, BitwiseCopyable { case no }
    typealias Numbers = ServiceChannel<UInt64, UInt64, Refusal>
    typealias Texts = ServiceChannel<RawBytes, RawBytes, Refusal>

    private static let options: ServiceOptions = {
        var options = ServiceOptions()
        (options.capacity, options.maximumClients) = (65_536, 1024)
        return options
    }()
    /// So many calls of one client fit, each of 128 bytes.
    private static let quota = 512

    @Test(arguments: [1, 4, 1000]) func callsWithinCallsComeToTheirTurn(concurrency: Int) async throws {
        let service = try Numbers.openOrCreate(channelName(), Self.options)
        let (nested, lock) = (Box(try service.makeClient()), PrivateLock())
        @Sendable func begin(_ number: UInt64) throws(IPCError) -> Box<PendingCall<UInt64, Refusal>> {
            try lock.withLock { () throws(IPCError) in
                Box(try nested.value.begin(number, until: .after(.seconds(30))))
            }
        }
        let serving = Task {
            try await service.serve(concurrency: concurrency) { (request) async throws(Refusal) in
                guard request % 2 == 0 else { return request + 1 }
                do { return try await begin(request + 1).take().wait().get() + 1 } catch { throw .no }
            }
        }
        var client = try service.makeClient()
        var calls: [Box<PendingCall<UInt64, Refusal>>] = []
        for number in 0..<505 as Range<UInt64> {
            calls.append(Box(try await client.begin(2 * number, until: .after(.seconds(30)))))
        }
        var failures = 0
        for (number, call) in calls.enumerated() {
            if try await call.take().wait() != .success(2 * UInt64(number) + 3) { failures += 1 }
        }
        #expect(failures == 0)
        serving.cancel()
        try await serving.value
    }

    /// Each reply wakes the task that waits for it. If it woke all, 4,000 calls would take minutes.
    @Test func aReplyWakesNoTaskButItsOwn() async throws {
        let count: UInt64 = 4000
        var options = ServiceOptions()
        options.capacity = 1 << 20
        let service = try Numbers.openOrCreate(channelName(), options)
        var client = try service.makeClient()
        var server = try service.makeServer()
        let start = MonotonicClock.now
        let waits = try (0..<count).map { number in
            let call = Box(try client.begin(number, until: .after(.seconds(60))))
            return Task { (try await call.take().wait(), MonotonicClock.now) }
        }
        // One by one, so that those that go on sleeping are told by the next.
        try await Task.sleep(for: .milliseconds(50))
        var longest: UInt64 = 0
        for (number, wait) in waits.enumerated() {
            let replied = MonotonicClock.now
            try server.serveNext(until: .immediate) { $0 + 1 }
            guard number % 40 == 0 else { continue }
            let (result, time) = try await wait.value
            #expect(result == .success(UInt64(number) + 1))
            longest = max(longest, time &- min(replied, time))
        }
        for (number, wait) in waits.enumerated() {
            #expect(try await wait.value.0 == .success(UInt64(number) + 1))
        }
        let time = Double(MonotonicClock.now - start) / 1e9
        #expect(time < 20, "\(time) s, at most \(Double(longest) / 1e6) ms for a reply")
    }

    @Test func aClientsCallsTakeNoMoreThanTheirShare() throws {
        let service = try Numbers.openOrCreate(channelName(), Self.options)
        var server = try service.makeServer()
        var greedy = try service.makeClient()
        var others = [Box<Numbers.Client>]()
        for _ in 0..<2 { others.append(Box(try service.makeClient())) }
        var kept: [Box<PendingCall<UInt64, Refusal>>] = []
        for number in 0..<UInt64(Self.quota) { kept.append(Box(try greedy.begin(number, until: .never))) }
        let refused = failure { () throws(IPCError) in _ = try greedy.begin(7, until: .after(.milliseconds(20))) }
        #expect(refused?.code == .timedOut && refused?.advice.contains("this client's outstanding calls") == true)
        for _ in kept { try server.serveNext(until: .immediate) { $0 } }
        // Finished, and not collected.
        for _ in 0..<20 {
            for other in others {
                for number in 0..<100 as Range<UInt64> {
                    let call = try other.value.begin(number, until: .after(.seconds(10)))
                    try server.serveNext(until: .immediate) { $0 + 1 }
                    #expect(try call.wait() == .success(number + 1))
                }
            }
        }
        kept.removeFirst()
        let again = try greedy.begin(7, until: .after(.seconds(10)))
        try server.serveNext(until: .immediate) { $0 }
        #expect(try again.wait() == .success(7))
        #expect(try ChannelDescription(service.name).messageCount == Self.quota - 1)
    }

    @Test func aCallWhoseDeadlineHasPassedTakesNoRoom() throws {
        let service = try Numbers.openOrCreate(channelName(), Self.options)
        var server = try service.makeServer()
        var stopped = try service.makeClient()
        var kept: [Box<PendingCall<UInt64, Refusal>>] = []
        // Nobody had half of them; of the others nobody collects the reply.
        let deadline = Deadline.after(.milliseconds(100))
        for number in 0..<UInt64(Self.quota) { kept.append(Box(try stopped.begin(number, until: deadline))) }
        for _ in 0..<Self.quota / 2 { try server.serveNext(until: .immediate) { $0 } }
        usleep(120_000)
        // All that there is for those who are no handlers.
        var others: [Box<Numbers.Client>] = []
        var calls: [Box<PendingCall<UInt64, Refusal>>] = []
        for _ in 0..<3 {
            others.append(Box(try service.makeClient()))
            for number in 0..<UInt64(Self.quota) - 1 {
                calls.append(Box(try others.last!.value.begin(number, until: .after(.seconds(10)))))
            }
        }
        let first = kept.removeFirst()
        let late = failure { () throws(IPCError) in _ = try first.take().wait() }
        #expect(late?.code == .timedOut)
        #expect(calls.count == 3 * (Self.quota - 1))
    }

    /// All the room for those who are no handlers, but for a few calls.
    private static func fill(
        _ service: Numbers, until deadline: Deadline
    ) throws -> [(client: Box<Numbers.Client>, calls: [Box<PendingCall<UInt64, Refusal>>])] {
        try (0..<3).map { _ in
            let client = Box(try service.makeClient())
            return (
                client,
                try (0..<quota - 1).map { number in
                    Box(try client.value.begin(UInt64(number), until: deadline))
                }
            )
        }
    }

    /// Those who wait already when the deadlines pass: nobody wakes them then.
    @Test func whoeverWaitsGetsTheRoomOfCallsWhoseDeadlinePasses() async throws {
        for way in 0..<3 {
            let service = try Numbers.openOrCreate(channelName(), Self.options)
            let stopped = try Self.fill(service, until: .after(.milliseconds(500)))
            var clients: [Box<Numbers.Client>] = []
            nonisolated(unsafe) var calls: [Box<PendingCall<UInt64, Refusal>>] = []
            let start = ContinuousClock.now
            let end = Deadline.after(.seconds(20))
            switch way {
            case 0:
                let client = Box(try service.makeClient())
                for _ in 0..<10 { calls.append(Box(try await client.value.begin(1, until: end))) }
                clients.append(client)
            case 1:
                let client = try service.makeSharedClient()
                for _ in 0..<10 { calls.append(Box(try await client.begin(1, until: end))) }
            default:
                let client = try service.makeSharedClient()
                let thread = try PlainThread { () throws(IPCError) in
                    for _ in 0..<10 { calls.append(Box(try client.begin(1, until: end))) }
                }
                #expect(thread.join() == nil)
            }
            #expect(calls.count == 10 && stopped.count == 3)
            #expect(ContinuousClock.now - start < .seconds(10), "\(way)")
        }
    }

    /// Neither a server that asks for calls, nor one that serves them, ends by what one caller has written.
    @Test func whatCannotBeACallIsLostAndServersGoOn() async throws {
        let service = try Numbers.openOrCreate(channelName(), Self.options)
        var client = try service.makeClient()
        let memory = try ChannelMemory(service.name, in: .root(.current), logAccess: .readWrite)
        /// One whose sizes do not fit its frame.
        func beginRubbish() throws -> Box<PendingCall<UInt64, Refusal>> {
            let position = try memory.checkedTail()
            let call = Box(try client.begin(7, until: .after(.seconds(20)), retries: 100))
            let sizes = unsafe memory.workPayload(at: position) + CallFrame.requestCount
            unsafe sizes.storeBytes(of: 0xffff_ff00, as: UInt32.self)
            return call
        }
        func isLost(_ call: Box<PendingCall<UInt64, Refusal>>) async -> Bool {
            do { _ = try await call.take().wait() } catch { return error.code == .brokenPipe }
            return false
        }
        var server: ServiceChannel<UInt64, UInt64, Refusal>.Server? = try service.makeServer()
        for _ in 0..<3 {
            let rubbish = try beginRubbish()
            let good = Box(try await client.begin(1, until: .after(.seconds(20))))
            try Self.serve(&server!)
            #expect(await isLost(rubbish))
            #expect(try await good.take().wait() == .success(2))
        }
        server = nil
        let rubbish = try (0..<3).map { _ in try beginRubbish() }
        let serving = Task { try await service.serve { $0 + 1 } }
        for (number, call) in rubbish.enumerated() {
            #expect(await isLost(call))
            #expect(try await client.call(UInt64(number), until: .after(.seconds(20))) == .success(UInt64(number) + 1))
        }
        serving.cancel()
        try await serving.value
    }

    private static func serve(_ server: inout ServiceChannel<UInt64, UInt64, Refusal>.Server) throws(IPCError) {
        try server.serveNext(until: .after(.seconds(20))) { $0 + 1 }
    }

    @Test func aReplyThatIsLentIsNotTakenAway() throws {
        let service = try Texts.openOrCreate(channelName(), Self.options)
        var server = try service.makeServer()
        var slow = try service.makeClient()
        var other = try service.makeClient()
        let call = try slow.begin(([1, 2, 3] as [UInt8]).span.bytes, replyLimit: 8, until: .after(.milliseconds(60)))
        try server.next(until: .immediate).reply(([4, 5, 6] as [UInt8]).span.bytes)
        let result = try call.wait { (bytes) throws(IPCError) in
            usleep(80_000)
            for _ in 0..<10_000 {
                let call = try other.begin(
                    ([9, 9, 9] as [UInt8]).span.bytes, replyLimit: 8, until: .after(.seconds(10)))
                try server.next(until: .immediate).reply(([8, 8, 8] as [UInt8]).span.bytes)
                _ = try call.wait { (bytes) throws(IPCError) in bytes.byteCount }
            }
            return bytes.array
        }
        #expect(result == .success([4, 5, 6]))
    }

    @Test func aHandlerKnowsWhoCalls() throws {
        let service = try Numbers.openOrCreate(channelName(), Self.options)
        var server = try service.makeServer()
        var client = try service.makeClient()
        let pending = try client.begin(7, until: .after(.seconds(10)))
        let call = try server.next(until: .immediate)
        #expect(call.caller == getpid())
        // A channel of its own, which nobody else may write to.
        let identity = try call.identifyCaller()
        #expect(identity.process == getpid() && identity.user == geteuid() && identity.group == getegid())
        #expect(identity.isCertain)
        let context = call.context
        #expect(try context.identifyCaller() == identity)
        try call.reply(8)
        #expect(try pending.wait() == .success(8))
        #expect(failure { () throws(IPCError) in _ = try context.identifyCaller() }?.code == .notFound)
    }

    private static func limited(_ limit: Int) -> ServiceOptions {
        var options = options
        options.maximumWaiting = limit
        return options
    }

    @Test func aServiceThatIsOverloadedSaysSoAtOnce() throws {
        let service = try Numbers.openOrCreate(channelName(), Self.limited(10))
        var client = try service.makeClient()
        var other = try service.makeClient()
        var server = try service.makeServer()
        func refusal(_ client: inout Numbers.Client) -> IPCError? {
            failure { () throws(IPCError) in _ = try client.call(7, until: .after(.seconds(60))) }
        }
        // Many laps, so that the count is made again and again, by clients that call seldom and often.
        for round in 0..<200 {
            var waiting: [Box<PendingCall<UInt64, Refusal>>] = []
            for number in 0..<10 as Range<UInt64> {
                waiting.append(
                    Box(try round % 3 == 0 && number % 2 == 0 ? other.begin(number) : client.begin(number)))
            }
            let error = refusal(&client)
            #expect(error?.code == .overloaded && error?.advice.contains("10 calls are waiting") == true)
            if round % 7 == 0 { #expect(refusal(&other)?.code == .overloaded) }
            // One that is taken, or given up, does not wait.
            let taken = Box(try server.next(until: .immediate))
            waiting.append(Box(try client.begin(10)))
            #expect(refusal(&client)?.code == .overloaded)
            waiting.remove(at: 5).take().cancel()
            waiting.append(Box(try client.begin(11)))
            #expect(refusal(&client)?.code == .overloaded)
            let call = taken.take()
            let number = try call.request
            try call.reply(number)
            for _ in 1..<11 { try server.serveNext(until: .immediate) { $0 } }
            let results = try waiting.map { (call) throws(IPCError) in try call.take().wait() }
            #expect(results == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11].map { .success($0) })
        }
        #expect(try ChannelDescription(service.name).maximumWaiting == 10)
    }

    /// Nobody is there to see to the dead, and to those that were stopped, but the callers that are refused.
    @Test func whoIsRefusedLooksAfterThoseWhoWait() throws {
        typealias Doubling = ServiceChannel<UInt64, UInt64, Errno>
        let name = channelName()
        let service = try Doubling.openOrCreate(name, Self.limited(1))
        var client = try service.makeClient()
        let dead = try Peer(product("ChannelPeer"), ["begin-call", name])
        #expect(try dead.said() == "called\n")
        #expect(failure { () throws(IPCError) in _ = try client.begin(1) }?.code == .overloaded)
        try dead.kill()
        func begins(until patience: Deadline) throws(IPCError) -> Box<PendingCall<UInt64, Errno>>? {
            while !patience.hasPassed {
                do throws(IPCError) { return Box(try client.begin(1, until: .after(.milliseconds(50)))) } catch {
                    guard error.code == .overloaded else { throw error }
                }
            }
            return nil
        }
        let expired = try begins(until: .after(.seconds(10)))
        #expect(expired != nil)
        // Its deadline passes, and its caller has not noticed.
        #expect(try begins(until: .after(.seconds(10))) != nil)
    }

    @Test func handlersAreNotRefusedAndTasksAreTold() async throws {
        let service = try Numbers.openOrCreate(channelName(), Self.limited(1))
        let nested = Box(try service.makeClient())
        let (entered, go) = (Flag(), Flag())
        let serving = Task {
            try await service.serve(concurrency: 1) { (request) async throws(Refusal) in
                guard request < 100 else { return request }
                entered.set()
                go.wait()
                do { return try await nested.value.call(request + 100, until: .after(.seconds(30))).get() } catch {
                    throw .no
                }
            }
        }
        var client = try service.makeClient()
        let first = try await client.begin(1, until: .after(.seconds(30)))
        entered.wait()
        let second = try await client.begin(200, until: .after(.seconds(30)))
        do throws(IPCError) {
            _ = try await client.call(3, until: .after(.seconds(60)))
            Issue.record("not refused")
        } catch { #expect(error.code == .overloaded) }
        go.set()
        #expect(try await first.wait() == .success(101))
        #expect(try await second.wait() == .success(200))
        serving.cancel()
        try await serving.value
    }

    @Test func theLimitIsThatOfTheService() throws {
        let service = try Numbers.openOrCreate(channelName(), Self.limited(3))
        let name = service.name.description
        let server = try service.makeServer()  // it stays
        let other = failure { () throws(IPCError) in _ = try Numbers.openOrCreate(name, Self.limited(4)) }
        #expect(
            other?.code == .incompatibleOptions
                && other?.advice.contains("maximumWaiting 3, but maximumWaiting 4") == true)
        _ = try Numbers.openOrCreate(name, Self.limited(3))
        _ = try Numbers.openOrCreate(name)
        _ = try Numbers.open(name)
        let free = try Numbers.openOrCreate(channelName())
        let client = try free.makeClient()
        let late = failure { () throws(IPCError) in _ = try Numbers.openOrCreate(free.name.description, Self.limited(4))
        }
        #expect(late?.code == .incompatibleOptions && late?.advice.contains("no limit") == true)
        #expect(try ChannelDescription(free.name).maximumWaiting == nil)
        for limit in [0, -1, Int.max] {
            let refused = failure { () throws(IPCError) in
                _ = try Numbers.openOrCreate(channelName(), Self.limited(limit))
            }
            #expect(refused?.code == .invalidArgument)
        }
        server.close()
        client.close()
    }

    @Test func aCallThatWasGivenUpHasNoCaller() throws {
        let service = try Numbers.openOrCreate(channelName(), Self.options)
        var server = try service.makeServer()
        var client = try service.makeClient()
        let pending = try client.begin(7, until: .after(.seconds(10)))
        let call = try server.next(until: .immediate)
        pending.cancel()
        #expect(failure { () throws(IPCError) in _ = try call.identifyCaller() }?.code == .notFound)
    }
}

/// One that can be kept in an array.
private final class Box<Value: ~Copyable>: @unchecked Sendable {
    private var optional: Value?
    init(_ value: consuming Value) { optional = consume value }
    var value: Value {
        _read { yield optional! }
        _modify { yield &optional! }
    }
    func take() -> Value { optional.take()! }
}
