import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

/// How pipelines end: in order, cut short, and in processes that were started in unusual ways.
@Suite(.timeLimit(.minutes(5))) struct PipelineEndTests {
    /// A shell that says its number and that of a child in the background, in a file, and runs on.
    private struct Family {
        let path = "/tmp/" + uniqueName()
        var command: Pipeline.Command {
            ["sh", "-c", "\(prefix)sleep 1000 & echo $$ $! > \(path).new; mv \(path).new \(path); wait"]
        }
        var prefix = ""

        /// Both processes, once they run.
        func members() async throws -> [pid_t] {
            while access(path, F_OK) != 0 { try await Task.sleep(for: .milliseconds(2)) }
            let file = try FileDescriptor.open(FilePath(path), .readOnly)
            defer { try? file.close() }
            let text = try [UInt8](unsafeUninitializedCapacity: 64) { buffer, count in
                count = try file.read(into: UnsafeMutableRawBufferPointer(buffer))
            }
            unlink(path)
            return String(decoding: text, as: UTF8.self).split { " \n".contains($0) }.compactMap { pid_t($0) }
        }

        /// Whether none of them runs any more; one that was adopted may be a zombie for a moment.
        func areGone(_ members: [pid_t]) async throws -> Bool {
            for _ in 0..<500 {
                if members.allSatisfy({ kill($0, 0) != 0 && errno == ESRCH }) { return true }
                try await Task.sleep(for: .milliseconds(10))
            }
            return false
        }
    }

    private func error(_ body: () async throws -> Void) async -> IPCError? {
        do { try await body() } catch { return error as? IPCError }
        return nil
    }

    @Test(arguments: ["", "trap '' TERM; "])
    func cancellationThrowsAndEndsTheGrandchildrenToo(prefix: String) async throws {
        var family = Family()
        family.prefix = prefix
        var pipeline = Pipeline([family.command, ["cat"]])
        pipeline.gracePeriod = .milliseconds(300)
        let run = Task { [pipeline] in try await pipeline.run() }
        let members = try await family.members()
        #expect(members.count == 2 && members.allSatisfy { kill($0, 0) == 0 })
        run.cancel()
        let error = await error { _ = try await run.value }
        #expect(error?.code == .cancelled)
        #expect(try await family.areGone(members))
    }

    @Test func aDeadlineEndsThemLikewise() async throws {
        let family = Family()
        let pipeline = Pipeline([family.command])
        let run = Task { try await pipeline.run(until: .after(.milliseconds(500))) }
        let members = try await family.members()
        let error = await error { _ = try await run.value }
        #expect(error?.code == .timedOut)
        #expect(try await family.areGone(members))
        let early = await self.error { _ = try await pipeline.run(until: .immediate) }
        #expect(early?.code == .timedOut && access(family.path, F_OK) != 0)
    }

    @Test func aStoppedStageEndsToo() async throws {
        let run = Task { try await Pipeline([["sh", "-c", "kill -STOP $$"]]).run(until: .after(.milliseconds(200))) }
        let error = await error { _ = try await run.value }
        #expect(error?.code == .timedOut)
    }

    @Test func whatNeverWaitsEndsWhenItIsCancelled() async throws {
        let run = Task { try await Pipeline([["yes"]]).run(outputLimit: .max) }
        try await Task.sleep(for: .milliseconds(100))
        run.cancel()
        let error = await error { _ = try await run.value }
        #expect(error?.code == .cancelled)
        let long = await self.error { _ = try await Pipeline([["yes"]]).run(outputLimit: 1_000_000) }
        #expect(long?.code == .messageTooLarge && long?.resource == "yes")
    }

    @Test func anUnreadInputEndsNobody() throws {
        let (status, text) = try Peer.role("unread-input").finish(within: .seconds(60))
        #expect(status == .exited(0) && text == "alive\n")
    }

    @Test func anInputThatABackgroundProcessHoldsEndsNothing() async throws {
        let input = [UInt8](repeating: 1, count: 1 << 20)
        // The sleep has the input open, and reads nothing.
        let result = try await Pipeline([["sh", "-c", "sleep 2 <&0 >/dev/null 2>&1 & exit 3"]]).run(input: input)
        #expect(result.stages.map(\.outcome) == [.ended(.exited(3))])
    }

    @Test func anIgnoredSIGCHLDIsToldAndTheOutputKept() throws {
        let (status, text) = try Peer.role("ignored-children").finish(within: .seconds(20))
        let lines = text.split(separator: "\n")
        #expect(status == .exited(0) && lines.count == 3 && lines.first == "kept")
        #expect(lines.count == 3 && lines[1].hasPrefix("childFailed") && lines[1].contains("SIGCHLD"))
        #expect(lines.count == 3 && lines[2].hasPrefix("notFound") && lines[2].contains("SIGCHLD"))
    }

    @Test func aProgramWithoutStandardDescriptorsIsNoneTheWorse() throws {
        let pipe = try AnonymousPipe()
        let child = try ChildProcess(
            "sh", ["-c", "exec \(product("TestPeer")) closed-descriptors <&- >&- 2>&-"],
            descriptors: [3: pipe.writer.descriptor])
        let report = pipe.closingWriter()
        let text = String(decoding: try report.readToEnd(until: .after(.seconds(20))), as: UTF8.self)
        let status = try child.wait(until: .after(.seconds(20)))
        // `ls` has 0 to 2, and the folder.
        #expect(status == .exited(0) && text == "closed 3, true\n0\n1\n2\n3\n")
    }

    @Test(arguments: [EPERM, ENOSYS])
    func aSandboxThatRefusesNewCallsIsToldOrPassedBy(error: CInt) throws {
        let calls = ["pidfd_open", "pidfd_send_signal", "close_range", "preadv2", "pwritev2"]
        for refused in calls.map({ [$0] }) + [calls] {
            let peer = try Peer(product("TestPeer"), ["refused-calls", "\(error)"] + refused)
            let (status, text) = try peer.finish(within: .seconds(60))
            let handle = refused.contains("pidfd_open") ? "unsupported true" : "true"
            #expect(
                text == "exit code 7\nended by SIGTERM\ntrue\ntimedOut\n\(handle)\nend\n", "\(refused): \(text)")
            #expect(status == .exited(0))
        }
    }

    @Test func stagesHaveTheirEnvironmentAndFolder() async throws {
        let result = try await Pipeline(
            [["sh", "-c", "pwd; echo $GREETING; ps -o pgid= -p $$; echo $$"]],
            environment: .only(["GREETING": "hello", "PATH": "/usr/bin:/bin"]), workingDirectory: "/usr"
        ).run()
        let lines = result.text.split(separator: "\n").map { $0.filter { $0 != " " } }
        #expect(lines.count == 4 && lines[0] == "/usr" && lines[1] == "hello" && lines[2] == lines[3])
        let missing = try await Pipeline([["true"]], workingDirectory: "/no-such-folder").run()
        let error = failure { () throws(IPCError) in try missing.check() }
        #expect(error?.advice.contains("/no-such-folder") == true)
    }

    @Test func zeroBytesAndImpossibleNumbersAreRefused() {
        for (program, arguments, environment) in [
            ("tr\0ue", [], .inherited), ("true", ["a\0b"], .inherited), ("true", [], .only(["A": "\0"])),
            ("true", [], .changing(["A": "\0"])),
        ] as [(String, [String], ChildProcess.Environment)] {
            let error = failure { () throws(IPCError) in
                _ = try ChildProcess(program, arguments, environment: environment)
            }
            #expect(error?.code == .invalidArgument && error?.advice.contains("zero byte") == true)
        }
        for number: CInt in [-1, .min, .max, .max - 1, 1 << 30] {
            let error = failure { () throws(IPCError) in
                _ = try ChildProcess("true", descriptors: [number: .standardOutput])
            }
            #expect(error?.code == .invalidArgument, "\(number)")
        }
    }

    @Test func aGroupIsSignalledOnlyByItsLeadersParentAndBeforeItIsWaitedFor() throws {
        let plain = try ChildProcess("sleep", ["100"])
        let refused = failure { () throws(IPCError) in try plain.sendToGroup(.terminate) }
        #expect(refused?.code == .invalidArgument)
        let leader = try ChildProcess("sleep", ["100"], processGroup: .new)
        let member = try ChildProcess("sleep", ["100"], processGroup: .joining(leader.handle.identifier))
        try leader.sendToGroup(.terminate)
        let statuses = [try leader.wait(until: .after(.seconds(10))), try member.wait(until: .after(.seconds(10)))]
        #expect(statuses == [.signaled(.terminate), .signaled(.terminate)])
        let late = failure { () throws(IPCError) in try leader.sendToGroup(.terminate) }
        #expect(late?.code == .notFound)
    }

    @Test func manyRunsLeaveNothing() async throws {
        _ = try await Pipeline([["true"], ["true"]]).run(input: [1])
        let before = openDescriptorCount()
        for round in 0..<100 {
            let pipeline = Pipeline([["cat"], [round % 2 == 0 ? "cat" : "no-such-program"]])
            _ = try await pipeline.run(input: [1, 2, 3])
        }
        // Other tests run beside this one.
        #expect(openDescriptorCount() - before < 50)
    }
}
