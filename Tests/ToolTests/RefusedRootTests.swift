import Foundation
import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

/// A root that is not to be trusted: commands do what they can without it, and end with the error's exit code. None says that there is
/// nothing where it may not look.
@Suite(.timeLimit(.minutes(15))) struct RefusedRootTests {
    private let root = "/dev/shm/" + uniqueName()

    private func run(_ arguments: String...) throws -> Tool.Outcome {
        try Tool(arguments, environment: ["IPC_ROOT": root]).finish()
    }

    @Test func whatCannotBeLookedAtIsAnError() throws {
        mkdir(root, 0o777)
        chmod(root, 0o777)
        defer { removeAll(root) }
        for words in [
            ["ls"], ["ls", "channel"], ["info", "x"], ["clean"], ["rm", "x"], ["rm", "--kind", "channel", "x"],
            ["top", "--count", "1"], ["serve-ui"], ["topic", "publish", "x", "y"],
        ] {
            let outcome = try Tool(words, environment: ["IPC_ROOT": root]).finish()
            #expect(outcome.status == .exited(5), "\(words): \(outcome.status) \(outcome.errors)")
            #expect(outcome.errors.contains("every user can write to it"), "\(words): \(outcome.errors)")
            #expect(!outcome.errors.contains("there is no") && !outcome.errors.contains("found nothing"), "\(words)")
        }
        let doctor = try run("doctor")
        #expect(doctor.status == .exited(1) && doctor.output.contains("every user can write to it"))
    }

    @Test func whatElseThereIsIsStillDone() throws {
        mkdir(root, 0o777)
        chmod(root, 0o777)
        defer { removeAll(root) }
        let name = "/" + uniqueName()
        let memory = try SharedMemory.create(name, byteCount: 4096)
        let listed = try run("ls", "channel", "shm")
        #expect(listed.status == .exited(5) && listed.output.contains(name))
        #expect(try run("ls", "shm").status == .exited(0))
        let path = "/tmp/\(uniqueName()).sock"
        let server = try Peer("socat", ["UNIX-LISTEN:\(path)", "-"])
        #expect(eventually { access(path, F_OK) == 0 })
        try server.kill()
        #expect(try run("clean", "--yes", path).status == .exited(5))
        #expect(access(path, F_OK) != 0)
        // It is no channel.
        #expect(try run("rm", name).status == .exited(0))
        #expect(try run("rm", name).status == .exited(4))
        withExtendedLifetime(memory) {}
    }

    @Test func aChannelThatCannotBeLookedAtIsAnError() throws {
        defer { removeAll(root) }
        let place = ChannelRoot(FilePath(root))
        for name in ["good", "bad"] {
            _ = try Topic<RawBytes>.openOrCreate(name, in: place, ChannelOptions(lifetime: .kept))
        }
        truncate(root + "/bad/control", 10)
        let listed = try run("ls", "channel")
        #expect(listed.status == .exited(1) && listed.output.contains("good") && listed.errors.contains("bad"))
        let top = try run("top", "--count", "1")
        #expect(top.status == .exited(0) && top.output.contains("1 more cannot be read"), "\(top.output)")
        let clean = try run("clean")
        #expect(clean.status == .exited(1) && clean.errors.contains("bad") && !clean.errors.contains("found nothing"))
        #expect(try run("rm", "bad").status == .exited(0))
        #expect(try run("ls", "channel").status == .exited(0))
    }

    /// One that may be removed, and not be read.
    @Test(.enabled(if: OtherUser.isPossible, .init(stringLiteral: OtherUser.reason)))
    func aMessageQueueThatMayNotBeReadIsThere() throws {
        let user = OtherUser.any()
        let name = "/" + uniqueName()
        #expect(try user.run(product("ipc"), "mq", "create", name, root: nil).status == .exited(0))
        defer { try? MessageQueue.unlink(name) }
        let other = try OtherUser.any().run(product("ipc"), "rm", name, root: nil)
        #expect(other.status == .exited(5) && !other.text.contains("there is no"), "\(other.text)")
        #expect(try user.run(product("ipc"), "rm", name, root: nil).status == .exited(0))
    }
}
