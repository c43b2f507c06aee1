import IPC

/// The pid namespace, within which a pid is valid.
enum PIDNamespace {
    /// The pid namespace of this process: the inode of its `/proc/self/ns/pid`; 0 if it is unknown.
    static let current: UInt32 = {
        guard let status = try? FileStatus(at: "/proc/self/ns/pid") else { return 0 }
        return UInt32(truncatingIfNeeded: status.identity[1])
    }()
}
