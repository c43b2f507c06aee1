import CIPCShims
import Glibc
package import SystemPackage

/// A descriptor in which a child of `fork` gets no part: there its number stands for `/dev/null`.
///
/// For descriptors whose open file description means something by itself: one that holds locks, or whose last closing tells
/// others that this process has ended. A child that only inherited it would keep the locks, or give up its parent's.
package struct WithheldDescriptor: ~Copyable, Sendable {
    /// Lent: whoever uses it must not close it.
    package let rawValue: CInt

    /// Opens `path`, close-on-exec, above the standard descriptors.
    ///
    /// - Parameters:
    ///   - folder: The descriptor of a folder, to which a relative path belongs.
    ///   - operation: For the error, such as `open channel`.
    ///   - resource: For the error; nil for the path.
    package init(
        _ path: String, in folder: CInt = AT_FDCWD, _ flags: CInt, mode: mode_t = 0, _ operation: String = "open",
        _ resource: String? = nil,
        advice: (Errno) -> String? = { _ in nil }
    ) throws(IPCError) {
        rawValue = try retryingInterrupts { unsafe ipc_openat_withheld(folder, path, flags | O_CLOEXEC, mode) }
            .orThrow(operation, resource ?? path, advice: advice)
    }

    deinit { _ = ipc_close_withheld(rawValue) }

    package var descriptor: FileDescriptor { FileDescriptor(rawValue: rawValue) }
}
