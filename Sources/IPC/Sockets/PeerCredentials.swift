import CIPCShims
import Glibc
import SystemPackage

/// Who is at the other end of a Unix socket, on the kernel's word.
public struct PeerCredentials: Hashable, Sendable {
    /// The process that connected, by its number at that time. It may have ended, or handed the socket to another. Nil if it has
    /// no number here: it is in a pid namespace that this process does not see, as one outside of its container is.
    public let process: pid_t?
    public let user: uid_t
    public let group: gid_t
}

extension SocketHandle {
    /// `SO_PEERCRED`: as it was when the connection was made.
    borrowing func peerCredentials() throws(IPCError) -> PeerCredentials {
        var raw = ipc_credentials()
        let descriptor = rawValue
        _ = try systemCall { unsafe ipc_peer_credentials(descriptor, &raw) }.orThrow("getsockopt", name)
        // A socket that knows no peer tells no user either. (65534 is one that this user namespace has no number for.)
        guard raw.process != 0 || raw.user != uid_t.max else {
            throw IPCError(
                .unsupported, "peer credentials", name, advice: "only connected Unix sockets have peer credentials")
        }
        return PeerCredentials(process: raw.process > 0 ? raw.process : nil, user: raw.user, group: raw.group)
    }

    /// `SO_PEERPIDFD` (Linux 6.5): the process that connected, without the race of its number being used again.
    borrowing func peerProcess() throws(IPCError) -> ProcessHandle {
        let descriptor = rawValue
        let raw: CInt
        do throws(IPCError) {
            raw = try option(SOL_SOCKET, IPC_SO_PEERPIDFD)
        } catch {
            throw IPCError(
                error.errno == .protocolNotAvailable ? .unsupported : error.code, "peer process",
                "socket \(descriptor)",
                errno: error.errno, advice: "the kernel has no process handle for this peer; use peerCredentials")
        }
        let handle = OwnedDescriptor(
            adopting: try Result<CInt, Errno>.success(raw).aboveStandard.orThrow("peer process", "socket \(descriptor)")
        )
        return ProcessHandle(adopting: handle, identifier: try peerCredentials().process ?? 0)
    }
}
