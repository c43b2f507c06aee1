import Foundation
import IPC
import TestSupport
import Testing

/// `ipc bridge` is another program; the bridge itself is tested with the trait NATS, in BridgeTests.
@Suite(.timeLimit(.minutes(15)))
struct BridgeCommandTests {
    #if !NATS
        @Test func withoutNATSTheProgramSaysHowToBuildIt() throws {
            let outcome = try Tool(["bridge", "--config", "none.json"]).finish()
            #expect(outcome.status == .exited(1) && outcome.output.isEmpty)
            #expect(
                outcome.errors
                    == "ipc-bridge was built without NATS: build it with swift build -c release --traits NATS.\n")
        }
    #endif

    @Test func whereTheProgramIsNotThereItIsToldHowToGetIt() throws {
        let folder = "/tmp/" + uniqueName()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        defer { removeAll(folder) }
        try FileManager.default.copyItem(atPath: product("ipc"), toPath: folder + "/ipc")
        let (status, text) = try Peer("/bin/sh", ["-c", "exec \"$0\" bridge status 2>&1", folder + "/ipc"]).finish()
        #expect(status == .exited(4))
        #expect(text.contains("libnats-dev") && text.contains("--traits NATS --product ipc-bridge"), "\(text)")
        #expect(text.split(separator: "\n").count == 1)
    }
}
