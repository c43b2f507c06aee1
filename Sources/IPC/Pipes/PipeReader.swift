import CIPCShims
import Glibc
public import SystemPackage

/// The end of a pipe that bytes come out of.
///
/// May be used by several threads; each byte goes to one of them.
public struct PipeReader: ~Copyable, Sendable {
    let end: PipeEnd

    /// Takes over a descriptor that is the reading end of a pipe or a FIFO, such as an inherited one.
    ///
    /// - Throws: ``IPCError/Code/wrongType`` if it is not a pipe.
    public init(adopting descriptor: consuming OwnedDescriptor) throws(IPCError) {
        let name = "pipe \(descriptor.rawValue)"
        self.end = try PipeEnd(adopting: descriptor, name: name)
    }

    package init(_ end: consuming PipeEnd) { self.end = end }

    /// The descriptor, lent.
    public var descriptor: FileDescriptor { end.owned.descriptor }

    /// How many bytes the pipe holds before a writer waits: 64 KiB unless it was changed.
    public var capacity: Int { get throws(IPCError) { try end.capacity } }

    /// Asks for another capacity (`F_SETPIPE_SZ`); the kernel rounds it up.
    ///
    /// - Returns: The capacity that the pipe has now.
    /// - Throws: ``IPCError/Code/permissionDenied`` above `fs.pipe-max-size`; ``IPCError/Code/system`` if it holds more.
    @discardableResult
    public borrowing func setCapacity(_ bytes: Int) throws(IPCError) -> Int { try end.setCapacity(bytes) }

    /// Bytes that are waiting to be read.
    public var availableBytes: Int { get throws(IPCError) { try end.availableBytes } }

    /// Reads what there is, waiting for at least one byte. The C function is `read`.
    ///
    /// - Parameters:
    ///   - buffer: Where the bytes go, from its start. A zero-length buffer reads nothing.
    ///   - deadline: When to give up.
    /// - Returns: The number of bytes; 0 at the end: every writer has closed its end.
    /// - Throws: ``IPCError/Code/timedOut``, with nothing read.
    public borrowing func read(into buffer: inout MutableRawSpan, until deadline: Deadline = .never) throws(IPCError)
        -> Int
    {
        if deadline == .never {
            // One system call when data is there, as in C.
            let raw = end.rawValue
            switch retryingInterrupts({
                unsafe buffer.withUnsafeMutableBytes { unsafe Glibc.read(raw, $0.baseAddress, $0.count) }
            }) {
            case .success(let count): return count
            case .failure(.resourceTemporarilyUnavailable): break  // switched to O_NONBLOCK
            case .failure(let errno): throw IPCError("read", end.name, errno)
            }
        }
        while true {
            if let count = try tryRead(into: &buffer) { return count }
            guard try Readiness.readable.wait(for: end.rawValue, until: deadline) else {
                throw .timedOut("read", end.name)
            }
        }
    }

    /// Reads what there is without waiting.
    ///
    /// - Returns: The number of bytes, 0 at the end, nil if nothing is there yet.
    public borrowing func tryRead(into buffer: inout MutableRawSpan) throws(IPCError) -> Int? {
        let raw = end.rawValue
        while true {
            let flags = end.noWaitFlags
            let result = retryingInterrupts {
                unsafe buffer.withUnsafeMutableBytes { bytes in
                    if flags == 0 { return unsafe Glibc.read(raw, bytes.baseAddress, bytes.count) }
                    var vector = unsafe iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
                    return unsafe ipc_preadv2(raw, &vector, 1, flags)
                }
            }
            switch result {
            case .success(let count): return count
            case .failure(.resourceTemporarilyUnavailable): return nil
            case .failure(let errno) where flags != 0 && errno.isRefusedFlag: try end.switchToNonBlocking()
            case .failure(let errno): throw IPCError("read", end.name, errno)
            }
        }
    }

    /// Reads exactly as many bytes as `buffer` holds.
    ///
    /// - Throws: ``IPCError/Code/endOfFile`` or ``IPCError/Code/timedOut`` if fewer came; ``IPCError/transferred`` says
    ///   how many, and they are in `buffer`.
    public borrowing func readExactly(into buffer: inout MutableRawSpan, until deadline: Deadline = .never)
        throws(IPCError)
    {
        try fill(&buffer, "read", end.name) { (rest) throws(IPCError) in try read(into: &rest, until: deadline) }
    }

    /// Reads until the end, for convenience: allocates.
    ///
    /// - Parameters:
    ///   - limit: Give up beyond so many bytes.
    ///   - deadline: When to give up.
    /// - Throws: ``IPCError/Code/messageTooLarge`` beyond the limit; ``IPCError/Code/timedOut``.
    public borrowing func readToEnd(limit: Int = .max, until deadline: Deadline = .never) throws(IPCError) -> [UInt8] {
        try collect(limit, end.name) { (chunk) throws(IPCError) in try read(into: &chunk, until: deadline) }
    }

    /// Closes the end and reports the error that `deinit` cannot.
    public consuming func close() throws(IPCError) { try end.owned.close() }

    /// Gives the descriptor away: the caller closes it from now on.
    public consuming func release() -> FileDescriptor { end.owned.release() }
}
