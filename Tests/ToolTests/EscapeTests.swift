import Foundation
import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

@testable import IPCTool

/// Names that others chose do not reach a terminal as they are; what was looked at before a question is looked at again.
@Suite(.timeLimit(.minutes(15))) struct EscapeTests {
    /// Clears the screen, forges a line, and, as an 8-bit control, does it again; and turns the text round.
    private static let evil = "e\u{1B}[2J\nv\u{9B}31m\r\u{202E}"

    private static func isClean(_ text: String) -> Bool {
        text.unicodeScalars.allSatisfy { $0 == "\n" || !$0.isControl }
    }

    @Test func namesInTablesAreEscaped() throws {
        let name = uniqueName() + Self.evil
        let listener = try StreamListener(Endpoint("unix-abstract:\(name)"))
        let fifo = try NamedPipe.create(FilePath("/tmp/" + name))
        let reader = try fifo.tryOpenForReading()
        let memory = try SharedMemory.create("/" + name, byteCount: 4096)
        defer {
            try? fifo.unlink()
            try? SharedMemory.unlink("/" + name)
        }
        for arguments in [["ls"], ["ls", "--format", "json"], ["top", "--count", "1"], ["doctor"]] {
            let outcome = try Tool(arguments).finish()
            #expect(Self.isClean(outcome.output) && Self.isClean(outcome.errors), "\(arguments)")
            if arguments[0] == "ls" {
                #expect(outcome.output.split(separator: "\n").filter { $0.contains("2J") }.count >= 1)
            }
        }
        let text = try ipc("ls", "fifo").output
        #expect(text.contains(#"e\u{1b}[2J\nv\u{9b}31m\r\u{202e}"#), "\(text)")
        let json = try #require(
            JSONSerialization.jsonObject(with: Data(try ipc("ls", "fifo", "--format", "json").output.utf8))
                as? [[String: Any]])
        #expect(json.contains { $0["name"] as? String == "/tmp/" + name })
        for named in ["/tmp/" + name, "/" + name, "unix-abstract:" + name] {
            let outcome = try ipc("info", named)
            #expect(Self.isClean(outcome.output) && Self.isClean(outcome.errors))
        }
        #expect(reader.descriptor.rawValue >= 0)
        listener.close()
        withExtendedLifetime(memory) {}
    }

    @Test func namesInErrorsAreEscaped() throws {
        for arguments in [
            ["info", Self.evil], ["rm", Self.evil], ["clean", Self.evil], ["tap", Self.evil],
            ["mq", "info", "/" + Self.evil],
            ["topic", "publish", Self.evil, "x"], ["no-such-command" + Self.evil], ["ls", Self.evil],
            ["tap", "a", "--" + Self.evil],
            ["socket", "connect", "unix:///tmp/" + Self.evil], ["shm", "read", "/" + Self.evil],
        ] {
            let outcome = try Tool(arguments).finish()
            #expect(outcome.status != .exited(0), "\(arguments)")
            #expect(Self.isClean(outcome.errors) && Self.isClean(outcome.output), "\(arguments): \(outcome.errors)")
        }
        let error = failure { () throws(IPCError) in
            _ = try NamedPipe.open(FilePath("/nowhere/" + Self.evil)).tryOpenForReading()
        }
        #expect(
            error.map { Self.isClean("\($0)") && !"\($0)".contains("\n") && $0.resource.contains("\u{1B}") } == true)
    }

    @Test func theSettingOfSystemdIsFound() throws {
        let root = "/tmp/" + uniqueName()
        defer { removeAll(root) }
        func write(_ path: String, _ text: String) throws {
            let url = URL(fileURLWithPath: root + path)
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
            try text.write(to: url, atomically: true, encoding: .utf8)
        }
        func advice(_ user: uid_t = 1000) -> String? { RemoveIPC(root: root, user: user, name: "alice").finding.advice }
        #expect(advice() == nil, "no logind runs there")
        try write("/run/systemd/users/1000", "")
        #expect(advice()?.contains("RemoveIPC=no") == true, "the default is yes")
        #expect(advice(0) == nil && advice(999) == nil)
        try write("/etc/systemd/logind.conf", "[Login]\n#RemoveIPC=yes\n RemoveIPC = no \n")
        #expect(advice() == nil)
        try write("/usr/lib/systemd/logind.conf.d/50-x.conf", "[Login]\nRemoveIPC=yes\n")
        #expect(advice() != nil, "an addition has the last word")
        try write("/etc/systemd/logind.conf.d/50-x.conf", "[Login]\nRemoveIPC=off\n")
        #expect(advice() == nil, "the administrator's replaces the package's of the same name")
        try write("/etc/systemd/logind.conf", "[Login]\nRemoveIPC=yes\n")
        try write("/etc/systemd/logind.conf.d/50-x.conf", "")
        #expect(advice() != nil)
        try write("/var/lib/systemd/linger/alice", "")
        #expect(advice() == nil)
    }

    @Test func aServerThatStartsDuringTheQuestionKeepsItsFile() throws {
        let path = "/tmp/\(uniqueName()).sock"
        let old = try Peer("socat", ["UNIX-LISTEN:\(path)", "-"])
        #expect(eventually { access(path, F_OK) == 0 })
        try old.kill()
        // A terminal to be asked on.
        let script = "'\(product("ipc"))' clean '\(path)'"
        let pipe = try AnonymousPipe()
        let asked = try Peer(
            "script", ["-qec", script, "/dev/null"],
            environment: ["IPC_ROOT=\(channelRoot)-none", "PATH=/usr/bin:/bin"],
            descriptors: [0: pipe.reader.descriptor])
        var said = ""
        while !said.contains("[y/N]") { said += try asked.said() }
        let server = try StreamListener(Endpoint("unix://\(path)"))
        try pipe.writer.write(Array("y\n".utf8).span.bytes, until: .after(.seconds(5)))
        let (_, text) = try asked.finish()
        #expect(text.contains("used again"), "\(said)\(text)")
        #expect(access(path, F_OK) == 0)
        server.close()
    }

    @Test func aTopicThatIsRemovedAllTheTimeCanBePublishedTo() throws {
        let name = channelName()
        let loop = """
            for i in $(seq 40); do '\(product("ipc"))' topic publish \(name) x --quiet --permissions 0640 || echo "publish $?"; done &
            for i in $(seq 40); do '\(product("ipc"))' topic publish \(name) y --quiet --permissions 0640 || echo "publish $?"; done &
            for i in $(seq 40); do '\(product("ipc"))' rm \(name) 2>&1 | grep -v "no such channel\\|is no channel, object"; done &
            wait
            """
        let (_, text) = try Peer(
            "bash", ["-c", loop + " 2>&1"], environment: ["IPC_ROOT=\(channelRoot)", "PATH=/usr/bin:/bin"]
        ).finish()
        // Removed between joining and publishing is told as such.
        let failures = text.split(separator: "\n").filter {
            !$0.contains("removed while it was in use") && $0 != "publish 1"
        }
        #expect(failures.isEmpty, "\(text)")
    }
}
