import Glibc
import IPC
import SystemPackage
import SystemSupport

/// How children and pipelines do in a process that was started in an unusual way.
enum ProcessRoles {
    /// Runs an asynchronous role to its end.
    static func run(_ body: @escaping @Sendable () async throws -> Void) -> Never {
        Task.detached {
            do { try await body() } catch { TestPeer.say("failed: \(error)") }
            exit(0)
        }
        while true { pause() }
    }

    /// A stage that reads nothing of a large input, in a process in which SIGPIPE has its default action.
    static func unreadInput() async throws {
        signal(SIGPIPE, SIG_DFL)
        for _ in 0..<50 {
            let result = try await Pipeline([["true"]]).run(input: [UInt8](repeating: 7, count: 70_000))
            try result.check()
        }
        TestPeer.say("alive")
    }

    static func ignoredChildren() async throws {
        signal(SIGCHLD, SIG_IGN)
        let result = try await Pipeline([["echo", "kept"], ["cat"]]).run()
        print(result.text, terminator: "")
        do throws(IPCError) { try result.check() } catch { TestPeer.say("\(error.code) \(error.advice)") }
        let child = try ChildProcess("true")
        do throws(IPCError) { _ = try await child.wait(until: .after(.seconds(10))) } catch {
            TestPeer.say("\(error.code) \(error.advice)")
        }
    }

    /// Descriptors 0 to 2 are closed. Reports to descriptor 3.
    static func closedDescriptors() throws {
        let report = FileDescriptor(rawValue: 3)
        // Before there are tasks: Dispatch opens some of its own.
        let closed = (0...2).filter { fcntl($0, F_GETFD) < 0 }
        let pipe = try AnonymousPipe()
        let signals = try SignalSource([.userDefined1])
        let counter = try EventCounter()
        let memory = try AnonymousMemory(byteCount: 4096)
        let handle = try ProcessHandle(getpid())
        let child = try ChildProcess("sleep", ["100"])
        let socket = try StreamSocket.makePair()
        let all = [
            pipe.reader.descriptor, pipe.writer.descriptor, signals.descriptor, counter.descriptor, memory.descriptor,
            handle.descriptor, child.handle.descriptor, socket.first.descriptor, socket.second.descriptor,
        ]
        try report.writeAll("closed \(closed.count), \(all.allSatisfy { $0.rawValue > 2 })\n".utf8)
        withExtendedLifetime(socket) {}
        run {
            let result = try await Pipeline([["cat"], ["ls", "/proc/self/fd"]]).run(input: Array("text\n".utf8))
            try report.writeAll(result.text.utf8)
        }
    }

    /// System calls are refused, as sandboxes do.
    static func refused(_ names: [String], _ error: CInt) async throws {
        let numbers = names.map { support_call_number($0) }
        guard support_refuse(numbers, CInt(numbers.count), error) == 0 else { fatalError("no filter: \(errno)") }
        let child = try ChildProcess("sh", ["-c", "exit 7"])
        print(try await child.wait(until: .after(.seconds(10))))
        let sleeper = try ChildProcess("sleep", ["100"])
        try sleeper.handle.send(.terminate)
        print(try await sleeper.wait(until: .after(.seconds(10))))
        let text = [UInt8](repeating: UInt8(ascii: "x"), count: 200_000)
        let result = try await Pipeline([["cat"], ["cat"]]).run(input: text, until: .after(.seconds(20)))
        print(result.output == text)
        do throws(IPCError) {
            try await Pipeline([["sh", "-c", "sleep 100 & sleep 100"]]).run(until: .after(.milliseconds(50))).check()
        } catch {
            print(error.code)
        }
        do throws(IPCError) {
            print(try ProcessHandle(getpid()).isAlive)
        } catch {
            print(error.code, error.advice.contains("sandbox"))
        }
        TestPeer.say("end")
    }
}
