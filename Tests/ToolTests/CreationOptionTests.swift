import Foundation
import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

/// Each command that makes a channel takes the same options for that, and what is given is what the channel is.
@Suite(.timeLimit(.minutes(15))) struct CreationOptionTests {
    /// Each makes the channel `$`, and ends.
    private static let commands = [
        ["topic", "publish", "$", "x"], ["topic", "subscribe", "$", "--count", "0"], ["queue", "push", "$", "x"],
        ["queue", "work", "$", "--count", "0"], ["latest", "set", "$", "x"], ["latest", "watch", "$", "--count", "0"],
        ["service", "call", "$", "x", "--timeout", "0"], ["event", "notify", "$"],
        ["event", "wait", "$", "--timeout", "0"],
    ]

    private func facts(_ name: String) throws -> [String: Any] {
        let text = try ipc("info", name, "--format", "json").output
        return try #require(JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any], "\(text)")
    }

    @Test(arguments: commands) func whatIsGivenIsWhatIsMade(command: [String]) throws {
        let name = channelName()
        defer { try? Topic<RawBytes>.remove(name) }
        let isEvent = command[0] == "event"
        let options = ["--keep", "--permissions", "0640"] + (isEvent ? [] : ["--capacity", "131072"])
        let outcome = try Tool(command.map { $0 == "$" ? name : $0 } + options).finish()
        #expect(outcome.status == .exited(command.contains("--timeout") ? 3 : 0), "\(outcome.errors)")
        let facts = try facts(name)
        #expect(facts["kept"] as? Bool == true && facts["permissions"] as? String == "0640", "\(facts)")
        // A service's is of one of four clients.
        let capacity = command[0] == "service" ? 4 * 131_072 : 131_072
        if !isEvent { #expect(facts["capacity"] as? Int == capacity, "\(facts)") }
    }

    @Test func aServerMakesItsServiceLikewise() throws {
        let name = channelName()
        defer { try? Topic<RawBytes>.remove(name) }
        let server = try Tool([
            "service", "serve", name, "--keep", "--permissions", "0640", "--capacity", "131072", "--maximum-waiting",
            "7", "--", "cat",
        ])
        #expect(eventually { (try? ChannelDescription(ChannelName(name)).participants.isEmpty) == false })
        try server.peer.child.handle.send(.terminate)
        #expect(try server.finish().status == .exited(143))
        let facts = try facts(name)
        #expect(facts["kept"] as? Bool == true && facts["permissions"] as? String == "0640", "\(facts)")
        #expect(facts["capacity"] as? Int == 524_288 && facts["maximum-waiting"] as? Int == 7, "\(facts)")
        // A caller that comes first decides as well.
        let other = channelName()
        defer { try? Topic<RawBytes>.remove(other) }
        _ = try ipc("service", "call", other, "x", "--keep", "--maximum-waiting", "9", "--timeout", "0")
        #expect(try self.facts(other)["maximum-waiting"] as? Int == 9)
    }

    /// What cannot be is refused, and not left out: also where the channel exists.
    @Test(arguments: commands) func whatCannotBeIsRefused(command: [String]) throws {
        let name = channelName()
        defer { try? Topic<RawBytes>.remove(name) }
        let words = command.map { $0 == "$" ? name : $0 }
        for isThere in [false, true] {
            if isThere { _ = try Tool(words + ["--keep"]).finish() }
            for options in [
                ["--capacity", "0"], ["--capacity=-1"], ["--capacity", "1e6"], ["--capacity", "2199023255552"],
                ["--permissions", "+600"], ["--permissions", "0800"],
            ] {
                let outcome = try Tool(words + options).finish()
                #expect(outcome.status == .exited(64), "\(words) \(options): \(outcome.errors)")
            }
            #expect(try ipc("info", name).status == .exited(isThere ? 0 : 4))
        }
    }

    @Test(arguments: ["0600", "0660", "0006 0666", "0020", "0070", "0060 0620", "0060 0660"])
    func subscribersThatAreNoneAreRefused(permissions: String) throws {
        let name = channelName()
        let words = permissions.split(separator: " ").map(String.init)
        let options = ["--subscriber-permissions", words[0]] + (words.count > 1 ? ["--permissions", words[1]] : [])
        for isThere in [false, true] {
            let kept = try isThere ? Topic<RawBytes>.openOrCreate(name, ChannelOptions(lifetime: .kept)) : nil
            defer { if kept != nil { try? Topic<RawBytes>.remove(name) } }
            let outcome = try Tool(["topic", "publish", name, "x"] + options).finish()
            #expect(outcome.status == .exited(64) && outcome.errors.contains(words[0]), "\(outcome.errors)")
            #expect(outcome.errors.contains("; request "), "\(outcome.errors)")
        }
    }

    @Test func theLimitOfWaitingCallsIsTheRealOne() throws {
        for number in ["0", "2147483648", "9223372036854775808"] {
            let refused = try ipc("service", "serve", channelName(), "--maximum-waiting", number, "--", "cat")
            #expect(refused.status == .exited(64) && refused.errors.contains("1 to 2147483647"), "\(refused.errors)")
        }
    }

    @Test func aCallThatIsRefusedHasAnExitCodeOfItsOwn() throws {
        let name = channelName()
        var options = ServiceOptions()
        options.maximumWaiting = 1
        let service = try ServiceChannel<RawBytes, RawBytes, CommandFailure>.openOrCreate(name, options)
        var client = try service.makeClient()
        let waiting = try client.begin(([1] as [UInt8]).span.bytes, replyLimit: 10, until: .after(.seconds(60)))
        let refused = try ipc("service", "call", name, "x", "--timeout", "10")
        #expect(refused.status == .exited(75) && refused.errors.contains("1 calls are waiting"), "\(refused.errors)")
        #expect(try ipc("--help").output.contains("75 not now"))
        withExtendedLifetime(waiting) {}
    }
}
