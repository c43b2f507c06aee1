/// Loops that every byte stream needs, because a single read may bring less than was asked for.

/// Fills `buffer` by repeated reads, each of which returns 0 at the end of the stream.
package func fill(
    _ buffer: inout MutableRawSpan, _ operation: String, _ resource: String,
    _ read: (inout MutableRawSpan) throws(IPCError) -> Int
) throws(IPCError) {
    let total = buffer.byteCount
    var filled = 0
    while filled < total {
        let count: Int
        do throws(IPCError) {
            var rest = buffer._mutatingExtracting(droppingFirst: filled)
            count = try read(&rest)
        } catch {
            throw error.after(transferring: filled)
        }
        guard count > 0 else {
            throw IPCError(
                .endOfFile, operation, resource, advice: "the other side closed after \(filled) of \(total) bytes",
                transferred: filled)
        }
        filled += count
    }
}

/// Collects a stream until its end.
package func collect(
    _ limit: Int, _ resource: String, _ read: (inout MutableRawSpan) throws(IPCError) -> Int
) throws(IPCError) -> [UInt8] {
    var collected: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
        var elements = chunk.mutableSpan
        var bytes = unsafe elements.mutableBytes
        let count = try read(&bytes)
        guard count > 0 else { return collected }
        guard collected.count + count <= limit else { throw .overLimit(limit, resource, collected.count) }
        collected.append(contentsOf: chunk[..<count])
    }
}

/// Writes all of `bytes` by repeated writes, each of which may take less than it was given.
///
/// - Parameter before: How many bytes went out earlier, for the error that says how many did in all.
package func drain(
    _ bytes: RawSpan, after before: Int = 0, _ write: (RawSpan) throws(IPCError) -> Int
) throws(IPCError) {
    var written = 0
    while written < bytes.byteCount {
        do throws(IPCError) {
            written += try write(bytes.extracting(droppingFirst: written))
        } catch {
            throw error.after(transferring: before + written)
        }
    }
}
