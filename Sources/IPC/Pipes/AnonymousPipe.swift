import CIPCShims
import Glibc
import SystemPackage

/// A one-way stream of bytes between a process and its relatives, who inherit an end or are sent it over a socket.
///
/// ```swift
/// let pipe = try AnonymousPipe()
/// let child = try ChildProcess("tr", ["a-z", "A-Z"], descriptors: [0: pipe.reader.descriptor])
/// let (writer) = pipe.closingReader()      // or end-of-file never comes: the child's end must be the only one
/// try writer.write("hello\n".utf8.span.bytes)
/// ```
///
/// Both ends are close-on-exec from the start: no other child inherits them by accident. The C function is `pipe2`.
@frozen
public struct AnonymousPipe: ~Copyable, Sendable {
    public let reader: PipeReader
    public let writer: PipeWriter

    /// Makes a pipe.
    ///
    /// - Parameter capacity: How many bytes it holds before a writer waits, rounded up to pages; nil for the system's
    ///   64 KiB.
    /// - Throws: ``IPCError/Code/limitReached`` without two free descriptors; ``IPCError/Code/permissionDenied`` for a
    ///   capacity above `fs.pipe-max-size`.
    public init(capacity: Int? = nil) throws(IPCError) {
        var ends: [CInt] = [-1, -1]
        _ = try systemCall { unsafe ipc_pipe2(&ends, O_CLOEXEC) }.orThrow("pipe2", "")
        let names = ends.map { "pipe \($0)" }
        let output = OwnedDescriptor(adopting: ends[0])
        let input = OwnedDescriptor(adopting: ends[1])
        let reader = PipeReader(try PipeEnd(adopting: output, name: names[0]))
        let writer = PipeWriter(try PipeEnd(adopting: input, name: names[1]))
        if let capacity { try writer.setCapacity(capacity) }
        self.reader = reader
        self.writer = writer
    }

    /// Keeps the writing end and closes the other, as a parent does once its child has the reading end.
    public consuming func closingReader() -> PipeWriter { writer }

    /// Keeps the reading end and closes the other, as a parent does once its child has the writing end.
    public consuming func closingWriter() -> PipeReader { reader }
}
