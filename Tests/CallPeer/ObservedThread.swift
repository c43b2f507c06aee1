import Glibc
import IPC
import SystemSupport
import TestSupport

/// A thread whose system calls can be made to fail. Everything of the table of failures runs there, tasks too.
final class ObservedThread: TaskExecutor, @unchecked Sendable {
    // `@unchecked`: its jobs are under the lock.
    private var mutex = pthread_mutex_t()
    private var condition = pthread_cond_t()
    private var done = pthread_cond_t()
    private var jobs: [() -> Void] = []
    private var thread: PlainThread?

    /// The only one: what it starts is observed too.
    static let shared = ObservedThread()

    private init() {
        pthread_mutex_init(&mutex, nil)
        pthread_cond_init(&condition, nil)
        pthread_cond_init(&done, nil)
        let started = Flag()
        let error = Box<CInt>(0)
        thread = try? PlainThread { () throws(IPCError) in
            if support_faults_start() != 0 { error.value = errno }
            started.set()
            while true { self.nextJob()() }
        }
        guard thread != nil else { fatalError("no thread") }
        started.wait()
        if error.value != 0 { fatalError("no filter: error \(error.value)") }
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        add { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }

    private func add(_ job: @escaping () -> Void) {
        pthread_mutex_lock(&mutex)
        jobs.append(job)
        pthread_cond_signal(&condition)
        pthread_mutex_unlock(&mutex)
    }

    private func nextJob() -> () -> Void {
        pthread_mutex_lock(&mutex)
        defer { pthread_mutex_unlock(&mutex) }
        while jobs.isEmpty { pthread_cond_wait(&condition, &mutex) }
        return jobs.removeFirst()
    }

    /// Runs `body` there, for another thread. Nothing takes as long as ends the program, with the name of `what`.
    func run<Value>(
        _ what: @autoclosure () -> String, _ body: @escaping () throws -> Value
    ) -> Result<Value, any Error> {
        let result = Box<Result<Value, any Error>?>(nil)
        add {
            let value = Result { try body() }
            pthread_mutex_lock(&self.mutex)
            result.value = value
            pthread_cond_signal(&self.done)
            pthread_mutex_unlock(&self.mutex)
        }
        var end = timespec()
        clock_gettime(CLOCK_REALTIME, &end)
        end.tv_sec += 60
        pthread_mutex_lock(&mutex)
        while result.value == nil {
            guard pthread_cond_timedwait(&done, &mutex, &end) == 0 else { fatalError("\(what()) does not end") }
        }
        pthread_mutex_unlock(&mutex)
        return result.value!
    }

    /// Runs a task on this thread, from this thread, to its end.
    func finish(_ body: @escaping @Sendable () async throws -> Void) throws {
        let result = Box<Result<Void, any Error>?>(nil)
        Task(executorPreference: self) {
            do {
                try await body()
                result.value = .success(())
            } catch {
                result.value = .failure(error)
            }
        }
        while result.value == nil { nextJob()() }
        try result.value!.get()
    }
}
