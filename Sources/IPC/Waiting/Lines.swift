/// A stream of bytes, cut into lines.
///
/// ```swift
/// for try await line in try AnonymousPipe().reader.lines() { print(line) }
/// ```
///
/// A line ends with a newline, or CR and newline, which are left out, or with the stream. Bytes that are not UTF-8 are replaced
/// by U+FFFD: what is no text is to be read as bytes. It has a descriptor of its own, so it may outlive what it was made from. One loop at a time: what a loop has read and not handed over goes with it. A loop
/// whose task is cancelled ends.
public struct Lines: AsyncSequence, Sendable {
    let source: ByteSource
    let limit: Int

    public struct Iterator: AsyncIteratorProtocol {
        var buffer: StreamBuffer

        public mutating func next() async throws(IPCError) -> String? { try await next(isolation: nil) }

        /// - Throws: ``IPCError/Code/messageTooLarge`` if a line is longer than was allowed.
        public mutating func next(isolation actor: isolated (any Actor)?) async throws(IPCError) -> String? {
            while true {
                if let end = buffer.pending.newline() { return try text(buffer.pending.take(end + 1).dropLast()) }
                // One byte more may be the CR of a line that is as long as it may be.
                guard buffer.count <= buffer.limit || buffer.count - buffer.limit == 1 else { throw tooLong }
                guard try await buffer.fill() else {
                    let rest = buffer.pending.take(buffer.count)
                    return rest.isEmpty ? nil : try text(rest[...])
                }
            }
        }

        private func text(_ line: ArraySlice<UInt8>) throws(IPCError) -> String {
            let line = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
            guard line.count <= buffer.limit else { throw tooLong }
            return String(decoding: line, as: UTF8.self)
        }

        private var tooLong: IPCError {
            IPCError(
                .messageTooLarge, "read", buffer.source.name,
                advice: "a line is longer than the limit of \(buffer.limit) bytes; raise the limit of lines(limit:)",
                transferred: buffer.count)
        }
    }

    public func makeAsyncIterator() -> Iterator { Iterator(buffer: StreamBuffer(source, limit: limit)) }
}
