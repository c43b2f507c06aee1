import CIPCShims
import Glibc
import SystemPackage

/// A wait for something to happen to a file, by inotify: how an opener waits for the other side without polling.
///
/// Where a sandbox or the kernel has no inotify, it is a pause, after which the opener looks again.
package struct FileWatch: ~Copyable {
    /// -1 without inotify.
    private let queue: CInt
    private let watch: CInt
    private let forks = ipc_forks()

    /// How long a pause is, in nanoseconds.
    private static let pause: UInt64 = 5_000_000

    /// What may happen to what is watched.
    package struct Events: OptionSet, Sendable {
        package let rawValue: Int32
        package init(rawValue: Int32) { self.rawValue = rawValue }

        /// Somebody opens it.
        package static let openings = Events(rawValue: IN_OPEN)
        /// Its content, its size, or how many names it has.
        package static let changes = Events(rawValue: IN_MODIFY | IN_ATTRIB)
        /// A name appears in a folder, or the folder goes.
        package static let newNames = Events(rawValue: IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF)
        /// A name appears in a folder or goes, or the folder goes.
        package static let names = newNames.union(Events(rawValue: IN_DELETE | IN_MOVED_FROM))
    }

    /// Starts to watch. What happens from now on is not missed.
    package init(_ path: FilePath, for events: Events) throws(IPCError) {
        guard let queue = try SpareQueues.shared.take(path.string) else {
            (self.queue, self.watch) = (-1, -1)
            return
        }
        let added = systemCall {
            unsafe path.withPlatformString { unsafe inotify_add_watch(queue, $0, UInt32(bitPattern: events.rawValue)) }
        }
        switch added {
        case .success(let watch): (self.queue, self.watch) = (queue, watch)
        case .failure(let errno):
            SpareQueues.shared.put(queue)
            guard errno.isSystemsRefusal else { throw IPCError("inotify_add_watch", path.string, errno) }
            (self.queue, self.watch) = (-1, -1)
        }
    }

    deinit {
        // In a child of fork, the queue and the watch are its parent's.
        guard queue >= 0, forks == ipc_forks() else { return }
        inotify_rm_watch(queue, watch)
        Self.takeEvents(queue)
        SpareQueues.shared.put(queue)
    }

    /// Waits for the next event.
    ///
    /// - Returns: False if the deadline passed first.
    package func wait(until deadline: Deadline) throws(IPCError) -> Bool {
        guard queue >= 0 else {
            let end = nextLook(deadline)
            // Interrupted, it is a shorter pause.
            let left = end.nanoseconds &- min(MonotonicClock.now, end.nanoseconds)
            usleep(UInt32(left / 1000))
            return !deadline.hasPassed
        }
        guard try Readiness.readable.wait(for: queue, until: deadline) else { return false }
        Self.takeEvents(queue)
        return true
    }

    /// Whether events end a wait. Without inotify each wait is short.
    package var seesEvents: Bool { queue >= 0 }

    /// The same, suspended meanwhile.
    package nonisolated(nonsending) borrowing func wait(until deadline: Deadline) async throws(IPCError) -> Bool {
        guard queue >= 0 else {
            let outcome = try await Reactor.park(until: nextLook(deadline)) { _ in true }
            if case .cancelled = outcome { throw .cancelled("watch", "a file") }
            return !deadline.hasPassed
        }
        do throws(IPCError) {
            try await Reactor.wait(for: .readable, of: queue, until: deadline, "watch", "a file")
        } catch  where error.code == .timedOut {
            return false
        }
        Self.takeEvents(queue)
        return true
    }

    private func nextLook(_ deadline: Deadline) -> Deadline {
        min(deadline, Deadline(nanoseconds: MonotonicClock.now &+ Self.pause))
    }

    private static func takeEvents(_ queue: CInt) {
        unsafe withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 8) { buffer in
            while unsafe read(queue, buffer.baseAddress, buffer.count) > 0 {}
        }
    }
}

extension Errno {
    /// What a call fails with that the kernel lacks, or a sandbox refuses, and that asks for no permission itself.
    var isSystemsRefusal: Bool { self == .noFunction || self == .notPermitted }
}

/// Queues of events that nobody uses now. The kernel takes some 10 ms to close one, in which a task would block its thread: a
/// thread of its own closes those that lie here, once a second, and ends when it finds none.
private final class SpareQueues: @unchecked Sendable {
    // `@unchecked`: by its lock.
    static let shared = SpareQueues()
    private let lock = PrivateLock()
    private var queues: [CInt] = []
    private var isClosing = false
    private var forks = ipc_forks()

    /// How long the thread sleeps in between, in seconds.
    private static let pause: UInt32 = 1

    /// - Returns: Nil where the system has none.
    func take(_ path: String) throws(IPCError) -> CInt? {
        let spare = lock.withLock {
            renewIfInherited()
            return queues.popLast()
        }
        if let spare { return spare }
        let result = systemCall { ipc_inotify_init() }
        if case .failure(let errno) = result, errno.isSystemsRefusal { return nil }
        return try result.orThrow("inotify_init1", path) { errno in
            errno == .tooManyOpenFiles
                ? "the limit on this user's file watches is reached; raise fs.inotify.max_user_instances, or ulimit -n"
                : nil
        }
    }

    func put(_ queue: CInt) {
        let isFirst = lock.withLock {
            renewIfInherited()
            queues.append(queue)
            defer { isClosing = true }
            return !isClosing
        }
        guard isFirst else { return }
        if startQuietThread({ self.closeUnused() }) != nil {
            // Without a thread: the caller waits for the kernel, and the next one tries again to start it.
            closeAll()
            lock.withLock { isClosing = false }
        }
    }

    /// Under the lock: in a child of fork, whoever read from its parent's queues would take what is told to the parent.
    private func renewIfInherited() {
        guard forks != ipc_forks() else { return }
        forks = ipc_forks()
        for queue in queues { close(queue) }
        queues = []
        isClosing = false
    }

    private func closeUnused() {
        repeat { sleep(Self.pause) } while !closeAll()
    }

    /// - Returns: Whether there was none; then nobody closes any more.
    @discardableResult
    private func closeAll() -> Bool {
        let unused = lock.withLock {
            defer { queues.removeAll() }
            if queues.isEmpty { isClosing = false }
            return queues
        }
        for queue in unused { close(queue) }
        return unused.isEmpty
    }
}
