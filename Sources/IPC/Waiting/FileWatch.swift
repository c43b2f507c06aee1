import CIPCShims
import Glibc
import SystemPackage

/// A wait for something to happen to a file, by inotify: how an opener waits for the other side without polling.
package struct FileWatch: ~Copyable {
    private let queue: OwnedDescriptor

    /// Starts to watch. What happens from now on is not missed.
    package init(_ path: String, for events: Int32) throws(IPCError) {
        let queue = OwnedDescriptor(
            adopting: try systemCall { ipc_inotify_init() }.orThrow("inotify_init1", path) { errno in
                errno == .tooManyOpenFiles
                    ? "no more file watches for this user; raise fs.inotify.max_user_instances or ulimit -n" : nil
            })
        let raw = queue.rawValue
        _ = try systemCall { unsafe inotify_add_watch(raw, path, UInt32(bitPattern: events)) }.orThrow(
            "inotify_add_watch", path)
        self.queue = queue
    }

    /// Waits for the next event.
    ///
    /// - Returns: False if the deadline passed first.
    package func wait(until deadline: Deadline) throws(IPCError) -> Bool {
        guard try Readiness.readable.wait(for: queue.rawValue, until: deadline) else { return false }
        takeEvents()
        return true
    }

    /// The same, suspended meanwhile.
    nonisolated(nonsending) borrowing func wait(until deadline: Deadline) async throws(IPCError) -> Bool {
        do throws(IPCError) {
            try await Reactor.wait(for: .readable, of: queue.rawValue, until: deadline, "watch", "a file")
        } catch  where error.code == .timedOut {
            return false
        }
        takeEvents()
        return true
    }

    private func takeEvents() {
        let raw = queue.rawValue
        unsafe withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 8) { buffer in
            while unsafe read(raw, buffer.baseAddress, buffer.count) > 0 {}
        }
    }
}
