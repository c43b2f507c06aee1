import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

/// Calls and jobs that ask for somebody to be there, in place of waiting.
@Suite(.timeLimit(.minutes(5))) struct RequiredPeerTests {
    private typealias Numbers = ServiceChannel<UInt64, UInt64, Errno>

    private static func call(
        _ client: Numbers.SharedClient, _ options: CallOptions, _ deadline: Deadline
    ) async throws(IPCError) -> Result<UInt64, Errno> {
        try await client.call(1, options, until: deadline)
    }

    /// A call waits for a server, unless it is asked to fail at once; so does a job.
    @Test func aCallMayRequireAServer() async throws {
        try requireAServer()
        let shared = try Numbers.openOrCreate(channelName()).makeSharedClient()
        do {
            _ = try await Self.call(shared, CallOptions(requiresServer: true), .after(.seconds(30)))
            Issue.record("a call without a server has a reply")
        } catch { #expect(error.code == .notReady) }
    }

    private func requireAServer() throws {
        let service = try Numbers.openOrCreate(channelName())
        var client = try service.makeClient()
        let shared = try service.makeSharedClient()
        let options = CallOptions(requiresServer: true)
        func fails(_ call: () throws(IPCError) -> Void) {
            let start = MonotonicClock.now
            let error = failure(call)
            #expect(error?.code == .notReady && error?.advice.contains("start one") == true, "\(error as Any)")
            #expect(MonotonicClock.now - start < 1_000_000_000)
        }
        let late = Deadline.after(.seconds(30))
        fails { () throws(IPCError) in _ = try client.call(1, options, until: late) }
        fails { () throws(IPCError) in _ = try shared.call(1, options, until: late) }
        // One that has died is none, settled or not.
        let dead = try Peer(product("ChannelPeer"), ["serve", service.name.description])
        _ = try dead.said()
        #expect(try client.call(1, options, until: late) == .success(2))
        try dead.kill()
        fails { () throws(IPCError) in _ = try client.call(1, options, until: late) }
        let server = try service.makeServer()
        _ = try client.begin(1, options, until: late)
        server.close()
        fails { () throws(IPCError) in _ = try client.begin(1, options, until: late) }
    }

    @Test func aJobMayRequireAWorker() throws {
        let queue = try WorkQueue<UInt64>.openOrCreate(channelName(), ChannelOptions(lifetime: .whileUsed))
        var producer = try queue.makeProducer()
        let options = JobOptions(requiresWorker: true)
        let error = failure { () throws(IPCError) in try producer.send(1, options, until: .after(.seconds(30))) }
        #expect(error?.code == .notReady && error?.advice.contains("start one") == true, "\(error as Any)")
        var worker = try queue.makeWorker()
        #expect(try worker.tryNext() == nil)
        try producer.send(2, options)
        #expect(try worker.next(until: .immediate).message == 2)
    }
}
