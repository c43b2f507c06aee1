// The calls that wait without a thread. Each is the call of the same name, in an asynchronous function.

extension PipeReader {
    /// Reads what there is, suspended until there is at least one byte.
    ///
    /// - Returns: The number of bytes; 0 at the end: every writer has closed its end.
    /// - Throws: ``IPCError/Code/timedOut`` or ``IPCError/Code/cancelled``, with nothing read.
    public nonisolated(nonsending) borrowing func read(
        into buffer: inout MutableRawSpan, until deadline: Deadline = .never
    ) async throws(IPCError) -> Int {
        while true {
            if let count = try tryRead(into: &buffer) { return count }
            try await Reactor.wait(for: .readable, of: end.rawValue, until: deadline, "read", end.name)
        }
    }

    /// Fills the buffer, suspended for bytes as often as needed.
    ///
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``. ``IPCError/transferred`` says how many bytes came before.
    public nonisolated(nonsending) borrowing func readExactly(
        into buffer: inout MutableRawSpan, until deadline: Deadline = .never
    ) async throws(IPCError) {
        try await Reactor.fill(&buffer, from: end.rawValue, until: deadline, end.name) { (rest) throws(IPCError) in
            try tryRead(into: &rest)
        }
    }

    /// Reads until the end, for convenience: allocates.
    ///
    /// - Throws: As the blocking call; ``IPCError/Code/cancelled``.
    public nonisolated(nonsending) borrowing func readToEnd(
        limit: Int = .max, until deadline: Deadline = .never
    ) async throws(IPCError) -> [UInt8] {
        var bytes: [UInt8] = []
        while try await collect(into: &bytes, limit, until: deadline) {}
        return bytes
    }

    private nonisolated(nonsending) borrowing func collect(
        into bytes: inout [UInt8], _ limit: Int, until deadline: Deadline
    ) async throws(IPCError) -> Bool {
        var chunk = [UInt8](repeating: 0, count: 16_384)
        var elements = chunk.mutableSpan
        var buffer = unsafe elements.mutableBytes
        let count = try await read(into: &buffer, until: deadline)
        guard count > 0 else { return false }
        guard bytes.count + count <= limit else { throw .overLimit(limit, end.name, bytes.count) }
        bytes += chunk[..<count]
        return true
    }
}

extension PipeWriter {
    /// Writes all of `bytes`, suspended for room as often as needed.
    ///
    /// - Throws: ``IPCError/Code/brokenPipe`` if no reader is left; ``IPCError/Code/timedOut`` or
    ///   ``IPCError/Code/cancelled``. ``IPCError/transferred`` says how many bytes went out before.
    public nonisolated(nonsending) borrowing func write(
        _ bytes: RawSpan, until deadline: Deadline = .never
    ) async throws(IPCError) {
        try await Reactor.drain(bytes, to: end.rawValue, until: deadline, end.name) { (rest) throws(IPCError) in
            try tryWrite(rest)
        }
    }
}
