import Foundation
import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

/// The commands for the system's own mechanisms, against foreign tools.
@Suite(.timeLimit(.minutes(15))) struct MechanismCommandTests {
    private func shell(_ script: String) throws -> (status: IPC.ExitStatus, text: String) {
        try Peer("bash", ["-c", script.replacingOccurrences(of: "ipc ", with: "'\(product("ipc"))' ")]).finish()
    }

    @Test func aPipelineSaysWhatBecameOfEachStage() throws {
        #expect(try ipc("pipe", "--", "printf a\\nb\\nab\\n", "|", "grep a", "|", "wc -l").output == "2\n")
        let failed = try ipc("pipe", "--status", "--", "echo x", "|", "sh -c exit\\ 3")
        #expect(failed.status != .exited(0) && failed.errors.contains("echo"))
        let missing = try ipc("pipe", "--", "echo x", "|", "no-such-program")
        #expect(missing.status == .exited(127) && missing.errors.contains("no-such-program"))
        #expect(try ipc("pipe", "--", "echo x", "|").status == .exited(64))
    }

    @Test func namedPipesMeetCatAndEcho() throws {
        let path = "/tmp/\(uniqueName())"
        defer { unlink(path) }
        #expect(try ipc("fifo", "create", path).status == .exited(0))
        #expect(try ipc("fifo", "create", path).status == .exited(6))
        #expect(try shell("echo hello > \(path) & ipc fifo read \(path) --timeout 10; wait").text == "hello\n")
        #expect(try shell("cat \(path) & ipc fifo write \(path) there --timeout 10; wait").text == "there\n")
        #expect(try ipc("fifo", "read", path, "--timeout", "0.1").status == .exited(3))
        #expect(try ipc("fifo", "read", "/etc/hostname", "--timeout", "0.1").status != .exited(0))
    }

    @Test func sharedMemoryMeetsPython() throws {
        let name = "/" + uniqueName()
        defer { try? SharedMemory.unlink(name) }
        #expect(try ipc("shm", "create", name, "--size", "4096").status == .exited(0))
        #expect(try ipc("shm", "write", name, "--offset", "16", input: "from ipc").status == .exited(0))
        let code =
            "import mmap; f=open('/dev/shm\(name)','r+b'); m=mmap.mmap(f.fileno(),0); print(m[16:24].decode()); m[32:38]=b'python'"
        let peer = try Peer("python3", ["-c", code])
        #expect(try peer.finish().text == "from ipc\n")
        #expect(try ipc("shm", "read", name, "--offset", "32", "--count", "6").output == "python")
        #expect(try ipc("shm", "read", name, "--offset", "32", "--count", "2", "--hex").output == "7079\n")
        let beyond = try ipc("shm", "write", name, "--offset", "4090", input: "too long")
        #expect(beyond.status == .exited(64) && beyond.errors.contains("4096 bytes"))
        #expect(try ipc("shm", "resize", name, "--size", "8192").status == .exited(0))
        #expect(try ipc("shm", "unlink", name).status == .exited(0))
        #expect(try ipc("shm", "unlink", name).status == .exited(4))
    }

    @Test func filesAreMapped() throws {
        let path = "/tmp/\(uniqueName())"
        defer { unlink(path) }
        try Data("0123456789".utf8).write(to: URL(filePath: path))
        #expect(try ipc("mmap", "write", path, "--offset", "3", input: "abc").status == .exited(0))
        #expect(try ipc("mmap", "read", path, "--offset", "2", "--count", "5").output == "2abc6")
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "012abc6789")
    }

    @Test func messageQueuesMeetPosixIPC() throws {
        let name = "/" + uniqueName()
        defer { try? MessageQueue.unlink(name) }
        #expect(try ipc("mq", "create", name, "--message-size", "32").status == .exited(0))
        #expect(try ipc("mq", "send", name, "low", "--priority", "1").status == .exited(0))
        #expect(try ipc("mq", "send", name, "--priority", "5", input: "high\nhigh too\n").status == .exited(0))
        let peer = try Peer(
            python, ["-c", "import posix_ipc; print(posix_ipc.MessageQueue('\(name)').receive())"])
        #expect(try peer.finish().text == "(b'high', 5)\n")
        #expect(try ipc("mq", "receive", name, "--count", "2").output == "high too\nlow\n")
        let info = try ipc("mq", "info", name, "--format", "json")
        #expect(info.output == "{\"messages\":0,\"maximum-messages\":10,\"message-size\":32}\n")
        let long = try ipc("mq", "send", name, String(repeating: "x", count: 33))
        #expect(long.status == .exited(1) && long.errors.contains("32"))
        #expect(try ipc("mq", "receive", name, "--timeout", "0.1").status == .exited(3))
    }

    @Test func semaphoresAreCounted() throws {
        let name = "/" + uniqueName()
        defer { try? NamedSemaphore.unlink(name) }
        #expect(try ipc("sem", "create", name, "--value", "1").status == .exited(0))
        #expect(try ipc("sem", "wait", name, "--timeout", "5").status == .exited(0))
        #expect(try ipc("sem", "value", name).output == "0\n")
        #expect(try ipc("sem", "wait", name, "--timeout", "0.1").status == .exited(3))
        let waiter = try Tool(["sem", "wait", name, "--timeout", "20"])
        usleep(100_000)
        let peer = try Peer(python, ["-c", "import posix_ipc; posix_ipc.Semaphore('\(name)').release()"])
        _ = try peer.finish()
        #expect(try waiter.finish().status == .exited(0))
    }

    @Test func socketsMeetSocat() throws {
        let path = "/tmp/\(uniqueName()).sock"
        let server = try Tool(["socket", "listen", "unix://\(path)", "--credentials", "--exec", "tr a-z A-Z"])
        #expect(try server.complained().contains("listening on unix://\(path)"))
        #expect(try shell("printf 'hello' | socat - UNIX-CONNECT:\(path)").text == "HELLO")
        let outcome = try server.finish()
        #expect(outcome.status == .exited(0) && outcome.errors.contains("user \(getuid())"))
        #expect(access(path, F_OK) != 0)

        let receiver = try Tool(["socket", "listen", "unix://\(path)"])
        _ = try receiver.complained()
        #expect(try ipc("socket", "connect", "unix://\(path)", "--pass-fd", "/etc/hostname").status == .exited(0))
        let passed = try receiver.finish()
        #expect(try passed.output == String(contentsOfFile: "/etc/hostname", encoding: .utf8))
        #expect(passed.errors.contains("received a descriptor: /etc/hostname"))
        let refused = try ipc("socket", "connect", "unix://\(path)", "--timeout", "1")
        #expect(refused.status == .exited(4))
        #expect(try ipc("socket", "connect", "http://x").status == .exited(64))
    }

    @Test func datagramsAreLines() throws {
        let server = try Tool(["socket", "listen", "udp://127.0.0.1:0", "--timeout", "20"])
        let said = try server.complained()
        let port = try #require(said.split(separator: ":").last).filter(\.isNumber)
        #expect(try shell("printf hello | socat - UDP:127.0.0.1:\(port)").status == .exited(0))
        #expect(try server.finish().output == "hello\n")
        let receiver = try Peer("socat", ["-u", "UDP-RECV:\(port)", "-"])
        usleep(200_000)
        #expect(try ipc("socket", "connect", "udp://127.0.0.1:\(port)", input: "one\ntwo\n").status == .exited(0))
        #expect(try receiver.said().hasPrefix("one"))
        try receiver.kill()
    }

    @Test func signalsAreSentAndTraced() throws {
        #expect(try ipc("signal", "list").output.contains("SIGTERM"))
        let trace = try Tool(["signal", "trace", "USR1", "RTMIN+2"])
        #expect(try trace.complained().contains("process \(trace.peer.child.handle.identifier)"))
        let process = "\(trace.peer.child.handle.identifier)"
        _ = try shell("kill -USR1 \(process)")
        #expect(try trace.peer.said().hasPrefix("SIGUSR1 from process"))
        #expect(try ipc("signal", "send", "RTMIN+2", process, "--value", "42").status == .exited(0))
        #expect(try trace.peer.said().contains("value 42"))
        #expect(try ipc("signal", "send", "TERM", process).status == .exited(0))
        #expect(try trace.finish().status == .exited(143))
        #expect(try ipc("signal", "send", "TERM", "999999999").status == .exited(4))
    }
}
