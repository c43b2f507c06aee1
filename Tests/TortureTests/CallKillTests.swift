import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

/// Servers and callers are killed at every named point and at random moments: every caller that lives gets the reply, or
/// an error at once, and the log goes on.
@Suite(.serialized, .timeLimit(.minutes(20))) struct CallKillTests {
    private typealias Doubling = ServiceChannel<UInt64, UInt64, Errno>

    private func service() throws(IPCError) -> Doubling {
        var options = ServiceOptions()
        options.capacity = 65_536
        options.lifetime = .kept
        return try Doubling.openOrCreate(channelName(), options)
    }

    /// A server, two callers, and a victim that is a server or a caller.
    private func trial(_ role: String, _ point: String?, retries: Int = 0) throws -> Int {
        let service = try service()
        let name = service.name.description
        defer { try? Doubling.remove(name) }
        let errors = try AnonymousPipe()
        var environment = ["IPC_ROOT=\(channelRoot)"]
        if let point { environment.append("IPC_KILL_POINT=\(point)") }
        // A victim that serves is alone until it has died, so that it comes to its point.
        let isAlone = role == "serve" && point != nil
        let first = try Peer(isAlone ? "true" : product("ChannelPeer"), ["serve", name])
        let victim = try ChildProcess(
            product("ChannelPeer"), role == "serve" ? ["serve", name] : ["call", name, "1000000", "0"],
            environment: .only(pairs: environment),
            descriptors: [1: errors.writer.descriptor, 2: errors.writer.descriptor])
        let said = errors.closingWriter()
        let one = try Peer(product("ChannelPeer"), ["call", name, "1000", "\(retries)"])
        let other = try Peer(product("ChannelPeer"), ["call", name, "1000", "\(retries)"])
        if point == nil {
            usleep(UInt32.random(in: 0..<30_000))  // the moment is random; nothing is waited for
            try? victim.handle.send(.kill)
        }
        let status = try victim.wait(until: .after(.seconds(30)))
        let text = String(decoding: try said.readToEnd(until: .after(.seconds(10))), as: UTF8.self)
        #expect(status == .signaled(.kill), "\(point ?? "random"): \(text)")
        if let point { #expect(text.hasSuffix("struck \(point.split(separator: ":")[0])\n"), "\(text)") }

        let second = try Peer(isAlone ? product("ChannelPeer") : "true", ["serve", name])
        let lost = try lost(one, point) + lost(other, point)
        var client = try service.makeClient()
        let end = try client.call(.max, until: .after(.seconds(5)))
        #expect(end == .failure(.outOfRange))
        let (firstEnd, _) = try first.finish()
        let (secondEnd, _) = try second.finish()
        #expect(firstEnd == .exited(0) && secondEnd == .exited(0))
        // Nothing is left of the dead one's calls.
        var server = try service.makeServer()
        let none = try server.tryNext() == nil
        #expect(none)
        return lost
    }

    /// How many calls a caller lost; it has said of each reply that was wrong.
    private func lost(_ caller: borrowing Peer, _ point: String?) throws -> Int {
        let (status, text) = try caller.finish()
        let lines = text.split(separator: "\n")
        #expect(status == .exited(0) && lines.count == 2, "\(point ?? "random"): \(text)")
        return lines.last.flatMap { Int($0.dropFirst(5)) } ?? -1
    }

    @Test(arguments: ["join.slot", "join.cursor", "work.taken", "call.answered", "call.replied", "sleep.flag"])
    func aServerDiesAnywhere(point: String) throws {
        for round in 0..<KillTests.repetitions * 2 {
            let after = ["work", "call"].contains { point.hasPrefix($0) } ? 1 + round * 97 % 900 : 1
            let lost = try trial("serve", "\(point):\(after)")
            // Only the call that it had, if it had not answered.
            #expect(lost == (["work.taken", "call.answered"].contains(point) ? 1 : 0))
            let retried = try trial("serve", "\(point):\(after)", retries: 1)
            #expect(retried == 0)
        }
    }

    @Test(arguments: [
        "join.slot", "claim.length", "claim.intent", "claim.done", "fill.header", "commit.stamp", "commit.sequence",
        "commit.wake", "block.start",
    ])
    func aCallerDiesAnywhere(point: String) throws {
        for round in 0..<KillTests.repetitions * 2 {
            let after = point.hasPrefix("join") ? 1 : point.hasPrefix("block") ? 1 + round % 20 : 1 + round * 97 % 400
            let lost = try trial("call", "\(point):\(after)")
            #expect(lost == 0)
        }
    }

    @Test func anyoneDiesAtRandomMoments() throws {
        for _ in 0..<KillTests.repetitions * 5 {
            let lost = try trial("serve", nil)
            #expect(lost <= 1)
            let retried = try trial("serve", nil, retries: 1)
            #expect(retried == 0)
            let none = try trial("call", nil)
            #expect(none == 0)
        }
    }

    @Test func theCallerOfADeadServerHearsOfItAtOnce() throws {
        let took = try shortest {
            let service = try service()
            defer { try? Doubling.remove(service.name.description) }
            let holder = try Peer(product("ChannelPeer"), ["hold-call", service.name.description])
            _ = try holder.said()
            var client = try service.makeClient()
            let call = try client.begin(42, until: .after(.seconds(20)))
            let took = try holder.said()
            #expect(took == "took 42\n")
            try holder.kill()
            let start = ContinuousClock.now
            let error = error(of: call)
            #expect(error?.code == .brokenPipe)
            return ContinuousClock.now - start
        }
        #expect(took < .milliseconds(50))
    }

    private func error(of call: consuming PendingCall<UInt64, Errno>) -> IPCError? {
        do throws(IPCError) { _ = try call.wait() } catch { return error }
        return nil
    }

    @Test func theServerOfADeadCallerHearsOfIt() throws {
        let service = try service()
        let name = service.name.description
        defer { try? Doubling.remove(name) }
        let caller = try Peer(product("ChannelPeer"), ["begin-call", name])
        _ = try caller.said()
        var server = try service.makeServer()
        let call = try server.next(until: .after(.seconds(5)))
        let before = call.isCancelled
        try caller.kill()
        // The one that recovers dies at it, and then the next one recovers.
        let victim = try ChildProcess(
            product("ChannelPeer"), ["serve", name],
            environment: .only(pairs: ["IPC_ROOT=\(channelRoot)", "IPC_KILL_POINT=call.withdrawn"]))
        let status = try victim.wait(until: .after(.seconds(10)))
        #expect(status == .signaled(.kill))
        var other = try service.makeServer()
        let after = call.isCancelled
        #expect(!before && after)
        try call.reply(1)
        let none = try other.tryNext() == nil
        #expect(none)
    }
}
