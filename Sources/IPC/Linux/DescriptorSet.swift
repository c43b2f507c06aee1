import CIPCShims
import SystemPackage

/// Descriptors of which several may become ready, as one that can be waited for (`epoll`).
struct DescriptorSet: ~Copyable, Sendable {
    private let owned: OwnedDescriptor
    private let name: String

    /// - Parameter name: For errors.
    init(_ name: String) throws(IPCError) {
        owned = OwnedDescriptor(adopting: try systemCall { ipc_epoll_create() }.orThrow("epoll_create1", name))
        self.name = name
    }

    /// Readable when one of them is ready.
    var descriptor: CInt { owned.rawValue }

    borrowing func add(_ descriptor: CInt, for wanted: Readiness) throws(IPCError) {
        let failure = ipc_epoll_arm(owned.rawValue, descriptor, wanted.rawValue, 0)
        guard failure == 0 else { throw IPCError("epoll_ctl", name, Errno(rawValue: failure)) }
    }

    /// Before it is closed it need not be removed, unless others have a copy of it.
    borrowing func remove(_ descriptor: CInt) { _ = ipc_epoll_forget(owned.rawValue, descriptor) }

    /// Those that are ready or broken now, up to 64 of them. Never waits.
    borrowing func ready() -> [CInt] {
        var descriptors = [CInt](repeating: 0, count: 64)
        var events = [Int16](repeating: 0, count: 64)
        let count = unsafe ipc_epoll_wait(owned.rawValue, &descriptors, &events, 64, 0)
        return Array(descriptors.prefix(Int(max(count, 0))))
    }
}
