// A stream of bytes, cut into lines and frames.

extension StreamSocket {
    /// What the peer writes, line by line.
    ///
    /// - Parameter limit: Bytes of the longest line.
    public borrowing func lines(limit: Int = 1 << 20) throws(IPCError) -> Lines {
        Lines(source: try source(), limit: limit)
    }

    /// What the peer writes, frame by frame.
    ///
    /// - Parameter limit: Bytes of the longest frame.
    public borrowing func frames(limit: Int = 1 << 20) throws(IPCError) -> Frames {
        Frames(source: try source(), limit: limit)
    }

    /// Writes a frame: its length in four bytes, the most significant one first, and its bytes.
    ///
    /// - Throws: As `write(_:until:)`; ``IPCError/Code/messageTooLarge`` above 4 GiB.
    public nonisolated(nonsending) borrowing func write(
        frame: RawSpan, until deadline: Deadline = .never
    ) async throws(IPCError) {
        let prefix = try Frames.prefix(frame.byteCount, handle.name)
        try await write(unsafe prefix.span.bytes, until: deadline)
        try await write(frame, until: deadline)
    }

    private borrowing func source() throws(IPCError) -> ByteSource {
        let own = SharedReference(try StreamSocket(adopting: handle.owned.duplicate()))
        return ByteSource(name: own.value.handle.name) { (buffer) async throws(IPCError) in
            try await own.value.read(into: &buffer)
        }
    }
}
