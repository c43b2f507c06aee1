import CIPCShims
import Glibc
import IPC
import SystemPackage

/// A descriptor that the other side of a connection has passed: it may be of anything, silent or endless.
struct PassedDescriptor: ~Copyable {
    private let descriptor: OwnedDescriptor

    private static let limit = 1 << 20
    private static let patience = Duration.seconds(1)

    init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }

    /// Tells what it is, and prints what can be read from it now, or within a second, up to a limit.
    func show() async throws(IPCError) {
        let raw = descriptor.rawValue
        let link = ProcFiles.linkBytes("/proc/self/fd/\(raw)") ?? []
        printError("ipc: received a descriptor: \(Table.printable(link))")
        guard let readable = try reader() else { return }
        let deadline = Deadline.after(Self.patience)
        var count = 0
        while count < Self.limit {
            switch readable.read(upTo: min(65_536, Self.limit - count)) {
            case .success(let bytes):
                if bytes.isEmpty { return }
                try MessageOutput.put(bytes)
                count += bytes.count
                if deadline.hasPassed { return printError("ipc: reading stopped after a second, before its end") }
            case .failure(.resourceTemporarilyUnavailable):
                do throws(IPCError) {
                    try await Reactor.wait(
                        for: .readable, of: readable.descriptor.rawValue, until: deadline, "read", "descriptor")
                } catch {
                    guard error.code == .timedOut else { throw error }
                    return printError("ipc: no more came from it within a second")
                }
            case .failure(let errno): return printError("ipc: the descriptor cannot be read (\(errno))")
            }
        }
        printError("ipc: only its first \(Self.limit) bytes are shown")
    }

    /// How it can be read without waiting; nil if it cannot, which was told.
    ///
    /// Its flags are shared with who passed it, and are left as they are.
    private func reader() throws(IPCError) -> Reader? {
        let raw = descriptor.rawValue
        let flags = try systemCall { ipc_fcntl_int(raw, F_GETFL, 0) }.orThrow("fcntl", "descriptor")
        guard flags & IPC_O_PATH == 0, flags & O_ACCMODE != O_WRONLY else {
            printError("ipc: the descriptor is not open for reading")
            return nil
        }
        let status = try FileStatus(of: raw, "descriptor")
        if status.isSocket { return Reader(try descriptor.duplicate(), .socket) }
        if status.isRegularFile { return Reader(try descriptor.duplicate(), .file) }
        // A description of its own of the same pipe or device, which does not block.
        let again = retryingInterrupts {
            unsafe ipc_open_path("/proc/self/fd/\(raw)", O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0)
        }
        if case .success(let own) = again { return Reader(OwnedDescriptor(adopting: own), .file) }
        return Reader(try descriptor.duplicate(), .asking)
    }
}

/// Reads that do not wait.
private struct Reader: ~Copyable {
    enum Way {
        /// A plain read: it has a description that does not block, or is of a file.
        case file
        case socket
        /// Asks for it call by call, which not everything can do.
        case asking
    }

    let descriptor: OwnedDescriptor
    private let way: Way

    init(_ descriptor: consuming OwnedDescriptor, _ way: Way) {
        self.descriptor = descriptor
        self.way = way
    }

    /// - Returns: None at the end.
    func read(upTo limit: Int) -> Result<[UInt8], Errno> {
        let raw = descriptor.rawValue
        var chunk = [UInt8](repeating: 0, count: limit)
        let result: Result<Int, Errno> = unsafe chunk.withUnsafeMutableBytes { bytes in
            var vector = unsafe iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
            return retryingInterrupts {
                switch way {
                case .file: unsafe Glibc.read(raw, bytes.baseAddress, bytes.count)
                case .socket: unsafe recv(raw, bytes.baseAddress, bytes.count, IPC_MSG_DONTWAIT)
                case .asking: unsafe ipc_preadv2(raw, &vector, 1, IPC_RWF_NOWAIT)
                }
            }
        }
        return result.map { Array(chunk[..<$0]) }
    }
}
