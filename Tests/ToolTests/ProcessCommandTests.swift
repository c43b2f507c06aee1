import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

/// What becomes of the commands that the command runs.
@Suite(.timeLimit(.minutes(15))) struct ProcessCommandTests {
    /// Says its number and that of a child in the background, and runs on.
    private static let family = "sleep 1000 & echo $$ $!; wait"

    private func numbers(_ text: String) -> [pid_t] { text.split { " \n".contains($0) }.compactMap { pid_t($0) } }

    private func areGone(_ processes: [pid_t]) -> Bool {
        eventually { processes.allSatisfy { kill($0, 0) != 0 && errno == ESRCH } }
    }

    /// The queues are kept ones: another test's `ipc clean` takes others while nobody has them.
    private func removeQueue(_ name: String) {
        do throws(IPCError) { try WorkQueue<RawBytes>.remove(name) } catch { Issue.record(error) }
    }

    @Test(arguments: [Signal.terminate, .interrupt, .hangUp, .kill])
    func noCommandOfAnUnacknowledgedJobGoesOn(signal: Signal) throws {
        let name = channelName()
        defer { removeQueue(name) }
        _ = try ipc("queue", "push", name, "--keep", "one", "two")
        let work = try Tool(["queue", "work", name, "--concurrency", "2", "--", "sh", "-c", Self.family])
        var text = ""
        while text.split(separator: "\n").count < 2 { text += try work.peer.said() }
        let family = numbers(text)
        #expect(family.count == 4 && family.allSatisfy { kill($0, 0) == 0 })
        try work.peer.child.handle.send(signal)
        let outcome = try work.finish()
        #expect(outcome.status == (signal == .kill ? .signaled(.kill) : .exited(128 + signal.rawValue)))
        #expect(areGone(family))
        #expect(try ipc("queue", "peek", name).output.contains("one"))
    }

    @Test(arguments: [Signal.terminate, .hangUp, .kill])
    func noStageOfAPipelineGoesOn(signal: Signal) throws {
        let path = "/tmp/" + uniqueName()
        defer { unlink(path) }
        let pipe = try Tool(["pipe", "--", "sh", "-c", "sleep 1000 & echo $$ $! > \(path); wait", "|", "cat"])
        #expect(eventually { numbers(contents(path)).count == 2 })
        let family = numbers(contents(path))
        try pipe.peer.child.handle.send(signal)
        _ = try pipe.finish()
        #expect(family.count == 2 && areGone(family))
    }

    private func contents(_ path: String) -> String {
        guard let file = fopen(path, "r") else { return "" }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 256)
        return String(decoding: bytes[..<fread(&bytes, 1, bytes.count, file)], as: UTF8.self)
    }

    @Test func anAttemptReplacesAnInheritedOne() throws {
        let name = channelName()
        defer { removeQueue(name) }
        _ = try ipc("queue", "push", name, "--keep", "job")
        // Not by way of a shell, which would keep one of two.
        let work = try ipc(
            "queue", "work", name, "--count", "1", "--timeout", "10", "--", "env", environment: ["IPC_ATTEMPT": "77"])
        let attempts = work.output.split(separator: "\n").filter { $0.hasPrefix("IPC_ATTEMPT=") }
        #expect(attempts == ["IPC_ATTEMPT=1"])
    }

    @Test func aCommandMayLeaveInputUnreadIfItSucceeds() throws {
        let name = channelName()
        defer { removeQueue(name) }
        let large = String(repeating: "x", count: 300_000)
        _ = try ipc("queue", "push", name, "--keep", "--whole", "--capacity", "4194304", input: large)
        let failed = try ipc("queue", "work", name, "--count", "1", "--timeout", "10", "--", "sh", "-c", "exec false")
        #expect(
            failed.status == .exited(1) && failed.errors.contains("exit code 1 at attempt 1; the job returns"))
        let worked = try ipc("queue", "work", name, "--count", "1", "--timeout", "10", "--", "head", "-c", "3")
        #expect(worked.status == .exited(0) && worked.output == "xxx")
        #expect(try ipc("queue", "peek", name).output == "")
    }

    @Test func aCommandThatRunsWhenNoMoreJobsComeIsWaitedFor() throws {
        let name = channelName()
        defer { removeQueue(name) }
        _ = try ipc("queue", "push", name, "--keep", "job")
        let work = try ipc(
            "queue", "work", name, "--concurrency", "2", "--timeout", "0.2", "--", "sh", "-c", "sleep 1; echo done")
        #expect(work.status == .exited(3) && work.output == "done\n")
        #expect(try ipc("queue", "peek", name).output == "")
    }

    @Test func whatAFailedCommandLeftInTheBackgroundEnds() throws {
        let name = channelName()
        defer { removeQueue(name) }
        _ = try ipc("queue", "push", name, "--keep", "job")
        let script = "sleep 1000 > /dev/null 2>&1 & echo $!; exit 3"
        let work = try ipc("queue", "work", name, "--count", "1", "--timeout", "10", "--", "sh", "-c", script)
        #expect(numbers(work.output).count == 1 && areGone(numbers(work.output)))
    }

    @Test func aPipelineKeepsItsOutputWhateverTheLauncherIgnoredOrClosed() throws {
        let tool = product("ipc")
        // By `env`, since shells do not pass an ignored SIGCHLD on.
        for prefix in ["env --ignore-signal=CHLD", "env --ignore-signal=PIPE"] {
            let (status, text) = try Peer("sh", ["-c", "exec \(prefix) \(tool) pipe -- 'echo hi' '|' cat"]).finish()
            #expect(status == .exited(0) && text == "hi\n", "\(prefix)")
        }
        for prefix in ["exec <&-;", "exec 2>&-;", "exec <&- 2>&-;"] {
            let (status, text) = try Peer("sh", ["-c", "\(prefix) exec \(tool) pipe -- 'echo hi' '|' cat"]).finish()
            #expect(status == .exited(0) && text == "hi\n", "\(prefix)")
        }
        // Without standard output, what is written goes nowhere, and not into a file that is opened.
        let silent = try Peer("sh", ["-c", "exec \(tool) pipe -- 'echo hi' >&-"]).finish()
        #expect(silent.status == .exited(0) && silent.text == "")
    }

    @Test func anUnreadInputIsNoError() throws {
        for _ in 0..<5 {
            let (status, text) = try Peer(
                "bash", ["-c", "set -o pipefail; seq 100000 | \(product("ipc")) pipe --input -- head -1"]
            ).finish()
            #expect(status == .exited(0) && text == "1\n")
        }
    }

    @Test func hangingUpLeavesNoSocketFileAndNohupIsKept() throws {
        let path = "/tmp/" + uniqueName()
        let listener = try Tool(["socket", "listen", "unix://\(path)", "--keep"])
        _ = try listener.complained()
        try listener.peer.child.handle.send(.hangUp)
        #expect(try listener.finish().status == .exited(129))
        #expect(access(path, F_OK) != 0)
        let kept = try Peer("sh", ["-c", "trap '' HUP; exec \(product("ipc")) signal wait USR1"])
        #expect(eventually { catches(kept.child.handle.identifier, SIGUSR1) })
        try kept.child.handle.send(.hangUp)
        try kept.child.handle.send(.userDefined1)
        let (status, text) = try kept.finish()
        #expect(status == .exited(0) && text.hasPrefix("SIGUSR1"))
    }

    @Test func aSignalThatIsWaitedForDoesNotEndTheWait() throws {
        let wait = try Tool(["signal", "wait", "TERM"])
        #expect(eventually { catches(wait.peer.child.handle.identifier, SIGTERM) })
        try wait.peer.child.handle.send(.terminate)
        let outcome = try wait.finish()
        #expect(outcome.status == .exited(0) && outcome.output.hasPrefix("SIGTERM from process \(getpid())"))
    }

    /// Whether a process has a handler for a signal, by `SigCgt` of its status.
    private func catches(_ process: pid_t, _ signal: CInt) -> Bool {
        guard let file = fopen("/proc/\(process)/status", "r") else { return false }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 8192)
        let text = String(decoding: bytes[..<fread(&bytes, 1, bytes.count, file)], as: UTF8.self)
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("SigCgt:") }) else { return false }
        return UInt64(line.split(separator: "\t").last!, radix: 16)! & (1 << UInt64(signal - 1)) != 0
    }
}
