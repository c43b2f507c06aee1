import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

/// Locks that somebody takes and does not give back: every call ends in time, and says who has it where that can be known.
@Suite(.timeLimit(.minutes(15))) struct HeldLockTests {
    /// Holds all kinds of locks on a file that it may read, or write to, until it is killed.
    private static let holder = """
        import fcntl, os, signal, struct, sys
        file = os.open(sys.argv[1], os.O_RDWR if sys.argv[2] == "write" else os.O_RDONLY)
        kind = fcntl.F_WRLCK if sys.argv[2] == "write" else fcntl.F_RDLCK
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", kind, 0, 0, 0, 0))
        fcntl.flock(file, fcntl.LOCK_EX)
        print("held", flush=True)
        signal.pause()
        """

    private let root = "/dev/shm/" + uniqueName()
    private let name = "held/queue"

    /// Which file is locked, and how.
    @Test(arguments: [
        (".lock", "write"), (".lock", "read"), ("held:queue/locks", "write"), ("held:queue/control", "read"),
        (".", "read"),
    ])
    func whoeverHoldsALockForEverIsNamed(file: String, kind: String) throws {
        defer { removeAll(root) }
        func run(_ program: String, _ arguments: String...) throws -> (status: IPC.ExitStatus, text: String) {
            try Peer(
                "sh", ["-c", "exec timeout -s KILL 60 \"$@\" 2>&1", "sh", program] + arguments,
                environment: ["PATH=/usr/bin:/bin", "IPC_ROOT=\(root)", "HOME=/nonexistent"]
            ).finish(within: .seconds(100))
        }
        mkdir(root, 0o700)
        #expect(try run(product("ChannelPeer"), "attempts-prepare", name).status == .exited(0))
        let peer = try Peer(python, ["-c", Self.holder, root + "/" + file, kind])
        // With PYTHONUNBUFFERED, the newline comes by itself.
        let said = try peer.said()
        #expect(said.hasPrefix("held"), "\(said)")
        let isHolding = file != "." && file != "held:queue/control"

        for words in [["ls", "channel"], ["info", name], ["doctor"]] {
            let start = ContinuousClock.now
            let (_, text) = try run(product("ipc"), words[0], words.count > 1 ? words[1] : "--format=text")
            // Whoever only looks takes no lock.
            #expect(ContinuousClock.now - start < .seconds(5), "\(words): \(text)")
        }
        let start = ContinuousClock.now
        let library = try run(product("ChannelPeer"), "attempts", name)
        #expect(library.status == .exited(0))
        let took = ContinuousClock.now - start
        let errors = library.text.split(separator: "\n").filter { !$0.hasSuffix(": done") }
        if isHolding {
            #expect(!errors.isEmpty, "\(library.text)")
            for error in errors {
                #expect(error.contains("process \(peer.child.handle.identifier)"), "\(error)")
                #expect(error.contains(file == ".lock" ? root + "/.lock" : "locks"), "\(error)")
            }
        } else {
            #expect(errors.isEmpty, "\(errors)")
        }
        // Each of the calls that need it waits once.
        #expect(took < .seconds(50), "\(took)")
        let clean = try run(product("ipc"), "clean", "--yes")
        #expect(clean.status != .signaled(.kill))
        let removed = try run(product("ipc"), "rm", name)
        if file == ".lock" {
            #expect(removed.text.contains("process \(peer.child.handle.identifier)"), "\(removed.text)")
        } else {
            // Whoever stopped in the middle of a channel does not keep it from being removed.
            #expect(removed.status == .exited(0), "\(removed.text)")
        }
        try peer.kill()
        #expect(try run(product("ChannelPeer"), "attempts-prepare", "held/after").status == .exited(0))
    }
}
