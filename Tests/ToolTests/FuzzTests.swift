import Foundation
import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

/// Every subcommand, with values at the ends of what there is, and standard input that was made up by chance: it ends in time, with
/// an exit code of its own.
///
/// The same in each run. `Scripts/fuzz.sh SECONDS [SEED]` goes on for longer, from another seed.
@Suite(.timeLimit(.minutes(60))) struct FuzzTests {
    /// A subcommand with what it needs, and its options.
    private struct Form {
        let words: [String]
        let options: [String]
        /// A command after `--`.
        var command: [String] = []
    }

    private static let numbers = [
        "-9223372036854775808", "-1", "0", "1", "2", "9223372036854775807", "9223372036854775808", "4294967296",
        "2147483648", "65536", "18446744073709551615", "99999999999999999999999", "1e300", "1e-300", "nan", "inf",
        "-inf",
        "-0", "0x10", "", " ", "\u{1b}[31m", "é",
    ]
    private static let words = [
        "a", "a/b", "/", "//", "..", "a/../b", "\u{1b}[31m", "\n", "é", String(repeating: "n", count: 300), "-", "--",
        "last:-1",
        "last:9223372036854775807", "last:99999999999999999999", "tcp://:0", "tcp://[::1", "unix://", "unix:///tmp",
        "udp://x:y",
        "SIGRTMIN+99", "0", "32", "999", "-1", "oldest",
    ]

    /// What is in braces is replaced: names of this run's own.
    private static let forms: [Form] = [
        Form(words: ["ls"], options: ["--format"]), Form(words: ["info", "{w}"], options: ["--format"]),
        Form(words: ["rm", "{none}"], options: ["--kind"]),
        Form(words: ["topic", "publish", "{c}"], options: ["--capacity", "--timeout"]),
        Form(words: ["topic", "publish", "{c}", "x"], options: ["--capacity", "--timeout", "--hex", "--whole"]),
        Form(
            words: ["topic", "subscribe", "{c}"], options: ["--from", "--count", "--capacity", "--timeout", "--format"]),
        Form(words: ["topic", "info", "{w}"], options: ["--format"]),
        Form(
            words: ["queue", "push", "{c}", "x"],
            options: ["--capacity", "--timeout", "--hex", "--attempts", "--backoff", "--delay", "--time-to-live"]),
        Form(words: ["queue", "push", "{c}"], options: ["--length-prefixed", "--hex", "--capacity"]),
        Form(
            words: ["queue", "work", "{c}"],
            options: ["--count", "--attempts", "--capacity", "--timeout", "--concurrency"]),
        Form(
            words: ["queue", "work", "{c}"], options: ["--count", "--attempts", "--concurrency"],
            command: ["--timeout", "0.1", "--", "cat"]),
        Form(words: ["queue", "peek", "{c}"], options: ["--format"]),
        Form(words: ["queue", "dead", "{c}"], options: ["--redrive", "--purge", "--format", "--timeout"]),
        Form(
            words: ["service", "call", "{c}", "x"],
            options: ["--reply-limit", "--retries", "--timeout", "--metadata", "--capacity", "--maximum-waiting"]),
        Form(
            words: ["service", "serve", "{c}"], options: ["--concurrency", "--maximum-waiting"], command: ["--", "cat"]),
        Form(words: ["latest", "set", "{c}"], options: ["--keep", "--hex", "--length-prefixed"]),
        Form(words: ["latest", "get", "{c}"], options: ["--timeout"]),
        Form(words: ["latest", "watch", "{c}"], options: ["--count", "--timeout"]),
        Form(words: ["event", "notify", "{c}"], options: ["--count", "--all"]),
        Form(words: ["event", "wait", "{c}"], options: ["--timeout"]),
        Form(words: ["tap", "{c}"], options: ["--from", "--count", "--timeout", "--as"]),
        Form(words: ["top"], options: ["--interval", "--count"]), Form(words: ["serve-ui"], options: ["--port"]),
        Form(words: ["record", "{c}", "-o", "{p}"], options: ["--capacity", "--from", "--count"]),
        Form(words: ["replay", "{p}"], options: ["--speed", "--timeout", "--prefix", "--step"]),
        Form(words: ["pipe"], options: ["--timeout", "--input", "--status"], command: ["--", "cat"]),
        Form(words: ["fifo", "create", "{p}"], options: ["--mode"]),
        Form(words: ["fifo", "read", "{p}"], options: ["--timeout"]),
        Form(words: ["fifo", "write", "{p}", "x"], options: ["--timeout"]),
        Form(words: ["shm", "create", "{s}"], options: ["--size"]),
        Form(words: ["shm", "write", "{s}"], options: ["--offset"]),
        Form(words: ["shm", "read", "{s}"], options: ["--offset", "--count", "--hex"]),
        Form(words: ["shm", "resize", "{s}"], options: ["--size"]), Form(words: ["shm", "unlink", "{s}"], options: []),
        Form(words: ["mmap", "read", "{f}"], options: ["--offset", "--count", "--hex"]),
        Form(words: ["mmap", "write", "{f}"], options: ["--offset"]),
        Form(words: ["mq", "create", "{s}"], options: ["--max-messages", "--message-size"]),
        Form(words: ["mq", "send", "{s}", "x"], options: ["--priority", "--timeout"]),
        Form(words: ["mq", "receive", "{s}"], options: ["--count", "--timeout", "--format"]),
        Form(words: ["mq", "unlink", "{s}"], options: []), Form(words: ["sem", "create", "{s}"], options: ["--value"]),
        Form(words: ["sem", "wait", "{s}"], options: ["--timeout"]),
        Form(words: ["sem", "post", "{s}"], options: ["--count"]),
        Form(words: ["sem", "value", "{s}"], options: []), Form(words: ["sem", "unlink", "{s}"], options: []),
        Form(words: ["socket", "listen", "{w}"], options: ["--timeout"]),
        Form(words: ["socket", "connect", "{w}"], options: ["--timeout", "--pass-fd"]),
        Form(words: ["signal", "send", "{w}", "2147483647"], options: ["--value"]),
        Form(words: ["signal", "send", "TERM", "-1"], options: ["--value"]),
        Form(words: ["signal", "wait", "{w}"], options: ["--timeout"]), Form(words: ["signal", "list"], options: []),
        Form(
            words: ["bench", "--mechanism", "pipe", "--size", "0"],
            options: ["--count", "--duration", "--rate", "--log"]),
        Form(
            words: ["bench", "--report", ""],
            options: ["--size", "--count", "--duration", "--rate", "--log", "--placement"]),
        Form(words: ["bench-worker", "first", "free"], options: []),
        Form(words: ["bench-participant", "writer"], options: []),
        Form(words: ["bench-participant", "writer", "-1"], options: []),
        Form(words: ["choose"], options: ["--size", "--rate", "--receivers"]),
        Form(words: ["doctor"], options: ["--format"]), Form(words: ["clean", "{w}"], options: []),
    ]

    /// Names of this run's own, and where they are.
    private struct Place {
        let root = "/dev/shm/" + uniqueName()
        let folder = "/tmp/" + uniqueName()
        let object = "/" + uniqueName()

        init() throws {
            mkdir(folder, 0o700)
            try Data("0123456789".utf8).write(to: URL(filePath: folder + "/file"))
        }

        func filled(_ word: String, _ chance: inout Seeded) -> String {
            switch word {
            case "{c}":
                ["a", "b/c", "queue", FuzzTests.words.randomElement(using: &chance)!].randomElement(using: &chance)!
            case "{w}": FuzzTests.words.randomElement(using: &chance)!
            case "{none}": "none-of-this-name"
            case "{p}": folder + "/" + ["pipe", "record", "file"].randomElement(using: &chance)!
            case "{s}": object
            case "{f}": folder + "/file"
            default: word
            }
        }

        func remove() {
            shm_unlink(object)
            sem_unlink(object)
            do throws(IPCError) { try MessageQueue.unlink(object) } catch {
                if error.code != .notFound { Issue.record(error) }
            }
            for path in [root, folder] where access(path, F_OK) == 0 {
                do { try FileManager.default.removeItem(atPath: path) } catch { Issue.record(error) }
            }
        }
    }

    private func value(_ option: String, _ chance: inout Seeded) -> [String] {
        switch option {
        case "--hex", "--whole", "--length-prefixed", "--all", "--keep", "--redrive", "--purge", "--step", "--input",
            "--status":
            [option]
        default:
            // In one word, or a number with a dash would be an option.
            [
                option + "="
                    + (Int.random(in: 0...4, using: &chance) > 0 ? Self.numbers : Self.words).randomElement(
                        using: &chance)!
            ]
        }
    }

    private func input(_ chance: inout Seeded) -> String {
        let pieces = [
            "\n", "a", "00", "zz", "\u{0}\u{0}\u{0}\u{1}", "\u{7f}", "é", " ", "\r\n",
            String(repeating: "f", count: 5000),
        ]
        return (0..<Int.random(in: 0...5, using: &chance)).map { _ in pieces.randomElement(using: &chance)! }.joined()
    }

    /// One run: it ends by itself, or in order when it is told to.
    private func run(_ arguments: [String], _ input: String, _ place: Place) throws {
        let tool = try Tool(arguments, input: input, environment: ["IPC_ROOT": place.root, "HOME": place.folder])
        let pidfd = tool.peer.child.handle.descriptor.rawValue
        // What it prints goes to a pipe that is read at the end: what waits for room there ends in order, too.
        if try !Readiness.readable.wait(for: pidfd, until: .after(.milliseconds(700))) {
            try tool.peer.child.handle.send(.terminate)
        }
        let outcome = try tool.finish()
        let text = "ipc \(arguments.map(\.debugDescription).joined(separator: " ")) <<< \(input.debugDescription)"
        guard case .exited(let code) = outcome.status, ![132, 133, 134, 135, 136, 139].contains(code) else {
            Issue.record("\(text): \(outcome.status)\n\(outcome.errors.suffix(500))")
            return
        }
        #expect(!outcome.errors.contains("Fatal error"), "\(text)")
    }

    private func number(_ variable: String) -> UInt64? {
        getenv(variable).flatMap { UInt64(String(cString: $0)) }
    }

    @Test func noArgumentsAndNoInputEndACommandOtherThanByItself() throws {
        let place = try Place()
        defer { place.remove() }
        var chance = Seeded(number("IPC_FUZZ_SEED") ?? 15)
        let end = number("IPC_FUZZ_SECONDS").map { Deadline.after(.seconds(Int64(clamping: $0))) }
        // Each form, with one option at a time first; then for as long as was asked for.
        repeat {
            for form in Self.forms {
                let options =
                    form.options.isEmpty
                    ? []
                    : (0..<Int.random(in: 1...2, using: &chance)).map { _ in form.options.randomElement(using: &chance)!
                    }
                let words = form.words.map { place.filled($0, &chance) }
                let timeout =
                    form.options.contains("--timeout") && !options.contains("--timeout") ? ["--timeout", "0.05"] : []
                let given = options.flatMap { value($0, &chance) }
                try run(words + given + timeout + form.command, input(&chance), place)
            }
        } while end.map { !$0.hasPassed } ?? false
    }

    /// What was found by hand once, or is most likely to come back.
    @Test(arguments: [
        ["latest", "watch", "x", "--count=-1", "--timeout", "0.05"],
        ["queue", "work", "x", "--count=-1", "--timeout", "0.05"],
        ["queue", "work", "x", "--count=-1", "--timeout", "0.05", "--", "cat"], ["top", "--count=-1"],
        ["mq", "receive", "/none", "--count=-1"], ["sem", "post", "/none", "--count=-1"],
        ["shm", "read", "{s}", "--offset=-9223372036854775808"],
        ["shm", "read", "{s}", "--offset=-9223372036854775808", "--count", "1"],
        ["shm", "read", "{s}", "--offset=9223372036854775807", "--count", "9223372036854775807"],
        ["mmap", "read", "{f}", "--offset=-9223372036854775808"],
        ["shm", "write", "{s}", "--offset=-9223372036854775808"],
        ["bench-participant", "writer", "--", "-1"], ["event", "notify", "x", "--count=-1"],
        ["tap", "x", "--count=-1"],
    ])
    func whatWasATrapIsAnError(arguments: [String]) throws {
        let place = try Place()
        defer { place.remove() }
        var chance = Seeded(1)
        _ = try SharedMemory.create(place.object, byteCount: 4096)
        let words = arguments.map { place.filled($0, &chance) }
        let outcome = try Tool(words, input: "x", environment: ["IPC_ROOT": place.root]).finish()
        #expect(
            outcome.status == .exited(64) || outcome.status == .exited(4),
            "\(words): \(outcome.status) \(outcome.errors)")
    }
}
