import CIPCShims
import Glibc
import SystemPackage

/// The kernel's queue of what happens to descriptors (`epoll`), with a descriptor that wakes who waits at it (`eventfd`).
///
/// Copied by value as the numbers that it is; whoever opened it closes it.
struct EventQueue {
    // -1 until it is open.
    private var epoll: CInt = -1
    private var alarm: CInt = -1

    /// - Returns: Why it failed; nil if it did not.
    mutating func open() -> (call: String, errno: Errno)? {
        epoll = ipc_epoll_create()
        guard epoll >= 0 else { return ("epoll_create1", Errno(rawValue: Glibc.errno)) }
        alarm = ipc_eventfd(0, CInt(EFD_NONBLOCK | EFD_CLOEXEC))
        guard alarm >= 0 else { return ("eventfd", Errno(rawValue: Glibc.errno)) }
        let error = ipc_epoll_arm(epoll, alarm, Readiness.readable.rawValue, 0)
        return error == 0 ? nil : ("epoll_ctl", Errno(rawValue: error))
    }

    mutating func close() {
        for descriptor in [epoll, alarm] where descriptor >= 0 { Glibc.close(descriptor) }
        (epoll, alarm) = (-1, -1)
    }

    /// Asks for events of a descriptor; once, or until it is forgotten.
    ///
    /// - Returns: The error number, or 0. `EPERM` for what is always ready, such as a regular file.
    func arm(_ descriptor: CInt, for wanted: Readiness, once: Bool) -> CInt {
        ipc_epoll_arm(epoll, descriptor, wanted.rawValue, once ? 1 : 0)
    }

    func forget(_ descriptor: CInt) { _ = ipc_epoll_forget(epoll, descriptor) }

    /// Wakes who waits.
    func ring() {
        guard alarm >= 0 else { return }
        var one: UInt64 = 1
        _ = unsafe write(alarm, &one, 8)
    }

    /// Waits for events.
    ///
    /// - Parameters:
    ///   - descriptors: Where they go: as many as it has room for.
    ///   - events: What happened to each.
    /// - Returns: How many came; that it was rung is none.
    func wait(_ descriptors: inout [CInt], _ events: inout [Int16], until deadline: Deadline) -> Int {
        let room = CInt(descriptors.count)
        let count = max(0, unsafe ipc_epoll_wait(epoll, &descriptors, &events, room, deadline.nanoseconds))
        var kept = 0
        for index in 0..<Int(count) {
            if descriptors[index] == alarm {
                var rings: UInt64 = 0
                _ = unsafe read(alarm, &rings, 8)
                continue
            }
            (descriptors[kept], events[kept]) = (descriptors[index], events[index])
            kept += 1
        }
        return kept
    }
}
