// Streams of bytes, cut into lines and frames.

extension PipeReader {
    /// What comes out of the pipe, line by line.
    ///
    /// - Parameter limit: Bytes of the longest line.
    public borrowing func lines(limit: Int = 1 << 20) throws(IPCError) -> Lines {
        Lines(source: try source(), limit: limit)
    }

    /// What comes out of the pipe, frame by frame.
    ///
    /// - Parameter limit: Bytes of the longest frame.
    public borrowing func frames(limit: Int = 1 << 20) throws(IPCError) -> Frames {
        Frames(source: try source(), limit: limit)
    }

    private borrowing func source() throws(IPCError) -> ByteSource {
        let own = SharedReference(try PipeReader(adopting: end.owned.duplicate()))
        return ByteSource(name: own.value.end.name) { (buffer) async throws(IPCError) in
            try await own.value.read(into: &buffer)
        }
    }
}

extension PipeWriter {
    /// Writes a frame: its length in four bytes, the most significant one first, and its bytes.
    ///
    /// - Throws: As `write(_:until:)`; ``IPCError/Code/messageTooLarge`` above 4 GiB.
    public nonisolated(nonsending) borrowing func write(
        frame: RawSpan, until deadline: Deadline = .never
    ) async throws(IPCError) {
        let prefix = try Frames.prefix(frame.byteCount, end.name)
        try await write(unsafe prefix.span.bytes, until: deadline)
        try await write(frame, until: deadline)
    }
}
