import CIPCShims
import Glibc
public import SystemPackage

/// A file descriptor that is closed when its owner goes out of scope.
///
/// Every handle of this library is built on one. Use it to hold a descriptor that came from elsewhere, such as one
/// received over a Unix socket, until a typed handle adopts it. Descriptors that this library makes lie above 2: a program
/// that was started without standard input, output or errors does not come to write its messages into one of them.
public struct OwnedDescriptor: ~Copyable, Sendable {
    /// The descriptor, lent: whoever uses it must not close it, nor use it after its owner has gone.
    public let descriptor: FileDescriptor

    /// Takes over `descriptor`: from now on, this value closes it.
    public init(adopting descriptor: FileDescriptor) { self.descriptor = descriptor }

    package init(adopting rawValue: CInt) { self.descriptor = FileDescriptor(rawValue: rawValue) }

    deinit { _ = Glibc.close(descriptor.rawValue) }

    /// Closes the descriptor and reports what `deinit` cannot: an error that the system kept until now.
    ///
    /// The descriptor is gone even when this throws: on Linux, `close` releases it first. It is never called twice.
    public consuming func close() throws(IPCError) {
        let raw = release().rawValue
        _ = try systemCall { Glibc.close(raw) }.orThrow("close", "descriptor \(raw)")
    }

    /// Gives the descriptor away: the caller closes it from now on.
    public consuming func release() -> FileDescriptor {
        let taken = descriptor
        discard self
        return taken
    }

    /// A second descriptor for the same open file description, close-on-exec like the first (`F_DUPFD_CLOEXEC`).
    public borrowing func duplicate() throws(IPCError) -> OwnedDescriptor {
        let raw = rawValue
        return OwnedDescriptor(
            adopting: try systemCall { ipc_fcntl_int(raw, F_DUPFD_CLOEXEC, 3) }.orThrow("fcntl", "descriptor \(raw)"))
    }

    package var rawValue: CInt { descriptor.rawValue }
}

extension Result where Success == CInt, Failure == Errno {
    /// A new descriptor, moved above 2 if it is not: for those that come in another way than from a function of `CIPCShims`,
    /// which does the same. The descriptor is closed if it cannot be moved.
    package var aboveStandard: Result<CInt, Errno> { flatMap { raw in systemCall { ipc_above_standard(raw) } } }
}
