#if NATS
    import Glibc
    import IPC
    import TestSupport
    import Testing

    /// The short form of `Scripts/cluster.sh`: three hosts in network namespaces.
    @Suite(.serialized) struct ClusterTests {
        /// Why it is skipped for others.
        static let reason: Comment =
            "it makes network namespaces, which only root may do, and needs ip, unshare and nsenter"

        static let isPossible =
            getuid() == 0
            && succeeds(
                "unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "ip", "link", "add", "hub", "type",
                "bridge")
            && succeeds("nsenter", "--version")

        private static func succeeds(_ program: String, _ arguments: String...) -> Bool {
            guard
                let child = try? ChildProcess(
                    program, arguments, standardInput: .empty, standardOutput: .discarded, standardError: .discarded),
                let status = try? child.wait(until: .after(.seconds(20)))
            else { return false }
            return status.isSuccess
        }

        /// Another seed each time: a failure says which it was.
        @Test(
            .enabled(if: TestNetwork.serverProgram != nil, "IPC_TEST_NATS_SERVER does not name a NATS server"),
            .enabled(if: isPossible, reason), .timeLimit(.minutes(4)))
        func nothingAcknowledgedIsLostOrDoubledThoughHostsAreCutOffAndAllAreKilled() throws {
            let seed = getenv("IPC_TEST_SEED").map { String(cString: $0) } ?? "\(UInt32.random(in: 1 ... .max))"
            let cluster = try Peer(
                product("Cluster"),
                [
                    "--server", TestNetwork.serverProgram!, "--bridge", product("ipc-bridge"), "--messages", "20000",
                    "--jobs", "2000", "--calls", "500", "--minutes", "0.6", "--cut", "3", "--cuts", "2", "--seed", seed,
                ])
            let (status, text) = try cluster.finish(within: .seconds(220))
            print(text)
            #expect(status == .exited(0), "seed \(seed): \(text)")
            #expect(text.contains("cuts        2 "), "seed \(seed): \(text)")
            for nothing in ["(0 executed on another host)", "(0 on another host)", " 0 of bridge", " 0 of nats"] {
                #expect(!text.contains(nothing), "seed \(seed): \(text)")
            }
        }
    }
#endif
