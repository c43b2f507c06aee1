import Foundation
import Glibc
import IPC
import SystemPackage
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(10))) struct PipeTests {
    @Test func bytesGoThroughAndTheEndIsSeen() throws {
        let pipe = try AnonymousPipe()
        try pipe.writer.write("hello".utf8.span.bytes)
        let waiting = try pipe.reader.availableBytes
        #expect(waiting == 5)
        let reader = pipe.closingWriter()
        let got = try reader.readToEnd()
        #expect(got == Array("hello".utf8))
    }

    @Test func aReadWithADeadlineGivesUp() throws {
        let pipe = try AnonymousPipe()
        let error = failure { () throws(IPCError) in
            _ = try bytes(capacity: 8) { (buffer) throws(IPCError) in
                try pipe.reader.read(into: &buffer, until: .after(.milliseconds(20)))
            }
        }
        #expect(error?.code == .timedOut)
    }

    @Test func aFullPipeTimesOutAndSaysHowMuchWentIn() throws {
        let pipe = try AnonymousPipe(capacity: 4096)
        let capacity = try pipe.writer.capacity
        #expect(capacity == 4096)
        let large = [UInt8](repeating: 1, count: 10_000)
        let error = failure { () throws(IPCError) in
            try pipe.writer.write(large.span.bytes, until: .after(.milliseconds(20)))
        }
        #expect(error?.code == .timedOut)
        #expect(error?.transferred == 4096)
        let written = try pipe.writer.tryWrite(([1] as [UInt8]).span.bytes)
        #expect(written == nil)
    }

    @Test func anAtomicWriteGoesInWholeOrNotAtAll() throws {
        let pipe = try AnonymousPipe(capacity: 8192)
        let message = [UInt8](repeating: 1, count: 3000)
        var sizes: [Int] = []
        while let count = try pipe.writer.tryWrite(message.span.bytes) { sizes.append(count) }
        #expect(message.count <= PipeWriter.atomicWriteSize)
        #expect(!sizes.isEmpty && sizes.allSatisfy { $0 == 3000 })
    }

    @Test func capacityBeyondTheUsersLimitIsExplained() throws {
        let pipe = try AnonymousPipe()
        let rounded = try pipe.writer.setCapacity(5000)
        #expect(rounded == 8192)
        try pipe.writer.setCapacity(65_536)
        let zero = failure { () throws(IPCError) in try pipe.writer.setCapacity(0) }
        #expect(zero?.code == .invalidArgument)
        try pipe.writer.write([UInt8](repeating: 1, count: 60_000).span.bytes)
        let busy = failure { () throws(IPCError) in try pipe.writer.setCapacity(4096) }
        #expect(busy?.advice.contains("read some first") == true)
    }

    @Test func aReaderThatHasGoneIsAnErrorAndNotASignal() throws {
        let peer = try Peer.role("sigpipe")
        let (status, text) = try peer.finish()
        #expect(status == .exited(0))
        #expect(text == "brokenPipe\nbrokenPipe\nbrokenPipe\nbrokenPipe\nalive\n")
    }

    @Test func anInterruptedWaitEndsOnTime() throws {
        let peer = try Peer.role("storm-deadline")
        let (_, text) = try peer.finish()
        #expect(text == "semaphore timedOut on time\npipe timedOut on time\ncondition timedOut on time\nend\n")
    }

    @Test func everyDescriptorIsCloseOnExecFromTheStart() throws {
        let pipe = try AnonymousPipe()
        let streams = try StreamSocket.makePair()
        let listener = try StreamListener(.tcp(host: "127.0.0.1", port: 0))
        let client = try StreamSocket.connect(to: try listener.localEndpoint!)
        let accepted = try listener.accept()
        let memory = try AnonymousMemory(byteCount: 4096)
        let counter = try EventCounter()
        let own = try ProcessHandle(getpid())
        let queue = try MessageQueue.create(uniqueName(), maximumMessages: 1, messageSize: 8)
        try MessageQueue.unlink(queue.name)
        let descriptors = [
            pipe.reader.descriptor, pipe.writer.descriptor, streams.first.descriptor, listener.descriptor,
            client.descriptor, accepted.descriptor, memory.descriptor, counter.descriptor, own.descriptor,
            queue.descriptor,
        ]
        for descriptor in descriptors { #expect(fcntl(descriptor.rawValue, F_GETFD) & FD_CLOEXEC != 0) }
    }

    @Test func aNonPipeIsRefused() throws {
        let file = try FileDescriptor.open("/dev/null", .readOnly)
        let error = failure { () throws(IPCError) in _ = try PipeReader(adopting: OwnedDescriptor(adopting: file)) }
        #expect(error?.code == .wrongType)
    }

    @Test func aChildGetsWhatItIsGivenAndNothingElse() throws {
        let pipe = try AnonymousPipe()
        let leaky = dup(pipe.reader.descriptor.rawValue)  // as foreign code leaves it: not close-on-exec
        defer { close(leaky) }
        let peer = try Peer.role("descriptors", descriptors: [7: pipe.writer.descriptor])
        let (_, text) = try peer.finish()
        #expect(text == "0 1 2 7\n")
    }

    /// A bare fork would leave the locks of other threads held in the child.
    @Test func childrenComeFromSpawnAndNeverFromAFork() throws {
        let trace = "/tmp/" + uniqueName()
        defer { unlink(trace) }
        let peer = try Peer(
            "strace",
            [
                // A leak sanitizer cannot work under strace, and says so.
                "-f", "-o", trace, "-e", "trace=clone,clone3,fork,vfork", "-E", "ASAN_OPTIONS=detect_leaks=0",
                product("TestPeer"), "children", "3",
            ])
        let (status, text) = try peer.finish()
        #expect(status == .exited(0) && text == "3\n")
        let calls = try String(contentsOfFile: trace, encoding: .utf8).split(separator: "\n").filter {
            ($0.contains("clone") || $0.contains("fork")) && !$0.contains("resumed") && !$0.contains("CLONE_THREAD")
        }
        #expect(calls.count >= 3)
        for call in calls { #expect(call.contains("CLONE_VFORK") || call.contains("vfork("), "\(call)") }
    }

    @Test func descriptorsAreSwappedWithoutLoss() throws {
        let first = try AnonymousPipe()
        let second = try AnonymousPipe()
        // Numbers that are each other's sources.
        let (a, b) = (first.writer.descriptor, second.writer.descriptor)
        let child = try ChildProcess(
            "bash", ["-c", "echo one >&\(b.rawValue); echo two >&\(a.rawValue)"],
            descriptors: [b.rawValue: a, a.rawValue: b])
        let status = try child.wait(until: .after(.seconds(10)))
        #expect(status == .exited(0))
        let one = try first.closingWriter().readToEnd()
        let two = try second.closingWriter().readToEnd()
        #expect(String(decoding: one, as: UTF8.self) == "one\n")
        #expect(String(decoding: two, as: UTF8.self) == "two\n")
    }

    @Test func aChildHasAnEmptyMaskAndDefaultActions() throws {
        SignalSet([.userDefined1]).blockInCallingThread()
        defer { SignalSet([.userDefined1]).unblockInCallingThread() }
        let peer = try Peer.role("signal-state")
        let (_, text) = try peer.finish()
        // Signals 32 and 33 are the C library's own: posix_spawn ignores them until the program sets them up.
        let masks = text.split(separator: "\n").map { UInt64($0.split(separator: "\t")[1], radix: 16)! & ~(3 << 31) }
        #expect(masks == [0, 0])
    }

    @Test func aMissingProgramIsNamed() {
        let error = failure { () throws(IPCError) in _ = try ChildProcess("no-such-program-here") }
        #expect(error?.code == .childFailed)
        #expect(error?.resource == "no-such-program-here")
    }

    @Test(arguments: ["pipe", "stream", "packet"])
    func aWriterKilledInTheMiddleOfATransferIsAnEnd(kind: String) throws {
        func drain(_ peer: borrowing Peer, _ read: (inout MutableRawSpan) throws(IPCError) -> Int) throws {
            var total = 0
            while total < 1_000_000 { total += try bytes(capacity: 65_536, read).count }
            try peer.kill()
            while try bytes(capacity: 65_536, read).count > 0 {}  // a hang would fail by the deadline
        }
        let deadline = Deadline.after(.seconds(20))
        switch kind {
        case "pipe":
            let pipe = try AnonymousPipe()
            let peer = try Peer.role("write-forever", kind, descriptors: [3: pipe.writer.descriptor])
            let reader = pipe.closingWriter()
            try drain(peer) { (buffer) throws(IPCError) in try reader.read(into: &buffer, until: deadline) }
        case "stream":
            let pair = try StreamSocket.makePair()
            let peer = try Peer.role("write-forever", kind, descriptors: [3: pair.second.descriptor])
            let socket = pair.closingSecond()
            try drain(peer) { (buffer) throws(IPCError) in try socket.read(into: &buffer, until: deadline) }
        default:
            let pair = try PacketSocket.makePair()
            let peer = try Peer.role("write-forever", kind, descriptors: [3: pair.second.descriptor])
            let socket = pair.closingSecond()
            try drain(peer) { (buffer) throws(IPCError) in try socket.receive(into: &buffer, until: deadline) }
        }
    }

    @Test(arguments: ["pipe", "stream"])
    func aHundredMegabytesSurviveAStormOfSignals(kind: String) throws {
        let total = "\(repetitions(100_000_000))"
        let pipe = try AnonymousPipe()
        let pair = try StreamSocket.makePair()
        let isPipe = kind == "pipe"
        let writing = isPipe ? pipe.writer.descriptor : pair.first.descriptor
        let reading = isPipe ? pipe.reader.descriptor : pair.second.descriptor
        let writer = try Peer.role("storm-write", total, kind, descriptors: [3: writing])
        let reader = try Peer.role("storm-read", total, kind, descriptors: [3: reading])
        let read = try reader.finish(within: .seconds(120))
        let written = try writer.finish()
        #expect(read.text == "whole\n")
        #expect(read.status == .exited(0) && written.status == .exited(0))
    }
}

@Suite(.timeLimit(.minutes(10))) struct NamedPipeTests {
    private func path() -> FilePath { FilePath("/tmp/" + uniqueName()) }

    @Test func bothSidesWaitForEachOtherUntilADeadline() throws {
        let pipe = try NamedPipe.create(path())
        defer { try? pipe.unlink() }
        let noWriter = failure { () throws(IPCError) in _ = try pipe.openForReading(until: .after(.milliseconds(30))) }
        let noReader = failure { () throws(IPCError) in _ = try pipe.openForWriting(until: .after(.milliseconds(30))) }
        #expect(noWriter?.code == .timedOut && noWriter?.advice.contains("writer") == true)
        #expect(noReader?.code == .timedOut && noReader?.advice.contains("reader") == true)
        let none = try pipe.tryOpenForWriting() == nil
        #expect(none)
    }

    @Test func aReaderWakesWhenAWriterComesThoughItWritesNothing() throws {
        let pipe = try NamedPipe.create(path())
        defer { try? pipe.unlink() }
        let child = try ChildProcess("sh", ["-c", "exec 3>\(pipe.path); exec sleep 60"])
        let reader = try pipe.openForReading(until: .after(.seconds(10)))
        try child.handle.send(.kill)
        let rest = try reader.readToEnd(until: .after(.seconds(10)))
        #expect(rest.isEmpty)
    }

    @Test func deadlinesWorkOnFIFOsToo() throws {
        let pipe = try NamedPipe.create(path())
        defer { try? pipe.unlink() }
        let reader = try pipe.tryOpenForReading()
        let writer = try pipe.openForWriting(until: .after(.seconds(1)))
        let error = failure { () throws(IPCError) in
            _ = try bytes(capacity: 8) { (buffer) throws(IPCError) in
                try reader.read(into: &buffer, until: .after(.milliseconds(10)))
            }
        }
        #expect(error?.code == .timedOut)
        try writer.write("abc".utf8.span.bytes)
        let got = try bytes(capacity: 8) { (buffer) throws(IPCError) in try reader.read(into: &buffer) }
        #expect(got == Array("abc".utf8))
        _ = consume reader
        let gone = failure { () throws(IPCError) in try writer.write("x".utf8.span.bytes) }
        #expect(gone?.code == .brokenPipe)
    }

    @Test func whatIsNotAFIFOIsRefused() throws {
        let error = failure { () throws(IPCError) in _ = try NamedPipe.open("/etc/passwd") }
        #expect(error?.code == .wrongType)
        let missing = failure { () throws(IPCError) in _ = try NamedPipe.open(FilePath("/tmp/" + uniqueName())) }
        #expect(missing?.code == .notFound)
        let pipe = try NamedPipe.create(path())
        let again = failure { () throws(IPCError) in _ = try NamedPipe.create(pipe.path) }
        #expect(again?.code == .alreadyExists)
        _ = try NamedPipe.openOrCreate(pipe.path)
        try pipe.unlink()
    }
}

@Suite(.timeLimit(.minutes(10))) struct PipelineTests {
    @Test func aPipelineDoesWhatAShellDoes() async throws {
        let result = try await Pipeline([["printf", "a.txt\\nb.md\\nc.txt\\n"], ["grep", ".txt"], ["wc", "-l"]]).run()
        #expect(result.text.filter { $0.isNumber } == "2")
        #expect(result.failure == nil)
        #expect(result.stages.map(\.outcome) == Array(repeating: .ended(.exited(0)), count: 3))
    }

    @Test func theGuidesPipelineCountsTextFiles() async throws {
        let folder = "/tmp/" + uniqueName()
        mkdir(folder, 0o700)
        for name in ["a.txt", "b.txt", "c.md"] { close(creat("\(folder)/\(name)", 0o600)) }
        let result = try await Pipeline([["ls", "-l", folder], ["grep", ".txt"], ["wc", "-l"]]).run()
        #expect(result.text == "2\n")
        for name in ["a.txt", "b.txt", "c.md"] { unlink("\(folder)/\(name)") }
        rmdir(folder)
    }

    @Test func largeInputAndOutputDoNotDeadlock() async throws {
        let input = [UInt8](repeating: UInt8(ascii: "x"), count: 8 << 20)
        let result = try await Pipeline([["cat"], ["cat"], ["cat"]]).run(input: input)
        #expect(result.output == input)
    }

    @Test func aMissingStageAndAFailingOneAreNamed() async throws {
        let missing = try await Pipeline([["printf", "x"], ["no-such-program"], ["cat"]]).run()
        #expect(missing.failure?.command.program == "no-such-program")
        let error = failure { () throws(IPCError) in try missing.check() }
        #expect(error?.resource == "no-such-program")
        let failing = try await Pipeline([["printf", "x"], ["sh", "-c", "cat; exit 3"]]).run()
        #expect(failing.failure?.outcome == .ended(.exited(3)))
        #expect(failing.text == "x")
    }

    @Test func aStageThatIsCutOffByTheNextDidNotFail() async throws {
        let result = try await Pipeline([["yes"], ["head", "-1"]]).run()
        #expect(result.text == "y\n")
        #expect(result.failure == nil)
    }

    @Test func otherChildrenAreNotReaped() async throws {
        let child = try ChildProcess("sh", ["-c", "exit 42"])
        try await child.handle.waitForExit(until: .after(.seconds(10)))
        _ = try await Pipeline([["true"], ["true"]]).run()
        let status = try await child.wait(until: .after(.seconds(10)))
        #expect(status == .exited(42))
    }

    @Test(.timeLimit(.minutes(5))) func openingsThatTimedOutKeepNoFileWatch() throws {
        let path = "/tmp/\(uniqueName())"
        let (status, text) = try Peer.role("late-openings", path).finish(within: .seconds(50))
        #expect(status == .exited(0) && text == "3 late\nnone kept\n")
    }
}
