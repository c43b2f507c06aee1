import CIPCShims
import Glibc
public import SystemPackage

/// Sockets that a service manager bound before it started this process (systemd's `LISTEN_FDS`).
///
/// ```swift
/// for activated in SocketActivation.take() where activated.name == "api" {
///     let listener = try StreamListener(adopting: OwnedDescriptor(adopting: activated.descriptor))
/// }
/// ```
///
/// They are not ours to unlink, and none of the listeners that adopt one does.
public enum SocketActivation {
    /// A socket that was handed over; whoever takes it has to close it.
    public struct Activated: Hashable, Sendable {
        public let descriptor: FileDescriptor
        /// `FileDescriptorName=` of the unit, or `unknown`.
        public let name: String
    }

    /// Takes the sockets, once: the variables are removed from the environment, so that no child believes that they are
    /// meant for it, and the descriptors are set close-on-exec. Call it before other threads run, since the environment
    /// belongs to the whole process. The C function is `sd_listen_fds_with_names`.
    ///
    /// - Returns: None, if the variables are missing or meant for another process.
    public static func take() -> [Activated] {
        defer { for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] { unsafe unsetenv(name) } }
        guard let process = variable("LISTEN_PID").flatMap({ pid_t($0) }), process == getpid(),
            let count = variable("LISTEN_FDS").flatMap({ Int($0) }), (1...4096).contains(count)
        else { return [] }
        let names = variable("LISTEN_FDNAMES")?.split(separator: ":", omittingEmptySubsequences: false) ?? []
        return (0..<count).compactMap { index in
            let raw = CInt(3 + index)
            guard case .success = systemCall({ ipc_fcntl_int(raw, F_SETFD, FD_CLOEXEC) }) else { return nil }
            return Activated(
                descriptor: FileDescriptor(rawValue: raw), name: index < names.count ? String(names[index]) : "unknown")
        }
    }

    private static func variable(_ name: String) -> String? { unsafe getenv(name).map { unsafe String(cString: $0) } }
}
