import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

/// The tables of `Tests/CallPeer`, and that each public call of the library has its rows in them.
@Suite(.timeLimit(.minutes(10))) struct CallTests {
    /// The library's sources.
    private static let sources = FilePath(#filePath).removingLastComponent().removingLastComponent()
        .removingLastComponent().appending("Sources").string

    private func run(_ arguments: String..., within patience: Duration = .seconds(300)) throws -> String {
        let peer = try Peer(product("CallPeer"), arguments)
        let (status, text) = try peer.finish(within: patience)
        #expect(status == .exited(0), "\(arguments)")
        return text
    }

    @Test func everyPublicCallHasItsRows() throws {
        let lines = try run("check", Self.sources).split(separator: "\n")
        // That they are found at all: there are some 400.
        let count = try #require(lines.first.flatMap { Int($0.prefix { $0.isNumber }) })
        #expect(count > 350)
        #expect(lines.dropFirst() == [])
    }

    /// `Scripts/repeat.sh` is the long run: a small leak of memory shows only there.
    @Test(arguments: 0..<3)
    func manyCallsLeaveNothing(part: Int) throws {
        #expect(try run("repeat", "200", "\(part)", "3") == "end\n")
    }

    /// Each system call of each call fails in turn; one that a signal interrupts is no failure. With one error each, and
    /// `IPC_TEST_ERRORS=4` for all that are tried, in a long run.
    @Test(arguments: 0..<6)
    func aCallThatFailsLeavesNothing(part: Int) throws {
        let errors = getenv("IPC_TEST_ERRORS").map { String(cString: $0) } ?? "1"
        let text = try run("failures", errors, "\(part)", "6", within: .seconds(errors == "1" ? 500 : 5000))
        #expect(text == "end\n")
    }

    /// What cannot go on without a call (without `eventfd2`, `timerfd_create` or `clone3`, Dispatch itself cannot), in the words of its rows, and the name of the call in the error.
    private static let needs: [String: (name: String, rows: [String])] = [
        "memfd_create": (
            "memfd_create",
            ["SharedMutex", "SharedReadWriteLock", "SharedCondition", "SharedSemaphore", "Futex", "idle"]
        )
    ]

    /// Everything goes on, or says which call is refused by whom; and what is idle stays idle.
    @Test(arguments: [ENOSYS, EPERM])
    func aSandboxThatRefusesACallIsPassedByOrTold(error: CInt) throws {
        let passed = [
            "futex_waitv", "pidfd_open", "membarrier", "pwritev2", "preadv2", "close_range", "pidfd_send_signal",
            "inotify_init1", "renameat2",
        ]
        // All together without those that something needs, so that everything is tried under it.
        let filters = passed.map { [$0] } + [passed] + Self.needs.keys.map { [$0] }
        for start in stride(from: 0, to: filters.count, by: 4) {
            let group = filters[start..<min(start + 4, filters.count)]
            let peers = try group.map { names in
                (names, Running(try Peer(product("CallPeer"), ["sandbox", "\(error)"] + names)))
            }
            for (names, peer) in peers {
                let (status, text) = try peer.value.finish(within: .seconds(120))
                #expect(status == .exited(0), "\(names)")
                check(text.split(separator: "\n").map(String.init), names)
            }
        }
    }

    /// Only a Unix server's full backlog is waited for. It used to be tried again until the deadline.
    @Test func aConnectionByTCPThatTheSystemRefusesFailsAtOnce() throws {
        let text = try run("connect", "\(EAGAIN)")
        let seconds = try #require(text.split(separator: " ").first.flatMap { Int($0) }, "\(text)")
        #expect(seconds < 10)
        #expect(!text.contains("backlog"), "\(text)")
    }

    private final class Running {
        let value: Peer
        init(_ value: consuming Peer) { self.value = value }
    }

    private func check(_ lines: [String], _ names: [String]) {
        #expect(lines.last == "end", "\(names)")
        for line in lines.dropLast() {
            if let used = line.split(separator: " ").last.flatMap({ Int($0) }), line.hasPrefix("idle ") {
                // Of one second, for four waits: a hundredth each.
                #expect(used < 40_000, "\(names) idle: \(used) µs")
                continue
            }
            let isTold = names.contains { name in
                guard let need = Self.needs[name] else { return false }
                return need.rows.contains { line.contains($0) } && line.contains(need.name)
                    && line.contains("(seccomp)")
            }
            #expect(isTold, "\(names): \(line)")
        }
    }

    /// In time, without spinning, and nothing is broken by it.
    @Test(arguments: 0..<3)
    func everyWaitEndsAtItsDeadline(part: Int) throws { #expect(try run("deadlines", "\(part)", "3") == "end\n") }
}
