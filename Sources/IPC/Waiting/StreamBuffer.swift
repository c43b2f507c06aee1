/// What brings bytes.
struct ByteSource: Sendable {
    /// For errors.
    let name: String
    /// Reads what comes next, suspended until there is at least one byte; 0 at the end.
    let read: nonisolated(nonsending) @Sendable (inout MutableRawSpan) async throws(IPCError) -> Int

    /// Puts what comes next into `chunk`.
    ///
    /// - Returns: How many bytes; 0 at the end.
    nonisolated(nonsending) func read(into chunk: inout [UInt8]) async throws(IPCError) -> Int {
        var elements = chunk.mutableSpan
        var buffer = unsafe elements.mutableBytes
        return try await read(&buffer)
    }
}

/// What has come of a source, and was not handed over yet.
struct StreamBuffer {
    let source: ByteSource
    let limit: Int
    var pending = PendingBytes()
    private var chunk = [UInt8](repeating: 0, count: 16_384)

    init(_ source: ByteSource, limit: Int) {
        self.source = source
        self.limit = max(limit, 0)
    }

    var count: Int { pending.count }

    /// Waits for more; false at the end, or when the task was cancelled.
    nonisolated(nonsending) mutating func fill() async throws(IPCError) -> Bool {
        do throws(IPCError) {
            let count = try await source.read(into: &chunk)
            pending.append(chunk[..<count])
            return count > 0
        } catch {
            guard error.code == .cancelled else { throw error }
            return false
        }
    }

    /// Waits until so many bytes are there; false if the stream ends before the first of them.
    nonisolated(nonsending) mutating func fill(
        upTo wanted: Int, or what: String
    ) async throws(IPCError) -> Bool {
        while count < wanted {
            guard try await fill() else {
                if count == 0 || Task.isCancelled { return false }
                throw IPCError(.endOfFile, "read", source.name, advice: "the stream ended in the middle of \(what)")
            }
        }
        return true
    }
}
