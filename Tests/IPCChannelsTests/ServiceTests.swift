import IPC
import SystemPackage
import TestSupport
import Testing

@testable import IPCChannels

@Suite(.timeLimit(.minutes(10))) struct ServiceTests {
    private enum Refusal: Error, BitwiseCopyable { case odd, large }
    private typealias Halving = ServiceChannel<UInt64, UInt64, Refusal>

    private func service(capacity: Int = 65_536) throws(IPCError) -> Halving {
        var options = ServiceOptions()
        options.capacity = capacity
        return try Halving.openOrCreate(channelName(), options)
    }

    private func answer(_ server: inout ServiceChannel<UInt64, UInt64, Refusal>.Server) throws(IPCError) {
        try server.serveNext(until: .after(.seconds(10))) { (request) throws(Refusal) in
            guard request % 2 == 0 else { throw .odd }
            return request / 2
        }
    }

    private func outcome(_ call: consuming PendingCall<UInt64, Refusal>) -> (Result<UInt64, Refusal>?, IPCError?) {
        do throws(IPCError) { return (try call.wait(), nil) } catch { return (nil, error) }
    }

    @Test func repliesAndTypedErrorsComeBack() throws {
        let service = try service()
        var server = try service.makeServer()
        var client = try service.makeClient()
        for number in 0..<5000 as Range<UInt64> {  // several laps
            let call = try client.begin(number)
            let before = call.isFinished
            try answer(&server)
            let after = call.isFinished
            #expect(!before && after)
            let result = try call.wait()
            #expect(result == (number % 2 == 0 ? .success(number / 2) : .failure(.odd)))
        }
        let none = try server.tryNext() == nil
        #expect(none)
    }

    @Test func manyCallsAreUnderWayAndAnsweredInAnyOrder() throws {
        let service = try service()
        var client = try service.makeClient()
        var server = try service.makeServer()
        var calls = [Box<PendingCall<UInt64, Refusal>>]()
        for number in 0..<100 as Range<UInt64> { calls.append(Box(try client.begin(number * 2))) }
        var taken = [Box<ServiceChannel<UInt64, UInt64, Refusal>.Call>]()
        for _ in 0..<100 { taken.append(Box(try server.next(until: .immediate))) }
        for box in taken.reversed() {
            let call = box.take()
            let request = try call.request
            try call.reply(request / 2)
        }
        for (number, box) in calls.enumerated() {
            let result = try box.take().wait()
            #expect(result == .success(UInt64(number)))
        }
    }

    @Test func aCallThatNobodyAnswersEndsAtItsDeadlineAndSaysWhy() throws {
        let service = try service()
        var client = try service.makeClient()
        let alone = failure { () throws(IPCError) in _ = try client.call(1, until: .after(.milliseconds(20))) }
        #expect(alone?.code == .timedOut && alone?.advice.contains("no server has joined") == true)
        var server = try service.makeServer()
        // Given up before: it gets nothing.
        let none = try server.tryNext() == nil
        #expect(none)
        let busy = failure { () throws(IPCError) in _ = try client.call(1, until: .after(.milliseconds(20))) }
        #expect(busy?.code == .timedOut && busy?.advice.contains("busy") == true)
        let call = try client.begin(2, until: .after(.milliseconds(50)))
        let taken = try server.next(until: .immediate)
        let isWanted = !taken.isCancelled && taken.deadline != .never
        #expect(isWanted)
        let (_, late) = outcome(call)
        #expect(late?.code == .timedOut && late?.advice.contains("has taken the call") == true)
        let isCancelled = taken.isCancelled
        #expect(isCancelled)
        try taken.reply(1)  // to nobody
        let next = try client.begin(4)
        try answer(&server)
        let result = try next.wait()
        #expect(result == .success(2))
    }

    @Test func cancellationReachesTheServer() throws {
        let service = try service()
        var client = try service.makeClient()
        var server = try service.makeServer()
        for _ in 0..<2000 {  // several laps: nothing is left behind
            let untaken = try client.begin(1)
            untaken.cancel()
            let call = try client.begin(2)
            let taken = try server.next(until: .immediate)
            let request = try taken.request
            let before = taken.isCancelled
            call.cancel()
            let after = taken.isCancelled
            #expect(request == 2 && !before && after)
            try taken.fail(.large)
        }
    }

    @Test func aServerThatLetsGoLosesTheCallOrHandsItOn() throws {
        let service = try service()
        var client = try service.makeClient()
        var server = try service.makeServer()
        let once = try client.begin(8)
        do { _ = try server.next(until: .immediate) }
        let (_, lost) = outcome(once)
        #expect(lost?.code == .brokenPipe)

        let twice = try client.begin(8, retries: 1)
        do { _ = try server.next(until: .immediate) }
        let again = try server.next(until: .immediate)
        let attempt = again.attempt
        #expect(attempt == 2)
        try again.reply(4)
        let result = try twice.wait()
        #expect(result == .success(4))

        let thrice = try client.begin(8, retries: 1)
        for _ in 0..<2 { _ = try server.next(until: .immediate) }
        let (_, gone) = outcome(thrice)
        #expect(gone?.code == .brokenPipe)
        let none = try server.tryNext() == nil
        #expect(none)
    }

    @Test func callsOutliveTheirClientAndTheirServer() throws {
        let service = try service()
        var client = try service.makeClient()
        var server = try service.makeServer()
        let call = try client.begin(6)
        client.close()
        let taken = try server.next(until: .immediate)
        server.close()
        try taken.reply(3)
        let result = try call.wait()
        #expect(result == .success(3))
    }

    @Test func aSlowServerHoldsNobodyUpButItsCallers() throws {
        let service = try service()
        var client = try service.makeClient()
        var slow = try service.makeServer()
        var quick = try service.makeServer()
        let first = try client.begin(2)
        let held = try slow.next(until: .immediate)
        // Many times what the log holds.
        for _ in 0..<10 * 65_536 / 128 {
            let call = try client.begin(4, until: .after(.seconds(10)))
            try answer(&quick)
            #expect(try call.wait() == .success(2))
        }
        try held.reply(1)
        let result = try first.wait()
        #expect(result == .success(1))
    }

    @Test func aReplyThatNobodyCollectsHoldsNobodyUp() throws {
        let service = try service()
        var client = try service.makeClient()
        var other = try service.makeClient()
        var server = try service.makeServer()
        let first = try client.begin(2)
        try answer(&server)
        for _ in 0..<10 * 65_536 / 128 {
            let call = try other.begin(4, until: .after(.seconds(10)))
            try answer(&server)
            #expect(try call.wait() == .success(2))
        }
        #expect(try ChannelDescription(service.name).asideCount == 1)
        let result = try first.wait()
        #expect(result == .success(1))
        #expect(try ChannelDescription(service.name).asideCount == 0)
    }

    @Test func bytesOfAnyLengthAndARefusalOfWhatIsTooLong() throws {
        let service = try ServiceChannel<RawBytes, RawBytes, Refusal>.openOrCreate(channelName())
        var client = try service.makeClient()
        var server = try service.makeServer()
        for count in [0, 1, 31, 32, 33, 5000] {
            let call = try client.begin(
                [UInt8](repeating: 7, count: count).span.bytes, replyLimit: 2 * count, until: .after(.seconds(1)))
            let taken = try server.next(until: .immediate)
            let length = try taken.withRequest { (bytes) throws(IPCError) in bytes.byteCount }
            #expect(length == count)
            try taken.reply([UInt8](repeating: 9, count: 2 * count).span.bytes)
            let result = try call.wait { (bytes) throws(IPCError) in
                (0..<bytes.byteCount).map { bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self) }
            }
            #expect(result == .success([UInt8](repeating: 9, count: 2 * count)))
        }
        let call = try client.begin([1].span.bytes, replyLimit: 10, until: .after(.seconds(1)))
        let taken = try server.next(until: .immediate)
        let refused = refusal(taken)
        #expect(refused?.code == .messageTooLarge)
        let told = told(call)
        #expect(told?.code == .messageTooLarge && told?.advice.contains("11 bytes") == true)
    }

    /// Blocking: the server answers on a thread of its own.
    @Test func aCallOfBytesLendsItsReply() throws {
        let service = try ServiceChannel<RawBytes, RawBytes, Refusal>.openOrCreate(channelName())
        var client = try service.makeClient()
        let server = Box(try service.makeServer())
        let thread = try PlainThread { () throws(IPCError) in
            var server = server.take()
            for _ in 0..<2000 {
                let call = try server.next(until: .after(.seconds(30)))
                let request = try call.withRequest { (bytes) throws(IPCError) in bytes.array }
                request.isEmpty ? try call.fail(.odd) : try call.reply((request + request).span.bytes)
            }
            let tooLong = try server.next(until: .after(.seconds(30)))
            try? tooLong.reply([UInt8](repeating: 1, count: 101).span.bytes)
            _ = try server.next(until: .after(.seconds(30)))  // let go of
        }
        for number in 0..<2000 {
            let request = [UInt8](repeating: UInt8(number % 251), count: number % 50)
            let result = try client.call(request.span.bytes, replyLimit: 100, until: .after(.seconds(30))) {
                (reply) throws(IPCError) in reply.array
            }
            #expect(result == (request.isEmpty ? .failure(.odd) : .success(request + request)))
        }
        for code in [IPCError.Code.messageTooLarge, .brokenPipe, .timedOut] {
            let deadline = Deadline.after(code == .timedOut ? .milliseconds(20) : .seconds(30))
            let error = failure { () throws(IPCError) in
                _ = try client.call(([1] as [UInt8]).span.bytes, replyLimit: 100, until: deadline) {
                    (reply) throws(IPCError) in reply.byteCount
                }
            }
            #expect(error?.code == code)
        }
        #expect(thread.join() == nil)
        // All of them are ended.
        #expect(try ChannelDescription(service.name).messageCount == 0)
    }

    @Test func aTasksCallOfBytesLendsItsReplyAndPassesErrorsOn() async throws {
        let service = try ServiceChannel<RawBytes, RawBytes, Refusal>.openOrCreate(channelName())
        let serving = Task {
            try await service.serve { (request, _) async throws(Refusal) in
                guard !request.isEmpty else { throw .odd }
                return request + request
            }
        }
        var client = try service.makeClient()
        for count in 0..<50 {
            let request = [UInt8](repeating: UInt8(count), count: count)
            let result = try await client.call(request.span.bytes, replyLimit: 100, until: .after(.seconds(30))) {
                (reply) throws(IPCError) in reply.array
            }
            #expect(result == (request.isEmpty ? .failure(.odd) : .success(request + request)))
        }
        do throws(IPCError) {
            _ = try await client.call(([1] as [UInt8]).span.bytes, replyLimit: 100) { (_) throws(IPCError) -> Int in
                throw IPCError(.corrupted, "read", "reply", advice: "not what was asked for")
            }
            Issue.record("no error")
        } catch { #expect(error.operation == "read") }
        #expect(try ChannelDescription(service.name).messageCount == 0)
        serving.cancel()
        try await serving.value
    }

    @Test func metadataTravelWithARequest() throws {
        let service = try service()
        var client = try service.makeClient()
        var server = try service.makeServer()
        // The most that there may be; and what is no ASCII, or nothing.
        let largest = ["k": String(repeating: "v", count: CallOptions.maximumMetadataBytes - 5)]
        let all: [[String: String]] = [
            [:], ["tenant": "acme", "trace": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
            ["": "", "ключ": "значение", "a": "\0\n\t"], largest,
        ]
        for number in 0..<2000 as Range<UInt64> {  // many laps
            let metadata = all[Int(number) % all.count]
            let call = try client.begin(2 * number, CallOptions(metadata: metadata), until: .after(.seconds(10)))
            let taken = try server.next(until: .immediate)
            let context = taken.context
            #expect(taken.metadata == metadata && context.metadata == metadata)
            #expect(try taken.request == 2 * number)
            try taken.reply(number)
            // What is there by now may be another call's.
            #expect(context.metadata == [:])
            #expect(try call.wait() == .success(number))
        }
        let tooMany = failure { () throws(IPCError) in
            _ = try client.call(1, CallOptions(metadata: ["kk": largest["k"]!]))
        }
        #expect(tooMany?.code == .messageTooLarge && tooMany?.advice.contains("8193 bytes") == true)
        let retries = failure { () throws(IPCError) in _ = try client.call(1, CallOptions(retries: 128)) }
        #expect(retries?.code == .invalidArgument)
        // They are there for the next server as well, and for one whose caller has given up.
        let again = try client.begin(6, CallOptions(retries: 1, metadata: all[1]), until: .after(.seconds(10)))
        do { _ = try server.next(until: .immediate) }
        let second = try server.next(until: .immediate)
        #expect(second.attempt == 2 && second.metadata == all[1])
        again.cancel()
        #expect(second.isCancelled && second.metadata == all[1])
        try second.reply(1)
    }

    @Test func metadataTravelWithBytesAndToHandlers() async throws {
        let service = try ServiceChannel<RawBytes, RawBytes, Refusal>.openOrCreate(channelName())
        let serving = Task {
            try await service.serve { (request, context) async throws(Refusal) in
                request + Array((context.metadata["tenant"] ?? "none").utf8)
            }
        }
        var client = try service.makeClient()
        for tenant in ["acme", nil] {
            let options = CallOptions(metadata: tenant.map { ["tenant": $0] } ?? [:])
            let result = try await client.call(
                ([65, 66, 67] as [UInt8]).span.bytes, replyLimit: 20, options, until: .after(.seconds(30))
            ) { (reply) throws(IPCError) in String(decoding: reply.array, as: UTF8.self) }
            #expect(result == .success("ABC" + (tenant ?? "none")))
        }
        serving.cancel()
        try await serving.value
    }

    /// Anybody may have written them.
    @Test func metadataThatAreNoneAreLeftOut() {
        func pair(_ key: [UInt8], _ value: [UInt8], _ lengths: (UInt16, UInt16)? = nil) -> [UInt8] {
            let (first, second) = lengths ?? (UInt16(key.count), UInt16(value.count))
            return withUnsafeBytes(of: first, Array.init) + withUnsafeBytes(of: second, Array.init) + key + value
        }
        let good = pair([97], [98])
        #expect(CallMetadata.decoded(good) == ["a": "b"])
        #expect(CallMetadata.decoded([]) == [:] && CallMetadata.decoded([1, 0, 1]) == [:])
        #expect(CallMetadata.decoded(good + pair([99], [100], (1, 2))) == ["a": "b"])
        #expect(CallMetadata.decoded(pair([97], [98], (65_535, 65_535)) + good) == [:])
        #expect(CallMetadata.decoded(pair([0xff], [98]) + good) == ["a": "b"])
        #expect(CallMetadata.decoded(pair([97], [0xc0]) + good) == ["a": "b"])
        for _ in 0..<2000 {
            _ = CallMetadata.decoded((0..<Int.random(in: 0..<64)).map { _ in UInt8.random(in: 0...255) })
        }
    }

    private func refusal(_ call: consuming ServiceChannel<RawBytes, RawBytes, Refusal>.Call) -> IPCError? {
        do throws(IPCError) { try call.reply([UInt8](repeating: 0, count: 11).span.bytes) } catch { return error }
        return nil
    }

    private func told(_ call: consuming PendingCall<RawBytes, Refusal>) -> IPCError? {
        do throws(IPCError) { _ = try call.wait { (bytes) throws(IPCError) in bytes.byteCount } } catch { return error }
        return nil
    }

    /// Whoever settles what a dead caller has left finds its calls as far as the claim of a caller that lives, and has stopped.
    @Test func callsOfTheDeadAreWithdrawnBehindAnothersClaim() throws {
        let name = channelName()
        var options = ServiceOptions()
        options.lifetime = .kept
        _ = try ServiceChannel<UInt64, UInt64, Errno>.openOrCreate(name, options)
        defer { try? ServiceChannel<UInt64, UInt64, Errno>.remove(name) }
        let slow = try Peer(
            product("ChannelPeer"), ["call", name, "1", "0"],
            environment: ["IPC_ROOT=\(channelRoot)", "IPC_STOP_POINT=claim.done"])
        defer { _ = try? slow.child.handle.send(.kill) }
        _ = try slow.said()
        try slow.waitUntilStopped()

        let dead = try Peer(product("ChannelPeer"), ["begin-call", name])
        _ = try dead.said()
        try dead.kill()

        // Joins, and so sees to the dead one; what it has called lies behind the claim.
        var server = try ServiceChannel<UInt64, UInt64, Errno>.open(name).makeServer()
        #expect(try server.tryNext() == nil)
        try slow.child.handle.send(.continue)
        var isAnswered = false
        var isEmpty = false
        let patience = Deadline.after(.seconds(20))
        while !isAnswered || !isEmpty, !patience.hasPassed {
            if let call = try server.tryNext() {
                let request = try call.request
                isAnswered = isAnswered || request == 0
                try call.reply(request * 2)
            }
            isEmpty = try ChannelDescription(ChannelName(name)).messageCount == 0
        }
        #expect(isAnswered && isEmpty)
        #expect(try slow.finish().text == "lost 0\n")
    }

    @Test func anotherTypeOfFailureIsAnotherService() throws {
        struct Other: Error, BitwiseCopyable {}
        let service = try service()
        let server = try service.makeServer()
        let error = failure { () throws(IPCError) in
            _ = try ServiceChannel<UInt64, UInt64, Other>.open(service.name.description)
        }
        #expect(error?.code == .wrongType && error?.advice.contains("Refusal") == true)
        #expect(error?.advice.contains("Other") == true)
        server.close()
    }
}

/// Something that cannot be copied, in an array.
private final class Box<Value: ~Copyable>: @unchecked Sendable {
    private var value: Value?
    init(_ value: consuming Value) { self.value = consume value }
    func take() -> Value { value.take()! }
}
