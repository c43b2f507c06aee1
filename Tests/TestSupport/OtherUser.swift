import Glibc
public import IPC

/// A user who has no rights but its own, for tests that run as root: starts programs as `setpriv` does.
public struct OtherUser: Sendable {
    public let user: uid_t
    /// The first is its own; the others are supplementary.
    public let groups: [gid_t]

    /// Why tests of it are skipped for others.
    public static let reason: String = "only root can start programs as another user"
    public static var isPossible: Bool { getuid() == 0 }

    public init(_ user: uid_t, groups: [gid_t]? = nil) {
        self.user = user
        self.groups = groups ?? [gid_t(user)]
    }

    /// One that no other test and no other run has.
    public static func any(groups: [gid_t] = []) -> OtherUser {
        let number = uid_t.random(in: 30_000..<60_000)
        return OtherUser(number, groups: [gid_t(number)] + groups)
    }

    /// Starts a program of this build, or of the system; its errors are in its output.
    ///
    /// - Parameter root: `IPC_ROOT`; nil for none.
    public func start(
        _ program: String, _ arguments: [String], root: String?, umask: String = "022", environment more: [String] = []
    ) throws(IPCError) -> Peer {
        let script = "umask \(umask); exec setpriv --reuid=\(user) --regid=\(groups[0]) "
        let others = groups.dropFirst().map { "\($0)" }.joined(separator: ",")
        var environment =
            ["PATH=/usr/bin:/bin:/usr/sbin:/sbin", "SWIFT_BACKTRACE=enable=no", "HOME=/nonexistent"] + more
        // Without it each program waits for a second at its end, in case another thread has a race to report.
        if let options = getenv("TSAN_OPTIONS") { environment.append("TSAN_OPTIONS=" + String(cString: options)) }
        return try Peer(
            "sh",
            [
                "-c", script + (others.isEmpty ? "--clear-groups" : "--groups=\(others)") + " \"$@\" 2>&1", "sh",
                try Self.reachable(program),
            ] + arguments, environment: environment + (root.map { ["IPC_ROOT=\($0)"] } ?? []))
    }

    /// The same, to its end.
    public func run(
        _ program: String, _ arguments: String..., root: String?, umask: String = "022"
    ) throws(IPCError) -> (status: ExitStatus, text: String) {
        try start(program, arguments, root: root, umask: umask).finish()
    }

    /// A path by which everybody can run a program: a build may lie in somebody's home.
    public static func reachable(_ program: String) throws(IPCError) -> String {
        guard program.hasPrefix("/") else { return program }
        let command = "exec setpriv --reuid=65534 --regid=65534 --clear-groups test -x \"$1\""
        if try Peer("sh", ["-c", command, "sh", program]).finish().status == .exited(0) { return program }
        let copy = copies + "/" + String(program.split(separator: "/").last!)
        if access(copy, F_OK) != 0 {
            _ = try Peer("cp", [program, copy + ".part"]).finish()
            rename(copy + ".part", copy)
        }
        return copy
    }

    private static let copies: String = {
        let path = "/tmp/" + uniqueName()
        mkdir(path, 0o755)
        chmod(path, 0o755)
        atexit { removeAll(copies) }
        return path
    }()
}

/// Removes a folder with all that is in it, if it is there.
public func removeAll(_ path: String) { _ = try? Peer("rm", ["-rf", "--", path]).finish() }
