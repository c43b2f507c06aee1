import Foundation
import Glibc
import IPC
import IPCChannels
import TestSupport
import Testing

/// What scripts need of `ipc queue work`: an exit code, jobs as lines, dead letters at once, and an end.
@Suite(.timeLimit(.minutes(15))) struct WorkCommandTests {
    private func remove(_ name: String) {
        for name in [name, name + "/dead-letters"] { try? WorkQueue<RawBytes>.remove(name) }
    }

    @Test func aFailedCommandIsAFailure() throws {
        let name = channelName()
        defer { remove(name) }
        _ = try ipc("queue", "push", name, "job", "other")
        let failed = try ipc("queue", "work", name, "--count", "1", "--", "false")
        #expect(failed.status == .exited(1) && failed.errors.contains("attempt 1; the job returns"), "\(failed)")
        // One failure among several is enough, whichever it is; also where it is done at the next attempt.
        let mixed = try ipc(
            "queue", "work", name, "--count", "3", "--concurrency", "2", "--", "sh", "-c",
            "read job; test $job$IPC_ATTEMPT != other1")
        #expect(mixed.status == .exited(1), "\(mixed)")
        _ = try ipc("queue", "push", name, "job")
        #expect(try ipc("queue", "work", name, "--count", "1", "--", "true").status == .exited(0))
        #expect(try ipc("queue", "work", "--help").output.contains("The exit code is 1 if a command failed"))
    }

    @Test func afterItsLastAttemptAJobIsADeadLetterAtOnce() throws {
        let name = channelName()
        defer { remove(name) }
        _ = try ipc("queue", "push", name, "job", "--attempts", "2")
        let first = try ipc("queue", "work", name, "--count", "1", "--", "false")
        #expect(first.errors.contains("job returns") && !first.errors.contains("dead letter"), "\(first.errors)")
        let last = try ipc("queue", "work", name, "--count", "1", "--", "false")
        #expect(last.status == .exited(1) && !last.errors.contains("job returns"), "\(last.errors)")
        #expect(last.errors.contains("attempt 2, the last; the job is now a dead letter: ipc queue dead \(name)"))
        // By whoever looks, and without a command that looks for such jobs.
        let letters = try WorkQueue<RawBytes>.open(name + "/dead-letters").browse()
        #expect(letters.map(\.bytes) == [Array("job".utf8)])
        #expect(try WorkQueue<RawBytes>.open(name).browse().isEmpty)
    }

    @Test func aCommandGetsAJobAsItIsPrinted() throws {
        let name = channelName()
        defer { remove(name) }
        for (flags, output) in [
            ([], "job\n"), (["--whole"], "job"), (["--hex"], "6a6f62\n"), (["--length-prefixed"], "\0\0\0\u{3}job"),
        ] as [([String], String)] {
            _ = try ipc("queue", "push", name, "job")
            let work = try Tool(["queue", "work", name, "--count", "1"] + flags + ["--", "cat"]).finish()
            #expect(work.status == .exited(0) && work.output == output, "\(flags): \(work)")
        }
        _ = try ipc("queue", "push", name, "job")
        let script = "read job && echo read $job"
        let read = try ipc("queue", "work", name, "--count", "1", "--", "sh", "-c", script)
        #expect(read.status == .exited(0) && read.output == "read job\n", "\(read)")
        _ = try ipc("queue", "push", name, "job")
        let printed = try ipc("queue", "work", name, "--count", "1", "--format", "json")
        #expect(printed.output == #"{"attempt":1,"text":"job"}"# + "\n")
    }

    @Test func drainingEndsWhenNothingWaits() throws {
        let name = channelName()
        defer { remove(name) }
        // Also of an empty queue, and of one that is not there yet.
        #expect(try ipc("queue", "work", name, "--drain").status == .exited(0))
        #expect(try ipc("queue", "work", name, "--drain", "--", "cat").status == .exited(0))
        _ = try ipc("queue", "push", name, "1", "2", "3")
        let printed = try ipc("queue", "work", name, "--drain")
        #expect(printed.status == .exited(0) && printed.output == "1\n2\n3\n")
        // What fails comes again, and is tried again, though nothing else waits meanwhile.
        _ = try ipc("queue", "push", name, "1", "2", "3")
        _ = try ipc("queue", "push", name, "later", "--delay", "60")
        let script = "read job; sleep 0.2; echo $job $IPC_ATTEMPT; test $job != 3 || test $IPC_ATTEMPT = 2"
        let worked = try ipc("queue", "work", name, "--drain", "--concurrency", "3", "--", "sh", "-c", script)
        #expect(worked.output.split(separator: "\n").sorted() == ["1 1", "2 1", "3 1", "3 2"], "\(worked)")
        #expect(worked.status == .exited(1))
        #expect(try ipc("queue", "peek", name).output.hasPrefix("later  (due in "))
    }

    /// Dead letters have no last attempt.
    @Test func drainingDeadLettersEndsAsWell() throws {
        let name = channelName()
        defer { remove(name) }
        _ = try ipc("queue", "push", name, "1", "2", "--attempts", "1")
        #expect(try ipc("queue", "work", name, "--drain", "--", "false").status == .exited(1))
        let letters = try ipc("queue", "work", name + "/dead-letters", "--drain", "--", "sh", "-c", "cat; exit 1")
        #expect(letters.status == .exited(1) && letters.output == "1\n2\n", "\(letters)")
    }

    /// What a killed worker had is work for the one that drains.
    @Test func drainingTakesWhatTheDeadHad() throws {
        let name = channelName()
        defer { remove(name) }
        _ = try ipc("queue", "push", name, "job")
        let worker = try Tool(["queue", "work", name, "--", "sh", "-c", "sleep 60"])
        #expect(eventually { (try? WorkQueue<RawBytes>.open(name).browse().first?.worker ?? nil) != nil })
        // What another has is not waited for.
        let none = try ipc("queue", "work", name, "--drain")
        #expect(none.status == .exited(0) && none.output == "")
        try worker.peer.kill()
        let some = try ipc("queue", "work", name, "--drain")
        #expect(some.status == .exited(0) && some.output == "job\n")
    }
}
