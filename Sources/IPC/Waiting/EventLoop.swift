/// A thread that runs tasks and waits for them: least latency for asynchronous code.
///
/// ```swift
/// let loop = try EventLoop()
/// await withTaskExecutorPreference(loop) { print("on its thread") }
/// ```
///
/// Elsewhere, two threads have to wake when what a task waits for happens: the one that waits for all, and the one of
/// Swift's pool that runs the task. Here it is one thread. A task that computes for long, or blocks, holds up all others of
/// its loop. The thread has the affinity of the one that makes it, and all signals blocked.
public final class EventLoop: TaskExecutor {
    // No executor for actors: a task of one is resumed by way of Swift's pool, whatever the actor runs on.
    private let reactor = Reactor()

    /// Starts the thread. It ends when the last reference to the loop is gone.
    ///
    /// - Throws: ``IPCError/Code/limitReached`` if the system has no descriptor, or no thread, left.
    public init() throws(IPCError) {
        unsafe reactor.executor = asUnownedTaskExecutor()
        try reactor.start()
    }

    deinit { reactor.stop() }

    /// Called by Swift's runtime.
    public func enqueue(_ job: consuming ExecutorJob) { reactor.enqueue(UnownedJob(job)) }
}
