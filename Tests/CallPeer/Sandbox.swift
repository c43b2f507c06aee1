import Glibc
import IPC
import IPCChannels
import SystemSupport
import TestSupport

/// Runs what waits in a process to which system calls are refused, as sandboxes and old kernels do, and measures what idle waits
/// cost there.
enum Sandbox {
    static func run(_ names: [String], _ error: CInt) throws {
        let numbers = names.map { support_call_number($0) }
        guard !numbers.contains(-1), support_refuse(numbers, CInt(numbers.count), error) == 0 else {
            fatalError("no filter: \(errno)")
        }
        for row in Deadlines.rows { for line in Deadlines.runOnce(row) { print(line) } }
        do { try otherProcess() } catch { print("two processes: \(error)") }
        do { try idle() } catch { print("idle: \(error)") }
        print("end")
    }

    /// A server in another process, under the same filter: a child has its parent's.
    private static func otherProcess() throws {
        let service = try ServiceChannel<UInt64, UInt64, Fault>.openOrCreate(channelName())
        var client = try service.makeClient()
        let server = try ChildProcess(CommandLine.arguments[0], ["serve", service.name.description])
        for number in 0..<100 as Range<UInt64> {
            try require(client.call(number, until: .after(.seconds(20))).get() == number + 1)
        }
        try require(server.wait(until: .after(.seconds(20))) == .exited(0))
    }

    /// In the other process.
    static func serve(_ name: String) throws {
        var server = try ServiceChannel<UInt64, UInt64, Fault>.open(name).makeServer()
        for _ in 0..<100 {
            try server.serveNext(until: .after(.seconds(20))) { (request) throws(Fault) in request + 1 }
        }
    }

    /// A task connects by TCP while the system refuses to: prints the error, and how many seconds it took.
    static func connect(_ error: CInt) throws {
        let listener = try StreamListener(.tcp(host: "127.0.0.1", port: 0))
        let address = try listener.localEndpoint!
        guard support_refuse([support_call_number("connect")], 1, error) == 0 else { fatalError("no filter: \(errno)") }
        let done = Flag()
        Task.detached {
            let start = ContinuousClock.now
            do {
                _ = try await StreamSocket.connect(to: address, until: .after(.seconds(20)))
                print("connected")
            } catch {
                print((ContinuousClock.now - start).components.seconds, error)
            }
            done.set()
        }
        done.wait()
    }

    /// Another process that has a part in a channel, until it is ended.
    static func hold(_ name: String) throws {
        let publisher = try Topic<UInt64>.open(name).makePublisher()
        withExtendedLifetime(publisher) { while true { pause() } }
    }

    /// A thread, a task and a wait set that wait for a channel, a task that waits for a word in memory, and a process that is there
    /// to be looked after: all at once, and all for nothing.
    private static func idle() throws {
        let topic = try Topic<UInt64>.openOrCreate(channelName())
        // The process that is killed at the end is the last in it.
        defer { try? Topic<UInt64>.remove(topic.name.description) }
        let holder = try ChildProcess(CommandLine.arguments[0], ["hold", topic.name.description])
        defer { withExtendedLifetime(holder) {} }
        let thread = Box(try topic.makeSubscription())
        let task = Box(try topic.makeSubscription())
        let inSet = Box(try topic.makeSubscription())
        let futex = try Futex(in: newMemory(), at: 0)
        let end = Deadline.after(.seconds(2))
        let blocking = try PlainThread { () throws(IPCError) in _ = try thread.value.receive(until: end) }
        // The wait set may need what the system refuses: that is told above.
        let set = try PlainThread { () throws(IPCError) in
            _ = try WaitSet().wait(until: end) { (sources) throws(IPCError) in sources.add(&inSet.value) }
        }
        let finished = Flag()
        Task.detached {
            async let first = try? task.value.receive(until: end)
            async let second = try? futex.wait(whileEqual: 0, until: end)
            _ = await (first, second)
            finished.set()
        }
        // Until all wait.
        usleep(500_000)
        let before = processorTime()
        usleep(1_000_000)
        let used = processorTime() - before
        print("idle \(used.components.attoseconds / 1_000_000_000_000 + used.components.seconds * 1_000_000)")
        _ = blocking.join()
        _ = set.join()
        finished.wait()
    }
}
