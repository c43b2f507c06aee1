import CIPCShims
import Glibc
import SystemPackage

/// A thread that waits on behalf of `async` calls: one for the whole process, and one for each ``EventLoop``.
///
/// A wait is a small record: a continuation, and a place among the deadlines. A descriptor is armed for one event at a time,
/// so that nothing runs while nobody waits.
///
/// A child of fork has neither the thread nor a part in the parent's queue of events, of which it would change, and take, what is the parent's. At
/// the first use there, a reactor is made anew: ``renewIfInherited()``.
@safe
package final class Reactor: @unchecked Sendable {
    // `@unchecked`: the lock guards all that changes.

    /// Serves all threads that are no event loop's. Started by the first wait of the process.
    package static let shared = Reactor()

    /// That of this thread's event loop, or the shared one.
    package static var current: Reactor {
        guard let own = unsafe ipc_thread_value() else { return shared }
        return unsafe Unmanaged<Reactor>.fromOpaque(own).takeUnretainedValue()
    }

    /// How a wait ended.
    package enum Outcome { case ready, deadlinePassed, cancelled, failed(Errno) }

    /// One task that waits.
    package final class Wait: @unchecked Sendable {
        // `@unchecked`: the reactor's lock guards it.
        fileprivate let reactor: Reactor
        /// -1 if it waits for no descriptor.
        let descriptor: CInt
        let readiness: Readiness
        let deadline: Deadline
        /// Among the deadlines; -1 if it is not there.
        var place = -1
        /// Among those of its descriptor.
        fileprivate var index = -1
        /// From when it begins to when it is over.
        fileprivate var continuation: CheckedContinuation<Outcome, Never>?
        /// Cancelled before it began.
        fileprivate var isCancelled = false
        /// In which process it began. In a child of fork, it is of a task of the parent's.
        fileprivate let forks = ipc_forks()

        fileprivate init(_ reactor: Reactor, _ descriptor: CInt, _ readiness: Readiness, _ deadline: Deadline) {
            self.reactor = reactor
            self.descriptor = descriptor
            self.readiness = readiness
            self.deadline = deadline
        }

        /// Ends it, if it is not over. From any thread.
        package func resume() {
            let continuation = reactor.lock.withLock { reactor.end(self) }
            continuation?.resume(returning: .ready)
        }
    }

    /// Those that wait for one descriptor.
    struct Waits {
        var all: [Wait] = []
        private var readers = 0
        private var writers = 0

        var wanted: Readiness { [readers > 0 ? .readable : [], writers > 0 ? .writable : []] }

        mutating func add(_ wait: Wait) {
            wait.index = all.count
            all.append(wait)
            count(wait, 1)
        }

        mutating func remove(_ wait: Wait) {
            let last = all.removeLast()
            if last !== wait {
                all[wait.index] = last
                last.index = wait.index
            }
            count(wait, -1)
        }

        private mutating func count(_ wait: Wait, _ change: Int) {
            if wait.readiness.contains(.readable) { readers += change }
            if wait.readiness.contains(.writable) { writers += change }
        }
    }

    let lock = PrivateLock()
    /// Open from the first wait on.
    var events = EventQueue()
    var isRunning = false
    var isStopping = false
    /// Whether the thread has to be woken to see what is new.
    var isAsleep = false
    var jobs: [UnownedJob] = []
    /// What jobs run on; set before the thread starts, and nil for the shared one.
    var executor: UnownedTaskExecutor?
    /// In which process its thread and its descriptors are.
    private(set) var forks = ipc_forks()
    private var waits: [CInt: Waits] = [:]
    private var watches: [CInt: @Sendable () -> Void] = [:]
    private var deadlines = DeadlineHeap()
    /// In a child of fork: what waited in its parent. Kept, since a continuation that goes unused is reported as an error.
    private var parents: [([CInt: Waits], DeadlineHeap)] = []

    init() {}

    // MARK: Waits for a descriptor

    /// Waits, without a thread, until `descriptor` is ready or broken.
    ///
    /// - Parameters:
    ///   - descriptor: Stays open meanwhile.
    ///   - operation: For the error that says what timed out.
    /// - Throws: ``IPCError/Code/timedOut``, ``IPCError/Code/cancelled``.
    package static nonisolated(nonsending) func wait(
        for readiness: Readiness, of descriptor: CInt, until deadline: Deadline, _ operation: String, _ resource: String
    ) async throws(IPCError) {
        guard !deadline.hasPassed else { throw .timedOut(operation, resource) }
        let reactor = current
        let outcome = try await reactor.suspend(Wait(reactor, descriptor, readiness, deadline)) { _ in true }
        switch outcome {
        case .ready: return
        case .deadlinePassed: throw .timedOut(operation, resource)
        case .cancelled: throw .cancelled(operation, resource)
        case .failed(let errno): throw IPCError("epoll_ctl", resource, errno)
        }
    }

    /// Waits, without a thread, for somebody to call ``Wait/resume()``.
    ///
    /// - Parameter begin: Called once the wait can be resumed; it tells those who will. If it returns false, there is
    ///   nothing to wait for.
    package static nonisolated(nonsending) func park(
        until deadline: Deadline, _ begin: (Wait) -> Bool
    ) async throws(IPCError) -> Outcome {
        let reactor = current
        return try await reactor.suspend(Wait(reactor, -1, [], deadline), begin)
    }

    /// - Parameter isolation: Said, and captured, so that the closure stays on the caller's actor. Without it a task of an
    ///   actor leaves for Swift's pool, and comes back, for each wait.
    private func suspend(
        _ wait: Wait, isolation: isolated (any Actor)? = #isolation, _ begin: (Wait) -> Bool
    ) async throws(IPCError) -> Outcome {
        try start()
        return await withTaskCancellationHandler(
            operation: {
                await withCheckedContinuation(isolation: isolation) { continuation in
                    self.begin(wait, continuation)
                    if !begin(wait) { wait.resume() }
                }
            }, onCancel: { cancel(wait) }, isolation: isolation)
    }

    private func begin(_ wait: Wait, _ continuation: CheckedContinuation<Outcome, Never>) {
        let outcome: Outcome? = lock.withLock {
            if wait.isCancelled { return .cancelled }
            wait.continuation = continuation
            if wait.descriptor >= 0 {
                waits[wait.descriptor, default: Waits()].add(wait)
                switch arm(wait.descriptor) {
                case 0: break
                case EPERM:  // a regular file: always ready
                    _ = end(wait)
                    return .ready
                case let error:
                    _ = end(wait)
                    return .failed(Errno(rawValue: error))
                }
            }
            deadlines.insert(wait)
            if isAsleep, deadlines.first === wait { events.ring() }
            return nil
        }
        if let outcome { continuation.resume(returning: outcome) }
    }

    private func cancel(_ wait: Wait) {
        let continuation = lock.withLock {
            wait.isCancelled = true
            return end(wait)
        }
        continuation?.resume(returning: .cancelled)
    }

    // MARK: Descriptors that are always watched

    /// Calls `onReady` on the reactor's thread whenever there is something to read, which it has to take. It must not block.
    package func watch(_ descriptor: CInt, _ onReady: @escaping @Sendable () -> Void) throws(IPCError) {
        try start()
        let result = lock.withLock {
            let result = events.arm(descriptor, for: .readable, once: false)
            if result == 0 { watches[descriptor] = onReady }
            return result
        }
        if result != 0 { throw IPCError("epoll_ctl", "descriptor \(descriptor)", Errno(rawValue: result)) }
    }

    /// Called before the descriptor is closed. The last call may be under way still.
    package func unwatch(_ descriptor: CInt) {
        lock.withLock {
            // A child of fork has not watched it.
            guard forks == ipc_forks() else { return }
            watches[descriptor] = nil
            events.forget(descriptor)
        }
    }

    // MARK: Under the lock

    /// Takes a wait out; its continuation if it was not over.
    private func end(_ wait: Wait) -> CheckedContinuation<Outcome, Never>? {
        // In a child of fork, what waits there is its parent's: it stays as it is, for ever.
        guard wait.forks == ipc_forks() else { return nil }
        defer { wait.continuation = nil }
        guard wait.continuation != nil else { return nil }
        deadlines.remove(wait)
        if wait.descriptor >= 0 {
            waits[wait.descriptor]?.remove(wait)
            if waits[wait.descriptor]?.all.isEmpty == true { waits[wait.descriptor] = nil }
        }
        return wait.continuation
    }

    /// Asks the kernel for what is waited for.
    private func arm(_ descriptor: CInt) -> CInt {
        guard let wanted = waits[descriptor]?.wanted else { return 0 }
        return events.arm(descriptor, for: wanted, once: true)
    }

    /// In a child of fork: forgets all that is its parent's, and closes its own copies of the descriptors. What is closed here stays
    /// as it is there.
    ///
    /// A fork on the reactor's own thread, by a task of an event loop, leaves the thread to the child: it goes on there, with that one
    /// task.
    func renewIfInherited() throws(IPCError) {
        guard forks != ipc_forks() else { return }
        forks = ipc_forks()
        events.close()
        parents.append((waits, deadlines))
        waits = [:]
        watches = [:]
        deadlines = DeadlineHeap()
        jobs = []
        isAsleep = false
        isRunning = unsafe ipc_thread_value() == Unmanaged.passUnretained(self).toOpaque()
        guard isRunning, let failure = events.open() else { return }
        isRunning = false
        events.close()
        throw IPCError(failure.call, "asynchronous waits", failure.errno)
    }

    var firstDeadline: Deadline { deadlines.first?.deadline ?? .never }

    // MARK: On the reactor's thread

    func deliver(_ descriptor: CInt, _ found: Readiness) {
        let isBroken = found.rawValue & Int16(POLLERR | POLLHUP) != 0
        let (watch, ready) = lock.withLock {
            () -> ((@Sendable () -> Void)?, [CheckedContinuation<Outcome, Never>]) in
            if let watch = watches[descriptor] { return (watch, []) }
            let all = waits[descriptor]?.all ?? []
            let ready = all.filter { isBroken || !$0.readiness.isDisjoint(with: found) }
            let continuations = ready.compactMap { end($0) }
            _ = arm(descriptor)  // for the others
            return (nil, continuations)
        }
        watch?()
        for continuation in ready { continuation.resume(returning: .ready) }
    }

    func endLateOnes() {
        while true {
            let late = lock.withLock { () -> CheckedContinuation<Outcome, Never>? in
                guard let first = deadlines.first, first.deadline.hasPassed else { return nil }
                return end(first)
            }
            guard let late else { return }
            late.resume(returning: .deadlinePassed)
        }
    }
}
