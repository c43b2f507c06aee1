import Glibc
import IPC
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(10))) struct SignalTests {
    @Test func theGuidesTableHasItsNamesAndNumbers() {
        let table: [(Signal, Int32, String)] = [
            (.interrupt, 2, "SIGINT"), (.kill, 9, "SIGKILL"), (.terminate, 15, "SIGTERM"), (.child, 17, "SIGCHLD"),
            (.userDefined1, 10, "SIGUSR1"), (.userDefined2, 12, "SIGUSR2"),
        ]
        for (signal, number, name) in table {
            #expect(signal.rawValue == number && signal.description == name)
            #expect(Signal(name: name) == signal && Signal(name: String(name.dropFirst(3)).lowercased()) == signal)
        }
        #expect(Signal(name: "SIGRTMIN+3") == .realTime(3))
        #expect(Signal.realTime(3).description == "SIGRTMIN+3")
        #expect(Signal(name: "NOPE") == nil && Signal(name: "99") == nil)
    }

    @Test func signalsArriveAsValuesAndRealTimeOnesQueue() throws {
        let peer = try Peer.role("signals")
        _ = try peer.said()
        for value in 1...3 { try peer.child.handle.queue(.realTime(2), value: value) }
        var text = ""
        while text.split(separator: "\n").count < 3 { text += try peer.said() }
        #expect(text == (1...3).map { "SIGRTMIN+2 \($0) \(getpid())\n" }.joined())
        try peer.child.handle.send(.userDefined1)
        #expect(try peer.said() == "SIGUSR1 0 \(getpid())\n")
        let process = peer.child.handle.identifier
        try Signal.terminate.send(toThread: process, ofProcess: process)
        let (status, last) = try peer.finish()
        #expect(status == .exited(0) && last.hasPrefix("SIGTERM"))
    }

    @Test func aFullQueueOfSignalsIsExplained() throws {
        let peer = try Peer.role("signal-limit")
        let (status, text) = try peer.finish()
        #expect(status == .exited(0) && text == "limitReached ulimit\nfirst 0\n")
    }

    @Test func aSourceMadeAfterThreadsGetsWhatTheyDoNotBlock() throws {
        let peer = try Peer.role("late-signal-source")
        let (_, text) = try peer.finish()
        #expect(text == "SIGUSR1\n")
    }

    @Test func whatCannotBeCaughtIsRefused() {
        let error = failure { () throws(IPCError) in _ = try SignalSource([.kill]) }
        #expect(error?.code == .invalidArgument)
    }

    @Test func everyOneOfManyChildrenIsNoticed() throws {
        let peer = try Peer.role("children", "200")
        let (status, text) = try peer.finish()
        #expect(status == .exited(0))
        #expect(text == "\((0..<200).reduce(0) { $0 + $1 % 100 })\n")
    }

    @Test func aHandleNeverMeansAnotherProcess() throws {
        let child = try ChildProcess("sleep", ["60"])
        let handle = try ProcessHandle(child.handle.identifier)
        let isAlive = handle.isAlive
        #expect(isAlive)
        let early = failure { () throws(IPCError) in try handle.waitForExit(until: .after(.milliseconds(10))) }
        #expect(early?.code == .timedOut)
        let running = try child.tryWait()
        #expect(running == nil)
        try handle.send(.terminate)
        try handle.waitForExit(until: .after(.seconds(10)))
        let isZombieAlive = handle.isAlive
        #expect(!isZombieAlive)
        try Signal.probe.send(toProcess: child.handle.identifier)  // to signal 0, a zombie looks alive
        let status = try child.wait()
        #expect(status == .signaled(.terminate))
        let gone = failure { () throws(IPCError) in try handle.send(.terminate) }
        #expect(gone?.code == .notFound)
        let missing = failure { () throws(IPCError) in _ = try ProcessHandle(4_194_000) }
        #expect(missing?.code == .notFound)
        let wrong = failure { () throws(IPCError) in try Signal.terminate.send(toProcess: -1) }
        #expect(wrong?.code == .invalidArgument)
    }

    @Test func aChildThatGoesOutOfScopeIsEnded() throws {
        func start() throws -> ProcessHandle {
            let child = try ChildProcess("sleep", ["60"])
            return try ProcessHandle(child.handle.identifier)
        }
        let handle = try start()
        let isAlive = handle.isAlive
        #expect(!isAlive)
    }
}

@Suite(.timeLimit(.minutes(10))) struct DeadlineTests {
    @Test func deadlinesAreAbsoluteAndSaturate() {
        #expect(!Deadline.never.hasPassed && Deadline.never.remaining == nil)
        #expect(Deadline.immediate.hasPassed && Deadline.after(.seconds(-1)).hasPassed)
        #expect(Deadline.after(.seconds(Int64.max)) == .never)
        let soon = Deadline.after(.seconds(60))
        #expect(soon.remaining! > .seconds(59) && soon < .never)
    }

    @Test func errorsSayWhatToDo() {
        let error = failure { () throws(IPCError) in _ = try SharedMemory.open("/missing-\(uniqueName())") }
        #expect(error?.description.hasPrefix("shm_open \"/missing-") == true)
        #expect(error?.description.contains("create it first") == true)
    }
}
