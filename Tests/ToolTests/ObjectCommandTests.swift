import Foundation
import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

@testable import IPCTool

/// `ls`, `info`, `rm`, `clean`, `doctor`, `choose`.
@Suite(.timeLimit(.minutes(15))) struct ObjectCommandTests {
    private func listed(_ kind: String, environment: [String: String] = [:]) throws -> [[String: Any]] {
        let output = try ipc("ls", kind, "--format", "json", environment: environment).output
        return try #require(JSONSerialization.jsonObject(with: Data(output.utf8)) as? [[String: Any]])
    }

    @Test func everyKindIsListedWithItsHolders() throws {
        let name = "/" + uniqueName()
        let mapping = try SharedMemory.create(name, byteCount: 8192).map()
        let semaphore = try NamedSemaphore.create(name, value: 3)
        let path = "/tmp/\(uniqueName())"
        let fifo = try NamedPipe.create(FilePath(path))
        let reader = try fifo.tryOpenForReading()
        let listener = try StreamListener(Endpoint("unix://\(path).sock"))
        let tcp = try StreamListener(Endpoint("tcp://127.0.0.1:0"))
        let endpoint = try #require(try tcp.localEndpoint)
        let pipe = try AnonymousPipe()
        let topic = try Topic<UInt64>.openOrCreate(channelName())
        let publisher = try topic.makePublisher()
        defer {
            try? SharedMemory.unlink(name)
            try? NamedSemaphore.unlink(name)
            try? fifo.unlink()
        }
        for (kind, wanted) in [
            ("shm", name), ("sem", name), ("fifo", path), ("unix", "unix://\(path).sock"), ("tcp", "\(endpoint)"),
            ("channel", topic.name.description),
        ] {
            let found = try #require(try listed(kind).first { $0["name"] as? String == wanted }, "\(kind)")
            #expect((found["holders"] as? [Int])?.contains(Int(getpid())) == true, "\(kind)")
            #expect(found["stale"] as? Bool == false)
        }
        #expect(try listed("sem").first { $0["name"] as? String == name }?["depth"] as? String == "3")
        #expect(try listed("shm").first { $0["name"] as? String == name }?["size"] as? Int == 8192)
        #expect(try listed("pipe").contains { ($0["holders"] as? [Int])?.contains(Int(getpid())) == true })
        withExtendedLifetime(mapping) {}
        semaphore.close()
        publisher.close()
        for descriptor in [reader.descriptor, listener.descriptor, tcp.descriptor, pipe.reader.descriptor] {
            #expect(descriptor.rawValue >= 0)
        }
    }

    @Test func systemVObjectsAreThoseOfIPCS() throws {
        let made = try Peer("ipcmk", ["--shmem", "4096"]).finish().text
        let identifier = try #require(
            made.split(separator: " ").last.flatMap { Int($0.trimmingCharacters(in: .newlines)) })
        defer { _ = try? Peer("ipcrm", ["--shmem-id", "\(identifier)"]).finish() }
        let found = try #require(try listed("sysv").first { $0["name"] as? String == "shm:\(identifier)" })
        #expect(found["size"] as? Int == 4096)
        let theirs = try Peer("ipcs", ["--shmems", "--id", "\(identifier)"]).finish().text
        #expect(theirs.contains("bytes=4096"))
    }

    @Test(.enabled(if: getuid() == 0)) func whatIsNotPermittedIsSaid() throws {
        let name = "/" + uniqueName()
        _ = try SharedMemory.create(name, byteCount: 4096)
        defer { try? SharedMemory.unlink(name) }
        // Where everybody may run it.
        let copy = "/tmp/\(uniqueName())"
        try FileManager.default.copyItem(atPath: product("ipc"), toPath: copy)
        defer { unlink(copy) }
        let script = "exec setpriv --reuid=65534 --regid=65534 --clear-groups \(copy) shm read \(name) 2>&1"
        let (status, text) = try Peer("bash", ["-c", script]).finish()
        #expect(status == .exited(5) && text.split(separator: "\n").count == 1, "\(text)")
    }

    @Test func namesAreTakenAway() throws {
        let name = "/" + uniqueName()
        _ = try SharedMemory.create(name, byteCount: 4096)
        _ = try NamedSemaphore.create(name, value: 0)
        let both = try ipc("rm", name)
        #expect(both.status == .exited(64) && both.errors.contains("shm and sem") && both.errors.contains("--kind"))
        #expect(try ipc("rm", name, "--kind", "sem").status == .exited(0))
        // Nothing is removed if one of the names is wrong.
        #expect(try ipc("rm", name, "/no-such-name").status == .exited(4))
        #expect(try ipc("info", name).output.contains("4096 B"))
        #expect(try ipc("rm", name).status == .exited(0))
        #expect(try ipc("info", name).status == .exited(4))
    }

    @Test func whatIsDeadIsShownAndRemoved() throws {
        // In a root of its own: other tests kill their participants, too.
        let root = channelRoot + "-clean"
        let environment = ["IPC_ROOT": root]
        defer { try? FileManager.default.removeItem(atPath: root) }
        let topic = try Topic<RawBytes>.openOrCreate(
            channelName(), in: ChannelRoot(FilePath(root)), ChannelOptions(writers: .shared))
        let name = topic.name.description
        let peer = try Peer(product("ChannelPeer"), ["hold-publisher", name], environment: ["IPC_ROOT=\(root)"])
        _ = try peer.said()
        func isStale() throws -> Bool? {
            try listed("channel", environment: environment).first { $0["name"] as? String == name }?["stale"] as? Bool
        }
        #expect(try isStale() == false)
        try peer.kill()
        #expect(try isStale() == true)
        let asked = try ipc("clean", environment: environment)
        #expect(asked.status == .exited(64) && asked.errors.contains(name) && asked.errors.contains("--yes"))
        let path = "/tmp/\(uniqueName()).sock"
        let server = try Peer("socat", ["UNIX-LISTEN:\(path)", "-"])
        #expect(eventually { access(path, F_OK) == 0 })
        try server.kill()
        #expect(try ipc("clean", "--yes", path, environment: environment).status == .exited(0))
        #expect(access(path, F_OK) != 0)
        #expect(try ChannelRoot(FilePath(root)).names().isEmpty)
        #expect(try ipc("clean", "/etc/hostname", environment: environment).status == .exited(1))
    }

    @Test func limitsAreExplained() throws {
        let run = try ipc("doctor", "--format", "json")
        let findings = try #require(JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [[String: Any]])
        #expect(findings.contains { $0["name"] as? String == "/dev/shm" })
        #expect(findings.allSatisfy { ($0["meaning"] as? String)?.isEmpty == false })
        #expect(findings.allSatisfy { ($0["ok"] as? Bool == true) == ($0["advice"] is NSNull) })
        let low = try Peer("bash", ["-c", "ulimit -n 64; '\(product("ipc"))' doctor"]).finish()
        #expect(low.status == .exited(1) && low.text.contains("ulimit -n"))
    }

    @Test func adviceHasReasonsFiguresAndCode() throws {
        let cache = "/tmp/\(uniqueName())"
        defer { try? FileManager.default.removeItem(atPath: cache) }
        let fresh = try ipc("choose", "--size", "1000000", "--rate", "500000", environment: ["XDG_CACHE_HOME": cache])
        #expect(fresh.output.hasPrefix("Topic") && fresh.output.contains("Not measured here yet"))
        _ = try ipc(
            "bench", "--mechanism", "topic", "--size", "64", "--count", "100", "--placement", "free",
            environment: ["XDG_CACHE_HOME": cache])
        let measured = try ipc(
            "choose", "--size", "1000000", "--rate", "500000", environment: ["XDG_CACHE_HOME": cache])
        #expect(measured.output.contains("Measured here") && measured.output.contains("round trip of "))
        for (flags, type) in [
            (["--remote"], "StreamSocket"), (["--related"], "AnonymousPipe"), (["--receivers", "reply"], "Service"),
            (["--receivers", "any"], "WorkQueue"), (["--no-related"], "StreamSocket"), (["--survives-crash"], "Topic"),
            (["--remote", "--rate", "1000000"], "DatagramSocket"), (["--remote", "--receivers", "all"], "Topic"),
            (["--remote", "--receivers", "any"], "WorkQueue"), (["--remote", "--receivers", "reply"], "Service"),
            (["--remote", "--survives-crash"], "Topic"),
        ] {
            let output = try Tool(["choose"] + flags).finish().output
            #expect(output.hasPrefix(type), "\(flags): \(output)")
            // A channel gets to other machines by a bridge.
            let isCarried = flags.first == "--remote" && !type.hasSuffix("Socket")
            #expect(output.contains("ipc bridge --server") == isCarried, "\(flags): \(output)")
        }
    }

    @Test func badArgumentsAndNamesAreOneLine() throws {
        for (arguments, code) in [
            (["topic", "publish", "a//b", "x"], 64), (["shm", "create", "no-slash/", "--size", "1"], 64),
            (["mq", "info", "/" + uniqueName()], 4), (["queue", "peek", channelName()], 4),
            (["shm", "read", "/" + uniqueName()], 4), (["pipe", "--", "echo x", "|"], 64),
        ] as [([String], Int32)] {
            let outcome = try Tool(arguments).finish()
            #expect(outcome.status == .exited(code), "\(arguments): \(outcome.errors)")
            #expect(outcome.errors.split(separator: "\n").count == 1 && outcome.output.isEmpty, "\(outcome.errors)")
        }
        let full = try Peer("bash", ["-c", "'\(product("ipc"))' signal list > /dev/full; echo $?"])
        #expect(try full.finish().text == "1\n")
    }

    /// Each call that a sandbox refuses, by whatever error, is named, and no other.
    @Test(arguments: [ENOSYS, EPERM, EACCES])
    func doctorNamesTheCallsThatASandboxRefuses(error: CInt) throws {
        let calls = ["futex_waitv", "membarrier", "pidfd_open", "memfd_create"]
        for refused in [[]] + calls.map({ [$0] }) + [calls] {
            for format in ["json", "text"] {
                let words = ["doctor", "--format", format]
                let peer =
                    refused.isEmpty
                    ? try Peer(product("ipc"), words)
                    : try Peer(
                        product("TestPeer"),
                        ["exec-refused", "\(error)", refused.joined(separator: ","), product("ipc")] + words)
                let (status, text) = try peer.finish(within: .seconds(30))
                guard case .exited(let code) = status, code <= 1 else {
                    Issue.record("\(refused): \(status) \(text)")
                    continue
                }
                guard format == "json" else {
                    for name in refused { #expect(text.contains("\n\(name): "), "\(refused): \(text)") }
                    continue
                }
                let all = try #require(
                    try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [[String: Any]], "\(text)")
                let named = all.filter { $0["ok"] as? Bool == false && calls.contains($0["name"] as? String ?? "") }
                #expect(Set(named.map { $0["name"] as? String ?? "" }) == Set(refused), "\(refused)")
                for finding in named {
                    let (value, advice) = (finding["value"] as? String ?? "", finding["advice"] as? String ?? "")
                    #expect(value.contains(error == ENOSYS ? "ENOSYS" : String(cString: strerror(error))), "\(value)")
                    #expect(advice.contains("seccomp") && advice.contains("allow"), "\(advice)")
                }
                // The sandbox itself is told as well.
                let sandbox = all.first { $0["name"] as? String == "seccomp" }?["value"] as? String
                #expect(refused.isEmpty || sandbox == "a filter")
                #expect(code == (all.contains { $0["ok"] as? Bool == false } ? 1 : 0))
            }
        }
    }
}
