import CIPCShims
import Glibc
import SystemPackage

extension Reactor {
    /// Starts the thread, at the first wait, or at the first for which the system has what it takes.
    func start() throws(IPCError) {
        let failure: (call: String, errno: Errno)? = try lock.withLock {
            () throws(IPCError) -> (call: String, errno: Errno)? in
            try renewIfInherited()
            guard !isRunning else { return nil }
            let failure = makeThread()
            isRunning = failure == nil
            if !isRunning { events.close() }
            return failure
        }
        guard let failure else { return }
        throw IPCError(
            failure.call, "asynchronous waits", failure.errno,
            advice: failure.call == "pthread_create" ? Self.threadAdvice(failure.errno) : nil)
    }

    private func makeThread() -> (call: String, errno: Errno)? {
        events.open() ?? startQuietThread { self.run() }.map { ("pthread_create", $0) }
    }

    private static func threadAdvice(_ errno: Errno) -> String {
        switch errno {
        case .notPermitted, .noFunction:
            "a sandbox (seccomp) refuses to start a thread (clone3 or clone); allow it, or make it fail with ENOSYS"
        default: "no thread can be started; end some threads, or raise the limit (ulimit -u)"
        }
    }

    /// Ends the thread, once it has run what it has to run.
    func stop() {
        lock.withLock {
            isStopping = true
            // In a child of fork there is no thread to be ended.
            if forks == ipc_forks() { events.ring() }
        }
    }

    /// Runs a job of a task on the thread.
    func enqueue(_ job: UnownedJob) {
        lock.withLock {
            if forks != ipc_forks() {
                // A child of fork uses its parent's event loop: it gets a thread. Without one, the job waits for the next attempt.
                guard (try? renewIfInherited()) != nil, isRunning || makeThread() == nil else {
                    events.close()
                    jobs.append(job)
                    return
                }
                isRunning = true
            }
            jobs.append(job)
            if isAsleep { events.ring() }
        }
    }

    private func run() {
        var descriptors = [CInt](repeating: 0, count: 64)
        var found = [Int16](repeating: 0, count: 64)
        let executor = unsafe executor
        if unsafe executor != nil { unsafe ipc_set_thread_value(Unmanaged.passUnretained(self).toOpaque()) }
        var isDone = false
        while !isDone {
            let (deadline, queue) = lock.withLock { () -> (Deadline, EventQueue) in
                // A task that ran here has forked, and this is the child.
                try? renewIfInherited()
                isAsleep = jobs.isEmpty && !isStopping
                return (isAsleep ? firstDeadline : .immediate, events)
            }
            let count = queue.wait(&descriptors, &found, until: deadline)
            lock.withLock { isAsleep = false }
            for index in 0..<count { deliver(descriptors[index], Readiness(rawValue: found[index])) }
            endLateOnes()
            isDone = unsafe runJobs(on: executor)
        }
        ipc_set_thread_value(nil)
        lock.withLock { events.close() }
    }

    /// Runs what is there now. What that brings up waits until descriptors were looked at again.
    ///
    /// - Returns: Whether all is done.
    private func runJobs(on executor: UnownedTaskExecutor?) -> Bool {
        let (batch, isDone) = lock.withLock { () -> ([UnownedJob], Bool) in
            let batch = jobs
            jobs.removeAll(keepingCapacity: true)
            return (batch, batch.isEmpty && isStopping)
        }
        if let executor = unsafe executor {
            let before = ipc_forks()
            for job in batch {
                unsafe job.runSynchronously(on: executor)
                // It has forked, and this is the child: the others are its parent's.
                if ipc_forks() != before { break }
            }
        }
        return isDone
    }
}
