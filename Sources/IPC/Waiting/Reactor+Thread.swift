import CIPCShims
import Glibc
import SystemPackage

extension Reactor {
    /// Starts the thread, at the first wait, or at the first for which the system has what it takes.
    func start() throws(IPCError) {
        let errno: Errno? = lock.withLock {
            guard !isRunning else { return nil }
            if epoll < 0 { epoll = ipc_epoll_create() }
            if epoll >= 0, alarm < 0 { alarm = ipc_eventfd(0, CInt(EFD_NONBLOCK | EFD_CLOEXEC)) }
            guard epoll >= 0, alarm >= 0 else { return Errno(rawValue: Glibc.errno) }
            _ = ipc_epoll_arm(epoll, alarm, Int16(POLLIN), 0)
            let errno = startQuietThread { self.run() }
            isRunning = errno == nil
            return errno
        }
        if let errno { throw IPCError("start", "asynchronous waits", errno) }
    }

    /// Ends the thread, once it has run what it has to run.
    func stop() {
        lock.withLock {
            isStopping = true
            ring()
        }
    }

    /// Runs a job of a task on the thread.
    func enqueue(_ job: UnownedJob) {
        lock.withLock {
            jobs.append(job)
            if isAsleep { ring() }
        }
    }

    private func run() {
        var descriptors = [CInt](repeating: 0, count: 64)
        var events = [Int16](repeating: 0, count: 64)
        let executor = unsafe executor
        if unsafe executor != nil { unsafe ipc_set_thread_value(Unmanaged.passUnretained(self).toOpaque()) }
        var isDone = false
        while !isDone {
            let deadline = lock.withLock { () -> Deadline in
                isAsleep = jobs.isEmpty && !isStopping
                return isAsleep ? firstDeadline : .immediate
            }
            let count = unsafe ipc_epoll_wait(epoll, &descriptors, &events, 64, deadline.nanoseconds)
            lock.withLock { isAsleep = false }
            for index in 0..<Int(max(count, 0)) { deliver(descriptors[index], Readiness(rawValue: events[index])) }
            endLateOnes()
            isDone = unsafe runJobs(on: executor)
        }
        ipc_set_thread_value(nil)
        lock.withLock {
            close(epoll)
            close(alarm)
            (epoll, alarm) = (-1, -1)
        }
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
            for job in batch { unsafe job.runSynchronously(on: executor) }
        }
        return isDone
    }
}
