import Glibc
import IPC
import Synchronization
import SystemPackage
import SystemSupport
import TestSupport

/// A process that has asynchronous waits forks, and its child waits in all ways.
enum ForkRoles {
    /// Runs tasks on a thread of its own, which is no event loop's: their waits are those of the process's own reactor.
    private final class ThreadExecutor: TaskExecutor, @unchecked Sendable {
        private var mutex = pthread_mutex_t()
        private var condition = pthread_cond_t()
        private var jobs: [UnownedJob] = []

        init() throws {
            pthread_mutex_init(&mutex, nil)
            pthread_cond_init(&condition, nil)
            _ = try PlainThread { [self] () throws(IPCError) in
                while true {
                    pthread_mutex_lock(&mutex)
                    while jobs.isEmpty { pthread_cond_wait(&condition, &mutex) }
                    let job = jobs.removeFirst()
                    pthread_mutex_unlock(&mutex)
                    job.runSynchronously(on: asUnownedTaskExecutor())
                }
            }
        }

        func enqueue(_ job: consuming ExecutorJob) {
            let job = UnownedJob(job)
            pthread_mutex_lock(&mutex)
            jobs.append(job)
            pthread_cond_signal(&condition)
            pthread_mutex_unlock(&mutex)
        }
    }

    /// Waits that are under way when the process forks, and what ends them.
    private struct Pending {
        let pipe: SharedReference<AnonymousPipe>
        let memory: SharedBox
        let semaphore: SharedSemaphore
        let fifo: NamedPipe
        let path: String
        var tasks: [Task<String, Never>] = []

        init(_ executors: [any TaskExecutor]) throws {
            pipe = SharedReference(try AnonymousPipe())
            memory = SharedBox(try AnonymousMemory(byteCount: 4096).map())
            semaphore = try SharedSemaphore.create(in: memory.value, at: 0, value: 0)
            path = "/tmp/" + uniqueName()
            fifo = try NamedPipe.create(FilePath(path))
            let (pipe, semaphore, fifo) = (pipe, semaphore, fifo)
            for executor in executors {
                tasks.append(
                    Task(executorPreference: executor) {
                        await result {
                            var bytes: [UInt8] = [0]
                            var elements = bytes.mutableSpan
                            var buffer = elements.mutableBytes
                            return try await pipe.value.reader.read(into: &buffer, until: .after(.seconds(20)))
                        }
                    })
                tasks.append(
                    Task(executorPreference: executor) {
                        await result {
                            try await semaphore.wait(until: .after(.seconds(20)))
                            return 1
                        }
                    })
            }
            tasks.append(
                Task(executorPreference: executors[0]) {
                    await result {
                        _ = try await fifo.openForWriting(until: .after(.seconds(20)))
                        return 1
                    }
                })
        }

        /// Ends them.
        func end() async throws -> String {
            for _ in 0..<tasks.count {
                _ = try pipe.value.writer.tryWrite(([1] as [UInt8]).span.bytes)
                try semaphore.post()
            }
            let reader = try fifo.tryOpenForReading()
            var results: [String] = []
            for task in tasks { results.append(await task.value) }
            _ = consume reader
            unlink(path)
            return results.joined(separator: " ")
        }
    }

    private final class SharedBox: @unchecked Sendable {
        let value: MemoryMapping
        init(_ value: consuming MemoryMapping) { self.value = value }
    }

    private static func result(_ body: () async throws -> Int) async -> String {
        do { return "\(try await body())" } catch { return "\((error as? IPCError)?.code.rawValue ?? "\(error)")" }
    }

    /// All kinds of waits, begun and ended on these executors.
    private static func waits(_ executors: [any TaskExecutor]) throws -> String {
        let done = Flag()
        let text = Mutex("")
        let pending = try Pending(executors)
        usleep(50_000)
        Task(executorPreference: executors[0]) {
            let late = await result {
                try await pending.semaphore.wait(until: .after(.milliseconds(50)))
                return 0
            }
            let all = try? await pending.end()
            text.withLock { $0 = "\(late) \(all ?? "no end")" }
            done.set()
        }
        for _ in 0..<15_000 where !done.isSet { usleep(1000) }
        return done.isSet ? text.withLock { $0 } : "hangs"
    }

    private static func blockingWaits() throws -> String {
        let path = FilePath("/tmp/" + uniqueName())
        let fifo = try NamedPipe.create(path)
        defer { unlink(path.string) }
        let late = failure { () throws(IPCError) in _ = try fifo.openForWriting(until: .after(.milliseconds(50))) }
        let opener = try PlainThread { () throws(IPCError) in
            usleep(20_000)
            _ = try fifo.openForReading(until: .after(.seconds(10)))
        }
        let writer = try fifo.openForWriting(until: .after(.seconds(10)))
        defer { withExtendedLifetime(writer) {} }
        return "\(late?.code.rawValue ?? "no error") \(opener.join()?.code.rawValue ?? "opened")"
    }

    static func afterWaits() throws {
        let (loop, thread) = (try EventLoop(), try ThreadExecutor())
        // What is kept for later use is there as well.
        print("before:", try blockingWaits(), try waits([loop, thread]))
        let pending = try Pending([loop, thread])
        usleep(100_000)
        fflush(nil)
        let child = support_fork()
        if child == 0 {
            alarm(40)
            do {
                print("child:", try blockingWaits())
                fflush(nil)
                print("child, its own:", try waits([EventLoop(), ThreadExecutor()]))
                fflush(nil)
                print("child, its parent's loop:", try waits([loop]))
            } catch {
                print("child: \(error)")
            }
            fflush(nil)
            support_exit(0)
        }
        var status: CInt = 0
        waitpid(child, &status, 0)
        print("child ended:", status)
        let done = Flag()
        Task(executorPreference: loop) {
            print("parent:", (try? await pending.end()) ?? "no end")
            done.set()
        }
        for _ in 0..<25_000 where !done.isSet { usleep(1000) }
        print("after:", done.isSet, try waits([loop, thread]))
        fflush(nil)
    }

    /// Each read is suspended, and resumed in the child: what comes is told to nobody else.
    ///
    /// - Returns: How many got something; the last has nothing to get.
    private static func childsReads() async throws -> Int {
        let pipe = SharedReference(try AnonymousPipe())
        var count = 0
        for round in 0...20 {
            let writer =
                round == 20
                ? nil
                : try PlainThread { () throws(IPCError) in
                    usleep(3000)
                    _ = try pipe.value.writer.tryWrite(([1] as [UInt8]).span.bytes)
                }
            var bytes: [UInt8] = [0]
            var elements = bytes.mutableSpan
            var buffer = elements.mutableBytes
            do throws(IPCError) {
                count += try await pipe.value.reader.read(
                    into: &buffer, until: .after(.milliseconds(round == 20 ? 100 : 1000)))
            } catch {
                guard error.code == .timedOut else { throw error }
            }
            _ = writer?.join()
        }
        return count
    }

    /// The fork happens on the thread of an event loop, in a task.
    static func onLoop() throws {
        let loop = try EventLoop()
        let pending = try Pending([loop])
        usleep(50_000)
        let child = Mutex<pid_t>(0)
        let done = Flag()
        Task(executorPreference: loop) {
            let process = support_fork()
            if process == 0 {
                alarm(40)
                let text = await result { try await childsReads() }
                // Says it by its exit code: it shares the output with its parent.
                support_exit(CInt(text) ?? 99)
            }
            child.withLock { $0 = process }
            done.set()
        }
        done.wait()
        // While the child waits on its own: what is told to the parent is told to nobody else.
        let ended = Flag()
        Task(executorPreference: loop) {
            print("parent:", (try? await pending.end()) ?? "no end")
            ended.set()
        }
        for _ in 0..<25_000 where !ended.isSet { usleep(1000) }
        print("ended:", ended.isSet)
        fflush(nil)
        var status: CInt = 0
        waitpid(child.withLock { $0 }, &status, 0)
        print("child ended:", status)
        fflush(nil)
    }
}
