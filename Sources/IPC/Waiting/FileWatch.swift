import CIPCShims
import Glibc
import SystemPackage

/// A wait for something to happen to a file, by inotify: how an opener waits for the other side without polling.
package struct FileWatch: ~Copyable {
    private let queue: CInt
    private let watch: CInt

    /// Starts to watch. What happens from now on is not missed.
    package init(_ path: FilePath, for events: Int32) throws(IPCError) {
        let queue = try SpareQueues.shared.take(path.string)
        let added = systemCall {
            unsafe path.withPlatformString { unsafe inotify_add_watch(queue, $0, UInt32(bitPattern: events)) }
        }
        switch added {
        case .success(let watch): (self.queue, self.watch) = (queue, watch)
        case .failure(let errno):
            SpareQueues.shared.put(queue)
            throw IPCError("inotify_add_watch", path.string, errno)
        }
    }

    deinit {
        inotify_rm_watch(queue, watch)
        Self.takeEvents(queue)
        SpareQueues.shared.put(queue)
    }

    /// Waits for the next event.
    ///
    /// - Returns: False if the deadline passed first.
    package func wait(until deadline: Deadline) throws(IPCError) -> Bool {
        guard try Readiness.readable.wait(for: queue, until: deadline) else { return false }
        Self.takeEvents(queue)
        return true
    }

    /// The same, suspended meanwhile.
    nonisolated(nonsending) borrowing func wait(until deadline: Deadline) async throws(IPCError) -> Bool {
        do throws(IPCError) {
            try await Reactor.wait(for: .readable, of: queue, until: deadline, "watch", "a file")
        } catch  where error.code == .timedOut {
            return false
        }
        Self.takeEvents(queue)
        return true
    }

    private static func takeEvents(_ queue: CInt) {
        unsafe withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 8) { buffer in
            while unsafe read(queue, buffer.baseAddress, buffer.count) > 0 {}
        }
    }
}

/// Queues of events that nobody uses now. The kernel takes some 10 ms to close one, in which a task would block its thread.
private final class SpareQueues: @unchecked Sendable {
    // `@unchecked`: by its lock.
    static let shared = SpareQueues()
    private let lock = PrivateLock()
    private var queues: [CInt] = []

    func take(_ path: String) throws(IPCError) -> CInt {
        if let queue = lock.withLock({ queues.popLast() }) { return queue }
        return try systemCall { ipc_inotify_init() }.orThrow("inotify_init1", path) { errno in
            errno == .tooManyOpenFiles
                ? "no more file watches for this user; raise fs.inotify.max_user_instances or ulimit -n" : nil
        }
    }

    func put(_ queue: CInt) { lock.withLock { queues.append(queue) } }
}
