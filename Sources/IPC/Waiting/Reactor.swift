import CIPCShims
import Glibc
import SystemPackage

/// The one thread of this process that waits for descriptors on behalf of all `async` calls, by epoll.
///
/// A wait is a small record: a continuation, and a place among the deadlines. A descriptor is armed for one event at a time
/// (`EPOLLONESHOT`), so that nothing runs while nobody waits.
package final class Reactor: @unchecked Sendable {
    // `@unchecked`: the lock guards all that changes.

    /// Started by the first wait of the process.
    package static let shared = Reactor()

    /// How a wait ended.
    enum Outcome { case ready, deadlinePassed, cancelled, failed(Errno) }

    /// One task that waits.
    final class Wait: @unchecked Sendable {
        // `@unchecked`: the reactor's lock guards it.
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

        init(_ descriptor: CInt, _ readiness: Readiness, _ deadline: Deadline) {
            self.descriptor = descriptor
            self.readiness = readiness
            self.deadline = deadline
        }
    }

    /// Those that wait for one descriptor.
    private struct Waits {
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

    private let lock = PrivateLock()
    // -1 until the first wait.
    private var epoll: CInt = -1
    /// Wakes the thread when a deadline came that is earlier than all others.
    private var alarm: CInt = -1
    private var isRunning = false
    private var waits: [CInt: Waits] = [:]
    private var deadlines = DeadlineHeap()

    private init() {}

    /// Starts the thread, at the first wait, or at the first for which the system has what it takes.
    private func start() throws(IPCError) {
        let errno: Errno? = lock.withLock {
            guard !isRunning else { return nil }
            if epoll < 0 { epoll = ipc_epoll_create() }
            if epoll >= 0, alarm < 0 { alarm = ipc_eventfd(0, CInt(EFD_NONBLOCK | EFD_CLOEXEC)) }
            guard epoll >= 0, alarm >= 0 else { return Errno(rawValue: Glibc.errno) }
            _ = ipc_epoll_arm(epoll, alarm, Int16(POLLIN), 0)
            // With all signals blocked: they are for the program's own threads.
            var every = SignalSet.all.raw
            var before = sigset_t()
            unsafe pthread_sigmask(SIG_SETMASK, &every, &before)
            var thread = pthread_t()
            let result = unsafe pthread_create(&thread, nil, { _ in Reactor.shared.run() }, nil)
            unsafe pthread_sigmask(SIG_SETMASK, &before, nil)
            isRunning = result == 0
            return isRunning ? nil : Errno(rawValue: result)
        }
        if let errno { throw IPCError("start", "asynchronous waits", errno) }
    }

    /// Waits, without a thread, until `descriptor` is ready or broken.
    ///
    /// - Parameters:
    ///   - descriptor: Stays open meanwhile.
    ///   - operation: For the error that says what timed out.
    /// - Throws: ``IPCError/Code/timedOut``, ``IPCError/Code/cancelled``.
    package nonisolated(nonsending) func wait(
        for readiness: Readiness, of descriptor: CInt, until deadline: Deadline, _ operation: String, _ resource: String
    ) async throws(IPCError) {
        guard !deadline.hasPassed else { throw .timedOut(operation, resource) }
        try start()
        let wait = Wait(descriptor, readiness, deadline)
        let outcome = await withTaskCancellationHandler {
            await withCheckedContinuation { begin(wait, $0) }
        } onCancel: {
            cancel(wait)
        }
        switch outcome {
        case .ready: return
        case .deadlinePassed: throw .timedOut(operation, resource)
        case .cancelled: throw .cancelled(operation, resource)
        case .failed(let errno): throw IPCError("epoll_ctl", resource, errno)
        }
    }

    private func begin(_ wait: Wait, _ continuation: CheckedContinuation<Outcome, Never>) {
        let outcome: Outcome? = lock.withLock {
            if wait.isCancelled { return .cancelled }
            wait.continuation = continuation
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
            deadlines.insert(wait)
            if deadlines.first === wait { ring() }
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

    // Under the lock:

    /// Takes a wait out; its continuation if it was not over.
    private func end(_ wait: Wait) -> CheckedContinuation<Outcome, Never>? {
        defer { wait.continuation = nil }
        guard wait.continuation != nil else { return nil }
        deadlines.remove(wait)
        waits[wait.descriptor]?.remove(wait)
        if waits[wait.descriptor]?.all.isEmpty == true { waits[wait.descriptor] = nil }
        return wait.continuation
    }

    /// Asks the kernel for what is waited for.
    private func arm(_ descriptor: CInt) -> CInt {
        guard let wanted = waits[descriptor]?.wanted else { return 0 }
        return ipc_epoll_arm(epoll, descriptor, wanted.rawValue, 1)
    }

    private func ring() {
        var one: UInt64 = 1
        _ = unsafe write(alarm, &one, 8)
    }

    // On the reactor's thread:

    private func run() -> Never {
        var descriptors = [CInt](repeating: 0, count: 64)
        var events = [Int16](repeating: 0, count: 64)
        while true {
            let deadline = lock.withLock { deadlines.first?.deadline ?? .never }
            let count = unsafe ipc_epoll_wait(epoll, &descriptors, &events, 64, deadline.nanoseconds)
            for index in 0..<Int(max(count, 0)) { deliver(descriptors[index], Readiness(rawValue: events[index])) }
            endLateOnes()
        }
    }

    private func deliver(_ descriptor: CInt, _ found: Readiness) {
        if descriptor == alarm {
            var count: UInt64 = 0
            _ = unsafe read(alarm, &count, 8)
            return
        }
        let isBroken = found.rawValue & Int16(POLLERR | POLLHUP) != 0
        let ready = lock.withLock {
            let all = waits[descriptor]?.all ?? []
            let ready = all.filter { isBroken || !$0.readiness.isDisjoint(with: found) }
            let continuations = ready.compactMap { end($0) }
            _ = arm(descriptor)  // for the others
            return continuations
        }
        for continuation in ready { continuation.resume(returning: .ready) }
    }

    private func endLateOnes() {
        let now = MonotonicClock.now
        while true {
            let late = lock.withLock { () -> CheckedContinuation<Outcome, Never>? in
                guard let first = deadlines.first, first.deadline.nanoseconds <= now else { return nil }
                return end(first)
            }
            guard let late else { return }
            late.resume(returning: .deadlinePassed)
        }
    }
}
