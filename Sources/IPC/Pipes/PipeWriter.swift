import CIPCShims
import Glibc
public import SystemPackage

/// The end of a pipe that bytes go into.
///
/// A write of at most ``atomicWriteSize`` bytes is atomic: it is never mixed with those of other writers. A larger one
/// may be. When no reader is left, a write throws ``IPCError/Code/brokenPipe``; it never raises a SIGPIPE.
public struct PipeWriter: ~Copyable, Sendable {
    let end: PipeEnd
    private let silence: BrokenPipeSilence

    /// `PIPE_BUF`: up to so many bytes, a write goes into the pipe as a whole or not at all.
    public static let atomicWriteSize = Int(IPC_PIPE_BUF)

    /// Takes over a descriptor that is the writing end of a pipe or a FIFO, such as an inherited one.
    ///
    /// - Throws: ``IPCError/Code/wrongType`` if it is not a pipe.
    public init(adopting descriptor: consuming OwnedDescriptor) throws(IPCError) {
        let name = "pipe \(descriptor.rawValue)"
        self.init(try PipeEnd(adopting: descriptor, name: name))
    }

    package init(_ end: consuming PipeEnd) {
        self.end = end
        self.silence = BrokenPipeSilence()
    }

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

    /// Writes all of `bytes`, waiting for room as often as needed. The C function is `write`.
    ///
    /// - Throws: ``IPCError/Code/brokenPipe`` if no reader is left; ``IPCError/Code/timedOut``.
    ///   ``IPCError/transferred`` says how many bytes went in before.
    public borrowing func write(_ bytes: RawSpan, until deadline: Deadline = .never) throws(IPCError) {
        var rest = bytes
        if deadline == .never, case .success(let count) = silence.write(bytes, to: end.rawValue, flags: 0) {
            if count == bytes.byteCount { return }
            // A blocking write returns early only when a signal handler ran in the middle.
            rest = bytes.extracting(droppingFirst: count)
        }
        try drain(rest, after: bytes.byteCount - rest.byteCount) { (rest) throws(IPCError) in
            let written = try waiting(for: .writable, of: end.rawValue, until: deadline) { () throws(IPCError) in
                try tryWrite(rest)
            }
            guard let written else { throw .timedOut("write", end.name) }
            return written
        }
    }

    /// Writes what there is room for, without waiting.
    ///
    /// - Returns: The number of bytes that went in, which is all or nothing up to ``atomicWriteSize``; nil if none did.
    /// - Throws: ``IPCError/Code/brokenPipe`` if no reader is left.
    public borrowing func tryWrite(_ bytes: RawSpan) throws(IPCError) -> Int? {
        while true {
            let flags = end.noWaitFlags
            switch silence.write(bytes, to: end.rawValue, flags: flags) {
            case .success(let count): return count
            case .failure(.resourceTemporarilyUnavailable): return nil
            case .failure(let errno) where flags != 0 && errno.isRefusedFlag: try end.switchToNonBlocking()
            case .failure(.brokenPipe):
                throw IPCError("write", end.name, .brokenPipe, advice: "no process has the read end open any more")
            case .failure(let errno): throw IPCError("write", end.name, errno)
            }
        }
    }

    /// Closes the end and reports the error that `deinit` cannot. Readers see the end once every writer has closed.
    public consuming func close() throws(IPCError) { try end.owned.close() }

    /// Gives the descriptor away: the caller closes it from now on.
    public consuming func release() -> FileDescriptor { end.owned.release() }
}
