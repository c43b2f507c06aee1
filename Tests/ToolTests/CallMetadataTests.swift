import Foundation
import Glibc
import IPC
import IPCChannels
import TestSupport
import Testing

@testable import IPCTool

/// What a command that answers a call is told of the call, beside the request.
@Suite(.timeLimit(.minutes(15))) struct CallMetadataTests {
    private typealias CommandService = ServiceChannel<RawBytes, RawBytes, CommandFailure>

    /// Answers with its environment.
    private func serve(_ name: String, environment: [String: String] = [:]) throws -> Tool {
        // Not by way of a shell, which would keep one of two.
        let server = try Tool(["service", "serve", name, "--", "env", "-0"], environment: environment)
        #expect(eventually { (try? ChannelDescription(ChannelName(name)).participants.isEmpty) == false })
        return server
    }

    private func variables(_ text: String) -> [String] { text.split(separator: "\0").map(String.init) }

    @Test func metadataAndCallerAreInTheEnvironment() throws {
        let name = channelName()
        let server = try serve(name)
        let caller = try Tool(
            [
                "service", "call", name, "x", "--metadata", "tenant=acme", "--metadata", "Trace_1=a=b\nc", "--metadata",
                "empty=", "--timeout", "20",
            ])
        let process = caller.peer.child.handle.identifier
        let outcome = try caller.finish()
        #expect(outcome.status == .exited(0), "\(outcome.errors)")
        let found = variables(outcome.output).filter { $0.hasPrefix("IPC_") && !$0.hasPrefix("IPC_ROOT") }
        #expect(
            found.sorted() == [
                "IPC_ATTEMPT=1", "IPC_CALLER_PID=\(process)", "IPC_CALLER_USER=\(geteuid())", "IPC_METADATA_EMPTY=",
                "IPC_METADATA_TENANT=acme", "IPC_METADATA_TRACE_1=a=b\nc",
            ])
        try server.peer.child.handle.send(.terminate)
        #expect(try server.finish().status == .exited(143))
    }

    @Test func nothingOfTheServersOwnIsTakenForTheCallers() throws {
        let name = channelName()
        let server = try serve(
            name,
            environment: [
                "IPC_METADATA_TENANT": "forged", "IPC_METADATA_": "forged", "IPC_CALLER_USER": "forged",
                "IPC_CALLER_PID": "forged", "KEPT": "kept",
            ])
        let outcome = try ipc("service", "call", name, "x", "--timeout", "20")
        #expect(outcome.status == .exited(0) && !outcome.output.contains("forged"), "\(outcome.output)")
        #expect(outcome.output.contains("KEPT=kept"))
        try server.peer.child.handle.send(.terminate)
        #expect(try server.finish().status == .exited(143))
    }

    /// A caller need not be this command.
    @Test func aHostileCallerSetsNothingElse() throws {
        let name = channelName()
        let server = try serve(name)
        var client = try CommandService.open(name).makeClient()
        let metadata = [
            "good": "1", "PATH": "2", "": "3", "a=b": "4", "../x": "5", "a b": "6", "é": "7", "o\u{301}": "8",
            "nul": "9\0IPC_CALLER_USER=0", "nul\0LD_PRELOAD": "10", "x\nLD_PRELOAD": "11", "twice": "12", "TWICE": "13",
        ]
        let nothing: [UInt8] = []
        let text = try client.call(
            nothing.span.bytes, replyLimit: 65_536, CallOptions(metadata: metadata),
            until: .after(.seconds(20))
        ) { (bytes) throws(IPCError) in bytes.withUnsafeBytes { String(decoding: $0, as: UTF8.self) } }.get()
        let all = variables(text)
        #expect(
            all.filter { $0.hasPrefix("IPC_METADATA") }.sorted() == ["IPC_METADATA_GOOD=1", "IPC_METADATA_PATH=2"])
        #expect(all.contains { $0.hasPrefix("PATH=/") } && !text.contains("LD_PRELOAD"), "\(all)")
        #expect(all.filter { $0.hasPrefix("IPC_CALLER_USER=") } == ["IPC_CALLER_USER=\(geteuid())"])
        try server.peer.child.handle.send(.terminate)
        #expect(try server.finish().status == .exited(143))
    }

    @Test(arguments: ["key", "=value", "a-b=c", "a b=c", "é=c", "e\u{301}=c", "a.b=c"])
    func aKeyThatIsNoneIsRefused(pair: String) throws {
        let name = channelName()
        let refused = try ipc("service", "call", name, "x", "--metadata", pair, "--timeout", "0")
        #expect(refused.status == .exited(64) && refused.errors.contains("letters"), "\(refused.errors)")
        #expect(try ipc("info", name).status == .exited(4))
    }

    @Test func whatIsTwiceOrTooMuchIsRefused() throws {
        let twice = try ipc("service", "call", channelName(), "x", "--metadata", "a=1", "--metadata", "A=2")
        #expect(twice.status == .exited(64) && twice.errors.contains("twice"), "\(twice.errors)")
        let long = "a=" + String(repeating: "x", count: CallOptions.maximumMetadataBytes)
        let large = try ipc("service", "call", channelName(), "x", "--metadata", long, "--timeout", "0")
        #expect(large.status == .exited(1) && large.errors.contains("8192"), "\(large.errors)")
    }

    @Test func aServerOrAWorkerMayBeRequired() throws {
        let (service, queue) = (channelName(), channelName())
        let call = try ipc("service", "call", service, "x", "--require-server", "--timeout", "20")
        #expect(call.status == .exited(75) && call.errors.contains("no server has joined"), "\(call.errors)")
        let push = try ipc("queue", "push", queue, "x", "--require-worker", "--timeout", "20")
        #expect(push.status == .exited(75) && push.errors.contains("no worker has joined"), "\(push.errors)")
        #expect(try ipc("queue", "peek", queue).output.isEmpty)
        try WorkQueue<RawBytes>.remove(queue)
    }
}
