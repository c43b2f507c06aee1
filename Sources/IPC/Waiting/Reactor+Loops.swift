extension Reactor {
    /// Writes all of `bytes` by repeated calls that never block, suspended in between.
    ///
    /// - Parameter tryWrite: Returns how many bytes it took; nil if there is no room.
    static nonisolated(nonsending) func drain(
        _ bytes: RawSpan, to descriptor: CInt, until deadline: Deadline, _ resource: String,
        _ tryWrite: (RawSpan) throws(IPCError) -> Int?
    ) async throws(IPCError) {
        var written = 0
        while written < bytes.byteCount {
            do throws(IPCError) {
                if let count = try tryWrite(bytes.extracting(droppingFirst: written)) {
                    written += count
                } else {
                    try await wait(for: .writable, of: descriptor, until: deadline, "write", resource)
                }
            } catch {
                throw error.after(transferring: written)
            }
        }
    }

    /// Fills `buffer` by repeated calls that never block, suspended in between.
    ///
    /// - Parameter tryRead: Returns how many bytes came, 0 at the end of the stream; nil if there are none now.
    static nonisolated(nonsending) func fill(
        _ buffer: inout MutableRawSpan, from descriptor: CInt, until deadline: Deadline, _ resource: String,
        _ tryRead: (inout MutableRawSpan) throws(IPCError) -> Int?
    ) async throws(IPCError) {
        let total = buffer.byteCount
        var filled = 0
        while filled < total {
            do throws(IPCError) {
                var rest = buffer._mutatingExtracting(droppingFirst: filled)
                guard let count = try tryRead(&rest) else {
                    try await wait(for: .readable, of: descriptor, until: deadline, "read", resource)
                    continue
                }
                guard count > 0 else {
                    throw IPCError(
                        .endOfFile, "read", resource, advice: "the other side closed after \(filled) of \(total) bytes")
                }
                filled += count
            } catch {
                throw error.after(transferring: filled)
            }
        }
    }

    /// Runs `attempt`, which never blocks, until it succeeds, suspended in between.
    ///
    /// - Parameter attempt: Returns nil if it would have to block.
    static nonisolated(nonsending) func attempting<Value: ~Copyable>(
        _ readiness: Readiness, of descriptor: CInt, until deadline: Deadline, _ operation: String, _ resource: String,
        _ attempt: () throws(IPCError) -> Value?
    ) async throws(IPCError) -> Value {
        while true {
            if let value = try attempt() { return value }
            try await wait(for: readiness, of: descriptor, until: deadline, operation, resource)
        }
    }
}

/// What ends a loop over a sequence when its task is cancelled: nil instead of the error, and nothing more is taken, however much there is.
///
/// - Parameter take: Takes the next element.
package nonisolated(nonsending) func endingWhenCancelled<Element>(
    _ take: nonisolated(nonsending) () async throws(IPCError) -> Element?
) async throws(IPCError) -> Element? {
    // What is there at once is taken without suspending, and so without a look at the cancellation.
    if Task.isCancelled { return nil }
    do throws(IPCError) {
        return try await take()
    } catch {
        guard error.code == .cancelled else { throw error }
        return nil
    }
}
