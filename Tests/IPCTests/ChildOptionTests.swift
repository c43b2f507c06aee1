import Glibc
import IPC
import Synchronization
import SystemPackage
import TestSupport
import Testing

/// What a child and a pipeline can be asked for, under the same names.
@Suite(.timeLimit(.minutes(5))) struct ChildOptionTests {
    private struct Refusal: Error, Equatable {
        let number: Int
    }

    private func shell(_ script: String) -> Pipeline.Command { ["sh", "-c", script] }

    private func text(_ reader: borrowing PipeReader) throws(IPCError) -> String {
        String(decoding: try reader.readToEnd(until: .after(.seconds(20))), as: UTF8.self)
    }

    private func error(_ body: () async throws -> Void) async -> (any Error)? {
        do { try await body() } catch { return error }
        return nil
    }

    // MARK: Environment

    @Test func variablesAreChangedLeftOutAndReplaced() async throws {
        let print = "echo ${HOME-none} ${PATH:+path} ${GREETING-none}"
        setenv("GREETING", "inherited", 0)
        defer { unsetenv("GREETING") }
        for (environment, expected) in [
            (.inherited, " path inherited"), (.changing(["GREETING": "a=b", "HOME": "/h"]), "/h path a=b"),
            (.changing(["GREETING": nil, "HOME": nil]), "none path none"),
            (.only(["PATH": "/usr/bin:/bin"]), "none path none"),
        ] as [(ChildProcess.Environment, String)] {
            var child = try ChildProcess("sh", ["-c", print], environment: environment, standardOutput: .captured)
            let single = try text(try child.takeStandardOutput())
            let pipeline = try await Pipeline([shell(print)], environment: environment).run().text
            #expect(single.hasSuffix(expected + "\n") && pipeline == single, "\(environment): \(single)")
        }
        for name in ["", "A=B"] {
            let refused = failure { () throws(IPCError) in
                _ = try ChildProcess("true", environment: .changing([name: "x"]))
            }
            #expect(refused?.code == .invalidArgument)
        }
    }

    // MARK: Standard streams of a child

    @Test func aChildIsWrittenToAndReadFrom() async throws {
        var child = try ChildProcess("tr", ["a-z", "A-Z"], standardInput: .piped, standardOutput: .captured)
        let output = try child.takeStandardOutput()
        let input = try child.takeStandardInput()
        try await input.write("hello".utf8.span.bytes)
        try input.close()
        #expect(try text(output) == "HELLO")
        #expect(try await child.wait() == .exited(0))
        let again = failure { () throws(IPCError) in _ = try child.takeStandardOutput() }
        #expect(again?.code == .invalidArgument && again?.advice.contains(".captured") == true)
    }

    @Test func errorsOfAChildAreMergedCapturedOrDiscarded() throws {
        let script = ["-c", "echo out; echo err >&2"]
        var merged = try ChildProcess("sh", script, standardOutput: .captured, standardError: .merged)
        #expect(try text(try merged.takeStandardOutput()) == "out\nerr\n")
        var captured = try ChildProcess("sh", script, standardOutput: .discarded, standardError: .captured)
        #expect(try text(try captured.takeStandardError()) == "err\n")
        var discarded = try ChildProcess("sh", script, standardOutput: .captured, standardError: .discarded)
        #expect(try text(try discarded.takeStandardOutput()) == "out\n")
        var empty = try ChildProcess("cat", standardInput: .empty, standardOutput: .captured)
        #expect(try text(try empty.takeStandardOutput()) == "")
    }

    @Test func aStreamThatIsAskedForInTwoWaysIsRefused() throws {
        let pipe = try AnonymousPipe()
        let refused = failure { () throws(IPCError) in
            _ = try ChildProcess("true", standardOutput: .captured, descriptors: [1: pipe.writer.descriptor])
        }
        #expect(refused?.code == .invalidArgument && refused?.advice.contains("standardOutput") == true)
    }

    // MARK: The end of a child

    @Test func aChildIsEndedGentlyAndThenByForce() async throws {
        let gentle = try ChildProcess("sleep", ["1000"])
        #expect(try await gentle.end() == .signaled(.terminate))
        let again = await error { _ = try await gentle.end() } as? IPCError
        #expect(again?.code == .notFound)
        for isAsync in [false, true] {
            var stubborn = try ChildProcess(
                "sh", ["-c", "trap '' TERM; echo ready; while :; do sleep 1000; done"], standardOutput: .captured,
                processGroup: .new)
            let output = try stubborn.takeStandardOutput()
            _ = try bytes(capacity: 16) { (buffer) throws(IPCError) in
                try output.read(into: &buffer, until: .after(.seconds(20)))
            }
            let status =
                isAsync
                ? try await stubborn.end(gracePeriod: .milliseconds(50)) : try endBlocking(stubborn)
            #expect(status == .signaled(.kill))
            // Its own children had the pipe as well.
            #expect(try text(output) == "")
        }
    }

    private func endBlocking(_ child: borrowing ChildProcess) throws(IPCError) -> IPC.ExitStatus {
        try child.end(gracePeriod: .milliseconds(50))
    }

    // MARK: Pipelines

    @Test func errorsOfStagesAreMergedCapturedOrDiscarded() async throws {
        let stages = [shell("echo one >&2; echo out"), shell("cat; echo two >&2")]
        let captured = try await Pipeline(stages, standardError: .captured).run()
        #expect(captured.text == "out\n")
        #expect(captured.errorText.split(separator: "\n").sorted() == ["one", "two"])
        // To the next stage, as `|&` does.
        let merged = try await Pipeline(stages, standardError: .merged).run()
        #expect(merged.text == "one\nout\ntwo\n" && merged.errors.isEmpty)
        let discarded = try await Pipeline(stages, standardError: .discarded).run()
        #expect(discarded.text == "out\n" && discarded.errors.isEmpty)
        let long = await error {
            _ = try await Pipeline([shell("yes >&2")], standardError: .captured).run(outputLimit: 100_000)
        }
        #expect((long as? IPCError)?.code == .messageTooLarge)
    }

    @Test func withoutPipefailOnlyTheLastStageCounts() async throws {
        let stages = [shell("exit 3"), shell("cat")]
        let strict = try await Pipeline(stages).run()
        #expect(strict.failure?.outcome == .ended(.exited(3)))
        let lenient = try await Pipeline(stages, pipefail: false).run()
        #expect(lenient.failure == nil)
        try lenient.check()
        let last = try await Pipeline([shell("true"), shell("exit 4")], pipefail: false).run()
        #expect(last.failure?.outcome == .ended(.exited(4)))
    }

    @Test func stagesAreInTheGroupThatWasAskedFor() async throws {
        let print = shell("ps -o pgid= -p $$")
        func group(_ pipeline: Pipeline) async throws -> pid_t? {
            pid_t(try await pipeline.run().text.filter(\.isNumber))
        }
        #expect(try await group(Pipeline([print], processGroup: .inherited)) == getpgrp())
        #expect(try await group(Pipeline([print])) != getpgrp())
        let leader = try ChildProcess("sleep", ["1000"], processGroup: .new)
        #expect(
            try await group(Pipeline([print], processGroup: .joining(leader.handle.identifier)))
                == leader.handle.identifier)
    }

    /// And this process, which is in the same group, is not.
    @Test func stagesInThisProcessesGroupAreEndedAtTheDeadline() async throws {
        let pipeline = Pipeline([["sleep", "1000"], ["cat"]], processGroup: .inherited)
        let late = await error { _ = try await pipeline.run(until: .after(.milliseconds(100))) }
        #expect((late as? IPCError)?.code == .timedOut)
    }

    // MARK: Streams

    private static let chunk = [UInt8](repeating: 65, count: 1 << 16)

    private static func count(_ reader: borrowing PipeReader) async throws -> Int {
        var (bytes, total) = ([UInt8](repeating: 0, count: 1 << 16), 0)
        while true {
            let count = try await read(reader, &bytes)
            if count == 0 { return total }
            total += count
        }
    }

    private static func read(_ reader: borrowing PipeReader, _ bytes: inout [UInt8]) async throws(IPCError) -> Int {
        var elements = bytes.mutableSpan
        var buffer = elements.mutableBytes
        return try await reader.read(into: &buffer)
    }

    @Test func inputAndOutputFlowThroughBoundedMemory() async throws {
        let written = Progress()
        let (total, result) = try await Pipeline([["cat"], ["cat"]]).run(until: .after(.seconds(120))) { input in
            for _ in 0..<1000 {
                try await input.write(Self.chunk.span.bytes)
                written.add(Self.chunk.count)
            }
        } output: { output in
            // The writer does not run ahead by more than what pipes and programs hold.
            var (bytes, total) = ([UInt8](repeating: 0, count: 1 << 16), 0)
            while case let count = try await Self.read(output, &bytes), count > 0 {
                #expect(written.value - total < 2 << 20)
                total += count
            }
            return total
        }
        #expect(total == 1000 << 16)
        try result.check()
    }

    private final class Progress: Sendable {
        private let count = Atomic(0)
        var value: Int { count.load(ordering: .relaxed) }
        func add(_ amount: Int) { count.wrappingAdd(amount, ordering: .relaxed) }
    }

    @Test func whoReadsNoMoreEndsTheStages() async throws {
        let (first, result) = try await Pipeline([["yes"], ["cat"]]).run { output in
            var bytes: [UInt8] = [0, 0]
            _ = try await Self.read(output, &bytes)
            return bytes
        }
        #expect(first == Array("y\n".utf8))
        #expect(result.stages[0].outcome == .ended(.signaled(.brokenPipe)))
    }

    @Test func aFirstStageThatReadsNoMoreEndsTheInput() async throws {
        let (line, result) = try await Pipeline([["head", "-c", "1"]]).run { input in
            while true { try await input.write(Self.chunk.span.bytes) }
        } output: { output in
            try await output.readToEnd()
        }
        #expect(line == [65])
        try result.check()
    }

    @Test func whatAClosureThrowsPassesUnchangedAndEndsTheStages() async throws {
        let output = await error {
            _ = try await Pipeline([["sleep", "1000"]]).run { _ in throw Refusal(number: 1) }
        }
        #expect(output as? Refusal == Refusal(number: 1))
        let input = await error {
            _ = try await Pipeline([["cat"], ["cat"]]).run { _ in
                throw Refusal(number: 2)
            } output: { output in
                try await Self.count(output)
            }
        }
        #expect(input as? Refusal == Refusal(number: 2))
    }

    @Test func aDeadlineEndsClosuresThatWait() async throws {
        let late = await error {
            _ = try await Pipeline([["sleep", "1000"]]).run(until: .after(.milliseconds(100))) { output in
                try await Self.count(output)
            }
        }
        #expect((late as? IPCError)?.code == .timedOut)
        // The stage has ended, and somebody in the background has its output.
        let background = await error {
            _ = try await Pipeline([shell("sleep 1000 &")]).run(until: .after(.milliseconds(300))) { output in
                try await Self.count(output)
            }
        }
        #expect((background as? IPCError)?.code == .timedOut)
    }

    @Test func aCancelledStreamSaysSo() async throws {
        let isReading = AsyncStream.makeStream(of: Void.self)
        let run = Task {
            try await Pipeline([["yes"]]).run { output in
                isReading.continuation.finish()
                return try await Self.count(output)
            }
        }
        for await _ in isReading.stream {}
        run.cancel()
        let cancelled = await error { _ = try await run.value }
        #expect((cancelled as? IPCError)?.code == .cancelled)
    }

    @Test func streamedRunsCaptureErrorsToo() async throws {
        let (_, result) = try await Pipeline([shell("echo oops >&2")], standardError: .captured).run { output in
            try await Self.count(output)
        }
        #expect(result.errorText == "oops\n")
    }
}
